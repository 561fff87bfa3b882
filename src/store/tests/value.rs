//! A read is a view: what is read of a value is of one moment.

use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;

/// A value of which every byte says which one it is, and whose length does too.
fn value(number: usize) -> Vec<u8> {
    vec![number as u8; 100 + number % 256 * 700]
}

/// Others set a key to longer and shorter values, and rename another over it.
#[test]
fn a_get_returns_one_of_the_values_that_there_were() {
    let disk = SimDisk::new();
    let options = Options { durable: false, segment_size: 1 << 20, ..options() };
    let store = Store::open_on(Arc::new(disk), options).unwrap();
    store.put("k", value(0)).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut gets = 0;
            while !done.load(Ordering::Relaxed) {
                let found = store.get("k").unwrap().expect("it is always there");
                assert_eq!(found, value(found[0].into()), "get {gets}");
                gets += 1;
            }
            gets
        });
        for number in 0..600 {
            match number % 3 {
                0 => store.put("k", value(number)).unwrap(),
                _ => {
                    store.put("other", value(number)).unwrap();
                    store.rename("other", "k").unwrap();
                }
            }
            if number % 100 == 99 {
                store.merge_run(0, 2).unwrap();
            }
        }
        done.store(true, Ordering::Relaxed);
        assert!(reading.join().unwrap() > 0);
    });
}

#[test]
fn an_open_value_outlives_changes_removal_and_merges() {
    let (disk, store) = fresh();
    let bytes: Vec<u8> = (0..300_000_u32).map(|byte| (byte / 1000) as u8).collect();
    store.put("k", &bytes).unwrap();
    let mut opened = store.open_value("k").unwrap().unwrap();
    assert_eq!((opened.len(), opened.stat().size, opened.is_empty()), (300_000, 300_000, false));
    let mut front = vec![0; 1_000];
    opened.read_exact(&mut front).unwrap();
    store.put("k", "short").unwrap();
    store.remove("k").unwrap();
    for round in 0..10 {
        store.put("other", vec![round; 1_000]).unwrap();
    }
    store.sync().unwrap();
    let before = disk.paths().len();
    store.compact().unwrap();
    assert!(disk.paths().iter().any(|path| path.contains("00000001.log")), "it is still read");
    let mut rest = Vec::new();
    opened.read_to_end(&mut rest).unwrap();
    assert!([front, rest].concat() == bytes);
    assert_eq!(opened.read_at(299_990, &mut [0; 20]).unwrap(), 10);
    assert_eq!(opened.read_at(1 << 40, &mut [0; 20]).unwrap(), 0);
    drop(opened);
    assert!(!disk.paths().iter().any(|path| path.contains("00000001.log")), "nobody reads it any more");
    assert!(disk.paths().len() < before);
    assert!(store.open_value("k").unwrap().is_none());
}

#[test]
fn holes_are_skipped_and_read_as_zeros() {
    let (_, store) = fresh();
    store.put("k", "front").unwrap();
    let entry = id(&store, "k");
    publish(
        &store,
        entry,
        Update { bytes: vec![(100_000, b"end".as_slice().into())], size: 200_000, ..Update::default() },
    );
    let value = store.open_value("k").unwrap().unwrap();
    assert_eq!(value.next_data(0), Some(0..5));
    assert_eq!(value.next_data(5), Some(100_000..100_003));
    assert_eq!(value.next_data(100_003), None);
    let bytes = value.to_vec().unwrap();
    assert_eq!((bytes.len(), &bytes[..6], &bytes[99_999..100_004]), (200_000, &b"front\0"[..], &b"\0end\0"[..]));
    // Whoever changes the value now has a map of its own.
    publish(&store, entry, Update { holes: vec![(0, 200_000)], size: 200_000, ..Update::default() });
    assert_eq!(value.next_data(0), Some(0..5));
    assert_eq!(store.open_value("k").unwrap().unwrap().next_data(0), None);
}
