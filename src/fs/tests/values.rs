//! Values: writing in place, holes, lengths.

use super::*;
use crate::fs::SetTime;
use crate::store::Time;

fn allocate(mount: &Mount, (id, handle): (EntryId, HandleId), mode: i32, offset: u64, length: u64) {
    mount.fallocate(&USER, id, handle, mode, offset, length).unwrap();
}

/// The stretches that SEEK_DATA and SEEK_HOLE tell.
fn data(mount: &Mount, id: EntryId) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Ok(start) = mount.lseek(id, at, libc::SEEK_DATA) {
        at = mount.lseek(id, start, libc::SEEK_HOLE).unwrap();
        found.push((start, at));
        if at == mount.getattr(id).unwrap().size {
            break;
        }
    }
    found
}

#[test]
fn a_write_of_nothing_changes_nothing() {
    let mount = Mount::new();
    let id = mount.file("key", b"value");
    let before = mount.getattr(id).unwrap();
    let handle = mount.open(id, WRITE);
    mount.write((id, handle), 1000, b"");
    assert_eq!(mount.getattr(id).unwrap(), before);
    assert!(!mount.close((id, handle)));
}

#[test]
fn what_was_cut_off_does_not_come_back() {
    let mount = Mount::new();
    let id = mount.file("key", &pattern(20_000, 1));
    mount.setattr(&USER, id, resize(100));
    mount.setattr(&USER, id, resize(20_000));
    let handle = mount.open(id, WRITE);
    let mut expected = pattern(100, 1);
    expected.resize(20_000, 0);
    assert!(mount.value("key").unwrap() == expected);
    // The same within one commit.
    mount.write((id, handle), 5000, &[9; 9000]);
    mount.filesystem.setattr(&USER, id, Some(handle), resize(6000)).unwrap();
    mount.write((id, handle), 12_000, &[7; 10]);
    expected.truncate(12_010);
    expected[5000..].fill(0);
    expected[5000..6000].fill(9);
    expected[12_000..].fill(7);
    assert!(mount.value("key").unwrap() == expected);
    mount.close((id, handle));
    assert!(mount.saved("key").unwrap() == expected);
}

#[test]
fn what_another_front_door_put_does_not_come_back_behind_the_end() {
    let mount = Mount::new();
    let id = mount.file("key", b"short");
    let handle = mount.open_truncated(&USER, id, WRITE);
    mount.write((id, handle), 0, b"SHORT");
    mount.store().put("key", pattern(50_000, 1)).unwrap();
    mount.close((id, handle));
    assert_eq!(mount.saved("key").unwrap().len(), 5);
    mount.setattr(&USER, id, resize(50_000));
    assert!(mount.saved("key").unwrap()[5..].iter().all(|byte| *byte == 0));
    assert!(mount.getattr(id).unwrap().allocated < 5000);
}

#[test]
fn holes_are_zeros_and_are_found() {
    let mount = Mount::new();
    let (id, handle) = mount.create("key");
    mount.write((id, handle), 8192, &pattern(8192, 1));
    mount.write((id, handle), 40_960, &pattern(4096, 2));
    mount.filesystem.setattr(&USER, id, Some(handle), resize(100_000)).unwrap();
    for committed in [false, true] {
        assert_eq!(data(&mount, id), [(8192, 16_384), (40_960, 45_056)], "committed: {committed}");
        assert_eq!(errno(mount.lseek(id, 45_056, libc::SEEK_DATA)), libc::ENXIO);
        assert_eq!(errno(mount.lseek(id, 100_000, libc::SEEK_HOLE)), libc::ENXIO);
        assert_eq!(mount.lseek(id, 50_000, libc::SEEK_HOLE).unwrap(), 50_000);
        assert_eq!(mount.lseek(id, 10_000, libc::SEEK_DATA).unwrap(), 10_000);
        mount.flush(id, handle).unwrap();
    }
    assert_eq!(mount.getattr(id).unwrap().allocated, 12_288);
    assert_eq!(errno(mount.lseek(id, 0, libc::SEEK_SET)), libc::EINVAL);
}

