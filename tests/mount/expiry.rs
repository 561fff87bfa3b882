//! Keys that expire, as the kernel shows them. The clock decides what is right at each moment; nothing has to be in time.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek};
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::command::{printed, text};
use crate::sandbox::{Sandbox, require};

/// When a key expires.
#[track_caller]
fn expires(sandbox: &Sandbox, key: &str) -> SystemTime {
    let seconds = sandbox.sh(&format!("getfattr --only-values -n user.caskfs.expires {key}"));
    UNIX_EPOCH + Duration::from_secs(seconds.parse().unwrap())
}

/// Reads and lists a key until it has been gone once: it is there until its second, and from then on it is not.
#[track_caller]
fn watch(sandbox: &Sandbox, directory: &str, name: &str, value: &[u8]) {
    let expires = expires(sandbox, &format!("{directory}/{name}"));
    let path = sandbox.at(directory).join(name);
    let check = |what: &str, before: SystemTime, there: bool| {
        let after = SystemTime::now();
        assert!(there || after >= expires, "{what}: gone {:?} too early", expires.duration_since(after));
        assert!(!there || before < expires, "{what}: still there after {:?}", before.duration_since(expires));
    };
    loop {
        let before = SystemTime::now();
        let read = fs::read(&path);
        match &read {
            Ok(found) => assert_eq!(found, value),
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
        }
        check("open", before, read.is_ok());
        let before = SystemTime::now();
        check("stat", before, fs::metadata(&path).is_ok());
        let before = SystemTime::now();
        let mut names = fs::read_dir(sandbox.at(directory)).unwrap().map(|entry| entry.unwrap().file_name());
        check("list", before, names.any(|listed| listed == name));
        if before >= expires {
            return;
        }
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_expired_key_is_gone_from_the_mount() {
    require("getfattr");
    let sandbox = Sandbox::mounted();
    sandbox.sh("mkdir d; echo stays > d/stays; ls d");
    printed(sandbox.caskfs("put", &["--ttl", "2s", "d/k", "value"]));
    watch(&sandbox, "d", "k", b"value");
    assert_eq!(
        sandbox.sh("ls d; cat d/stays; cat d/k 2>&1 || true"),
        "stays\nstays\ncat: d/k: No such file or directory\n"
    );
    sandbox.remount();
    assert_eq!(sandbox.sh("ls d"), "stays\n");
}

/// The kernel was told long before that it may keep the name for good.
#[test]
fn a_time_that_is_set_through_the_mount_counts_too() {
    require("setfattr");
    let sandbox = Sandbox::mounted();
    sandbox.sh("mkdir d; echo stays > d/stays; echo value > d/k; cat d/k; ls -l d; stat d/k");
    sandbox.sh("setfattr -n user.caskfs.expires -v +2 d/k");
    let mut open = File::open(sandbox.at("d/k")).unwrap();
    watch(&sandbox, "d", "k", b"value\n");
    // As a file that was removed.
    let mut value = String::new();
    open.rewind().unwrap();
    open.read_to_string(&mut value).unwrap();
    assert_eq!((value.as_str(), open.metadata().unwrap().len()), ("value\n", 6));
    sandbox.sh("echo again > d/k; cat d/k; ! getfattr -n user.caskfs.expires d/k");
}

#[test]
fn what_nobody_looks_at_expires_as_well() {
    let sandbox = Sandbox::mounted();
    for key in ["a", "b", "c"] {
        printed(sandbox.caskfs("put", &["--ttl", "1s", key, "value"]));
    }
    let expired = || text(sandbox.caskfs("info", &["--json"])).contains("\"expired_keys\":3");
    sandbox.wait("three keys to expire", expired);
    assert_eq!(sandbox.sh("ls -A"), "");
}

#[test]
fn copies_take_the_time_along_and_writing_keeps_it() {
    require("setfattr");
    require("rsync");
    let sandbox = Sandbox::mounted();
    let shown = sandbox.sh(
        "show() { getfattr --only-values -n user.caskfs.expires \"$1\"; echo; }
        echo value > k; setfattr -n user.caskfs.expires -v 9000000000 k; getfattr -m - k | grep caskfs
        cp -a k copy; show copy; rsync -X k synced; show synced; mv k moved; show moved; ln moved link; show link
        echo more >> moved; show moved; : > moved; show moved
        cp moved plain; getfattr -m - plain
        setfattr -x user.caskfs.expires link; getfattr -m - moved
        for wrong in soon '' 1.5; do ! setfattr -n user.caskfs.expires -v \"$wrong\" moved 2>&1; done | grep -c Invalid",
    );
    let times = "9000000000\n".repeat(6);
    assert_eq!(shown, format!("user.caskfs.expires\n{times}3\n"));
    let stat = text(sandbox.caskfs("stat", &["copy"]));
    assert!(stat.contains("expires:   2255-03-14T16:00:00Z"), "{stat}");
}
