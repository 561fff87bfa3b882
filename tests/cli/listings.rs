//! `ls`, `stat` and `info`.

use crate::command::{assert_refused, text};
use crate::keys::{run, store_with};

#[test]
fn ls_lists_a_directory_or_a_prefix() {
    let store = store_with(&["b", "users/41", "users/42", "users/old/1", "usage"]);
    let ls = |arguments: &[&str]| text(run(store.path(), "ls", arguments));
    assert_eq!(ls(&[]), "b\nusage\nusers/\n");
    assert_eq!(ls(&["users"]), "users/41\nusers/42\nusers/old/\n");
    assert_eq!(ls(&["users/"]), ls(&["users"]));
    assert_eq!(ls(&["/users"]), ls(&["users"]));
    assert_eq!(ls(&["us"]), "usage\nusers/\nusers/41\nusers/42\nusers/old/\nusers/old/1\n");
    assert_eq!(ls(&["users/4"]), "users/41\nusers/42\n");
    assert_eq!(ls(&["nothing"]), "");
    assert_eq!(ls(&["-r"]), "b\nusage\nusers/\nusers/41\nusers/42\nusers/old/\nusers/old/1\n");
    assert_eq!(ls(&["-r", "users"]), "users/41\nusers/42\nusers/old/\nusers/old/1\n");
}

#[test]
fn ls_shows_details() {
    let store = store_with(&["key", "d/key"]);
    let long = text(run(store.path(), "ls", &["-l"]));
    let fields: Vec<Vec<&str>> = long.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!((fields[0][0], fields[0][6]), ("drwxr-xr-x", "d/"));
    assert_eq!((fields[1][0], fields[1][1], fields[1][4], fields[1][6]), ("-rw-r--r--", "1", "3", "key"));
    assert!(fields[1][5].starts_with("20") && fields[1][5].ends_with('Z'), "{long}");

    let json = text(run(store.path(), "ls", &["--json", "-r"]));
    assert_eq!(json.lines().count(), 3);
    for wanted in ["\"key\":\"d/key\"", "\"kind\":\"file\"", "\"size\":5", "\"mode\":\"0644\"", "\"mtime_ns\":"] {
        assert!(json.lines().nth(1).unwrap().contains(wanted), "{wanted}: {json}");
    }
}

#[test]
fn a_key_that_is_no_text_is_whole_in_json() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let store = tempfile::tempdir().unwrap();
    let put = ["put".as_ref(), store.path().as_os_str(), OsStr::from_bytes(b"\xff\n"), OsStr::new("v")];
    crate::command::printed(crate::command::caskfs(put));
    let json = text(run(store.path(), "ls", &["--json"]));
    assert!(json.contains("\"key_bytes\":[255,10]"), "{json}");
}

#[test]
fn stat_shows_a_key() {
    let store = store_with(&["d/key"]);
    let shown = text(run(store.path(), "stat", &["d/key"]));
    for wanted in
        ["key:       d/key", "kind:      file", "size:      5 bytes", "mode:      -rw-r--r-- (0644)", "links:     1"]
    {
        assert!(shown.contains(wanted), "{wanted}: {shown}");
    }
    assert!(text(run(store.path(), "stat", &["d"])).contains("kind:      directory"));
    assert!(text(run(store.path(), "stat", &["d/key", "--json"])).contains("\"size\":5"));
    assert_refused(&run(store.path(), "stat", &["nothing"]), 1, "nothing: no such key");
}

#[test]
fn info_shows_the_store() {
    let store = store_with(&["a", "d/b"]);
    let shown = text(run(store.path(), "info", &[]));
    for wanted in ["mounted:    no", "keys:       3", "state:      healthy", "format 2"] {
        assert!(shown.contains(wanted), "{wanted}: {shown}");
    }
    let json = text(run(store.path(), "info", &["--json"]));
    assert_eq!(json.lines().count(), 1);
    for wanted in
        ["\"keys\":3", "\"mountpoint\":null", "\"failure\":null", "\"format_version\":2", "\"damaged_keys\":[]"]
    {
        assert!(json.contains(wanted), "{wanted}: {json}");
    }
}
