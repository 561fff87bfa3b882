//! The memory limit.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::store::keydir::MOST;
use crate::store::{Batch, Error, Kind, ROOT, Time, Transaction, XattrMode};

/// Puts keys until one is refused; returns how many there are.
fn fill(store: &Store, round: u32) -> u32 {
    for key in 0.. {
        match store.put(format!("{round}/{:02}/{key:06}", key / 1000), "value") {
            Ok(()) => {}
            Err(error) => {
                assert!(matches!(error, Error::OutOfMemory), "{error}");
                assert_eq!(error.errno(), libc::ENOSPC);
                return key;
            }
        }
    }
    unreachable!("there is a limit")
}

#[test]
fn at_the_memory_limit_new_keys_are_refused_and_all_else_goes_on() {
    const LIMIT: u64 = 1 << 20;
    let disk = SimDisk::new();
    let limited = Options { create: true, background: false, durable: false, ..Options::default() };
    let limited = Options { memory_limit: Some(LIMIT), ..limited };
    let store = Store::open_on(Arc::new(disk.clone()), limited.clone()).unwrap();
    let first = fill(&store, 0);
    let taken = store.info().unwrap().keydir_bytes;
    assert!((LIMIT / 2..LIMIT + LIMIT / 10).contains(&taken), "{taken} with {first} keys");
    assert!(matches!(store.write(Batch::new().put("new", "1").clone()), Err(Error::OutOfMemory)));
    // What is there can be read, changed, renamed and removed.
    store.put("0/00/000000", "another value").unwrap();
    store.rename("0/00/000001", "0/00/renamed").unwrap();
    assert_eq!(store.get("0/00/000000").unwrap().unwrap(), b"another value");
    for key in 0..first / 2 {
        store.remove(format!("0/{:02}/{key:06}", key / 1000)).unwrap();
    }
    // Then there is room for as many.
    let second = fill(&store, 1);
    assert!(second > first / 3, "{second} after {first}");
    drop(store);
    // A store that is over the limit opens, and is only not to grow.
    let store = Store::open_on(Arc::new(disk), Options { memory_limit: Some(LIMIT / 4), ..limited }).unwrap();
    assert!(store.info().unwrap().keydir_bytes > LIMIT / 4);
    assert_eq!(store.get("0/00/renamed").unwrap().unwrap(), b"value");
    assert!(matches!(store.put("new", "1"), Err(Error::OutOfMemory)));
    store.put("1/00/000000", "another value").unwrap();
}

/// A store with a limit, and one key.
fn limited(limit: u64) -> (SimDisk, Store, EntryId) {
    let disk = SimDisk::new();
    let options = Options { segment_size: 1 << 20, durable: false, memory_limit: Some(limit), ..options() };
    let store = Store::open_on(Arc::new(disk.clone()), options).unwrap();
    store.put("k", "value").unwrap();
    let id = id(&store, "k");
    (disk, store, id)
}

/// Makes the store grow until that is refused, and checks that it was in time and that all else goes on.
fn grow(store: &Store, limit: u64, mut more: impl FnMut(u64) -> Result<(), Error>) -> u64 {
    for count in 0.. {
        match more(count) {
            Ok(()) => assert!(count < 100_000, "nothing is refused"),
            Err(error) => {
                assert!(matches!(error, Error::OutOfMemory), "{error}");
                let taken = store.info().unwrap().keydir_bytes;
                assert!((limit / 2..limit + limit / 10).contains(&taken), "{taken}");
                return count;
            }
        }
    }
    unreachable!()
}

