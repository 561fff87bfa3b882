//! Ownership and permissions: what is inherited, what a change takes away, what options show.

use super::*;
use crate::fs::XattrMode;
use crate::store::Kind;

const CAPABILITY: &[u8] = b"security.capability";

#[test]
fn a_setgid_directory_hands_down_its_group() {
    let mount = Mount::new();
    let directory = mount.mkdir("directory");
    let change = SetAttributes { gid: Some(77), mode: Some(0o2775), ..Default::default() };
    mount.setattr(&ROOT_USER, directory, change);
    let file = mount.filesystem.create(&USER, directory, b"file", 0o644, WRITE).unwrap().0.attributes;
    assert_eq!((file.gid, file.mode), (77, 0o644));
    let below = mount.filesystem.mkdir(&USER, directory, b"below", 0o755).unwrap().0.attributes;
    assert_eq!((below.gid, below.mode), (77, 0o2755));
    let fifo = mount.mknod(&USER, directory, b"fifo", Kind::Fifo, 0o600, 0).unwrap().0.attributes;
    assert_eq!((fifo.gid, fifo.mode), (77, 0o600));
    let outside = mount.filesystem.mkdir(&USER, ROOT, b"outside", 0o755).unwrap().0.attributes;
    assert_eq!((outside.uid, outside.gid, outside.mode), (USER.uid, USER.gid, 0o755));
}

#[test]
fn a_write_takes_suid_and_sgid_if_the_kernel_says_so() {
    let mount = Mount::new();
    let id = mount.file("key", b"program");
    let handle = mount.open(id, WRITE);
    mount.chmod(id, 0o6755);
    mount.write((id, handle), 0, b"P");
    assert_eq!(mount.getattr(id).unwrap().attributes.mode, 0o6755);
    mount.filesystem.write(id, handle, 0, b"p", KILL).unwrap();
    assert_eq!(mount.getattr(id).unwrap().attributes.mode, 0o755);
    assert_eq!(mount.crash().stat("key").unwrap().attributes.mode, 0o755);
    // Without the group's right to execute, the bit means mandatory locking.
    mount.chmod(id, 0o6745);
    mount.filesystem.write(id, handle, 0, b"p", KILL).unwrap();
    assert_eq!(mount.getattr(id).unwrap().attributes.mode, 0o2745);
}

#[test]
fn a_truncate_takes_suid_and_sgid_unless_root_does_it() {
    let mount = Mount::new();
    let id = mount.file("key", b"program");
    mount.chmod(id, 0o6755);
    mount.setattr(&ROOT_USER, id, resize(5));
    assert_eq!(mount.getattr(id).unwrap().attributes.mode, 0o6755);
    mount.setattr(&USER, id, resize(4));
    assert_eq!(mount.getattr(id).unwrap().attributes.mode, 0o755);
    mount.chmod(id, 0o6755);
    let handle = mount.open_truncated(&USER, id, WRITE);
    assert_eq!(mount.getattr(id).unwrap().attributes.mode, 0o755);
    mount.close((id, handle));
}

#[test]
fn a_change_of_owner_takes_suid_and_sgid_of_files() {
    let mount = Mount::new();
    let (file, directory) = (mount.file("key", b""), mount.mkdir("directory"));
    let change = SetAttributes { uid: Some(5), gid: Some(6), ..Default::default() };
    for (id, mode) in [(file, 0o755), (directory, 0o6755)] {
        mount.chmod(id, 0o6755);
        let attributes = mount.setattr(&ROOT_USER, id, change).attributes;
        assert_eq!((attributes.uid, attributes.gid, attributes.mode), (5, 6, mode));
    }
    // A mode that is set along with it is what it will be.
    let change = SetAttributes { mode: Some(0o4755), ..change };
    assert_eq!(mount.setattr(&ROOT_USER, file, change).attributes.mode, 0o4755);
}

#[test]
fn a_change_of_the_value_takes_capabilities() {
    let mount = Mount::new();
    let id = mount.file("key", b"program");
    let handle = mount.open(id, WRITE);
    let grant = || mount.setxattr(&USER, id, CAPABILITY, b"\x01\0\0\x02", XattrMode::Set).unwrap();
    let granted = |mount: &Mount| mount.getxattr(id, CAPABILITY).is_ok();
    grant();
    mount.setxattr(&USER, id, b"user.one", b"1", XattrMode::Set).unwrap();
    mount.write((id, handle), 0, b"");
    assert!(granted(&mount), "nothing was written");
    mount.write((id, handle), 0, b"P");
    assert!(!granted(&mount) && !granted(&mount.crash()));
    grant();
    mount.setattr(&ROOT_USER, id, resize(3));
    assert!(!granted(&mount));
    grant();
    mount.open_truncated(&ROOT_USER, id, WRITE);
    assert!(!granted(&mount));
    assert_eq!(mount.getxattr(id, b"user.one").unwrap(), b"1");
}

