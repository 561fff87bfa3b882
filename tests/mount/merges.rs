//! Space that comes back while the store is mounted and in use.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::command::text;
use crate::sandbox::Sandbox;

const MIB: usize = 1 << 20;

/// Bytes that the store takes on the disk.
fn used(sandbox: &Sandbox) -> u64 {
    let segments = fs::read_dir(sandbox.store().join("segments")).unwrap();
    // One that a merge has just taken away has no length.
    segments.filter_map(|segment| Some(segment.ok()?.metadata().ok()?.len())).sum()
}

/// A value of so many bytes that is told from every other.
fn value(key: usize, version: usize, len: usize) -> Vec<u8> {
    format!("key {key} in version {version}\n").into_bytes().into_iter().cycle().take(len).collect()
}

#[test]
fn overwritten_values_give_their_space_back() {
    let sandbox = Sandbox::mounted();
    // In the same segments as what is overwritten, and not to be lost with it.
    let (keys, versions) = (16, 25);
    for version in 1..=versions {
        for key in 0..keys {
            fs::write(sandbox.at(format!("key{key}")), value(key, version, MIB)).unwrap();
        }
        fs::write(sandbox.at(format!("once{version}")), value(100, version, 1_000)).unwrap();
    }
    sandbox.wait("the merge", || used(&sandbox) < 200 << 20);
    let check = || {
        for key in 0..keys {
            assert!(fs::read(sandbox.at(format!("key{key}"))).unwrap() == value(key, versions, MIB), "key{key}");
        }
        for version in 1..=versions {
            assert_eq!(fs::read(sandbox.at(format!("once{version}"))).unwrap(), value(100, version, 1_000));
        }
    };
    check();
    sandbox.remount();
    check();
    text(sandbox.caskfs("compact", &[]));
    check();
    sandbox.crash();
    check();
    sandbox.sh("rm key*");
    text(sandbox.caskfs("compact", &[]));
    sandbox.crash();
    assert_eq!(fs::read_dir(sandbox.mountpoint()).unwrap().count(), versions);
}

/// fs::copy asks the kernel for copy_file_range(2), as cp does.
#[test]
fn a_copy_takes_no_room_and_outlives_what_it_is_of() {
    let sandbox = Sandbox::mounted_with(&["--segment-size", "1M"]);
    let bytes = value(1, 1, 20 * MIB);
    fs::write(sandbox.at("source"), &bytes).unwrap();
    let before = used(&sandbox);
    assert_eq!(fs::copy(sandbox.at("source"), sandbox.at("copy")).unwrap(), bytes.len() as u64);
    // Zeros are written ahead in the last segment.
    assert!(used(&sandbox) < before + 3 * MIB as u64, "{} bytes, and {before} before", used(&sandbox));
    let mut copy = bytes.clone();
    let patch = OpenOptions::new().write(true).open(sandbox.at("copy")).unwrap();
    for place in (0..copy.len()).step_by(MIB) {
        // Half of each segment is overwritten, and the other is still shared.
        patch.write_all_at(&value(2, 2, MIB / 2), place as u64).unwrap();
        copy[place..place + MIB / 2].copy_from_slice(&value(2, 2, MIB / 2));
    }
    drop(patch);
    fs::write(sandbox.at("source"), "new").unwrap();
    for _ in 0..2 {
        text(sandbox.caskfs("compact", &[]));
        assert!(fs::read(sandbox.at("copy")).unwrap() == copy);
        sandbox.crash();
        assert!(fs::read(sandbox.at("copy")).unwrap() == copy);
    }
    assert!(used(&sandbox) < 30 * MIB as u64, "{} bytes", used(&sandbox));
}

/// Merges one after the other, readers and writers beside them, and a daemon that dies in the middle.
#[test]
fn merges_survive_kill_nine() {
    const SIZE: usize = 24 * MIB;
    let sandbox = Sandbox::mounted();
    let mut random = StdRng::seed_from_u64(11);
    let mut wanted = value(0, 0, SIZE);
    fs::write(sandbox.at("big"), &wanted).unwrap();
    for number in 0..50 {
        fs::write(sandbox.at(format!("small{number}")), value(number, 0, 2_000)).unwrap();
    }
    for round in 1..=4 {
        let file = OpenOptions::new().write(true).open(sandbox.at("big")).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    // It ends with an error when the daemon does.
                    sandbox.caskfs("compact", &[]);
                }
            });
            for _ in 0..60 {
                let len = random.random_range(1..4 * MIB);
                let place = random.random_range(0..SIZE - len);
                let byte = random.random();
                wanted[place..place + len].fill(byte);
                file.write_all_at(&vec![byte; len], place as u64).unwrap();
            }
            file.sync_all().unwrap();
            sandbox.kill();
            stop.store(true, Ordering::Relaxed);
        });
        drop(file);
        // The command may have found no daemon, and have the store for itself for a while.
        sandbox.mount();
        assert!(fs::read(sandbox.at("big")).unwrap() == wanted, "round {round}");
        for number in 0..50 {
            assert_eq!(fs::read(sandbox.at(format!("small{number}"))).unwrap(), value(number, 0, 2_000));
        }
    }
}
