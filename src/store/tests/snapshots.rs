//! Snapshots: what is in them, what must not touch them, and what is left of one that was cut short.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Options, Store, fresh, keys, options, reopen};
use crate::log;
use crate::medium::{Fault, Medium, SimDisk, Subdirectory};
use crate::store::{Clock, Error, Snapshot, Time};

/// Opens a snapshot as a store of its own, by its directory.
fn open(disk: &SimDisk, name: &str, options: Options) -> Result<Store, Error> {
    let medium = Subdirectory::new(Arc::new(disk.clone()), format!("snapshots/{name}"));
    Store::open_on(Arc::new(medium), options)
}

fn read_only() -> Options {
    Options { create: false, read_only: true, ..options() }
}

fn names(store: &Store) -> Vec<String> {
    store.snapshots().unwrap().into_iter().map(|snapshot| snapshot.name).collect()
}

/// A store with ten keys, each overwritten many times, in many segments.
fn filled() -> (SimDisk, Store) {
    let (disk, store) = fresh();
    fill(&store, 1);
    (disk, store)
}

fn fill(store: &Store, stamp: u8) {
    (0..10).for_each(|round| fill_once(store, stamp, round));
}

/// The 9th round is the last.
fn fill_once(store: &Store, stamp: u8, round: u8) {
    for key in 0..10u8 {
        store.put(format!("d/{key}"), vec![stamp.wrapping_mul(31) ^ round ^ key; 100]).unwrap();
    }
}

/// All keys below `d` have the values that `fill` left.
fn check_filled(store: &Store, stamp: u8) {
    for key in 0..10u8 {
        let value = store.get(format!("d/{key}")).unwrap();
        assert_eq!(value, Some(vec![stamp.wrapping_mul(31) ^ 9 ^ key; 100]), "key {key}");
    }
    assert_eq!(store.list("d").unwrap().len(), 10);
    assert_eq!((&store.recovery_report().torn, &store.recovery_report().damage), (&vec![], &vec![]));
}

fn file_bytes(disk: &SimDisk, below: &str) -> Vec<(String, Vec<u8>)> {
    let paths = disk.paths().into_iter().filter(|path| path.starts_with(below));
    paths.map(|path| (path.clone(), disk.file(&path).unwrap())).collect()
}

#[test]
fn a_snapshot_shows_the_store_as_it_was() {
    let (disk, store) = filled();
    store.snapshot("one").unwrap();
    fill(&store, 2);
    store.remove("d/3").unwrap();
    store.put("new", "key").unwrap();
    for snapshot in [store.open_snapshot("one").unwrap(), open(&disk, "one", read_only()).unwrap()] {
        check_filled(&snapshot, 1);
        assert_eq!(snapshot.get("new").unwrap(), None);
        assert!(snapshot.is_read_only());
        assert!(matches!(snapshot.put("k", "v"), Err(Error::ReadOnly)));
    }
    assert_eq!(store.get("d/3").unwrap(), None);
    drop(store);
    assert_eq!(names(&reopen(&disk)), ["one"]);
}

#[test]
fn a_snapshot_is_of_what_is_written_not_of_what_is_synced_or_staged() {
    let disk = SimDisk::new();
    let store = Store::open_on(Arc::new(disk.clone()), Options { durable: false, ..options() }).unwrap();
    store.put("k", "v").unwrap();
    let id = store.spare_id().unwrap();
    store.stage(id, 0, 0, b"staged").unwrap();
    store.snapshot("one").unwrap();
    // Acknowledged means durable, here too.
    let image = disk.power_cut_images(0, 1).remove(0);
    let snapshot = open(&image, "one", read_only()).unwrap();
    assert_eq!(keys(&snapshot), ["k"]);
    assert_eq!(snapshot.get("k").unwrap().unwrap(), b"v");
}

