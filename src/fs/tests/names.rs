//! Names of files that are being written: creating, renaming, swapping and linking them.

use super::*;
use crate::fs::{RenameMode, XattrMode};

const REPLACE: RenameMode = RenameMode::Replace;

#[test]
fn rename_of_an_uncommitted_file_commits_its_bytes() {
    let mount = Mount::new();
    mount.file("key", b"old");
    let open = mount.create("temporary");
    mount.write(open, 0, b"new");
    mount.rename(ROOT, b"temporary", ROOT, b"key", REPLACE).unwrap();
    assert_eq!(mount.saved("key").unwrap(), b"new");
    assert_eq!(mount.saved("temporary"), None);
    // Its close still waits for them.
    assert!(mount.close(open));
}

#[test]
fn rename_over_a_key_leaves_the_old_value_or_the_new_one() {
    let mount = Mount::new();
    let (old, new) = (pattern(200_000, 1), pattern(300_000, 2));
    mount.file("key", &old);
    mount.sync_all().unwrap();
    let open = mount.create("temporary");
    mount.write(open, 0, &new);
    mount.rename(ROOT, b"temporary", ROOT, b"key", REPLACE).unwrap();
    let mut found = [false; 2];
    for image in mount.disk.power_cut_images(7, 30) {
        let after = Mount::on(image, FilesystemOptions::default());
        let value = after.value("key").unwrap();
        assert!(value == old || value == new, "{} bytes", value.len());
        assert_eq!(after.value("temporary"), None, "it was in no record of its own");
        found[usize::from(value == new)] = true;
    }
    assert_eq!(found, [true; 2]);
}

#[test]
fn rename_of_a_file_that_was_only_created_records_it() {
    let mount = Mount::new();
    mount.create("one");
    mount.rename(ROOT, b"one", ROOT, b"two", REPLACE).unwrap();
    assert_eq!(mount.saved("two").unwrap(), b"");
}

#[test]
fn rename_over_a_dirty_file_leaves_nothing_of_it() {
    let mount = Mount::new();
    let target = mount.create("key");
    mount.write(target, 0, b"never committed");
    let source = mount.create("temporary");
    mount.write(source, 0, b"new");
    mount.rename(ROOT, b"temporary", ROOT, b"key", REPLACE).unwrap();
    mount.close(target);
    assert_eq!(mount.saved("key").unwrap(), b"new");
}

#[test]
fn exchange_of_dirty_files_commits_both() {
    let mount = Mount::new();
    let (one, two) = (mount.create("one"), mount.create("two"));
    mount.write(one, 0, b"first");
    mount.write(two, 0, b"second");
    mount.rename(ROOT, b"one", ROOT, b"two", RenameMode::Exchange).unwrap();
    assert_eq!(mount.saved("one").unwrap(), b"second");
    assert_eq!(mount.saved("two").unwrap(), b"first");
    for image in mount.disk.power_cut_images(3, 20) {
        let after = Mount::on(image, FilesystemOptions::default());
        let values = (after.value("one"), after.value("two"));
        assert!(values == (None, None) || values == (Some(b"second".into()), Some(b"first".into())), "{values:?}");
    }
}

#[test]
fn rename_of_a_file_to_another_name_of_it_does_nothing() {
    let mount = Mount::new();
    let id = mount.file("one", b"value");
    mount.link(id, ROOT, b"two").unwrap();
    mount.rename(ROOT, b"one", ROOT, b"two", REPLACE).unwrap();
    assert_eq!(mount.value("one").unwrap(), b"value");
    assert_eq!(mount.value("two").unwrap(), b"value");
    assert_eq!(mount.getattr(id).unwrap().links, 2);
}

#[test]
fn link_of_an_uncommitted_file_commits_its_bytes() {
    let mount = Mount::new();
    let open = mount.create("one");
    mount.write(open, 0, b"value");
    mount.link(open.0, ROOT, b"two").unwrap();
    assert_eq!(mount.saved("one").unwrap(), b"value");
    assert_eq!(mount.saved("two").unwrap(), b"value");
}

#[test]
fn a_created_file_has_the_attributes_it_was_given_before_its_first_commit() {
    let mount = Mount::new();
    let (id, handle) = mount.create("key");
    let operations = mount.disk.operations();
    mount.chmod(id, 0o600);
    mount.setattr(&USER, id, SetAttributes { uid: Some(7), gid: Some(8), ..Default::default() });
    mount.setxattr(&USER, id, b"user.one", b"1", XattrMode::Create).unwrap();
    mount.setxattr(&USER, id, b"user.two", b"2", XattrMode::Create).unwrap();
    mount.removexattr(&USER, id, b"user.one").unwrap();
    assert_eq!(mount.disk.operations(), operations, "none of that is in a record yet");
    mount.write((id, handle), 0, b"value");
    mount.close((id, handle));
    let after = mount.crash();
    let stat = after.stat("key").unwrap();
    assert_eq!((stat.attributes.mode, stat.attributes.uid, stat.attributes.gid), (0o600, 7, 8));
    assert_eq!(after.listxattr(stat.id).unwrap(), b"user.two\0");
    assert_eq!(after.getxattr(stat.id, b"user.two").unwrap(), b"2");
    assert_eq!(after.value("key").unwrap(), b"value");
}

