//! `.snapshots` at the root of a mount.

use std::collections::BTreeMap;

use super::prometheus;
use super::*;
use crate::fs::{AccessTimes, RenameMode, Tree, XattrMode, lasts};
use crate::store::{Kind, Store};

fn tree(mount: &Mount) -> Tree {
    Tree::new(Arc::clone(&mount.filesystem))
}

fn snapshots(tree: &Tree) -> EntryId {
    tree.lookup(ROOT, b".snapshots").unwrap().unwrap().id
}

fn find(tree: &Tree, parent: EntryId, path: &str) -> Option<Stat> {
    path.split('/').try_fold(parent, |id, name| Some(tree.lookup(id, name.as_bytes()).unwrap()?.id)).map(|id| {
        let stat = tree.getattr(id).unwrap();
        assert_eq!(stat.id, id);
        stat
    })
}

fn take(tree: &Tree, name: &str) -> EntryId {
    let (stat, sequence) = tree.mkdir(&ROOT_USER, snapshots(tree), name.as_bytes(), 0o755).unwrap();
    assert_eq!(sequence, None, "it is durable when it is there");
    assert_eq!(find(tree, snapshots(tree), name).unwrap().id, stat.id);
    stat.id
}

fn read(tree: &Tree, id: EntryId) -> Vec<u8> {
    let handle = tree.open(id, READ).unwrap();
    let value = tree.read(id, handle, 0, 1 << 20).unwrap();
    tree.release(id, handle).unwrap();
    value
}

/// Names and inode numbers of a directory, read in portions of one.
fn names(tree: &Tree, id: EntryId) -> Vec<(String, EntryId)> {
    let (mut names, mut cookie) = (Vec::new(), 0);
    loop {
        let (before, after) = (names.len(), cookie);
        let mut note = |entry: &crate::fs::DirectoryEntry, _: &Stat| {
            if names.len() > before {
                return false;
            }
            assert!(entry.cookie > after);
            cookie = entry.cookie;
            names.push((String::from_utf8(entry.name.clone()).unwrap(), entry.id));
            true
        };
        tree.readdir(id, after, &mut note).unwrap();
        if names.len() == before {
            return names;
        }
    }
}

/// Everything below a directory that must be the same in a snapshot, by path. Numbers are of the entry in its tree.
fn everything(tree: &Tree, root: EntryId) -> BTreeMap<String, String> {
    let (mut found, mut pending) = (BTreeMap::new(), vec![(String::new(), root)]);
    while let Some((path, id)) = pending.pop() {
        let Stat { attributes, size, allocated, links, .. } = tree.getattr(id).unwrap();
        let value = match attributes.kind {
            Kind::File => format!("{:?} {:?}", read(tree, id), tree.lseek(id, 0, libc::SEEK_HOLE).ok()),
            Kind::Symlink => format!("{:?}", tree.readlink(id).unwrap()),
            _ => String::new(),
        };
        let xattrs = String::from_utf8(tree.listxattr(id).unwrap()).unwrap();
        let xattrs: Vec<_> =
            xattrs.split_terminator('\0').map(|name| tree.getxattr(id, name.as_bytes()).unwrap()).collect();
        let number = id & 0xffff_ffff_ffff;
        found.insert(path.clone(), format!("{number} {attributes:?} {size} {allocated} {links} {xattrs:?} {value}"));
        if attributes.kind == Kind::Directory {
            let below = names(tree, id).into_iter().filter(|(name, _)| name != "." && name != "..");
            pending.extend(below.map(|(name, id)| (format!("{path}/{name}"), id)));
        }
    }
    found
}

/// Sets a key anew.
fn overwrite(mount: &Mount, name: &str, value: &[u8]) {
    let id = mount.stat(name).unwrap().id;
    let file = (id, mount.open(id, WRITE));
    mount.setattr(&USER, id, resize(0));
    mount.write(file, 0, value);
    mount.close(file);
}

/// One of everything.
fn fill(mount: &Mount) {
    let directory = mount.mkdir("directory");
    let file = mount.file("file", b"old value");
    mount.link(file, directory, b"second name").unwrap();
    mount.setxattr(&USER, file, b"user.name", b"of old", XattrMode::Set).unwrap();
    mount.symlink(&USER, ROOT, b"link", b"directory/second name").unwrap();
    mount.mknod(&USER, directory, b"fifo", Kind::Fifo, 0o600, 0).unwrap();
    let sparse = mount.create("sparse");
    mount.write(sparse, 200_000, &pattern(100_000, 3));
    mount.close(sparse);
    for number in 0..300 {
        mount.file(&format!("many{number}"), &pattern(100, number));
    }
}