fn change<R>(store: &Store, change: impl FnOnce(&mut Transaction<'_>) -> Result<R, Error>) -> Result<(), Error> {
    let mut transaction = store.begin()?;
    change(&mut transaction)?;
    transaction.commit().map(drop)
}

#[test]
fn the_memory_limit_binds_pieces_of_a_value() {
    const LIMIT: u64 = 256 << 10;
    let (_disk, store, id) = limited(LIMIT);
    let piece = |number: u64, byte: &'static [u8]| {
        let bytes = (0..10).map(|at| ((number * 10 + at) * 8192, byte.into())).collect();
        Update { size: 1 << 40, bytes, ..Update::default() }
    };
    let pieces =
        grow(&store, LIMIT, |number| change(&store, |transaction| transaction.set_value(id, piece(number, b"x"))));
    // What takes the place of another piece is no growth, nor is a value that is whole again.
    for number in 0..pieces {
        change(&store, |transaction| transaction.set_value(id, piece(number, b"y"))).unwrap();
    }
    assert!(matches!(store.put("new", "value"), Err(Error::OutOfMemory)));
    // Holes between them make no more pieces, but one in the middle of a piece does.
    change(&store, |transaction| {
        transaction.set_value(id, Update { size: 1 << 40, holes: vec![(1, 8191)], ..Update::default() })
    })
    .unwrap();
    store.put("k", "value").unwrap();
    store.put("new", "value").unwrap();
    store.keydir.read().check_sums();
}

#[test]
fn the_memory_limit_binds_what_is_staged_in_the_log() {
    const LIMIT: u64 = 64 << 10;
    let (_disk, store, id) = limited(LIMIT);
    let mut stage = 0;
    let count = grow(&store, LIMIT, |number| {
        stage = store.stage(id, stage, number * 8192, b"x")?.stage;
        Ok(())
    });
    let update = Update { replace: true, stage, size: 1 << 30, ..Update::default() };
    change(&store, |transaction| transaction.set_value(id, update)).unwrap();
    // As many again may take their place.
    stage = 0;
    for number in 0..count {
        stage = store.stage(id, stage, number * 8192, b"y").unwrap().stage;
    }
    let update = Update { replace: true, stage, size: 1 << 30, ..Update::default() };
    change(&store, |transaction| transaction.set_value(id, update)).unwrap();
    store.keydir.read().check_sums();
    store.remove("k").unwrap();
    assert!(store.info().unwrap().keydir_bytes < LIMIT / 2);
}

#[test]
fn the_memory_limit_binds_attributes_and_names() {
    const LIMIT: u64 = 256 << 10;
    let (_disk, store, id) = limited(LIMIT);
    for number in 0..20 {
        store.put(format!("file{number}"), "value").unwrap();
    }
    grow(&store, LIMIT, |number| {
        let id = store.stat(format!("file{}", number % 20))?.unwrap().id;
        let name = format!("user.{}", number / 20);
        change(&store, |transaction| transaction.set_xattr(id, name.as_bytes(), &[1; 1000], XattrMode::Set))
    });
    // Set anew they are no longer than before.
    let first = store.stat("file0").unwrap().unwrap().id;
    change(&store, |transaction| transaction.set_xattr(first, b"user.0", &[2; 1000], XattrMode::Set)).unwrap();
    for number in 0..20 {
        store.remove(format!("file{number}")).unwrap();
    }
    grow(&store, LIMIT, |number| {
        change(&store, |transaction| transaction.link(id, ROOT, format!("{number:0200}").as_bytes()))
    });
    store.rename("k", "renamed").unwrap();
    store.keydir.read().check_sums();
}

