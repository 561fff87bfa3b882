//! Merges: what they give back, and what they must not touch.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Options, SimDisk, Store, Update, fresh, id, options, reopen};
use crate::medium::Fault;
use crate::store::{Error, MergePolicy, MergeWindow};

/// Fills segments with what dies at once, until the newest are of no interest.
fn turn_over(store: &Store) {
    (0..20).for_each(|round| store.put("filler", vec![round; 300]).unwrap());
}

fn update(store: &Store, key: &str, update: Update<'_>) -> Result<u64, Error> {
    let mut transaction = store.begin()?;
    transaction.set_value(id(store, key), update)?;
    transaction.commit()
}

#[test]
fn space_comes_back_and_nothing_is_lost() {
    let (disk, store) = fresh();
    for round in 0..40u8 {
        for key in 0..10u8 {
            store.put(format!("d/{key}"), vec![round ^ key; 100]).unwrap();
        }
    }
    (0..5).for_each(|key| assert!(store.remove(format!("d/{key}")).unwrap()));
    let before = store.info().unwrap();
    store.compact().unwrap();
    let after = store.info().unwrap();
    assert!(after.log_bytes * 5 < before.log_bytes, "{before:?} {after:?}");
    assert!(after.merges > 0);
    let check = |store: &Store| {
        for key in 0..10u8 {
            let expected = (key >= 5).then(|| vec![39 ^ key; 100]);
            assert_eq!(store.get(format!("d/{key}")).unwrap(), expected);
        }
    };
    check(&store);
    let live = store.info().unwrap().live_bytes;
    drop(store);
    let store = reopen(&disk);
    check(&store);
    // What is counted while records are applied one by one is what a start counts.
    assert_eq!(store.info().unwrap().live_bytes, live);
    assert_eq!(store.recovery_report().damage, []);
}

#[test]
fn compacting_ends_when_nobody_wants_it_any_more() {
    let (_, store) = fresh();
    for round in 0..200u8 {
        (0..10u8).for_each(|key| store.put(format!("d/{key}"), vec![round ^ key; 100]).unwrap());
    }
    let all = store.planned_compaction().len();
    assert!(all > 1, "{all} merges");
    let before = store.info().unwrap().merges;
    assert!(!store.compact_while(None, &mut || false).unwrap());
    assert_eq!(store.info().unwrap().merges, before + 1);
    assert!(!store.planned_compaction().is_empty());
    assert!(store.compact_while(None, &mut || true).unwrap());
    assert!(store.planned_compaction().is_empty());
}

#[test]
fn a_tombstone_stays_while_something_older_may_be_left() {
    let (disk, store) = fresh();
    store.put("k", "old").unwrap();
    turn_over(&store);
    store.remove("k").unwrap();
    turn_over(&store);
    // All but the oldest, which holds the value.
    assert!(store.merge_run(1, 100).unwrap());
    drop(store);
    let store = reopen(&disk);
    assert_eq!(store.get("k").unwrap(), None);
    store.compact().unwrap();
    drop(store);
    assert_eq!(reopen(&disk).get("k").unwrap(), None);
}

#[test]
fn a_hole_stays_while_older_bytes_may_be_left() {
    let (disk, store) = fresh();
    store.put("k", vec![7; 200_000]).unwrap();
    turn_over(&store);
    let holes = vec![(1_000, 150_000)];
    update(&store, "k", Update { holes, size: 200_000, ..Update::default() }).unwrap();
    turn_over(&store);
    let expected = || [vec![7; 1_000], vec![0; 150_000], vec![7; 49_000]].concat();
    assert!(store.get("k").unwrap().unwrap() == expected());
    // The segments behind those of the value: among them is the hole's.
    let first = store.info().unwrap().segments as usize - 14;
    assert!(store.merge_run(first.min(3), 100).unwrap());
    drop(store);
    let store = reopen(&disk);
    assert!(store.get("k").unwrap().unwrap() == expected());
    store.compact().unwrap();
    drop(store);
    assert!(reopen(&disk).get("k").unwrap().unwrap() == expected());
}