#[test]
fn a_snapshot_is_a_tree_that_stays_as_it_was() {
    // Else looking at everything would change it.
    let options = FilesystemOptions { access_times: AccessTimes::Never, ..FilesystemOptions::default() };
    let mount = Mount::on(SimDisk::new(), options);
    fill(&mount);
    let tree = tree(&mount);
    let before = everything(&tree, ROOT);
    assert!(before.len() > 300);
    let root = take(&tree, "one");
    assert_eq!(everything(&tree, root), before);
    // Everything is changed or removed, and the space of it merged away.
    overwrite(&mount, "file", b"another");
    mount.rename(ROOT, b"directory", ROOT, b"elsewhere", RenameMode::Replace).unwrap();
    let many = (0..300).map(|number| format!("many{number}")).chain(["sparse".to_owned()]);
    for name in many {
        let id = mount.stat(&name).unwrap().id;
        mount.unlink(ROOT, name.as_bytes()).unwrap();
        mount.forget(id, 1);
    }
    mount.store().sync().unwrap();
    mount.store().compact().unwrap();
    assert_eq!(everything(&tree, root), before);
    let second = take(&tree, "two");
    let stats = read(&tree, find(&tree, ROOT, ".caskfs/stats").unwrap().id);
    let stats = prometheus::parse(std::str::from_utf8(&stats).unwrap());
    assert_eq!(stats["caskfs_snapshots"].value(), 2.0);
    assert!(stats["caskfs_snapshot_bytes"].value() > 0.0, "what was live is merged away");
    assert_eq!(everything(&tree, second), everything(&tree, ROOT));
    assert_eq!(everything(&tree, root), before);
    // Found by the next daemon too.
    let mount = mount.crash();
    let tree = self::tree(&mount);
    let root = find(&tree, snapshots(&tree), "one").unwrap().id;
    assert_eq!(everything(&tree, root), before);
}

#[test]
fn inode_numbers_are_of_one_tree_each() {
    let mount = Mount::new();
    let file = mount.file("file", b"value");
    mount.mkdir("directory");
    let tree = tree(&mount);
    let roots = [take(&tree, "one"), take(&tree, "two")];
    let mut ids = vec![ROOT, file, snapshots(&tree)];
    for root in roots {
        let listed = names(&tree, root);
        assert_eq!(listed[0], (".".to_owned(), root));
        assert_eq!(listed[1], ("..".to_owned(), snapshots(&tree)));
        let below = names(&tree, find(&tree, root, "directory").unwrap().id);
        assert_eq!(below[1], ("..".to_owned(), root));
        for (name, id) in listed.iter().skip(2) {
            assert_eq!(find(&tree, root, name).unwrap().id, *id);
            assert!(lasts(*id));
            ids.push(*id);
        }
        ids.push(root);
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count);
    assert_eq!(errno(tree.getattr((9 << 48) | 1)), libc::ESTALE);
    let listed: Vec<String> = names(&tree, snapshots(&tree)).into_iter().map(|(name, _)| name).collect();
    assert_eq!(listed, [".", "..", "one", "two"]);
    assert!(names(&tree, ROOT).iter().all(|(name, _)| name != ".snapshots"));
    assert!(!lasts(snapshots(&tree)), "others make and remove snapshots");
}

#[test]
fn nothing_in_a_snapshot_can_be_changed() {
    let mount = Mount::new();
    let file = mount.file("file", b"value");
    mount.mkdir("directory");
    let tree = tree(&mount);
    let root = take(&tree, "one");
    let frozen = find(&tree, root, "file").unwrap().id;
    let refused = |error: i32| assert_eq!(error, libc::EROFS);
    refused(errno(tree.open(frozen, WRITE)));
    refused(errno(tree.setattr(&ROOT_USER, frozen, None, resize(0))));
    refused(errno(tree.write(frozen, 1, 0, b"x", Writing::default())));
    refused(errno(tree.fallocate(&USER, frozen, 1, 0, 0, 10)));
    refused(errno(tree.setxattr(&USER, frozen, b"user.x", b"v", XattrMode::Set)));
    refused(errno(tree.removexattr(&USER, frozen, b"user.x")));
    refused(errno(tree.create(&ROOT_USER, root, b"new", 0o644, WRITE)));
    refused(errno(tree.mkdir(&ROOT_USER, root, b"new", 0o755)));
    refused(errno(tree.symlink(&ROOT_USER, root, b"new", b"file")));
    refused(errno(tree.unlink(root, b"file")));
    refused(errno(tree.rmdir(root, b"directory")));
    refused(errno(tree.link(frozen, ROOT, b"new")));
    refused(errno(tree.link(file, root, b"new")));
    refused(errno(tree.rename(root, b"file", root, b"new", RenameMode::Replace)));
    refused(errno(tree.rename(root, b"file", ROOT, b"new", RenameMode::Replace)));
    refused(errno(tree.rename(ROOT, b"file", root, b"new", RenameMode::Replace)));
    assert_eq!((tree.fsync(frozen, 0).unwrap(), tree.fsyncdir(root).unwrap()), (None, None));
    // Nor can the snapshots themselves, but by mkdir and rmdir.
    let all = snapshots(&tree);
    assert_eq!(errno(tree.rename(all, b"one", all, b"two", RenameMode::Replace)), libc::EPERM);
    assert_eq!(errno(tree.rename(all, b"one", ROOT, b"two", RenameMode::Replace)), libc::EPERM);
    assert_eq!(errno(tree.create(&ROOT_USER, all, b"file", 0o644, WRITE)), libc::EPERM);
    assert_eq!(errno(tree.unlink(all, b"one")), libc::EPERM);
    assert_eq!(errno(tree.mkdir(&ROOT_USER, all, b"one", 0o755)), libc::EEXIST);
    assert_eq!(errno(tree.mkdir(&ROOT_USER, all, b"one.tmp", 0o755)), libc::EINVAL);
    assert_eq!(errno(tree.mkdir(&ROOT_USER, all, b"\xff", 0o755)), libc::EINVAL);
    assert_eq!(errno(tree.rmdir(all, b"two")), libc::ENOENT);
    assert_eq!((read(&tree, frozen), mount.value("file").unwrap()), (b"value".to_vec(), b"value".to_vec()));
}

