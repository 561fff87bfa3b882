//! Every refusal: one line that says what to do, an exit code of its own, and nothing changed on the disk.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use nix::fcntl::{Flock, FlockArg};
use tempfile::TempDir;

use crate::command::{assert_refused, caskfs, caskfs_fed, snapshot};
use crate::keys::{run, store_with};

/// Runs what must be refused, and asserts that it changed nothing below the directory.
#[track_caller]
fn refused(directory: &Path, code: i32, text: &str, command: impl FnOnce() -> Output) {
    let before = snapshot(directory);
    let output = command();
    assert_refused(&output, code, text);
    let after = snapshot(directory);
    assert!(before == after, "what is on the disk has changed:\n{:?}\n{:?}", before.keys(), after.keys());
}

/// A directory with a store in `store` and an empty directory in `mnt`.
fn place() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    crate::command::printed(run(&directory.path().join("store"), "put", &["key", "value"]));
    fs::create_dir(directory.path().join("mnt")).unwrap();
    directory
}

fn mount(store: impl AsRef<OsStr>, mountpoint: impl AsRef<OsStr>) -> Output {
    caskfs(["mount".as_ref(), store.as_ref(), mountpoint.as_ref()])
}

/// Every command on a store, with what each needs besides.
const COMMANDS: [(&str, &[&str]); 8] = [
    ("get", &["key"]),
    ("put", &["key", "new"]),
    ("rm", &["key"]),
    ("mv", &["key", "other"]),
    ("ls", &[]),
    ("stat", &["key"]),
    ("info", &[]),
    ("compact", &[]),
];

#[track_caller]
fn all_refuse(directory: &Path, store: &Path, code: i32, text: &str) {
    for (name, arguments) in COMMANDS {
        refused(directory, code, text, || run(store, name, arguments));
    }
    refused(directory, code, text, || mount(store, directory.join("mnt")));
}

#[test]
fn a_store_of_the_future() {
    let directory = place();
    let store = directory.path().join("store");
    let format = fs::read_to_string(store.join("format")).unwrap();
    fs::write(store.join("format"), format.replace("version 2", "version 3")).unwrap();
    all_refuse(directory.path(), &store, 11, "format version 3");
}

#[test]
fn a_directory_that_is_no_store() {
    let directory = tempfile::tempdir().unwrap();
    let (store, mnt) = (directory.path().join("photos"), directory.path().join("mnt"));
    fs::create_dir(&store).unwrap();
    fs::create_dir(&mnt).unwrap();
    fs::write(store.join("photo.jpg"), "a photo").unwrap();
    all_refuse(directory.path(), &store, 10, "store");
}

/// Those that look, or change what is there, make no store; `put` and `mount` do.
#[test]
fn an_empty_or_missing_directory() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty");
    fs::create_dir(&empty).unwrap();
    for store in [empty, directory.path().join("missing")] {
        for (name, arguments) in COMMANDS.into_iter().filter(|(name, _)| *name != "put") {
            refused(directory.path(), 10, store.to_str().unwrap(), || run(&store, name, arguments));
        }
    }
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    for (name, arguments) in COMMANDS {
        let output = run(&file, name, arguments);
        assert!(!output.status.success(), "{name}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"");
}

#[test]
fn a_store_that_another_process_has() {
    let directory = place();
    let store = directory.path().join("store");
    let file = File::open(store.join("lock")).unwrap();
    let _lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).unwrap();
    // Each waits for a while first, so not one after the other.
    std::thread::scope(|scope| {
        let wait = |output: Output| assert_refused(&output, 12, "in use by another process");
        let before = snapshot(directory.path());
        let threads: Vec<_> = COMMANDS
            .into_iter()
            .map(|(name, arguments)| {
                let store = &store;
                scope.spawn(move || wait(run(store, name, arguments)))
            })
            .collect();
        wait(mount(&store, directory.path().join("mnt")));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert!(before == snapshot(directory.path()));
    });
}

#[test]
fn a_mountpoint_that_is_not_empty() {
    let directory = place();
    fs::write(directory.path().join("mnt/file"), "hidden by a mount").unwrap();
    refused(directory.path(), 22, "is not empty", || {
        mount(directory.path().join("store"), directory.path().join("mnt"))
    });
    // Nor is a store made for it.
    refused(directory.path(), 22, "is not empty", || mount(directory.path().join("new"), directory.path().join("mnt")));
}

#[test]
fn a_mountpoint_that_is_missing_or_a_file() {
    let directory = place();
    let store = directory.path().join("store");
    refused(directory.path(), 21, "does not exist", || mount(&store, directory.path().join("missing")));
    fs::write(directory.path().join("file"), "").unwrap();
    refused(directory.path(), 21, "is not a directory", || mount(&store, directory.path().join("file")));
}

#[test]
fn a_mount_over_or_inside_the_store() {
    let directory = place();
    let path = directory.path();
    let store = path.join("store");
    refused(path, 23, "is inside the store", || mount(&store, &store));
    refused(path, 23, "is inside the store", || mount(&store, store.join("segments")));
    fs::create_dir(path.join("above")).unwrap();
    fs::rename(&store, path.join("above/store")).unwrap();
    let store = path.join("above/store");
    refused(path, 23, "is inside the mountpoint", || mount(&store, path.join("above")));
    // However it is spelled.
    symlink("above/store", path.join("link")).unwrap();
    refused(path, 23, "is inside the store", || mount(path.join("link"), store.join("segments")));
    refused(path, 23, "is inside the store", || mount(&store, path.join("link/../store/segments")));
    // And a store that is not there yet.
    refused(path, 23, "is inside the mountpoint", || mount(path.join("mnt/new"), path.join("mnt")));
    refused(path, 23, "is inside the store", || mount(path.join("mnt"), path.join("mnt")));
}

