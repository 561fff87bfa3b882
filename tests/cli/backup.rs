//! `backup` and `restore`.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Output;

use crate::command::{assert_refused, caskfs, caskfs_fed, printed, snapshot as files, text};
use crate::keys::{run, store_with};

/// `caskfs COMMAND FROM TO ARGUMENTS...`
fn copy(command: &str, from: &Path, to: &Path, arguments: &[&str]) -> Output {
    let mut all: Vec<OsString> = vec![command.into(), from.into(), to.into()];
    all.extend(arguments.iter().map(OsString::from));
    caskfs(all)
}

#[test]
fn a_store_goes_to_a_backup_and_comes_back() {
    let store = store_with(&["a", "d/b"]);
    let place = tempfile::tempdir().unwrap();
    let (backup, back) = (place.path().join("backup"), place.path().join("back"));
    let said = text(copy("backup", store.path(), &backup, &[]));
    assert!(said.starts_with("backup: ") && said.ends_with(" 0 removed\n"), "{said}");
    printed(run(store.path(), "put", &["a", "changed"]));
    assert_eq!(text(run(&backup, "get", &["a"])), "a");
    assert_refused(&run(&backup, "put", &["a", "b"]), 15, "it is a snapshot or a backup");
    // Once more: only what is new.
    let json = text(copy("backup", store.path(), &backup, &["--json"]));
    assert!(json.contains("\"copied\":1,") && json.contains("\"damaged_bytes\":0"), "{json}");
    assert_eq!(text(run(&backup, "get", &["a"])), "changed");
    assert_eq!(text(caskfs(["snapshot".as_ref(), "list".as_ref(), store.path().as_os_str()])), "");

    let said = text(copy("restore", &backup, &back, &[]));
    assert!(said.starts_with("restored: "), "{said}");
    assert_eq!(text(run(&back, "ls", &["-r"])), "a\nd/\nd/b\n");
    printed(run(&back, "put", &["c", "new"]));
    assert_eq!(text(run(&back, "get", &["c"])), "new");
    assert_eq!(text(run(store.path(), "ls", &["-r"])), "a\nd/\nd/b\n");
}

#[test]
fn a_snapshot_is_backed_up_and_restored() {
    let store = store_with(&["a"]);
    printed(caskfs(["snapshot".as_ref(), "create".as_ref(), store.path().as_os_str(), "s".as_ref()]));
    printed(run(store.path(), "rm", &["a"]));
    let place = tempfile::tempdir().unwrap();
    let snapshot = store.path().join("snapshots/s");
    let before = files(&snapshot);
    for command in ["backup", "restore"] {
        let to = place.path().join(command);
        printed(copy(command, &snapshot, &to, &[]));
        assert_eq!(text(run(&to, "get", &["a"])), "a");
    }
    assert_eq!(files(&snapshot), before);
}

#[test]
fn nothing_is_overwritten() {
    let (store, other) = (store_with(&["a"]), store_with(&["b"]));
    let place = tempfile::tempdir().unwrap();
    let backup = place.path().join("backup");
    printed(copy("backup", store.path(), &backup, &[]));
    let foreign = place.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("letter"), "Dear Ada").unwrap();
    let before = (files(place.path()), files(other.path()));
    assert_refused(&copy("restore", &backup, other.path(), &[]), 17, "there is a store already");
    assert_refused(&copy("restore", &backup, &foreign, &[]), 10, "neither a caskfs store nor empty");
    assert_refused(&copy("restore", store.path(), &place.path().join("new"), &[]), 10, "take a backup first");
    assert_refused(&copy("restore", &foreign, &place.path().join("new"), &[]), 10, "there is no caskfs store here");
    assert_refused(&copy("backup", &backup, other.path(), &[]), 17, "another store");
    assert_refused(&copy("backup", &foreign, &place.path().join("new"), &[]), 10, "there is no caskfs store here");
    assert_eq!((files(place.path()), files(other.path())), before);
    // These open the store for writing, and so change it; but not what is in the way.
    let before = (files(place.path()), text(run(other.path(), "ls", &["-r"])));
    assert_refused(&copy("backup", store.path(), other.path(), &[]), 17, "another store");
    assert_refused(&copy("backup", other.path(), &backup, &[]), 17, "another store");
    assert_refused(&copy("backup", store.path(), &foreign, &[]), 10, "neither a caskfs store nor empty");
    assert_eq!((files(place.path()), text(run(other.path(), "ls", &["-r"]))), before);
}

#[test]
fn a_backup_within_the_store() {
    let store = store_with(&["a"]);
    let before = files(store.path());
    let within = [store.path().join("backup"), store.path().join("snapshots/x/y"), store.path().to_owned()];
    for to in within {
        assert_refused(&copy("backup", store.path(), &to, &[]), 23, "lie one within the other");
    }
    assert_refused(&copy("backup", store.path(), store.path().parent().unwrap(), &[]), 23, "within");
    assert_eq!(files(store.path()), before);
}

