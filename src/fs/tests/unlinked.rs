//! Files that have lost their last name.

use super::*;
use crate::fs::XattrMode;

/// Whether these bytes are anywhere on the disk.
fn on_disk(mount: &Mount, bytes: &[u8]) -> bool {
    let files = mount.disk.paths().into_iter().filter_map(|path| mount.disk.file(&path));
    files.into_iter().any(|file| file.windows(bytes.len()).any(|window| window == bytes))
}

#[test]
fn an_unlinked_file_is_read_and_written_while_it_is_open() {
    let mount = Mount::new();
    let id = mount.file("key", b"0123456789");
    let handle = mount.open(id, WRITE);
    mount.unlink(ROOT, b"key").unwrap();
    assert_eq!(mount.value("key"), None);
    assert_eq!(mount.getattr(id).unwrap().links, 0);
    assert_eq!(mount.read(id, 0, 100).unwrap(), b"0123456789");
    mount.write((id, handle), 3, b"abc");
    assert_eq!(mount.read(id, 0, 100).unwrap(), b"012abc6789");
    mount.filesystem.setattr(&USER, id, Some(handle), resize(5)).unwrap();
    assert_eq!(mount.read(id, 0, 100).unwrap(), b"012ab");
}

#[test]
fn nothing_of_an_unlinked_file_goes_to_the_log() {
    let mount = Mount::new();
    let (id, handle) = mount.create("key");
    mount.write((id, handle), 0, b"before");
    mount.unlink(ROOT, b"key").unwrap();
    let operations = mount.disk.operations();
    mount.write((id, handle), 6, b"secret");
    mount.chmod(id, 0o600);
    mount.setxattr(&USER, id, b"user.one", b"1", XattrMode::Set).unwrap();
    mount.filesystem.setattr(&USER, id, Some(handle), resize(12)).unwrap();
    mount.flush(id, handle).unwrap();
    mount.fsync(id, handle).unwrap();
    assert_eq!(mount.getattr(id).unwrap().attributes.mode, 0o600);
    assert_eq!(mount.getxattr(id, b"user.one").unwrap(), b"1");
    assert_eq!(mount.read(id, 0, 100).unwrap(), b"beforesecret");
    mount.release(id, handle).unwrap();
    mount.sync_all().unwrap();
    mount.forget(id, 1);
    assert!(!on_disk(&mount, b"secret") && !on_disk(&mount, b"before"));
    assert!(mount.disk.operations() <= operations + 1, "one fsync at most");
}

#[test]
fn an_unlinked_file_lives_until_it_is_forgotten() {
    let mount = Mount::new();
    let (id, handle) = mount.create("key");
    mount.lookup(ROOT, b"key").unwrap();
    mount.unlink(ROOT, b"key").unwrap();
    mount.write((id, handle), 0, b"value");
    mount.close((id, handle));
    // Whoever has its inode can open it again, through /proc/self/fd.
    let again = mount.open(id, READ);
    assert_eq!(mount.read(id, 0, 100).unwrap(), b"value");
    mount.close((id, again));
    mount.forget(id, 1);
    assert_eq!(mount.read(id, 0, 100).unwrap(), b"value");
    mount.forget(id, 1);
    assert_eq!(errno(mount.read(id, 0, 100)), libc::ESTALE);
    assert_eq!(errno(mount.store().entry(id)), libc::ESTALE);
    assert!(mount.state.lock().inodes.is_empty());
    assert_eq!(mount.state.lock().dirty, 0);
}

#[test]
fn a_file_may_be_forgotten_before_it_is_released() {
    let mount = Mount::new();
    let (id, handle) = mount.create("key");
    mount.write((id, handle), 0, b"value");
    mount.unlink(ROOT, b"key").unwrap();
    mount.forget(id, 1);
    mount.release(id, handle).unwrap();
    assert!(mount.state.lock().inodes.is_empty());
    assert_eq!(mount.state.lock().dirty, 0);
}

#[test]
fn an_unlinked_file_that_was_spilled_is_gone_after_a_crash() {
    let mount = Mount::on(SimDisk::new(), FilesystemOptions { dirty_limit: 4096, ..Default::default() });
    let (id, handle) = mount.create("key");
    mount.unlink(ROOT, b"key").unwrap();
    let value = pattern(50_000, 1);
    mount.write((id, handle), 0, &value);
    assert!(mount.read(id, 0, 100_000).unwrap() == value);
    let after = mount.crash();
    assert_eq!(after.value("key"), None);
    assert_eq!(after.store().scan("").count(), 0);
    mount.close((id, handle));
    mount.forget(id, 1);
    assert_eq!(errno(mount.store().entry(id)), libc::ESTALE);
}

#[test]
fn an_unlinked_file_gets_no_new_name() {
    let mount = Mount::new();
    let (id, handle) = mount.create("key");
    mount.write((id, handle), 0, b"value");
    mount.unlink(ROOT, b"key").unwrap();
    assert_eq!(errno(mount.link(id, ROOT, b"again")), libc::ENOENT);
    assert_eq!(mount.read(id, 0, 100).unwrap(), b"value");
}

#[test]
fn a_file_replaced_by_rename_is_read_and_written_while_it_is_open() {
    let mount = Mount::new();
    let old = mount.file("key", b"old");
    let handle = mount.open(old, WRITE);
    mount.write((old, handle), 3, b"er");
    mount.file("temporary", b"new");
    mount.rename(ROOT, b"temporary", ROOT, b"key", Default::default()).unwrap();
    assert_eq!(mount.read(old, 0, 100).unwrap(), b"older");
    mount.close((old, handle));
    assert_eq!(mount.value("key").unwrap(), b"new");
    assert_eq!(mount.saved("key").unwrap(), b"new");
}

#[test]
fn a_removed_directory_takes_no_new_names() {
    let mount = Mount::new();
    let directory = mount.mkdir("directory");
    mount.rmdir(ROOT, b"directory").unwrap();
    assert_eq!(mount.getattr(directory).unwrap().links, 0);
    assert_eq!(errno(mount.filesystem.mkdir(&USER, directory, b"below", 0o755)), libc::ENOENT);
    assert_eq!(errno(mount.filesystem.create(&USER, directory, b"below", 0o644, WRITE)), libc::ENOENT);
    assert_eq!(mount.lookup(directory, b"below").unwrap(), None);
    mount.forget(directory, 1);
    assert_eq!(errno(mount.getattr(directory)), libc::ESTALE);
}
