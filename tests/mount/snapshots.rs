//! Snapshots of a mounted store that is being written to.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::command::{assert_refused, caskfs, text};
use crate::sandbox::{Sandbox, require};

const WRITERS: usize = 4;

fn snapshot(sandbox: &Sandbox, verb: &str, name: &str) {
    let store = sandbox.store();
    text(caskfs([OsStr::new("snapshot"), verb.as_ref(), store.as_os_str(), name.as_ref()]));
}

/// What the writers had written when a snapshot was taken: of each its first and its second key.
fn counters(directory: &Path) -> BTreeMap<usize, (u32, u32)> {
    let read = |key: String| -> u32 {
        let value = fs::read_to_string(directory.join(key)).unwrap();
        let (number, rest) = value.split_once(' ').unwrap();
        assert_eq!(rest, format!("{number} ").repeat(200), "half a value");
        number.parse().unwrap()
    };
    (0..WRITERS).map(|writer| (writer, (read(format!("{writer}-first")), read(format!("{writer}-second"))))).collect()
}

/// Each writer sets one key and then the other to the same number, and goes on to the next. So in every snapshot the
/// first is what the second is, or one ahead; and none is older than what had been acknowledged.
#[test]
fn a_snapshot_under_load_is_one_moment() {
    require("rsync");
    let sandbox = Sandbox::mounted();
    let (stop, done) = (AtomicBool::new(false), [const { AtomicU32::new(0) }; WRITERS]);
    let set = |key: String, number: u32| fs::write(sandbox.at(key), format!("{number} ").repeat(201)).unwrap();
    let acknowledged = || -> Vec<u32> { done.iter().map(|done| done.load(Ordering::SeqCst)).collect() };
    let mut bounds = Vec::new();
    for (writer, done) in done.iter().enumerate() {
        set(format!("{writer}-first"), 0);
        set(format!("{writer}-second"), 0);
        done.store(0, Ordering::SeqCst);
    }
    std::thread::scope(|scope| {
        for (writer, done) in done.iter().enumerate() {
            let (stop, set) = (&stop, &set);
            scope.spawn(move || {
                for number in 1.. {
                    set(format!("{writer}-first"), number);
                    set(format!("{writer}-second"), number);
                    done.store(number, Ordering::SeqCst);
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        for round in 0..6 {
            let before = acknowledged();
            snapshot(&sandbox, "create", &format!("s{round}"));
            let after = acknowledged();
            bounds.push((before, after));
            text(sandbox.caskfs("compact", &[]));
        }
        stop.store(true, Ordering::Relaxed);
    });
    // As it stands a snapshot can be copied, and the copy is a store.
    let check = || {
        for (round, (before, after)) in bounds.iter().enumerate() {
            let copy = Sandbox::new();
            let mut rsync = std::process::Command::new("rsync");
            let from = sandbox.store().join(format!("snapshots/s{round}/"));
            assert!(rsync.arg("-a").arg(from).arg(copy.store()).status().unwrap().success());
            assert_refused(&copy.try_mount(&[]), 15, "it is a snapshot or a backup");
            copy.mount_with(&["--read-only"]);
            for (writer, (first, second)) in counters(&copy.mountpoint()) {
                assert!(first == second || first == second + 1, "s{round}: writer {writer} at {first}, {second}");
                assert!(second >= before[writer], "s{round} lacks what was acknowledged: {second} of {before:?}");
                assert!(first <= after[writer] + 1, "s{round} is of later: {first} of {after:?}");
            }
        }
    };
    check();
    sandbox.crash();
    sandbox.sh("rm *-first");
    text(sandbox.caskfs("compact", &[]));
    check();
    snapshot(&sandbox, "remove", "s0");
    assert!(!sandbox.store().join("snapshots/s0").exists());
}
