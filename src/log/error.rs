//! What can go wrong with a log.

use std::io;

use super::{Location, Report, Unread};
use crate::medium::Trouble;

/// What can go wrong with a log, each message for the person who must act.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The directory holds no store.
    #[error("there is no caskfs store here")]
    NotAStore,
    /// Files of somebody else are where a store should be created.
    #[error("the directory is neither a caskfs store nor empty")]
    NotEmpty,
    /// The store was written by a newer version.
    #[error("the store has format version {found}, and this program reads up to version {known}: use a newer caskfs")]
    FutureVersion {
        /// The store's version.
        found: u32,
        /// The newest version that this program reads.
        known: u32,
    },
    /// Another process holds the store.
    #[error("the store is in use by another process")]
    Locked,
    /// A file that the store cannot do without cannot be understood.
    #[error("{file} is damaged: {what}")]
    DamagedFile {
        /// Its path in the store.
        file: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Recovery met damage, and was told to refuse it.
    #[error("the log is damaged in {} places", .0.damage.len())]
    DamageMet(Box<Report>),
    /// A part of the store could not be read, and what was asked for would have treated it as lost.
    #[error("the disk fails to read {}, which may be as it was written: see to the disk, and try again", super::unread::summary(.0))]
    Unread(Vec<Unread>),
    /// A record is not as it was written.
    #[error("the record at {location} is damaged: {what}")]
    Damaged {
        /// Where it is.
        location: Location,
        /// What is wrong with it.
        what: &'static str,
    },
    /// The disk is full; nothing was written.
    #[error("no space left on the medium")]
    NoSpace,
    /// What was written is there, and can be read; but the disk has no room for what makes it durable.
    #[error(
        "the change is made, but not durable yet: the disk has no room for it; free some, and the next sync tries again"
    )]
    NotDurable,
    /// The calling thread would wait for itself.
    #[error("this thread has a transaction open: commit it or drop it before")]
    InTransaction,
    /// The log was opened for reading.
    #[error("the store is open for reading only")]
    ReadOnly,
    /// The store is a snapshot, or a copy of one.
    #[error("it is a snapshot or a backup, and never written to: open it for reading, or restore it to another place")]
    Frozen,
    /// There is a snapshot of this name.
    #[error("there is a snapshot {0} already")]
    SnapshotExists(String),
    /// There is no snapshot of this name.
    #[error("there is no snapshot {0}")]
    NoSnapshot(String),
    /// What should be copied is a store that is written to.
    #[error("it is neither a snapshot nor a backup: of a store that is written to, take a backup first")]
    NotFrozen,
    /// Where a copy should go there is another store, or one that is written to.
    #[error("{0}")]
    Occupied(&'static str),
    /// An earlier write or sync failed; nothing is written until the store is opened again.
    #[error("the store is read-only since a write failed ({0}); unmount it, see to the disk, and open it again")]
    Failed(String),
    /// More than fits in one record or transaction.
    #[error("{0} bytes are too many for one transaction")]
    TooLarge(u64),
    /// The medium failed.
    #[error("{context}: {source}")]
    Io {
        /// What was attempted.
        context: String,
        /// The medium's answer.
        source: io::Error,
    },
}

/// Adds to an I/O error what was attempted.
pub(super) trait Context<T> {
    fn context(self, context: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, context: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::of(context(), source))
    }
}

/// Whether the medium is full, rather than broken.
pub(super) fn is_no_space(error: &io::Error) -> bool {
    Trouble::of(error) == Trouble::Full
}

/// Of an fsync: says that nothing is known any more of what it should have made durable.
pub(super) fn of_sync(error: io::Error) -> io::Error {
    match Trouble::of_sync(&error) {
        Trouble::Passing => error,
        // Whatever it says of itself.
        Trouble::Full | Trouble::Device => io::Error::other(LostSync(error)),
    }
}

/// Whether it is what [`of_sync`] made of an error.
pub(super) fn is_lost_sync(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<LostSync>())
}

#[derive(Debug, thiserror::Error)]
#[error("fsync: {0}")]
struct LostSync(io::Error);

impl Error {
    /// What a medium has answered to what was attempted.
    pub(super) fn of(context: impl Into<String>, source: io::Error) -> Error {
        match Trouble::of(&source) {
            Trouble::Full => Error::NoSpace,
            Trouble::Passing | Trouble::Device => Error::Io { context: context.into(), source },
        }
    }

    /// The errno of what passes by itself, and was no fault of the medium: nothing has changed, and it can be tried again.
    pub fn passing(&self) -> Option<i32> {
        match self {
            Error::Io { source, .. } if Trouble::of(source) == Trouble::Passing => source.raw_os_error(),
            _ => None,
        }
    }

    /// Whether the medium has failed to read what it has.
    pub(super) fn is_unreadable(&self) -> bool {
        matches!(self, Error::Io { source, .. } if source.raw_os_error() == Some(libc::EIO))
    }
}
