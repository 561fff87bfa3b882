//! Files that expire while they are known to the kernel.

use std::sync::atomic::{AtomicI64, Ordering};

use super::*;
use crate::fs::XattrMode;
use crate::store::{Clock, Time};

const XATTR: &[u8] = b"user.caskfs.expires";

#[test]
fn an_expired_file_lives_on_for_who_has_it_open_alone() {
    let disk = SimDisk::new();
    let second = Arc::new(AtomicI64::new(100));
    let clock = {
        let second = Arc::clone(&second);
        Clock::new(move || Time::new(second.load(Ordering::Relaxed), 0))
    };
    let store = Options { create: true, background: false, clock, ..Options::default() };
    let store = Arc::new(Store::open_on(Arc::new(disk.clone()), store).unwrap());
    let mount = Mount { disk, filesystem: Filesystem::new(store, Default::default()), options: Default::default() };
    let (closed, open) = (mount.file("closed", b"value"), mount.create("open"));
    mount.write(open, 0, b"value");
    for id in [closed, open.0] {
        mount.setxattr(&USER, id, XATTR, b"200", XattrMode::Set).unwrap();
    }
    second.store(199, Ordering::Relaxed);
    assert_eq!(mount.listxattr(open.0).unwrap(), [XATTR, b"\0"].concat());
    assert!(mount.flush(open.0, open.1).unwrap().is_some());
    mount.write(open, 5, b" and more");
    second.store(200, Ordering::Relaxed);
    // The kernel learnt of both before their time was set, and asks for them by number.
    for id in [closed, open.0] {
        assert!(matches!(mount.filesystem.open(id, READ), Err(Error::Stale)));
    }
    assert!(matches!(mount.getattr(closed), Err(Error::Stale)));
    let stat = mount.getattr(open.0).unwrap();
    assert_eq!((stat.size, stat.links), (14, 0));
    assert_eq!(mount.read(open.0, 0, 100).unwrap(), b"value and more");
    // Nothing of it is committed any more, and no later time gives it its name back.
    let written = mount.store().written();
    mount.flush(open.0, open.1).unwrap();
    assert_eq!(mount.store().written(), written);
    assert!(matches!(mount.setxattr(&USER, open.0, XATTR, b"900", XattrMode::Set), Err(Error::NotPermitted(_))));
    mount.release(open.0, open.1).unwrap();
    assert!(matches!(mount.getattr(open.0), Err(Error::Stale)));
    second.store(100, Ordering::Relaxed);
    for name in ["closed", "open"] {
        assert_eq!(mount.lookup(ROOT, name.as_bytes()).unwrap(), None);
        assert_eq!(mount.crash().stat(name), None);
    }
}

/// Whoever may write to a file may not remove it for that: what expires loses its names in directories of others.
#[test]
fn only_the_owner_and_root_say_when_a_file_expires() {
    let mount = Mount::new();
    let id = mount.file("key", b"value");
    mount.chmod(id, 0o666);
    let other = Caller { uid: USER.uid + 1, ..USER };
    let name = b"user.caskfs.expires";
    let set = |caller: &Caller| mount.setxattr(caller, id, name, b"+1h", XattrMode::Set);
    assert_eq!(errno(set(&other)), libc::EPERM);
    set(&USER).unwrap();
    assert_eq!(errno(mount.removexattr(&other, id, name)), libc::EPERM);
    assert!(mount.stat("key").unwrap().expires.is_some());
    mount.removexattr(&ROOT_USER, id, name).unwrap();
    set(&ROOT_USER).unwrap();
    // Any other attribute is for whoever the kernel lets write.
    mount.setxattr(&other, id, b"user.caskfs", b"1", XattrMode::Set).unwrap();
    // A mount that shows everything as one user's takes that user for the owner.
    let shown = FilesystemOptions { uid: Some(other.uid), ..Default::default() };
    let mount = Mount::on(mount.disk.restart(), shown);
    mount.setxattr(&other, id, name, b"+2h", XattrMode::Set).unwrap();
    assert_eq!(errno(mount.setxattr(&USER, id, name, b"+1h", XattrMode::Set)), libc::EPERM);
}
