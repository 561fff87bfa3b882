//! Backups and stores that are restored from them: what they hold, and what is left of one that was cut short.

use std::sync::Arc;

use super::{Options, Store, fresh, keys, options, reopen};
use crate::log::{self, Check, Copied, CopyKind, Damage, Location, copy_snapshot};
use crate::medium::{Fault, SimDisk};
use crate::store::Error;

fn read_only() -> Options {
    Options { create: false, read_only: true, ..options() }
}

fn try_open(disk: &SimDisk) -> Result<Store, Error> {
    Store::open_on(Arc::new(disk.clone()), read_only())
}

fn try_backup(store: &Store, to: &SimDisk) -> Result<Copied, Error> {
    store.backup_on(to, Check::Part, &mut |_| {})
}

fn backup(store: &Store, to: &SimDisk) -> Copied {
    try_backup(store, to).unwrap()
}

fn restore(from: &SimDisk, to: &SimDisk) -> Result<Copied, log::Error> {
    copy_snapshot(from, to, CopyKind::Store, &mut |_| {})
}

/// Sets ten keys to values that this stamp is in.
fn fill(store: &Store, stamp: u8) {
    (0..10u8).for_each(|key| store.put(format!("d/{key}"), vec![stamp ^ key; 100]).unwrap());
}

#[track_caller]
fn check(store: &Store, stamp: u8) {
    for key in 0..10u8 {
        assert_eq!(store.get(format!("d/{key}")).unwrap(), Some(vec![stamp ^ key; 100]), "key {key}");
    }
    assert_eq!(keys(store).len(), 11);
    let report = store.recovery_report();
    assert_eq!((&report.torn, &report.damage), (&vec![], &vec![]));
}

fn segments(disk: &SimDisk) -> Vec<String> {
    disk.paths().into_iter().filter(|path| path.starts_with("segments/")).collect()
}

#[test]
fn a_backup_is_a_store_of_that_moment() {
    let (_, store) = fresh();
    fill(&store, 1);
    let to = SimDisk::new();
    let mut shown = Vec::new();
    let copied =
        store.backup_on(&to, Check::Part, &mut |progress| shown.push((progress.done, progress.total))).unwrap();
    assert_eq!((copied.segments, copied.removed), (copied.copied, 0));
    assert_eq!(shown.last(), Some(&(copied.bytes, copied.bytes)));
    assert!(shown.windows(2).all(|pair| pair[0].0 < pair[1].0 || pair[1].0 == copied.bytes), "{shown:?}");
    fill(&store, 2);
    check(&try_open(&to).unwrap(), 1);
    let error = Store::open_on(Arc::new(to), options()).unwrap_err();
    assert!(matches!(error, Error::Log(log::Error::Frozen)), "{error}");
    // The snapshot that it was made from is gone.
    assert_eq!(store.snapshots().unwrap(), []);
}

#[test]
fn what_a_backup_has_is_not_copied_again() {
    let (_, store) = fresh();
    (0..10).for_each(|stamp| fill(&store, stamp));
    let to = SimDisk::new();
    let first = backup(&store, &to);
    assert!(first.segments > 10);
    // Nothing new: nothing copied.
    let again = backup(&store, &to);
    assert_eq!((again.segments, again.copied, again.bytes, again.removed), (first.segments, 0, 0, 0));
    fill(&store, 10);
    let second = backup(&store, &to);
    assert_eq!(second.segments, first.segments + second.copied);
    assert!(second.copied < 5, "{second:?}");
    check(&try_open(&to).unwrap(), 10);
    // What merges took away goes.
    store.compact().unwrap();
    let third = backup(&store, &to);
    assert!(third.removed > 5 && third.segments < second.segments, "{third:?}");
    assert_eq!(segments(&to).len() as u64, third.segments);
    check(&try_open(&to).unwrap(), 10);
}

#[test]
fn a_backup_of_a_backup_and_of_a_snapshot() {
    let (_, store) = fresh();
    fill(&store, 1);
    store.snapshot("one").unwrap();
    fill(&store, 2);
    let (to, further) = (SimDisk::new(), SimDisk::new());
    backup(&store.open_snapshot("one").unwrap(), &to);
    check(&try_open(&to).unwrap(), 1);
    backup(&try_open(&to).unwrap(), &further);
    check(&try_open(&further).unwrap(), 1);
    // One of a later moment takes the place.
    backup(&store, &to);
    check(&try_open(&to).unwrap(), 2);
}