/// Whatever changes the tree, what is held in sums is what a walk would find.
#[test]
fn the_sums_are_those_of_a_walk() {
    for seed in 0..20 {
        let mut random = StdRng::seed_from_u64(seed);
        let (disk, mut store) = fresh();
        for _ in 0..300 {
            let mut key = || format!("{}/{}", random.random_range(0..3), random.random_range(0..5));
            let (one, other) = (key(), key());
            let entry = store.stat(&one).unwrap().filter(|stat| stat.attributes.kind == Kind::File).map(|stat| stat.id);
            let step = random.random_range(0..12);
            let edit = |change: &mut dyn FnMut(&mut Transaction<'_>, EntryId) -> Result<(), Error>| {
                let Some(id) = entry else { return };
                let mut transaction = store.begin().unwrap();
                if change(&mut transaction, id).is_ok() {
                    transaction.commit().unwrap();
                }
            };
            match step {
                0..3 => drop(store.put(&one, vec![7; [0, 10, 300_000][step]])),
                3 => drop(store.remove(&one)),
                4 => drop(store.rename(&one, &other)),
                5 => edit(&mut |transaction, id| transaction.link(id, ROOT, other.replace('/', "-").as_bytes())),
                6 => {
                    edit(&mut |transaction, id| transaction.set_xattr(id, other.as_bytes(), &[1; 300], XattrMode::Set))
                }
                7 => edit(&mut |transaction, id| transaction.remove_xattr(id, other.as_bytes())),
                8 => edit(&mut |transaction, id| {
                    let bytes = vec![(random.random_range(0..1000), b"piece".into())];
                    transaction.set_value(id, Update { size: 2000, bytes, ..Update::default() })
                }),
                9 => edit(&mut |transaction, id| {
                    transaction.set_expiry(id, Some(Time::new(i64::MAX / 2_000_000_000, 0)))
                }),
                10 if entry.is_some()
                    && store.get(&one).is_ok_and(|value| value.is_some_and(|value| !value.is_empty())) =>
                {
                    let stage = borrow(&store, entry.unwrap(), &loans(&store, &one)).stage;
                    if random.random_bool(0.5) {
                        store.abandon(stage)
                    }
                }
                11 => drop(store.compact()),
                _ => {}
            }
            store.keydir.read().check_sums();
            if random.random_range(0..50) == 0 {
                drop(store);
                store = reopen(&disk);
                store.keydir.read().check_sums();
            }
        }
    }
}

/// A table of so many places, for this test's thread.
struct Table;

impl Table {
    fn of(places: usize) -> Table {
        MOST.set(places);
        Table
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        MOST.set(1 << 27);
    }
}

#[test]
fn a_full_table_refuses_what_it_could_not_keep() {
    let _table = Table::of(100);
    let disk = SimDisk::new();
    let options = Options { durable: false, segment_size: 1 << 20, ..options() };
    let open = || Store::open_on(Arc::new(disk.clone()), options.clone()).unwrap();
    let store = open();
    let mut count = 0;
    let refused = loop {
        match store.put(format!("{count:05}"), "value") {
            Ok(()) => count += 1,
            Err(error) => break error,
        }
        assert!(count < 4000);
    };
    assert!(matches!(refused, Error::TableFull), "{refused}");
    assert_eq!(refused.errno(), libc::ENOSPC);
    let there = |store: &Store, count: usize| {
        for key in 0..count {
            assert_eq!(store.get(format!("{key:05}")).unwrap().as_deref(), Some(&b"value"[..]), "{key} of {count}");
        }
    };
    assert!(count > 150, "{count}");
    there(&store, count);
    for _ in 0..3 {
        let mut batch = Batch::new();
        for key in 0..200 {
            batch.put(format!("b{key}"), "value");
        }
        assert!(matches!(store.write(batch), Err(Error::TableFull)));
        let attributes = store.stat("00000").unwrap().unwrap().attributes;
        assert!(matches!(store.create_provisional(ROOT, b"new", attributes), Err(Error::TableFull)));
    }
    // What is there may change, also so that it takes a block of another size.
    for key in 0..count {
        let (short, long) = (format!("{key:05}"), format!("{key:0100}"));
        store.rename(&short, &long).unwrap();
        store.put(&long, "value").unwrap();
    }
    assert_eq!(keys(&store).len(), count);
    drop(store);
    let store = open();
    for key in 0..count {
        store.rename(format!("{key:0100}"), format!("{key:05}")).unwrap();
    }
    there(&store, count);
    drop(store);
    let store = open();
    there(&store, count);
    for key in count / 2..count {
        assert!(store.remove(format!("{key:05}")).unwrap());
    }
    store.put("there is room", "again").unwrap();
    there(&store, count / 2);
    store.keydir.read().check_sums();
}

#[test]
fn a_log_with_more_entries_than_fit_is_not_opened() {
    let (disk, store) = fresh();
    for key in 0..400 {
        store.put(format!("{key:05}"), "value").unwrap();
    }
    drop(store);
    let table = Table::of(100);
    let options = options();
    let refused = Store::open_on(Arc::new(disk.clone()), options).unwrap_err();
    assert!(matches!(refused, Error::TableFull), "{refused}");
    drop(table);
    assert_eq!(keys(&reopen(&disk)).len(), 400, "and nothing of it is lost");
}
