//! Repair: whatever happened to the files, the store opens again and is clean, nothing is deleted, and what every key
//! shows is what could be read of it before.

use std::collections::BTreeMap;

use super::damage::{find, marked};
use super::{fresh, keys, options, reopen, share};
use crate::medium::{Medium, SimDisk};
use crate::store::{Options, RepairMode, RepairReport, Store};
use std::sync::Arc;

/// What each key shows; `None` for `EIO`.
pub(super) type Shown = BTreeMap<String, Option<Vec<u8>>>;

pub(super) fn shown(store: &Store) -> Shown {
    let is_file = |key: &String| store.stat(key).unwrap().unwrap().attributes.kind == crate::store::Kind::File;
    let names = keys(store).into_iter().filter(is_file);
    names
        .map(|key| {
            let value = store.get(&key);
            assert!(value.as_ref().err().is_none_or(|error| error.errno() == libc::EIO), "{value:?}");
            (key, value.ok().flatten())
        })
        .collect()
}

/// A closed store of several segments: values that were replaced, keys that were removed and renamed, a value in many
/// records.
fn filled() -> (SimDisk, Shown) {
    let (disk, store) = fresh();
    for round in 0..3 {
        for key in 0..5 {
            store.put(format!("dir/k{key}"), marked(&format!("round {round} of {key}"), 120)).unwrap();
        }
        store.put(format!("gone{round}"), marked(&format!("removed {round}"), 90)).unwrap();
    }
    store.put("large", [marked("first of large", 131_072), marked("second of large", 131_072)].concat()).unwrap();
    (0..3).for_each(|round| assert!(store.remove(format!("gone{round}")).unwrap()));
    store.rename("dir/k0", "moved").unwrap();
    share(&store, "dir/k1", "shared");
    let shown = shown(&store);
    assert_eq!(shown.len(), 7);
    drop(store);
    (disk, shown)
}

/// The same, with hints.
fn hinted() -> (SimDisk, Shown) {
    let (disk, whole) = filled();
    reopen(&disk).write_hints().unwrap();
    (disk, whole)
}

pub(super) fn files(disk: &SimDisk) -> BTreeMap<String, Vec<u8>> {
    disk.paths().into_iter().map(|path| (path.clone(), disk.file(&path).unwrap())).collect()
}

fn run(disk: &SimDisk, dry_run: bool) -> RepairReport {
    Store::repair_on(Arc::new(disk.clone()), options(), RepairMode { dry_run, give_up_unread: true }, &mut |_| {})
        .unwrap()
}

/// Repairs a disk, and checks what holds of every repair.
fn repaired(disk: &SimDisk) -> (RepairReport, Store) {
    let before = files(disk);
    let (report, store) = repaired_from(disk);
    let after = files(disk);
    // The manifest is replaced at every start, a hint goes with a segment, and zeros written ahead are cut off.
    for (path, bytes) in before.iter().filter(|(path, _)| path.ends_with(".log")) {
        let bytes = &bytes[..bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)];
        assert!(after.values().any(|kept| kept.starts_with(bytes)), "{path} is gone");
    }
    (report, store)
}

/// The same, of a disk that cannot be read as a whole.
pub(super) fn repaired_from(disk: &SimDisk) -> (RepairReport, Store) {
    let operations = disk.operations();
    let planned = run(disk, true);
    assert_eq!(disk.operations(), operations, "nothing is changed by asking");
    let report = run(disk, false);
    assert_eq!(report.steps, planned.steps);
    assert_eq!(report.lost_keys, planned.lost_keys);
    if let Some(quarantine) = &report.quarantine {
        assert_eq!(disk.file(&format!("{quarantine}/report")).unwrap(), report.to_string().into_bytes());
    }
    let again = run(disk, true);
    assert_eq!(again.steps, Vec::<String>::new(), "repairing again finds nothing, after {report:?}");
    let store = Store::open_on(Arc::new(disk.clone()), Options { strict: true, ..options() }).unwrap();
    let found = store.verify(&mut |_| std::ops::ControlFlow::Continue(())).unwrap();
    assert!(found.is_clean(), "{found:?} after {report:?}");
    (report, store)
}

