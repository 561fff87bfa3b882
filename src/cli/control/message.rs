//! What is said over the socket.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::statistics::Statistics;
use crate::cli::exit::Failure;
use crate::store::{self, Kind, Listed, Met, Stat, check_name, check_snapshot_name};

/// What a command wants. Keys are bytes, and so arrays of numbers in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cli) enum Request {
    /// A key's value.
    Get { key: Vec<u8> },
    /// Set a key to the bytes that follow, for so long. With their number, so that a command that dies before it has sent
    /// all of them sets nothing; an older one does not tell it.
    Put { key: Vec<u8>, ttl: Option<Duration>, len: Option<u64> },
    /// Remove a key, or all below a directory.
    Remove { key: Vec<u8>, recursive: bool },
    /// Rename a key.
    Rename { from: Vec<u8>, to: Vec<u8> },
    /// The keys in a directory, or all that begin with a prefix.
    List { prefix: Vec<u8>, recursive: bool },
    /// What stat shows of a key.
    Stat { key: Vec<u8> },
    /// What the store says of itself.
    Info,
    /// Merge until little is dead, reading so many bytes a second.
    Compact { rate: Option<u64> },
    /// What that would do.
    PlanCompaction,
    /// Take a snapshot.
    Snapshot { name: String },
    /// A snapshot to copy from, which is there for as long as the command does not shut its side of the connection down.
    Backup,
    /// The snapshots.
    Snapshots,
    /// Remove a snapshot.
    RemoveSnapshot { name: String },
    /// Read and check everything.
    Verify,
}

impl Request {
    /// Whether its keys can be keys: asked before a store is opened, since to open one for a change is a change itself.
    pub(in crate::cli) fn check(&self) -> Result<(), Failure> {
        let keys = match self {
            Request::Get { key } | Request::Put { key, .. } | Request::Remove { key, .. } => vec![key],
            Request::Rename { from, to } => vec![from, to],
            // The root has a stat too.
            Request::Stat { key } if key.is_empty() => vec![],
            Request::Stat { key } => vec![key],
            Request::List { .. } | Request::Info | Request::Verify => vec![],
            Request::Compact { .. } | Request::PlanCompaction => vec![],
            Request::Snapshots | Request::Backup => vec![],
            Request::Snapshot { name } | Request::RemoveSnapshot { name } => {
                return Ok(check_snapshot_name(name)?);
            }
        };
        for key in keys {
            let names = key.split(|&byte| byte == b'/').map(check_name);
            let checked = names.collect::<Result<(), _>>();
            checked.map_err(|error| Failure::from(error).about(String::from_utf8_lossy(key)))?;
        }
        Ok(())
    }
}

/// What comes of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::cli) enum Reply {
    Done,
    /// The value follows: so many bytes.
    Value {
        size: u64,
    },
    Entries(Vec<Entry>),
    /// Names of a listing, in its order. Others follow, until it is done or has failed.
    Names(Vec<Name>),
    Info(Box<StoreInfo>),
    Merges(Vec<Merge>),
    Snapshots(Vec<Snapshot>),
    /// The name of the snapshot that a backup is made from.
    Backup {
        name: String,
    },
    /// How far a verification has come; another reply follows.
    Progress {
        done: u64,
        total: u64,
    },
    Verified(Box<Verification>),
    Failed(Failure),
}

/// A merge that would be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cli) struct Merge {
    pub(in crate::cli) segments: Vec<u32>,
    pub(in crate::cli) bytes: u64,
    /// Bytes of these that it would copy.
    pub(in crate::cli) copied: u64,
}

/// A key, with what stat shows of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cli) struct Entry {
    pub(in crate::cli) key: Vec<u8>,
    /// `file`, `directory`, `symlink`, `fifo`, `socket`, `character device` or `block device`.
    pub(in crate::cli) kind: String,
    pub(in crate::cli) inode: u64,
    pub(in crate::cli) mode: u16,
    pub(in crate::cli) links: u32,
    pub(in crate::cli) uid: u32,
    pub(in crate::cli) gid: u32,
    pub(in crate::cli) size: u64,
    /// Bytes that the log holds of it.
    pub(in crate::cli) allocated: u64,
    /// Nanoseconds since 1970.
    pub(in crate::cli) mtime: i64,
    pub(in crate::cli) ctime: i64,
    /// When it is gone by itself.
    pub(in crate::cli) expires: Option<i64>,
    /// A symbolic link's target.
    pub(in crate::cli) target: Option<Vec<u8>>,
}

/// A name of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cli) struct Name {
    /// How many directories it is below those that come first: those are the names before it.
    pub(in crate::cli) depth: usize,
    /// What it is: `key` is the name, and of those that come first the whole key.
    pub(in crate::cli) entry: Entry,
}

impl From<Met> for Name {
    fn from(Met { depth, name, stat, target }: Met) -> Name {
        Name { depth, entry: Entry::new(Listed { key: name, stat, target }) }
    }
}

