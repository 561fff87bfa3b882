//! Merges: what they give back, and what they must not touch.

use super::{Options, Store, fresh, options, reopen};
use crate::store::{EntryId, Error, Update};

/// The number of a key's entry.
fn id(store: &Store, key: &str) -> EntryId {
    store.stat(key).unwrap().unwrap().id
}

/// Fills segments with what dies at once, until the newest are of no interest.
fn turn_over(store: &Store) {
    (0..20).for_each(|round| store.put("filler", vec![round; 300]).unwrap());
}

fn update(store: &Store, key: &str, update: Update) -> Result<u64, Error> {
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
    update(&store, "k", Update { bytes: vec![(4_096, vec![2; 4_096])], size: 300_000, ..Update::default() }).unwrap();
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

#[test]
fn a_store_for_reading_does_not_merge() {
    let (disk, store) = fresh();
    turn_over(&store);
    drop(store);
    let options = Options { read_only: true, create: false, ..options() };
    let store = Store::open_on(std::sync::Arc::new(disk), options).unwrap();
    assert!(matches!(store.merge(), Err(Error::ReadOnly)));
}
