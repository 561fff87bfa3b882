//! `fuser::Filesystem` over [`fs::Tree`](crate::fs::Tree): wire types in, wire types out, no policy.
//!
//! Invariants:
//! - Handlers run on the event-loop threads and never wait for a sync: a reply that must is parked.
//! - What is answered `ENOSYS` the kernel asks once, and from then on does itself or refuses. Locks are not here at all: it
//!   never asks for them (no lock capability).

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, FopenFlags, INodeNo, IoctlFlags, KernelConfig,
    LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier, RenameFlags, ReplyAttr, ReplyBmap, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen,
    ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::answer::{made, nothing_but};
use super::attributes::{
    FOREVER, GENERATION, caller, kept, kind_from_mode, lifetime, maker, nothing, open_flags, permissions, rename_mode,
    set_time, wire, xattr_mode,
};
use super::reply::{Operation, Refuse, errno};
use super::service::Service;
use super::{capabilities, directory, groups};
use crate::fs::{AccessTimes, AclKind, CopyEnd, Error, SetAttributes, Tree, Writing, Written, lasts};
use crate::store::{EntryId, Wait};

/// The longest name, in bytes.
const NAME_MAX: u32 = 255;

/// Serves one mount.
pub(super) struct Adapter {
    pub(super) service: Arc<Service>,
    /// Whether the kernel checks permissions.
    pub(super) checked: bool,
    /// Whether access control lists may be stored: not if the kernel checks permissions and does not go by them, since a mode that
    /// is in step with one allows more by itself.
    pub(super) acls: bool,
}

impl Adapter {
    /// An adapter to what is served; `checked` says whether the kernel checks permissions.
    pub(super) fn new(service: Arc<Service>, checked: bool) -> Adapter {
        Adapter { service, checked, acls: false }
    }
}

/// The flags of an open file: its pages stay cached, since nobody else changes them. A handle that cannot have changed
/// anything needs no FLUSH; one that can must keep it, for FLUSH is what writes a mapping's pages out at close.
/// What is made at open is read past the cache: its size, which was another's, must not cut it.
/// And nothing is kept where every access counts.
fn open_answer(id: EntryId, flags: crate::fs::OpenFlags, times: AccessTimes) -> FopenFlags {
    let keep = if times == AccessTimes::Strict { FopenFlags::empty() } else { FopenFlags::FOPEN_KEEP_CACHE };
    if !lasts(id) {
        FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_NOFLUSH
    } else if flags.write {
        keep
    } else {
        keep | FopenFlags::FOPEN_NOFLUSH
    }
}

