//! What small overwrites have left of a value becomes few records again.

use super::*;
use crate::store::record::MAX_EXTENT;

const BLOCK: u64 = 4096;

fn store_on(disk: &SimDisk, segment_size: u32) -> Store {
    let options = Options { create: true, segment_size, background: false, ..Options::default() };
    Store::open_on(Arc::new(disk.clone()), options).unwrap()
}

/// A number below `limit`.
fn random(state: &mut u64, limit: u64) -> u64 {
    *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    (*state >> 33) % limit
}

/// Writes blocks of a value in some order, each published by itself.
fn scatter(store: &Store, key: &str, value: &mut [u8], seed: u64, count: u64) {
    let blocks = value.len() as u64 / BLOCK;
    let (entry, mut state) = (id(store, key), seed);
    for number in 0..count {
        // Each of them once, if there are as many; the stride is odd, and the number of blocks a power of two.
        let block = (number * 2_654_435_761 + seed) % blocks;
        let fill = random(&mut state, 255) as u8 + 1;
        let place = (block * BLOCK) as usize..((block + 1) * BLOCK) as usize;
        value[place.clone()].fill(fill);
        let bytes = vec![(place.start as u64, value[place].to_vec().into())];
        publish_unsynced(store, entry, Update { bytes, size: value.len() as u64, ..Update::default() });
    }
}

fn publish_unsynced(store: &Store, entry: EntryId, update: Update<'_>) {
    let mut transaction = store.begin().unwrap();
    transaction.set_value(entry, update).unwrap();
    transaction.commit().unwrap();
}

fn extents(store: &Store, key: &str) -> usize {
    store.data_ranges(id(store, key), 0..u64::MAX).unwrap().len()
}

/// The case, of 4 MiB: one extent for each 128 KiB is left, and the memory of one.
#[test]
fn a_compaction_joins_what_small_overwrites_have_left() {
    let disk = SimDisk::new();
    let store = store_on(&disk, 1 << 20);
    let mut value = vec![0; 4 << 20];
    store.put("table", "").unwrap();
    scatter(&store, "table", &mut value, 1, 1024);
    assert_eq!(extents(&store, "table"), 1024);
    let before = store.info().unwrap();
    store.compact().unwrap();
    let after = store.info().unwrap();
    assert_eq!(extents(&store, "table"), value.len() / MAX_EXTENT);
    assert!(after.keydir_bytes * 10 < before.keydir_bytes, "{} {}", before.keydir_bytes, after.keydir_bytes);
    // What it took has come back.
    assert!(after.log_bytes < before.log_bytes + (2 << 20), "{} {}", before.log_bytes, after.log_bytes);
    for (number, store) in [store_on(&disk.restart(), 1 << 20), store].into_iter().enumerate() {
        assert_eq!(extents(&store, "table"), value.len() / MAX_EXTENT);
        assert!(store.get("table").unwrap().unwrap() == value);
        assert!(store.verify(&mut |_| std::ops::ControlFlow::Continue(())).unwrap().is_clean());
        // There is nothing more to be done, and little more when little is overwritten.
        let written = store.written();
        store.compact().unwrap();
        assert_eq!(store.written(), written);
        if number == 1 {
            scatter(&store, "table", &mut value, 7, 3);
            let written = store.written();
            store.compact().unwrap();
            assert_eq!(store.written(), written);
            assert!(store.get("table").unwrap().unwrap() == value);
        }
    }
}

