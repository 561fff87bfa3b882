//! What an error of a medium means: the one place where that is decided, for all layers.

use std::io;
use std::time::Duration;

/// What an error of a medium means for who meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The process or the machine was short of something (descriptors, memory) or was interrupted. It passes, and says
    /// nothing of the medium.
    Passing,
    /// The medium is full.
    Full,
    /// The medium, or what it stands for, does not do what it should.
    Device,
}

impl Trouble {
    /// What this error means, unless it is that of an fsync: see [`Trouble::of_sync`].
    pub fn of(error: &io::Error) -> Trouble {
        match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EINTR | libc::EAGAIN) => Trouble::Passing,
            Some(libc::ENOSPC | libc::EDQUOT) => Trouble::Full,
            _ => match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::WriteZero => Trouble::Full,
                _ => Trouble::Device,
            },
        }
    }

    /// The same of an fsync. That one is over whatever it has failed of: only when a directory could not even be opened
    /// for it nothing was begun.
    pub fn of_sync(error: &io::Error) -> Trouble {
        match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE) => Trouble::Passing,
            _ => Trouble::Device,
        }
    }
}

/// How long to wait before each attempt after the first.
const PAUSES: [u64; 6] = [1, 2, 4, 8, 16, 32];

/// Tries again, a few times within a tenth of a second, what has failed for a reason that passes. For what has changed
/// nothing when it fails, and is no fsync.
///
/// # Errors
/// That of the last attempt.
pub fn retry<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for pause in PAUSES {
        match attempt() {
            Err(error) if Trouble::of(&error) == Trouble::Passing => {
                if !super::open_files::close_some(&error) {
                    std::thread::sleep(Duration::from_millis(pause));
                }
            }
            other => return other,
        }
    }
    attempt()
}
