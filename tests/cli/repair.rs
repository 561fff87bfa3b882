//! `caskfs repair`, on stores that are damaged in every way that a disk or a person can think of.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use tempfile::TempDir;

use crate::command::{assert_refused, caskfs, caskfs_fed, printed, snapshot, text};
use crate::verify::flip;

/// A store of several segments with hints, and what its keys are.
struct Damaged {
    _directory: TempDir,
    store: PathBuf,
    keys: BTreeMap<String, Vec<u8>>,
}

const KEYS: u32 = 24;

impl Damaged {
    fn new() -> Damaged {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store");
        let key = |number| (format!("dir/k{number}"), vec![b'a' + number as u8; 700]);
        let keys: BTreeMap<String, Vec<u8>> = (0..KEYS).map(key).collect();
        // The library makes the store, for segments that are small.
        let options =
            caskfs::Options { create: true, segment_size: 4096, background: false, ..caskfs::Options::default() };
        let made = caskfs::Store::open(&store, options).unwrap();
        for (key, value) in &keys {
            made.put(key, value).unwrap();
        }
        made.put("removed", "a value").unwrap();
        assert!(made.remove("removed").unwrap());
        made.write_hints().unwrap();
        drop(made);
        assert!(store.join("segments/00000004.hint").exists());
        Damaged { _directory: directory, store, keys }
    }

    fn segment(&self, number: u32) -> PathBuf {
        self.store.join(format!("segments/{number:08}.log"))
    }

    fn run<'a>(&'a self, command: &'a str, more: &'a [&'a str]) -> Output {
        caskfs([command.as_ref(), self.store.as_os_str()].into_iter().chain(more.iter().map(AsRef::as_ref)))
    }

    /// Repairs the store: first what would be done is asked, and nothing is changed by that. Afterwards the store is
    /// whole, opens strictly, and all keys but the lost ones have their values. Returns what was done.
    #[track_caller]
    fn repaired(&self, lost: &[&str]) -> serde_json::Value {
        let before = snapshot(&self.store);
        let asked = self.run("repair", &["--dry-run"]);
        assert_eq!(asked.status.code(), Some(18), "{}", String::from_utf8_lossy(&asked.stderr));
        let planned: serde_json::Value =
            serde_json::from_slice(&self.run("repair", &["--dry-run", "--json"]).stdout).unwrap();
        assert!(snapshot(&self.store) == before, "nothing is changed by asking");
        let output = self.run("repair", &["--json"]);
        let code = if lost.is_empty() { 0 } else { 13 };
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
        let done: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&planned["steps"], &planned["lost_keys"]), (&done["steps"], &done["lost_keys"]));
        assert_eq!(done["lost_keys"], serde_json::json!(lost), "{done}");
        let said = String::from_utf8(asked.stdout).unwrap();
        for step in done["steps"].as_array().unwrap() {
            assert!(said.contains(&format!("would:   {}\n", step.as_str().unwrap())), "{said}");
        }
        let quarantine = Path::new(done["quarantine"].as_str().unwrap()).to_owned();
        let report = fs::read_to_string(quarantine.join("report")).unwrap();
        assert_eq!(report.replace("done:   ", "would:  "), said);

        assert_eq!(text(self.run("repair", &[])), "there is nothing to repair\n");
        printed(self.run("verify", &[]));
        let strict = caskfs::Options { strict: true, ..caskfs::Options::default() };
        let store = caskfs::Store::open(&self.store, strict).unwrap();
        for (key, value) in &self.keys {
            match lost.contains(&key.as_str()) {
                true => assert_eq!(store.get(key).unwrap_err().errno(), libc::EIO),
                false => assert!(store.get(key).unwrap().as_ref() == Some(value), "{key}"),
            }
        }
        assert_eq!(store.scan("").count() as u32, KEYS + 1);
        drop(store);
        for key in lost {
            printed(caskfs_fed(["put".as_ref(), self.store.as_os_str(), key.as_ref()], b"set anew"));
            assert_eq!(printed(self.run("get", &[key])), b"set anew");
        }
        done
    }

    fn kept(&self, name: &str) -> Vec<u8> {
        fs::read(self.store.join("quarantine/1").join(name)).unwrap()
    }
}

#[test]
fn a_whole_store_is_left_alone() {
    let whole = Damaged::new();
    let names = |store: &Path| snapshot(store).into_keys().collect::<Vec<_>>();
    let before = names(&whole.store);
    assert_eq!(text(whole.run("repair", &["--dry-run"])), "there is nothing to repair\n");
    assert_eq!(text(whole.run("repair", &[])), "there is nothing to repair\n");
    let mut after = names(&whole.store);
    after.retain(|path| !path.ends_with("reserve"));
    assert_eq!(after, before.into_iter().filter(|path| !path.ends_with("reserve")).collect::<Vec<_>>());
    assert_refused(&caskfs(["repair".as_ref(), whole.store.join("segments").as_os_str()]), 10, "no caskfs store");
    assert_refused(&caskfs(["repair".as_ref(), whole.store.join("missing").as_os_str()]), 10, "No such file");
}

