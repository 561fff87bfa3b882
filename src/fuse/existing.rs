//! Mounts of other processes: finding one and taking it away.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::found::Found;
use super::kernel_mount::Force;
use super::mount_options::{FSTYPE, MountOptions};
use super::mount_table::MountEntry;
use super::mountpoint::{detach, unmount};
use super::mountpoint_check::CheckedMountpoint;
use super::patience::within;
use super::probe::{Probe, probe};
use super::{Error, mount_table};

/// How long a mount gets to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long an unmount may take.
const UNMOUNT: Duration = Duration::from_secs(60);

/// Whether anybody serves a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountState {
    /// Its daemon answers.
    Alive,
    /// Its daemon does not answer: it is stopped or stuck.
    Silent,
    /// Its daemon has died.
    Dead,
}

/// A caskfs mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Where it is: absolute, without symbolic links.
    pub path: PathBuf,
    /// The source that the mount table shows: the store's path, unless it was given another.
    pub source: OsString,
    /// Major and minor number of the device that its files show.
    pub device: (u32, u32),
    /// What the mount table says of it: of the mount, and then of the filesystem.
    pub options: Vec<String>,
    /// Its id in the mount table.
    id: u64,
    /// Whether anybody serves it.
    pub state: MountState,
}

/// Whether a store may be mounted as these options say. Changes nothing; what was found is held, for
/// [`Mount::on`](super::Mount::on).
///
/// # Errors
/// As [`Mount::new`](super::Mount::new).
pub fn check(options: &MountOptions) -> Result<CheckedMountpoint, Error> {
    CheckedMountpoint::new(options)
}

/// The caskfs mount at a path, if there is one.
///
/// # Errors
/// If the path cannot be found or the mount table cannot be read.
pub fn mounted_at(path: &Path) -> Result<Option<Mounted>, Error> {
    let root = Found::new(path)?;
    let table = mount_table::read()?;
    let is_here =
        |entry: &&MountEntry| entry.id == root.mount && entry.mountpoint == root.path && entry.fstype == FSTYPE;
    let Some(entry) = table.iter().find(is_here) else { return Ok(None) };
    let state = match probe(&root.proc_path(), PATIENCE) {
        Probe::Dead => MountState::Dead,
        Probe::Silent => MountState::Silent,
        Probe::Alive | Probe::Failed(_) => MountState::Alive,
    };
    Ok(Some(Mounted {
        path: root.path,
        source: entry.source.clone(),
        device: entry.device,
        options: entry.options.clone(),
        id: entry.id,
        state,
    }))
}

impl Mounted {
    /// Unmounts it; `lazy`: even if it is in use.
    ///
    /// # Errors
    /// [`Error::Unmount`] with `EBUSY` if it is in use, [`Error::Stuck`] if its daemon stopped answering meanwhile, and [`Error::Covered`] if another mount has come into its place.
    pub fn unmount(&self, lazy: bool) -> Result<(), Error> {
        let root = Found::new(&self.path)?;
        if root.mount != self.id {
            return Err(Error::Covered { mountpoint: self.path.clone() });
        }
        match lazy {
            true => detach(&root, Force::Detach),
            false => {
                // It would be in use by this process.
                drop(root);
                let path = self.path.clone();
                // What mappings hold goes to the daemon first, which may have been stopped since it was asked.
                let unmounted = within(UNMOUNT, move || unmount(&path));
                unmounted.unwrap_or_else(|| Err(Error::Stuck { mountpoint: self.path.clone() }))
            }
        }
    }
}
