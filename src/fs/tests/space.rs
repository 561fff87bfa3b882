//! A full disk.

use super::*;

/// A store on a disk with this much room, opened after the room was told.
fn mount(capacity: u64) -> Mount {
    let disk = SimDisk::new();
    disk.set_capacity(Some(capacity));
    Mount::on(disk, FilesystemOptions::default())
}

fn used(disk: &SimDisk) -> u64 {
    disk.paths().iter().filter_map(|path| disk.file(path)).map(|file| file.len() as u64).sum()
}

#[test]
fn statfs_adds_up() {
    let mount = mount(100 << 20);
    let empty = mount.statfs().unwrap();
    assert_eq!(u64::from(empty.block_size) * empty.blocks, 100 << 20);
    assert!(empty.available <= empty.free && empty.free <= empty.blocks);
    assert_eq!(empty.free - empty.available, mount.store().reserved() / 4096);
    assert!(mount.store().reserved() > 0);
    assert_eq!(empty.files, empty.files_free);
    mount.file("key", &pattern(10 << 20, 1));
    mount.create("open");
    let filled = mount.statfs().unwrap();
    assert_eq!(filled.blocks, empty.blocks);
    let taken = empty.free - filled.free;
    assert!((2560..2700).contains(&taken), "{taken} blocks for 10 MiB");
    assert_eq!(filled.files - filled.files_free, 1);
}

#[test]
fn a_failed_commit_is_reported_and_can_be_tried_again() {
    let mount = Mount::new();
    let (id, handle) = mount.create("key");
    let value = pattern(300_000, 1);
    mount.write((id, handle), 0, &value);
    mount.disk.set_capacity(Some(used(&mount.disk) + 100_000));
    for _ in 0..3 {
        assert_eq!(errno(mount.flush(id, handle)), libc::ENOSPC);
        assert!(mount.value("key").unwrap() == value);
    }
    assert_eq!(errno(mount.fsync(id, handle)), libc::ENOSPC);
    assert_eq!(mount.saved("key"), None);
    assert!(!mount.store().is_read_only(), "a full disk is no failure");
    mount.disk.set_capacity(None);
    assert!(mount.flush(id, handle).unwrap().is_some());
    assert!(mount.saved("key").unwrap() == value);
}

#[test]
fn a_failed_commit_leaves_the_old_value() {
    let mount = Mount::new();
    let id = mount.file("key", b"old");
    let handle = mount.open_truncated(&USER, id, WRITE);
    let value = pattern(300_000, 1);
    mount.write((id, handle), 0, &value);
    mount.disk.set_capacity(Some(used(&mount.disk) + 100_000));
    assert_eq!(errno(mount.flush(id, handle)), libc::ENOSPC);
    assert_eq!(mount.saved("key").unwrap(), b"old");
    assert_eq!(errno(mount.release(id, handle)), libc::ENOSPC);
    // Nobody has it open, but it is not lost: the next close, or the unmount, commits it.
    assert!(mount.value("key").unwrap() == value);
    assert!(mount.sync_all().is_err());
    mount.disk.set_capacity(None);
    mount.sync_all().unwrap();
    assert!(mount.saved("key").unwrap() == value);
    assert!(mount.state.lock().inodes.is_empty());
}

#[test]
fn the_last_reader_commits_what_the_writer_could_not() {
    let mount = Mount::new();
    let id = mount.file("key", b"old");
    let (reader, writer) = (mount.open(id, READ), mount.open_truncated(&USER, id, WRITE));
    let value = pattern(300_000, 1);
    mount.write((id, writer), 0, &value);
    mount.disk.set_capacity(Some(used(&mount.disk) + 100_000));
    assert_eq!(errno(mount.release(id, writer)), libc::ENOSPC);
    mount.disk.set_capacity(None);
    mount.release(id, reader).unwrap();
    assert!(mount.saved("key").unwrap() == value);
}

#[test]
fn a_failed_spill_is_reported_to_the_writer() {
    let mount = Mount::new();
    let (id, handle) = mount.create("key");
    let value = pattern(1 << 20, 1);
    mount.write((id, handle), 0, &value);
    mount.disk.set_capacity(Some(used(&mount.disk) + 100_000));
    for _ in 0..3 {
        // Nothing of such a write is taken, so that memory stays bounded even if the writer does not stop.
        assert_eq!(errno(mount.filesystem.write(id, handle, 1 << 20, b"more", Writing::default())), libc::ENOSPC);
        assert!(mount.value("key").unwrap() == value);
    }
    mount.disk.set_capacity(None);
    mount.write((id, handle), 1 << 20, b"more");
    mount.close((id, handle));
    assert!(mount.saved("key").unwrap() == [value, b"more".to_vec()].concat());
}

#[test]
fn a_full_disk_can_be_emptied_again() {
    let mount = mount(4 << 20);
    let mut count = 0;
    let full = loop {
        let (id, handle) = match mount.filesystem.create(&USER, ROOT, format!("key{count}").as_bytes(), 0o644, WRITE) {
            Ok((stat, handle)) => (stat.id, handle),
            Err(error) => break error,
        };
        let written = mount.filesystem.write(id, handle, 0, &pattern(50_000, count), Writing::default());
        if let Err(error) = written.and_then(|_| mount.flush(id, handle)) {
            break error;
        }
        mount.release(id, handle).unwrap();
        count += 1;
    };
    assert_eq!(full.errno(), libc::ENOSPC);
    assert!(count > 50, "{count} files");
    let space = crate::medium::Medium::space(&mount.disk).unwrap();
    assert!(space.available > 10_000, "{} bytes of the reserve are left", space.available);
    for number in 0..count {
        mount.rename(ROOT, format!("key{number}").as_bytes(), ROOT, b"next", Default::default()).unwrap();
        mount.unlink(ROOT, b"next").unwrap();
    }
    assert!(!mount.store().is_read_only());
}