impl fuser::Filesystem for Adapter {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        capabilities::negotiate(config);
        // Who asks for them asks for checks too.
        self.acls = self.service.tree.has_acls() && (!self.checked || capabilities::ask_for_acls(config));
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = name.as_bytes().to_vec();
        let answer = self.service.begin_answer(parent);
        // A hidden key is there again if the clock is set back.
        let work = move |fs: &Tree| fs.lookup(parent.0, &name).map(|found| (found, fs.hides()));
        self.answer_apart("lookup", parent, reply, work, move |reply, (found, hides)| {
            let _answer = answer;
            let attributes = found.as_ref().map_or_else(nothing, wire);
            let kept = found.as_ref().map_or(if hides { std::time::Duration::ZERO } else { FOREVER }, kept);
            reply.entry_with_ttls(&kept, &lifetime(parent.0).min(kept), &attributes, GENERATION);
        });
    }

    // BATCH_FORGET is handed over one by one by fuser.
    fn forget(&self, _request: &Request, id: INodeNo, count: u64) {
        self.service.guard.run("forget", (), |()| self.service.tree.forget(id.0, count));
    }

    fn getattr(&self, _request: &Request, id: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        let answer = self.service.begin_answer(id);
        let work = move |fs: &Tree| fs.getattr(id.0);
        self.answer_apart("getattr", id, reply, work, move |reply, stat| {
            let _answer = answer;
            reply.attr(&kept(&stat), &wire(&stat));
        });
    }

    fn setattr(
        &self,
        request: &Request,
        id: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let change = SetAttributes {
            mode: mode.map(permissions),
            uid,
            gid,
            size,
            atime: atime.map(set_time),
            mtime: mtime.map(set_time),
        };
        let work = |fs: &Tree| fs.setattr(&caller(request), id.0, handle.map(|handle| handle.0), change);
        let answer = self.service.begin_answer(id);
        self.answer_durable("setattr", id, reply, work, move |reply, stat| {
            let _answer = answer;
            reply.attr(&kept(&stat), &wire(&stat));
        });
    }

    fn readlink(&self, _request: &Request, id: INodeNo, reply: ReplyData) {
        self.answer_apart("readlink", id, reply, move |fs| fs.readlink(id.0), |reply, target| reply.data(&target));
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let Some(kind) = kind_from_mode(mode) else { return reply.error(Errno::EINVAL) };
        self.answer_entry("mknod", parent, reply, |fs| {
            fs.mknod(&maker(request, umask), parent.0, name.as_bytes(), kind, permissions(mode), rdev)
        });
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let (maker, name) = (maker(request, umask), name.as_bytes().to_vec());
        let work = move |fs: &Tree| fs.mkdir(&maker, parent.0, &name, permissions(mode));
        let answer = self.service.begin_answer(parent);
        self.answer_durable_apart("mkdir", parent, reply, work, move |reply, stat| {
            let _answer = answer;
            made(reply, parent, &stat);
        });
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.answer_done("unlink", parent, reply, |fs| fs.unlink(parent.0, name.as_bytes()));
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.as_bytes().to_vec();
        let work = move |fs: &Tree| fs.rmdir(parent.0, &name).map(|sequence| ((), sequence));
        self.answer_durable_apart("rmdir", parent, reply, work, |reply, ()| reply.ok());
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let target = target.as_os_str().as_bytes();
        self.answer_entry("symlink", parent, reply, |fs| {
            fs.symlink(&caller(request), parent.0, name.as_bytes(), target)
        });
    }

    fn rename(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let Some(mode) = rename_mode(flags) else { return reply.error(Errno::EINVAL) };
        let (name, new_name) = (name.as_bytes().to_vec(), new_name.as_bytes().to_vec());
        let names = [(parent.0, name.clone()), (new_parent.0, new_name.clone())];
        let warm = move |fs: &Tree, wait| names.iter().all(|(parent, name)| fs.warm_name(*parent, name, wait));
        let caller = caller(request);
        let work =
            move |fs: &Tree| fs.rename_as(&caller, (parent.0, &name), (new_parent.0, &new_name), mode).map(nothing_but);
        self.answer_warm("rename", parent, reply, warm, work, |reply, ()| reply.ok());
    }

    fn link(&self, _request: &Request, id: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = name.as_bytes().to_vec();
        let work = move |fs: &Tree| fs.link(id.0, parent.0, &name);
        self.answer_warm(
            "link",
            id,
            reply,
            move |fs, wait| fs.warm(id.0, wait),
            work,
            move |reply, stat| {
                made(reply, id, &stat);
            },
        );
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (flags, times) = (open_flags(flags), self.service.tree.access_times());
        let maker = maker(request, umask);
        let work = |fs: &Tree| fs.create(&maker, parent.0, name.as_bytes(), permissions(mode), flags);
        let _answer = self.service.begin_answer(parent);
        self.answer("create", parent, reply, work, |reply, (stat, handle)| {
            reply.created(&FOREVER, &wire(&stat), GENERATION, FileHandle(handle), open_answer(stat.id, flags, times));
        });
    }

    fn open(&self, _request: &Request, id: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let (flags, times) = (open_flags(flags.0), self.service.tree.access_times());
        let work = move |fs: &Tree| fs.open(id.0, flags);
        self.answer_apart("open", id, reply, work, move |reply, handle| {
            reply.opened(FileHandle(handle), open_answer(id.0, flags, times))
        });
    }

    fn read(
        &self,
        _request: &Request,
        id: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.answer_read(id, handle, offset, size as usize, reply);
    }

    fn write(
        &self,
        request: &Request,
        id: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let caller = caller(request);
        let kills = write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        // What a mapping is written back from has its place.
        let append = flags.0 & libc::O_APPEND != 0 && !write_flags.contains(WriteFlags::FUSE_WRITE_CACHE);
        let service = Arc::clone(&self.service);
        let accept = move |reply: ReplyWrite, written: Written| {
            service.stripped(id, written);
            if written.moved {
                service.drop_pages(id);
            }
            // No longer than the data, which came in one request.
            reply.written(written.bytes as u32);
        };
        // A write may have to make room in memory first.
        if self.service.tree.warm_write(id.0, Wait::No) {
            let how = Writing { kill: kills.then_some(&caller), append };
            let work = |fs: &Tree| fs.write(id.0, handle.0, offset, data, how);
            return self.answer("write", id, reply, work, accept);
        }
        let data = data.to_vec();
        let work = move |fs: &Tree| {
            let how = Writing { kill: kills.then_some(&caller), append };
            fs.write(id.0, handle.0, offset, &data, how).map(|written| (written, None))
        };
        self.answer_warm("write", id, reply, move |fs, wait| fs.warm_write(id.0, wait), work, accept);
    }

    fn flush(&self, _request: &Request, id: INodeNo, handle: FileHandle, _lock_owner: LockOwner, reply: ReplyEmpty) {
        let work = move |fs: &Tree| fs.flush(id.0, handle.0).map(nothing_but);
        self.answer_warm("flush", id, reply, move |fs, wait| fs.warm(id.0, wait), work, |reply, ()| reply.ok());
    }

    fn release(
        &self,
        _request: &Request,
        id: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        // Nobody waits for this answer, so that an error can only be logged, whatever it is.
        let work = move |fs: &Tree| {
            if let Err(error) = fs.release(id.0, handle.0) {
                log::error!("inode {id} was closed, and what was not yet written of it is lost: {error}");
            }
            Ok(((), None))
        };
        self.answer_warm("release", id, reply, move |fs, wait| fs.warm(id.0, wait), work, |reply, ()| reply.ok());
    }

    fn fsync(&self, _request: &Request, id: INodeNo, handle: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let work = move |fs: &Tree| fs.fsync(id.0, handle.0).map(nothing_but);
        self.answer_warm("fsync", id, reply, move |fs, wait| fs.warm(id.0, wait), work, |reply, ()| reply.ok());
    }

    fn opendir(&self, _request: &Request, id: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        // The kernel keeps the listing and drops it at any change that it makes itself.
        let kept = match self.service.tree.listings_last() {
            true => FopenFlags::FOPEN_KEEP_CACHE,
            false => FopenFlags::empty(),
        };
        let flags = match self.service.tree.access_times() {
            AccessTimes::Strict => FopenFlags::empty(),
            _ if !lasts(id.0) => FopenFlags::empty(),
            _ => FopenFlags::FOPEN_CACHE_DIR | kept,
        };
        reply.opened(FileHandle(0), flags);
    }

    fn readdir(&self, _request: &Request, id: INodeNo, _handle: FileHandle, cookie: u64, reply: ReplyDirectory) {
        let answer = self.service.begin_answer(id);
        self.service.run("readdir", id, reply, move |tree, mut reply| {
            let _answer = answer;
            match directory::list(tree, id.0, cookie, &mut reply) {
                Ok(()) => reply.ok(),
                Err(error) => reply.refuse(errno(Operation { name: "readdir", id: id.0 }, &error)),
            }
        });
    }

    fn readdirplus(
        &self,
        _request: &Request,
        id: INodeNo,
        _handle: FileHandle,
        cookie: u64,
        reply: ReplyDirectoryPlus,
    ) {
        let answer = self.service.begin_answer(id);
        let service = Arc::clone(&self.service);
        self.service.run("readdirplus", id, reply, move |tree, mut reply| {
            let _answer = answer;
            let listed = directory::list_with_attributes(tree, id.0, cookie, &mut reply);
            service.prepared("readdirplus");
            match listed {
                Ok(()) => reply.ok(),
                Err(error) => reply.refuse(errno(Operation { name: "readdirplus", id: id.0 }, &error)),
            }
        });
    }

    // Asked where the kernel checks no permissions.
    fn access(&self, _request: &Request, id: INodeNo, wanted: AccessFlags, reply: ReplyEmpty) {
        let execute = wanted.contains(AccessFlags::X_OK);
        let work = move |fs: &Tree| fs.check_access_of_root(id.0, execute);
        self.answer_apart("access", id, reply, work, |reply, ()| reply.ok());
    }

    fn fsyncdir(&self, _request: &Request, id: INodeNo, _handle: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.answer_done("fsyncdir", id, reply, |fs| fs.fsyncdir(id.0));
    }

    fn statfs(&self, _request: &Request, id: INodeNo, reply: ReplyStatfs) {
        self.answer("statfs", id, reply, Tree::statfs, |reply, stat| {
            let crate::fs::FilesystemStat { block_size, blocks, free, available, files, files_free } = stat;
            reply.statfs(blocks, free, available, files, files_free, block_size, NAME_MAX, block_size);
        });
    }

    fn setxattr(
        &self,
        request: &Request,
        id: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let Some(mode) = xattr_mode(flags) else { return reply.error(Errno::EINVAL) };
        self.answer_done("setxattr", id, reply, |fs| match AclKind::of(name.as_bytes()) {
            // The kernel sends no flags with these.
            Some(which) if self.acls => {
                let set = fs.set_acl(id.0, which, value, &|gid| groups::keeps_setgid(request, gid))?;
                if !self.checked {
                    // A list sets the mode too, which the kernel knows only if it goes by lists.
                    self.service.drop_attributes(id);
                }
                Ok(set)
            }
            _ => fs.setxattr(&caller(request), id.0, name.as_bytes(), value, mode),
        });
    }

    fn getxattr(&self, _request: &Request, id: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let name = name.as_bytes().to_vec();
        // Where the kernel goes by lists it asks for them itself, and takes this for a failure.
        let by_kernel = self.checked && AclKind::of(&name).is_some();
        self.answer_bytes("getxattr", id, size, reply, move |fs| match fs.getxattr(id.0, &name) {
            Err(Error::NoAttribute) if !by_kernel && fs.lacks_xattr(id.0, &name) => {
                Err(Error::NotSupported("there is no such attribute in this store"))
            }
            other => other,
        });
    }

    fn listxattr(&self, _request: &Request, id: INodeNo, size: u32, reply: ReplyXattr) {
        self.answer_bytes("listxattr", id, size, reply, move |fs| fs.listxattr(id.0));
    }

    fn removexattr(&self, request: &Request, id: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.answer_done("removexattr", id, reply, |fs| fs.removexattr(&caller(request), id.0, name.as_bytes()));
    }

    fn fallocate(
        &self,
        request: &Request,
        id: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let work = |fs: &Tree| fs.fallocate(&caller(request), id.0, handle.0, mode, offset, length);
        self.answer("fallocate", id, reply, work, |reply, written| {
            self.service.stripped(id, written);
            reply.ok();
        });
    }

    fn lseek(&self, _request: &Request, id: INodeNo, _handle: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        let Ok(offset) = u64::try_from(offset) else { return reply.error(Errno::ENXIO) };
        let work = move |fs: &Tree| fs.lseek(id.0, offset, whence);
        self.answer_apart("lseek", id, reply, work, |reply, position| match i64::try_from(position) {
            Ok(position) => reply.offset(position),
            Err(_) => reply.error(Errno::EOVERFLOW),
        });
    }

    fn copy_file_range(
        &self,
        request: &Request,
        from: INodeNo,
        from_handle: FileHandle,
        from_offset: u64,
        to: INodeNo,
        to_handle: FileHandle,
        to_offset: u64,
        length: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let from = CopyEnd { id: from.0, handle: from_handle.0, offset: from_offset };
        let end = CopyEnd { id: to.0, handle: to_handle.0, offset: to_offset };
        let caller = caller(request);
        let work = move |fs: &Tree| fs.copy_file_range(&caller, from, end, length).map(|copied| (copied, None));
        let range = from_offset..from_offset.saturating_add(length);
        let warm = move |fs: &Tree, wait| fs.warm_copy(from.id, range.clone(), wait) && fs.warm_write(to.0, wait);
        let service = Arc::clone(&self.service);
        self.answer_warm("copy_file_range", to, reply, warm, work, move |reply, copied: Written| {
            service.stripped(to, copied);
            // At most 8 MiB.
            reply.written(copied.bytes as u32);
        });
    }

    // isatty(3) asks this of any file. The kernel then answers ENOTTY.
    fn ioctl(
        &self,
        _request: &Request,
        _id: INodeNo,
        _handle: FileHandle,
        _flags: IoctlFlags,
        _command: u32,
        _data: &[u8],
        _size: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(Errno::ENOSYS);
    }

    // The kernel then calls every file ready.
    fn poll(
        &self,
        _request: &Request,
        _id: INodeNo,
        _handle: FileHandle,
        _notifier: PollNotifier,
        _events: PollEvents,
        _flags: PollFlags,
        reply: ReplyPoll,
    ) {
        reply.error(Errno::ENOSYS);
    }

    fn bmap(&self, _request: &Request, _id: INodeNo, _block_size: u32, _block: u64, reply: ReplyBmap) {
        reply.error(Errno::ENOSYS);
    }
}
