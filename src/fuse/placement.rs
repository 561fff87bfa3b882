//! Whether a store may be mounted where it is asked to be, looked at before anything is mounted.
//!
//! Two refusals guard the data: a mount over the store would hide it from its own daemon, and a mount inside it would put
//! the daemon's own files below its mount. Both are told by path and, since a path may lead there by a bind mount, by
//! device and inode. A dead mount of an earlier daemon is cleared away, and nothing else ever is.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;

use super::kernel_mount::Force;
use super::mount_options::{FSTYPE, MountOptions};
use super::mount_table::{self, MountEntry};
use super::mountpoint::take_away;
use super::probe::{Probe, is_dead, probe};
use super::{Error, kernel_mount};

/// How long a mount that is already there gets to answer before it counts as alive but stuck.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many dead mounts, one upon the other, are cleared away.
const MOST_DEAD: usize = 16;

/// Where a store will be mounted: checked, and with absolute paths free of symbolic links.
#[derive(Clone, Debug)]
pub(super) struct Placement {
    /// The mountpoint.
    pub mountpoint: PathBuf,
    /// The store directory.
    pub store: PathBuf,
}

impl Placement {
    /// Checks what `options` ask for, and clears the mountpoint of a dead daemon's mount.
    pub(super) fn check(options: &MountOptions) -> Result<Placement, Error> {
        kernel_mount::check_device()?;
        let store = resolve_store(&options.store)?;
        let mountpoint = resolve(&options.mountpoint)?;
        let placement = Placement { mountpoint, store };
        placement.refuse_nested_paths()?;
        placement.take_over()?;
        let metadata = placement.mountpoint.metadata().map_err(Error::io("look at", &placement.mountpoint))?;
        if !metadata.is_dir() {
            return Err(Error::NotADirectory { mountpoint: placement.mountpoint });
        }
        placement.refuse_nested_inodes(&metadata)?;
        placement.refuse_full()?;
        Ok(placement)
    }

    fn refuse_nested_paths(&self) -> Result<(), Error> {
        if self.mountpoint.starts_with(&self.store) {
            return Err(self.inside_store());
        }
        if self.store.starts_with(&self.mountpoint) {
            return Err(self.over_store());
        }
        Ok(())
    }

    fn refuse_nested_inodes(&self, mountpoint: &Metadata) -> Result<(), Error> {
        // A store that is not there yet has nothing in it.
        if self.store.metadata().is_ok_and(|store| passes_through(&self.mountpoint, &store)) {
            return Err(self.inside_store());
        }
        if passes_through(&self.store, mountpoint) {
            return Err(self.over_store());
        }
        Ok(())
    }

    fn refuse_full(&self) -> Result<(), Error> {
        let mut entries = std::fs::read_dir(&self.mountpoint).map_err(Error::io("list", &self.mountpoint))?;
        if entries.next().is_some() {
            return Err(Error::NotEmpty { mountpoint: self.mountpoint.clone() });
        }
        Ok(())
    }

    /// Clears dead mounts off the mountpoint; refuses if a living one is there.
    fn take_over(&self) -> Result<(), Error> {
        for _ in 0..MOST_DEAD {
            let table = mount_table::read()?;
            let Some(entry) = mount_table::topmost(&table, &self.mountpoint) else { return Ok(()) };
            let is_fuse = entry.fstype.split('.').next() == Some("fuse");
            match (entry.fstype == FSTYPE, is_fuse && probe(&self.mountpoint, PATIENCE) == Probe::Dead) {
                (true, true) => self.clear(entry)?,
                (true, false) => return Err(self.already_mounted(entry)),
                (false, true) => return Err(self.dead_foreign(entry)),
                // Something alive that is not ours, a disk perhaps: its empty root is as good as any directory.
                (false, false) => return Ok(()),
            }
        }
        Ok(())
    }

    fn clear(&self, entry: &MountEntry) -> Result<(), Error> {
        log::warn!(
            "the caskfs daemon of {} (store {}) died without unmounting; taking the mountpoint over",
            self.mountpoint.display(),
            entry.source.to_string_lossy()
        );
        take_away(&self.mountpoint, Force::Detach)
    }

    fn inside_store(&self) -> Error {
        Error::InsideStore { mountpoint: self.mountpoint.clone(), store: self.store.clone() }
    }

    fn over_store(&self) -> Error {
        Error::OverStore { mountpoint: self.mountpoint.clone(), store: self.store.clone() }
    }

    fn already_mounted(&self, entry: &MountEntry) -> Error {
        let source_name = entry.source.to_string_lossy().into_owned();
        Error::AlreadyMounted { mountpoint: self.mountpoint.clone(), source_name }
    }

    fn dead_foreign(&self, entry: &MountEntry) -> Error {
        Error::DeadForeign { mountpoint: self.mountpoint.clone(), kind: entry.fstype.clone() }
    }
}

/// The absolute path without symbolic links. Of a dead mountpoint the last component cannot always be looked at, so that
/// its parent is resolved instead.
pub(super) fn resolve(mountpoint: &Path) -> Result<PathBuf, Error> {
    let error = match mountpoint.canonicalize() {
        Ok(path) => return Ok(path),
        Err(error) => error,
    };
    if error.kind() == io::ErrorKind::NotFound {
        return Err(Error::MountpointMissing { mountpoint: mountpoint.into() });
    }
    match (error.raw_os_error().map(Errno::from_raw), mountpoint.file_name()) {
        (Some(errno), Some(name)) if is_dead(errno) => {
            let parent = parent_of(mountpoint);
            Ok(parent.canonicalize().map_err(Error::io("find", parent))?.join(name))
        }
        _ => Err(Error::io("find the mountpoint", mountpoint)(error)),
    }
}

/// The absolute path of the store, which may still have to be made.
fn resolve_store(store: &Path) -> Result<PathBuf, Error> {
    match (store.canonicalize(), store.file_name()) {
        (Err(error), Some(name)) if error.kind() == io::ErrorKind::NotFound => {
            let parent = parent_of(store);
            Ok(parent.canonicalize().map_err(Error::io("find", parent))?.join(name))
        }
        (result, _) => result.map_err(Error::io("find the store", store)),
    }
}

/// The directory that a path's last component is in.
fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Whether `path` or one of the directories above it is the file that `target` describes. A directory that cannot be
/// looked at is passed over.
fn passes_through(path: &Path, target: &Metadata) -> bool {
    let same = |metadata: Metadata| metadata.dev() == target.dev() && metadata.ino() == target.ino();
    path.ancestors().any(|ancestor| ancestor.metadata().is_ok_and(same))
}