#[test]
fn fallocate_extends_punches_and_zeroes() {
    let mount = Mount::new();
    let keep = libc::FALLOC_FL_KEEP_SIZE;
    let open = mount.create("key");
    mount.write(open, 0, &pattern(20_000, 1));
    mount.flush(open.0, open.1).unwrap();
    for (mode, offset, length) in [(keep, 0, 50_000), (0, 0, 20_000)] {
        let old = SetAttributes { mtime: Some(SetTime::At(Time(5))), ..Default::default() };
        let before = mount.setattr(&USER, open.0, old);
        allocate(&mount, open, mode, offset, length);
        let after = mount.getattr(open.0).unwrap();
        assert_eq!((after.size, after.allocated), (before.size, before.allocated), "there is room already");
        assert!(after.attributes.mtime > Time(5), "but the times change, as on ext4");
        assert!(mount.flush(open.0, open.1).unwrap().is_some());
    }
    let mut expected = pattern(20_000, 1);
    allocate(&mount, open, keep | libc::FALLOC_FL_PUNCH_HOLE, 4096, 8192);
    expected[4096..12_288].fill(0);
    assert_eq!(data(&mount, open.0), [(0, 4096), (12_288, 20_000)]);
    allocate(&mount, open, keep | libc::FALLOC_FL_ZERO_RANGE, 19_000, 9000);
    expected[19_000..].fill(0);
    assert!(mount.value("key").unwrap() == expected);
    allocate(&mount, open, libc::FALLOC_FL_ZERO_RANGE, 18_000, 9000);
    expected.resize(27_000, 0);
    expected[18_000..].fill(0);
    allocate(&mount, open, 0, 30_000, 10_000);
    expected.resize(40_000, 0);
    assert!(mount.value("key").unwrap() == expected);
    assert!(mount.close(open));
    assert!(mount.saved("key").unwrap() == expected);
    let collapse = mount.fallocate(&USER, open.0, mount.open(open.0, WRITE), libc::FALLOC_FL_COLLAPSE_RANGE, 0, 4096);
    assert_eq!(errno(collapse), libc::EOPNOTSUPP);
}

#[test]
fn fallocate_of_nothing_leaves_a_value_to_be_written() {
    let mount = Mount::new();
    let id = mount.file("key", b"old");
    let handle = mount.open_truncated(&USER, id, WRITE);
    let fresh = mount.create("new");
    for open in [(id, handle), fresh] {
        allocate(&mount, open, libc::FALLOC_FL_KEEP_SIZE, 0, 10_000);
        assert_eq!(mount.flush(open.0, open.1).unwrap(), None);
    }
    assert_eq!((mount.saved("key").unwrap(), mount.saved("new")), (b"old".to_vec(), None));
    mount.close(fresh);
    assert_eq!(mount.saved("new").unwrap(), b"");
}

#[test]
fn fallocate_takes_suid_unless_root_does_it() {
    let mount = Mount::new();
    let open = mount.create("key");
    mount.write(open, 0, &pattern(20_000, 1));
    let keep = libc::FALLOC_FL_KEEP_SIZE;
    for mode in [0, keep, keep | libc::FALLOC_FL_PUNCH_HOLE, libc::FALLOC_FL_ZERO_RANGE] {
        for (caller, left) in [(ROOT_USER, 0o6755), (USER, 0o755)] {
            mount.chmod(open.0, 0o6755);
            mount.fallocate(&caller, open.0, open.1, mode, 0, 4096).unwrap();
            assert_eq!(mount.getattr(open.0).unwrap().attributes.mode, left);
        }
    }
}

#[test]
fn offsets_end_where_those_of_linux_do() {
    let mount = Mount::new();
    let (id, handle) = mount.create("key");
    let last = i64::MAX as u64;
    assert_eq!(errno(mount.filesystem.write(id, handle, last, b"x", Writing::default())), libc::EFBIG);
    assert_eq!(errno(mount.filesystem.write(id, handle, u64::MAX, b"x", Writing::default())), libc::EFBIG);
    assert_eq!(errno(mount.filesystem.setattr(&USER, id, Some(handle), resize(last + 1))), libc::EFBIG);
    assert_eq!(errno(mount.fallocate(&USER, id, handle, 0, last, 1)), libc::EFBIG);
    mount.write((id, handle), last - 1, b"x");
    assert_eq!(mount.getattr(id).unwrap().size, last);
    mount.close((id, handle));
    let after = mount.crash();
    assert_eq!(after.stat("key").unwrap().size, last);
    assert_eq!(after.read(id, last - 3, 100).unwrap(), b"\0\0x");
    assert_eq!(after.read(id, u64::MAX, 100).unwrap(), b"");
    assert!(after.stat("key").unwrap().allocated <= 4096);
}

