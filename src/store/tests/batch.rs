//! Batches: all or none, however large, in little memory.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::medium::Medium;
use crate::store::{Batch, Error, MemoryUse, Time};

/// One change, made by itself or in a batch.
#[derive(Clone, Debug)]
enum Step {
    Put(String, Vec<u8>, Option<Time>),
    Remove(String),
    Rename(String, String),
}

impl Step {
    fn random(random: &mut StdRng) -> Step {
        let mut key = || format!("{}/{}", random.random_range(0..3), random.random_range(0..20));
        let (one, other) = (key(), key());
        match random.random_range(0..10) {
            0..2 => Step::Remove(one),
            2..4 => Step::Rename(one, other),
            4 => Step::Put(one, vec![4; random.random_range(0..200_000)], None),
            5 => Step::Put(one, vec![5; 10], Some(Time::new(9_000_000_000, 0))),
            _ => Step::Put(one, vec![random.random(); random.random_range(0..100)], None),
        }
    }

    fn make(&self, store: &Store) -> Result<(), Error> {
        match self {
            Step::Put(key, value, None) => store.put(key, value),
            Step::Put(key, value, Some(at)) => store.put_expiring(key, value, *at),
            Step::Remove(key) => store.remove(key).map(drop),
            Step::Rename(from, to) => store.rename(from, to),
        }
    }

    fn add(&self, batch: &mut Batch) {
        match self {
            Step::Put(key, value, None) => batch.put(key, value),
            Step::Put(key, value, Some(at)) => batch.put_expiring(key, value, *at),
            Step::Remove(key) => batch.remove(key),
            Step::Rename(from, to) => batch.rename(from, to),
        };
    }
}

/// Every key with what it is and has, times and inode numbers left out.
fn contents(store: &Store) -> Vec<(String, Option<Time>, Option<Vec<u8>>)> {
    let listed = store.scan("").map(|listed| {
        let listed = listed.unwrap();
        let key = String::from_utf8(listed.key).unwrap();
        let value = store.get(&key).ok().flatten();
        (key, listed.stat.expires, value)
    });
    listed.collect()
}

/// Far more changes than are worked on at once, so that most are sealed when others meet them again.
#[test]
fn a_batch_does_what_its_changes_do_one_by_one() {
    for seed in 0..40 {
        let mut random = StdRng::seed_from_u64(seed);
        let large = Options { segment_size: 1 << 20, durable: false, ..options() };
        let open = |disk: &SimDisk| Store::open_on(Arc::new(disk.clone()), large.clone()).unwrap();
        let (one, other) = (SimDisk::new(), SimDisk::new());
        let (mut by_one, mut batched) = (open(&one), open(&other));
        for _ in 0..3 {
            let mut batch = Batch::new();
            for _ in 0..random.random_range(1..300) {
                let step = Step::random(&mut random);
                // A batch fails with the first change that cannot be made.
                if step.make(&by_one).is_ok() {
                    step.add(&mut batch);
                }
            }
            batched.write(batch).unwrap();
            assert_eq!(contents(&batched), contents(&by_one), "seed {seed}");
            batched.keydir.read().check_sums();
            assert_eq!(batched.memory_used(MemoryUse::Transactions), 0);
            if random.random_bool(0.5) {
                drop((by_one, batched));
                (by_one, batched) = (open(&one), open(&other));
                assert_eq!(contents(&batched), contents(&by_one), "seed {seed}, after a restart");
                assert_eq!((&batched.report.damage, &batched.report.torn), (&vec![], &vec![]));
            }
        }
        let live = |store: &Store| store.keydir.read().usage.total();
        drop(by_one);
        let before = live(&batched);
        drop(batched);
        assert_eq!(live(&open(&other)), before, "what is live is what a start finds, seed {seed}");
    }
}

#[test]
fn a_batch_that_fails_changes_nothing() {
    let (disk, store) = fresh();
    store.put("there", "value").unwrap();
    let before = contents(&store);
    let mut batch = Batch::new();
    (0..1000).for_each(|key| drop(batch.put(format!("{key}"), "value").clone()));
    for last in ["there/below", "x//y", "there\0"] {
        let mut batch = batch.clone();
        batch.remove("there").put("there", "new").put(last, "value");
        assert!(store.write(batch).is_err());
        assert_eq!(contents(&store), before);
    }
    assert!(store.write(batch.rename("missing", "x").clone()).is_err());
    assert_eq!(contents(&store), before);
    drop(store);
    assert_eq!(contents(&reopen(&disk)), before);
}

#[test]
fn a_batch_has_a_bound_of_its_own() {
    let disk = SimDisk::new();
    let options = Options { batch_limit: 100_000, segment_size: 1 << 20, ..options() };
    let store = Store::open_on(Arc::new(disk), options).unwrap();
    let batch = |keys: usize, len: usize| {
        let mut batch = Batch::new();
        for key in 0..keys {
            batch.put(format!("{key}"), vec![1; len]);
        }
        batch
    };
    let refused = |batch| {
        let error = store.write(batch).unwrap_err();
        assert!(matches!(error, Error::BatchTooLarge), "{error}");
        assert_eq!(error.errno(), libc::ENOMEM);
        assert_eq!(store.memory_used(MemoryUse::Transactions), 0);
        assert_eq!(keys(&store), Vec::<String>::new());
    };
    refused(batch(1, 100_000));
    // By what is known of its keys.
    assert!(batch(1200, 10).size() < 30_000);
    refused(batch(1200, 10));
    store.write(batch(200, 10)).unwrap();
    assert_eq!(keys(&store).len(), 200);
}

/// It is written in pieces; what was written of it is cut off again, whichever piece finds no room.
#[test]
fn a_batch_that_finds_no_room_is_cut_off() {
    let disk = SimDisk::new();
    let large = Options { segment_size: 16 << 20, ..options() };
    let store = Store::open_on(Arc::new(disk.clone()), large.clone()).unwrap();
    store.put("there", "value").unwrap();
    let mut batch = Batch::new();
    (0..50).for_each(|key| drop(batch.put(format!("{key}"), vec![key as u8; 100_000]).clone()));
    let space = disk.space().unwrap();
    // Nothing is known of it before it happens: other programs fill the disk.
    for room in [100_000, 1_500_000, 4_000_000] {
        disk.set_capacity(None);
        store.put("there", "value").unwrap();
        disk.set_capacity(Some(space.total - space.free + room));
        assert!(matches!(store.write(batch.clone()), Err(Error::NoSpace)), "{room}");
        assert_eq!(keys(&store), ["there"]);
    }
    disk.set_capacity(None);
    store.put("more", "value").unwrap();
    drop(store);
    let store = Store::open_on(Arc::new(disk), large).unwrap();
    assert_eq!(keys(&store), ["more", "there"]);
    assert_eq!((&store.report.damage, &store.report.torn), (&vec![], &vec![]));
    store.write(batch).unwrap();
    assert_eq!(store.get("49").unwrap().unwrap(), vec![49; 100_000]);
}
