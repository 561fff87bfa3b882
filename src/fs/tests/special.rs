//! `.caskfs` at the root of a mount.

use super::prometheus;
use super::*;
use crate::fs::staged::FRAGMENT;
use crate::fs::{RenameMode, Tree, XattrMode, lasts};
use crate::log::{Draft, Log, LogOptions, Visit};
use crate::store::Kind;

fn tree(mount: &Mount) -> Tree {
    Tree::new(Arc::clone(&mount.filesystem))
}

/// What a file of the mount's own says.
fn text(tree: &Tree, name: &str) -> String {
    let id = own(tree, name);
    let handle = tree.open(id, READ).unwrap();
    let text = tree.read(id, handle, 0, usize::MAX).unwrap();
    tree.release(id, handle).unwrap();
    String::from_utf8(text).unwrap()
}

fn directory(tree: &Tree) -> EntryId {
    tree.lookup(ROOT, b".caskfs").unwrap().unwrap().id
}

fn own(tree: &Tree, name: &str) -> EntryId {
    tree.lookup(directory(tree), name.as_bytes()).unwrap().unwrap().id
}

fn names(tree: &Tree, id: EntryId, after: u64) -> Vec<(u64, String)> {
    let mut names = Vec::new();
    let mut note = |entry: &crate::fs::DirectoryEntry, _: &Stat| {
        names.push((entry.cookie, String::from_utf8(entry.name.clone()).unwrap()));
        true
    };
    tree.readdir(id, after, &mut note).unwrap();
    names
}

#[test]
fn it_is_found_by_name_and_not_listed() {
    let mount = Mount::new();
    mount.file("key", b"value");
    let tree = tree(&mount);
    let listed: Vec<String> = names(&tree, ROOT, 0).into_iter().map(|(_, name)| name).collect();
    assert_eq!(listed, [".", "..", "key"]);
    let stat = tree.getattr(directory(&tree)).unwrap();
    assert_eq!((stat.attributes.kind, stat.attributes.mode, stat.links), (Kind::Directory, 0o555, 2));
    assert!(!lasts(stat.id) && lasts(ROOT));
    let all = names(&tree, stat.id, 0);
    let own: Vec<&str> = all.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(own, [".", "..", "stats", "recovery", "contract", "version"]);
    for (index, (cookie, _)) in all.iter().enumerate() {
        assert_eq!(names(&tree, stat.id, *cookie), all[index + 1..], "a listing goes on after any entry");
    }
    assert_eq!(tree.lookup(stat.id, b"other").unwrap(), None);
    // Further down it is a name like any other.
    let below = mount.mkdir("directory");
    assert_eq!(tree.lookup(below, b".caskfs").unwrap(), None);
    assert!(tree.mkdir(&USER, below, b".caskfs", 0o755).is_ok());
}

#[test]
fn an_open_file_keeps_its_text() {
    let mount = Mount::new();
    let tree = tree(&mount);
    let stats = own(&tree, "stats");
    let keys = |text: &[u8]| prometheus::parse(std::str::from_utf8(text).unwrap())["caskfs_keys"].value();
    let handle = tree.open(stats, READ).unwrap();
    let first = tree.read(stats, handle, 0, 10).unwrap();
    for number in 0..1000 {
        mount.file(&format!("key{number}"), b"value");
    }
    let all = tree.read(stats, handle, 0, 1 << 20).unwrap();
    assert_eq!((&all[..10], keys(&all)), (first.as_slice(), 0.0), "one text, however it is read");
    assert_eq!(tree.read(stats, handle, all.len() as u64 - 3, 100).unwrap(), all[all.len() - 3..]);
    assert_eq!(tree.read(stats, handle, u64::MAX, 100).unwrap(), b"");
    let later = tree.open(stats, READ).unwrap();
    assert_eq!(keys(&tree.read(stats, later, 0, 1 << 20).unwrap()), 1000.0);
    tree.release(stats, handle).unwrap();
    assert_eq!(errno(tree.read(stats, handle, 0, 1)), libc::ESTALE);
    // Nothing in it is a hole.
    let end = tree.getattr(stats).unwrap().size;
    assert_eq!(tree.lseek(stats, 5, libc::SEEK_DATA).unwrap(), 5);
    assert!(tree.lseek(stats, 5, libc::SEEK_HOLE).unwrap().abs_diff(end) < 100);
    assert_eq!(errno(tree.lseek(stats, end + 1000, libc::SEEK_DATA)), libc::ENXIO);
}

