//! How far the kernel reads ahead in a mount's files.
//!
//! A FUSE mount begins with 128 KiB, and INIT can only lower that. Root may raise it afterwards, for each mount, through
//! sysfs.

use super::mountpoint::Mountpoint;

/// How far to read ahead, in KiB. Measured on a sequential read that the page cache does not hold: 128 KiB gives 0.9 to
/// 1.6 GB/s, 256 KiB and more 2.0 to 2.7, and beyond 512 KiB nothing is gained, while a page fault in a mapping reads as
/// much around itself.
const READ_AHEAD_KIB: u32 = 512;

/// Raises the mount's read-ahead. Not to be able to is no fault: an ordinary user is not.
pub(super) fn raise(mountpoint: &Mountpoint) {
    let (major, minor) = mountpoint.device();
    let setting = format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb");
    if let Err(error) = std::fs::write(&setting, READ_AHEAD_KIB.to_string()) {
        log::debug!("cannot write {setting}: {error}");
    }
}