#[test]
fn a_store_in_use_is_refused() {
    let used = Damaged::new();
    let open = caskfs::Store::open(&used.store, caskfs::Options::default()).unwrap();
    for more in [&["--dry-run"][..], &[]] {
        assert_refused(&used.run("repair", more), 12, "in use by another process");
    }
    drop(open);
    printed(caskfs(["snapshot".as_ref(), "create".as_ref(), used.store.as_os_str(), "s".as_ref()]));
    let snapshot = used.store.join("snapshots/s");
    assert_refused(&caskfs(["repair".as_ref(), snapshot.as_os_str()]), 15, "is a snapshot");
    fs::remove_file(snapshot.join("manifest")).unwrap();
    assert_refused(&caskfs(["repair".as_ref(), snapshot.as_os_str()]), 15, "is a snapshot");
}

#[test]
fn a_damaged_value_is_said_and_stays_an_error() {
    let damaged = Damaged::new();
    let path = damaged.segment(2);
    let before = fs::read(&path).unwrap();
    let place = before.windows(600).position(|window| window.iter().all(|byte| *byte == window[0] && *byte > b'a'));
    let key = u32::from(before[place.unwrap()] - b'a');
    flip(&path, place.unwrap() + 300);
    let bad = fs::read(&path).unwrap();
    damaged.repaired(&[&format!("dir/k{key}")]);
    assert!(damaged.kept("00000002.log") == bad);
}

#[test]
fn a_flipped_bit_in_a_file_that_only_describes_costs_nothing() {
    for (file, place) in [
        ("format", 20),
        ("format", 3),
        ("manifest", 2),
        ("manifest", 70),
        ("segments/00000003.hint", 60),
        ("segments/00000002.log", 9),
    ] {
        let damaged = Damaged::new();
        flip(damaged.store.join(file), place);
        let done = damaged.repaired(&[]);
        assert!(done["steps"][0].as_str().unwrap().contains(file), "{done}");
    }
}

#[test]
fn a_lost_manifest_or_format_file_is_written_anew() {
    for files in [&["manifest"][..], &["format"], &["manifest", "format"]] {
        let damaged = Damaged::new();
        files.iter().for_each(|file| fs::remove_file(damaged.store.join(file)).unwrap());
        let done = damaged.repaired(&[]);
        assert_eq!(done["steps"].as_array().unwrap().len(), files.len(), "{done}");
    }
}

#[test]
fn hints_that_are_cut_off_or_of_another_segment_are_made_anew() {
    let damaged = Damaged::new();
    let hint = damaged.store.join("segments/00000002.hint");
    let whole = fs::read(&hint).unwrap();
    fs::copy(damaged.store.join("segments/00000003.hint"), &hint).unwrap();
    let other = damaged.store.join("segments/00000001.hint");
    fs::write(&other, &fs::read(&other).unwrap()[..50]).unwrap();
    let done = damaged.repaired(&[]);
    assert_eq!(done["steps"].as_array().unwrap().len(), 2, "{done}");
    assert!(fs::read(&hint).unwrap() == whole);
}

#[test]
fn a_segment_that_is_there_twice_is_put_aside() {
    let damaged = Damaged::new();
    fs::copy(damaged.segment(2), damaged.segment(77)).unwrap();
    let copy = fs::read(damaged.segment(77)).unwrap();
    let done = damaged.repaired(&[]);
    assert_eq!(done["steps"], serde_json::json!(["move segments/00000077.log to the quarantine: a copy of segment 2"]));
    assert!(damaged.kept("00000077.log") == copy);
}

#[test]
fn a_segment_under_another_name_is_put_back() {
    let damaged = Damaged::new();
    fs::rename(damaged.segment(2), damaged.store.join("segments/old")).unwrap();
    let done = damaged.repaired(&[]);
    assert_eq!(done["steps"], serde_json::json!(["rename segments/old to segments/00000002.log: it is this segment"]));
}

/// What is lost with a missing segment nobody knows, but for directories. All else is there, and the store is whole.
#[test]
fn a_missing_segment_costs_what_was_in_it() {
    let damaged = Damaged::new();
    fs::remove_file(damaged.segment(2)).unwrap();
    assert_refused(&damaged.run("verify", &[]), 13, "00000002.log is damaged: it is missing");
    let output = damaged.run("repair", &[]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("segments/00000002.log"), "{said}");
    printed(damaged.run("verify", &[]));
    let store = caskfs::Store::open(&damaged.store, caskfs::Options { strict: true, ..Default::default() }).unwrap();
    let there: Vec<&String> = damaged.keys.keys().filter(|key| store.get(key).unwrap().is_some()).collect();
    assert!((KEYS as usize - 6..KEYS as usize - 2).contains(&there.len()), "{there:?}");
    assert!(there.iter().all(|key| store.get(key).unwrap().as_ref() == Some(&damaged.keys[*key])));
}

#[test]
fn a_segment_that_is_cut_off_costs_what_stood_behind() {
    let damaged = Damaged::new();
    let path = damaged.segment(2);
    let len = fs::metadata(&path).unwrap().len();
    fs::File::options().write(true).open(&path).unwrap().set_len(len - 100).unwrap();
    printed(caskfs(["get".as_ref(), damaged.store.as_os_str(), "dir/k0".as_ref()]));
    let asked = damaged.run("repair", &["--dry-run"]);
    assert_eq!(asked.status.code(), Some(18));
    damaged.run("repair", &[]);
    printed(damaged.run("verify", &[]));
    let store = caskfs::Store::open(&damaged.store, caskfs::Options { strict: true, ..Default::default() }).unwrap();
    let whole = |(key, value): &(&String, &Vec<u8>)| store.get(key).is_ok_and(|found| found.as_ref() == Some(value));
    assert!(damaged.keys.iter().filter(whole).count() >= KEYS as usize - 1);
}
