//! What cannot be read now is not gone: a later start that can read it again gives every key back.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::{SimDisk, Store, keys, options, reopen};
use crate::medium::{Access, Passing};
use crate::store::{Clock, Error, Options, RepairMode, Time};

/// The segments on a disk, oldest first, the two newest left out.
fn sealed(disk: &SimDisk) -> Vec<String> {
    let mut segments: Vec<String> = disk.paths().into_iter().filter(|path| path.ends_with(".log")).collect();
    segments.truncate(segments.len() - 2);
    segments
}

/// What can be read.
fn values(store: &Store) -> BTreeMap<String, Vec<u8>> {
    keys(store).into_iter().filter_map(|key| Some((key.clone(), store.get(&key).ok()??))).collect()
}

/// A closed store of 161 keys without hints, in many segments of which a half is dead.
fn half_dead() -> (SimDisk, BTreeMap<String, Vec<u8>>) {
    let (disk, store) = super::fresh();
    for key in 0..160 {
        store.put(format!("k{key}"), vec![key as u8; 100]).unwrap();
        store.put("fill", vec![key as u8; 100]).unwrap();
    }
    let whole = values(&store);
    assert_eq!(whole.len(), 161);
    drop(store);
    (disk, whole)
}

/// Opens the store while all of a segment but its header cannot be read; afterwards the disk is well again.
fn opened_unread(disk: &SimDisk, victim: &str, options: Options) -> Store {
    assert!(disk.set_bad(victim, 64..1 << 20));
    let store = Store::open_on(Arc::new(disk.clone()), options).unwrap();
    disk.clear_faults();
    store
}

#[test]
fn a_passing_read_error_at_a_start_costs_no_key_after_a_merge() {
    let (disk, whole) = half_dead();
    let segments = sealed(&disk);
    for victim in [0, 2, segments.len() - 1] {
        let disk = disk.restart();
        let store = opened_unread(&disk, &segments[victim], options());
        assert!(values(&store).len() < whole.len(), "that start has not read all");
        let report = store.recovery_report();
        assert_eq!((report.unread.len(), report.damage.len()), (1, 0), "{report:?}");
        assert!(report.unread_bytes() > 0);
        let merged = (0..segments.len()).filter(|first| store.merge_run(*first, 1).unwrap_or(false)).count();
        assert!(matches!(store.compact().unwrap_err(), Error::Unread(_)));
        assert!(matches!(store.merge().unwrap_err(), Error::Unread(_)));
        assert_eq!((merged, store.planned_compaction().len()), (0, 0));
        // Hints of what is read now may be written.
        store.write_hints().unwrap();
        drop(store);
        let store = reopen(&disk);
        assert!(values(&store) == whole, "{} keys of {}", values(&store).len(), whole.len());
        assert!(store.recovery_report().is_clean());
        assert!(store.merge_run(0, 3).unwrap(), "what is read again is merged again");
        assert!(values(&store) == whole);
    }
}

/// The bytes of a value stand in one segment, and the record that publishes them in another one, which is not read: they look
/// dead, and are not.
#[test]
fn a_value_whose_node_record_is_unread_is_not_merged_away() {
    let (disk, store) = super::fresh();
    let value: Vec<u8> = (0..400_000).map(|byte: u32| byte as u8).collect();
    store.put("large", &value).unwrap();
    (0..10).for_each(|round| store.put("fill", vec![round; 300]).unwrap());
    drop(store);
    let holder = |pattern: &[u8]| super::damage::find(&disk, pattern).remove(0).0;
    let store = opened_unread(&disk, &holder(b"large"), options());
    assert_eq!(store.get("large").unwrap(), None);
    let merged = (0..10).filter(|first| store.merge_run(*first, 1).unwrap_or(false)).count();
    drop(store);
    assert!(reopen(&disk).get("large").unwrap().unwrap() == value, "after {merged} merges");
}