#[test]
fn a_whole_store_is_left_alone() {
    let (disk, whole) = filled();
    let before = files(&disk);
    let (report, store) = repaired(&disk);
    assert_eq!(report, RepairReport::default());
    assert_eq!(shown(&store), whole);
    let segments = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(segments(&files(&disk)), segments(&before));
}

/// A flipped bit anywhere: a repair takes the damage away, and shows of each key what could be read before. The values of
/// damaged keys stay `EIO` until they are set anew, through restarts and merges.
#[test]
fn a_flipped_bit_in_any_file() {
    let (disk, whole) = filled();
    let (hinted, _) = hinted();
    for (disk, path, bytes) in
        [disk, hinted].iter().flat_map(|disk| files(disk).into_iter().map(move |(path, bytes)| (disk, path, bytes)))
    {
        // The pieces of the large value are alike.
        let step = if bytes.len() > 100_000 { 9_973 } else { 7 };
        for place in (0..bytes.len() as u64).step_by(step) {
            let disk = disk.restart();
            assert!(disk.corrupt(&path, place, 0x10));
            let opened = Store::open_on(Arc::new(disk.restart()), options());
            let before = opened.as_ref().ok().map(shown);
            drop(opened);
            let (report, store) = repaired(&disk);
            let after = shown(&store);
            assert_eq!(after, before.unwrap_or_else(|| whole.clone()), "{path} {place}: {report:?}");
            let lost: Vec<&String> = after.iter().filter(|(_, value)| value.is_none()).map(|(key, _)| key).collect();
            assert!(lost.iter().all(|key| report.lost_keys.contains(key)), "{path} {place}: {report:?}");
            if let Some(key) = lost.first() {
                store.merge_run(0, 3).unwrap();
                drop(store);
                let store = reopen(&disk);
                assert_eq!(shown(&store), after);
                store.put(key, "set anew").unwrap();
                drop(store);
                assert_eq!(reopen(&disk).get(key).unwrap().unwrap(), b"set anew");
            }
        }
    }
}

#[test]
fn a_truncated_segment() {
    let (disk, _) = filled();
    for (path, bytes) in files(&disk).into_iter().filter(|(path, _)| path.ends_with(".log")) {
        for len in [0, 30, 64, 70, 200, bytes.len() as u64 / 2, bytes.len() as u64 - 1] {
            if len >= bytes.len() as u64 {
                continue;
            }
            let disk = disk.restart();
            disk.open(&path, true).unwrap().set_len(len).unwrap();
            let opened = Store::open_on(Arc::new(disk.restart()), options());
            let before = opened.as_ref().ok().map(shown);
            drop(opened);
            let (report, store) = repaired(&disk);
            if let Some(before) = before {
                assert_eq!(shown(&store), before, "{path} {len}: {report:?}");
            }
        }
    }
}

#[test]
fn a_lost_manifest_or_format_file_loses_nothing() {
    let (disk, whole) = filled();
    for lost in [&["manifest"][..], &["format"], &["manifest", "format"]] {
        let disk = disk.restart();
        lost.iter().for_each(|path| disk.remove(path).unwrap());
        let (report, store) = repaired(&disk);
        assert_eq!(report.steps.len(), lost.len(), "{report:?}");
        assert_eq!(shown(&store), whole);
        store.put("new", "value").unwrap();
        drop(store);
        assert_eq!(reopen(&disk).get("new").unwrap().unwrap(), b"value");
    }
    let empty = SimDisk::new();
    assert!(Store::repair_on(Arc::new(empty.clone()), options(), RepairMode::default(), &mut |_| {}).is_err());
    assert_eq!(empty.paths(), Vec::<String>::new(), "what is no store is left alone");
}