/// Holes stay holes, and what is shared stays shared.
#[test]
fn joining_leaves_holes_and_shared_extents() {
    let (_, store) = fresh();
    let mut value = vec![0; 64 * BLOCK as usize];
    store.put("table", "").unwrap();
    let entry = id(&store, "table");
    scatter(&store, "table", &mut value, 3, 64);
    let hole = 20 * BLOCK..30 * BLOCK;
    publish(
        &store,
        entry,
        Update { holes: vec![(hole.start, 10 * BLOCK)], size: value.len() as u64, ..Update::default() },
    );
    value[hole.start as usize..hole.end as usize].fill(0);
    store.put("lent", vec![9; 40_000]).unwrap();
    share(&store, "lent", "borrower");
    let shares = |store: &Store| {
        let keydir = store.keydir.read();
        let node = keydir.get(id(store, "borrower")).unwrap();
        node.extents.some(0, u64::MAX, |extent| extent.is_borrowed()).len()
    };
    // Fifty more of the table's blocks are borrowed by another value: they become one record there alone.
    let table = loans(&store, "table");
    store.put("second", "").unwrap();
    let second = id(&store, "second");
    let run = borrow(&store, second, &table);
    publish(&store, second, Update { replace: true, stage: run.stage, size: value.len() as u64, ..Update::default() });
    assert_eq!((extents(&store, "second"), shares(&store)), (54, 1));
    let mut throttle = crate::store::merge::Throttle::new(None);
    store.merger.join(&crate::store::merge::Crumbs::ASKED, &mut throttle, &mut || true).unwrap();
    // One up to the hole; behind it one of 128 KiB, and two that are too few.
    assert_eq!(extents(&store, "table"), 4);
    assert_eq!((extents(&store, "second"), shares(&store)), (54, 1));
    for key in ["table", "second"] {
        assert!(store.get(key).unwrap().unwrap() == value, "{key}");
    }
    assert_eq!(store.first_hole(entry, 0).unwrap(), hole.start);
    assert_eq!(store.first_data(entry, hole.start).unwrap(), Some(hole.end));
    store.compact().unwrap();
    for key in ["table", "second"] {
        assert!(store.get(key).unwrap().unwrap() == value, "{key}");
    }
}

/// By itself a store joins only what takes much memory and has been at rest, and never what somebody is writing.
#[test]
fn values_that_are_written_are_left_alone() {
    let disk = SimDisk::new();
    let store = store_on(&disk, 1 << 20);
    let mut value = vec![0; 8 << 20];
    store.put("table", "").unwrap();
    scatter(&store, "table", &mut value, 1, 2048);
    let written = store.written();
    assert_eq!(store.join_rested(written - 1).unwrap(), 0, "it was changed since");
    // A stage is open: joining would have it written anew.
    let entry = id(&store, "table");
    let stage = store.stage(entry, 0, 0, &[1; 4096]).unwrap().stage;
    assert_eq!(store.join_rested(store.written()).unwrap(), 0);
    store.abandon(stage);
    assert_eq!(store.join_rested(written).unwrap(), 8 << 20);
    assert_eq!(extents(&store, "table"), 64);
    assert_eq!(store.join_rested(store.written()).unwrap(), 0);
    assert!(store.get("table").unwrap().unwrap() == value);
    // Few extents take no memory.
    store.put("small", "").unwrap();
    let mut small = vec![0; 1 << 20];
    scatter(&store, "small", &mut small, 1, 256);
    assert_eq!(store.join_rested(store.written()).unwrap(), 0);
}

/// Others write and merge meanwhile: what has changed under the reader's hands is not written over.
#[test]
fn joining_beside_writers_loses_nothing() {
    let disk = SimDisk::new();
    let store = store_on(&disk, 1 << 18);
    let mut value = vec![0; 1 << 20];
    store.put("table", "").unwrap();
    scatter(&store, "table", &mut value, 1, 256);
    std::thread::scope(|scope| {
        let compacting = scope.spawn(|| (0..20).for_each(|_| store.compact().unwrap()));
        for seed in 0..40 {
            scatter(&store, "table", &mut value, seed, 20);
            assert!(store.get("table").unwrap().unwrap() == value);
        }
        compacting.join().unwrap();
    });
    assert!(store.get("table").unwrap().unwrap() == value);
    assert!(store_on(&disk.restart(), 1 << 18).get("table").unwrap().unwrap() == value);
}