#[test]
fn many_small_appends_do_not_leave_the_value_in_crumbs() {
    let mount = Mount::new();
    let open = mount.create("journal");
    let mut expected = Vec::new();
    for number in 0..3000 {
        let line = pattern(37, number);
        mount.write(open, expected.len() as u64, &line);
        mount.fsync(open.0, open.1).unwrap();
        expected.extend(line);
    }
    assert!(mount.saved("journal").unwrap() == expected);
    let extents = mount.store().data_ranges(open.0, 0..u64::MAX).unwrap().len();
    assert!(extents <= expected.len() / 4096 + 1, "{extents} extents");
}

#[test]
fn many_small_overwrites_do_not_leave_the_value_in_crumbs() {
    let mount = Mount::new();
    let mut expected = pattern(100_000, 1);
    let id = mount.file("table", &expected);
    let handle = mount.open(id, WRITE);
    for number in 0..2000u64 {
        let offset = number * 7919 % 99_000;
        mount.write((id, handle), offset, &[number as u8; 100]);
        expected[offset as usize..][..100].fill(number as u8);
        mount.flush(id, handle).unwrap();
    }
    assert!(mount.saved("table").unwrap() == expected);
    let extents = mount.store().data_ranges(id, 0..u64::MAX).unwrap().len();
    assert!(extents <= expected.len() / 4096 + 1, "{extents} extents");
}

/// Each is found in a few steps: with a list of all stretches for each seek this test would take minutes.
#[test]
fn thousands_of_holes_are_found_one_after_the_other() {
    const STRETCHES: u64 = 8000;
    let mount = Mount::new();
    let open = mount.create("sparse");
    (0..STRETCHES).for_each(|number| mount.write(open, number * 8192, b"x"));
    for published in [false, true] {
        let found = data(&mount, open.0);
        assert!(found.iter().map(|stretch| stretch.0).eq((0..STRETCHES).map(|number| number * 8192)), "{published}");
        assert!(found.iter().all(|(start, end)| (1..=4096).contains(&(end - start))), "{published}");
        if !published {
            mount.close(open);
        }
    }
}

/// What is staged hides what is published, data and holes alike, wherever they begin and end.
#[test]
fn a_seek_sees_what_a_read_sees() {
    let mount = Mount::new();
    let blocks = 48;
    let mut random = 1u64;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (random >> 33) % below
    };
    for round in 0..60 {
        let open = mount.create(&format!("file{round}"));
        let mut filled = vec![false; blocks];
        for step in 0..30 {
            let (first, count) = (next(40) as usize, next(8) as usize + 1);
            let punch = next(3) == 0;
            let range = (first as u64 * 4096, count as u64 * 4096);
            let size = mount.getattr(open.0).unwrap().size as usize / 4096;
            match punch {
                true => {
                    allocate(&mount, open, libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, range.0, range.1)
                }
                false => mount.write(open, range.0, &vec![1; range.1 as usize]),
            }
            let end = if punch { (first + count).min(size.max(first)) } else { first + count };
            filled[first..end].fill(!punch);
            if step % 10 == 9 {
                mount.flush(open.0, open.1).unwrap();
            }
            let size = mount.getattr(open.0).unwrap().size / 4096;
            for block in 0..size as usize {
                let from =
                    |wanted: bool| (block..size as usize).find(|at| filled[*at] == wanted).map(|at| at as u64 * 4096);
                let (at, inside) = (block as u64 * 4096 + 7, |found: u64| found.max(block as u64 * 4096 + 7));
                assert_eq!(mount.lseek(open.0, at, libc::SEEK_DATA).ok(), from(true).map(inside));
                let hole = from(false).unwrap_or(size * 4096);
                assert_eq!(mount.lseek(open.0, at, libc::SEEK_HOLE).unwrap(), inside(hole));
            }
        }
        mount.close(open);
    }
}