/// A manifest that is cut off looks like one with a torn end, and names some segments only; merged ones are not in the
/// order of their numbers.
#[test]
fn a_manifest_that_is_cut_off_loses_nothing() {
    let (disk, _) = hinted();
    let store = reopen(&disk);
    assert!(store.merge_run(1, 3).unwrap());
    let whole = shown(&store);
    drop(store);
    reopen(&disk).close().unwrap();
    let manifest = disk.file("manifest").unwrap();
    for len in (0..manifest.len()).step_by(20) {
        let disk = disk.restart();
        disk.put_file("manifest", &manifest[..len]);
        let (report, store) = repaired(&disk);
        assert_eq!(shown(&store), whole, "{len}: {report:?}");
    }
}

/// Without a manifest, beside what merges left: what was removed does not come back, and nothing is lost.
#[test]
fn a_lost_manifest_beside_the_files_of_merges() {
    for (first, count, hints) in [(0, 3, false), (0, 3, true), (1, 4, false), (2, 2, true), (0, 8, false)] {
        let (disk, whole) = filled();
        let unmerged = files(&disk);
        let store = reopen(&disk);
        assert!(store.merge_run(first, count).unwrap());
        if hints {
            store.write_hints().unwrap();
        }
        drop(store);
        let merged = files(&disk);
        let inputs: Vec<&String> =
            unmerged.keys().filter(|path| path.ends_with(".log") && !merged.contains_key(*path)).collect();
        assert!(inputs.len() >= 2);
        // The inputs go one by one, the oldest first.
        for gone in 0..=inputs.len() {
            let disk = disk.restart();
            inputs.iter().skip(gone).for_each(|path| disk.put_file(path, unmerged[*path].clone()));
            disk.remove("manifest").unwrap();
            let (report, store) = repaired(&disk);
            assert_eq!(shown(&store), whole, "{first} {count} {gone}: {report:?}");
        }
        // A merge that was cut short: the first bytes of its outputs alone.
        let outputs: Vec<&String> =
            merged.keys().filter(|path| path.ends_with(".log") && !unmerged.contains_key(*path)).collect();
        for part in [1, 2] {
            let disk = disk.restart();
            inputs.iter().for_each(|path| disk.put_file(path, unmerged[*path].clone()));
            for path in outputs.iter().filter(|path| merged[**path].len() > 64) {
                let bytes = &merged[*path];
                disk.put_file(path, &bytes[..64 + (bytes.len() - 64) / part]);
            }
            disk.remove("manifest").unwrap();
            let (report, store) = repaired(&disk);
            assert_eq!(shown(&store), whole, "{first} {count} part {part}: {report:?}");
        }
    }
}

/// Torn transactions were cut off, their numbers given again, and the manifest that says so is lost.
#[test]
fn a_lost_manifest_after_a_torn_tail() {
    let (disk, store) = fresh();
    store.put("k", "old").unwrap();
    drop(store);
    let store = Store::open_on(Arc::new(disk.clone()), Options { durable: false, ..options() }).unwrap();
    store.put("torn", marked("never whole", 100)).unwrap();
    store.put("k", "never acknowledged").unwrap();
    let (path, place) = find(&disk, b"never whole").remove(0);
    let disk = disk.restart();
    std::mem::forget(store);
    assert!(disk.corrupt(&path, place, 1));
    let store = reopen(&disk);
    assert_eq!(store.recovery_report().torn.len(), 1);
    store.put("new", "value").unwrap();
    let whole = shown(&store);
    drop(store);
    disk.remove("manifest").unwrap();
    let (report, store) = repaired(&disk);
    assert_eq!(shown(&store), whole, "{report:?}");
    assert_eq!(store.get("k").unwrap().unwrap(), b"old");
}

