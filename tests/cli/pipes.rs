//! Commands between other programs: readers that go away, writers that are slow, and a command at either end.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::command::{assert_refused, caskfs_fed, printed, text};
use crate::keys::{run, store_with};

/// What a process ends with that SIGPIPE kills, as a shell tells it.
const SIGPIPE: i32 = 128 + 13;

fn command(arguments: &[&OsStr]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_caskfs"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn sh(store: &Path, script: &str) -> Output {
    let mut shell = Command::new("bash");
    shell.args(["-c", script, env!("CARGO_BIN_EXE_caskfs")]).arg(store).stdin(Stdio::null());
    shell.output().unwrap()
}

/// Every command that prints anything, as it is given.
fn printing(store: &Path, place: &Path) -> Vec<Vec<OsString>> {
    let words = |name: &str, arguments: &[&str]| {
        let mut all: Vec<OsString> = vec![name.into(), store.into()];
        all.extend(arguments.iter().map(OsString::from));
        all
    };
    let copy = |name: &str, from: &Path, to: &Path, arguments: &[&str]| {
        let mut all: Vec<OsString> = vec![name.into(), from.into(), to.into()];
        all.extend(arguments.iter().map(OsString::from));
        all
    };
    let backup = place.join("backup");
    vec![
        words("get", &["key"]),
        words("ls", &[]),
        words("ls", &["-l", "-r"]),
        words("ls", &["--json"]),
        words("stat", &["key"]),
        words("stat", &["key", "--json"]),
        words("info", &[]),
        words("info", &["--json"]),
        words("compact", &[]),
        words("compact", &["--dry-run"]),
        words("verify", &[]),
        words("verify", &["--json"]),
        vec!["snapshot".into(), "list".into(), store.into()],
        vec!["snapshot".into(), "list".into(), store.into(), "--json".into()],
        copy("backup", store, &backup, &[]),
        copy("backup", store, &backup, &["--json"]),
        copy("restore", &backup, &place.join("one"), &[]),
        copy("restore", &backup, &place.join("two"), &["--json"]),
        words("repair", &[]),
        words("repair", &["--json"]),
    ]
}

#[test]
fn a_closed_pipe_ends_every_command_quietly() {
    let (store, place) = (store_with(&["key", "other"]), tempfile::tempdir().unwrap());
    printed(crate::command::caskfs([
        OsStr::new("snapshot"),
        "create".as_ref(),
        store.path().as_os_str(),
        "s".as_ref(),
    ]));
    for arguments in printing(store.path(), place.path()) {
        let arguments: Vec<&OsStr> = arguments.iter().map(OsString::as_os_str).collect();
        let (reader, writer) = nix::unistd::pipe().unwrap();
        drop(reader);
        let output = command(&arguments).stdout(writer).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!((output.status.code(), &*said), (Some(SIGPIPE), ""), "{arguments:?}");
    }
}

/// A disk that is full behind standard output is told, and is no crash.
#[test]
fn output_that_has_no_room_is_told() {
    let (store, place) = (store_with(&["key", "other"]), tempfile::tempdir().unwrap());
    printed(crate::command::caskfs([
        OsStr::new("snapshot"),
        "create".as_ref(),
        store.path().as_os_str(),
        "s".as_ref(),
    ]));
    for arguments in printing(store.path(), place.path()) {
        let arguments: Vec<&OsStr> = arguments.iter().map(OsString::as_os_str).collect();
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert_refused(&command(&arguments).stdout(full).output().unwrap(), 14, "standard output: No space left");
    }
}

