//! How far the kernel reads ahead in a mount's files.
//!
//! A FUSE mount begins with 128 KiB, and INIT can only lower that. Root may raise it afterwards, for each mount, through
//! sysfs.

use super::mountpoint::Mountpoint;

/// How far to read ahead, in KiB: as much as one READ can carry.
const READ_AHEAD_KIB: u32 = 1024;

/// Raises the mount's read-ahead. Not to be able to is no fault: an ordinary user is not.
pub(super) fn raise(mountpoint: &Mountpoint) {
    let (major, minor) = mountpoint.device();
    let setting = format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb");
    if let Err(error) = std::fs::write(&setting, READ_AHEAD_KIB.to_string()) {
        log::debug!("cannot write {setting}: {error}");
    }
}