/// A start that meets proven damage leaves that segment alone for as long as the store is open.
#[test]
fn a_segment_in_which_the_start_met_damage_is_not_merged() {
    let (disk, _) = half_dead();
    let victim = sealed(&disk).swap_remove(2);
    assert!(disk.corrupt(&victim, 70, 1));
    let store = reopen(&disk);
    assert_eq!((store.recovery_report().unread.len(), store.recovery_report().damage.len()), (0, 1));
    // A reading that goes well later proves nothing of the first.
    assert!(disk.corrupt(&victim, 70, 1));
    assert!(!store.merge_run(2, 1).unwrap());
    assert!(store.merge_run(0, 2).unwrap());
    assert!(disk.file(&victim).is_some());
}

/// The time is that of an old record; that the key has a later time, or none, stands in one that was not read.
#[test]
fn what_expires_by_an_old_record_is_hidden_and_not_removed() {
    let now = Arc::new(AtomicI64::new(0));
    let at = |second: i64| now.store(second * 1_000_000_000, Ordering::Relaxed);
    let clock = {
        let now = Arc::clone(&now);
        Clock::new(move || Time(now.load(Ordering::Relaxed)))
    };
    let options = Options { clock, ..options() };
    let disk = SimDisk::new();
    let store = Store::open_on(Arc::new(disk.clone()), options.clone()).unwrap();
    store.put_expiring("session", vec![7; 300], Time::new(100, 0)).unwrap();
    store.put("first", vec![0; 500]).unwrap();
    store.set_expiry("session", None).unwrap();
    let id = store.stat("session").unwrap().unwrap().id;
    let victim = store.keydir.read().get(id).unwrap().meta.unwrap().location.file();
    (0..4).for_each(|round| store.put("last", vec![round; 500]).unwrap());
    drop(store);
    at(200);
    let store = opened_unread(&disk, &victim, options.clone());
    assert_eq!(store.get("session").unwrap(), None, "hidden, as far as is known");
    store.put("other", "1").unwrap();
    assert_eq!(store.expire_due().unwrap(), []);
    assert_eq!(store.get("session").unwrap(), None);
    drop(store);
    let store = Store::open_on(Arc::new(disk.clone()), options).unwrap();
    assert_eq!(store.get("session").unwrap().unwrap(), vec![7; 300]);
    assert_eq!(store.get("other").unwrap().unwrap(), b"1");
}

/// The name that a directory gets because its own record is unread is written nowhere; and ids that may be in use are given
/// to nobody.
#[test]
fn a_directory_whose_record_is_unread_gets_its_name_back() {
    let (disk, store) = super::fresh();
    store.put("fill", vec![1; 500]).unwrap();
    store.put("the-directory/hidden", vec![3; 300]).unwrap();
    store.put("fill", vec![1; 500]).unwrap();
    let victim = super::damage::find(&disk, b"the-directory").pop().unwrap().0;
    let directory = store.stat("the-directory").unwrap().unwrap().id;
    // Its child is elsewhere, and so is a younger record of the root.
    let mut transaction = store.begin().unwrap();
    let child = store.stat("the-directory/hidden").unwrap().unwrap().id;
    let attributes = transaction.attributes(child).unwrap();
    transaction.set_attributes(child, attributes).unwrap();
    transaction.commit().unwrap();
    (0..4).for_each(|round| store.put("last", vec![round; 500]).unwrap());
    drop(store);
    let store = opened_unread(&disk, &victim, options());
    let [name] = &store.recovery_report().lost_directories[..] else { panic!("{:?}", store.recovery_report()) };
    assert!(matches!(store.put(format!("{name}/new"), "1").unwrap_err(), Error::Unread(_)));
    assert!(matches!(store.rename(name, "renamed").unwrap_err(), Error::Unread(_)));
    store.put("new", "1").unwrap();
    let new = store.stat("new").unwrap().unwrap().id;
    assert!(new > directory + 1_000_000, "{new}");
    drop(store);
    let store = reopen(&disk);
    assert_eq!(keys(&store), ["fill", "last", "new", "the-directory", "the-directory/hidden"]);
    assert_eq!(store.stat("the-directory").unwrap().unwrap().id, directory);
    assert_eq!(store.get("the-directory/hidden").unwrap().unwrap(), vec![3; 300]);
}