#[test]
fn a_value_in_pieces_outlives_the_record_that_published_it() {
    let (disk, store) = fresh();
    store.put("k", vec![1; 300_000]).unwrap();
    turn_over(&store);
    update(
        &store,
        "k",
        Update { bytes: vec![(4_096, [2; 4_096].as_slice().into())], size: 300_000, ..Update::default() },
    )
    .unwrap();
    turn_over(&store);
    let expected = || [vec![1; 4_096], vec![2; 4_096], vec![1; 300_000 - 8_192]].concat();
    // Each alone, so that a value and what published it part.
    for segment in (0..30).rev() {
        store.merge_run(segment, 1).unwrap();
    }
    assert!(store.get("k").unwrap().unwrap() == expected());
    drop(store);
    let store = reopen(&disk);
    assert!(store.get("k").unwrap().unwrap() == expected());
    assert_eq!(store.recovery_report().damaged_keys, Vec::<String>::new());
}

#[test]
fn a_damaged_segment_is_left_alone() {
    let (disk, store) = fresh();
    store.put("bad", "older").unwrap();
    store.put("bad", vec![3; 200]).unwrap();
    store.put("good", vec![4; 200]).unwrap();
    turn_over(&store);
    drop(store);
    let holds = |path: &String| disk.file(path)?.windows(50).position(|window| window == [3; 50]);
    let (path, place) = disk.paths().into_iter().find_map(|path| holds(&path).map(|place| (path, place))).unwrap();
    let bytes = disk.file(&path).unwrap();
    disk.corrupt(&path, place as u64, 1);
    let store = reopen(&disk);
    assert!(store.get("bad").is_err());
    store.compact().unwrap();
    for segment in 0..5 {
        store.merge_run(segment, 1).unwrap();
    }
    assert_eq!(disk.file(&path).unwrap().len(), bytes.len());
    assert_eq!(store.get("good").unwrap().unwrap(), vec![4; 200]);
}

#[test]
fn staged_bytes_are_not_moved_under_those_who_staged_them() {
    let (_disk, store) = fresh();
    store.put("k", "v").unwrap();
    let entry = id(&store, "k");
    let staged = store.stage(entry, 0, 0, &[5; 1_000]).unwrap();
    turn_over(&store);
    store.compact().unwrap();
    let (_, len, extent) = staged.extents[0];
    assert_eq!(store.read_extent(entry, &extent, 0..len as usize).unwrap(), vec![5; 1_000]);
    update(&store, "k", Update { replace: true, stage: staged.stage, size: 1_000, ..Update::default() }).unwrap();
    assert_eq!(store.get("k").unwrap().unwrap(), vec![5; 1_000]);
}

/// Statistics tell what a merge would give back, so that it does not run for nothing, now or after a restart.
#[test]
fn what_does_not_shrink_is_merged_once() {
    let (disk, store) = fresh();
    (0..60).for_each(|key| store.put(format!("live{key}"), [1; 200]).unwrap());
    (0..60).for_each(|key| store.put(format!("gone{key}"), "1").unwrap());
    (0..60).for_each(|key| assert!(store.remove(format!("gone{key}")).unwrap()));
    turn_over(&store);
    store.compact().unwrap();
    let settled = store.merge_statistics();
    store.compact().unwrap();
    assert!(!store.merge().unwrap());
    assert_eq!(store.merge_statistics(), settled);
    drop(store);
    let store = reopen(&disk);
    store.compact().unwrap();
    let again = store.merge_statistics();
    store.compact().unwrap();
    assert_eq!(store.merge_statistics(), again);
    assert_eq!(store.info().unwrap().keys, 61);
}

