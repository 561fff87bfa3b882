//! What goes on beside the callers, and what it must not keep them from.

use std::ops::ControlFlow;
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::log::Error as LogError;
use crate::medium::Medium;
use crate::store::Error;

/// Longer than anything here takes: whoever hangs, hangs for ever.
const WATCHDOG: Duration = Duration::from_secs(60);

/// Runs it on a thread of its own, which must come back.
fn in_time(name: &str, work: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        work();
        done.send(()).unwrap();
    });
    match ended.recv_timeout(WATCHDOG) {
        Ok(()) => thread.join().unwrap(),
        Err(mpsc::RecvTimeoutError::Disconnected) => thread.join().unwrap(),
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{name} hangs"),
    }
}

/// The thread that has a transaction open asks for something.
fn while_in_transaction(name: &'static str, ask: impl Fn(&Store) -> Result<bool, Error> + Sync) {
    for background in [false, true] {
        let disk = SimDisk::new();
        let store = Store::open_on(Arc::new(disk.clone()), Options { background, ..options() }).unwrap();
        (0..30u8).for_each(|key| store.put(format!("{key}"), vec![key; 100]).unwrap());
        let store = Arc::new(store);
        let answer = Arc::new(parking_lot::Mutex::new(None));
        let (asked, result) = (Arc::clone(&store), Arc::clone(&answer));
        // By address, since the test runs it once for each kind of store.
        std::thread::scope(|scope| {
            let (done, ended) = mpsc::channel();
            let ask = &ask;
            scope.spawn(move || {
                let transaction = asked.begin().unwrap();
                *result.lock() = Some(ask(&asked));
                drop(transaction);
                done.send(()).unwrap();
            });
            if ended.recv_timeout(WATCHDOG) == Err(mpsc::RecvTimeoutError::Timeout) {
                // The scope would wait for it.
                eprintln!("{name} hangs while the same thread has a transaction open");
                std::process::abort();
            }
        });
        match answer.lock().take().unwrap() {
            Ok(worked) => assert!(worked, "{name}"),
            Err(Error::Log(LogError::InTransaction)) => {}
            Err(error) => panic!("{name}: {error}"),
        }
        // The store goes on, whatever was said.
        store.put("after", "1").unwrap();
        assert!(store.snapshot("after").is_ok());
    }
}

#[test]
fn figures_and_syncs_need_no_end_of_a_transaction() {
    while_in_transaction("written", |store| Ok(store.written() > 0));
    while_in_transaction("info", |store| Ok(store.info()?.segments > 3));
    while_in_transaction("statistics", |store| Ok(store.statistics()?.log.rotations > 3));
    while_in_transaction("sync", |store| store.sync().map(|()| store.info().unwrap().durable == store.written()));
    while_in_transaction("verify", |store| Ok(store.verify(&mut |_| ControlFlow::Continue(())).is_some()));
}

/// What needs the writer says so, and has changed nothing.
#[test]
fn what_would_wait_for_its_own_thread_is_refused() {
    let refused = |result: Result<(), Error>| match result {
        Err(Error::Log(LogError::InTransaction)) => Ok(true),
        other => panic!("{other:?}"),
    };
    while_in_transaction("snapshot", move |store| {
        let result = refused(store.snapshot("one").map(drop));
        assert_eq!(store.snapshots().unwrap(), []);
        result
    });
    while_in_transaction("begin", move |store| refused(store.begin().map(drop)));
    while_in_transaction("put", move |store| refused(store.put("k", "v")));
    while_in_transaction("remove", move |store| refused(store.remove("1").map(drop)));
    while_in_transaction("stage", move |store| refused(store.stage(id(store, "1"), 0, 0, b"x").map(drop)));
    while_in_transaction("merge", move |store| refused(store.merge_run(0, 2).map(drop)));
}