#[test]
fn merges_leave_a_snapshot_alone() {
    let (disk, store) = filled();
    store.snapshot("one").unwrap();
    let before = file_bytes(&disk, "snapshots/");
    fill(&store, 2);
    (0..10).for_each(|key| drop(store.remove(format!("d/{key}"))));
    (0..20).for_each(|round| store.put("filler", vec![round; 300]).unwrap());
    store.compact().unwrap();
    assert!(store.merge_statistics().merges > 0);
    drop(store);
    let store = reopen(&disk);
    store.compact().unwrap();
    assert_eq!(file_bytes(&disk, "snapshots/"), before);
    check_filled(&open(&disk, "one", read_only()).unwrap(), 1);
}

/// What a merge leaves out may have died after the moment of the snapshot.
#[test]
fn a_merge_that_runs_meanwhile_takes_nothing_from_a_snapshot() {
    let (disk, store) = fresh();
    fill(&store, 0);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let merging = scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                store.compact().unwrap();
            }
        });
        let writing = scope.spawn(|| {
            let mut stamp = 100u8;
            while !ended.load(Ordering::Relaxed) {
                stamp = stamp.wrapping_add(1);
                store.put("other", vec![stamp; 200]).unwrap();
            }
        });
        for round in 0..20u8 {
            fill(&store, round);
            let name = format!("s{round}");
            store.snapshot(&name).unwrap();
            let snapshot = store.open_snapshot(&name).unwrap();
            check_filled(&snapshot, round);
        }
        ended.store(true, Ordering::Relaxed);
        merging.join().unwrap();
        writing.join().unwrap();
    });
    assert!(store.merge_statistics().merges > 0);
    (0..20).for_each(|round| check_filled(&open(&disk, &format!("s{round}"), read_only()).unwrap(), round));
}

#[test]
fn a_snapshot_is_not_opened_for_writing() {
    let (disk, store) = filled();
    store.snapshot("one").unwrap();
    let before = file_bytes(&disk, "");
    for create in [false, true] {
        let error = open(&disk, "one", Options { create, ..options() }).unwrap_err();
        assert!(matches!(error, Error::Log(log::Error::Frozen)), "{error}");
    }
    assert_eq!(file_bytes(&disk, ""), before);
    assert_eq!(store.taken(), None);
}

#[test]
fn reading_a_snapshot_changes_nothing_in_it() {
    let (disk, store) = filled();
    store.snapshot("one").unwrap();
    let before = file_bytes(&disk, "snapshots/");
    drop(open(&disk, "one", read_only()).unwrap());
    assert_eq!(file_bytes(&disk, "snapshots/"), before);
}

#[test]
fn snapshots_are_listed_with_their_moment() {
    let disk = SimDisk::new();
    let options = Options { clock: Clock::new(|| Time(42)), ..options() };
    let store = Store::open_on(Arc::new(disk.clone()), options).unwrap();
    store.put("k", "v").unwrap();
    let taken = store.snapshot("b").unwrap();
    store.snapshot("a").unwrap();
    let listed = store.snapshots().unwrap();
    assert_eq!(names(&store), ["a", "b"]);
    assert_eq!(listed[1], taken);
    let Snapshot { taken, sequence, segments, bytes, .. } = taken;
    assert_eq!((taken, sequence), (Some(Time(42)), store.written()));
    assert!(segments > 0 && bytes > 0);
    assert_eq!(store.open_snapshot("a").unwrap().taken(), Some(Time(42)));
    // One that is damaged is still there to be seen, and to be removed.
    drop(store);
    disk.corrupt("snapshots/b/manifest", 41, 1);
    let store = reopen(&disk);
    assert_eq!(store.snapshots().unwrap()[1].taken, None);
    store.remove_snapshot("b").unwrap();
    assert_eq!(names(&store), ["a"]);
}

