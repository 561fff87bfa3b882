//! Whether a store may be mounted where it is asked to be, looked at before anything is changed.
//!
//! Two refusals guard the data: a mount over the store would hide it from its own daemon, and a mount inside it would put
//! the daemon's own files below its mount. Both are told by path and, since a path may lead there by a bind mount, by
//! device and inode. A dead mount of an earlier daemon is cleared away at last, when the store is open and locked; nothing
//! else ever is.
//!
//! The mountpoint is looked up once. What it leads to then is held by a descriptor, and checked, unmounted and mounted on by
//! that; only the name in the directory above, held too, is looked up anew when a dead mount has uncovered what is beneath.

use std::ffi::OsString;
use std::fs::Metadata;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::dir::Dir;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::geteuid;
use rustix::fs::{FlockOperation, flock};

use super::found::Found;
use super::kernel_mount::Force;
use super::mount_options::{FSTYPE, MountOptions};
use super::mount_table::{self, MountEntry};
use super::mountpoint::detach;
use super::probe::{Probe, probe};
use super::{Error, fusermount, kernel_mount};

/// How long a mount that is already there gets to answer before it counts as alive but stuck.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many dead mounts, one upon the other, are cleared away.
const MOST_DEAD: usize = 16;

/// A lock on the directory above a mountpoint, until it is closed.
pub(super) type Turn = OwnedFd;

/// A mountpoint that a store may be mounted on, held as it was found. Made by [`check`](super::check).
#[derive(Debug)]
pub struct CheckedMountpoint {
    directory: Found,
    /// The directory above, and the name in it. None of the root of the tree.
    above: Option<(Found, OsString)>,
    /// The store directory: absolute, without symbolic links.
    store: PathBuf,
    /// What is to be cleared away first.
    dead: Option<MountEntry>,
}

impl CheckedMountpoint {
    /// Checks what `options` ask for, and changes nothing.
    pub(super) fn new(options: &MountOptions) -> Result<CheckedMountpoint, Error> {
        kernel_mount::check_device()?;
        let store = resolve_store(&options.store)?;
        let directory = Found::new(&options.mountpoint)?;
        let above = match (directory.path.parent(), directory.path.file_name()) {
            (Some(parent), Some(name)) => Some((Found::new(parent)?, name.to_owned())),
            _ => None,
        };
        let mut checked = CheckedMountpoint { directory, above, store, dead: None };
        checked.refuse_nested_paths()?;
        checked.examine()?;
        checked.refuse_full_beneath()?;
        Ok(checked)
    }

    /// Where the store is.
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// Where it will be mounted.
    pub fn path(&self) -> &Path {
        &self.directory.path
    }

    /// Clears dead mounts away, and hands out the empty directory to mount on, with the turn to do so.
    ///
    /// Commands take turns from here until they have mounted. That is a courtesy: without it one might lay its mount over
    /// another's, and take it back when it sees that; or, by fusermount3, which takes a path, unmount it.
    pub(super) fn clear(mut self) -> Result<(Found, Option<Turn>), Error> {
        let turn = self.take_turn();
        for _ in 0..MOST_DEAD {
            let Some(dead) = self.dead.take() else { break };
            self.unmount(&dead)?;
            if let Some((above, name)) = &self.above {
                self.directory = Found::below(above, Path::new(name))?;
            }
            self.examine()?;
        }
        match &self.dead {
            None => {
                self.refuse_covered()?;
                Ok((self.directory, turn))
            }
            Some(dead) => Err(self.already_mounted(dead)),
        }
    }