/// The records which say that a value is lost look dead in the oldest segments, as tombstones there are. But they stay as
/// long as the value is not set anew.
#[test]
fn what_looks_dead_and_stays_is_not_merged_again_and_again() {
    const MOST: u64 = 20;
    let (disk, store) = fresh();
    store.put("k", "v").unwrap();
    for _ in 0..60 {
        store.begin().unwrap().mark_lost(&[id(&store, "k")]).unwrap();
    }
    turn_over(&store);
    drop(store);
    let store = reopen(&disk);
    let settle = |store: &Store| {
        let before = store.merge_statistics().merges;
        while store.merge().unwrap() {
            assert!(store.merge_statistics().merges < before + MOST, "the same bytes are merged again and again");
        }
        store.merge_statistics()
    };
    let settled = settle(&store);
    assert!(settled.bytes_written > 60 * 40, "they were merged, and stayed: {settled:?}");
    assert!(store.get("k").is_err());
    // Once there is something to gain it goes on.
    store.put("k", "anew").unwrap();
    turn_over(&store);
    let after = settle(&store);
    assert!(after.bytes_read - settled.bytes_read > after.bytes_written - settled.bytes_written + 60 * 40, "{after:?}");
}

/// Keys that come and go behind keys that stay: what is left of them is bounded.
#[test]
fn tombstones_go_in_the_end() {
    let options = Options { segment_size: 2_000, ..options() };
    let store = Store::open_on(Arc::new(SimDisk::new()), options).unwrap();
    (0..20).for_each(|key| store.put(format!("live{key}"), [1; 200]).unwrap());
    let mut most = 0;
    for round in 0..2_000 {
        store.put(format!("gone{round}"), "1").unwrap();
        assert!(store.remove(format!("gone{round}")).unwrap());
        while store.merge().unwrap() {}
        most = most.max(store.info().unwrap().log_bytes);
    }
    let live = store.info().unwrap().live_bytes;
    assert!(most < 3 * live + 4 * 2_000, "{most} bytes for {live}");
}

#[test]
fn a_plan_says_what_compacting_gives_back() {
    let (_disk, store) = fresh();
    (0..100u8).for_each(|key| store.put(format!("{key}"), [key; 100]).unwrap());
    (0..100u8).filter(|key| key % 3 > 0).for_each(|key| store.put(format!("{key}"), [!key; 100]).unwrap());
    let before = store.info().unwrap();
    let plan = store.planned_compaction();
    assert_eq!(store.info().unwrap(), before, "nothing is changed");
    store.compact().unwrap();
    let after = store.info().unwrap();
    let planned: u64 = plan.iter().map(|merge| merge.bytes - merge.copied).sum();
    let real = before.log_bytes - after.log_bytes;
    assert!(planned.abs_diff(real) < real / 4, "planned {planned}, came back {real}");
    assert!(plan.iter().all(|merge| merge.copied <= merge.bytes));
}

/// An embedded store needs nobody to call for a merge.
#[test]
fn space_comes_back_by_itself() {
    let disk = SimDisk::new();
    let options = Options { background: true, segment_size: 4_096, ..options() };
    let store = Store::open_on(Arc::new(disk.clone()), options).unwrap();
    let mut puts = 0;
    while store.merge_statistics().merges < 3 {
        store.put("k", [puts as u8; 2_000]).unwrap();
        puts += 1;
        assert!(puts < 1_000_000, "no merge in all that time");
    }
    assert_eq!(store.get("k").unwrap().unwrap(), [(puts - 1) as u8; 2_000]);
    drop(store);
    assert_eq!(reopen(&disk).get("k").unwrap().unwrap(), [(puts - 1) as u8; 2_000]);
}