/// Whatever byte of its manifest is wrong: a snapshot is whole, or it is refused; and it is never written to.
#[test]
fn a_damaged_manifest_of_a_snapshot_is_noticed() {
    let (disk, store) = filled();
    store.snapshot("one").unwrap();
    let len = disk.file("snapshots/one/manifest").unwrap().len();
    assert!(len > 200);
    for place in 0..len {
        let disk = disk.restart();
        assert!(disk.corrupt("snapshots/one/manifest", place as u64, 4));
        open(&disk, "one", read_only()).unwrap_err();
        open(&disk, "one", options()).unwrap_err();
    }
    // Cut off anywhere, too.
    let whole = disk.file("snapshots/one/manifest").unwrap();
    for len in 0..whole.len() {
        let disk = disk.restart();
        disk.put_file("snapshots/one/manifest", &whole[..len]);
        open(&disk, "one", read_only()).unwrap_err();
        open(&disk, "one", options()).unwrap_err();
    }
}

#[test]
fn names_that_a_snapshot_cannot_have() {
    let (disk, store) = fresh();
    let long = "n".repeat(252);
    for name in ["", ".", "..", "a/b", "/", "a\0b", "a.tmp", ".tmp", long.as_str()] {
        let refused = |result: Result<(), Error>| assert!(matches!(result, Err(Error::InvalidSnapshotName)), "{name}");
        refused(store.snapshot(name).map(drop));
        refused(store.remove_snapshot(name));
        refused(store.open_snapshot(name).map(drop));
    }
    assert_eq!(file_bytes(&disk, "snapshots"), []);
    for name in ["n", "...", "weekly 2026-11-23", "\u{e9}\n", &long[..251]] {
        store.snapshot(name).unwrap();
        assert!(store.open_snapshot(name).is_ok());
        let again = store.snapshot(name).unwrap_err();
        assert!(matches!(again, Error::Log(log::Error::SnapshotExists(_))), "{again}");
        store.remove_snapshot(name).unwrap();
        let again = store.remove_snapshot(name).unwrap_err();
        assert!(matches!(again, Error::Log(log::Error::NoSnapshot(_))), "{again}");
        assert!(matches!(store.open_snapshot(name), Err(Error::Log(log::Error::NoSnapshot(_)))));
    }
}

/// Its segments are opened when they are read: so they are still there for who has it open, under whatever name.
#[test]
fn a_snapshot_that_is_removed_is_read_on() {
    let (disk, store) = fresh();
    (0..40u8).for_each(|key| store.put(format!("{key}"), vec![key; 100]).unwrap());
    store.snapshot("one").unwrap();
    let (held, also) = (store.open_snapshot("one").unwrap(), store.open_snapshot("one").unwrap());
    (0..40u8).for_each(|key| assert!(store.remove(format!("{key}")).unwrap()));
    store.compact().unwrap();
    store.remove_snapshot("one").unwrap();
    assert!(store.open_snapshot("one").is_err());
    // Nor does the next one of its name stand in their way.
    store.snapshot("one").unwrap();
    store.remove_snapshot("one").unwrap();
    let left = || disk.paths().iter().filter(|path| path.starts_with("snapshots/")).count();
    assert!(left() > 0);
    crate::medium::close_all();
    for snapshot in [&held, &also] {
        (0..40u8).for_each(|key| assert_eq!(snapshot.get(format!("{key}")).unwrap(), Some(vec![key; 100])));
    }
    assert_eq!(reopen(&disk.restart()).snapshots().unwrap(), []);
    drop(held);
    crate::medium::close_all();
    assert_eq!(also.get("7").unwrap(), Some(vec![7; 100]));
    drop(also);
    store.snapshot("two").unwrap();
    store.remove_snapshot("two").unwrap();
    assert_eq!(left(), 0);
}

#[test]
fn a_snapshot_that_is_removed_gives_its_space_back() {
    let (disk, store) = filled();
    assert_eq!(store.info().unwrap().snapshot_bytes, 0);
    store.snapshot("one").unwrap();
    store.snapshot("two").unwrap();
    // Everything is still the live store's too.
    let info = store.info().unwrap();
    assert_eq!((info.snapshots, info.snapshot_bytes), (2, 0));
    fill(&store, 2);
    (0..20).for_each(|round| store.put("filler", vec![round; 300]).unwrap());
    store.compact().unwrap();
    let kept = store.info().unwrap().snapshot_bytes;
    let used = |disk: &SimDisk| disk.space().unwrap().total - disk.space().unwrap().free;
    let before = used(&disk);
    store.remove_snapshot("one").unwrap();
    assert_eq!(store.info().unwrap().snapshot_bytes, kept, "the other one keeps it");
    let open = store.open_snapshot("two").unwrap();
    store.remove_snapshot("two").unwrap();
    assert_eq!(store.info().unwrap().snapshot_bytes, 0);
    check_filled(&open, 1);
    // What is still read goes with its last reader.
    drop(open);
    assert_eq!(store.info().unwrap().snapshot_bytes, 0);
    let freed = before - used(&disk);
    assert!(kept > 5_000 && freed >= kept, "{kept} bytes were kept, {freed} came back");
    assert_eq!(file_bytes(&disk, "snapshots"), []);
}

