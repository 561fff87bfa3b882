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

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::geteuid;
use parking_lot::Mutex;

use super::kernel_mount::Force;
use super::mount_options::FSTYPE;
use super::probe::{Probe, probe};
use super::{Error, fusermount, kernel_mount, mount_table};

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
    /// The mount that was just made at `path`, with its connection.
    pub(super) fn find(path: &Path, connection: OwnedFd) -> Result<Mountpoint, Error> {
        let table = mount_table::read()?;
        match mount_table::topmost(&table, path) {
            Some(entry) if entry.fstype == FSTYPE => Ok(Mountpoint {
                path: path.into(),
                id: entry.id,
                device: entry.device,
                connection: Arc::new(connection),
                taking_away: Arc::default(),
            }),
            _ => Err(Error::NotReady { mountpoint: path.into(), reason: "it is not in the mount table".into() }),
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
        self.living()?.map_or(Ok(()), |path| take_away(&path, Force::None))
    }

    /// Takes it out of the tree and cuts its connection, whoever uses it. No error if it is gone already.
    pub(super) fn sever(&self) -> Result<(), Error> {
        let _alone = self.taking_away.lock();
        let taken = self.living().and_then(|path| path.map_or(Ok(()), |path| take_away(&path, Force::Sever)));
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
        if let Err(error) = take_away(&self.path, Force::Detach) {
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

/// Unmounts what is topmost on `path`, in the way that this user may. fusermount3 knows no more than to detach.
pub(super) fn take_away(path: &Path, force: Force) -> Result<(), Error> {
    if geteuid().is_root() {
        kernel_mount::unmount(path, force)
    } else {
        fusermount::unmount(path, force != Force::None)
    }
}
