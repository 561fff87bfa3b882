//! Setting, reading, renaming and removing keys.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Output;

use tempfile::TempDir;

use crate::command::{assert_refused, caskfs, caskfs_fed, printed, text};

/// A store with these keys, each its own value.
pub(crate) fn store_with(keys: &[&str]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for key in keys {
        assert_eq!(text(run(directory.path(), "put", &[key, key])), "");
    }
    directory
}

/// `caskfs COMMAND STORE ARGUMENTS...`
pub(crate) fn run(store: &Path, name: &str, arguments: &[&str]) -> Output {
    let mut all: Vec<OsString> = vec![name.into(), store.into()];
    all.extend(arguments.iter().map(OsString::from));
    caskfs(all)
}

#[test]
fn a_value_comes_back_as_it_was_put() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("a store");
    printed(run(&store, "put", &["users/42", "Ada"]));
    assert_eq!(text(run(&store, "get", &["users/42"])), "Ada");
    assert_eq!(text(run(&store, "get", &["/users/42"])), "Ada", "a leading slash is the root's");
    printed(run(&store, "put", &["users/42", "Grace"]));
    assert_eq!(text(run(&store, "get", &["users/42"])), "Grace");
    printed(run(&store, "put", &["empty", ""]));
    assert_eq!(text(run(&store, "get", &["empty"])), "");
}

#[test]
fn a_value_comes_from_standard_input() {
    let store = tempfile::tempdir().unwrap();
    // Every byte there is, and more than fits in one record.
    let mebibyte: Vec<u8> = (0..1 << 20).map(|number: u32| (number ^ number >> 8) as u8).collect();
    let large = mebibyte.repeat(3);
    for (key, value) in [("mebibyte", &mebibyte), ("large", &large), ("nothing", &Vec::new())] {
        let put: [&OsStr; 3] = ["put".as_ref(), store.path().as_ref(), key.as_ref()];
        printed(caskfs_fed(put, value));
        assert!(printed(run(store.path(), "get", &[key])) == *value, "{key}");
    }
    let dash: [&OsStr; 4] = ["put".as_ref(), store.path().as_ref(), "dash".as_ref(), "-".as_ref()];
    printed(caskfs_fed(dash, b"from a pipe"));
    assert_eq!(text(run(store.path(), "get", &["dash"])), "from a pipe");
}

#[test]
fn keys_are_bytes() {
    let store = tempfile::tempdir().unwrap();
    let keys: [&[u8]; 5] = [b"\xff\xfe\x80", b"new\nline", b" spaces ", b"-", "\u{fc}/\u{4e2d}".as_bytes()];
    for key in keys {
        let put = ["put".as_ref(), "--".as_ref(), store.path().as_os_str(), OsStr::from_bytes(key), "value".as_ref()];
        printed(caskfs(put));
        let get = ["get".as_ref(), "--".as_ref(), store.path().as_os_str(), OsStr::from_bytes(key)];
        assert_eq!(printed(caskfs(get)), b"value");
    }
    let listed = printed(run(store.path(), "ls", &["-r"]));
    for key in keys {
        assert!(listed.windows(key.len()).any(|window| window == key), "{key:?}");
    }
}

#[test]
fn keys_are_renamed() {
    let store = store_with(&["a/one", "a/two", "b"]);
    printed(run(store.path(), "mv", &["a/one", "c/d/one"]));
    assert_eq!(text(run(store.path(), "get", &["c/d/one"])), "a/one");
    assert_refused(&run(store.path(), "get", &["a/one"]), 1, "a/one: no such key");
    printed(run(store.path(), "mv", &["b", "a/two"]));
    assert_eq!(text(run(store.path(), "get", &["a/two"])), "b", "the target is replaced");
    printed(run(store.path(), "mv", &["c", "e"]));
    assert_eq!(text(run(store.path(), "get", &["e/d/one"])), "a/one", "a directory goes with all that is in it");
    assert_refused(&run(store.path(), "mv", &["nothing", "x"]), 1, "nothing: no such key");
    assert_refused(&run(store.path(), "mv", &["e", "e/d/f"]), 3, "e: ");
}

#[test]
fn keys_are_removed() {
    let store = store_with(&["a", "b", "d/one", "d/e/two"]);
    printed(run(store.path(), "rm", &["a"]));
    assert_refused(&run(store.path(), "rm", &["a"]), 1, "a: no such key");
    printed(run(store.path(), "rm", &["--force", "a"]));
    // Those that are there go all the same.
    assert_refused(&run(store.path(), "rm", &["missing", "b"]), 1, "missing: no such key");
    assert_refused(&run(store.path(), "get", &["b"]), 1, "b: no such key");
    assert_refused(&run(store.path(), "rm", &["d"]), 3, "d: the directory is not empty");
    printed(run(store.path(), "rm", &["-r", "d"]));
    assert_eq!(text(run(store.path(), "ls", &[])), "");
    assert_refused(&run(store.path(), "rm", &["-r", "d"]), 1, "d: no such key");
}

#[test]
fn a_reader_that_goes_away_is_no_crash() {
    let store = tempfile::tempdir().unwrap();
    let put: [&OsStr; 3] = ["put".as_ref(), store.path().as_ref(), "key".as_ref()];
    printed(caskfs_fed(put, &vec![b'x'; 4_000_000]));
    let script = r#""$0" get "$1" key | head -c 10"#;
    let mut shell = std::process::Command::new("sh");
    let output = shell.args(["-c", script, env!("CARGO_BIN_EXE_caskfs")]).arg(store.path()).output().unwrap();
    assert_eq!(output.stdout, b"xxxxxxxxxx");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
}

#[test]
fn compacting_gives_space_back() {
    let store = tempfile::tempdir().unwrap();
    let put = ["put".as_ref(), store.path().as_os_str(), "key".as_ref()];
    let value: Vec<u8> = (0..30_000_000u32).map(|number| (number >> 5) as u8).collect();
    for _ in 0..8 {
        printed(caskfs_fed(put, &value));
    }
    printed(run(store.path(), "put", &["other", "value"]));
    let used = || -> u64 {
        let segments = std::fs::read_dir(store.path().join("segments")).unwrap();
        segments.map(|segment| segment.unwrap().metadata().unwrap().len()).sum()
    };
    let before = used();
    let said = text(run(store.path(), "compact", &[]));
    assert!(said.starts_with("the log had ") && said.lines().count() == 1, "{said}");
    // The newest segments, of 64 MiB each, are left as they are.
    assert!(before > 240_000_000 && used() < 160_000_000, "{before} bytes before, {} after", used());
    assert!(printed(run(store.path(), "get", &["key"])) == value);
    assert_eq!(text(run(store.path(), "get", &["other"])), "value");
}