/// A key has an older value for as long as the newest is unread, and its attributes are changed meanwhile: then it has both
/// the newest value and the new attributes, and never a mixture of two values.
#[test]
fn a_change_that_is_made_meanwhile_leaves_the_newest_value() {
    let (disk, store) = super::fresh();
    store.put("k", vec![1; 400]).unwrap();
    store.put("fill", vec![0; 500]).unwrap();
    store.put("k", [b"the newest value".to_vec(), vec![2; 200]].concat()).unwrap();
    let newest = store.get("k").unwrap().unwrap();
    (0..4).for_each(|round| store.put("fill", vec![round; 500]).unwrap());
    drop(store);
    let victim = super::damage::find(&disk, b"the newest value").remove(0).0;
    let store = opened_unread(&disk, &victim, options());
    assert_eq!(store.get("k").unwrap().unwrap(), vec![1; 400]);
    let id = store.stat("k").unwrap().unwrap().id;
    let mut transaction = store.begin().unwrap();
    let mut attributes = transaction.attributes(id).unwrap();
    attributes.mode = 0o600;
    transaction.set_attributes(id, attributes).unwrap();
    store.wait(transaction.commit().unwrap()).unwrap();
    drop(store);
    let store = reopen(&disk);
    assert_eq!(store.stat("k").unwrap().unwrap().attributes.mode, 0o600);
    assert!(store.get("k").unwrap().unwrap() == newest);
}

/// Each kind of error that passes, at each open and each read of a start: the start comes through, and finds everything.
#[test]
fn errors_that_pass_cost_a_start_nothing() {
    let (disk, whole) = half_dead();
    reopen(&disk).write_hints().unwrap();
    let faults = [
        (Access::Open, libc::EMFILE, 3),
        (Access::Open, libc::ENFILE, 2),
        (Access::Open, libc::ENOMEM, 3),
        (Access::Open, libc::EINTR, 1),
        (Access::Read, libc::EIO, 2),
        (Access::Read, libc::ENOMEM, 3),
        (Access::Read, libc::EINTR, 4),
    ];
    for (access, errno, times) in faults {
        for prefix in ["format", "manifest", "segments/00000001", "segments/00000002.log", "segments/"] {
            let disk = disk.restart();
            let victim = disk.paths().into_iter().filter(|path| path.starts_with("segments/")).nth(9).unwrap();
            let prefix = if prefix == "segments/" { victim } else { prefix.to_owned() };
            disk.fail_for_a_while(Passing { access, prefix: prefix.clone(), bytes: 0..u64::MAX, errno, times });
            let store = Store::open_on(Arc::new(disk.clone()), options());
            let store = store.unwrap_or_else(|error| panic!("{access:?} of {prefix}, errno {errno}: {error}"));
            assert!(store.recovery_report().is_clean(), "{prefix} {errno}: {:?}", store.recovery_report());
            assert!(values(&store) == whole, "{prefix} {errno}");
            assert!(store.merge_run(0, 3).unwrap());
        }
    }
}

/// One block fails while a merge reads it, and is well again later: the merge is not done, and nothing else has happened.
#[test]
fn a_merge_that_cannot_read_does_nothing() {
    let (disk, whole) = half_dead();
    let victim = sealed(&disk).swap_remove(1);
    let store = reopen(&disk);
    assert!(disk.set_bad(&victim, 100..200));
    store.merge_run(0, 3).unwrap();
    assert_eq!(store.merge_statistics().merges, 0);
    assert!(!store.merge_run(0, 3).unwrap(), "it is left alone for a while");
    disk.clear_faults();
    assert!(values(&store) == whole);
    drop(store);
    let store = reopen(&disk);
    assert!(store.merge_run(0, 3).unwrap());
    assert!(values(&store) == whole);
}

