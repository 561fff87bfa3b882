//! A directory that was looked up once. From then on it is a descriptor: nobody who renames a directory above it, or puts
//! a link in its place, turns what is done to it to another.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;

use super::Error;

/// A directory, held by a descriptor that opens nothing (`O_PATH`): the root of a dead mount can be held too, and no daemon
/// is asked. While it is held the mount that it is in is not unmounted, but lazily, and its id is not used again.
#[derive(Debug)]
pub(super) struct Found {
    descriptor: OwnedFd,
    /// Where it was then: absolute, without symbolic links.
    pub(super) path: PathBuf,
    /// The id of the mount that it is in, or the root of: as in the mount table.
    pub(super) mount: u64,
}

const FLAGS: OFlag = OFlag::O_PATH.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

impl Found {
    /// The directory that a path leads to: the topmost of what is mounted there.
    pub(super) fn new(path: &Path) -> Result<Found, Error> {
        Found::held(path, open(path, FLAGS, Mode::empty()))
    }

    /// The one of this name in a directory, as it is now; not by way of a symbolic link.
    pub(super) fn below(directory: &Found, name: &Path) -> Result<Found, Error> {
        let path = directory.path.join(name);
        Found::held(&path, openat(directory, name, FLAGS | OFlag::O_NOFOLLOW, Mode::empty()))
    }

    /// The directory that a descriptor holds.
    pub(super) fn of(descriptor: OwnedFd) -> Result<Found, Error> {
        Found::held(Path::new("."), Ok(descriptor))
    }

    fn held(path: &Path, opened: nix::Result<OwnedFd>) -> Result<Found, Error> {
        let descriptor = opened.map_err(|errno| match errno {
            Errno::ENOENT => Error::MountpointMissing { mountpoint: path.into() },
            Errno::ENOTDIR => Error::NotADirectory { mountpoint: path.into() },
            errno => Error::io("find the mountpoint", path)(errno.into()),
        })?;
        let mount = mount_id(descriptor.as_fd()).map_err(Error::io("find the mount of", path))?;
        let path = std::fs::read_link(proc_path(descriptor.as_fd())).map_err(Error::io("find the path of", path))?;
        Ok(Found { descriptor, path, mount })
    }

    /// A path to this very directory, for system calls that take no descriptor.
    pub(super) fn proc_path(&self) -> PathBuf {
        proc_path(self.descriptor.as_fd())
    }
}

impl AsFd for Found {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

fn proc_path(descriptor: BorrowedFd<'_>) -> PathBuf {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd()).into()
}

/// The id of the mount that a descriptor is in. Not asked by statx(2), which a dead mount does not always answer.
pub(super) fn mount_id(descriptor: BorrowedFd<'_>) -> io::Result<u64> {
    let about = File::open(format!("/proc/self/fdinfo/{}", descriptor.as_raw_fd()))?;
    for line in BufReader::new(about).lines() {
        if let Some(id) = line?.strip_prefix("mnt_id:").and_then(|id| id.trim().parse().ok()) {
            return Ok(id);
        }
    }
    Err(io::Error::other("/proc tells no mount id"))
}