#[test]
fn a_missing_segment() {
    let (disk, whole) = filled();
    for path in disk.paths().into_iter().filter(|path| path.ends_with(".log")) {
        let disk = disk.restart();
        disk.remove(&path).unwrap();
        let (report, store) = repaired(&disk);
        assert!(report.steps.iter().any(|step| step.contains(&path)), "{report:?}");
        let large = whole["large"].as_ref().unwrap();
        for (key, value) in shown(&store) {
            match value {
                None => assert!(report.lost_keys.contains(&key), "{path} {key}: {report:?}"),
                Some(value) if key == "large" => assert!(&value == large, "{path}: never a part of it"),
                Some(value) => assert_eq!(value.len(), if key.starts_with("gone") { 90 } else { 120 }, "{path} {key}"),
            }
        }
    }
}

#[test]
fn copies_and_strangers_are_put_aside_and_a_renamed_segment_is_put_back() {
    let (disk, whole) = filled();
    let (other, store) = fresh();
    store.put("alien", "value").unwrap();
    drop(store);
    let alien = other.file("segments/00000001.log").unwrap();
    let segment = disk.file("segments/00000002.log").unwrap();
    for lost in [false, true] {
        let disk = disk.restart();
        disk.put_file("segments/00000002 (copy).log", segment.clone());
        disk.put_file("segments/00000100.log", segment.clone());
        disk.put_file("segments/00000101.log", alien.clone());
        disk.put_file("segments/notes", "no segment");
        disk.rename("segments/00000003.log", "segments/3.log").unwrap();
        if lost {
            disk.remove("manifest").unwrap();
        }
        let (report, store) = repaired(&disk);
        assert_eq!(report.steps.len(), 3 + usize::from(lost), "{report:?}");
        assert_eq!(report.lost_keys, Vec::<String>::new());
        assert_eq!(shown(&store), whole);
        assert_eq!(disk.file("quarantine/1/00000100.log").unwrap(), segment);
        assert_eq!(disk.file("quarantine/1/00000101.log").unwrap(), alien);
        assert_eq!(disk.file("segments/notes").unwrap(), b"no segment", "what bears no segment's name is left alone");
        assert_eq!(disk.file("segments/00000002 (copy).log").unwrap(), segment);
    }
}

#[test]
fn segments_that_have_changed_places_are_put_back() {
    let (disk, whole) = filled();
    let (two, three) = (disk.file("segments/00000002.log").unwrap(), disk.file("segments/00000003.log").unwrap());
    for lost in [false, true] {
        let disk = disk.restart();
        disk.put_file("segments/00000002.log", three.clone());
        disk.put_file("segments/00000003.log", two.clone());
        if lost {
            disk.remove("manifest").unwrap();
        }
        let (report, store) = repaired(&disk);
        assert_eq!(report.steps.len(), 2 + usize::from(lost), "{report:?}");
        assert_eq!(shown(&store), whole);
    }
}

/// In the place of a segment is another one, the segment itself has another name, and is damaged too.
#[test]
fn two_files_of_one_name_both_go_to_the_quarantine() {
    let (disk, _) = filled();
    let (path, place) = find(&disk, b"round 2 of 3").remove(0);
    assert!(disk.corrupt(&path, place, 1));
    let damaged = disk.file(&path).unwrap();
    let other = disk.file("segments/00000002.log").unwrap();
    assert_ne!(path, "segments/00000002.log");
    disk.rename(&path, "segments/elsewhere").unwrap();
    disk.put_file(&path, other.clone());
    let (report, store) = repaired(&disk);
    assert_eq!(report.lost_keys, ["dir/k3"]);
    assert!(store.get("dir/k3").is_err());
    let name = path.strip_prefix("segments/").unwrap();
    assert_eq!(disk.file(&format!("quarantine/1/{name}")).unwrap(), other);
    assert_eq!(disk.file(&format!("quarantine/1/{name}_")).unwrap(), damaged);
}