    /// Unmounts the dead mount that the directory is the root of. Another command may have done that meanwhile, and what is
    /// there now is looked at again.
    fn unmount(&self, dead: &MountEntry) -> Result<(), Error> {
        let gone = |error: &Error| matches!(error, Error::Unmount { source, .. } if source.kind() == io::ErrorKind::InvalidInput);
        let unmounted = if geteuid().is_root() {
            detach(&self.directory, Force::Detach)
        } else {
            // fusermount3 takes a path: looked at again, as late as can be.
            let table = mount_table::read()?;
            match mount_table::topmost(&table, &self.directory.path) {
                Some(top) if top.id == dead.id => fusermount::unmount(&self.directory.path, true),
                _ => return Ok(()),
            }
        };
        match unmounted {
            Ok(()) => log::warn!(
                "the caskfs daemon of {} (store {}) died without unmounting; taking the mountpoint over",
                self.directory.path.display(),
                dead.source.to_string_lossy()
            ),
            Err(error) if gone(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// A lock on the directory above, for as long as it is held; none if that is not to be had soon, or not permitted.
    fn take_turn(&self) -> Option<Turn> {
        let (above, _) = self.above.as_ref()?;
        let turn = openat(above, ".", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
        for _ in 0..200 {
            if flock(&turn, FlockOperation::NonBlockingLockExclusive).is_ok() {
                return Some(turn);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    /// Refuses if somebody has mounted on the directory since it was looked at.
    fn refuse_covered(&self) -> Result<(), Error> {
        let table = mount_table::read()?;
        let beneath = self.directory.mount;
        let covers = |entry: &&MountEntry| {
            entry.parent == beneath && entry.id != beneath && entry.mountpoint == self.directory.path
        };
        table.iter().find(covers).map_or(Ok(()), |entry| Err(self.already_mounted(entry)))
    }

    /// Looks at what is there: a dead mount is noted, a living one refused, and a directory must be empty.
    fn examine(&mut self) -> Result<(), Error> {
        self.dead = None;
        let table = mount_table::read()?;
        let entry = table.iter().find(|entry| entry.id == self.directory.mount);
        if let Some(entry) = entry.filter(|entry| entry.mountpoint == self.directory.path) {
            let is_fuse = entry.fstype.split('.').next() == Some("fuse");
            match (entry.fstype == FSTYPE, is_fuse && probe(&self.directory.proc_path(), PATIENCE) == Probe::Dead) {
                (true, true) => {
                    self.dead = Some(entry.clone());
                    return Ok(());
                }
                (true, false) => return Err(self.already_mounted(entry)),
                (false, true) => return Err(self.dead_foreign(entry)),
                // Something alive that is not ours, a disk perhaps: its empty root is as good as any directory.
                (false, false) => {}
            }
        }
        let metadata = self.directory.proc_path().metadata().map_err(Error::io("look at", &self.directory.path))?;
        self.refuse_nested_inodes(&metadata)?;
        self.refuse_full(&self.directory)
    }

    fn refuse_nested_paths(&self) -> Result<(), Error> {
        if self.directory.path.starts_with(&self.store) {
            return Err(self.inside_store());
        }
        if self.store.starts_with(&self.directory.path) {
            return Err(self.over_store());
        }
        Ok(())
    }

    fn refuse_nested_inodes(&self, mountpoint: &Metadata) -> Result<(), Error> {
        // A store that is not there yet has nothing in it.
        if self.store.metadata().is_ok_and(|store| passes_through(&self.directory.path, &store)) {
            return Err(self.inside_store());
        }
        if passes_through(&self.store, mountpoint) {
            return Err(self.over_store());
        }
        Ok(())
    }

    fn refuse_full(&self, directory: &Found) -> Result<(), Error> {
        let failed = |errno: nix::Error| Error::io("list", &self.directory.path)(errno.into());
        let mut entries =
            Dir::openat(directory, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
                .map_err(failed)?;
        for entry in entries.iter() {
            if !matches!(entry.map_err(failed)?.file_name().to_bytes(), b"." | b"..") {
                return Err(Error::NotEmpty { mountpoint: self.directory.path.clone() });
            }
        }
        Ok(())
    }

    /// Looks beneath a dead mount for files that the next one would hide, as far as that can be seen.
    fn refuse_full_beneath(&self) -> Result<(), Error> {
        match (&self.dead, &self.above) {
            (Some(_), Some((above, name))) => match kernel_mount::beneath(above, Path::new(name)) {
                Some(beneath) => self.refuse_full(&beneath),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn inside_store(&self) -> Error {
        Error::InsideStore { mountpoint: self.directory.path.clone(), store: self.store.clone() }
    }

    fn over_store(&self) -> Error {
        Error::OverStore { mountpoint: self.directory.path.clone(), store: self.store.clone() }
    }

    fn already_mounted(&self, entry: &MountEntry) -> Error {
        already_mounted(&self.directory.path, entry)
    }

    fn dead_foreign(&self, entry: &MountEntry) -> Error {
        Error::DeadForeign { mountpoint: self.directory.path.clone(), kind: entry.fstype.clone() }
    }
}

pub(super) fn already_mounted(mountpoint: &Path, entry: &MountEntry) -> Error {
    let source_name = entry.source.to_string_lossy().into_owned();
    Error::AlreadyMounted { mountpoint: mountpoint.into(), source_name }
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
