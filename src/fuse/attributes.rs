//! Between the store's words and the wire's: attributes, kinds, times, flags, callers.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{FileAttr, FileType, Generation, INodeNo, OpenAccMode, RenameFlags, Request, TimeOrNow};

use crate::fs::{Caller, OpenFlags, RenameMode, SetTime, XattrMode, lasts};
use crate::store::{Attributes, EntryId, Kind, Stat, Time};

/// How long the kernel may keep names and attributes: for good, since only this daemon changes them, and what it changes
/// on its own it invalidates (see [`Invalidator`](super::Invalidator)). A hundred years, far from any overflow in jiffies.
pub(super) const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// How long the kernel may keep what it is told of an entry.
pub(super) fn lifetime(id: EntryId) -> Duration {
    if lasts(id) { FOREVER } else { Duration::ZERO }
}

/// The same of what stat shows, and of the name that led to it: until it expires at the latest. The kernel counts in
/// ticks, and rounds up.
pub(super) fn kept(stat: &Stat) -> Duration {
    const TICKS: Duration = Duration::from_millis(20);
    let left = |at: Time| SystemTime::from(at).duration_since(SystemTime::now()).unwrap_or_default();
    let left = stat.expires.map_or(FOREVER, |at| left(at).saturating_sub(TICKS));
    lifetime(stat.id).min(left)
}

/// Inode numbers are never used twice, so that all are of the first generation.
pub(super) const GENERATION: Generation = Generation(0);

/// The block size that stat(2) recommends for I/O, in bytes.
const BLOCK_SIZE: u32 = 4096;

/// An entry's attributes as the kernel wants them.
pub(super) fn wire(stat: &Stat) -> FileAttr {
    let Attributes { kind, mode, uid, gid, rdev, atime, mtime, ctime } = stat.attributes;
    FileAttr {
        ino: INodeNo(stat.id),
        size: stat.size,
        blocks: stat.allocated.div_ceil(512),
        atime: atime.into(),
        mtime: mtime.into(),
        ctime: ctime.into(),
        crtime: UNIX_EPOCH,
        kind: wire_kind(kind),
        perm: mode,
        nlink: stat.links,
        uid,
        gid,
        rdev,
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

/// The attributes of "no such name": inode 0 makes a negative entry, which the kernel keeps like any other.
pub(super) fn nothing() -> FileAttr {
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

/// A kind as the kernel wants it.
pub(super) fn wire_kind(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
        Kind::CharDevice => FileType::CharDevice,
        Kind::BlockDevice => FileType::BlockDevice,
    }
}

/// The kind that mknod(2) asks for; no type bits at all mean a regular file. `None` for what mknod cannot make.
pub(super) fn kind_from_mode(mode: u32) -> Option<Kind> {
    Some(match mode & libc::S_IFMT {
        0 | libc::S_IFREG => Kind::File,
        libc::S_IFIFO => Kind::Fifo,
        libc::S_IFSOCK => Kind::Socket,
        libc::S_IFCHR => Kind::CharDevice,
        libc::S_IFBLK => Kind::BlockDevice,
        _ => return None,
    })
}

/// The permission bits of a mode, with suid, sgid and sticky.
pub(super) fn permissions(mode: u32) -> u16 {
    (mode & 0o7777) as u16
}

/// A change of a time, as setattr has it.
pub(super) fn set_time(time: TimeOrNow) -> SetTime {
    match time {
        TimeOrNow::Now => SetTime::Now,
        TimeOrNow::SpecificTime(time) => SetTime::At(time_from_wire(time)),
    }
}

/// The time that the kernel sent. fuser 0.18 reads a time before 1970 as if its nanoseconds counted backwards: of
/// (-2 s, +0.5 s) it makes 2.5 s before 1970 instead of 1.5. That mistake can be undone exactly, and is.
fn time_from_wire(time: SystemTime) -> Time {
    match time.duration_since(UNIX_EPOCH) {
        Ok(_) => time.into(),
        Err(before) => {
            let distance = before.duration();
            let seconds = i64::try_from(distance.as_secs()).map_or(i64::MIN, |seconds| -seconds);
            Time::new(seconds, distance.subsec_nanos())
        }
    }
}

/// Who asks.
pub(super) fn caller(request: &Request) -> Caller {
    maker(request, 0)
}

/// Who makes a new entry.
pub(super) fn maker(request: &Request, umask: u32) -> Caller {
    Caller { uid: request.uid(), gid: request.gid(), umask: permissions(umask) }
}

/// open(2)'s flags.
pub(super) fn open_flags(flags: i32) -> OpenFlags {
    OpenFlags { write: fuser::OpenFlags(flags).acc_mode() != OpenAccMode::O_RDONLY }
}

/// renameat2(2)'s flags; `None` for a combination that is not served.
pub(super) fn rename_mode(flags: RenameFlags) -> Option<RenameMode> {
    if flags.is_empty() {
        Some(RenameMode::Replace)
    } else if flags == RenameFlags::RENAME_NOREPLACE {
        Some(RenameMode::NoReplace)
    } else if flags == RenameFlags::RENAME_EXCHANGE {
        Some(RenameMode::Exchange)
    } else {
        None
    }
}

/// setxattr(2)'s flags; `None` for a combination that makes no sense.
pub(super) fn xattr_mode(flags: i32) -> Option<XattrMode> {
    match flags {
        0 => Some(XattrMode::Set),
        libc::XATTR_CREATE => Some(XattrMode::Create),
        libc::XATTR_REPLACE => Some(XattrMode::Replace),
        _ => None,
    }
}
