//! A manifest whose last entries are damaged, which looks like one with a torn end. What was acknowledged is read, or the
//! start is refused and a repair brings it back; with damage elsewhere too, what that costs is said.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::damage::{find, marked};
use super::{fresh, keys, options, reopen};
use crate::log;
use crate::medium::SimDisk;
use crate::store::{Error, Options, RepairMode, RepairReport, Store};

const HEADER: usize = 40;
const ENTRY: usize = 40;

/// What every key was before it got its value.
const OLDER: &str = "older";

/// Values by key; `None` for `EIO`.
type Shown = BTreeMap<String, Option<Vec<u8>>>;

fn shown(store: &Store) -> Shown {
    let value = |key: &String| match store.get(key) {
        Err(error) => {
            assert_eq!(error.errno(), libc::EIO, "{key}: {error}");
            None
        }
        found => found.unwrap(),
    };
    keys(store).into_iter().map(|key| (key.clone(), value(&key))).collect()
}

fn value(key: &str) -> Vec<u8> {
    marked(&format!("value of {key}!"), 120)
}

/// How a store came by its segments.
#[derive(Clone, Copy, Debug)]
struct Life {
    hints: bool,
    /// Puts that one sync made durable.
    group: usize,
    /// Puts after the last merge; `None` if there is none.
    after_merge: Option<usize>,
    /// Whether the store was opened once more, and nothing was written then.
    restarted: bool,
}

const PLAIN: Life = Life { hints: false, group: 1, after_merge: None, restarted: false };

const LIVES: [Life; 10] = [
    PLAIN,
    Life { hints: true, ..PLAIN },
    Life { restarted: true, ..PLAIN },
    Life { after_merge: Some(0), ..PLAIN },
    Life { after_merge: Some(0), restarted: true, ..PLAIN },
    Life { hints: true, after_merge: Some(0), ..PLAIN },
    Life { after_merge: Some(4), ..PLAIN },
    Life { hints: true, after_merge: Some(4), ..PLAIN },
    Life { hints: true, group: 6, ..PLAIN },
    Life { hints: true, group: 6, after_merge: Some(4), ..PLAIN },
];

impl Life {
    /// A store whose process was killed after its last sync; and the keys that it set, the last one last.
    fn live(self) -> (SimDisk, Vec<String>) {
        let (disk, store) = fresh();
        (0..4).for_each(|round| store.put("gone", marked(&format!("round {round}"), 200)).unwrap());
        let names = (0..12).map(|number| format!("k{number}"));
        let names: Vec<String> = names.collect();
        names.iter().for_each(|key| store.put(key, OLDER).unwrap());
        names.iter().take(4).for_each(|key| store.put(key, value(key)).unwrap());
        assert!(store.remove("gone").unwrap());
        store.close().unwrap();
        let store = Store::open_on(Arc::new(disk.clone()), Options { durable: false, ..options() }).unwrap();
        let merge_at = self.after_merge.map(|after| names.len() - 4 - after);
        for (number, key) in (1..).zip(names.iter().skip(4)) {
            store.put(key, value(key)).unwrap();
            if number % self.group == 0 {
                self.settle(&store);
            }
            if Some(number) == merge_at {
                assert!(store.merge_run(3, 6).unwrap());
                assert!(store.merge_statistics().bytes_written > 0, "something was live");
            }
        }
        self.settle(&store);
        let mut killed = disk.restart();
        assert_eq!(shown(&store).len(), 12);
        if self.restarted {
            let store = reopen(&killed);
            killed = killed.restart();
            drop(store);
        }
        (killed, names)
    }

    fn settle(self, store: &Store) {
        store.sync().unwrap();
        store.log.prepare().unwrap();
        if self.hints {
            store.write_hints().unwrap();
        }
    }
}

/// Where a value stands: the path of its segment and the place there.
fn place_of(disk: &SimDisk, key: &str) -> (String, u64) {
    find(disk, format!("value of {key}!").as_bytes()).remove(0)
}

fn whole(names: &[String]) -> Shown {
    names.iter().map(|key| (key.clone(), Some(value(key)))).collect()
}

fn entries(disk: &SimDisk) -> usize {
    (disk.file("manifest").unwrap().len() - HEADER) / ENTRY
}