/// Nothing is asked of the medium for them but once: a monitor may ask every second.
#[test]
fn what_is_known_of_snapshots_is_not_read_again() {
    for links in [true, false] {
        let (disk, store) = filled();
        if !links {
            disk.refuse_links();
        }
        store.snapshot("one").unwrap();
        drop(store);
        let store = reopen(&disk);
        let asked = |store: &Store| (store.snapshots().unwrap(), store.info().unwrap().snapshot_bytes);
        asked(&store);
        fill(&store, 2);
        let second = store.snapshot("two").unwrap();
        assert_eq!(store.find_snapshot("two").unwrap(), Some(second));
        (0..20).for_each(|round| store.put("filler", vec![round; 300]).unwrap());
        store.write_hints().unwrap();
        store.snapshot("three").unwrap();
        store.compact().unwrap();
        let mut known = asked(&store);
        // The next start finds what this one has kept up.
        for removed in [None, Some("two"), Some("one")] {
            if let Some(name) = removed {
                store.remove_snapshot(name).unwrap();
                known = asked(&store);
                assert!(known.0.iter().all(|snapshot| snapshot.name != name));
                assert_eq!(store.find_snapshot(name).unwrap(), None);
            }
            let snapshots = file_bytes(&disk, "snapshots/");
            let shared = |path: &str| {
                let (_, name) = path.split_once("/segments").unwrap();
                let live = disk.file(&format!("segments{name}"));
                links && live.is_some()
            };
            let mut counted = std::collections::BTreeMap::new();
            for (path, bytes) in snapshots.iter().filter(|(path, _)| path.contains("/segments/") && !shared(path)) {
                let name = if links { path.rsplit_once('/').unwrap().1 } else { path };
                counted.insert(name.to_owned(), bytes.len() as u64);
            }
            assert_eq!(known.1, counted.values().sum::<u64>(), "{links} {removed:?}");
            assert_eq!(asked(&reopen(&disk.restart())), known, "{links} {removed:?}");
        }
        // And asks nobody for it.
        let before = asked(&store);
        for path in disk.paths().iter().filter(|path| path.starts_with("snapshots/")) {
            disk.remove(path).unwrap();
        }
        assert_eq!(asked(&store), before);
    }
}

#[test]
fn without_links_a_snapshot_is_a_copy() {
    let (disk, store) = filled();
    disk.refuse_links();
    let taken = store.snapshot("one").unwrap();
    assert!(store.info().unwrap().snapshot_bytes >= taken.bytes);
    fill(&store, 2);
    store.compact().unwrap();
    let image = disk.power_cut_images(0, 1).remove(0);
    check_filled(&open(&image, "one", read_only()).unwrap(), 1);
    store.remove_snapshot("one").unwrap();
    assert_eq!(store.info().unwrap().snapshot_bytes, 0);
}