/// Hints that are missing, damaged, cut off, of another segment, or of none. They cost nothing, and are made anew.
#[test]
fn bad_hints_are_made_anew() {
    let (disk, whole) = hinted();
    let hint = "segments/00000002.hint";
    let bytes = disk.file(hint).unwrap();
    let others = disk.file("segments/00000003.hint").unwrap();
    let flipped: Vec<u8> = bytes.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == 50)).collect();
    for bad in [Vec::new(), bytes[..bytes.len() - 1].to_vec(), others, flipped] {
        let disk = disk.restart();
        disk.put_file(hint, bad.clone());
        let (report, store) = repaired(&disk);
        assert_eq!(report.steps.len(), 1, "{report:?}");
        assert!(report.steps[0].contains(hint), "{report:?}");
        assert_eq!(shown(&store), whole);
        assert_eq!(disk.file(hint).unwrap(), bytes);
        assert_eq!(disk.file("quarantine/1/00000002.hint").unwrap(), bad);
    }
    disk.remove(hint).unwrap();
    let (report, store) = repaired(&disk);
    assert_eq!(report, RepairReport::default(), "a hint that is missing is no damage");
    assert_eq!(shown(&store), whole);
}

/// A hint knows what a damaged record without a value said: nothing is lost.
#[test]
fn what_a_hint_knows_is_not_lost() {
    let (disk, store) = fresh();
    store.put("k", marked("a value that stays", 100)).unwrap();
    store.put("removed", marked("a value that goes", 100)).unwrap();
    store.put("fill", vec![b'1'; 500]).unwrap();
    assert!(store.remove("removed").unwrap());
    store.rename("k", "another-name").unwrap();
    store.put("tail", "1").unwrap();
    store.put("fill", vec![b'2'; 500]).unwrap();
    store.put("fill", vec![b'3'; 500]).unwrap();
    store.write_hints().unwrap();
    let whole = shown(&store);
    assert_eq!(whole.keys().collect::<Vec<_>>(), ["another-name", "fill", "tail"]);
    drop(store);
    // In the segment of the removal and the new name; but not in its last record, by which a hint is known to fit.
    let (path, name) = find(&disk, b"another-name").remove(0);
    assert_eq!(find(&disk, b"tail").remove(0).0, path);
    for place in (64..name + 12).step_by(3) {
        let disk = disk.restart();
        assert!(disk.corrupt(&path, place, 0x20));
        let (report, store) = repaired(&disk);
        assert_eq!(report.lost_keys, Vec::<String>::new(), "{place}: {report:?}");
        assert_eq!(shown(&store), whole, "{place}");
    }
}

/// The medium fails to read a block. The quarantine has what it can read, also where there are no links.
#[test]
fn a_block_that_cannot_be_read() {
    let (disk, whole) = filled();
    let (path, place) = find(&disk, b"first of large").remove(0);
    for links in [true, false] {
        let disk = disk.restart();
        if !links {
            disk.refuse_links();
        }
        assert!(disk.set_bad(&path, place + 50_000..place + 50_001));
        let (report, store) = repaired_from(&disk);
        assert_eq!(report.lost_keys, ["large"]);
        let mut left = shown(&store);
        assert_eq!(left.insert("large".to_owned(), whole["large"].clone()), Some(None));
        assert!(left == whole);
        let kept = disk.file(&path.replace("segments", "quarantine/1")).unwrap();
        let block = (place as usize + 50_000) / 4096 * 4096;
        assert_eq!(kept[block..block + 4096].iter().all(|byte| *byte == 0), !links);
    }
}

