//! Verifying: what is damaged is found while the store is open, and the keys that it costs are named.

use std::ops::ControlFlow;

use super::damage::{find, marked};
use super::{fresh, options, reopen};
use crate::log::Defect;
use crate::medium::{Medium, SimDisk};
use crate::store::{Options, Progress, Store, VerifyReport};

fn verify(store: &Store) -> VerifyReport {
    store.verify(&mut |_| ControlFlow::Continue(())).unwrap()
}

/// A store of several segments, with values that were replaced.
fn filled() -> (SimDisk, Store) {
    let (disk, store) = fresh();
    for round in 0..3 {
        for key in 0..6 {
            store.put(format!("dir/k{key}"), marked(&format!("round {round} of {key}"), 120)).unwrap();
        }
    }
    store.put("large", [marked("first of large", 131_072), marked("second of large", 131_072)].concat()).unwrap();
    (disk, store)
}

#[test]
fn a_whole_store_is_clean() {
    let (disk, store) = filled();
    let mut last = Progress { done: 0, total: 0 };
    let report = store
        .verify(&mut |progress| {
            assert!(progress.done >= last.done && progress.done <= progress.total);
            last = progress;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(last.done, last.total);
    assert_eq!(report.bytes, store.info().unwrap().log_bytes);
    assert_eq!(report.segments, store.info().unwrap().segments);
    assert!(report.records >= 20);
    assert_eq!(store.verify(&mut |_| ControlFlow::Break(())), None, "it can be stopped");
    // What a merge leaves, and what a reader sees, is clean too.
    assert!(store.merge_run(0, 3).unwrap());
    assert!(verify(&store).is_clean());
    let (bytes, records) = (verify(&store).bytes, verify(&store).records);
    drop(store);
    let reader = Store::open_on(std::sync::Arc::new(disk), Options { read_only: true, ..options() }).unwrap();
    let report = verify(&reader);
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.bytes, report.records), (bytes, records));
}

/// Each byte that a reader looks at, of each file, is checked: whichever is wrong, it is told where, while the store is
/// open and when a reader opens it.
#[test]
fn every_flipped_bit_is_found_and_placed() {
    let (disk, store) = fresh();
    for key in 0..4 {
        store.put(format!("k{key}"), vec![key as u8; 100 + 3 * key]).unwrap();
    }
    store.put("k0", "short").unwrap();
    let spans: Vec<(String, u64)> =
        store.log.spans().iter().map(|span| (format!("segments/{:08}.log", span.id()), span.end)).collect();
    let manifest = disk.file("manifest").unwrap().len() as u64;
    let format = disk.file("format").unwrap().len() as u64;
    assert!(spans.len() > 1);
    for (path, end) in spans.into_iter().chain([("manifest".into(), manifest), ("format".into(), format)]) {
        for place in 0..end {
            // Padding behind a body, and the zeros of an entry, are looked at by nobody.
            assert!(disk.corrupt(&path, place, 0x10));
            let report = verify(&store);
            assert!(disk.corrupt(&path, place, 0x10));
            let found = |defect: &Defect| {
                let end = if defect.len == 0 { u64::MAX } else { defect.offset + defect.len };
                defect.file == path && (defect.offset..end).contains(&place)
            };
            let padding = path.starts_with("segments/") && is_padding(&disk, &path, place);
            assert_eq!(
                report.defects.iter().filter(|defect| found(defect)).count(),
                usize::from(!padding),
                "{path} {place}: {report:?}"
            );
            assert_eq!(report.defects.len(), usize::from(!padding), "{path} {place}: {report:?}");
            assert!(report.damaged_keys.len() <= 1, "{path} {place}: {report:?}");
        }
    }
    assert!(verify(&store).is_clean());
}

/// Whether a byte is the padding behind a record: then the body ends before it, by the record's own length.
fn is_padding(disk: &SimDisk, path: &str, place: u64) -> bool {
    let bytes = disk.file(path).unwrap();
    let mut offset = 64;
    while offset + 40 <= bytes.len() {
        let body = u32::from_le_bytes(bytes[offset + 8..offset + 12].try_into().unwrap()) as usize;
        let next = (offset + 40 + body).next_multiple_of(8);
        if (place as usize) < next {
            return place as usize >= offset + 40 + body;
        }
        offset = next;
    }
    false
}

#[test]
fn damaged_keys_are_named_and_dead_records_harm_none() {
    let (disk, store) = filled();
    let hit = |marker: &str| {
        let (path, place) = find(&disk, marker.as_bytes()).remove(0);
        assert!(disk.corrupt(&path, place, 1));
    };
    hit("round 2 of 3");
    hit("second of large");
    hit("round 0 of 1");
    let report = verify(&store);
    assert_eq!(report.damaged_keys, ["dir/k3", "large"]);
    assert_eq!(report.defects.len(), 3, "the dead record is damage too");
    assert!(report.defects.iter().all(|defect| defect.entry.is_some()));
    // After a start too, when the keydir does not point there any more.
    drop(store);
    let store = reopen(&disk);
    assert_eq!(verify(&store).damaged_keys, ["dir/k3", "large"]);
    store.put("dir/k3", "anew").unwrap();
    store.remove("large").unwrap();
    let report = verify(&store);
    assert_eq!(report.damaged_keys, Vec::<String>::new());
    assert_eq!(report.defects.len(), 3);
}

#[test]
fn what_cannot_be_read_is_damage() {
    let (disk, store) = filled();
    let (path, _) = find(&disk, b"round 2 of 3").remove(0);
    disk.set_read_fault(&path, true);
    let report = verify(&store);
    assert!(report.defects.iter().all(|defect| defect.file == path) && !report.defects.is_empty(), "{report:?}");
    assert!(report.damaged_keys.contains(&"dir/k3".to_owned()), "{report:?}");
    disk.set_read_fault(&path, false);
    assert!(verify(&store).is_clean());
}

#[test]
fn a_file_that_is_cut_off_or_gone_is_damage() {
    let (disk, store) = filled();
    let path = "segments/00000002.log";
    let whole = disk.file(path).unwrap();
    disk.open(path, true).unwrap().set_len(100).unwrap();
    let report = verify(&store);
    assert!(!report.damaged_keys.is_empty() || !report.defects.is_empty());
    let last = report.defects.last().unwrap();
    assert_eq!((last.file.as_str(), last.offset + last.len), (path, whole.len() as u64));
    disk.open(path, true).unwrap().write_all_at(&whole, 0).unwrap();
    assert!(verify(&store).is_clean());
    disk.remove(path).unwrap();
    let report = verify(&store);
    assert_eq!(report.defects.len(), 1);
    assert!(report.defects[0].what.contains("cannot be opened"), "{report:?}");
}

/// A store is verified while others write and merge: nothing of that looks like damage.
#[test]
fn a_store_that_is_written_to_is_clean() {
    let (_disk, store) = filled();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for round in 0..300 {
                store.put(format!("w{}", round % 20), marked(&format!("write {round}"), 100)).unwrap();
                if round % 30 == 0 {
                    store.merge_run(0, 4).unwrap();
                }
            }
        });
        while !writer.is_finished() {
            let report = verify(&store);
            assert!(report.is_clean(), "{report:?}");
        }
        writer.join().unwrap();
    });
}