#[test]
fn a_segment_of_a_backup_that_is_not_as_it_was_is_copied_again() {
    let (_, store) = fresh();
    (0..4).for_each(|stamp| fill(&store, stamp));
    let good = SimDisk::new();
    backup(&store, &good);
    let path = "segments/00000003.log";
    let whole = good.file(path).unwrap();
    let mut header = whole.clone();
    header[20] ^= 1;
    let mut tail = whole.clone();
    *tail.last_mut().unwrap() ^= 1;
    for bytes in [&header, &tail, &whole[..whole.len() - 1].to_vec(), &vec![]] {
        let to = good.restart();
        to.put_file(path, bytes.clone());
        let copied = backup(&store, &to);
        assert_eq!((copied.copied, copied.bytes), (1, whole.len() as u64));
        check(&try_open(&to).unwrap(), 3);
    }
}

#[test]
fn what_is_no_backup_of_this_store_is_left_alone() {
    let (_, store) = fresh();
    fill(&store, 1);
    let contents = |disk: &SimDisk| -> Vec<_> { disk.paths().into_iter().map(|path| disk.file(&path)).collect() };
    let refused = |to: &SimDisk| {
        let before = contents(to);
        let error = try_backup(&store, to).unwrap_err();
        assert_eq!(contents(to), before, "{error}");
        assert_eq!(store.snapshots().unwrap(), []);
        error.to_string()
    };
    let (live, other) = fresh();
    drop(other);
    assert_eq!(refused(&live), "there is a backup of another store");
    let own = SimDisk::new();
    backup(&store, &own);
    let restored = SimDisk::new();
    restore(&own, &restored).unwrap();
    assert_eq!(refused(&restored), "there is a store that is written to, and no backup");
    let foreign = SimDisk::new();
    foreign.put_file("letter.txt", "Dear Ada");
    assert_eq!(refused(&foreign), "the directory is neither a caskfs store nor empty");
    let used = SimDisk::new();
    backup(&store, &used);
    let reader = try_open(&used).unwrap();
    assert_eq!(refused(&used), "the store is in use by another process");
    drop(reader);
    backup(&store, &used);
}

/// A store that was restored and went its own way has segments of the same numbers as the original.
#[test]
fn two_histories_of_one_store_do_not_mix() {
    let (_, store) = fresh();
    fill(&store, 1);
    let (to, twin) = (SimDisk::new(), SimDisk::new());
    backup(&store, &to);
    restore(&to, &twin).unwrap();
    fill(&store, 2);
    backup(&store, &to);
    let twin = Store::open_on(Arc::new(twin), options()).unwrap();
    twin.put("d/0", "another").unwrap();
    let error = try_backup(&twin, &to).unwrap_err();
    assert!(error.to_string().contains("of a later state"), "{error}");
    fill(&twin, 4);
    fill(&twin, 5);
    let error = try_backup(&twin, &to).unwrap_err();
    assert!(error.to_string().contains("became elsewhere"), "{error}");
    check(&try_open(&to).unwrap(), 2);
}

#[test]
fn damage_is_told_and_copied() {
    let (disk, store) = fresh();
    fill(&store, 1);
    fill(&store, 2);
    store.snapshot("one").unwrap();
    assert!(disk.corrupt("segments/00000001.log", 300, 1));
    let to = SimDisk::new();
    let copied = backup(&store, &to);
    let [Damage { location: Location { segment: 1, offset }, len }] = copied.damage.as_slice() else {
        panic!("{copied:?}");
    };
    assert!((u64::from(*offset)..u64::from(*offset) + len).contains(&300));
    let store = SimDisk::new();
    assert_eq!(restore(&to, &store).unwrap().damage, copied.damage);
    let store = reopen(&store);
    assert_eq!(store.recovery_report().damage.len(), 1);
    assert_eq!(store.get("d/9").unwrap(), Some(vec![2 ^ 9; 100]));
}

