//! Dirty data in memory stays bounded, whatever the size of the file.

use super::*;
use crate::fs::staged::{FRAGMENT, Fragment};
use crate::store::MemoryUse;

/// Steps of a fixed walk over `0..bound` that looks random.
fn walk(bound: u64) -> impl Iterator<Item = u64> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    })
}

/// Bytes in memory, and what they become when they are filled up to whole blocks.
fn memory(mount: &Mount, id: EntryId) -> (usize, u64) {
    let state = mount.state.lock();
    let Some(staged) = state.staged(id) else { return (state.dirty, 0) };
    let pieces = staged.fragments.iter().filter(|(_, piece)| matches!(piece, Fragment::Memory(_)));
    let held: usize = pieces.map(|(range, _)| (range.end - range.start) as usize).sum();
    assert_eq!((held, staged.held()), (staged.memory, state.dirty), "what is counted is what is there");
    assert_eq!(mount.store().memory_used(MemoryUse::Staged), state.dirty as u64);
    (held, staged.dirty_blocks().iter().map(|range| range.end - range.start).sum())
}

#[test]
fn a_long_value_written_at_random_is_spilled() {
    const SIZE: u64 = 64 << 20;
    const STEP: u64 = 48_611;
    let mount = Mount::new();
    let (id, handle) = mount.create("key");
    let mut expected = vec![0; SIZE as usize];
    let steps = (SIZE / STEP) as usize;
    for (number, offset) in walk(SIZE - STEP).take(steps).enumerate() {
        let bytes = vec![number as u8 | 1; STEP as usize];
        mount.write((id, handle), offset, &bytes);
        expected[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
        let (held, filled) = memory(&mount, id);
        // What a write finds is below the limit, and then comes the write.
        let limit = (1 << 20) + STEP;
        assert!(held < limit as usize && filled < 2 * limit, "{held} bytes in memory, {filled} in whole blocks");
    }
    mount.write((id, handle), SIZE - 1, &[0]);
    assert!(mount.close((id, handle)));
    assert_eq!(mount.state.lock().dirty, 0);
    let after = mount.crash();
    for offset in (0..SIZE).step_by(1 << 20) {
        assert!(after.read(id, offset, 1 << 20).unwrap() == expected[offset as usize..][..1 << 20], "at {offset}");
    }
}

#[test]
fn single_bytes_written_far_apart_are_spilled_too() {
    let mount = Mount::new();
    let (id, handle) = mount.create("key");
    for number in 0..2000 {
        mount.write((id, handle), number * 8192, b"x");
        let (_, filled) = memory(&mount, id);
        assert!(filled <= (1 << 20) + 4096, "{filled} bytes in whole blocks");
    }
    mount.close((id, handle));
    let after = mount.crash();
    assert_eq!(after.stat("key").unwrap().size, 1999 * 8192 + 1);
    for number in (0..2000).step_by(97) {
        assert_eq!(after.read(id, number * 8192, 3).unwrap(), if number == 1999 { &b"x"[..] } else { b"x\0\0" });
    }
}

#[test]
fn many_files_share_the_limit() {
    let mount = Mount::on(SimDisk::new(), FilesystemOptions { dirty_limit: 200_000, ..Default::default() });
    let files: Vec<_> = (0..20).map(|number| mount.create(&format!("key{number}"))).collect();
    for round in 0..30u64 {
        for (number, open) in files.iter().enumerate() {
            mount.write(*open, round * 3000, &[number as u8 + 1; 3000]);
            assert!(mount.state.lock().dirty <= 200_000 + FRAGMENT);
        }
    }
    assert!(files.iter().all(|open| mount.close(*open)));
    let after = mount.crash();
    for number in 0..20 {
        assert!(after.value(&format!("key{number}")).unwrap() == [number as u8 + 1; 90_000]);
    }
}

#[test]
fn a_spilled_value_is_published_whole_or_not_at_all() {
    let mount = Mount::on(SimDisk::new(), FilesystemOptions { dirty_limit: 10_000, ..Default::default() });
    let old = pattern(100_000, 1);
    let id = mount.file("key", &old);
    mount.sync_all().unwrap();
    let handle = mount.open(id, WRITE);
    let mut new = old.clone();
    for offset in walk(95_000).take(60) {
        mount.write((id, handle), offset, &[7; 3000]);
        new[offset as usize..][..3000].fill(7);
    }
    assert!(mount.saved("key").unwrap() == old);
    assert!(mount.value("key").unwrap() == new);
    mount.flush(id, handle).unwrap();
    let mut found = [false; 2];
    for image in mount.disk.power_cut_images(5, 30) {
        let value = Mount::on(image, FilesystemOptions::default()).value("key").unwrap();
        assert!(value == old || value == new);
        found[usize::from(value == new)] = true;
    }
    assert_eq!(found, [true; 2]);
}

#[test]
fn a_spilled_value_that_is_emptied_again_leaves_nothing() {
    let mount = Mount::on(SimDisk::new(), FilesystemOptions { dirty_limit: 10_000, ..Default::default() });
    let (id, handle) = mount.create("key");
    mount.write((id, handle), 0, &pattern(50_000, 1));
    mount.filesystem.setattr(&USER, id, Some(handle), resize(0)).unwrap();
    mount.write((id, handle), 0, b"value");
    mount.close((id, handle));
    assert_eq!(mount.saved("key").unwrap(), b"value");
    assert_eq!(mount.getattr(id).unwrap().allocated, 5);
}

#[test]
fn a_value_put_beneath_a_spilled_one_is_replaced_by_it() {
    let mount = Mount::on(SimDisk::new(), FilesystemOptions { dirty_limit: 10_000, ..Default::default() });
    let id = mount.file("key", b"old");
    let handle = mount.open_truncated(&USER, id, WRITE);
    mount.write((id, handle), 0, &pattern(50_000, 1));
    mount.store().put("key", pattern(90_000, 2)).unwrap();
    assert!(mount.saved("key").unwrap() == pattern(90_000, 2));
    mount.write((id, handle), 50_000, b"end");
    assert!(mount.close((id, handle)));
    let expected = [pattern(50_000, 1), b"end".to_vec()].concat();
    assert!(mount.saved("key").unwrap() == expected);
}

#[test]
fn a_spilled_value_outlives_merges_of_any_part_of_it() {
    let mount = Mount::on(SimDisk::new(), FilesystemOptions { dirty_limit: 10_000, ..Default::default() });
    let mut expected = pattern(400_000, 1);
    let id = mount.file("key", &expected);
    let handle = mount.open(id, WRITE);
    for (number, offset) in walk(395_000).take(150).enumerate() {
        mount.write((id, handle), offset, &[number as u8; 4500]);
        expected[offset as usize..][..4500].fill(number as u8);
    }
    mount.fallocate(&USER, id, handle, libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, 50_000, 9000).unwrap();
    expected[50_000..59_000].fill(0);
    mount.close((id, handle));
    // What published the value is outdated, and the value's pieces are in many segments.
    mount.chmod(id, 0o600);
    mount.file("other", &pattern(200_000, 2));
    for count in [1, 2, 3] {
        for first in (0..20).rev() {
            mount.store().merge_run(first, count).unwrap();
            assert!(mount.value("key").unwrap() == expected);
            assert!(mount.saved("key").unwrap() == expected, "after a merge of {count} segments from {first} on");
        }
    }
    assert_eq!(mount.crash().stat("key").unwrap().attributes.mode, 0o600);
}

/// Each writes once, as much as one request holds.
#[test]
fn many_open_files_share_the_limit_though_each_writes_once() {
    const LEN: usize = 100_000;
    let mount = Mount::on(SimDisk::new(), FilesystemOptions { dirty_limit: 1 << 20, ..Default::default() });
    let files: Vec<_> = (0..100).map(|number| mount.create(&format!("key{number}"))).collect();
    for (number, open) in files.iter().enumerate() {
        mount.write(*open, 0, &[number as u8; LEN]);
        let dirty = mount.state.lock().dirty;
        assert!(dirty <= (1 << 20) + FRAGMENT, "{dirty} with {number} files");
    }
    for (number, (id, _)) in files.iter().enumerate() {
        assert!(mount.read(*id, 0, LEN + 1).unwrap() == [number as u8; LEN]);
    }
    assert!(files.iter().all(|open| mount.close(*open)));
    assert_eq!((mount.state.lock().dirty, mount.store().memory_used(MemoryUse::Staged)), (0, 0));
    let after = mount.crash();
    for number in 0..100 {
        assert!(after.value(&format!("key{number}")).unwrap() == [number as u8; LEN]);
    }
}

/// Whatever is staged takes memory, holes too; what no spilling makes less is bounded, and who wants more hears of it.
#[test]
fn holes_are_counted_and_bounded() {
    let mount = Mount::new();
    let (id, handle) = mount.create("key");
    let (other, second) = mount.create("other");
    mount.write((other, second), 0, b"value");
    mount.filesystem.setattr(&USER, id, Some(handle), resize(1 << 40)).unwrap();
    let punch = |number: u64| {
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        mount.filesystem.fallocate(&USER, id, handle, mode, number * 8192, 4096)
    };
    let mut count = 0;
    let refused = loop {
        match punch(count) {
            Ok(_) => count += 1,
            Err(error) => break error,
        }
        assert!(count < 2_000_000);
    };
    assert!(matches!(refused, Error::OutOfMemory), "{refused}");
    let most = (64 << 20) + (1 << 20) + 4 * FRAGMENT;
    let dirty = mount.state.lock().dirty;
    assert!(dirty > 64 << 20 && dirty <= most, "{dirty} bytes in {count} holes");
    // It can be committed, and then there is room again.
    assert!(mount.filesystem.fsync(id, handle).is_ok());
    punch(count).unwrap();
    mount.close((id, handle));
    mount.close((other, second));
    assert_eq!(mount.state.lock().dirty, 0);
}
