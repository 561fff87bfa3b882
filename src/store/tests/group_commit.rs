//! Many who wait share few syncs.

use std::sync::mpsc;

use super::*;
use crate::medium::Fault;
use crate::store::Error;

fn with_thread(disk: &SimDisk) -> Store {
    let options = Options { background: true, segment_size: 10_000, ..options() };
    Store::open_on(Arc::new(disk.clone()), options).unwrap()
}

#[test]
fn writers_on_many_threads_are_all_durable() {
    let disk = SimDisk::new();
    let store = with_thread(&disk);
    let (store_ref, disk_ref) = (&store, &disk);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || {
                for round in 0..50 {
                    let key = format!("t{thread}/k{}", round % 5);
                    store_ref.put(&key, format!("{round}")).unwrap();
                    if round % 25 == 24 {
                        let image = disk_ref.power_cut_images(round, 1).remove(0);
                        assert_eq!(reopen(&image).get(&key).unwrap().unwrap(), format!("{round}").as_bytes());
                    }
                }
            });
        }
    });
    let info = store.info().unwrap();
    assert_eq!(info.durable, info.written);
    drop(store);
    let store = reopen(&disk);
    assert_eq!(keys(&store).len(), 8 * 6);
    assert!((0..8).all(|thread| store.get(format!("t{thread}/k4")).unwrap().unwrap() == b"49"));
}

#[test]
fn callbacks_are_called_when_it_is_durable() {
    for background in [false, true] {
        let disk = SimDisk::new();
        let options = Options { background, durable: false, ..options() };
        let store = Store::open_on(Arc::new(disk.clone()), options).unwrap();
        let (done, answers) = mpsc::channel();
        for round in 0..50 {
            store.put("k", format!("{round}")).unwrap();
            let (done, disk) = (done.clone(), disk.clone());
            let check = move |result: Result<(), Error>| {
                let image = disk.power_cut_images(0, 1).remove(0);
                let value = reopen(&image).get("k").unwrap().unwrap();
                let found: u32 = String::from_utf8(value).unwrap().parse().unwrap();
                done.send((result.is_ok(), found >= round)).unwrap();
            };
            store.when_durable(store.written(), Box::new(check));
        }
        for _ in 0..50 {
            assert_eq!(answers.recv().unwrap(), (true, true));
        }
    }
}

#[test]
fn whoever_waits_hears_of_the_failure() {
    for background in [false, true] {
        let disk = SimDisk::new();
        let options = Options { background, durable: false, ..options() };
        let store = Store::open_on(Arc::new(disk.clone()), options).unwrap();
        store.put("k", "1").unwrap();
        store.sync().unwrap();
        // Every operation from here on fails, so that the sync does, whenever it comes.
        (0..1000).for_each(|nth| disk.fail_at(disk.operations() + nth, Fault::Io));
        let sequence = store.written() + 1;
        let (done, answers) = mpsc::channel();
        let error = store.put("k", "2").and_then(|()| store.wait(sequence)).unwrap_err();
        assert_eq!(error.errno(), libc::EIO);
        for _ in 0..3 {
            let done = done.clone();
            store.when_durable(sequence, Box::new(move |result| done.send(result).unwrap()));
            assert_eq!(answers.recv().unwrap().unwrap_err().errno(), libc::EIO);
        }
        let failure = store.info().unwrap().failure.unwrap();
        assert!(failure.contains("Input/output error"), "{failure}");
        assert!(store.is_read_only());
        assert_eq!(store.put("k", "3").unwrap_err().errno(), libc::EIO);
        assert_eq!(store.check_writable().unwrap_err().errno(), libc::EIO);
        let stayed = store.get("k").unwrap().unwrap();
        assert!(stayed == b"1" || stayed == b"2");
        let next = reopen(&disk.restart());
        next.put("k", "4").unwrap();
        assert_eq!(next.get("k").unwrap().unwrap(), b"4");
    }
}