/// Wherever it stops: there is the backup of before, or the new one, or none yet; and the next attempt makes it whole.
#[test]
fn a_backup_that_is_cut_short_leaves_the_one_before() {
    let faults = [Fault::PowerCut, Fault::Io, Fault::NoSpace, Fault::Short];
    for (fault, renewed) in faults.into_iter().flat_map(|fault| [(fault, false), (fault, true)]) {
        for operation in 0.. {
            let (_, store) = fresh();
            fill(&store, 0);
            fill(&store, 1);
            let to = SimDisk::new();
            if renewed {
                backup(&store, &to);
                fill(&store, 2);
                store.compact().unwrap();
            }
            let newest = if renewed { 2 } else { 1 };
            to.fail_at(to.operations() + operation, fault);
            let before = to.operations();
            let made = try_backup(&store, &to);
            let ended = to.operations() - before <= operation;
            assert_eq!(store.snapshots().unwrap(), []);
            let mut found = to.power_cut_images(operation, 4);
            found.push(to.restart());
            for (index, disk) in found.into_iter().enumerate() {
                let place = format!("{fault:?} at operation {operation}, image {index}: {made:?}");
                match try_open(&disk) {
                    Ok(copy) if made.is_ok() || !renewed => check(&copy, newest),
                    Ok(copy) => {
                        let stamp = copy.get("d/0").unwrap().unwrap()[0];
                        assert!(stamp == 1 || stamp == 2, "{place}");
                        check(&copy, stamp);
                    }
                    Err(error) => {
                        let none = matches!(error, Error::Log(log::Error::NotAStore));
                        assert!(none && made.is_err() && !renewed, "{place}: {error}");
                    }
                }
                disk.clear_faults();
                if fault != Fault::PowerCut || index < 4 {
                    backup(&store, &disk);
                    check(&try_open(&disk).unwrap(), newest);
                    let temporary = |path: &String| path.contains(".tmp");
                    assert!(!disk.paths().iter().any(temporary), "{place}: {:?}", disk.paths());
                }
            }
            if ended {
                assert!(operation > 20 && made.is_ok());
                break;
            }
        }
    }
}

#[test]
fn an_original_that_cannot_be_read_leaves_the_backup_of_before() {
    let (disk, store) = fresh();
    fill(&store, 1);
    let to = SimDisk::new();
    backup(&store, &to);
    fill(&store, 2);
    let newest = segments(&disk).into_iter().rev().find(|path| disk.file(path).unwrap().len() > 100).unwrap();
    disk.set_read_fault(&newest, true);
    let error = try_backup(&store, &to).unwrap_err();
    assert!(error.to_string().contains("segment"), "{error}");
    assert_eq!(store.snapshots().unwrap(), []);
    check(&try_open(&to).unwrap(), 1);
    disk.set_read_fault(&newest, false);
    backup(&store, &to);
    check(&try_open(&to).unwrap(), 2);
}

#[test]
fn a_restored_store_is_written_to() {
    let (_, store) = fresh();
    fill(&store, 1);
    let (to, disk) = (SimDisk::new(), SimDisk::new());
    backup(&store, &to);
    let restored = restore(&to, &disk).unwrap();
    assert_eq!((restored.segments, restored.damage.len()), (restored.copied, 0));
    let epoch = store.info().unwrap().epoch;
    let twin = reopen(&disk);
    check(&twin, 1);
    let info = twin.info().unwrap();
    assert_eq!((info.id, info.epoch, twin.taken()), (store.info().unwrap().id, epoch + 1, None));
    fill(&twin, 3);
    twin.compact().unwrap();
    drop(twin);
    check(&reopen(&disk), 3);
    check(&try_open(&to).unwrap(), 1);
    // Over a store nothing is restored, nor over anything else, nor from anything but a backup.
    let error = restore(&to, &disk).unwrap_err();
    assert!(matches!(error, log::Error::Occupied(_)), "{error}");
    check(&reopen(&disk), 3);
    let foreign = SimDisk::new();
    foreign.put_file("letter.txt", "Dear Ada");
    assert!(matches!(restore(&to, &foreign), Err(log::Error::NotEmpty)));
    assert!(matches!(restore(&disk, &SimDisk::new()), Err(log::Error::NotFrozen)));
    assert!(matches!(restore(&SimDisk::new(), &SimDisk::new()), Err(log::Error::NotAStore)));
}

#[test]
fn a_restore_that_is_cut_short_leaves_no_store() {
    let (_, store) = fresh();
    fill(&store, 1);
    let from = SimDisk::new();
    backup(&store, &from);
    for fault in [Fault::PowerCut, Fault::Io, Fault::NoSpace] {
        for operation in 0.. {
            let to = SimDisk::new();
            to.fail_at(operation, fault);
            let made = restore(&from, &to);
            let ended = to.operations() <= operation;
            for disk in to.power_cut_images(operation, 4) {
                match try_open(&disk) {
                    Ok(copy) => check(&copy, 1),
                    Err(error) => {
                        assert!(matches!(error, Error::Log(log::Error::NotAStore)), "{error}");
                        assert!(made.is_err(), "{fault:?} at operation {operation}");
                        restore(&from, &disk).unwrap();
                    }
                }
                check(&reopen(&disk), 1);
            }
            if ended {
                assert!(operation > 10 && made.is_ok());
                break;
            }
        }
    }
}

