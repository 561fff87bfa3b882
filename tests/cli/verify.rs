//! `caskfs verify`.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::command::{assert_refused, caskfs, caskfs_fed, printed, snapshot, text};

/// A store with two keys, one of them of three records.
pub(crate) fn store() -> (TempDir, std::path::PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    let value: Vec<u8> = (0..300_000u32).map(|at| (at % 251) as u8).collect();
    printed(caskfs_fed(["put".as_ref(), store.as_os_str(), "dir/large".as_ref()], &value));
    printed(caskfs(["put".as_ref(), store.as_os_str(), "small".as_ref(), "value".as_ref()]));
    (directory, store)
}

/// Flips a bit of a file.
pub(crate) fn flip(path: impl AsRef<Path>, place: usize) {
    let mut bytes = fs::read(&path).unwrap();
    bytes[place] ^= 4;
    fs::write(path, bytes).unwrap();
}

fn run(store: &Path, json: bool) -> std::process::Output {
    let json = json.then_some("--json".as_ref());
    caskfs(["verify".as_ref(), store.as_os_str()].into_iter().chain(json))
}

#[test]
fn a_whole_store_is_verified_and_left_alone() {
    let (_directory, store) = store();
    let before = snapshot(&store);
    let output = run(&store, false);
    assert!(output.stderr.is_empty(), "no progress is shown where there is no terminal");
    assert!(text(output).starts_with("read: "));
    let found: serde_json::Value = serde_json::from_str(&text(run(&store, true))).unwrap();
    assert!(found["records"].as_u64().unwrap() > 4);
    assert_eq!((found["damage"].as_array().unwrap().len(), found["damaged_keys"].as_array().unwrap().len()), (0, 0));
    assert!(snapshot(&store) == before);
}

#[test]
fn damage_is_named_and_has_its_exit_code() {
    let (_directory, store) = store();
    flip(store.join("segments/00000001.log"), 200_000);
    let output = run(&store, false);
    assert_eq!(output.status.code(), Some(13));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("\ndamaged: dir/large\n") && said.contains("damage:  segments/00000001.log from "), "{said}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.lines()
            .last()
            .unwrap()
            .ends_with("1 part of a file and 1 key are damaged: `caskfs repair --dry-run` says what can be saved"),
        "{said}"
    );
    let found: serde_json::Value = serde_json::from_slice(&run(&store, true).stdout).unwrap();
    assert_eq!(found["damaged_keys"], serde_json::json!(["dir/large"]));
    let part = &found["damage"][0];
    let (offset, length) = (part["offset"].as_u64().unwrap(), part["length"].as_u64().unwrap());
    assert!((offset..offset + length).contains(&200_000));
    assert_eq!(part["key"], "dir/large");
}

#[test]
fn a_store_that_cannot_be_opened_is_damaged() {
    let (_directory, store) = store();
    flip(store.join("manifest"), 3);
    assert_refused(&run(&store, false), 13, "manifest is damaged");
    assert_refused(&run(_directory.path(), false), 10, "no caskfs store");
}

#[test]
fn a_strict_mount_refuses_damage() {
    let (directory, store) = store();
    flip(store.join("segments/00000001.log"), 200_000);
    let mountpoint = directory.path().join("mnt");
    fs::create_dir(&mountpoint).unwrap();
    let before = snapshot(&store);
    let output = caskfs(["mount".as_ref(), "--strict".as_ref(), store.as_os_str(), mountpoint.as_os_str()]);
    assert_refused(&output, 13, "damaged keys: dir/large: `caskfs verify` says where");
    let after: Vec<_> = snapshot(&store).into_keys().collect();
    assert_eq!(after, before.into_keys().collect::<Vec<_>>());
}
