//! copy_file_range: what is staged on either side, holes, ends, limits.

use super::*;
use crate::fs::{CopyEnd, SetTime};
use crate::store::Time;

fn end((id, handle): (EntryId, HandleId), offset: u64) -> CopyEnd {
    CopyEnd { id, handle, offset }
}

impl Mount {
    fn copy(&self, from: CopyEnd, to: CopyEnd, length: u64) -> u64 {
        self.copy_file_range(&USER, from, to, length).unwrap().bytes
    }
}

#[test]
fn a_copy_takes_along_what_is_staged() {
    let mount = Mount::new();
    let source = mount.file("source", &pattern(300_000, 1));
    let from = (source, mount.open(source, WRITE));
    let to = mount.create("target");
    mount.write(from, 1000, b"staged");
    mount.write(to, 0, &pattern(400_000, 2));
    assert_eq!(mount.copy(end(from, 500), end(to, 100_001), 200_000), 200_000);
    let mut expected = pattern(400_000, 2);
    let mut bytes = pattern(300_000, 1);
    bytes[1000..1006].copy_from_slice(b"staged");
    expected[100_001..300_001].copy_from_slice(&bytes[500..200_500]);
    assert!(mount.value("target").unwrap() == expected);
    assert_eq!(mount.saved("target"), None);
    // The close of the target is what commits it; the source is as it was.
    assert!(mount.close(to));
    assert!(mount.saved("target").unwrap() == expected);
    assert!(mount.saved("source").unwrap() == pattern(300_000, 1));
    mount.close(from);
    assert!(mount.saved("source").unwrap() == bytes);
}

#[test]
fn a_copy_ends_with_the_source() {
    let mount = Mount::new();
    let source = mount.file("source", b"0123456789");
    let from = (source, mount.open(source, READ));
    let to = mount.create("target");
    assert_eq!(mount.copy(end(from, 4), end(to, 3), u64::MAX), 6);
    assert_eq!(mount.value("target").unwrap(), b"\0\0\x00456789");
    let before = mount.getattr(to.0).unwrap();
    for offset in [10, 11, u64::MAX] {
        assert_eq!(mount.copy(end(from, offset), end(to, 0), 5), 0);
    }
    assert_eq!(mount.getattr(to.0).unwrap(), before, "nothing was copied");
    let last = i64::MAX as u64;
    assert_eq!(errno(mount.copy_file_range(&USER, end(from, 0), end(to, last), 1)), libc::EFBIG);
    assert_eq!(mount.getattr(to.0).unwrap(), before);
}

#[test]
fn a_copy_within_a_file_overlaps_nothing() {
    let mount = Mount::new();
    let id = mount.file("key", &pattern(200_000, 1));
    let open = (id, mount.open(id, WRITE));
    for (from, to, length) in [(0, 0, 1), (0, 99_999, 100_000), (99_999, 0, 100_000), (199_999, 199_999, 50)] {
        assert_eq!(errno(mount.copy_file_range(&USER, end(open, from), end(open, to), length)), libc::EINVAL);
    }
    let mut expected = pattern(200_000, 1);
    assert_eq!(mount.copy(end(open, 0), end(open, 100_000), 100_000), 100_000);
    expected.copy_within(..100_000, 100_000);
    assert!(mount.value("key").unwrap() == expected);
    // Shortened to what there is before it is looked at, as on Linux.
    assert_eq!(mount.copy(end(open, 199_990), end(open, 200_000), 100_000), 10);
    expected.extend_from_within(199_990..);
    mount.close(open);
    assert!(mount.saved("key").unwrap() == expected);
}

#[test]
fn holes_stay_holes() {
    let mount = Mount::new();
    let from = mount.create("source");
    mount.write(from, 1 << 20, &pattern(8192, 1));
    mount.setattr(&USER, from.0, resize(4 << 20));
    let to = mount.create("target");
    mount.write(to, 0, &pattern(2 << 20, 2));
    assert_eq!(mount.copy(end(from, 0), end(to, 0), 1 << 30), 4 << 20);
    mount.close(to);
    let mut expected = vec![0; 4 << 20];
    expected[1 << 20..(1 << 20) + 8192].copy_from_slice(&pattern(8192, 1));
    assert!(mount.saved("target").unwrap() == expected);
    assert_eq!(mount.lseek(to.0, 0, libc::SEEK_DATA).unwrap(), 1 << 20);
    assert_eq!(mount.lseek(to.0, 1 << 20, libc::SEEK_HOLE).unwrap(), (1 << 20) + 8192);
    assert_eq!(errno(mount.lseek(to.0, 2 << 20, libc::SEEK_DATA)), libc::ENXIO);
}

#[test]
fn a_long_copy_is_made_in_steps_and_in_bounded_memory() {
    let options = FilesystemOptions { dirty_limit: 1 << 20, ..Default::default() };
    let mount = Mount::on(SimDisk::new(), options);
    let value = pattern(9 << 20, 1);
    let source = mount.file("source", &value);
    let (from, to) = ((source, mount.open(source, READ)), mount.create("target"));
    let first = mount.copy(end(from, 0), end(to, 0), 1 << 40);
    assert!(first < value.len() as u64, "an event loop is not held for long");
    let mut at = first;
    while at < value.len() as u64 {
        at += mount.copy(end(from, at), end(to, at), 1 << 40);
    }
    assert!(mount.state.lock().dirty < 3 << 20);
    mount.close(to);
    assert!(mount.saved("target").unwrap() == value);
}

#[test]
fn a_copy_takes_suid_from_its_target_and_changes_its_times() {
    let mount = Mount::new();
    let source = mount.file("source", b"bytes");
    let target = mount.file("target", b"program");
    let (from, to) = ((source, mount.open(source, READ)), (target, mount.open(target, WRITE)));
    for (caller, mode) in [(ROOT_USER, 0o6755), (USER, 0o755)] {
        let change = SetAttributes { mode: Some(0o6755), mtime: Some(SetTime::At(Time(5))), ..Default::default() };
        mount.setattr(&ROOT_USER, target, change);
        assert_eq!(mount.copy_file_range(&caller, end(from, 0), end(to, 0), 5).unwrap().bytes, 5);
        let after = mount.getattr(target).unwrap().attributes;
        assert_eq!(after.mode, mode);
        assert!(after.mtime > Time(5));
    }
}

#[test]
fn a_copy_that_does_not_fit_says_so() {
    let mount = Mount::new();
    // Bytes that are in memory, and so cannot be shared.
    let from = mount.create("source");
    mount.write(from, 0, &pattern(500_000, 1));
    let to = mount.create("target");
    mount.disk.set_capacity(Some(4 << 20));
    let mut at = 0;
    let refused = loop {
        match mount.copy_file_range(&USER, end(from, 0), end(to, at), 1 << 20) {
            Ok(copied) => at += copied.bytes,
            Err(error) => break error.errno(),
        }
    };
    assert_eq!(refused, libc::ENOSPC);
    assert_eq!(mount.getattr(to.0).unwrap().size, at);
    mount.disk.set_capacity(None);
    mount.close(to);
    assert_eq!(mount.saved("target").unwrap().len() as u64, at);
}