#[test]
fn what_is_staged_is_in_no_snapshot() {
    let mount = Mount::new();
    let file = mount.create("file");
    mount.write(file, 0, b"committed");
    mount.fsync(file.0, file.1).unwrap();
    mount.write(file, 0, b"COMM");
    mount.create("never committed");
    let tree = tree(&mount);
    let root = take(&tree, "one");
    assert_eq!(read(&tree, find(&tree, root, "file").unwrap().id), b"committed");
    assert_eq!(tree.lookup(root, b"never committed").unwrap(), None);
}

#[test]
fn one_that_is_removed_stays_readable_while_a_file_is_open() {
    let mount = Mount::new();
    mount.file("file", b"old");
    let tree = tree(&mount);
    let root = take(&tree, "one");
    let old = find(&tree, root, "file").unwrap().id;
    let handle = tree.open(old, READ).unwrap();
    tree.rmdir(snapshots(&tree), b"one").unwrap();
    assert_eq!(mount.store().snapshots().unwrap(), []);
    assert_eq!(tree.lookup(snapshots(&tree), b"one").unwrap(), None);
    // Nor is it mistaken for the next of its name.
    mount.file("other", b"value");
    let again = take(&tree, "one");
    assert_ne!(again, root);
    for _ in 0..3 {
        tree.close_idle();
    }
    assert_eq!(tree.read(old, handle, 0, 10).unwrap(), b"old");
    assert_eq!(tree.lookup(root, b"other").unwrap(), None);
    assert!(tree.lookup(again, b"other").unwrap().is_some());
    tree.release(old, handle).unwrap();
    for _ in 0..2 {
        tree.close_idle();
    }
    assert_eq!(errno(tree.getattr(old)), libc::ESTALE);
    assert_eq!(errno(tree.open(old, READ)), libc::ESTALE);
    assert!(tree.lookup(again, b"other").unwrap().is_some());
}

/// A keydir is in memory while something of the snapshot is used, and its numbers mean the same when it comes back.
#[test]
fn one_that_nobody_uses_is_closed() {
    let mount = Mount::new();
    let file = mount.file("file", b"value");
    let tree = tree(&mount);
    let root = take(&tree, "one");
    let frozen = find(&tree, root, "file").unwrap().id;
    let handle = tree.open(frozen, READ).unwrap();
    assert!(!tree.takes_long(frozen) && !tree.takes_long(file) && tree.takes_long(snapshots(&tree)));
    (0..3).for_each(|_| tree.close_idle());
    assert!(!tree.takes_long(frozen), "a file of it is open");
    tree.release(frozen, handle).unwrap();
    tree.close_idle();
    assert!(!tree.takes_long(frozen), "it was used since the last time");
    tree.close_idle();
    assert!(tree.takes_long(frozen) && tree.takes_long(root));
    tree.getattr(root).unwrap();
    assert!(tree.takes_long(frozen), "the root's attributes are known");
    assert_eq!(read(&tree, frozen), b"value");
    assert!(!tree.takes_long(frozen));
}

