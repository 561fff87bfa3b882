//! The words of a workload.

use caskfs::fs::RenameMode;

/// An open file of the workload.
pub(crate) type Slot = usize;

/// One call into the filesystem, or into the store beneath it.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    /// open(2) with O_CREAT of a name that is free.
    Create {
        slot: Slot,
        path: String,
        mode: u16,
    },
    Open {
        slot: Slot,
        path: String,
        write: bool,
        truncate: bool,
    },
    Write {
        slot: Slot,
        offset: u64,
        len: usize,
        stamp: u16,
    },
    /// copy_file_range(2), again and again until nothing comes any more.
    Copy {
        from: Slot,
        to: Slot,
        from_offset: u64,
        to_offset: u64,
        len: u64,
    },
    /// Reads the whole file and compares it with the model.
    Read {
        slot: Slot,
    },
    Punch {
        slot: Slot,
        offset: u64,
        len: u64,
    },
    Resize {
        slot: Slot,
        size: u64,
    },
    Flush {
        slot: Slot,
    },
    Fsync {
        slot: Slot,
    },
    Release {
        slot: Slot,
    },
    /// Merges whatever is worth it, or just these segments.
    Merge {
        run: Option<(usize, usize)>,
    },
    Snapshot {
        name: &'static str,
    },
    RemoveSnapshot {
        name: &'static str,
    },
    Truncate {
        path: String,
        size: u64,
    },
    Chmod {
        path: String,
        mode: u16,
    },
    Utimens {
        path: String,
        atime: i64,
        mtime: i64,
    },
    SetXattr {
        path: String,
        name: &'static str,
        value: Vec<u8>,
    },
    RemoveXattr {
        path: String,
        name: &'static str,
    },
    Mkdir {
        path: String,
        mode: u16,
    },
    Mkfifo {
        path: String,
    },
    Symlink {
        path: String,
        target: String,
    },
    Unlink {
        path: String,
    },
    Rmdir {
        path: String,
    },
    Rename {
        from: String,
        to: String,
        mode: RenameMode,
    },
    Link {
        from: String,
        to: String,
    },
    FsyncDir {
        path: String,
    },
    SyncAll,
    /// Lets time pass; then what is due may be removed.
    Wait {
        seconds: i64,
        remove: bool,
    },
    /// [`Store::put`](caskfs::Store::put), or [`Store::put_expiring`](caskfs::Store::put_expiring).
    Put {
        path: String,
        len: usize,
        stamp: u16,
        expires: Option<i64>,
    },
    /// [`Store::write`](caskfs::Store::write).
    Batch(Vec<Change>),
}

impl Call {
    /// How many seconds pass before it is made.
    pub(crate) fn seconds(&self) -> i64 {
        match self {
            Call::Wait { seconds, .. } => *seconds,
            _ => 0,
        }
    }
}

/// A change in a batch.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Put { path: String, len: usize, stamp: u16, expires: Option<i64> },
    Remove { path: String },
    Rename { from: String, to: String },
}

/// The directory of a path, and its last name.
pub(crate) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// The path of a name in a directory.
pub(crate) fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.into() } else { format!("{directory}/{name}") }
}
