//! A directory tree with everything in it that a backup may meet.

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, chown, lchown, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use nix::sys::stat::{Mode, SFlag, UtimensatFlags, makedev, mknod, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::mkfifo;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::sandbox::{is_root, require};

/// Ordinary files in the tree.
const FILES: u32 = 2_000;

/// Makes the tree in a directory that does not exist yet.
pub(crate) fn make(root: &Path) {
    fs::create_dir(root).unwrap();
    files(root);
    names(root);
    links(root);
    kinds(root);
    attributes(root);
    // Last of all: every change above changes a directory's time.
    times(root);
}

fn files(root: &Path) {
    let mut random = StdRng::seed_from_u64(2);
    for number in 0..FILES {
        let directory = root.join(format!("files/{}/{}", number % 7, number % 31));
        fs::create_dir_all(&directory).unwrap();
        let len = match number % 50 {
            0 => random.random_range(0..300_000),
            1 => 0,
            2 => 4096,
            _ => random.random_range(1..3_000),
        };
        let path = directory.join(format!("f{number}"));
        fs::write(&path, (0..len).map(|_| random.random()).collect::<Vec<u8>>()).unwrap();
        let mode = [0o644, 0o600, 0o755, 0o444, 0o000, 0o4755, 0o2711, 0o666][number as usize % 8];
        if is_root() && number % 5 == 0 {
            chown(&path, Some(1_000 + number), Some(2_000 + number)).unwrap();
        }
        // Those that must be read to be copied, if not by root.
        fs::set_permissions(&path, Permissions::from_mode(if is_root() { mode } else { mode | 0o400 })).unwrap();
    }
    fs::create_dir_all(root.join("empty/of/everything")).unwrap();
    for number in 0..20 {
        fs::create_dir(root.join(format!("empty/{number}"))).unwrap();
    }
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.write_all_at(b"front", 0).unwrap();
    sparse.write_all_at(b"back", 9 << 20).unwrap();
    sparse.set_len((10 << 20) + 1).unwrap();
}

fn names(root: &Path) {
    let directory = root.join("names");
    fs::create_dir(&directory).unwrap();
    for byte in (1..=255).filter(|&byte| byte != b'/' && byte != b'.') {
        fs::write(directory.join(OsStr::from_bytes(&[byte])), [byte]).unwrap();
        fs::create_dir(directory.join(OsStr::from_bytes(&[b'd', byte, b' ']))).unwrap();
    }
    fs::write(directory.join("n".repeat(255)), "long").unwrap();
    let mut deep = directory.join("deep");
    for number in 0..12 {
        deep = deep.join("x".repeat(100 + number));
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("end"), "deep").unwrap();
}

fn links(root: &Path) {
    let directory = root.join("links");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("one"), "one inode, many names").unwrap();
    for number in 0..50 {
        fs::hard_link(directory.join("one"), directory.join(format!("hard{number}"))).unwrap();
    }
    fs::hard_link(directory.join("one"), root.join("files/1/another directory")).unwrap();
    symlink("one", directory.join("soft")).unwrap();
    symlink("../files", directory.join("to a directory")).unwrap();
    symlink("nowhere\nat all \u{fc}", directory.join("dangling")).unwrap();
    symlink(OsStr::from_bytes(&[b't'; 4_000]), directory.join("long")).unwrap();
    if is_root() {
        lchown(directory.join("dangling"), Some(33), Some(44)).unwrap();
    }
}

fn kinds(root: &Path) {
    let directory = root.join("kinds");
    fs::create_dir(&directory).unwrap();
    mkfifo(&directory.join("fifo"), Mode::from_bits_truncate(0o640)).unwrap();
    mknod(&directory.join("socket"), SFlag::S_IFSOCK, Mode::from_bits_truncate(0o600), 0).unwrap();
    // Root in a container need not be allowed to make one.
    let _ = mknod(&directory.join("null"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3));
    for (name, mode) in [("sticky", 0o1777), ("setgid", 0o2775), ("closed", 0o500)] {
        fs::create_dir(directory.join(name)).unwrap();
        fs::set_permissions(directory.join(name), Permissions::from_mode(mode)).unwrap();
    }
}

fn attributes(root: &Path) {
    require("setfattr");
    let set = |name: &str, value: &str, path: &str| {
        let output = Command::new("setfattr").args(["-n", name, "-v", value]).arg(root.join(path)).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}: set TMPDIR to a directory that takes extended attributes");
    };
    fs::write(root.join("attributed"), "value").unwrap();
    set("user.comment", "a file", "attributed");
    set("user.empty", "", "attributed");
    set("user.binary", "0x00ff0a00", "attributed");
    set("user.long", &"v".repeat(3_000), "attributed");
    set("user.comment", "a directory", "empty");
}

fn times(root: &Path) {
    let mut random = StdRng::seed_from_u64(3);
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        // From 1909 to 2200, to the nanosecond; and some whole seconds.
        let nanoseconds = if random.random_ratio(1, 10) { 0 } else { random.random_range(0..1_000_000_000) };
        let seconds = match random.random_range(0..20) {
            0 => random.random_range(-1_900_000_000..0),
            1 => random.random_range(1 << 32..7_000_000_000),
            _ => random.random_range(900_000_000..1_700_000_000),
        };
        let time = TimeSpec::new(seconds, nanoseconds);
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let flags = UtimensatFlags::NoFollowSymlink;
        utimensat(nix::fcntl::AT_FDCWD, &path, &time, &time, flags).unwrap();
    }
    // Reading a directory may have changed its time of access, and nothing else.
    let epoch = SystemTime::UNIX_EPOCH + Duration::new(1, 1);
    File::open(root.join("attributed")).unwrap().set_times(FileTimes::new().set_modified(epoch)).unwrap();
}