/// The disk with a manifest of which only so many entries are whole, in each way in which the others can be lost.
fn lost(disk: &SimDisk, left: usize) -> Vec<SimDisk> {
    let bytes = disk.file("manifest").unwrap();
    let place = HEADER + left * ENTRY;
    let mut zeroed = bytes.clone();
    zeroed[place..].fill(0);
    let flips = bytes.iter().enumerate();
    let flipped = flips.map(|(at, byte)| byte ^ u8::from(at >= place && at % ENTRY == 9)).collect();
    let manifests = [bytes[..place].to_vec(), bytes[..(place + 7).min(bytes.len())].to_vec(), zeroed, flipped];
    let with = |manifest: &Vec<u8>| {
        let disk = disk.restart();
        disk.put_file("manifest", manifest.clone());
        disk
    };
    manifests.iter().map(with).collect()
}

fn started(disk: &SimDisk) -> Result<Store, Error> {
    Store::open_on(Arc::new(disk.restart()), Options { create: false, ..options() })
}

/// The store after a repair, which leaves nothing to do.
fn repaired(disk: &SimDisk) -> (RepairReport, Store) {
    let run = |dry_run| {
        Store::repair_on(Arc::new(disk.clone()), options(), RepairMode { dry_run, give_up_unread: true }, &mut |_| {})
            .unwrap()
    };
    let planned = run(true);
    let report = run(false);
    assert_eq!((&report.steps, &report.lost_keys), (&planned.steps, &planned.lost_keys));
    assert_eq!(run(true), RepairReport { dry_run: true, ..RepairReport::default() }, "after {report:?}");
    let store = Store::open_on(Arc::new(disk.clone()), Options { strict: true, ..options() }).unwrap();
    (report, store)
}

/// The store as a start shows it; `None` if that is refused because of the manifest, or of a segment that was merged.
fn start(disk: &SimDisk, context: &str) -> Option<Store> {
    match started(disk) {
        Ok(store) => Some(store),
        Err(Error::Log(log::Error::DamagedFile { file, what })) if file == "manifest" || what == "it is missing" => {
            None
        }
        Err(error) => panic!("{context}: {error}"),
    }
}

#[test]
fn nothing_that_was_acknowledged_is_lost_with_the_end_of_the_manifest() {
    let (mut read, mut refused) = (0, 0);
    for life in LIVES {
        let (disk, names) = life.live();
        for left in 0..=entries(&disk) {
            for (kind, disk) in lost(&disk, left).into_iter().enumerate() {
                let context = format!("{life:?}, {left} entries left, kind {kind}");
                if let Some(store) = start(&disk, &context) {
                    assert_eq!(shown(&store), whole(&names), "{context}");
                    let report = store.recovery_report();
                    assert!(report.is_clean() && report.torn.is_empty(), "{context}: {report:?}");
                    read += 1;
                } else {
                    refused += 1;
                }
                let (report, store) = repaired(&disk);
                assert_eq!(shown(&store), whole(&names), "{context}: {report:?}");
                assert_eq!(report.lost_keys, Vec::<String>::new(), "{context}");
                store.put("new", "value").unwrap();
                drop(store);
                assert_eq!(shown(&reopen(&disk)).len(), 13, "{context}");
            }
        }
    }
    assert!(read > 50 && refused > 50, "{read} starts, {refused} refusals");
}

/// A value is damaged too, each in turn: that key is an error, after a start as after a repair, and no other is. Nothing
/// proves the last one.
#[test]
fn damage_beside_a_lost_end_costs_the_key_that_it_hit() {
    for life in LIVES {
        if life.restarted {
            continue;
        }
        let (disk, names) = life.live();
        // Of a group that one sync made durable, the hints prove all that is in a segment that was left.
        let proven = names.len() - if life.group == 1 { 1 } else { 2 };
        for left in 1..=entries(&disk) {
            let disk = lost(&disk, left).remove(left % 4);
            for key in &names[..proven] {
                let context = format!("{life:?}, {left} entries left, {key}");
                let disk = disk.restart();
                let (path, place) = place_of(&disk, key);
                assert!(disk.corrupt(&path, place, 0x10));
                let hit = std::slice::from_ref(key);
                if let Some(store) = start(&disk, &context) {
                    costs(hit, &shown(&store), &names, &context);
                }
                let (report, store) = repaired(&disk);
                costs(hit, &shown(&store), &names, &context);
                assert_eq!(report.lost_keys.len(), 1, "{context}: {report:?}");
                assert!(report.lost_keys == *hit || report.lost_keys[0].starts_with("(entry"), "{context}: {report:?}");
            }
        }
    }
}