/// Whoever reads a failure from a pipe may go away as well.
#[test]
fn a_closed_standard_error_is_no_crash() {
    let store = store_with(&["key"]);
    let (reader, writer) = nix::unistd::pipe().unwrap();
    drop(reader);
    let output = command(&["get".as_ref(), store.path().as_ref(), "missing".as_ref()]).stderr(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

/// Both commands want the store, and `put` alone: whichever comes first, and whether the value fits into a pipe or not.
#[test]
fn a_value_goes_from_key_to_key() {
    let store = store_with(&["b"]);
    for (round, length) in [10, 100_000, 3_000_000, 20_000_000].into_iter().enumerate() {
        let value: Vec<u8> = (0..length).map(|number: u32| (number >> 3) as u8 ^ number as u8).collect();
        printed(caskfs_fed(["put".as_ref(), store.path().as_os_str(), "a".as_ref()], &value));
        for delay in ["sleep 0.3; ", ""] {
            let to = format!("b{round}{}", delay.len());
            let script = format!(r#"set -o pipefail; {{ {delay}"$0" get "$1" a; }} | "$0" put "$1" {to}"#);
            printed(sh(store.path(), &script));
            assert!(printed(run(store.path(), "get", &[&to])) == value, "{length} {delay}");
            // Over a key that is there: itself.
            printed(sh(store.path(), &format!(r#"set -o pipefail; {delay}"$0" get "$1" a | "$0" put "$1" a"#)));
            assert!(printed(run(store.path(), "get", &["a"])) == value, "{length} {delay}");
        }
    }
}

/// Nor does any other command hold a store that is not mounted while it waits for its reader.
#[test]
fn a_listing_goes_to_a_key() {
    let store = tempfile::tempdir().unwrap();
    let keys: Vec<String> = (0..600).map(|number| format!("{number:0>200}")).collect();
    {
        let options = caskfs::Options { create: true, durable: false, ..Default::default() };
        let open = caskfs::Store::open(store.path(), options).unwrap();
        keys.iter().for_each(|key| open.put(key, "").unwrap());
    }
    printed(sh(store.path(), r#"set -o pipefail; "$0" ls "$1" | { sleep 0.3; "$0" put "$1" list; }"#));
    assert_eq!(text(run(store.path(), "get", &["list"])), keys.join("\n") + "\n");
}

/// A reader that does not read holds up nobody else.
#[test]
fn a_reader_that_sleeps_holds_no_store() {
    let store = tempfile::tempdir().unwrap();
    let value = vec![b'x'; 3_000_000];
    printed(caskfs_fed(["put".as_ref(), store.path().as_os_str(), "a".as_ref()], &value));
    let mut get = command(&["get".as_ref(), store.path().as_ref(), "a".as_ref()]).spawn().unwrap();
    let mut first = [0];
    let mut output = get.stdout.take().unwrap();
    output.read_exact(&mut first).unwrap();
    printed(run(store.path(), "put", &["a", "new"]));
    let mut rest = Vec::new();
    output.read_to_end(&mut rest).unwrap();
    assert!(rest.len() + 1 == value.len() && rest.iter().all(|byte| *byte == b'x'));
    assert!(get.wait().unwrap().success());
}

/// Nor does a writer that is slow: until the whole value is there, nothing is opened, made or changed.
#[test]
fn a_writer_that_sleeps_holds_no_store() {
    let store = store_with(&["a"]);
    let new = store.path().join("not/there");
    for path in [store.path(), &new] {
        let mut put = command(&["put".as_ref(), path.as_ref(), "a".as_ref()]).stdin(Stdio::piped()).spawn().unwrap();
        let mut input = put.stdin.take().unwrap();
        // More than a pipe holds: the command has begun to read.
        input.write_all(&[b'y'; 200_000]).unwrap();
        assert!(!new.parent().unwrap().exists());
        printed(run(store.path(), "put", &["other", "value"]));
        assert_eq!(text(run(store.path(), "get", &["a"])), "a");
        put.kill().unwrap();
        put.wait().unwrap();
        assert_eq!(text(run(store.path(), "get", &["a"])), "a");
    }
    assert!(!new.parent().unwrap().exists());
}

#[test]
fn input_that_cannot_be_read_changes_nothing() {
    let store = store_with(&["a"]);
    let new = store.path().join("new");
    for path in [store.path(), &new] {
        // A directory can be opened, and not read.
        let mut put = command(&["put".as_ref(), path.as_ref(), "a".as_ref()]);
        let output = put.stdin(File::open("/").unwrap()).output().unwrap();
        assert_refused(&output, 3, "standard input: Is a directory");
    }
    assert!(!new.exists());
    assert_eq!(text(run(store.path(), "get", &["a"])), "a");
}

/// What says that it is a file of no length, as in /proc; and a long one that is read from its middle.
#[test]
fn a_value_comes_from_any_kind_of_file() {
    let (store, place) = (store_with(&["a"]), tempfile::tempdir().unwrap());
    let put = |file: File| {
        let mut put = command(&["put".as_ref(), store.path().as_ref(), "a".as_ref()]);
        printed(put.stdin(file).output().unwrap());
        printed(run(store.path(), "get", &["a"]))
    };
    assert_eq!(put(File::open("/proc/version").unwrap()), fs::read("/proc/version").unwrap());
    let long: Vec<u8> = (0..20_000_000u32).map(|number| (number >> 8) as u8).collect();
    fs::write(place.path().join("long"), &long).unwrap();
    let mut file = File::open(place.path().join("long")).unwrap();
    assert!(put(file.try_clone().unwrap()) == long);
    std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(5_000_000)).unwrap();
    assert!(put(file) == long[5_000_000..]);
}

#[test]
fn a_value_may_begin_with_a_dash() {
    let store = store_with(&["k"]);
    for value in ["-5", "--five", "-k", "---"] {
        printed(run(store.path(), "put", &["k", value]));
        assert_eq!(text(run(store.path(), "get", &["k"])), value);
        printed(run(store.path(), "put", &["--ttl", "1h", "k", value]));
        printed(run(store.path(), "put", &["k", value, "--ttl", "1h"]));
        assert!(text(run(store.path(), "stat", &["k", "--json"])).contains("expires_ns"));
        assert_eq!(text(run(store.path(), "get", &["k"])), value);
    }
    printed(run(store.path(), "put", &["k", "v", "--ttl=1h"]));
    // A key does so behind two dashes.
    printed(run(store.path(), "put", &["--", "-k", "-v"]));
    assert_eq!(text(run(store.path(), "get", &["--", "-k"])), "-v");
    let refused = run(store.path(), "get", &["-k"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("'-- -k'"));
    // What is read is what is written: a dash alone is standard input.
    printed(caskfs_fed(["put".as_ref(), store.path().as_os_str(), "k".as_ref(), "-".as_ref()], b"fed"));
    assert_eq!(text(run(store.path(), "get", &["k"])), "fed");
}
