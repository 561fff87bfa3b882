//! Mounts of other processes: finding one and taking it away.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::kernel_mount::Force;
use super::mount_options::{FSTYPE, MountOptions};
use super::mountpoint::take_away;
use super::placement::{Placement, resolve};
use super::probe::{Probe, probe};
use super::{Error, mount_table};

/// How long a mount gets to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether anybody serves a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountState {
    /// Its daemon answers, or may still.
    Alive,
    /// Its daemon has died.
    Dead,
}

/// A caskfs mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// The source that the mount table shows: the store's path, unless it was given another.
    pub source: OsString,
    /// Whether anybody serves it.
    pub state: MountState,
}

/// Whether a store may be mounted as these options say; changes nothing but to clear away a dead mount that is there.
///
/// # Errors
/// As [`Mount::new`](super::Mount::new).
pub fn check(options: &MountOptions) -> Result<(), Error> {
    Placement::check(options).map(drop)
}

/// The caskfs mount at a path, if there is one.
///
/// # Errors
/// If the path cannot be found or the mount table cannot be read.
pub fn mounted_at(path: &Path) -> Result<Option<Mounted>, Error> {
    let path = resolve(path)?;
    let table = mount_table::read()?;
    let Some(entry) = mount_table::topmost(&table, &path).filter(|entry| entry.fstype == FSTYPE) else {
        return Ok(None);
    };
    let state = match probe(&path, PATIENCE) {
        Probe::Dead => MountState::Dead,
        Probe::Alive | Probe::Silent | Probe::Failed(_) => MountState::Alive,
    };
    Ok(Some(Mounted { source: entry.source.clone(), state }))
}

/// Unmounts what is mounted at a path; `lazy`: even if it is in use.
///
/// # Errors
/// [`Error::Unmount`] with `EBUSY` if it is in use.
pub fn unmount_at(path: &Path, lazy: bool) -> Result<(), Error> {
    take_away(&resolve(path)?, if lazy { Force::Detach } else { Force::None })
}
