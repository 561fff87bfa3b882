//! Exit codes: one for each thing that a person or a script would do something else about. `docs/EXIT_CODES.md` lists
//! them.

use serde::{Deserialize, Serialize};

use crate::store::Error;
use crate::{fuse, log};

/// There is no such key, or no such snapshot.
pub(super) const NO_KEY: u8 = 1;
/// The arguments make no sense.
pub(super) const USAGE: u8 = 2;
/// Anything that has no code of its own: the message tells.
pub(super) const OTHER: u8 = 3;
/// The directory is no store.
pub(super) const NOT_A_STORE: u8 = 10;
/// The store was written by a newer version.
pub(super) const FUTURE_VERSION: u8 = 11;
/// Another process has the store.
pub(super) const LOCKED: u8 = 12;
/// The store, or this key's value, is damaged.
pub(super) const DAMAGED: u8 = 13;
/// The disk is full.
pub(super) const NO_SPACE: u8 = 14;
/// The store takes no writes.
pub(super) const READ_ONLY: u8 = 15;
/// A write or sync failed earlier, or the medium fails now.
pub(super) const MEDIUM: u8 = 16;
/// What is to be made is there already.
pub(super) const OCCUPIED: u8 = 17;
/// There is something to repair; nothing was changed.
pub(super) const REPAIRABLE: u8 = 18;
/// A part could not be read, and was left out; all else is done.
pub(super) const INCOMPLETE: u8 = 19;
/// FUSE cannot be used here.
pub(super) const NO_FUSE: u8 = 20;
/// The mountpoint is missing or is no directory.
pub(super) const NO_MOUNTPOINT: u8 = 21;
/// The mountpoint is not empty.
pub(super) const MOUNTPOINT_NOT_EMPTY: u8 = 22;
/// Mountpoint and store lie one within the other.
pub(super) const NESTED: u8 = 23;
/// A store is mounted there already.
pub(super) const ALREADY_MOUNTED: u8 = 24;
/// Nothing of caskfs is mounted there.
pub(super) const NOT_MOUNTED: u8 = 25;
/// The mount is in use.
pub(super) const BUSY: u8 = 26;
/// Whoever read standard output went away: 128 and SIGPIPE, as a shell tells it.
pub(super) const READER_GONE: u8 = 141;
/// The mountpoint is free, but the daemon goes on.
pub(super) const HELD: u8 = 27;
/// The daemon does not answer.
pub(super) const SILENT: u8 = 28;
/// A fault in the program; the mount was stopped.
pub(super) const FAULT: u8 = 70;

/// Why a command failed: an exit code, and one line for the person who must act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Failure {
    pub(super) code: u8,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(code: u8, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into() }
    }

    /// With what it is about in front: a key, a path.
    pub(super) fn about(mut self, what: impl std::fmt::Display) -> Failure {
        if !self.message.is_empty() {
            self.message = format!("{what}: {}", self.message);
        }
        self
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let code = match &error {
            Error::NotFound => NO_KEY,
            Error::NoSpace | Error::OutOfMemory | Error::TableFull => NO_SPACE,
            Error::ReadOnly => READ_ONLY,
            Error::DamagedKey { .. } | Error::Strict(_) => DAMAGED,
            Error::Unread(_) => MEDIUM,
            Error::Log(error) => match error {
                log::Error::NotAStore | log::Error::NotEmpty => NOT_A_STORE,
                log::Error::FutureVersion { .. } => FUTURE_VERSION,
                log::Error::Locked => LOCKED,
                log::Error::DamagedFile { .. } | log::Error::Damaged { .. } | log::Error::DamageMet(_) => DAMAGED,
                log::Error::NoSpace | log::Error::NotDurable => NO_SPACE,
                log::Error::ReadOnly | log::Error::Frozen => READ_ONLY,
                log::Error::Failed(_) | log::Error::Unread(_) => MEDIUM,
                log::Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => NOT_A_STORE,
                log::Error::Io { .. } => MEDIUM,
                log::Error::NoSnapshot(_) => NO_KEY,
                log::Error::NotFrozen => NOT_A_STORE,
                log::Error::Occupied(_) => OCCUPIED,
                log::Error::TooLarge(_) | log::Error::SnapshotExists(_) | log::Error::InTransaction => OTHER,
            },
            _ => OTHER,
        };
        Failure::new(code, error.to_string())
    }
}

impl From<fuse::Error> for Failure {
    fn from(error: fuse::Error) -> Failure {
        use fuse::Error;
        let code = match &error {
            Error::NoDevice { .. }
            | Error::NoHelper
            | Error::Helper { .. }
            | Error::NotPermitted { .. }
            | Error::RootOnly { .. } => NO_FUSE,
            Error::MountpointMissing { .. } | Error::NotADirectory { .. } => NO_MOUNTPOINT,
            Error::NotEmpty { .. } => MOUNTPOINT_NOT_EMPTY,
            Error::Stuck { .. } => SILENT,
            Error::InsideStore { .. } | Error::OverStore { .. } => NESTED,
            Error::AlreadyMounted { .. } | Error::DeadForeign { .. } => ALREADY_MOUNTED,
            _ => OTHER,
        };
        Failure::new(code, error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Failure {
        super::output::failure(&error)
    }
}