#[test]
fn a_damaged_store_is_copied_and_told() {
    let store = store_with(&["a", "b", "c"]);
    let place = tempfile::tempdir().unwrap();
    let (backup, back) = (place.path().join("backup"), place.path().join("back"));
    printed(run(store.path(), "put", &["b", "Grace Hopper"]));
    // Damage at the very end of the log would look like a crash.
    printed(run(store.path(), "put", &["d", "later"]));
    let written = |segment: &Path| fs::read(segment).unwrap().windows(6).rposition(|bytes| bytes == b"Hopper");
    let segments = fs::read_dir(store.path().join("segments")).unwrap().map(|segment| segment.unwrap().path());
    let (segment, at) = segments.filter_map(|path| written(&path).map(|at| (path, at))).next().unwrap();
    let mut bytes = fs::read(&segment).unwrap();
    bytes[at] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let told = |output: Output, text: &str| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(13), "{said}");
        assert!(said.lines().last().unwrap().contains(text), "{said}");
    };
    told(copy("backup", store.path(), &backup, &[]), "the backup is complete, but the store is damaged");
    told(copy("restore", &backup, &back, &[]), "the store is restored, but the backup is damaged");
    assert_eq!(text(run(&back, "get", &["c"])), "c");
    assert_eq!(run(&back, "get", &["b"]).status.code(), Some(13));
}

/// A byte of a backup that its disk has changed is found by reading it again, and comes anew from the store.
#[test]
fn a_backup_that_rots_is_mended() {
    let store = store_with(&["a", "b"]);
    let place = tempfile::tempdir().unwrap();
    let backup = place.path().join("backup");
    let value = "Ada Lovelace".repeat(10_000);
    printed(caskfs_fed(["put".as_ref(), store.path().as_os_str(), "a".as_ref()], value.as_bytes()));
    printed(run(store.path(), "put", &["b", "later"]));
    printed(copy("backup", store.path(), &backup, &[]));
    let rot = || {
        let segments = fs::read_dir(backup.join("segments")).unwrap().map(|segment| segment.unwrap().path());
        let longest = segments.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
        let mut bytes = fs::read(&longest).unwrap();
        bytes[60_000] ^= 1;
        fs::write(&longest, bytes).unwrap();
        assert_eq!(run(&backup, "get", &["a"]).status.code(), Some(13));
    };
    rot();
    let output = copy("backup", store.path(), &backup, &["--verify", "--json"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let json = text(output);
    assert!(json.contains("\"mended\":1") && json.contains("\"damaged_bytes\":0"), "{json}");
    assert!(said.contains("of the backup is damaged, and is copied anew: see to the disk"), "{said}");
    assert!(text(run(&backup, "get", &["a"])) == value);
    // Without being asked, by one of ten runs.
    rot();
    let mended = (0..10).filter(|_| text(copy("backup", store.path(), &backup, &["--json"])).contains("\"mended\":1"));
    assert_eq!(mended.count(), 1);
    assert!(text(run(&backup, "get", &["a"])) == value);
}

/// In a container the command is process 1 each time, and so was the one that was killed.
#[test]
fn what_a_killed_backup_left_is_in_nobodys_way() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not run: only root can");
        return;
    }
    let store = store_with(&["a"]);
    let place = tempfile::tempdir().unwrap();
    printed(caskfs(["snapshot".as_ref(), "create".as_ref(), store.path().as_os_str(), "s".as_ref()]));
    fs::rename(store.path().join("snapshots/s"), store.path().join("snapshots/.backup.1")).unwrap();
    let mut contained = std::process::Command::new("unshare");
    contained.args(["--pid", "--fork", "--kill-child", env!("CARGO_BIN_EXE_caskfs"), "backup"]);
    printed(contained.arg(store.path()).arg(place.path().join("backup")).output().unwrap());
    assert_eq!(text(run(&place.path().join("backup"), "get", &["a"])), "a");
    assert_eq!(text(caskfs(["snapshot".as_ref(), "list".as_ref(), store.path().as_os_str()])), "");
}

#[test]
fn a_store_on_a_read_only_medium_is_backed_up() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not run: only root can");
        return;
    }
    let store = store_with(&["a", "d/b"]);
    let place = tempfile::tempdir().unwrap();
    let before = files(store.path());
    // In a mount namespace of its own, which goes with it.
    let script = r#"mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && ! touch "$1/x" 2> /dev/null
        "$0" backup "$1" "$2/backup" && "$0" backup "$1" "$2/backup" --verify && "$0" export "$1" "$2/tree" && "$0" verify "$1""#;
    let mut contained = std::process::Command::new("unshare");
    contained.args(["-m", "bash", "-ec", script, env!("CARGO_BIN_EXE_caskfs")]).arg(store.path()).arg(place.path());
    printed(contained.output().unwrap());
    assert_eq!(files(store.path()), before);
    assert_eq!(text(run(&place.path().join("backup"), "ls", &["-r"])), "a\nd/\nd/b\n");
    printed(run(store.path(), "put", &["a", "new"]));
    printed(copy("backup", store.path(), &place.path().join("backup"), &[]));
    assert_eq!(text(run(&place.path().join("backup"), "get", &["a"])), "new");
}
