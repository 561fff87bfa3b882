//! Mounts beside, below and above each other.

use std::fs;

use crate::command::caskfs;
use crate::sandbox::{Sandbox, needs_root};

#[test]
fn two_stores_are_mounted_side_by_side() {
    let (one, other) = (Sandbox::mounted(), Sandbox::mounted());
    one.sh("mkdir d; echo one > d/k; echo only > one");
    other.sh("mkdir d; echo other > d/k");
    assert_eq!(one.sh("cat d/k"), "one\n");
    assert_eq!(other.sh("cat d/k"), "other\n");
    // They are two filesystems: nothing is linked or renamed from one to the other, and mv copies.
    let (from, to) = (one.at("one"), other.at("moved"));
    assert_eq!(fs::rename(&from, &to).unwrap_err().raw_os_error(), Some(libc::EXDEV));
    assert_eq!(fs::hard_link(&from, &to).unwrap_err().raw_os_error(), Some(libc::EXDEV));
    one.sh(&format!("mv one '{}'", to.display()));
    assert_eq!(fs::read_to_string(&to).unwrap(), "only\n");
    assert!(!from.exists());
    // The end of one is nothing to the other.
    one.crash();
    assert_eq!(other.sh("cat d/k moved"), "other\nonly\n");
    one.unmount();
    other.sh("echo more >> d/k");
    other.remount();
    assert_eq!(other.sh("cat d/k"), "other\nmore\n");
}

/// Another store is mounted on a directory of the mount: the one above is in use as long as that is there.
#[test]
fn a_store_is_mounted_in_a_mount() {
    let above = Sandbox::mounted();
    let below = Sandbox::new();
    above.sh("mkdir d; echo above > d.k");
    let place = above.at("d");
    let mounted = caskfs(["mount".as_ref(), below.store().as_os_str(), place.as_os_str()]);
    assert!(mounted.status.success(), "{}", String::from_utf8_lossy(&mounted.stderr));
    above.sh("echo below > d/k; [ $(stat -c %d d) != $(stat -c %d .) ]; cat d/k d.k");
    // What somebody else mounts there, the mount has no say in either.
    if needs_root() {
        above.sh("mkdir t; mount -t tmpfs tmpfs t; echo tmp > t/k; ! rmdir t 2> /dev/null; umount t; rmdir t");
    }
    // BUSY
    let refused = caskfs(["umount".as_ref(), above.mountpoint().as_os_str()]);
    assert_eq!(refused.status.code(), Some(26), "{}", String::from_utf8_lossy(&refused.stderr));
    assert_eq!(above.sh("cat d/k d.k"), "below\nabove\n");
    // Each goes by itself.
    let unmounted = caskfs(["umount".as_ref(), place.as_os_str()]);
    assert!(unmounted.status.success(), "{}", String::from_utf8_lossy(&unmounted.stderr));
    assert_eq!(below.daemons(), []);
    assert_eq!(above.sh("ls d; cat d.k"), "above\n");
    above.remount();
    below.mount();
    assert_eq!(below.sh("cat k"), "below\n");
}
