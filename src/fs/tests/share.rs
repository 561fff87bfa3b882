//! copy_file_range shares what is in the log.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::fs::CopyEnd;

fn end((id, handle): (EntryId, HandleId), offset: u64) -> CopyEnd {
    CopyEnd { id, handle, offset }
}

impl Mount {
    fn log_bytes(&self) -> u64 {
        self.store().info().unwrap().log_bytes
    }

    /// As cp does: until nothing comes any more.
    fn copy_all(&self, from: (EntryId, HandleId), to: (EntryId, HandleId)) -> u64 {
        let mut at = 0;
        loop {
            match self.copy_file_range(&USER, end(from, at), end(to, at), 1 << 40).unwrap().bytes {
                0 => return at,
                copied => at += copied,
            }
        }
    }

    /// Merges each segment for itself.
    fn merge_all(&self) {
        self.store().sync().unwrap();
        for index in 0..self.store().info().unwrap().segments as usize {
            self.store().merge_run(index, 1).unwrap();
        }
    }
}

#[test]
fn a_copy_takes_no_room() {
    let mount = Mount::new();
    let value = pattern(20 << 20, 1);
    let source = mount.file("source", &value);
    let before = mount.log_bytes();
    let (from, to) = ((source, mount.open(source, READ)), mount.create("target"));
    assert_eq!(mount.copy_all(from, to), value.len() as u64);
    assert_eq!(mount.state.lock().staged_bytes(), 0);
    assert!(mount.close(to));
    assert!(mount.log_bytes() - before < value.len() as u64 / 1000, "{} {before}", mount.log_bytes());
    assert_eq!(mount.getattr(to.0).unwrap().allocated, value.len() as u64);
    mount.close(from);
    mount.unlink(ROOT, b"source").unwrap();
    mount.forget(source, 1);
    mount.merge_all();
    assert!(mount.value("target").unwrap() == value);
    assert!(mount.saved("target").unwrap() == value);
}

#[test]
fn what_is_written_after_a_copy_is_over_it() {
    let mount = Mount::new();
    let mut value = pattern(1_000_000, 1);
    let source = mount.file("source", &value);
    let from = (source, mount.open(source, READ));
    let to = mount.create("target");
    // Some of it is staged already, and the copy goes over a part of that.
    mount.write(to, 0, &[9; 50_000]);
    mount.write(to, 999_990, &[9; 50_000]);
    assert_eq!(mount.copy_file_range(&USER, end(from, 20_000), end(to, 30_000), 900_001).unwrap().bytes, 900_001);
    mount.write(to, 100_003, b"after");
    mount
        .fallocate(&USER, to.0, to.1, libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE, 200_000, 70_000)
        .unwrap();
    let mut expected = vec![0; 1_049_990];
    expected[..50_000].fill(9);
    expected[999_990..].fill(9);
    expected[30_000..930_001].copy_from_slice(&value[20_000..920_001]);
    expected[100_003..100_008].copy_from_slice(b"after");
    expected[200_000..270_000].fill(0);
    assert!(mount.value("target").unwrap() == expected);
    assert_eq!(mount.saved("target"), None);
    mount.fsync(to.0, to.1).unwrap();
    assert!(mount.saved("target").unwrap() == expected);
    // The source changes, and is merged away: the copy is as it was made.
    let write = (source, mount.open(source, WRITE));
    mount.write(write, 20_000, &[5; 500_000]);
    value[20_000..520_000].fill(5);
    mount.close(write);
    for _ in 0..2 {
        mount.merge_all();
        assert!(mount.value("target").unwrap() == expected);
        assert!(mount.saved("target").unwrap() == expected);
        assert!(mount.saved("source").unwrap() == value);
    }
    mount.setattr(&USER, to.0, resize(40_000));
    mount.close(to);
    assert!(mount.saved("target").unwrap() == expected[..40_000]);
}

#[test]
fn a_copy_shares_what_its_source_has_spilled() {
    let options = FilesystemOptions { dirty_limit: 10_000, ..Default::default() };
    let mount = Mount::on(SimDisk::new(), options);
    let from = mount.create("source");
    let value = pattern(500_000, 1);
    value.chunks(9_000).zip((0..).step_by(9_000)).for_each(|(bytes, at)| mount.write(from, at, bytes));
    let before = mount.log_bytes();
    let to = mount.create("target");
    assert_eq!(mount.copy_all(from, to), 500_000);
    assert!(mount.log_bytes() - before < 60_000, "only what is in memory is copied, and what is small");
    // A copy of the copy, which nobody has published either.
    let third = mount.create("third");
    assert_eq!(mount.copy_all(to, third), 500_000);
    // What the source has staged will never be published.
    mount.filesystem.setattr(&USER, from.0, Some(from.1), resize(0)).unwrap();
    mount.unlink(ROOT, b"source").unwrap();
    mount.close(from);
    mount.forget(from.0, 1);
    mount.merge_all();
    assert!(mount.value("target").unwrap() == value);
    mount.close(to);
    mount.merge_all();
    assert!(mount.saved("target").unwrap() == value);
    assert!(mount.value("third").unwrap() == value);
    mount.unlink(ROOT, b"target").unwrap();
    mount.forget(to.0, 1);
    mount.merge_all();
    mount.close(third);
    mount.merge_all();
    assert!(mount.saved("third").unwrap() == value);
}

