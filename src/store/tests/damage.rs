//! Damage is `EIO` that names the key, never wrong bytes, and costs that key alone.

use super::*;
use crate::medium::Medium;
use crate::store::Error;

/// The places of a pattern in the segments: paths and offsets.
pub(super) fn find(disk: &SimDisk, pattern: &[u8]) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for path in disk.paths().into_iter().filter(|path| path.ends_with(".log")) {
        let bytes = disk.file(&path).unwrap();
        let places = bytes.windows(pattern.len()).enumerate().filter(|(_, window)| *window == pattern);
        found.extend(places.map(|(place, _)| (path.clone(), place as u64)));
    }
    found
}

/// The disk as the next process finds it, with one byte wrong, `back` bytes before the only place of a pattern.
fn spoiled(disk: &SimDisk, pattern: &[u8], back: u64) -> SimDisk {
    let disk = disk.restart();
    let places = find(&disk, pattern);
    assert_eq!(places.len(), 1, "{places:?}");
    assert!(disk.corrupt(&places[0].0, places[0].1 - back, 0x40));
    disk
}

/// Where the sequence number stands in the header of the record of which a marker begins the bulk.
fn header(disk: &SimDisk, marker: &[u8]) -> (String, u64) {
    let (path, place) = find(disk, marker).remove(0);
    let bytes = disk.file(&path).unwrap();
    let front_len = |record: u64| u32::from_le_bytes(bytes[record as usize + 32..][..4].try_into().unwrap());
    let records = (64..place - 40).step_by(8);
    let found: Vec<u64> = records.filter(|record| record + 40 + u64::from(front_len(*record)) == place).collect();
    assert_eq!(found.len(), 1, "one record's bulk begins here");
    (path, found[0] + 16)
}

fn names_the_key(result: Result<Option<Vec<u8>>, Error>, key: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.errno(), libc::EIO);
    assert!(matches!(&error, Error::DamagedKey { key: named, .. } if named == key), "{error}");
    assert!(error.to_string().contains(key), "{error}");
}

/// A marker that stands nowhere else.
pub(super) fn marked(marker: &str, len: usize) -> Vec<u8> {
    let mut value = vec![b'.'; len];
    value[..marker.len()].copy_from_slice(marker.as_bytes());
    value
}

#[test]
fn a_value_that_goes_bad_is_refused_while_the_store_is_open() {
    let (disk, store) = fresh();
    for key in ["a", "dir/bad", "z"] {
        store.put(key, marked(&format!("inline of {key}"), 100)).unwrap();
    }
    store.put("large", [marked("first of large", 131_072), marked("second of large", 131_072)].concat()).unwrap();
    for (marker, key) in [("inline of dir/bad", "dir/bad"), ("second of large", "large")] {
        let (path, place) = find(&disk, marker.as_bytes()).remove(0);
        assert!(disk.corrupt(&path, place, 1));
        names_the_key(store.get(key), key);
        assert!(disk.corrupt(&path, place, 1), "put right again");
        assert!(store.get(key).is_ok(), "nothing is remembered of a medium that is right again");
        assert!(disk.corrupt(&path, place, 1));
    }
    // The first half of the large one is as it was written, and can be had.
    let mut half = vec![0; 131_072];
    store.read(id(&store, "large"), 0, &mut half).unwrap();
    assert!(half == marked("first of large", 131_072));
    assert!(store.read(id(&store, "large"), 131_000, &mut half).is_err());
    for key in ["a", "z"] {
        assert!(store.get(key).is_ok());
    }
    store.put("dir/bad", "set anew").unwrap();
    assert_eq!(store.get("dir/bad").unwrap().unwrap(), b"set anew");
}

#[test]
fn an_inline_value_that_is_damaged_at_the_start_is_refused() {
    let (disk, store) = fresh();
    store.put("dir/k", "the first value").unwrap();
    store.put("other", "1").unwrap();
    store.put("dir/k", marked("the second value", 200)).unwrap();
    store.put("other", "2").unwrap();
    drop(store);
    let disk = spoiled(&disk, b"the second value", 0);
    for _ in 0..2 {
        let store = reopen(&disk);
        names_the_key(store.get("dir/k"), "dir/k");
        assert_eq!(store.get("other").unwrap().unwrap(), b"2");
        let report = store.recovery_report();
        assert_eq!(report.damaged_keys, ["dir/k"]);
        assert_eq!((report.damage.len(), report.torn.len()), (1, 0));
    }
    // A change of attributes or names alone does not make the value right.
    let store = reopen(&disk);
    store.rename("dir/k", "moved").unwrap();
    names_the_key(store.get("moved"), "moved");
    drop(store);
    let store = reopen(&disk);
    names_the_key(store.get("moved"), "moved");
    store.put("moved", "a new value").unwrap();
    assert_eq!(store.get("moved").unwrap().unwrap(), b"a new value");
    drop(store);
    let store = reopen(&disk);
    assert_eq!(store.get("moved").unwrap().unwrap(), b"a new value");
}

