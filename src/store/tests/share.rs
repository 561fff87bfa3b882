//! Shared bytes: what became of their lender, and where merges moved it, is nothing to those who borrowed them.

use std::ops::ControlFlow;

use super::damage::{find, marked};
use super::*;
use crate::log::Location;
use crate::medium::Medium;
use crate::store::append::Record;
use crate::store::extents::Extent;
use crate::store::{Error, RepairMode, VerifyReport};

fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| ((at * 31 + at / 4096 + seed) % 255) as u8 + 1).collect()
}

fn verify(store: &Store) -> VerifyReport {
    store.verify(&mut |_| ControlFlow::Continue(())).unwrap()
}

/// Fills segments with what dies at once, until the newest are of no interest.
fn turn_over(store: &Store) {
    (0..6).for_each(|round| store.put("filler", vec![round; 300]).unwrap());
}

/// Merges each segment for itself, those that there are now, and then whatever is worth it.
fn merge_all(store: &Store, backward: bool) {
    let count = store.info().unwrap().segments as usize;
    for index in 0..count {
        store.merge_run(if backward { count - 1 - index } else { index }, 1).unwrap();
    }
}

/// The values are right whatever is merged and whenever it is opened again. What is merged, and what is not yet, must be in
/// the order in which it took effect, so it is looked at between any two merges.
fn check(disk: &SimDisk, store: Store, expected: &[(&str, Vec<u8>)]) {
    let live = store.info().unwrap().live_bytes;
    let is_right = |store: &Store, when: &str| {
        for (key, value) in expected {
            assert!(store.get(key).unwrap().unwrap() == *value, "{key}, {when}");
        }
        assert_eq!(verify(store).defects, vec![], "{when}");
    };
    is_right(&store, "before");
    drop(store);
    let store = reopen(disk);
    assert!(store.recovery_report().is_clean(), "{:?}", store.recovery_report());
    is_right(&store, "after a restart");
    assert_eq!(store.info().unwrap().live_bytes, live, "counted anew");
    let count = store.info().unwrap().segments as usize;
    drop(store);
    // One by one, from either end, and all at once.
    let forward: Vec<(usize, usize)> = (0..count).map(|first| (first, 1)).collect();
    let backward = forward.iter().rev().copied().collect();
    for runs in [forward, backward, vec![(0, count)]] {
        let disk = disk.restart();
        for (first, length) in runs {
            let store = reopen(&disk);
            store.merge_run(first, length).unwrap();
            is_right(&store, "after a merge");
            drop(store);
            is_right(&reopen(&disk), "after a merge and a restart");
        }
        let store = reopen(&disk);
        store.compact().unwrap();
        is_right(&store, "after compacting");
        drop(store);
        is_right(&reopen(&disk), "at the end");
    }
}

/// What may become of a lender.
type Fate = fn(&Store);

const FATES: [(&str, Fate); 7] = [
    ("nothing", |_| {}),
    ("replaced", |store| store.put("a", "new").unwrap()),
    ("cut", |store| publish(store, id(store, "a"), Update { size: 100, ..Update::default() })),
    ("punched", |store| {
        let size = store.stat("a").unwrap().unwrap().size;
        publish(store, id(store, "a"), Update { holes: vec![(0, size)], size, ..Update::default() });
    }),
    ("patched", |store| {
        let size = store.stat("a").unwrap().unwrap().size;
        publish(
            store,
            id(store, "a"),
            Update { bytes: vec![(50, [0; 60].as_slice().into())], size, ..Update::default() },
        );
    }),
    ("removed", |store| assert!(store.remove("a").unwrap())),
    ("renamed over", |store| {
        store.put("other", "bytes").unwrap();
        store.rename("other", "a").unwrap();
    }),
];

