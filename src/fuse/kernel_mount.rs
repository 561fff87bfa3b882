//! Mounting as root: mount(2) and umount2(2) themselves.
//!
//! Not fuser's own mount, since its unmount (0.18) takes a mount that is gone for one that is there, and so unmounts
//! whatever lies beneath.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags};
use nix::sys::stat::makedev;

use super::Error;
use super::mount_options::{FSTYPE, MountOptions};
use crate::fs::AccessTimes;

/// The device that a FUSE connection is made of.
pub(super) const DEVICE: &str = "/dev/fuse";

/// How an unmount treats those who use the mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Force {
    /// Fails with `EBUSY` if there are any.
    None,
    /// Takes the mount out of the tree; it ends when the last of them has let go.
    Detach,
    /// Takes it out of the tree and cuts the connection: whatever they do with it from now on fails.
    Sever,
}

/// Mounts on `mountpoint` and returns the FUSE connection.
pub(super) fn mount(mountpoint: &Path, source: &OsStr, options: &MountOptions) -> Result<OwnedFd, Error> {
    let device = open_device()?;
    let mut flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    if options.read_only {
        flags |= MsFlags::MS_RDONLY;
    }
    flags |= match options.access_times {
        AccessTimes::Relative => MsFlags::MS_RELATIME,
        AccessTimes::Strict => MsFlags::MS_STRICTATIME,
        AccessTimes::Never => MsFlags::MS_NOATIME,
    };
    let data = options.kernel_data(device.as_raw_fd());
    match nix::mount::mount(Some(source), mountpoint, Some(FSTYPE), flags, Some(data.as_str())) {
        Ok(()) => Ok(device.into()),
        Err(Errno::EPERM) => Err(Error::NotPermitted { mountpoint: mountpoint.into() }),
        // The device can be opened without the filesystem in a container that lacks the module.
        Err(Errno::ENODEV) => Err(Error::NoDevice { source: Errno::ENODEV.into() }),
        Err(errno) => Err(Error::Mount { mountpoint: mountpoint.into(), source: errno.into() }),
    }
}

/// Unmounts what is topmost on `mountpoint`.
pub(super) fn unmount(mountpoint: &Path, force: Force) -> Result<(), Error> {
    let flags = match force {
        Force::None => MntFlags::empty(),
        Force::Detach => MntFlags::MNT_DETACH,
        // MNT_FORCE is what aborts a FUSE connection, and it needs no fusectl filesystem.
        Force::Sever => MntFlags::MNT_DETACH | MntFlags::MNT_FORCE,
    };
    nix::mount::umount2(mountpoint, flags | MntFlags::UMOUNT_NOFOLLOW)
        .map_err(|errno| Error::Unmount { mountpoint: mountpoint.into(), source: errno.into() })
}

/// Whether there is a device at all: an ordinary user need not be able to open it, fusermount3 does.
pub(super) fn check_device() -> Result<(), Error> {
    let metadata = std::fs::metadata(DEVICE).map_err(|source| Error::NoDevice { source })?;
    // A container may have something else there.
    match metadata.file_type().is_char_device() && metadata.rdev() == makedev(10, 229) {
        true => Ok(()),
        false => Err(Error::NoDevice { source: io::Error::other("it is not the FUSE device") }),
    }
}

fn open_device() -> Result<File, Error> {
    OpenOptions::new().read(true).write(true).open(DEVICE).map_err(|source: io::Error| Error::NoDevice { source })
}
