//! What can go wrong with a store, and the errno and exit code of each.

use std::fmt;

use super::recovery::RecoveryReport;
use crate::log;

/// What can go wrong with a store, each message for the person who must act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such key.
    #[error("no such key")]
    NotFound,
    /// The inode that a handle or the kernel speaks of is gone.
    #[error("the entry is gone")]
    Stale,
    /// The key is there already.
    #[error("the key exists")]
    Exists,
    /// A part of the path is not a directory.
    #[error("not a directory")]
    NotADirectory,
    /// A directory has no value.
    #[error("it is a directory")]
    IsADirectory,
    /// The directory holds keys.
    #[error("the directory is not empty")]
    NotEmpty,
    /// A component of the path is empty, `.`, `..`, or holds a `/` or NUL.
    #[error("a key is a path of names between slashes; a name is not empty, `.` or `..`, and has no NUL in it")]
    InvalidName,
    /// A component of the path is longer than 255 bytes.
    #[error("a name has at most 255 bytes")]
    NameTooLong,
    /// A snapshot cannot be called so.
    #[error("a snapshot's name is 1 to 251 bytes without a slash or NUL, is not `.` or `..`, and does not end in .tmp")]
    InvalidSnapshotName,
    /// As many snapshots are open as there is memory for.
    #[error(
        "files are open in as many snapshots as there is memory for: close some, or mount a snapshot by its own path"
    )]
    TooManySnapshots,
    /// The operation makes no sense for this entry, or with these arguments.
    #[error("{0}")]
    Invalid(&'static str),
    /// The operation is not allowed on this kind of entry.
    #[error("operation not permitted: {0}")]
    NotPermitted(&'static str),
    /// The operation is not allowed here.
    #[error("permission denied: {0}")]
    AccessDenied(&'static str),
    /// Such a thing is not supported.
    #[error("not supported: {0}")]
    NotSupported(&'static str),
    /// More than 65,000 names for one entry.
    #[error("an entry has at most 65,000 names")]
    TooManyLinks,
    /// There is no such extended attribute.
    #[error("no such extended attribute")]
    NoAttribute,
    /// An extended attribute is too long.
    #[error("extended attributes: {0}")]
    AttributeTooLong(&'static str),
    /// There are too many extended attributes.
    #[error("an entry has at most 256 KiB of extended attributes, and their names take at most 64 KiB with a NUL each")]
    TooManyAttributes,
    /// There is nothing at or behind this offset.
    #[error("the offset is behind the end")]
    BeyondEnd,
    /// The value would be too long.
    #[error("too much: a value has at most 2^63 - 1 bytes, and a batch about 4 GiB")]
    TooLarge,
    /// The value of a key is not as it was written.
    #[error("the value of {key} is damaged: {source}")]
    DamagedKey {
        /// The key.
        key: String,
        /// What is wrong.
        source: log::Error,
    },
    /// The last start met damage, and was told to refuse it.
    #[error("{0}")]
    Strict(Box<Refusal>),
    /// The last start could not read a part of the log: what would rely on that is not done.
    #[error("{0}: the start could not read a part of the log; see to the disk, and open the store again")]
    Unread(&'static str),
    /// The medium is full, up to the reserve that deletes and merges need.
    #[error("no space left on the medium")]
    NoSpace,
    /// The keys, with all that is known of their values, take as much memory as they may.
    #[error("no memory for what makes the keys take more of it: raise the memory limit, or remove keys")]
    OutOfMemory,
    /// More was changed while keys were listed than is kept for a listing.
    #[error("too much was changed while the keys were listed: list them again, or fewer at once")]
    TooManyChanges,
    /// There are as many keys as the tables in memory have places for.
    #[error(
        "no place for another key: the tables in memory are full, at about 134 million keys of a size; remove keys"
    )]
    TableFull,
    /// A batch takes more memory than it may.
    #[error("the batch takes more memory than Options::batch_limit allows: divide it")]
    BatchTooLarge,
    /// The store is open for reading only.
    #[error("the store is open for reading only")]
    ReadOnly,
    /// The store is about to be closed.
    #[error("the store is being closed")]
    Closing,
    /// The log or the medium failed.
    #[error(transparent)]
    Log(log::Error),
}

impl From<log::Error> for Error {
    fn from(error: log::Error) -> Error {
        match error {
            log::Error::NoSpace => Error::NoSpace,
            log::Error::ReadOnly => Error::ReadOnly,
            log::Error::TooLarge(_) => Error::TooLarge,
            other => Error::Log(other),
        }
    }
}

impl Error {
    /// The errno that a system call answers with, as in errno(3).
    pub fn errno(&self) -> i32 {
        match self {
            Error::NotFound => libc::ENOENT,
            Error::Stale => libc::ESTALE,
            Error::Exists => libc::EEXIST,
            Error::NotADirectory => libc::ENOTDIR,
            Error::IsADirectory => libc::EISDIR,
            Error::NotEmpty => libc::ENOTEMPTY,
            Error::InvalidName | Error::InvalidSnapshotName | Error::Invalid(_) => libc::EINVAL,
            Error::NameTooLong => libc::ENAMETOOLONG,
            Error::NotPermitted(_) => libc::EPERM,
            Error::AccessDenied(_) => libc::EACCES,
            Error::NotSupported(_) => libc::EOPNOTSUPP,
            Error::TooManyLinks => libc::EMLINK,
            Error::TooManySnapshots => libc::ENFILE,
            Error::NoAttribute => libc::ENODATA,
            Error::AttributeTooLong(_) => libc::E2BIG,
            Error::BeyondEnd => libc::ENXIO,
            Error::TooLarge => libc::EFBIG,
            Error::NoSpace | Error::OutOfMemory | Error::TableFull | Error::TooManyAttributes => libc::ENOSPC,
            Error::TooManyChanges => libc::EAGAIN,
            Error::BatchTooLarge => libc::ENOMEM,
            Error::ReadOnly => libc::EROFS,
            Error::Closing => libc::ESHUTDOWN,
            Error::Log(log::Error::NotDurable) => libc::ENOSPC,
            Error::Log(log::Error::InTransaction) => libc::EDEADLK,
            Error::DamagedKey { source: error, .. } | Error::Log(error) => error.passing().unwrap_or(libc::EIO),
            Error::Strict(_) | Error::Unread(_) => libc::EIO,
        }
    }
}

/// Why a store was not opened with [`Options::strict`](super::Options::strict): what the start met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub RecoveryReport);

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// So many keys are named.
        const NAMED: usize = 10;
        let RecoveryReport { damage, unread, damaged_keys: keys, lost_directories, .. } = &self.0;
        let bytes: u64 = damage.iter().map(|damage| damage.len).sum();
        write!(formatter, "the start met damage in {} places ({bytes} bytes) and is strict", damage.len())?;
        if !unread.is_empty() {
            write!(formatter, "; it could not read {} bytes in {} places", self.0.unread_bytes(), unread.len())?;
        }
        if !keys.is_empty() {
            write!(formatter, "; damaged keys: {}", keys.get(..NAMED.min(keys.len())).unwrap_or_default().join(", "))?;
        }
        if keys.len() > NAMED {
            write!(formatter, " and {} more", keys.len() - NAMED)?;
        }
        if !lost_directories.is_empty() {
            write!(formatter, "; {} directories lost their names", lost_directories.len())?;
        }
        write!(formatter, ": `caskfs verify` says where; without --strict all other keys can be used")
    }
}