#[test]
fn stat_shows_the_length_of_the_text() {
    let mount = Mount::new();
    let tree = tree(&mount);
    for name in ["recovery", "contract", "version"] {
        let stat = tree.getattr(own(&tree, name)).unwrap();
        assert_eq!(stat.size, text(&tree, name).len() as u64, "{name}");
        let mode = if name == "recovery" { 0o400 } else { 0o444 };
        assert_eq!(stat.attributes.mode, mode, "what names keys is for the owner alone");
    }
}

#[test]
fn nothing_of_it_can_be_changed() {
    let mount = Mount::new();
    let file = mount.file("key", b"value");
    let other = mount.mkdir("directory");
    let tree = tree(&mount);
    let (caskfs, stats) = (directory(&tree), own(&tree, "stats"));
    for id in [caskfs, stats] {
        assert_eq!(errno(tree.setattr(&ROOT_USER, id, None, resize(0))), libc::EPERM);
        assert_eq!(errno(tree.setxattr(&USER, id, b"user.x", b"v", XattrMode::Set)), libc::EPERM);
        assert_eq!(errno(tree.removexattr(&USER, id, b"user.x")), libc::EPERM);
        assert_eq!(errno(tree.getxattr(id, b"user.x")), libc::ENODATA);
        assert_eq!(tree.listxattr(id).unwrap(), b"");
        assert_eq!(errno(tree.link(id, ROOT, b"link")), libc::EPERM);
        assert_eq!((tree.fsync(id, 0).unwrap(), tree.fsyncdir(id).unwrap()), (None, None));
    }
    assert_eq!(errno(tree.open(stats, WRITE)), libc::EPERM);
    assert_eq!(errno(tree.create(&ROOT_USER, caskfs, b"new", 0o644, WRITE)), libc::EPERM);
    assert_eq!(errno(tree.mkdir(&ROOT_USER, caskfs, b"new", 0o755)), libc::EPERM);
    assert_eq!(errno(tree.unlink(caskfs, b"stats")), libc::EPERM);
    for name in [b".caskfs".as_slice(), b".snapshots"] {
        assert_eq!(errno(tree.create(&ROOT_USER, ROOT, name, 0o644, WRITE)), libc::EEXIST);
        assert_eq!(errno(tree.mkdir(&ROOT_USER, ROOT, name, 0o755)), libc::EEXIST);
        assert_eq!(errno(tree.mknod(&ROOT_USER, ROOT, name, Kind::Fifo, 0o644, 0)), libc::EEXIST);
        assert_eq!(errno(tree.symlink(&ROOT_USER, ROOT, name, b"key")), libc::EEXIST);
        assert_eq!(errno(tree.link(file, ROOT, name)), libc::EEXIST);
        assert_eq!(errno(tree.unlink(ROOT, name)), libc::EPERM);
        assert_eq!(errno(tree.rmdir(ROOT, name)), libc::EPERM);
        for mode in [RenameMode::Replace, RenameMode::NoReplace, RenameMode::Exchange] {
            assert_eq!(errno(tree.rename(ROOT, b"directory", ROOT, name, mode)), libc::EPERM);
            assert_eq!(errno(tree.rename(ROOT, name, ROOT, b"free", mode)), libc::EPERM);
        }
    }
    assert_eq!(errno(tree.rename(ROOT, b"key", caskfs, b"key", RenameMode::Replace)), libc::EPERM);
    assert_eq!(errno(tree.rename(caskfs, b"stats", ROOT, b"stats", RenameMode::Replace)), libc::EPERM);
    assert_eq!(mount.stat("directory").unwrap().id, other);
    assert_eq!(mount.value("key").unwrap(), b"value");
}

