//! Trees that go into a store and out of it without the mount, and backups of a store that is mounted.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::command::{assert_refused, caskfs, text};
use crate::rsync::assert_same;
use crate::sandbox::Sandbox;
use crate::tree;

/// `caskfs COMMAND FROM TO ARGUMENTS...`
fn copy(command: &str, from: &Path, to: &Path, arguments: &[&str]) -> Output {
    let mut all: Vec<OsString> = vec![command.into(), from.into(), to.into()];
    all.extend(arguments.iter().map(OsString::from));
    caskfs(all)
}

fn snapshots(sandbox: &Sandbox) -> String {
    text(caskfs([OsStr::new("snapshot"), "list".as_ref(), sandbox.store().as_os_str()]))
}

#[test]
fn a_tree_is_imported_and_exported() {
    let sandbox = Sandbox::new();
    let (source, store) = (sandbox.outside("source"), sandbox.store());
    tree::make(&source);
    let back = |name: &str| sandbox.outside(name);
    assert_eq!(text(copy("import", &source, &store, &[])), "");
    assert_eq!(text(copy("export", &store, &back("unmounted"), &[])), "");
    assert_same(&source, &back("unmounted"));
    assert_same(&back("unmounted"), &source);
    assert!(fs::metadata(back("unmounted").join("sparse")).unwrap().blocks() < 1_000, "holes stay holes");

    sandbox.mount();
    assert_same(&source, &sandbox.mountpoint());
    assert_eq!(text(copy("export", &store, &back("mounted"), &[])), "");
    assert_same(&source, &back("mounted"));
    assert_eq!(snapshots(&sandbox), "");

    // Nothing is replaced, and nothing goes in past a daemon.
    assert_refused(&copy("export", &store, &back("mounted"), &[]), 17, "there is something in it already");
    assert_refused(&copy("import", &source, &store, &["--below", "x"]), 12, "the store is mounted at");
    sandbox.unmount();
    assert_refused(&copy("import", &source, &store, &[]), 17, "there are keys already");
    assert_refused(&copy("export", &store, &store.join("out"), &[]), 23, "within");
    fs::create_dir(back("small")).unwrap();
    fs::write(back("small").join("key"), "value").unwrap();
    assert_eq!(text(copy("import", &back("small"), &store, &["--below", "down/there"])), "");
    assert_eq!(text(sandbox.caskfs("get", &["down/there/key"])), "value");
}

#[test]
fn a_mounted_store_is_backed_up_and_restored() {
    let sandbox = Sandbox::mounted();
    let (store, backup, restored) = (sandbox.store(), sandbox.outside("backup"), sandbox.outside("restored"));
    sandbox.sh("mkdir d; for i in $(seq 300); do echo $i > d/$i; done");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                fs::write(sandbox.at("counter"), format!("{number}\n").repeat(1_000)).unwrap();
            }
        });
        let mut last = 0;
        for _ in 0..5 {
            let said = text(copy("backup", &store, &backup, &["--json"]));
            assert!(said.contains("\"damaged_bytes\":0"), "{said}");
            let counter = caskfs([OsStr::new("get"), backup.as_os_str(), "counter".as_ref()]);
            let counter = String::from_utf8(counter.stdout).unwrap();
            let number: u64 = counter.lines().next().map_or(0, |line| line.parse().unwrap());
            assert!(number >= last && counter.lines().all(|line| line == number.to_string()), "{counter}");
            last = number;
        }
        assert!(last > 0);
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(snapshots(&sandbox), "");
    text(copy("restore", &backup, &restored, &[]));
    let keys = text(caskfs([OsStr::new("ls"), restored.as_os_str(), "d".as_ref()]));
    assert_eq!(keys.lines().count(), 300);
    assert_eq!(text(caskfs([OsStr::new("get"), restored.as_os_str(), "d/77".as_ref()])), "77\n");
    text(caskfs([OsStr::new("put"), restored.as_os_str(), "d/77".as_ref(), "new".as_ref()]));
    assert_eq!(fs::read_to_string(sandbox.at("d/77")).unwrap(), "77\n");
}

/// A command that is killed takes the snapshot that it copied from along.
#[test]
fn a_backup_that_is_killed_leaves_nothing() {
    let sandbox = Sandbox::mounted();
    sandbox.sh("echo value > key");
    let mut stream = UnixStream::connect(sandbox.store().join("control")).unwrap();
    stream.write_all(b"\"Backup\"\n").unwrap();
    let mut said = String::new();
    BufReader::new(&stream).read_line(&mut said).unwrap();
    assert!(said.starts_with("+{\"Backup\":"), "{said}");
    assert!(snapshots(&sandbox).contains(".backup.1"));
    // Beside it another one works.
    text(copy("backup", &sandbox.store(), &sandbox.outside("backup"), &[]));
    assert!(snapshots(&sandbox).contains(".backup.1"));
    drop(stream);
    sandbox.wait("the snapshot's end", || snapshots(&sandbox).is_empty());
    // Nor does one that is under way hold the unmount up.
    let mut stream = UnixStream::connect(sandbox.store().join("control")).unwrap();
    stream.write_all(b"\"Backup\"\n").unwrap();
    stream.read_exact(&mut [0; 4]).unwrap();
    sandbox.unmount();
    drop(stream);
    text(copy("backup", &sandbox.store(), &sandbox.outside("backup"), &[]));
    assert_eq!(snapshots(&sandbox), "");
}

/// The store's directory is renamed while it is mounted, and another one gets its name.
#[test]
fn a_store_is_renamed_while_it_is_mounted() {
    let sandbox = Sandbox::mounted_with(&["--segment-size", "64K"]);
    let moved = sandbox.outside("moved");
    let caskfs = |command: &str, arguments: &[&str]| {
        let mut all: Vec<OsString> = vec![command.into(), moved.clone().into()];
        all.extend(arguments.iter().map(OsString::from));
        text(caskfs(all))
    };
    fs::rename(sandbox.store(), &moved).unwrap();
    fs::create_dir(sandbox.store()).unwrap();
    // New segments, a snapshot, a merge.
    sandbox
        .sh("for i in $(seq 20); do head -c 30000 /dev/urandom > f$i; done; rm f?; mkdir .snapshots/s; echo x > key");
    assert_eq!(caskfs("get", &["key"]), "x\n");
    caskfs("compact", &[]);
    assert!(caskfs("info", &[]).starts_with(&format!("store:      {}\n", moved.canonicalize().unwrap().display())));
    text(copy("backup", &moved, &sandbox.outside("backup"), &[]));
    assert!(caskfs("verify", &[]).starts_with("left: "));
    assert_eq!(fs::read_dir(sandbox.store()).unwrap().count(), 0);
    let unmounted = crate::command::caskfs([OsStr::new("umount"), sandbox.mountpoint().as_os_str()]);
    assert!(unmounted.status.success() && !sandbox.is_mounted());
    sandbox.wait_for_end();
    assert!(!moved.join("control").exists());
    assert_eq!(caskfs("ls", &["f1"]).lines().count(), 10);
    fs::remove_dir(sandbox.store()).unwrap();
    fs::rename(&moved, sandbox.store()).unwrap();
    sandbox.mount();
    assert_eq!(sandbox.sh("cat key"), "x\n");
}