#[test]
fn nothing_is_mounted_there() {
    let directory = place();
    let umount = |path: &Path| caskfs(["umount".as_ref(), path.as_os_str()]);
    refused(directory.path(), 25, "no caskfs store is mounted there", || umount(&directory.path().join("mnt")));
    refused(directory.path(), 21, "does not exist", || umount(&directory.path().join("missing")));
    assert_refused(&umount(Path::new("/proc")), 25, "no caskfs store is mounted there");
}

#[test]
fn keys_that_are_none() {
    let store = store_with(&["key", "d/key"]);
    let path = store.path();
    let long = "x".repeat(256);
    let text = "a key is a path of names between slashes";
    for (key, text) in [
        ("..", text),
        ("d/../key", text),
        ("./key", text),
        ("d//key", text),
        ("key/", text),
        (long.as_str(), "at most 255 bytes"),
    ] {
        refused(path, 3, text, || run(path, "put", &[key, "v"]));
        refused(path, 3, text, || run(path, "get", &[key]));
        refused(path, 3, text, || run(path, "rm", &[key]));
        refused(path, 3, text, || run(path, "mv", &["key", key]));
        refused(path, 3, text, || run(path, "mv", &[key, "key"]));
        refused(path, 3, text, || run(path, "stat", &[key]));
    }
    refused(path, 3, text, || run(path, "put", &["", "v"]));
    assert_refused(&run(path, "put", &["key/below", "v"]), 3, "not a directory");
    assert_refused(&run(path, "put", &["d", "v"]), 3, "it is a directory");
    assert_refused(&run(path, "get", &["d"]), 3, "it is a directory");
    assert_eq!(run(path, "ls", &["-r"]).stdout, b"d/\nd/key\nkey\n");
}

#[test]
fn a_damaged_manifest_or_format_file() {
    for (file, place) in [("manifest", 3), ("manifest", 20), ("format", 40)] {
        let directory = place_with(file, |bytes| bytes[place] ^= 0x20);
        all_refuse(directory.path(), &directory.path().join("store"), 13, &format!("{file} is damaged"));
    }
    let directory = place();
    fs::remove_file(directory.path().join("store/manifest")).unwrap();
    let wanted = "manifest is damaged: it is missing: `caskfs repair --dry-run` says what can be saved";
    all_refuse(directory.path(), &directory.path().join("store"), 13, wanted);
    let directory = place_with("manifest", |bytes| bytes.truncate(10));
    all_refuse(directory.path(), &directory.path().join("store"), 13, "manifest is damaged");
    let directory = place_with("manifest", |bytes| bytes.truncate(80));
    all_refuse(directory.path(), &directory.path().join("store"), 13, "manifest is damaged: its end is missing");
}

/// A place whose store has a file changed.
fn place_with(file: &str, change: impl FnOnce(&mut Vec<u8>)) -> TempDir {
    let directory = place();
    let path = directory.path().join("store").join(file);
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
    directory
}

#[test]
fn a_damaged_value_costs_that_key_alone() {
    let directory = place();
    let store = directory.path().join("store");
    // Two records of a mebibyte, and the rest.
    let value = vec![b'v'; 2_500_000];
    crate::command::printed(caskfs_fed(["put".as_ref(), store.as_os_str(), "damaged".as_ref()], &value));
    crate::command::printed(run(&store, "put", &["behind", "it"]));
    for entry in fs::read_dir(store.join("segments")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        if bytes.len() > value.len() {
            bytes[1_500_000] ^= 1;
            fs::write(path, bytes).unwrap();
        }
    }
    let output = run(&store, "get", &["damaged"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(13), "{said}");
    assert!(said.lines().last().unwrap().contains("the value of damaged is damaged"), "{said}");
    assert!(value.starts_with(&output.stdout), "no wrong byte is served");
    assert_eq!(run(&store, "get", &["key"]).stdout, b"value");
    assert_eq!(run(&store, "get", &["behind"]).stdout, b"it");
    let info = run(&store, "info", &["--json"]).stdout;
    assert!(String::from_utf8_lossy(&info).contains("\"damaged_keys\":[\"damaged\"]"));
}

#[test]
fn wrong_usage() {
    for arguments in [&["mount"][..], &["frobnicate"], &["get", "store"], &["mount", "--umask", "9", "a", "b"]] {
        let output = caskfs(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty());
    }
}

/// In a mount namespace of its own, where /dev/fuse is something else or missing.
#[test]
fn there_is_no_fuse() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not run: only root can take /dev/fuse away");
        return;
    }
    let without = |hide: &str, directory: &Path| -> Output {
        let script = format!("{hide}\nexec \"$0\" mount \"$1/store\" \"$1/mnt\"");
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-euc", &script, env!("CARGO_BIN_EXE_caskfs")]).arg(directory);
        command.output().unwrap()
    };
    let missing = r#"
        mount -t tmpfs none "$1/dev"
        : > "$1/dev/null"
        mount --bind /dev/null "$1/dev/null"
        mount --rbind "$1/dev" /dev
    "#;
    for hide in [missing, "mount --bind /dev/null /dev/fuse"] {
        let directory = place();
        fs::create_dir(directory.path().join("dev")).unwrap();
        refused(directory.path(), 20, "/dev/fuse", || without(hide, directory.path()));
        fs::remove_dir_all(directory.path().join("store")).unwrap();
        // And no store is made.
        refused(directory.path(), 20, "/dev/fuse", || without(hide, directory.path()));
    }
}