/// What was acknowledged last is cut off, where a record ends: only the manifest knows.
#[test]
fn a_log_that_ends_too_early() {
    let (disk, store) = fresh();
    store.put("a", "first").unwrap();
    let path = "segments/00000001.log";
    // Zeros are written ahead.
    let end = disk.file(path).unwrap().iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1;
    store.put("b", "second").unwrap();
    drop(store);
    disk.open(path, true).unwrap().set_len(end.next_multiple_of(8)).unwrap();
    let (report, store) = repaired(&disk);
    assert_eq!(report.steps.len(), 1, "{report:?}");
    assert_eq!(keys(&store), ["a"]);
}

/// The header of the segment that is written to is lost, with nothing behind it that tells what it was.
#[test]
fn a_segment_of_which_nothing_can_be_read() {
    let (disk, store) = fresh();
    store.put("k", "value").unwrap();
    drop(store);
    let path = "segments/00000001.log";
    let len = disk.file(path).unwrap().len();
    disk.put_file(path, vec![b'x'; len]);
    assert!(Store::open_on(Arc::new(disk.clone()), options()).is_err());
    let (report, store) = repaired(&disk);
    assert_eq!(report.steps.len(), 1, "{report:?}");
    assert_eq!(keys(&store), Vec::<String>::new());
    assert_eq!(disk.file("quarantine/1/00000001.log").unwrap(), vec![b'x'; len]);
}

#[test]
fn a_snapshot_is_not_repaired() {
    let (disk, _) = filled();
    let store = reopen(&disk);
    store.snapshot("s").unwrap();
    drop(store);
    for damage in [None, Some(50)] {
        let disk = disk.restart();
        if let Some(place) = damage {
            assert!(disk.corrupt("snapshots/s/manifest", place, 1));
        }
        let before = files(&disk);
        let medium = crate::medium::Subdirectory::new(Arc::new(disk.clone()), "snapshots/s".to_owned());
        let error = Store::repair_on(Arc::new(medium), options(), RepairMode::default(), &mut |_| {}).unwrap_err();
        assert!(matches!(error, crate::store::Error::Log(crate::log::Error::Frozen)), "{error}");
        assert!(files(&disk) == before);
    }
}

/// The power goes at each operation of a repair. What is found then can be repaired, to the same end.
#[test]
fn a_power_cut_at_every_step() {
    let (disk, _) = filled();
    let (bad, place) = find(&disk, b"round 2 of 3").remove(0);
    let (large, middle) = find(&disk, b"second of large").remove(0);
    let segment = disk.file("segments/00000002.log").unwrap();
    for lost in [&["manifest"][..], &["format"], &[], &["segments/00000004.log"]] {
        let disk = disk.power_cut_images(1, 2).remove(1);
        assert!(disk.corrupt(&bad, place, 1) && disk.corrupt(&large, middle, 1));
        disk.put_file("segments/00000100.log", segment.clone());
        disk.rename("segments/00000003.log", "segments/3").unwrap();
        lost.iter().for_each(|path| disk.remove(path).unwrap());
        let disk = disk.power_cut_images(1, 2).remove(1);
        let whole = disk.restart();
        let (report, store) = repaired(&whole);
        assert!(report.lost_keys.contains(&"large".to_owned()), "{report:?}");
        let wanted = shown(&store);
        drop(store);
        let begun = disk.restart();
        run(&begun, false);
        let operations = begun.operations();
        assert!(operations > 20);
        for at in 0..operations {
            let disk = disk.restart();
            disk.fail_at(at, crate::medium::Fault::PowerCut);
            // The last operations are no harm if they fail.
            let _ = Store::repair_on(Arc::new(disk.clone()), options(), RepairMode::default(), &mut |_| {});
            for (number, image) in disk.power_cut_images(at, 3).into_iter().enumerate() {
                let (again, store) = repaired(&image);
                assert_eq!(shown(&store), wanted, "{lost:?} {at} {number}: {again:?}");
                let kept = files(&image).values().any(|bytes| *bytes == segment);
                assert!(kept, "{lost:?} {at} {number}: the copy is gone");
            }
        }
    }
}
