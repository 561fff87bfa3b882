//! Mounting as root: fsopen(2), fsmount(2), move_mount(2) and umount2(2) themselves.
//!
//! Not fuser's own mount, since its unmount (0.18) takes a mount that is gone for one that is there, and so unmounts
//! whatever lies beneath. And not mount(2), which takes a path: a mount that is made apart, and then moved onto a directory
//! that is held, has an id before anybody else can see it.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use nix::sys::stat::makedev;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use super::Error;
use super::found::{Found, mount_id};
use super::mount_options::MountOptions;
use super::mount_table::{self, MountEntry};
use super::mountpoint_check::already_mounted;
use crate::fs::AccessTimes;

/// The device that a FUSE connection is made of.
pub(super) const DEVICE: &str = "/dev/fuse";

/// The longest string that fsconfig(2) takes.
const LONGEST: usize = 255;

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

impl Force {
    pub(super) fn flags(self) -> MntFlags {
        match self {
            Force::None => MntFlags::empty(),
            Force::Detach => MntFlags::MNT_DETACH,
            // MNT_FORCE is what aborts a FUSE connection, and it needs no fusectl filesystem.
            Force::Sever => MntFlags::MNT_DETACH | MntFlags::MNT_FORCE,
        }
    }
}

/// A mount that was just made.
#[derive(Debug)]
pub(super) struct Made {
    /// The FUSE connection.
    pub(super) connection: OwnedFd,
    /// Its line in the mount table.
    pub(super) entry: MountEntry,
    /// Its root. As long as it is held the mount is in use.
    pub(super) root: Found,
}

/// Mounts on a directory.
pub(super) fn mount(on: &Found, source: &OsStr, options: &MountOptions) -> Result<Made, Error> {
    let device = open_device()?;
    let filesystem = fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC).map_err(|errno| refused(&on.path, None, errno))?;
    let failed = |errno| refused(&on.path, Some(&filesystem), errno);
    fsconfig_set_string(&filesystem, "source", shown(source)).map_err(failed)?;
    for (name, value) in options.kernel_values(device.as_raw_fd()) {
        fsconfig_set_string(&filesystem, name, value.as_str()).map_err(failed)?;
    }
    for flag in options.kernel_flags() {
        fsconfig_set_flag(&filesystem, flag).map_err(failed)?;
    }
    fsconfig_create(&filesystem).map_err(failed)?;
    let mount = fsmount(&filesystem, FsMountFlags::FSMOUNT_CLOEXEC, attributes(options)).map_err(failed)?;
    let id = mount_id(mount.as_fd()).map_err(Error::io("find the mount of", &on.path))?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&mount, "", on, "", flags).map_err(failed)?;
    let entry = ours(on, id).inspect_err(|_| {
        // It is this process's own, and nobody serves it yet.
        let _ = umount2(&*format!("/proc/self/fd/{}", mount.as_raw_fd()), MntFlags::MNT_DETACH);
    })?;
    Ok(Made { connection: device.into(), entry, root: Found::of(mount)? })
}

/// The line of the mount that was just made on a directory. One that somebody else has made there first lies beneath it.
fn ours(on: &Found, id: u64) -> Result<MountEntry, Error> {
    let table = mount_table::read()?;
    let missing = || Error::NotReady { mountpoint: on.path.clone(), reason: "it is not in the mount table".into() };
    let entry = table.iter().find(|entry| entry.id == id).ok_or_else(missing)?;
    match table.iter().find(|beneath| beneath.id == entry.parent) {
        Some(beneath) if beneath.id != on.mount => Err(already_mounted(&on.path, beneath)),
        _ => Ok(entry.clone()),
    }
}

/// What the mount table shows of a source: its end, if it is too long.
fn shown(source: &OsStr) -> Vec<u8> {
    let bytes = source.as_bytes();
    match bytes.len().checked_sub(LONGEST) {
        None | Some(0) => bytes.to_vec(),
        Some(over) => [b"...", bytes.get(over + 3..).unwrap_or_default()].concat(),
    }
}

fn attributes(options: &MountOptions) -> MountAttrFlags {
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let wanted = [
        (options.read_only, MountAttrFlags::MOUNT_ATTR_RDONLY),
        (options.flags.noexec, MountAttrFlags::MOUNT_ATTR_NOEXEC),
        (options.flags.nosymfollow, MountAttrFlags::MOUNT_ATTR_NOSYMFOLLOW),
        (options.flags.nodiratime, MountAttrFlags::MOUNT_ATTR_NODIRATIME),
        (options.access_times == AccessTimes::Strict, MountAttrFlags::MOUNT_ATTR_STRICTATIME),
        (options.access_times == AccessTimes::Never, MountAttrFlags::MOUNT_ATTR_NOATIME),
    ];
    wanted.into_iter().filter(|(wanted, _)| *wanted).for_each(|(_, attribute)| attributes |= attribute);
    attributes
}

/// Why the kernel did not mount, with what it says of that.
fn refused(mountpoint: &Path, filesystem: Option<&OwnedFd>, errno: rustix::io::Errno) -> Error {
    let mut said = Vec::new();
    if let Some(mut messages) = filesystem.and_then(|filesystem| filesystem.try_clone().ok()).map(File::from) {
        // One message a read, "e fuse: Unknown parameter 'x'"; ENODATA after the last.
        let mut message = [0; 512];
        while let Ok(len @ 1..) = messages.read(&mut message) {
            said.push(String::from_utf8_lossy(message.get(2..len).unwrap_or_default()).trim().to_owned());
        }
    }
    match Errno::from_raw(errno.raw_os_error()) {
        Errno::EPERM => Error::NotPermitted { mountpoint: mountpoint.into() },
        // The device can be opened without the filesystem in a container that lacks the module.
        Errno::ENODEV => Error::NoDevice { source: Errno::ENODEV.into() },
        errno if said.is_empty() => Error::Mount { mountpoint: mountpoint.into(), source: errno.into() },
        errno => {
            let source = io::Error::other(format!("{} ({})", errno.desc(), said.join("; ")));
            Error::Mount { mountpoint: mountpoint.into(), source }
        }
    }
}

/// The directory that is below all mounts on it. `None` if this process may not look.
pub(super) fn beneath(above: &Found, name: &Path) -> Option<Found> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    // A copy of the mount alone, without what is mounted in it, that nobody else can see.
    let copy = open_tree(above, ".", flags).ok()?;
    Found::below(&Found::of(copy).ok()?, name).ok()
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