#[test]
fn a_change_of_attributes_keeps_what_is_written_and_commits_none_of_it() {
    let mount = Mount::new();
    let id = mount.file("key", b"old");
    let handle = mount.open(id, WRITE);
    mount.write((id, handle), 3, b"er");
    mount.chmod(id, 0o600);
    mount.setattr(&USER, id, SetAttributes { gid: Some(8), ..Default::default() });
    mount.setxattr(&USER, id, b"user.one", b"1", XattrMode::Set).unwrap();
    assert_eq!(mount.value("key").unwrap(), b"older");
    let after = mount.crash();
    assert_eq!(after.stat("key").unwrap().attributes.mode, 0o600);
    assert_eq!(after.value("key").unwrap(), b"old");
    mount.close((id, handle));
    assert_eq!(mount.saved("key").unwrap(), b"older");
    assert_eq!(mount.crash().stat("key").unwrap().attributes.gid, 8);
}

#[test]
fn a_created_file_is_in_its_directory_before_it_is_in_the_log() {
    let mount = Mount::new();
    let directory = mount.mkdir("directory");
    let before = mount.getattr(directory).unwrap().attributes;
    let (stat, handle) = mount.filesystem.create(&USER, directory, b"key", 0o644, WRITE).unwrap();
    assert_eq!(errno(mount.rmdir(ROOT, b"directory")), libc::ENOTEMPTY);
    assert_eq!(errno(mount.filesystem.create(&USER, directory, b"key", 0o644, WRITE)), libc::EEXIST);
    assert_eq!(errno(mount.filesystem.mkdir(&USER, directory, b"key", 0o755)), libc::EEXIST);
    assert!(mount.getattr(directory).unwrap().attributes.mtime >= before.mtime);
    // The embedded store shows what is published.
    assert_eq!(mount.store().get("directory/key").unwrap(), None);
    assert_eq!(mount.store().list("directory").unwrap(), vec![]);
    assert_eq!(mount.store().scan("").count(), 1);
    assert_eq!(mount.store().info().unwrap().keys, 1);
    mount.unlink(directory, b"key").unwrap();
    mount.close((stat.id, handle));
    mount.rmdir(ROOT, b"directory").unwrap();
    assert_eq!(mount.crash().store().scan("").count(), 0);
}

#[test]
fn directories_move_with_what_is_being_written_below_them() {
    let mount = Mount::new();
    let directory = mount.mkdir("one");
    let (stat, handle) = mount.filesystem.create(&USER, directory, b"key", 0o644, WRITE).unwrap();
    mount.write((stat.id, handle), 0, b"value");
    mount.rename(ROOT, b"one", ROOT, b"two", REPLACE).unwrap();
    assert_eq!(mount.saved("two/key"), None);
    mount.close((stat.id, handle));
    assert_eq!(mount.saved("two/key").unwrap(), b"value");
    let below = mount.filesystem.mkdir(&USER, directory, b"below", 0o755).unwrap().0.id;
    assert_eq!(errno(mount.rename(ROOT, b"two", below, b"itself", REPLACE)), libc::EINVAL);
    assert_eq!(errno(mount.rename(ROOT, b"two", directory, b"itself", REPLACE)), libc::EINVAL);
}

#[test]
fn names_of_255_bytes_are_taken_and_longer_ones_refused() {
    let mount = Mount::new();
    let (longest, longer) = (vec![b'n'; 255], vec![b'n'; 256]);
    mount.file("key", b"value");
    let (stat, handle) = mount.filesystem.create(&USER, ROOT, &longest, 0o644, WRITE).unwrap();
    mount.close((stat.id, handle));
    assert_eq!(mount.crash().lookup(ROOT, &longest).unwrap().unwrap().id, stat.id);
    let refused = [
        errno(mount.filesystem.create(&USER, ROOT, &longer, 0o644, WRITE)),
        errno(mount.filesystem.mkdir(&USER, ROOT, &longer, 0o755)),
        errno(mount.symlink(&USER, ROOT, &longer, b"target")),
        errno(mount.link(stat.id, ROOT, &longer)),
        errno(mount.rename(ROOT, b"key", ROOT, &longer, REPLACE)),
        errno(mount.rename(ROOT, &longer, ROOT, b"key", REPLACE)),
        errno(mount.unlink(ROOT, &longer)),
        errno(mount.rmdir(ROOT, &longer)),
        errno(mount.lookup(ROOT, &longer)),
    ];
    assert_eq!(refused, [libc::ENAMETOOLONG; 9]);
    assert_eq!(errno(mount.symlink(&USER, ROOT, b"symlink", &vec![b't'; 4096])), libc::ENAMETOOLONG);
    mount.symlink(&USER, ROOT, b"symlink", &vec![b't'; 4095]).unwrap();
}

#[test]
fn names_are_any_bytes_but_slash_and_nul() {
    let mount = Mount::new();
    let names: Vec<Vec<u8>> =
        (1..=255u8).filter(|byte| *byte != b'/' && *byte != b'.').map(|byte| vec![byte]).collect();
    for name in names.iter().chain([&b"...".to_vec(), &b"\xc3\x28\xff\n".to_vec()]) {
        let (stat, handle) = mount.filesystem.create(&USER, ROOT, name, 0o644, WRITE).unwrap();
        mount.write((stat.id, handle), 0, name);
        mount.close((stat.id, handle));
    }
    let after = mount.crash();
    for name in &names {
        let stat = after.lookup(ROOT, name).unwrap().unwrap();
        assert_eq!(after.read(stat.id, 0, 10).unwrap(), *name);
    }
    for name in [&b""[..], b".", b"..", b"a/b", b"a\0b"] {
        assert_eq!(errno(mount.filesystem.create(&USER, ROOT, name, 0o644, WRITE)), libc::EINVAL);
    }
}