/// A repair of a disk that fails now changes nothing: neither what a start reads, nor values that only verifying reads, count
/// as lost. The next one, of a disk that is well again, finds nothing to do.
#[test]
fn a_repair_gives_up_nothing_that_cannot_be_read_now() {
    for hinted in [false, true] {
        let (disk, whole) = half_dead();
        if hinted {
            reopen(&disk).write_hints().unwrap();
        }
        let mut places: Vec<String> = sealed(&disk).into_iter().step_by(11).collect();
        places.extend(["manifest".to_owned(), "format".to_owned()]);
        for path in places {
            let disk = disk.restart();
            assert!(disk.set_bad(&path, 0..4096));
            let repair = |mode| Store::repair_on(Arc::new(disk.clone()), options(), mode, &mut |_| {});
            let planned = repair(RepairMode { dry_run: true, ..RepairMode::default() }).unwrap();
            assert!(planned.unread.iter().any(|unread| unread.file == path), "{path}: {planned:?}");
            let refused = repair(RepairMode::default()).unwrap_err();
            let named = matches!(&refused, Error::Log(crate::log::Error::Unread(unread)) if unread.iter().any(|unread| unread.file == path));
            assert!(named && refused.errno() == libc::EIO, "{path}: {refused}");
            disk.clear_faults();
            let report = repair(RepairMode::default()).unwrap();
            assert_eq!((&report.steps, &report.lost_keys), (&vec![], &vec![]), "{path}");
            assert!(values(&reopen(&disk)) == whole, "{path}");
        }
    }
}

/// Bad blocks among 20,000 keys, far more than are worth waiting for: a start without hints and a repair find every key that
/// is not in one of them.
#[test]
fn every_block_that_can_be_read_is_read() {
    const BLOCK: u64 = 4096;
    let options = || Options { segment_size: 4 << 20, durable: false, ..options() };
    let disk = SimDisk::new();
    let store = Store::open_on(Arc::new(disk.clone()), options()).unwrap();
    for key in 0..20_000 {
        store.put(format!("k{key}"), vec![b'v'; 100]).unwrap();
    }
    store.put("last", vec![0; 4 << 20]).unwrap();
    drop(store);
    let store = Store::open_on(Arc::new(disk.clone()), options()).unwrap();
    store.write_hints().unwrap();
    drop(store);
    let victim = "segments/00000001.log";
    let blocks = disk.file(victim).unwrap().len() as u64 / BLOCK;
    // One in nine, so that there are 28 in what is read at once: 32 of a file were enough to give up the rest.
    for block in (1..blocks).step_by(9) {
        assert!(disk.set_bad(victim, block * BLOCK..(block + 1) * BLOCK));
    }
    let store = Store::open_on(Arc::new(disk.clone()), options()).unwrap();
    let readable = values(&store);
    assert!(readable.len() < 20_001 && readable.len() > 15_000, "{}", readable.len());
    drop(store);
    // Without hints.
    let bare = disk.clone();
    disk.paths().iter().filter(|path| path.ends_with(".hint")).for_each(|path| {
        crate::medium::Medium::remove(&bare, path).unwrap();
    });
    let store = Store::open_on(Arc::new(bare.clone()), options()).unwrap();
    assert!(values(&store) == readable, "{} of {}", values(&store).len(), readable.len());
    drop(store);
    let mode = RepairMode { give_up_unread: true, ..RepairMode::default() };
    Store::repair_on(Arc::new(bare.clone()), options(), mode, &mut |_| {}).unwrap();
    let store = Store::open_on(Arc::new(bare), options()).unwrap();
    assert!(values(&store) == readable, "{} of {}", values(&store).len(), readable.len());
    assert!(store.verify(&mut |_| ControlFlow::Continue(())).unwrap().is_clean());
}