/// A copy of a disk with one bit of a file changed, in the middle: neither in its header nor near its end.
fn rotten(disk: &SimDisk, path: &str) -> SimDisk {
    let to = disk.restart();
    let mut bytes = disk.file(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    to.put_file(path, bytes);
    to
}

/// A store of some long segments, and a backup of it.
fn long_segments() -> (Store, SimDisk) {
    let (_, store) = fresh();
    for number in 0..12u8 {
        store.put(format!("k{number}"), vec![number; 40_000]).unwrap();
    }
    let to = SimDisk::new();
    assert!(backup(&store, &to).segments >= 12);
    (store, to)
}

#[test]
fn what_rots_in_a_backup_is_found_in_turn_and_mended() {
    let (store, good) = long_segments();
    for path in segments(&good).into_iter().filter(|path| good.file(path).unwrap().len() > 20_000) {
        let to = rotten(&good, &path);
        let mut runs = 0;
        loop {
            runs += 1;
            let copied = backup(&store, &to);
            assert_eq!(copied.damage, [], "{path}");
            // A part is not all.
            assert!(copied.checked < copied.segments / 2, "{copied:?}");
            if copied.mended > 0 {
                break;
            }
            assert!(runs < 10, "{path}");
        }
        assert_eq!(to.file(&path), good.file(&path));
        // At once, if that is wanted.
        let to = rotten(&good, &path);
        let copied = store.backup_on(&to, Check::All, &mut |_| {}).unwrap();
        assert_eq!((copied.mended, copied.checked, copied.copied), (1, copied.segments, 0), "{path}");
        assert_eq!(to.file(&path), good.file(&path));
    }
}

/// What is damaged on both sides is told, and what the backup has is not replaced by something that is no better.
#[test]
fn what_is_damaged_on_both_sides_is_told() {
    let (disk, store) = fresh();
    for number in 0..4u8 {
        store.put(format!("k{number}"), vec![number; 40_000]).unwrap();
    }
    let good = SimDisk::new();
    backup(&store, &good);
    let path = segments(&good).into_iter().find(|path| good.file(path).unwrap().len() > 20_000).unwrap();
    let to = rotten(&good, &path);
    let mut bytes = disk.file(&path).unwrap();
    bytes[1_000] ^= 1;
    disk.put_file(&path, bytes);
    let before = to.file(&path);
    let copied = store.backup_on(&to, Check::All, &mut |_| {}).unwrap();
    assert_eq!((copied.mended, copied.damage.len()), (0, 1), "{copied:?}");
    assert_eq!(to.file(&path), before);
    // What of it was read last is a note, and may be anything.
    for note in [&b""[..], b"4294967296", b"-1", b"\xff", b"99999"] {
        to.put_file("checked", note.to_vec());
        assert!(backup(&store, &to).checked > 0);
    }
}

#[test]
fn a_backup_that_was_killed_is_in_nobodys_way() {
    let (_, store) = fresh();
    fill(&store, 1);
    let names = || store.snapshots().unwrap().into_iter().map(|snapshot| snapshot.name).collect::<Vec<_>>();
    // Its lock goes with its process.
    let killed = store.begin_backup().unwrap();
    assert_eq!((killed.name.as_str(), names()), (".backup.1", vec![".backup.1".to_owned()]));
    drop(killed);
    let alive = store.begin_backup().unwrap();
    assert_eq!(names(), [".backup.1"]);
    // Beside one that is under way.
    let to = SimDisk::new();
    backup(&store, &to);
    check(&try_open(&to).unwrap(), 1);
    let other = store.begin_backup().unwrap();
    assert_eq!((names(), other.name.as_str()), (vec![".backup.1".to_owned(), ".backup.2".to_owned()], ".backup.2"));
    store.end_backup(alive).unwrap();
    store.end_backup(other).unwrap();
    assert_eq!(names(), Vec::<String>::new());
    // Nobody else's snapshot is called so.
    assert!(matches!(store.snapshot(".backup.mine"), Err(Error::NotPermitted(_))));
}

/// A store that is only read takes no snapshot; and its last segment may grow when it is written to again.
#[test]
fn a_store_on_a_medium_that_is_read_only() {
    let (disk, store) = fresh();
    fill(&store, 1);
    drop(store);
    let to = SimDisk::new();
    let read = Store::open_on(Arc::new(disk.clone()), read_only()).unwrap();
    let before = disk.paths();
    let copied = backup(&read, &to);
    assert!(copied.copied > 0);
    assert_eq!((backup(&read, &to).copied, disk.paths()), (0, before));
    drop(read);
    check(&try_open(&to).unwrap(), 1);
    for stamp in [2, 3] {
        let store = reopen(&disk);
        fill(&store, stamp);
        drop(store);
        let read = Store::open_on(Arc::new(disk.clone()), read_only()).unwrap();
        backup(&read, &to);
        drop(read);
        check(&try_open(&to).unwrap(), stamp);
    }
    let store = reopen(&disk);
    fill(&store, 4);
    backup(&store, &to);
    check(&try_open(&to).unwrap(), 4);
}
