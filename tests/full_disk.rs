//! A real file system that another program fills to its last byte: deletions and merges go on, and the store takes writes
//! again once there is room.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use caskfs::{Error, Options, Store};
use tempfile::TempDir;

const KEYS: usize = 60;
const LEN: usize = 100_000;

/// A small file system of its own, gone when it is dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn ext4() -> SmallDisk {
        let disk = SmallDisk(tempfile::tempdir().unwrap());
        let image = disk.0.path().join("image");
        File::create(&image).unwrap().set_len(32 << 20).unwrap();
        run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image));
        fs::create_dir(disk.path()).unwrap();
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(disk.path()));
        disk
    }

    fn tmpfs() -> SmallDisk {
        let disk = SmallDisk(tempfile::tempdir().unwrap());
        fs::create_dir(disk.path()).unwrap();
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=32m", "tmpfs"]).arg(disk.path()));
        disk
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("disk")
    }

    /// Takes all the room that is left.
    fn fill(&self, name: &str) {
        let mut file = File::create(self.path().join(name)).unwrap();
        let bytes = vec![1; 1 << 20];
        let mut piece = bytes.len();
        // To the last block.
        while piece >= 512 {
            if file.write_all(&bytes[..piece]).is_err() {
                piece /= 2;
            }
        }
        let _ = file.sync_all();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).output();
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn open(path: &Path) -> Store {
    let options = Options { create: true, segment_size: 1 << 20, background: false, ..Options::default() };
    Store::open(path, options).unwrap()
}

fn check(store: &Store, kept: impl Fn(usize) -> bool) {
    for key in 0..KEYS {
        let value = store.get(format!("k{key}")).unwrap();
        assert!(value == kept(key).then(|| vec![key as u8; LEN]), "k{key}");
    }
}

/// One disk at a time: a child that one test has forked, and that has not called exec yet, holds the files that are open in
/// the other one; and as long as it does, the room of those that are removed does not come back.
static ALONE: Mutex<()> = Mutex::new(());

fn check_full_disk(make: fn() -> SmallDisk) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let disk = make();
    let path = disk.path().join("store");
    let store = open(&path);
    (0..KEYS).for_each(|key| store.put(format!("k{key}"), vec![key as u8; LEN]).unwrap());
    disk.fill("filler");
    assert!(matches!(store.put("more", vec![1; LEN]), Err(Error::NoSpace)));
    // Started while the disk is full.
    drop(store);
    let store = open(&path);
    check(&store, |_| true);
    // The keys of some segments, and some of all others.
    let gone = |key: usize| key < KEYS / 2 || key % 3 == 0;
    for key in (0..KEYS).filter(|key| gone(*key)) {
        assert!(store.remove(format!("k{key}")).unwrap());
    }
    store.sync().unwrap();
    check(&store, |key| !gone(key));
    let before = store.info().unwrap().log_bytes;
    store.compact().unwrap();
    let after = store.info().unwrap();
    assert!(after.log_bytes < before / 2, "{before} bytes before, {after:?}");
    assert_eq!(after.failure, None);
    // There is room again, though nobody else gave any back.
    store.put("k0", vec![0; LEN]).unwrap();
    check(&store, |key| key == 0 || !gone(key));
    drop(store);
    let store = open(&path);
    check(&store, |key| key == 0 || !gone(key));
    assert!(fs::metadata(path.join("reserve")).unwrap().len() > 100_000);
    // And once more, from one moment to the next.
    disk.fill("again");
    for key in 0..KEYS {
        assert_eq!(store.remove(format!("k{key}")).unwrap(), key == 0 || !gone(key));
    }
    store.compact().unwrap();
    assert_eq!(store.info().unwrap().keys, 0);
}

/// Says so and returns false if this test cannot be run by an ordinary user.
fn needs_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("not run: only root can mount a disk of its own");
    }
    root
}

#[test]
fn a_full_ext4_can_be_emptied() {
    if needs_root() {
        check_full_disk(SmallDisk::ext4);
    }
}

#[test]
fn a_full_tmpfs_can_be_emptied() {
    if needs_root() {
        check_full_disk(SmallDisk::tmpfs);
    }
}
