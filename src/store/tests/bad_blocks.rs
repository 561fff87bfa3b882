//! Blocks that the medium fails to read: what a repair saves around them.

use std::sync::Arc;

use super::damage::{find, marked};
use super::repair::{Shown, files, repaired_from, shown};
use super::{SimDisk, Store, options};
use crate::store::{Error, Options};

const BLOCK: u64 = 4096;
/// A node record's header and front, which have a name of a few bytes, are not longer.
const BEFORE: u64 = 150;

fn large() -> Options {
    Options { segment_size: 40_000, ..options() }
}

fn value(key: &str) -> Vec<u8> {
    marked(&format!("value of {key}!"), if key == "dir/large" { 14_000 } else { 1_000 })
}

/// How a store was left.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Left {
    Closed,
    /// Killed after its last sync.
    Killed,
    /// Killed before it, with much to be synced, so that no segment behind the first is sealed.
    Unsynced,
}

/// A store of three segments, the first of them with a hint.
fn filled(left: Left) -> (SimDisk, Shown) {
    let disk = SimDisk::new();
    let open = |durable| Store::open_on(Arc::new(disk.clone()), Options { durable, ..large() }).unwrap();
    let mut store = open(true);
    let mut names: Vec<String> = (0..82).map(|number| format!("dir/k{number}")).collect();
    names.insert(75, "dir/large".to_owned());
    for (number, key) in names.iter().enumerate() {
        store.put(key, value(key)).unwrap();
        if number == 40 {
            store.write_hints().unwrap();
            drop(store);
            store = open(left != Left::Unsynced);
        }
    }
    let shown = shown(&store);
    assert_eq!(shown.len(), 83);
    let killed = disk.restart();
    drop(store);
    (if left == Left::Closed { disk } else { killed }, shown)
}

/// Whether a part of a key's record is within these bytes of a file.
fn is_hit(disk: &SimDisk, key: &str, path: &str, bytes: &std::ops::Range<u64>) -> bool {
    let len = value(key).len() as u64;
    let places = find(disk, format!("value of {key}!").as_bytes());
    places.iter().any(|(at, place)| at == path && place.saturating_sub(BEFORE) < bytes.end && bytes.start < place + len)
}

fn last_segment(disk: &SimDisk) -> String {
    let holds = |path: &String| !disk.file(path).unwrap()[64..].iter().all(|byte| *byte == 0);
    let mut segments =
        disk.paths().into_iter().filter(|path| path.ends_with(".log") && disk.file(path).unwrap().len() > 64);
    segments.rfind(holds).unwrap()
}

/// Repairs a disk with bad blocks, and checks that this costs what is in them, and nothing else.
fn costs_what_is_in_them(disk: &SimDisk, whole: &Shown, path: &str, bytes: std::ops::Range<u64>) -> usize {
    let context = format!("{path} {bytes:?}");
    let hit: Vec<&String> = whole.keys().filter(|key| is_hit(disk, key, path, &bytes)).collect();
    assert!(disk.set_bad(path, bytes));
    let original = disk.file(path).unwrap();
    let (report, store) = repaired_from(disk);
    let after = shown(&store);
    for (key, value) in whole {
        match after.get(key) {
            Some(found) if found == value => assert!(!report.lost_keys.contains(key), "{context} {key}: {report:?}"),
            // Its header was still there.
            Some(None) => assert!(hit.contains(&key) && report.lost_keys.contains(key), "{context} {key}: {report:?}"),
            Some(Some(_)) => panic!("{context}: another value of {key}"),
            None => assert!(hit.contains(&key), "{context}: {key} is gone: {report:?}"),
        }
    }
    assert!(after.keys().all(|key| whole.contains_key(key)), "{context}");
    let kept = files(disk).into_iter().any(|(place, kept)| place.starts_with("quarantine") && kept == original);
    assert!(kept, "{context}: {report:?}");
    after.values().filter(|value| value.is_none()).count()
}

#[test]
fn each_block_of_each_file_in_turn() {
    for left in [Left::Closed, Left::Killed, Left::Unsynced] {
        let (disk, whole) = filled(left);
        let open = last_segment(&disk);
        let mut named = 0;
        for (path, bytes) in files(&disk).into_iter().filter(|(path, bytes)| !bytes.is_empty() && path != "reserve") {
            // Zeros that are written ahead are all alike.
            let filled = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1);
            for block in 0..(filled.div_ceil(BLOCK) + 2).min((bytes.len() as u64).div_ceil(BLOCK)) {
                let disk = disk.restart();
                let lost = costs_what_is_in_them(&disk, &whole, &path, block * BLOCK..(block + 1) * BLOCK);
                named += lost;
                assert!(path.ends_with(".log") || lost == 0, "{path}");
            }
        }
        assert!(named > 10, "{named}");
        assert!(disk.file(&open).unwrap().len() as u64 > 4 * BLOCK, "several blocks of what was written last");
    }
}

/// As many at once as a dying disk has.
#[test]
fn stretches_of_blocks_of_the_segment_that_is_written_to() {
    let (disk, whole) = filled(Left::Killed);
    let path = last_segment(&disk);
    for (from, to) in [(0, 2), (1, 4), (3, 5), (2, 9)] {
        costs_what_is_in_them(&disk.restart(), &whole, &path, from * BLOCK..to * BLOCK);
    }
}

/// Behind a bad block that costs something there is a torn tail: that was not acknowledged, and is cut off.
#[test]
fn a_bad_block_and_a_torn_tail() {
    let (disk, whole) = filled(Left::Killed);
    let path = last_segment(&disk);
    let last = whole.keys().max_by_key(|key| find(&disk, format!("value of {key}!").as_bytes()).remove(0)).unwrap();
    let (_, place) = find(&disk, format!("value of {last}!").as_bytes()).remove(0);
    assert!(disk.corrupt(&path, place + 5, 1));
    assert!(disk.set_bad(&path, BLOCK..2 * BLOCK));
    let unhurt: Vec<&String> =
        whole.keys().filter(|key| *key != last && !is_hit(&disk, key, &path, &(BLOCK..2 * BLOCK))).collect();
    assert!(unhurt.len() > 70);
    let (report, store) = repaired_from(&disk);
    let after = shown(&store);
    assert!(!after.contains_key(last) && !report.lost_keys.contains(last), "{report:?}");
    unhurt.iter().for_each(|key| assert_eq!(after[*key], whole[*key], "{key}"));
}

/// The start does not guess: only a repair goes on behind what cannot be read.
#[test]
fn a_start_refuses_what_it_cannot_read_of_the_end_of_the_log() {
    let (disk, _) = filled(Left::Closed);
    for path in [last_segment(&disk), "manifest".to_owned(), "format".to_owned()] {
        let disk = disk.restart();
        assert!(disk.set_bad(&path, 0..BLOCK));
        let before = files(&disk);
        let error = Store::open_on(Arc::new(disk.clone()), large()).unwrap_err();
        let eio = matches!(&error, Error::Log(crate::log::Error::Io { source, .. }) if source.raw_os_error() == Some(libc::EIO));
        assert!(eio, "{path}: {error}");
        assert!(files(&disk) == before);
    }
}