#[test]
fn the_stats_are_prometheus_text() {
    let mount = Mount::new();
    let open = mount.create("open");
    mount.write(open, 0, &[7; 100]);
    for number in 0..10 {
        let file = mount.create(&format!("key{number}"));
        mount.write(file, 0, &[1; 1000]);
        mount.fsync(file.0, file.1).unwrap();
        mount.close(file);
        mount.store().sync().unwrap();
    }
    let tree = tree(&mount);
    let metrics = prometheus::parse(&text(&tree, "stats"));
    let value = |name: &str| metrics[name].value();
    assert!(metrics.keys().all(|name| name.starts_with("caskfs_")));
    assert_eq!(
        (value("caskfs_keys"), value("caskfs_open_files"), value("caskfs_dirty_bytes")),
        (10.0, 1.0, 100.0 + FRAGMENT as f64)
    );
    assert_eq!((value("caskfs_put_bytes_total"), value("caskfs_failed")), (10_000.0, 0.0));
    assert!(value("caskfs_appended_bytes_total") > 10_000.0);
    assert_eq!(value("caskfs_log_bytes"), value("caskfs_live_bytes") + value("caskfs_dead_bytes"));
    assert_eq!(value("caskfs_written_sequence"), mount.store().written() as f64);
    assert_eq!(value("caskfs_durable_sequence"), value("caskfs_written_sequence"));
    let syncs = metrics["caskfs_sync_duration_seconds"].part("caskfs_sync_duration_seconds_count");
    assert_eq!(syncs, 10.0);
    let waiters = &metrics["caskfs_sync_waiters"];
    assert_eq!((waiters.part("caskfs_sync_waiters_count"), waiters.part("caskfs_sync_waiters_sum")), (10.0, 10.0));
    assert_eq!(metrics["caskfs_info"].samples.len(), 1);
    assert!(value("caskfs_resident_memory_bytes") > 1e6);
}

#[test]
fn merges_are_counted() {
    let mount = Mount::new();
    for round in 0..60 {
        let file = mount.create(&format!("key{round}"));
        mount.write(file, 0, &pattern(10_000, round));
        mount.close(file);
        mount.unlink(ROOT, format!("key{round}").as_bytes()).unwrap();
        mount.forget(file.0, 1);
    }
    mount.store().sync().unwrap();
    mount.store().compact().unwrap();
    let metrics = prometheus::parse(&text(&tree(&mount), "stats"));
    let value = |name: &str| metrics[name].value();
    assert!(value("caskfs_merges_total") > 0.0);
    assert!(value("caskfs_merge_read_bytes_total") > 10.0 * value("caskfs_merge_written_bytes_total"));
    assert_eq!(value("caskfs_put_bytes_total"), 600_000.0);
}

/// Each promise of the contract has its line, in the same words.
#[test]
fn the_contract_is_that_of_the_documentation() {
    let mount = Mount::new();
    let contract = text(&tree(&mount), "contract");
    let semantics = include_str!("../../../docs/SEMANTICS.md");
    let headings: Vec<&str> = semantics.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let promises = headings.iter().filter(|line| line.starts_with(|first: char| first.is_ascii_digit()));
    assert_eq!(promises.clone().count(), 9);
    for heading in promises {
        assert!(contract.lines().any(|line| line.starts_with(heading)), "{heading}");
    }
    assert!(contract.contains("mode is close"));
    let interval = FilesystemOptions { sync: crate::fs::SyncMode::Interval, ..FilesystemOptions::default() };
    assert!(text(&tree(&Mount::on(SimDisk::new(), interval)), "contract").contains("mode is interval"));
}