/// Other threads wait for the transaction's end, as ever.
#[test]
fn another_thread_waits_for_the_transaction() {
    in_time("the other thread", || {
        let (_, store) = fresh();
        let store = Arc::new(store);
        let transaction = store.begin().unwrap();
        let other = Arc::clone(&store);
        let writer = std::thread::spawn(move || other.put("k", "v"));
        drop(transaction);
        writer.join().unwrap().unwrap();
        assert_eq!(store.get("k").unwrap().unwrap(), b"v");
    });
}

/// Waits until it is so. The watchdog ends it if it never is.
fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// One error ended it until the next start.
#[test]
fn merging_goes_on_after_an_error() {
    in_time("merging", || {
        let disk = SimDisk::new();
        // A third of each segment is live, and a hint is small beside that.
        let with = |background| Options { background, segment_size: 64 << 10, ..options() };
        let store = Store::open_on(Arc::new(disk.clone()), with(false)).unwrap();
        (0..30u8).for_each(|key| store.put(format!("{key}"), vec![key; 20_000]).unwrap());
        (0..30u8).filter(|key| key % 3 > 0).for_each(|key| assert!(store.remove(format!("{key}")).unwrap()));
        drop(store);
        // There is room for a start, and for no merge.
        disk.remove("reserve").unwrap();
        let space = disk.space().unwrap();
        let manifest = disk.file("manifest").unwrap().len() as u64;
        disk.set_capacity(Some(space.total - space.free + manifest + 300));
        let store = Store::open_on(Arc::new(disk.clone()), with(true)).unwrap();
        let trouble = || store.info().unwrap().background_trouble;
        until(|| trouble().is_some_and(|trouble| trouble.contains("merging: no space")));
        assert_eq!((store.merge_statistics().merges, store.info().unwrap().failure), (0, None));
        disk.set_capacity(None);
        until(|| store.merge_statistics().merges > 0 && trouble().is_none());
        let kept = (0..30u8).filter(|key| key % 3 == 0);
        kept.for_each(|key| assert!(store.get(format!("{key}")).unwrap() == Some(vec![key; 20_000])));
    });
}

/// One error ended it until the next start, and the segment that it met had never got one.
#[test]
fn hints_are_written_after_an_error() {
    in_time("hints", || {
        let disk = SimDisk::new();
        let store = Store::open_on(Arc::new(disk.clone()), Options { background: true, ..options() }).unwrap();
        // What stands in the way of the first hint.
        disk.create_dir("segments/00000001.hint.tmp").unwrap();
        (0..40u8).for_each(|key| store.put(format!("{key}"), vec![key; 100]).unwrap());
        let trouble = || store.info().unwrap().background_trouble;
        until(|| trouble().is_some_and(|trouble| trouble.contains("writing hints")));
        disk.remove_dir("segments/00000001.hint.tmp").unwrap();
        until(|| trouble().is_none() && disk.file("segments/00000001.hint").is_some());
        assert_eq!(store.info().unwrap().failure, None);
    });
}

/// The callers of a mount may be event loops.
#[test]
fn the_next_segment_is_there_before_it_is_needed() {
    in_time("preparing", || {
        let disk = SimDisk::new();
        let options = Options { background: true, durable: false, segment_size: 4096, ..options() };
        let store = Store::open_on(Arc::new(disk), options).unwrap();
        store.put("k", vec![1; 3000]).unwrap();
        for round in 0..40u8 {
            // As soon as one was used the next is made, and not after a second.
            while !store.log.is_prepared() {
                std::thread::yield_now();
            }
            store.put("k", vec![round; 3000]).unwrap();
        }
        let log = store.statistics().unwrap().log;
        assert!(log.rotations >= 40, "{log:?}");
        assert!(log.segments_awaited <= 1, "{log:?}");
    });
}

/// A writer that outruns its disk has few segments open.
#[test]
fn segments_that_wait_to_be_sealed_are_bounded() {
    let disk = SimDisk::new();
    let store = Store::open_on(Arc::new(disk), Options { durable: false, ..options() }).unwrap();
    for round in 0..200u32 {
        store.put("k", vec![round as u8; 400]).unwrap();
        let info = store.info().unwrap();
        assert!(info.written - info.durable <= 60, "{round}: {info:?}");
    }
}
