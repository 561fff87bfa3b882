//! Who waits for the medium.

use super::*;
use crate::fs::{RenameMode, SyncMode, XattrMode};

fn mount(sync: SyncMode) -> Mount {
    Mount::on(SimDisk::new(), FilesystemOptions { sync, ..Default::default() })
}

/// Whether each of the changes that are neither close nor fsync waits.
fn others(mount: &Mount) -> Vec<bool> {
    let id = mount.file("key", b"value");
    let mode = SetAttributes { mode: Some(0o600), ..Default::default() };
    let sequences = vec![
        mount.filesystem.mkdir(&USER, ROOT, b"directory", 0o755).unwrap().1,
        mount.filesystem.setattr(&USER, id, None, mode).unwrap().1,
        mount.filesystem.setattr(&USER, id, None, resize(2)).unwrap().1,
        mount.setxattr(&USER, id, b"user.one", b"1", XattrMode::Set).unwrap(),
        mount.removexattr(&USER, id, b"user.one").unwrap(),
        mount.link(id, ROOT, b"link").unwrap().1,
        mount.symlink(&USER, ROOT, b"symlink", b"key").unwrap().1,
        mount.rename(ROOT, b"link", ROOT, b"other", RenameMode::Replace).unwrap(),
        mount.unlink(ROOT, b"other").unwrap(),
        mount.rmdir(ROOT, b"directory").unwrap(),
    ];
    sequences.iter().map(Option::is_some).collect()
}

fn close(mount: &Mount) -> bool {
    let open = mount.create("closed");
    mount.write(open, 0, b"value");
    mount.close(open)
}

fn fsync(mount: &Mount) -> bool {
    let (id, handle) = mount.create("synced");
    mount.write((id, handle), 0, b"value");
    let waits = mount.fsync(id, handle).unwrap().is_some();
    assert!(mount.fsync(id, handle).unwrap().is_some(), "a second fsync waits for everything before it, too");
    assert_eq!(mount.fsyncdir(ROOT).unwrap().is_some(), waits);
    waits
}

#[test]
fn sync_close_makes_close_and_fsync_wait() {
    let mount = mount(SyncMode::Close);
    assert!(close(&mount));
    assert!(fsync(&mount));
    assert_eq!(others(&mount), [false; 10]);
}

#[test]
fn sync_always_makes_every_change_wait() {
    let mount = mount(SyncMode::Always);
    assert!(close(&mount));
    assert!(fsync(&mount));
    assert_eq!(others(&mount), [true; 10]);
}

#[test]
fn sync_interval_makes_fsync_alone_wait() {
    let mount = mount(SyncMode::Interval);
    assert!(!close(&mount));
    assert_eq!(mount.saved("closed").unwrap(), b"value", "close hands it to the operating system all the same");
    assert!(fsync(&mount));
    assert_eq!(others(&mount), [false; 10]);
}

#[test]
fn a_sync_covers_every_change_before_it() {
    let mount = mount(SyncMode::Close);
    mount.file("key", b"value");
    mount.rename(ROOT, b"key", ROOT, b"renamed", RenameMode::Replace).unwrap();
    let (id, handle) = mount.create("other");
    mount.write((id, handle), 0, b"1");
    let sequence = mount.flush(id, handle).unwrap().unwrap();
    let (send, receive) = std::sync::mpsc::channel();
    mount.when_durable(sequence, Box::new(move |result| send.send(result.is_ok()).unwrap()));
    assert!(receive.recv().unwrap());
    let image = mount.disk.power_cut_images(1, 1).remove(0);
    let after = Mount::on(image, FilesystemOptions::default());
    assert_eq!(after.value("renamed").unwrap(), b"value");
    assert_eq!(after.value("other").unwrap(), b"1");
}

/// Sixteen clients that fsync and close would otherwise wait for two syncs each: the second for what the others did.
#[test]
fn a_close_after_an_fsync_waits_for_nothing_that_came_later() {
    let mount = mount(SyncMode::Close);
    let (id, handle) = mount.create("key");
    mount.write((id, handle), 0, b"value");
    let synced = mount.fsync(id, handle).unwrap().unwrap();
    mount.filesystem.store().wait(synced).unwrap();
    mount.filesystem.mkdir(&USER, ROOT, b"later", 0o755).unwrap();
    let durable = mount.filesystem.store().info().unwrap().durable;
    assert!(mount.flush(id, handle).unwrap().unwrap() <= durable);
    // Until it is written to again.
    mount.write((id, handle), 0, b"other");
    assert!(mount.flush(id, handle).unwrap().unwrap() > durable);
}

#[test]
fn a_close_waits_for_what_another_call_committed() {
    let mount = mount(SyncMode::Close);
    let (id, handle) = mount.create("key");
    mount.write((id, handle), 0, b"value");
    let durable = mount.filesystem.store().info().unwrap().durable;
    mount.rename(ROOT, b"key", ROOT, b"renamed", RenameMode::Replace).unwrap();
    let sequence = mount.flush(id, handle).unwrap().unwrap();
    assert!(sequence > durable && sequence == mount.filesystem.store().written());
}
