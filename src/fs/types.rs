//! The words in which `fs` speaks to whoever drives it: a kernel adapter, or a test.

use super::AccessTimes;
use crate::store::{EntryId, Kind, Time};
pub use crate::store::{RenameMode, XattrMode};

/// Sequence number that must be durable before the caller may be answered; see `Filesystem::when_durable`.
pub type Sequence = u64;

/// An open file or directory.
pub type HandleId = u64;

/// Who asks, as the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
    /// What its umask takes from the mode of what it makes.
    pub umask: u16,
}

impl Caller {
    /// Itself, unless it is root, who keeps what others lose.
    pub(super) fn without_rights(&self) -> Option<&Caller> {
        Some(self).filter(|caller| caller.uid != 0)
    }
}

/// How bytes are written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Writing<'a> {
    /// Who writes, if it is to take privileges from the file.
    pub kill: Option<&'a Caller>,
    /// At the end, wherever that is: the offset is where the kernel takes it to be.
    pub append: bool,
}

/// What a change of a value did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Bytes written.
    pub bytes: u64,
    /// They are not at the offset that was asked for: the end was elsewhere.
    pub moved: bool,
    /// The file has lost permission bits or capabilities by it.
    pub stripped: bool,
}

/// When a change is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyncMode {
    /// `close` and `fsync` of a changed file wait for the medium.
    #[default]
    Close,
    /// So does every other change: rename, unlink, mkdir, chmod, ...
    Always,
    /// Only `fsync` waits; everything else is on the medium at most a second later.
    Interval,
}

/// What is fixed when a filesystem is made over a store.
#[derive(Clone, Debug, Default)]
pub struct FilesystemOptions {
    /// When a change is waited for.
    pub sync: SyncMode,
    /// Show every entry as owned by this user.
    pub uid: Option<u32>,
    /// Show every entry as owned by this group.
    pub gid: Option<u32>,
    /// Take these permission bits from every entry shown.
    pub umask: u16,
    /// When reading changes the time of last access.
    pub access_times: AccessTimes,
    /// But not that of directories: nodiratime.
    pub no_directory_access_times: bool,
    /// Bytes of dirty data held in memory before it is spilled to the log; 0 for the default of 64 MiB.
    pub dirty_limit: usize,
}

/// A change of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// To the present.
    Now,
    /// To this.
    At(Time),
}

/// A change of attributes; `None` leaves one alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAttributes {
    /// Permission bits with suid, sgid and sticky.
    pub mode: Option<u16>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Length of the value in bytes: truncate.
    pub size: Option<u64>,
    /// Last access.
    pub atime: Option<SetTime>,
    /// Last change of the value.
    pub mtime: Option<SetTime>,
}

/// How a file is opened: what matters here of open(2)'s flags. O_TRUNC does not: whoever opens then sets the length to
/// 0, with [`Filesystem::setattr`](super::Filesystem::setattr).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenFlags {
    /// O_WRONLY or O_RDWR.
    pub write: bool,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Where to go on after this entry: hand it to the next `readdir`. Stays valid whatever changes in the directory.
    pub cookie: u64,
    /// The entry's inode number.
    pub id: EntryId,
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: Vec<u8>,
}

/// What statfs(2) shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilesystemStat {
    /// Size of a block in bytes; the counts below are in such blocks.
    pub block_size: u32,
    /// All blocks.
    pub blocks: u64,
    /// Free blocks.
    pub free: u64,
    /// Free blocks that users may fill.
    pub available: u64,
    /// Entries that there are and that still fit.
    pub files: u64,
    /// Entries that still fit.
    pub files_free: u64,
}
