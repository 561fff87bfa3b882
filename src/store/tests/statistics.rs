//! What a store counts.

use std::sync::{Barrier, mpsc};

use super::*;
use crate::store::{Error, RESERVED};

#[test]
fn bytes_put_and_bytes_written_are_counted() {
    let (disk, store) = fresh();
    let start = store.statistics().unwrap();
    assert_eq!((start.put_bytes, start.write_amplification()), (0, None));
    store.put("small", [1; 100]).unwrap();
    // Longer than one record: the bytes are staged first, and each is counted once.
    store.put_reader("large", &mut [2; 300_000].as_slice()).unwrap();
    store.rename("small", "other").unwrap();
    let after = store.statistics().unwrap();
    assert_eq!(after.put_bytes, 300_100);
    // What stands in the segments was appended, by the start too, behind headers of their own.
    let headers = after.info.segments * 64;
    assert_eq!(after.log.appended, after.info.log_bytes - headers);
    assert_eq!(after.written_bytes(), after.log.appended);
    assert!(after.write_amplification().unwrap() > 1.0 && after.write_amplification().unwrap() < 1.1);
    assert_eq!(after.dead_bytes(), after.info.log_bytes - after.info.live_bytes);
    // A put that fails is none.
    assert!(store.put("large/below", "value").is_err());
    assert_eq!(store.statistics().unwrap().put_bytes, 300_100);
    drop(store);
    assert_eq!(reopen(&disk).statistics().unwrap().put_bytes, 0, "from the last start on");
}

#[test]
fn merges_count_as_written() {
    let (_disk, store) = fresh();
    for round in 0..60u8 {
        store.put(format!("key{}", round % 5), [round; 100]).unwrap();
    }
    let before = store.statistics().unwrap();
    store.compact().unwrap();
    let after = store.statistics().unwrap();
    assert!(after.merges.merges > 0 && after.merges.bytes_written > 0);
    let merged = after.merges.bytes_written;
    assert_eq!(after.written_bytes() - before.written_bytes(), after.log.appended - before.log.appended + merged);
    assert!(after.dead_bytes() < before.dead_bytes());
}

#[test]
fn each_sync_is_counted_with_those_who_wait_for_it() {
    let (_disk, store) = fresh();
    let syncs = |store: &Store| {
        let log = store.statistics().unwrap().log;
        assert_eq!(log.sync_latency.count(), log.sync_waiters.count());
        (log.sync_waiters.count(), log.sync_waiters.sum)
    };
    let (count, waiters) = syncs(&store);
    (0..10).for_each(|round| store.put("key", [round; 10]).unwrap());
    assert_eq!(syncs(&store), (count + 10, waiters + 10));
    // Nothing to be synced.
    store.sync().unwrap();
    assert_eq!(syncs(&store), (count + 10, waiters + 10));
}

/// However they meet, everyone who waits is counted once.
#[test]
fn many_who_wait_are_each_counted_once() {
    let disk = SimDisk::new();
    let options = Options { background: true, durable: false, segment_size: 10_000, ..options() };
    let store = Store::open_on(Arc::new(disk), options).unwrap();
    store.sync().unwrap();
    let before = store.statistics().unwrap().log.sync_waiters;
    let (all, barrier) = (8 * 50, Barrier::new(8));
    let (done, answers) = mpsc::channel();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (store, barrier, done) = (&store, &barrier, done.clone());
            scope.spawn(move || {
                barrier.wait();
                for round in 0..50 {
                    store.put(format!("key{thread}"), [round; 10]).unwrap();
                    let done = done.clone();
                    store.when_durable(store.written(), Box::new(move |result| done.send(result.is_ok()).unwrap()));
                }
            });
        }
    });
    assert!((0..all).all(|_| answers.recv().unwrap()));
    let after = store.statistics().unwrap().log.sync_waiters;
    let (waiters, syncs) = (after.sum - before.sum, after.count() - before.count());
    // Who finds it durable already did not wait.
    assert!(waiters <= all as u64 && waiters > 0 && syncs > 0, "{waiters} in {syncs}");
}

#[test]
fn names_of_the_mount_are_not_given_out() {
    let (_disk, store) = fresh();
    store.put("key", "value").unwrap();
    for name in RESERVED.map(|name| std::str::from_utf8(name).unwrap()) {
        let refused = |result: Result<(), Error>| {
            let error = result.unwrap_err();
            assert!(error.to_string().contains("reserved") && error.errno() == libc::EPERM, "{error}");
        };
        refused(store.put(name, "value"));
        refused(store.put(format!("{name}/key"), "value"));
        refused(store.put_reader(name, &mut [2; 300_000].as_slice()));
        refused(store.rename("key", name));
        store.put(format!("below/{name}"), "further down they are names like any other").unwrap();
    }
    assert_eq!(keys(&store), ["below", "below/.caskfs", "below/.snapshots", "key"]);
}
