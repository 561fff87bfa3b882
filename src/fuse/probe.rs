//! Whether a mount answers, asked in a way that no cache can answer.
//!
//! stat(2) of a dead mountpoint still succeeds while its attributes are cached; statfs(2) always goes to the daemon.

use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::statvfs::statvfs;

use super::patience::within;

/// What a mount says when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    /// It answers.
    Alive,
    /// Its daemon is gone, or its connection was aborted.
    Dead,
    /// No answer came in time: the daemon is stopped or stuck.
    Silent,
    /// The question itself failed.
    Failed(Errno),
}

/// Asks statfs(2) of what is mounted at `path`, and waits for `patience` at most.
pub(super) fn probe(path: &Path, patience: Duration) -> Probe {
    let path = path.to_owned();
    match within(patience, move || statvfs(&path).err()) {
        Some(None) => Probe::Alive,
        Some(Some(errno)) if is_dead(errno) => Probe::Dead,
        Some(Some(errno)) => Probe::Failed(errno),
        None => Probe::Silent,
    }
}

/// Whether this is how a mount without a daemon fails.
pub(super) fn is_dead(errno: Errno) -> bool {
    matches!(errno, Errno::ENOTCONN | Errno::ECONNABORTED | Errno::ECONNREFUSED)
}