/// These keys are errors, or gone with their names; all others are as they were.
fn costs(keys: &[String], shown: &Shown, names: &[String], context: &str) {
    for name in names {
        match shown.get(name) {
            Some(Some(found)) => assert!(*found == value(name) && !keys.contains(name), "{context}: {name}"),
            Some(None) | None => assert!(keys.contains(name), "{context}: {name} is lost"),
        }
    }
}

/// A hint says where its segment was sealed also if the segment's last record is not what it was: that is damage.
#[test]
fn a_hint_proves_the_seal_of_a_damaged_segment() {
    let life = Life { hints: true, group: 6, ..PLAIN };
    let (disk, names) = life.live();
    let manifest = disk.file("manifest").unwrap();
    let mut refused = 0;
    for path in disk.paths().iter().filter(|path| path.ends_with(".hint")) {
        let segment = path.replace(".hint", ".log");
        // By its last record's checksum a hint is known to fit.
        let checksum = disk.file(path).unwrap()[20..24].to_vec();
        let last = disk.file(&segment).unwrap().windows(4).rposition(|bytes| *bytes == checksum).unwrap() as u64;
        for left in 1..entries(&disk) {
            let disk = disk.restart();
            disk.put_file("manifest", &manifest[..HEADER + left * ENTRY]);
            assert!(disk.corrupt(&segment, last, 1));
            let context = format!("{segment}, {left} entries left");
            // Whose record it was nobody knows any more.
            let mut expected = whole(&names);
            expected.retain(|name, _| {
                place_of(&disk, name) < (segment.clone(), last) || place_of(&disk, name).0 != segment
            });
            let others = |store: &Store| {
                let mut shown = shown(store);
                shown.retain(|name, _| expected.contains_key(name));
                shown
            };
            match start(&disk, &context) {
                Some(store) => assert_eq!(others(&store), expected, "{context}"),
                None => refused += 1,
            }
            let (report, store) = repaired(&disk);
            assert_eq!(others(&store), expected, "{context}: {report:?}");
            assert!(expected.len() >= names.len() - 1);
        }
    }
    assert!(refused > 10, "{refused}");
}

/// What nobody was told of may be cut off; what it cut off, a repair that made a manifest says.
#[test]
fn a_torn_tail_beside_a_lost_end_is_told() {
    let mut told = 0;
    for life in LIVES {
        // Not with a last value that is known to be durable, by the manifest or because it was merged.
        if life.restarted || life.after_merge == Some(0) {
            continue;
        }
        let (disk, names) = life.live();
        for left in 1..=entries(&disk) {
            let disk = lost(&disk, left).remove(1);
            let (path, place) = place_of(&disk, names.last().unwrap());
            let end = place as usize + 120;
            let cut = disk.file(&path).unwrap();
            disk.put_file(&path, [&cut[..place as usize + 20], &vec![0; 100][..], &cut[end..]].concat());
            let context = format!("{life:?}, {left} entries left");
            let mut expected = whole(&names);
            expected.insert(names.last().unwrap().clone(), Some(OLDER.into()));
            if let Some(store) = start(&disk, &context) {
                assert_eq!(shown(&store), expected, "{context}");
                let report = store.recovery_report();
                assert!(report.is_clean() && report.torn.len() == 1, "{context}: {report:?}");
            }
            let (report, store) = repaired(&disk);
            assert_eq!(shown(&store), expected, "{context}: {report:?}");
            let said = |what| report.steps.iter().any(|step| step.contains(what));
            let made_anew = said("write manifest anew");
            assert_eq!(said("cut off"), made_anew, "{context}: {report:?}");
            if made_anew {
                told += 1;
                let name = path.strip_prefix("segments/").unwrap();
                let kept = disk.file(&format!("{}/{name}", report.quarantine.unwrap())).unwrap();
                assert!(kept.starts_with(&cut[..place as usize + 20]), "{context}");
            }
        }
    }
    assert!(told > 50, "{told}");
}
