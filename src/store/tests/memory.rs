//! The memory limit.

use super::*;
use crate::store::{Batch, Error};

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