/// A piece of a long value is damaged before the record that publishes it is read.
#[test]
fn a_long_value_with_a_damaged_piece_is_refused() {
    // Whether the body or the header of the piece is hit, the key new or not, and the value changed since or not.
    let header = 16 + 20;
    for (back, old, patched) in
        [(0, false, false), (0, true, false), (0, true, true), (header, false, false), (header, true, true)]
    {
        let (disk, store) = fresh();
        if old {
            store.put("k", "an old value").unwrap();
        }
        let value = [marked("first piece", 131_072), marked("second piece", 131_072), vec![b'x'; 100]].concat();
        store.put("k", &value).unwrap();
        if patched {
            let bytes = vec![(10, b"patch".into())];
            publish(&store, id(&store, "k"), Update { bytes, size: value.len() as u64, ..Update::default() });
        }
        store.put("other", "1").unwrap();
        drop(store);
        let disk = spoiled(&disk, b"second piece", back);
        let store = reopen(&disk);
        names_the_key(store.get("k"), "k");
        assert_eq!(store.get("other").unwrap().unwrap(), b"1");
        assert_eq!(store.recovery_report().damaged_keys, ["k"], "{back} {old} {patched}");
        store.put("k", "healed").unwrap();
        drop(store);
        let store = reopen(&disk);
        assert_eq!(store.get("k").unwrap().unwrap(), b"healed");
    }
}

/// The record of a value is lost altogether, and only a later record of the same key, without a value, is there.
#[test]
fn a_value_whose_record_is_lost_is_refused_if_a_later_record_tells() {
    for old in [false, true] {
        let (disk, store) = fresh();
        if old {
            store.put("k", "an old value").unwrap();
        }
        store.put("k", "the value that is lost").unwrap();
        let (path, place) = header(&disk, b"the value that is lost");
        store.rename("k", "l").unwrap();
        store.put("other", "1").unwrap();
        drop(store);
        let disk = disk.restart();
        assert!(disk.corrupt(&path, place, 1));
        let store = reopen(&disk);
        names_the_key(store.get("l"), "l");
        assert_eq!(store.get("other").unwrap().unwrap(), b"1");
        assert_eq!(store.recovery_report().damage.len(), 1);
    }
}

#[test]
fn a_lost_directory_gives_its_children_another_name() {
    let (disk, store) = fresh();
    store.put("unique-directory/a", "1").unwrap();
    store.put("unique-directory/b", "2").unwrap();
    store.put("other", "3").unwrap();
    drop(store);
    // Every record of the directory itself goes bad.
    let disk = disk.restart();
    for (path, place) in find(&disk, b"unique-directory") {
        assert!(disk.corrupt(&path, place, 1));
    }
    let store = reopen(&disk);
    let report = store.recovery_report();
    assert_eq!(report.lost_directories.len(), 1, "{report:?}");
    let name = report.lost_directories[0].clone();
    assert_eq!(store.get(format!("{name}/a")).unwrap().unwrap(), b"1");
    assert_eq!(store.get(format!("{name}/b")).unwrap().unwrap(), b"2");
    assert_eq!(store.get("other").unwrap().unwrap(), b"3");
    store.rename(&name, "found").unwrap();
    drop(store);
    let store = reopen(&disk);
    assert_eq!(keys(&store), ["found", "found/a", "found/b", "other"]);
}