impl Entry {
    pub(in crate::cli) fn new(listed: Listed) -> Entry {
        let Listed { key, stat: Stat { id, attributes, size, allocated, links, expires }, target } = listed;
        let target = (attributes.kind == Kind::Symlink).then(|| target.into_vec());
        let kind = match attributes.kind {
            Kind::File => "file",
            Kind::Directory => "directory",
            Kind::Symlink => "symlink",
            Kind::Fifo => "fifo",
            Kind::Socket => "socket",
            Kind::CharDevice => "character device",
            Kind::BlockDevice => "block device",
        };
        Entry {
            key,
            kind: kind.into(),
            inode: id,
            mode: attributes.mode,
            links,
            uid: attributes.uid,
            gid: attributes.gid,
            size,
            allocated,
            mtime: attributes.mtime.0,
            ctime: attributes.ctime.0,
            expires: expires.map(|at| at.0),
            target,
        }
    }
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cli) struct Snapshot {
    pub(in crate::cli) name: String,
    /// Nanoseconds since 1970; `None` if it is damaged.
    pub(in crate::cli) taken: Option<i64>,
    pub(in crate::cli) sequence: u64,
    pub(in crate::cli) segments: u64,
    /// Bytes of its segments, shared ones too.
    pub(in crate::cli) bytes: u64,
}

impl From<store::Snapshot> for Snapshot {
    fn from(snapshot: store::Snapshot) -> Snapshot {
        let store::Snapshot { name, taken, sequence, segments, bytes } = snapshot;
        Snapshot { name, taken: taken.map(|taken| taken.0), sequence, segments, bytes }
    }
}

/// What a store says of itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::cli) struct StoreInfo {
    pub(in crate::cli) store: String,
    pub(in crate::cli) id: String,
    pub(in crate::cli) format_version: u32,
    /// How often it was opened for writing.
    pub(in crate::cli) epoch: u32,
    pub(in crate::cli) keys: u64,
    pub(in crate::cli) segments: u64,
    pub(in crate::cli) log_bytes: u64,
    /// Bytes of these that a merge would have to copy.
    pub(in crate::cli) live_bytes: u64,
    /// Bytes of memory that the keydir takes, about.
    pub(in crate::cli) keydir_bytes: u64,
    /// Merges since the store was opened.
    pub(in crate::cli) merges: u64,
    pub(in crate::cli) snapshots: u64,
    /// Bytes on the disk that only snapshots keep there.
    pub(in crate::cli) snapshot_bytes: u64,
    /// When the store was taken as a snapshot, if it is one or a copy of one: nanoseconds since 1970.
    pub(in crate::cli) taken: Option<i64>,
    pub(in crate::cli) free_bytes: u64,
    pub(in crate::cli) sequence: u64,
    pub(in crate::cli) durable_sequence: u64,
    /// Why it refuses writes, if a write failed.
    pub(in crate::cli) failure: Option<String>,
    /// What of the work in the background fails, and is tried again later.
    #[serde(default)]
    pub(in crate::cli) background_trouble: Option<String>,
    pub(in crate::cli) mountpoint: Option<String>,
    pub(in crate::cli) daemon_pid: Option<u32>,
    pub(in crate::cli) recovery: Recovery,
    pub(in crate::cli) statistics: Statistics,
}

/// What the last start found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::cli) struct Recovery {
    pub(in crate::cli) records: u64,
    /// Unacknowledged bytes that a crash left and that were cut off.
    pub(in crate::cli) torn_bytes: u64,
    /// Bytes of the log that are not as they were written.
    pub(in crate::cli) damaged_bytes: u64,
    /// Stretches that could not be read: path, offset and length. While there are any nothing is merged.
    #[serde(default)]
    pub(in crate::cli) unread: Vec<(String, u64, u64)>,
    pub(in crate::cli) damaged_keys: Vec<String>,
    /// Keys of which a record could not be read.
    #[serde(default)]
    pub(in crate::cli) unread_keys: Vec<String>,
    pub(in crate::cli) lost_directories: Vec<String>,
}

/// What verifying found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::cli) struct Verification {
    pub(in crate::cli) segments: u64,
    pub(in crate::cli) records: u64,
    pub(in crate::cli) bytes: u64,
    pub(in crate::cli) damage: Vec<DamagedPart>,
    /// Hints that are not used. They are made anew.
    pub(in crate::cli) useless_hints: Vec<String>,
    pub(in crate::cli) damaged_keys: Vec<String>,
    /// Keys whose values a repair could not save.
    pub(in crate::cli) lost_keys: Vec<String>,
    /// Snapshots that there are: what they alone hold was not read.
    pub(in crate::cli) snapshots: u64,
}

/// A part of a file that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::cli) struct DamagedPart {
    pub(in crate::cli) file: String,
    pub(in crate::cli) offset: u64,
    /// 0 for the whole of a file.
    pub(in crate::cli) length: u64,
    pub(in crate::cli) what: String,
    /// The key that the record there was about, if that is known; it may have a newer one.
    pub(in crate::cli) key: Option<String>,
}
