//! The one mount that this process made: how it is told from any other, and how it is taken away.
//!
//! Neither a path nor the numbers in the mount table name a mount: someone may have unmounted it and mounted something
//! else there, and the kernel uses mount ids and device numbers again at once. But as long as the connection stands its
//! device number is taken. So a living mount is only touched while the connection stands, and beyond that only a dead one.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::geteuid;
use parking_lot::Mutex;

use super::found::Found;
use super::kernel_mount::Force;
use super::mount_table::MountEntry;
use super::probe::{Probe, probe};
use super::{Error, fusermount, mount_table};

/// Where the kernel shows its FUSE connections, if fusectl is mounted.
const CONNECTIONS: &str = "/sys/fs/fuse/connections";

/// A mount of this process. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Mountpoint {
    path: PathBuf,
    id: u64,
    device: (u32, u32),
    connection: Arc<OwnedFd>,
    /// Held while it is severed, so that its end, seen meanwhile, is not taken for somebody's abort.
    taking_away: Arc<Mutex<()>>,
}

impl Mountpoint {
    /// The mount that was just made, with its line in the mount table and its connection.
    pub(super) fn new(entry: &MountEntry, connection: OwnedFd) -> Mountpoint {
        Mountpoint {
            path: entry.mountpoint.clone(),
            id: entry.id,
            device: entry.device,
            connection: Arc::new(connection),
            taking_away: Arc::default(),
        }
    }

    /// Where it was mounted.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Major and minor number of the device that its files show: also the name of its entry in `/sys/class/bdi`.
    pub(super) fn device(&self) -> (u32, u32) {
        self.device
    }

    /// Whether the kernel still takes answers: neither unmounted by its last user nor aborted.
    pub(super) fn is_connected(&self) -> bool {
        let mut polled = [PollFd::new(self.connection.as_fd(), PollFlags::empty())];
        // A poll that fails has nothing to say, and leaves no events: better to try in vain than to leave it standing.
        let _ = poll(&mut polled, PollTimeout::ZERO);
        !polled.iter().filter_map(PollFd::revents).any(|events| events.contains(PollFlags::POLLERR))
    }

    /// Asks it whether it answers.
    pub(super) fn probe(&self, patience: Duration) -> Probe {
        probe(&self.path, patience)
    }

    /// Unmounts it if nobody uses it. No error if it is gone already.
    pub(super) fn unmount(&self) -> Result<(), Error> {
        self.living()?.map_or(Ok(()), |path| unmount(&path))
    }

    /// Takes it out of the tree and cuts its connection, whoever uses it. No error if it is gone already.
    pub(super) fn sever(&self) -> Result<(), Error> {
        let _alone = self.taking_away.lock();
        let taken = self.living().and_then(|path| path.map_or(Ok(()), |path| self.take(&path, Force::Sever)));
        // Not yet cut if fusermount3 did it, or if the mount was out of the tree or covered.
        self.abort();
        taken
    }

    /// Cuts the connection through fusectl, which whoever made the mount may do. Without fusectl it stands until its last
    /// user lets go or this process ends.
    fn abort(&self) {
        if !self.is_connected() {
            return;
        }
        let abort = Path::new(CONNECTIONS).join(self.device.1.to_string()).join("abort");
        if let Err(error) = std::fs::write(&abort, "1") {
            log::debug!("cannot write {}: {error}", abort.display());
        }
    }

    /// Takes it out of the tree if it is there without a connection, as an abort leaves it.
    pub(super) fn clear_if_dead(&self, patience: Duration) {
        let _alone = self.taking_away.lock();
        if self.is_connected() || !matches!(self.listed(), Ok(Some(_))) || self.probe(patience) != Probe::Dead {
            return;
        }
        log::warn!("the connection of {} was cut; unmounting it", self.path.display());
        if let Err(error) = self.take(&self.path, Force::Detach) {
            log::warn!("{error}");
        }
    }

    /// Writes the dirty pages of shared mappings to the daemon, which must still be serving.
    pub(super) fn write_back(&self) {
        let Ok(Some(path)) = self.living() else { return };
        if let Err(error) = File::open(&path).and_then(|root| Ok(nix::unistd::syncfs(root)?)) {
            log::warn!("cannot write back the mappings of {}: {error}", path.display());
        }
    }

    /// Takes it out of the tree at `path`, if it is what is seen there.
    fn take(&self, path: &Path, force: Force) -> Result<(), Error> {
        let root = Found::new(path)?;
        match root.mount == self.id {
            true => detach(&root, force),
            false => Err(Error::Covered { mountpoint: path.into() }),
        }
    }

    /// Where it is in the tree, if it is and its connection stands.
    fn living(&self) -> Result<Option<PathBuf>, Error> {
        let path = self.listed()?;
        Ok(path.filter(|_| self.is_connected()))
    }

    /// Where a mount with its numbers is in the tree: not always where it was made, since a directory above may have been
    /// renamed. Its path must lead to it, so that what is mounted on top of it is not taken away in its place.
    fn listed(&self) -> Result<Option<PathBuf>, Error> {
        let table = mount_table::read()?;
        let Some(entry) = table.iter().find(|entry| entry.id == self.id && entry.device == self.device) else {
            return Ok(None);
        };
        match mount_table::topmost(&table, &entry.mountpoint) {
            Some(top) if top.id == self.id => Ok(Some(entry.mountpoint.clone())),
            _ => Err(Error::Covered { mountpoint: entry.mountpoint.clone() }),
        }
    }
}

/// Unmounts what is topmost on `path` if nobody uses it, in the way that this user may.
pub(super) fn unmount(path: &Path) -> Result<(), Error> {
    match geteuid().is_root() {
        true => umount2(path, Force::None.flags() | MntFlags::UMOUNT_NOFOLLOW).map_err(|errno| failed(path, errno)),
        false => fusermount::unmount(path, false),
    }
}

/// Takes the mount out of the tree that a directory is the root of: this one, whatever is mounted on it or beside it
/// meanwhile. An ordinary user's fusermount3 takes a path, and knows no more than to detach.
pub(super) fn detach(root: &Found, force: Force) -> Result<(), Error> {
    match geteuid().is_root() {
        true => umount2(&root.proc_path(), force.flags()).map_err(|errno| failed(&root.path, errno)),
        false => fusermount::unmount(&root.path, true),
    }
}

fn failed(path: &Path, errno: Errno) -> Error {
    Error::Unmount { mountpoint: path.into(), source: errno.into() }
}