#[test]
fn looking_at_all_of_them_opens_one_at_a_time() {
    let mount = Mount::new();
    mount.file("file", b"value");
    let tree = tree(&mount);
    for name in ["a", "b", "c"] {
        mount.file(name, b"so that no two are the same");
        mount.store().snapshot(name).unwrap();
    }
    let all = snapshots(&tree);
    let roots: Vec<EntryId> = names(&tree, all).iter().skip(2).map(|(_, id)| *id).collect();
    assert_eq!(roots.len(), 3);
    assert!(roots.iter().all(|root| tree.takes_long(*root)), "listing them opens none");
    for (name, root) in ["a", "b", "c"].iter().zip(&roots) {
        assert_eq!(find(&tree, all, name).unwrap().id, *root);
        assert_eq!(roots.iter().filter(|root| !tree.takes_long(**root)).count(), 1);
    }
    // Those in which something is read stay.
    for root in &roots {
        find(&tree, *root, "file").unwrap();
    }
    assert!(roots.iter().all(|root| !tree.takes_long(*root)));
}

#[test]
fn those_that_are_the_same_share_one_tree() {
    let mount = Mount::new();
    mount.file("file", b"value");
    let tree = tree(&mount);
    let roots: Vec<EntryId> = ["a", "b", "c"].iter().map(|name| take(&tree, name)).collect();
    mount.file("later", b"value");
    let other = take(&tree, "d");
    let files: Vec<EntryId> = roots.iter().map(|root| find(&tree, *root, "file").unwrap().id).collect();
    assert_eq!(tree.open_keydirs(), 1);
    assert_eq!(files.iter().collect::<std::collections::BTreeSet<_>>().len(), 3, "each has inode numbers of its own");
    assert!(files.iter().all(|file| read(&tree, *file) == b"value"));
    assert_eq!(tree.lookup(roots[0], b"later").unwrap(), None);
    assert!(find(&tree, other, "later").is_some());
    assert_eq!(tree.open_keydirs(), 2, "the fourth is another one");
}

/// However many there are, and whoever opens files in them.
#[test]
fn snapshots_take_a_bounded_share_of_memory() {
    let mount = Mount::new();
    let mut tree = tree(&mount);
    for number in 0..200 {
        mount.file(&format!("so that all are about as large {number}"), b"");
    }
    for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        mount.file(name, b"value");
        take(&tree, name);
    }
    tree.bound_snapshots(0);
    let all = snapshots(&tree);
    let file = |name: &str| find(&tree, all, &format!("{name}/a")).map(|stat| stat.id);
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let there = names.map(|name| file(name).unwrap());
    let is_open = || there.iter().filter(|file| !tree.takes_long(**file)).count();
    assert!((2..=5).contains(&is_open()), "four times the store's own: {}", is_open());
    assert!(!tree.takes_long(there[7]), "the last one is open");
    assert!(tree.takes_long(there[0]), "the first one has gone");
    // Those in which files are open cannot go.
    let mut held = Vec::new();
    let refused = loop {
        match tree.open(there[held.len()], READ) {
            Ok(handle) => held.push(handle),
            Err(error) => break error.errno(),
        }
    };
    assert_eq!(refused, libc::ENFILE);
    assert!((2..=5).contains(&held.len()), "{}", held.len());
    tree.release(there[0], held[0]).unwrap();
    tree.open(there[held.len()], READ).unwrap();
    assert!(tree.takes_long(there[0]), "it made room for the next");
}

#[test]
fn owner_and_permissions_are_as_the_mount_has_them() {
    let options = FilesystemOptions { uid: Some(7), gid: Some(8), umask: 0o044, ..FilesystemOptions::default() };
    let mount = Mount::on(SimDisk::new(), options);
    mount.file("file", b"value");
    let tree = tree(&mount);
    let root = take(&tree, "one");
    let attributes = find(&tree, root, "file").unwrap().attributes;
    assert_eq!((attributes.uid, attributes.gid, attributes.mode), (7, 8, 0o600));
}

#[test]
fn a_store_that_takes_no_writes_shows_its_snapshots() {
    let mount = Mount::new();
    mount.file("file", b"old");
    mount.store().snapshot("one").unwrap();
    overwrite(&mount, "file", b"new");
    mount.sync_all().unwrap();
    let disk = mount.disk.restart();
    let store = Store::open_on(Arc::new(disk), Options { read_only: true, ..Options::default() }).unwrap();
    let tree = Tree::new(Filesystem::new(Arc::new(store), FilesystemOptions::default()));
    let file = find(&tree, snapshots(&tree), "one/file").unwrap().id;
    assert_eq!(read(&tree, file), b"old");
    assert_eq!(errno(tree.mkdir(&ROOT_USER, snapshots(&tree), b"two", 0o755)), libc::EROFS);
    assert_eq!(errno(tree.rmdir(snapshots(&tree), b"one")), libc::EROFS);
}