#[test]
fn what_is_shared_outlives_its_lender() {
    for (fate, happen) in FATES {
        for len in [300, 150_000] {
            for early in [false, true] {
                let (disk, store) = fresh();
                let value = pattern(len, 1);
                store.put("a", &value).unwrap();
                turn_over(&store);
                share(&store, "a", "b");
                turn_over(&store);
                if early {
                    merge_all(&store, false);
                }
                happen(&store);
                turn_over(&store);
                println!("{fate}, {len} bytes, merged before: {early}");
                let lender = store.get("a").unwrap();
                let lender = lender.map(|value| ("a", value));
                check(&disk, store, &[Some(("b", value)), lender].into_iter().flatten().collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn a_copy_of_a_copy_needs_neither() {
    let (disk, store) = fresh();
    let value = pattern(150_000, 1);
    store.put("a", &value).unwrap();
    for (from, to) in [("a", "b"), ("b", "c"), ("c", "d")] {
        turn_over(&store);
        share(&store, from, to);
    }
    assert!(store.remove("a").unwrap() && store.remove("c").unwrap());
    store.put("b", "new").unwrap();
    check(&disk, store, &[("d", value), ("b", b"new".to_vec())]);
}

#[test]
fn a_value_shares_with_itself() {
    let (disk, store) = fresh();
    let mut value = pattern(300_000, 1);
    store.put("a", &value).unwrap();
    turn_over(&store);
    let entry = id(&store, "a");
    let from = Lender::Value(entry, 1000);
    let run = borrow(&store, entry, &[Loan { offset: 200_001, len: 150_000, from }]);
    publish(&store, entry, Update { stage: run.stage, size: 350_001, ..Update::default() });
    value.extend([0; 50_001]);
    value.copy_within(1000..151_000, 200_001);
    turn_over(&store);
    // And what it was copied from is overwritten.
    let bytes = vec![(900, vec![7; 100_000].into())];
    publish(&store, entry, Update { bytes, size: 350_001, ..Update::default() });
    value[900..100_900].fill(7);
    turn_over(&store);
    check(&disk, store, &[("a", value)]);
}

#[test]
fn what_is_written_over_shared_bytes_stays() {
    let (disk, store) = fresh();
    let mut value = pattern(150_000, 1);
    store.put("a", &value).unwrap();
    store.put("b", pattern(150_000, 2)).unwrap();
    turn_over(&store);
    let entry = id(&store, "b");
    let from = Lender::Value(id(&store, "a"), 0);
    let run = borrow(&store, entry, &[Loan { offset: 0, len: 140_000, from }]);
    // Along with the shared bytes, and behind them.
    let bytes = vec![(10_000, vec![3; 5000].into())];
    let holes = vec![(30_000, 4000)];
    publish(&store, entry, Update { stage: run.stage, bytes, holes, size: 150_000, ..Update::default() });
    turn_over(&store);
    publish(
        &store,
        entry,
        Update { bytes: vec![(60_000, [4; 100].as_slice().into())], size: 150_000, ..Update::default() },
    );
    value[140_000..].copy_from_slice(&pattern(150_000, 2)[140_000..]);
    value[10_000..15_000].fill(3);
    value[30_000..34_000].fill(0);
    value[60_000..60_100].fill(4);
    turn_over(&store);
    check(&disk, store, &[("b", value)]);
}

/// The room of the lender stays taken for the borrower, and comes back with it.
#[test]
fn what_nobody_has_any_more_gives_its_space_back() {
    let (_disk, store) = fresh();
    let size = |store: &Store| {
        turn_over(store);
        store.compact().unwrap();
        store.info().unwrap().log_bytes
    };
    let empty = size(&store);
    store.put("a", pattern(300_000, 1)).unwrap();
    let one = size(&store);
    share(&store, "a", "b");
    share(&store, "b", "c");
    assert!(size(&store) < one + 10_000, "nothing was written again");
    assert_eq!(store.stat("b").unwrap().unwrap().allocated, 300_000);
    store.remove("a").unwrap();
    assert!(size(&store) > 300_000);
    store.remove("c").unwrap();
    assert!(store.get("b").unwrap().unwrap() == pattern(300_000, 1));
    assert!((300_000..one + 10_000).contains(&size(&store)));
    store.remove("b").unwrap();
    assert!(size(&store) < empty + 5_000, "{} {empty}", size(&store));
}

/// Sharing must not make a merge dear: what many have is copied for each of them.
#[test]
fn a_segment_that_many_borrow_from_is_not_worth_a_merge() {
    let (_disk, store) = fresh();
    store.put("a", pattern(500, 1)).unwrap();
    for copy in 0..20 {
        share(&store, "a", &format!("copy{copy}"));
    }
    store.remove("a").unwrap();
    turn_over(&store);
    store.compact().unwrap();
    let info = store.info().unwrap();
    assert!(info.live_bytes > 20 * 500 && info.log_bytes < 12_000, "{info:?}");
    assert_eq!(store.statistics().unwrap().dead_bytes(), info.log_bytes.saturating_sub(info.live_bytes));
    assert!(store.planned_compaction().iter().all(|merge| merge.copied <= merge.bytes));
}

#[test]
fn a_borrower_without_a_name_is_read_as_long_as_it_is_held() {
    let (disk, store) = fresh();
    let value = pattern(150_000, 1);
    store.put("a", &value).unwrap();
    turn_over(&store);
    share(&store, "a", "b");
    let entry = id(&store, "b");
    store.pin(entry);
    store.remove("b").unwrap();
    store.remove("a").unwrap();
    turn_over(&store);
    let read = |store: &Store| {
        let mut buffer = vec![0; value.len()];
        assert_eq!(store.read(entry, 0, &mut buffer).unwrap(), value.len());
        assert!(buffer == value);
    };
    for backward in [false, true] {
        merge_all(&store, backward);
        turn_over(&store);
        read(&store);
    }
    let restarted = reopen(&disk.restart());
    assert!(restarted.recovery_report().is_clean(), "{:?}", restarted.recovery_report());
    assert_eq!(keys(&restarted), ["filler"]);
    assert_eq!(restarted.stat("b").unwrap(), None);
    store.unpin(entry, 1);
    store.compact().unwrap();
    assert!(store.info().unwrap().log_bytes < 10_000);
}

/// Whoever has staged a share knows where the bytes are, so both that segment and the share's own stay.
#[test]
fn staged_shares_are_not_moved_under_those_who_staged_them() {
    for publishes in [false, true] {
        let (disk, store) = fresh();
        let value = pattern(150_000, 1);
        store.put("a", &value).unwrap();
        store.put("b", "old").unwrap();
        turn_over(&store);
        let entry = id(&store, "b");
        let run = borrow(&store, entry, &loans(&store, "a"));
        store.remove("a").unwrap();
        for backward in [false, true] {
            turn_over(&store);
            merge_all(&store, backward);
            store.compact().unwrap();
        }
        for (offset, len, extent) in &run.extents {
            let (from, to) = (*offset as usize, (offset + len) as usize);
            assert!(store.read_extent(entry, extent, 0..to - from).unwrap() == value[from..to]);
        }
        if publishes {
            publish(&store, entry, Update { replace: true, stage: run.stage, size: 150_000, ..Update::default() });
            check(&disk, store, &[("b", value)]);
        } else {
            store.abandon(run.stage);
            turn_over(&store);
            store.compact().unwrap();
            assert!(store.info().unwrap().log_bytes < 10_000, "what was abandoned is dead");
            check(&disk, store, &[("b", b"old".to_vec())]);
        }
    }
}

/// A stage is older than what was published since, be it by a merge that made borrowed bytes the entry's own: its records
/// are written anew, for they must be in the log in the order in which they take effect.
#[test]
fn a_stage_that_is_overtaken_is_written_anew() {
    for by_a_merge in [false, true] {
        let (disk, store) = fresh();
        store.put("a", pattern(150_000, 1)).unwrap();
        store.put("c", pattern(150_000, 3)).unwrap();
        turn_over(&store);
        share(&store, "a", "b");
        turn_over(&store);
        let entry = id(&store, "b");
        let from = Lender::Value(id(&store, "c"), 0);
        let run = borrow(&store, entry, &[Loan { offset: 20_000, len: 100_000, from }]);
        let mut value = pattern(150_000, 1);
        if by_a_merge {
            store.remove("a").unwrap();
            merge_all(&store, true);
            let shared = store.keydir.read().get(entry).unwrap().extents.some(0, u64::MAX, Extent::is_borrowed);
            assert_eq!(shared, vec![], "the bytes are its own");
        } else {
            value = pattern(150_000, 4);
            store.put("b", &value).unwrap();
        }
        publish(&store, entry, Update { stage: run.stage, size: 150_000, ..Update::default() });
        store.abandon(run.stage);
        value[20_000..120_000].copy_from_slice(&pattern(150_000, 3)[..100_000]);
        check(&disk, store, &[("b", value), ("c", pattern(150_000, 3))]);
    }
}

#[test]
fn the_parts_of_a_stage_take_effect_in_their_order() {
    let (disk, store) = fresh();
    let mut value = pattern(150_000, 1);
    store.put("a", &value).unwrap();
    store.put("b", "").unwrap();
    let entry = id(&store, "b");
    let run = store.stage(entry, 0, 100_000, &[8; 50_000]).unwrap();
    turn_over(&store);
    let shared = store.stage_shares(entry, run.stage, &loans(&store, "a")).unwrap();
    assert_eq!(shared.stage, run.stage);
    turn_over(&store);
    store.stage(entry, run.stage, 20_000, &[9; 10_000]).unwrap();
    turn_over(&store);
    publish(&store, entry, Update { replace: true, stage: run.stage, size: 150_000, ..Update::default() });
    value[20_000..30_000].fill(9);
    turn_over(&store);
    check(&disk, store, &[("a", pattern(150_000, 1)), ("b", value)]);
}

#[test]
fn of_a_segment_that_is_about_to_go_nothing_is_lent() {
    let (_disk, store) = fresh();
    store.put("a", pattern(300_000, 1)).unwrap();
    store.put("b", "").unwrap();
    let loans = loans(&store, "a");
    assert!(loans.len() > 2);
    let second = store.keydir.read().get(id(&store, "a")).unwrap().extents.within(loans[1].offset..u64::MAX)[0].1;
    assert!(store.keydir.write().close_segments(&[second.location.segment]));
    let run = store.stage_shares(id(&store, "b"), 0, &loans).unwrap();
    assert_eq!(run.extents.len(), 1, "only what comes before it");
    assert!(!store.keydir.write().close_segments(&[run.extents[0].2.location.segment]), "somebody has staged it");
    let none = store.stage_shares(id(&store, "b"), 0, &loans[1..]).unwrap();
    assert_eq!((none.stage, none.extents.len()), (0, 0));
    store.keydir.write().reopen_segments(&[second.location.segment]);
    assert_eq!(store.stage_shares(id(&store, "b"), run.stage, &loans[1..]).unwrap().extents.len(), loans.len() - 1);
    store.abandon(run.stage);
}

#[test]
fn a_merge_that_finds_no_room_for_what_was_lent_is_given_up() {
    let (disk, store) = fresh();
    let value = pattern(150_000, 1);
    store.put("a", &value).unwrap();
    turn_over(&store);
    share(&store, "a", "b");
    store.remove("a").unwrap();
    turn_over(&store);
    let space = disk.space().unwrap();
    let segments = disk.paths();
    let read = |store: &Store| assert!(store.get("b").unwrap().unwrap() == value);
    for room in [0, 1_000, 50_000] {
        disk.set_capacity(Some(space.total - space.free + room));
        let merged = (0..segments.len()).map(|index| store.merge_run(index, 1)).find(Result::is_err);
        assert!(matches!(merged, Some(Err(Error::NoSpace))), "{merged:?}");
        read(&store);
        assert_eq!(store.info().unwrap().failure, None);
        let restarted = disk.restart();
        restarted.set_capacity(None);
        read(&reopen(&restarted));
    }
    disk.set_capacity(None);
    // What was lent may be lent again.
    share(&store, "b", "c");
    check(&disk, store, &[("b", value.clone()), ("c", value)]);
}

#[test]
fn a_snapshot_has_what_was_shared() {
    let (disk, store) = fresh();
    let value = pattern(150_000, 1);
    store.put("a", &value).unwrap();
    share(&store, "a", "b");
    store.snapshot("one").unwrap();
    store.remove("a").unwrap();
    turn_over(&store);
    merge_all(&store, true);
    store.snapshot("two").unwrap();
    store.remove("b").unwrap();
    turn_over(&store);
    store.compact().unwrap();
    for (name, keys) in [("one", &["a", "b"][..]), ("two", &["b"])] {
        let snapshot = store.open_snapshot(name).unwrap();
        assert!(snapshot.recovery_report().is_clean());
        keys.iter().for_each(|key| assert!(snapshot.get(key).unwrap().unwrap() == value, "{key} in {name}"));
        assert_eq!(snapshot.get("a").unwrap().is_some(), keys.len() == 2);
    }
    drop(store);
    assert_eq!(reopen(&disk).get("b").unwrap(), None);
}

/// Damage to what is lent costs all who have it, and names them; a repair saves the others.
#[test]
fn damage_to_a_lent_record_is_said_of_all_who_have_it() {
    let (disk, store) = fresh();
    let value = [marked("first of a", 131_072), marked("second of a", 131_072)].concat();
    store.put("a", &value).unwrap();
    let small = marked("small", 300);
    store.put("s", &small).unwrap();
    turn_over(&store);
    let entry = |key: &str| {
        store.put(key, "").unwrap();
        id(&store, key)
    };
    let from = id(&store, "a");
    for (key, offset) in [("first", 0), ("second", 131_072)] {
        let (entry, loan) = (entry(key), Loan { offset: 0, len: 131_072, from: Lender::Value(from, offset) });
        let run = borrow(&store, entry, &[loan]);
        publish(&store, entry, Update { replace: true, stage: run.stage, size: 131_072, ..Update::default() });
    }
    share(&store, "s", "t");
    turn_over(&store);
    let (path, place) = find(&disk, b"second of a").remove(0);
    assert!(disk.corrupt(&path, place + 5, 1));
    assert_eq!(verify(&store).damaged_keys, ["a", "second"]);
    assert!(store.get("second").is_err());
    assert!(store.get("first").unwrap().unwrap() == value[..131_072]);
    // A merge leaves what it cannot read.
    store.remove("a").unwrap();
    merge_all(&store, false);
    assert_eq!(disk.file(&path).map(|file| file.is_empty()), Some(false));
    assert_eq!(verify(&store).damaged_keys, ["second"]);
    drop(store);
    let report = Store::repair_on(Arc::new(disk.clone()), options(), RepairMode::default(), &mut |_| {}).unwrap();
    assert_eq!(report.lost_keys, ["(entry 2)", "second"], "that which was removed, and the one that is there");
    assert_eq!(disk.file(&path), None, "it is in the quarantine");
    for _ in 0..2 {
        let store = Store::open_on(Arc::new(disk.clone()), Options { strict: true, ..options() }).unwrap();
        assert!(verify(&store).is_clean());
        assert_eq!(store.get("second").unwrap_err().errno(), libc::EIO);
        assert!(store.get("first").unwrap().unwrap() == value[..131_072]);
        assert_eq!(store.get("t").unwrap().unwrap(), small);
        merge_all(&store, true);
    }
    let store = reopen(&disk);
    store.put("second", "new").unwrap();
    check(&disk, store, &[("first", value[..131_072].to_vec()), ("second", b"new".to_vec()), ("t", small)]);
}

/// The whole segment with the lent bytes is gone: the others are not hurt.
#[test]
fn a_lost_segment_costs_those_who_borrowed_from_it() {
    let (disk, store) = fresh();
    store.put("a", marked("value of a", 9_000)).unwrap();
    turn_over(&store);
    share(&store, "a", "b");
    store.put("c", marked("value of c", 9_000)).unwrap();
    share(&store, "c", "d");
    drop(store);
    let (path, _) = find(&disk, b"value of a").remove(0);
    disk.remove(&path).unwrap();
    let report = Store::repair_on(Arc::new(disk.clone()), options(), RepairMode::default(), &mut |_| {}).unwrap();
    assert!(report.lost_keys.contains(&"b".to_owned()), "{report:?}");
    let store = Store::open_on(Arc::new(disk.clone()), Options { strict: true, ..options() }).unwrap();
    assert!(verify(&store).is_clean());
    assert_eq!(store.get("b").unwrap_err().errno(), libc::EIO);
    assert_eq!(store.get("d").unwrap().unwrap(), marked("value of c", 9_000));
}

/// A right checksum is no proof of sense: a share may lead anywhere.
#[test]
fn a_share_that_leads_to_nothing_costs_its_key_alone() {
    let (disk, store) = fresh();
    store.put("good", "value").unwrap();
    let location = store.keydir.read().get(id(&store, "good")).unwrap().meta.unwrap().location;
    let places =
        [(99, 64), (u32::MAX, u32::MAX), (location.segment, location.offset + 8), (location.segment, u32::MAX)];
    for (number, (segment, offset)) in places.into_iter().enumerate() {
        let key = format!("bad{number}");
        store.put(&key, "").unwrap();
        let entry = id(&store, &key);
        let extent = Extent { source: 1, ..Extent::own(Location { segment, offset }, 60, 0, u64::MAX) };
        let mut transaction = store.begin().unwrap();
        let stage = transaction.appender.next_sequence();
        transaction.append(vec![Record::Share { entry, offset: 0, len: 50, extent }], stage).unwrap();
        drop(transaction);
        publish(&store, entry, Update { stage, size: 50, ..Update::default() });
        assert_eq!(store.get(&key).unwrap_err().errno(), libc::EIO);
    }
    turn_over(&store);
    store.compact().unwrap();
    drop(store);
    let store = reopen(&disk);
    let bad = ["bad0", "bad1", "bad2", "bad3"];
    let named = verify(&store).damaged_keys;
    assert!(named.iter().all(|key| bad.contains(&key.as_str())) && named.len() >= 3, "{named:?}");
    bad.iter().for_each(|key| assert_eq!(store.get(key).unwrap_err().errno(), libc::EIO));
    assert_eq!(store.get("good").unwrap().unwrap(), b"value");
    drop(store);
    let report = Store::repair_on(Arc::new(disk.clone()), options(), RepairMode::default(), &mut |_| {}).unwrap();
    assert_eq!(report.lost_keys, named);
    let store = reopen(&disk);
    assert!(verify(&store).is_clean());
    bad.iter().for_each(|key| store.put(key, "new").unwrap());
    store.compact().unwrap();
    bad.iter().for_each(|key| assert_eq!(store.get(key).unwrap().unwrap(), b"new"));
}