#[test]
fn xattrs_are_in_the_namespaces_that_there_are() {
    let mount = Mount::new();
    let id = mount.file("key", b"");
    for name in [&b"user.a"[..], b"trusted.a", b"security.a"] {
        mount.setxattr(&USER, id, name, b"1", XattrMode::Create).unwrap();
        assert_eq!(errno(mount.setxattr(&USER, id, name, b"2", XattrMode::Create)), libc::EEXIST);
        mount.setxattr(&USER, id, name, b"3", XattrMode::Replace).unwrap();
        assert_eq!(mount.getxattr(id, name).unwrap(), b"3");
    }
    assert_eq!(errno(mount.setxattr(&USER, id, b"user.b", b"", XattrMode::Replace)), libc::ENODATA);
    assert_eq!(errno(mount.removexattr(&USER, id, b"user.b")), libc::ENODATA);
    assert_eq!(errno(mount.getxattr(id, b"user.b")), libc::ENODATA);
    for name in [&b"system.other"[..], b"user.", b"other.a", b"nothing"] {
        assert_eq!(errno(mount.setxattr(&USER, id, name, b"1", XattrMode::Set)), libc::EOPNOTSUPP);
        assert_eq!(errno(mount.getxattr(id, name)), libc::EOPNOTSUPP);
        assert_eq!(errno(mount.removexattr(&USER, id, name)), libc::EOPNOTSUPP);
    }
    assert_eq!(mount.crash().listxattr(id).unwrap(), b"user.a\0trusted.a\0security.a\0");
}

#[test]
fn options_say_whose_everything_is() {
    let disk = SimDisk::new();
    Mount::on(disk.clone(), FilesystemOptions::default()).file("key", b"value");
    let options = FilesystemOptions { uid: Some(42), gid: Some(43), umask: 0o044, ..Default::default() };
    let mount = Mount::on(disk.clone(), options);
    let attributes = mount.stat("key").unwrap().attributes;
    assert_eq!((attributes.uid, attributes.gid, attributes.mode), (42, 43, 0o600));
    mount
        .readdir(ROOT, 2, &mut |_, stat| {
            assert_eq!(stat.attributes, attributes);
            true
        })
        .unwrap();
    drop(mount);
    // Only shown, never stored.
    let stored = Mount::on(disk, FilesystemOptions::default()).stat("key").unwrap().attributes;
    assert_eq!((stored.uid, stored.gid, stored.mode), (USER.uid, USER.gid, 0o644));
}

/// What can be set can be listed: a longer list than 64 KiB listxattr(2) answers with E2BIG, for good.
#[test]
fn the_names_of_xattrs_end_where_linux_lists_no_more() {
    const LIST_MAX: usize = 65_536;
    let mount = Mount::new();
    let id = mount.file("key", b"value");
    let name = |number: usize| format!("user.{number:0>249}").into_bytes();
    let mut set = 0;
    let refused = loop {
        match mount.setxattr(&USER, id, &name(set), b"", XattrMode::Set) {
            Ok(_) => set += 1,
            Err(error) => break error.errno(),
        }
    };
    assert_eq!((set, refused), ((LIST_MAX - 20) / 255, libc::ENOSPC));
    // With what a mount shows beside them.
    mount.setxattr(&USER, id, b"user.caskfs.expires", b"+1h", XattrMode::Set).unwrap();
    assert!(mount.listxattr(id).unwrap().len() <= LIST_MAX);
    // A value may still change, and one that goes makes room.
    mount.setxattr(&USER, id, &name(7), b"new", XattrMode::Set).unwrap();
    mount.removexattr(&USER, id, &name(8)).unwrap();
    mount.setxattr(&USER, id, &name(8), b"again", XattrMode::Create).unwrap();
    assert_eq!(errno(mount.setxattr(&USER, id, &name(set), b"", XattrMode::Set)), libc::ENOSPC);
    // As are values that take too much together.
    let id = mount.file("values", b"value");
    for number in 0..3 {
        mount.setxattr(&USER, id, &name(number), &[1; 65_536], XattrMode::Set).unwrap();
    }
    assert_eq!(errno(mount.setxattr(&USER, id, &name(3), &[1; 65_536], XattrMode::Set)), libc::ENOSPC);
}