/// Wherever a byte of the log is wrong: every key has the value that was put last, an older one, none or `EIO`; but
/// never bytes that nobody has put, and at most one key is touched by it.
#[test]
fn no_damage_makes_wrong_bytes() {
    let (disk, store) = fresh();
    let value = |key: usize, round: usize| vec![(16 * key + round) as u8; 30 + 3 * key];
    for round in 0..3 {
        (0..5).for_each(|key| store.put(format!("k{key}"), value(key, round)).unwrap());
    }
    drop(store);
    for path in disk.paths().into_iter().filter(|path| path.ends_with(".log")) {
        let len = disk.file(&path).unwrap().len();
        for place in (0..len as u64).step_by(3) {
            let disk = disk.restart();
            assert!(disk.corrupt(&path, place, 0x08));
            let store = reopen(&disk);
            let mut touched = 0;
            for key in 0..5 {
                let name = format!("k{key}");
                match store.get(&name) {
                    Ok(Some(found)) if found == value(key, 2) => continue,
                    Ok(Some(found)) => assert!((0..2).any(|round| found == value(key, round)), "{path} {place}"),
                    Ok(None) => {}
                    Err(error) => assert_eq!(error.errno(), libc::EIO),
                }
                touched += 1;
            }
            assert!(touched <= 1, "{path} {place}: {touched} keys");
            let report = store.recovery_report();
            assert!(touched == 0 || report.damage.len() + report.torn.len() == 1, "{path} {place}: {report:?}");
        }
    }
}

/// After a merge the record that brought a value may be gone, and its bytes stand alone. That is no loss, though an
/// unreadable record came later, and a record of the key's attributes later still.
#[test]
fn an_unreadable_record_costs_no_key_that_was_merged() {
    let (disk, store) = fresh();
    store.put("k", marked("a value that was merged", 200)).unwrap();
    // What is large fills segments of its own.
    store.put("large", vec![b'x'; 1000]).unwrap();
    store.put("victim", marked("a value that is lost", 900)).unwrap();
    store.put("large", vec![b'y'; 1000]).unwrap();
    store.rename("k", "l").unwrap();
    for round in 0..10 {
        store.put("fill", vec![round; 500]).unwrap();
    }
    assert!(store.merge_run(0, 2).unwrap());
    let places = find(&disk, b"a value that was merged");
    assert_eq!(places.len(), 1, "merged, and the original is gone");
    assert_eq!(store.get("l").unwrap().unwrap(), marked("a value that was merged", 200));
    drop(store);
    let (path, place) = header(&disk, b"a value that is lost");
    let disk = disk.restart();
    assert!(disk.corrupt(&path, place, 1));
    let store = reopen(&disk);
    assert_eq!(store.recovery_report().damage.len(), 1);
    assert_eq!(store.get("victim").unwrap(), None);
    assert_eq!(store.get("l").unwrap().unwrap(), marked("a value that was merged", 200));
    assert_eq!(store.recovery_report().damaged_keys, Vec::<String>::new());
}

/// A strict start refuses damage, names the keys, and changes nothing; a torn tail it takes.
#[test]
fn a_strict_start_refuses_damage_and_changes_nothing() {
    let strict = || Options { strict: true, ..options() };
    let (disk, store) = fresh();
    store.put("dir/k", "the first value").unwrap();
    store.put("dir/k", marked("a value that goes bad", 200)).unwrap();
    store.put("other", "1").unwrap();
    drop(store);
    drop(Store::open_on(Arc::new(disk.clone()), strict()).unwrap());
    let disk = spoiled(&disk, b"a value that goes bad", 0);
    let before: Vec<_> = disk.paths().into_iter().map(|path| disk.file(&path)).collect();
    let operations = disk.operations();
    let error = Store::open_on(Arc::new(disk.clone()), strict()).unwrap_err();
    assert!(matches!(&error, Error::Strict(refusal) if refusal.0.damaged_keys == ["dir/k"]), "{error}");
    assert!(error.to_string().contains("dir/k") && error.to_string().contains("caskfs verify"), "{error}");
    assert_eq!(error.errno(), libc::EIO);
    assert_eq!(disk.operations(), operations);
    assert!(before == disk.paths().into_iter().map(|path| disk.file(&path)).collect::<Vec<_>>());
    assert_eq!(reopen(&disk).get("other").unwrap().unwrap(), b"1", "others are not so strict");

    let (disk, store) = fresh();
    store.put("k", "acknowledged").unwrap();
    drop(store);
    // Bytes of a transaction that was never whole.
    let path = disk.paths().into_iter().find(|path| path.ends_with("1.log")).unwrap();
    let file = disk.open(&path, true).unwrap();
    file.write_all_at(&[0x55; 100], file.len().unwrap()).unwrap();
    let store = Store::open_on(Arc::new(disk), strict()).unwrap();
    assert_eq!(store.recovery_report().torn.len(), 1);
    assert_eq!(store.get("k").unwrap().unwrap(), b"acknowledged");
}