#[test]
fn small_pieces_are_copied() {
    let mount = Mount::new();
    let from = mount.create("source");
    // Every other block, so that each is a piece of its own; and one that is long enough.
    let mut value = vec![0; 400_000];
    for block in (0..20usize).step_by(2) {
        let place = block * 4096..block * 4096 + 4000;
        value[place.clone()].fill(block as u8 + 1);
        mount.write(from, place.start as u64, &value[place]);
    }
    value[200_000..].copy_from_slice(&pattern(200_000, 2));
    mount.write(from, 200_000, &value[200_000..]);
    mount.close(from);
    let source = (from.0, mount.open(from.0, READ));
    let to = mount.create("target");
    assert_eq!(mount.copy_file_range(&USER, end(source, 100), end(to, 100), 3900).unwrap().bytes, 3900);
    assert_eq!(mount.state.lock().staged_bytes(), 3900);
    assert_eq!(mount.copy_all(source, to), 400_000);
    mount.close(to);
    assert!(mount.saved("target").unwrap() == value);
    mount.unlink(ROOT, b"source").unwrap();
    mount.merge_all();
    assert!(mount.saved("target").unwrap() == value);
}

/// The source's bytes are not read when they are shared; but what is known to be damaged is not given away.
#[test]
fn what_is_known_to_be_damaged_is_not_shared() {
    let mount = Mount::new();
    mount.file("source", &pattern(300_000, 1));
    // What proves that it was durable.
    mount.sync_all().unwrap();
    mount.file("other", &pattern(100_000, 2));
    mount.sync_all().unwrap();
    let disk = mount.disk.restart();
    let len = |path: &String| disk.file(path).map_or(0, |file| file.len());
    let path = disk.paths().into_iter().filter(|path| path.ends_with(".log")).max_by_key(len).unwrap();
    assert!(disk.corrupt(&path, 10_000, 1));
    let mount = Mount::on(disk, FilesystemOptions::default());
    let source = mount.stat("source").unwrap().id;
    let (from, to) = ((source, mount.open(source, READ)), mount.create("target"));
    assert_eq!(errno(mount.copy_file_range(&USER, end(from, 200_000), end(to, 0), 50_000)), libc::EIO);
    assert_eq!(mount.getattr(to.0).unwrap().size, 0);
}

/// Copies of copies, overwritten here and there, while everything is merged all the time.
#[test]
fn copies_go_on_while_segments_are_merged() {
    let disk = SimDisk::new();
    let options = Options { create: true, segment_size: 1 << 16, background: false, ..Options::default() };
    let store = Arc::new(Store::open_on(Arc::new(disk.clone()), options).unwrap());
    let filesystem = Filesystem::new(Arc::clone(&store), FilesystemOptions { dirty_limit: 8192, ..Default::default() });
    let mount = Mount { disk: disk.clone(), options: FilesystemOptions::default(), filesystem };
    let mut values = [pattern(150_000, 1), pattern(150_000, 2), pattern(150_000, 3)];
    let names = ["0", "1", "2"];
    let files: Vec<EntryId> = names.iter().zip(&values).map(|(name, value)| mount.file(name, value)).collect();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for index in 0..12 {
                    store.merge_run(index, 1 + index % 3).unwrap();
                }
                store.compact().unwrap();
            }
        });
        for round in 0..150usize {
            let (from, to) = (round % 3, (round + 1 + round / 3 % 2) % 3);
            let [source, target] =
                [(from, READ), (to, WRITE)].map(|(at, flags)| (files[at], mount.open(files[at], flags)));
            let (at, into) = (round * 7_919 % 90_000, round * 6_007 % 90_000);
            let mut copied = 0;
            while copied < 60_000 {
                let (at, into) = ((at + copied) as u64, (into + copied) as u64);
                let some = mount.copy_file_range(&USER, end(source, at), end(target, into), 60_000 - copied as u64);
                copied += some.unwrap().bytes as usize;
            }
            let bytes = values[from][at..at + 60_000].to_vec();
            values[to][into..into + 60_000].copy_from_slice(&bytes);
            if round % 4 == 0 {
                mount.write(target, 1000, &[round as u8; 5000]);
                values[to][1000..6000].fill(round as u8);
            }
            mount.close(target);
            mount.close(source);
            store.sync().unwrap();
            assert!(mount.value(names[to]).unwrap() == values[to], "round {round}");
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(store.merge_statistics().merges > 10, "{:?}", store.merge_statistics());
    for (name, value) in names.iter().zip(&values) {
        assert!(mount.saved(name).unwrap() == *value);
    }
}