#[test]
fn the_report_of_the_last_start_is_told() {
    let mount = Mount::new();
    let started = text(&tree(&mount), "recovery");
    assert_eq!(started, "0 records were read\nnothing was damaged, and nothing had to be cut off\n");
    for number in 0..40 {
        mount.file(&format!("key\n{number}"), &pattern(4000, number));
    }
    mount.store().sync().unwrap();
    // In the value of one of the first keys.
    assert!(mount.disk.corrupt("segments/00000001.log", 6000, 0xff));
    let mount = mount.crash();
    let report = mount.store().recovery_report();
    assert_eq!(report.damaged_keys.len(), 1, "{report:?}");
    let told = text(&tree(&mount), "recovery");
    assert_eq!(told.lines().count(), 3, "a line for each finding, whatever the names: {told}");
    assert!(told.contains(&format!("a record of {} is damaged\n", report.damaged_keys[0].escape_debug())), "{told}");
    let metrics = prometheus::parse(&text(&tree(&mount), "stats"));
    assert_eq!(metrics["caskfs_recovery_damaged_keys"].value(), 1.0);
    assert!(metrics["caskfs_recovery_damaged_bytes"].value() > 4000.0);
    let version = text(&tree(&mount), "version");
    assert_eq!(version, format!("caskfs {}\nformat {}\n", env!("CARGO_PKG_VERSION"), crate::log::FORMAT_VERSION));
}

#[test]
fn owner_and_permissions_are_as_the_mount_has_them() {
    let options = FilesystemOptions { uid: Some(7), gid: Some(8), umask: 0o044, ..FilesystemOptions::default() };
    let tree = tree(&Mount::on(SimDisk::new(), options));
    let attributes = tree.getattr(own(&tree, "stats")).unwrap().attributes;
    assert_eq!((attributes.uid, attributes.gid, attributes.mode), (7, 8, 0o400));
}

/// A disk with a key of a name that was not reserved when it was made: the record of another is written anew.
fn disk_with(name: &[u8], like: &[u8]) -> SimDisk {
    let mount = Mount::new();
    mount.file(std::str::from_utf8(like).unwrap(), b"value");
    let disk = mount.disk.clone();
    drop(mount);
    let options = LogOptions::default();
    let mut found = None;
    let mut look = |visit: Visit<'_>| {
        let front = visit.front.unwrap();
        if let Some(at) = front.windows(like.len()).position(|window| window == like) {
            let front = [&front[..at], name, &front[at + like.len()..]].concat();
            found = Some((visit.header.kind, visit.header.entry, front));
        }
    };
    let (log, _) = Log::open(Arc::new(disk.clone()), options, &mut look).unwrap();
    let (kind, entry, front) = found.unwrap();
    log.begin().unwrap().append(&[Draft { kind, entry, front: &front, bulk: b"value" }]).unwrap();
    log.sync(log.written()).unwrap();
    disk
}

#[test]
fn keys_from_before_the_names_were_reserved() {
    for (name, like) in [(".caskfs", ".caskfz"), (".snapshots", ".snapshotz")] {
        let mount = Mount::on(disk_with(name.as_bytes(), like.as_bytes()), FilesystemOptions::default());
        assert_eq!(mount.store().get(name).unwrap().unwrap(), b"value");
        let tree = tree(&mount);
        assert_eq!(names(&tree, ROOT, 0).len(), 2, "it is hidden");
        let found = tree.lookup(ROOT, name.as_bytes()).unwrap();
        assert!(found.is_none_or(|stat| stat.attributes.kind == Kind::Directory));
        assert_eq!(errno(tree.unlink(ROOT, name.as_bytes())), libc::EPERM);
        // Whoever uses the API gets it out of the way.
        mount.store().put(name, "new value").unwrap();
        mount.store().rename(name, "saved").unwrap();
        assert_eq!(mount.value("saved").unwrap(), b"new value");
        assert!(mount.store().put(name, "again").is_err());
    }
}