/// At each operation the medium fails once, or the power goes: then there is no snapshot or a whole one, the store is
/// what it was, and a snapshot can be made of it.
#[test]
fn a_snapshot_that_fails_leaves_nothing_behind() {
    for links in [true, false] {
        for fault in [Fault::Io, Fault::NoSpace, Fault::Short, Fault::PowerCut] {
            for operation in 0.. {
                let (disk, store) = fresh();
                fill_once(&store, 1, 9);
                if !links {
                    disk.refuse_links();
                }
                store.snapshot("old").unwrap();
                store.put("k", "v").unwrap();
                disk.fail_at(disk.operations() + operation, fault);
                let before = disk.operations();
                let made = store.snapshot("one");
                let ended = disk.operations() - before <= operation;
                let place = format!("{fault:?} at operation {operation}: {made:?}");
                if fault != Fault::PowerCut && made.is_err() {
                    assert_eq!(names(&store), ["old"], "{place}");
                }
                if fault == Fault::NoSpace && made.is_err() && store.info().unwrap().failure.is_none() {
                    store.snapshot("one").unwrap();
                }
                drop(store);
                for disk in disk.power_cut_images(operation, 4) {
                    let store = reopen(&disk);
                    check_filled(&store, 1);
                    assert_eq!(store.get("k").unwrap().unwrap(), b"v", "{place}");
                    let found = names(&store);
                    assert!(
                        found == ["old"] || found == ["old", "one"] || found == ["one", "old"],
                        "{place}: {found:?}"
                    );
                    assert!(made.is_err() || found.len() == 2, "{place}: an acknowledged snapshot is gone");
                    check_filled(&store.open_snapshot("old").unwrap(), 1);
                    if found.len() == 2 {
                        let one = store.open_snapshot("one").unwrap();
                        assert_eq!(one.get("k").unwrap().unwrap(), b"v", "{place}");
                        drop(one);
                        store.remove_snapshot("one").unwrap();
                    }
                    store.snapshot("one").unwrap();
                    check_filled(&store.open_snapshot("one").unwrap(), 1);
                    assert!(disk.paths().iter().all(|path| !path.contains(".tmp")), "{place}: {:?}", disk.paths());
                }
                if ended {
                    assert!(operation > 10 && made.is_ok(), "{place}");
                    break;
                }
            }
        }
    }
}

#[test]
fn a_removal_that_fails_leaves_a_whole_snapshot_or_none() {
    for fault in [Fault::Io, Fault::PowerCut] {
        for operation in 0.. {
            let (disk, store) = filled();
            store.snapshot("one").unwrap();
            fill(&store, 2);
            store.compact().unwrap();
            disk.fail_at(disk.operations() + operation, fault);
            let before = disk.operations();
            let removed = store.remove_snapshot("one");
            let ended = disk.operations() - before <= operation;
            drop(store);
            for disk in disk.power_cut_images(operation, 4) {
                let store = reopen(&disk);
                match names(&store).as_slice() {
                    [] => {}
                    [_] => {
                        assert!(removed.is_err(), "{fault:?} at operation {operation}: it is back");
                        check_filled(&store.open_snapshot("one").unwrap(), 1);
                    }
                    other => panic!("{other:?}"),
                }
                assert!(disk.paths().iter().all(|path| !path.contains(".tmp")));
                check_filled(&store, 2);
            }
            if ended {
                assert!(operation > 5);
                break;
            }
        }
    }
}

#[test]
fn a_full_disk_takes_no_copy_and_loses_nothing() {
    let (disk, store) = filled();
    disk.refuse_links();
    let space = disk.space().unwrap();
    disk.set_capacity(Some(space.total - space.free + 2_000));
    let error = store.snapshot("one").unwrap_err();
    assert!(matches!(error, Error::NoSpace), "{error}");
    assert_eq!(names(&store), [""; 0]);
    check_filled(&store, 1);
    disk.set_capacity(None);
    store.snapshot("one").unwrap();
    check_filled(&store.open_snapshot("one").unwrap(), 1);
}

#[test]
fn a_reader_takes_no_snapshot() {
    let (disk, store) = filled();
    store.snapshot("one").unwrap();
    drop(store);
    let store = Store::open_on(Arc::new(disk.clone()), read_only()).unwrap();
    assert!(matches!(store.snapshot("two"), Err(Error::ReadOnly)));
    assert!(matches!(store.remove_snapshot("one"), Err(Error::ReadOnly)));
    assert_eq!(names(&store), ["one"]);
    check_filled(&store.open_snapshot("one").unwrap(), 1);
}