#[test]
fn a_store_that_never_merges_by_itself_writes_hints() {
    let disk = SimDisk::new();
    let merge = MergePolicy { window: MergeWindow::Never, ..MergePolicy::default() };
    let store =
        Store::open_on(Arc::new(disk.clone()), Options { background: true, segment_size: 4_096, merge, ..options() });
    let store = store.unwrap();
    (0..20).for_each(|round| store.put("k", [round; 2_000]).unwrap());
    while !disk.paths().iter().any(|path| path.ends_with(".hint")) {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(store.merge_statistics().merges, 0);
}

#[test]
fn a_merge_under_way_does_not_keep_a_store_open() {
    let (disk, store) = fresh();
    (0..50).for_each(|round| store.put(format!("{}", round % 7), vec![round; 300]).unwrap());
    let files = disk.paths();
    std::thread::scope(|scope| {
        // An hour would not be enough.
        let slow = scope.spawn(|| store.compact_at(NonZeroU64::new(1)));
        std::thread::sleep(std::time::Duration::from_millis(50));
        store.stop_merging();
        assert!(matches!(slow.join().unwrap(), Err(Error::Closing)));
    });
    assert_eq!(disk.paths(), files, "what was begun is cleared away");
    drop(store);
    let store = reopen(&disk);
    (43..50).for_each(|round| assert_eq!(store.get(format!("{}", round % 7)).unwrap().unwrap(), vec![round; 300]));
}

#[test]
fn a_store_for_reading_does_not_merge() {
    let (disk, store) = fresh();
    turn_over(&store);
    drop(store);
    let options = Options { read_only: true, create: false, ..options() };
    let store = Store::open_on(Arc::new(disk), options).unwrap();
    assert!(matches!(store.merge(), Err(Error::ReadOnly)));
}

/// A merge's output has a higher number than the segment that is written to: numbers are no order.
#[test]
fn an_old_value_in_a_younger_file_does_not_win() {
    let (disk, store) = fresh();
    store.put("k", "old").unwrap();
    store.put("gone", "old").unwrap();
    turn_over(&store);
    assert!(store.merge_run(0, 3).unwrap());
    let youngest = disk.paths().into_iter().rfind(|path| path.ends_with(".log")).unwrap();
    store.put("k", "new").unwrap();
    assert!(store.remove("gone").unwrap());
    let at = |wanted: &[u8]| {
        let holds = |path: &String| disk.file(path).unwrap().windows(wanted.len()).any(|bytes| bytes == wanted);
        disk.paths().into_iter().filter(|path| path.ends_with(".log")).find(holds).unwrap()
    };
    assert!(at(b"old") > at(b"new") && at(b"new") < youngest, "{} {}", at(b"old"), at(b"new"));
    drop(store);
    let store = reopen(&disk);
    assert_eq!(store.get("k").unwrap().unwrap(), b"new");
    assert_eq!(store.get("gone").unwrap(), None);
}

#[test]
fn readers_and_writers_go_on_while_segments_are_merged() {
    let (disk, store) = fresh();
    let value = |key: u32, round: u32| [key, round].map(u32::to_le_bytes).concat().repeat(30);
    (0..7).for_each(|key| store.put(format!("{key}"), value(key, 0)).unwrap());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for run in 0..5 {
                    store.merge_run(run, 3).unwrap();
                }
                store.compact().unwrap();
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for key in 0..7 {
                    let found = store.get(format!("{key}")).unwrap().unwrap();
                    let round = u32::from_le_bytes(found[4..8].try_into().unwrap());
                    assert!(found == value(key, round), "{key}");
                }
            }
        });
        for round in 1..=500 {
            for key in 0..7 {
                store.put(format!("{key}"), value(key, round)).unwrap();
                assert!(store.get(format!("{key}")).unwrap().unwrap() == value(key, round), "{key}, {round}");
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(store.merge_statistics().merges > 0);
    drop(store);
    let store = reopen(&disk);
    (0..7).for_each(|key| assert!(store.get(format!("{key}")).unwrap().unwrap() == value(key, 500), "{key}"));
}

/// Some keys, some of them overwritten, and segments to merge.
fn some() -> (SimDisk, Store) {
    let (disk, store) = fresh();
    (0..30u8).for_each(|key| store.put(format!("{key}"), [key; 100]).unwrap());
    (0..30u8).filter(|key| key % 3 == 0).for_each(|key| store.put(format!("{key}"), [!key; 100]).unwrap());
    (0..30u8).filter(|key| key % 3 == 1).for_each(|key| assert!(store.remove(format!("{key}")).unwrap()));
    (disk, store)
}

fn check_some(store: &Store, context: &str) {
    for key in 0..30u8 {
        let wanted = [Some(!key), None, Some(key)][usize::from(key % 3)];
        assert_eq!(store.get(format!("{key}")).unwrap(), wanted.map(|byte| vec![byte; 100]), "{key}, {context}");
    }
}

/// Whichever operation of the medium finds no room; and whichever is the last before the process dies.
#[test]
fn a_merge_that_finds_no_room_leaves_everything_as_it_was() {
    let mut operations = 0;
    for fails in 0.. {
        let (disk, store) = some();
        let before = disk.operations();
        // Twice: the reserve answers for the first time.
        (0..2).for_each(|again| disk.fail_at(before + fails + again, Fault::NoSpace));
        let merged = store.merge_run(1, 6);
        operations = operations.max(disk.operations() - before);
        let context = format!("operation {fails}: {merged:?}");
        assert!(matches!(merged, Ok(true) | Err(_)), "{context}");
        check_some(&store, &context);
        let finished = fails >= operations;
        disk.clear_faults();
        drop(store);
        let store = reopen(&disk.restart());
        check_some(&store, &context);
        store.compact().unwrap();
        check_some(&store, &context);
        if finished {
            assert!(fails > 10, "{fails} operations are no merge");
            break;
        }
    }
}

#[test]
fn what_a_merge_left_behind_does_not_exist() {
    for stops in 0.. {
        let (disk, store) = some();
        disk.fail_at(disk.operations() + stops, Fault::PowerCut);
        let merged = store.merge_run(1, 6);
        for image in disk.power_cut_images(stops, 4) {
            let store = reopen(&image);
            check_some(&store, &format!("operation {stops}"));
            let named = store.info().unwrap().segments as usize;
            let files = image.paths().into_iter().filter(|path| path.ends_with(".log")).count();
            assert_eq!(files, named, "after operation {stops}");
        }
        if merged.is_ok() {
            assert!(stops > 10, "{stops} operations are no merge");
            break;
        }
    }
}

#[test]
fn a_segment_that_cannot_be_read_is_not_merged() {
    let paths = |disk: &SimDisk| disk.paths().into_iter().filter(|path| path.ends_with(".log"));
    let merged = paths(&some().0).count() - 3;
    for index in 0..merged {
        let (disk, store) = some();
        let path = paths(&disk).nth(index).unwrap();
        disk.set_read_fault(&path, true);
        let before = disk.paths();
        // It counts as damaged until the next start.
        store.merge_run(0, 100).unwrap();
        assert_eq!(disk.paths(), before, "{path}");
        disk.clear_faults();
        check_some(&store, &path);
        drop(store);
        check_some(&reopen(&disk), "after all");
    }
}

#[test]
fn a_sealed_segment_is_never_written_to() {
    let (disk, mut store) = fresh();
    let mut sealed: HashMap<String, Vec<u8>> = HashMap::new();
    let mut seen = 0;
    for round in 0..400u32 {
        match round % 7 {
            0..4 => store.put(format!("{}", round % 11), vec![round as u8; 150]).unwrap(),
            4 => drop(store.remove(format!("{}", round % 5)).unwrap()),
            5 => drop(store.merge_run(round as usize % 4, 2).unwrap()),
            _ if round % 3 == 0 => {
                drop(store);
                store = reopen(&disk);
            }
            _ => store.compact().unwrap(),
        }
        for (path, bytes) in &sealed {
            assert!(disk.file(path).is_none_or(|file| file == *bytes), "{path} in round {round}");
        }
        for segment in store.log.sealed() {
            let path = format!("segments/{:08}.log", segment.id);
            seen += usize::from(sealed.insert(path.clone(), disk.file(&path).unwrap()).is_none());
        }
    }
    assert!(seen > 50, "{seen}");
}
