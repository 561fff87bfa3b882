//! `snapshot`, and what is done with one.

use std::ffi::OsString;
use std::path::Path;
use std::process::Output;

use crate::command::{assert_refused, caskfs, printed, snapshot as files, text};
use crate::keys::{run, store_with};

/// `caskfs snapshot VERB STORE ARGUMENTS...`
fn snapshot(verb: &str, store: &Path, arguments: &[&str]) -> Output {
    let mut all: Vec<OsString> = vec!["snapshot".into(), verb.into(), store.into()];
    all.extend(arguments.iter().map(OsString::from));
    caskfs(all)
}

#[test]
fn a_snapshot_is_a_store() {
    let store = store_with(&["a", "d/b"]);
    assert_eq!(text(snapshot("create", store.path(), &["monday"])), "");
    printed(run(store.path(), "put", &["a", "changed"]));
    printed(run(store.path(), "rm", &["d/b"]));
    printed(run(store.path(), "compact", &[]));
    let monday = store.path().join("snapshots/monday");
    let before = files(&monday);
    assert_eq!(text(run(&monday, "get", &["a"])), "a");
    assert_eq!(text(run(&monday, "ls", &["-r"])), "a\nd/\nd/b\n");
    let info = text(run(&monday, "info", &[]));
    assert!(info.contains("snapshot:   taken at 20") && info.contains("keys:       3"), "{info}");
    assert_eq!(files(&monday), before, "looking changes nothing");
    assert_eq!(text(run(store.path(), "get", &["a"])), "changed");
}

#[test]
fn a_snapshot_takes_no_writes() {
    let store = store_with(&["a"]);
    printed(snapshot("create", store.path(), &["s"]));
    let place = store.path().join("snapshots/s");
    let before = files(store.path());
    for (command, arguments) in [("put", ["a", "b"].as_slice()), ("rm", &["a"]), ("mv", &["a", "b"]), ("compact", &[])]
    {
        assert_refused(&run(&place, command, arguments), 15, "it is a snapshot or a backup");
    }
    assert_refused(&snapshot("create", &place, &["s"]), 15, "it is a snapshot or a backup");
    assert_eq!(files(store.path()), before);
}

#[test]
fn snapshots_are_listed_and_removed() {
    let store = store_with(&["a"]);
    assert_eq!(text(snapshot("list", store.path(), &[])), "");
    for name in ["two", "one", "three and a half"] {
        printed(snapshot("create", store.path(), &[name]));
    }
    let list = text(snapshot("list", store.path(), &[]));
    let names: Vec<&str> = list.lines().map(|line| line.splitn(4, ' ').last().unwrap()).collect();
    assert!(names[0].ends_with("B one") && names[1].ends_with("B three and a half"), "{list}");
    let json = text(snapshot("list", store.path(), &["--json"]));
    assert_eq!(json.lines().count(), 3);
    for wanted in ["\"name\":\"one\"", "\"taken_ns\":1", "\"bytes\":", "\"sequence\":"] {
        assert!(json.lines().next().unwrap().contains(wanted), "{wanted}: {json}");
    }
    let info = text(run(store.path(), "info", &[]));
    assert!(info.contains("snapshots:  3, which alone keep 0 B"), "{info}");
    printed(snapshot("remove", store.path(), &["two"]));
    assert!(!store.path().join("snapshots/two").exists());
    assert_eq!(text(snapshot("list", store.path(), &[])).lines().count(), 2);
}

#[test]
fn snapshots_that_cannot_be() {
    let store = store_with(&["a"]);
    printed(snapshot("create", store.path(), &["s"]));
    let before = files(store.path().join("snapshots").as_path());
    assert_refused(&snapshot("create", store.path(), &["s"]), 3, "there is a snapshot s already");
    assert_refused(&snapshot("remove", store.path(), &["t"]), 1, "there is no snapshot t");
    for name in ["", ".", "..", "a/b", "s.tmp", "../x"] {
        assert_refused(&snapshot("create", store.path(), &[name]), 3, "a snapshot's name is");
        assert_refused(&snapshot("remove", store.path(), &[name]), 3, "a snapshot's name is");
    }
    assert_eq!(files(store.path().join("snapshots").as_path()), before);
    let nothing = tempfile::tempdir().unwrap();
    assert_refused(&snapshot("create", nothing.path(), &["s"]), 10, "there is no caskfs store here");
    assert_eq!(files(nothing.path()).len(), 1);
}
