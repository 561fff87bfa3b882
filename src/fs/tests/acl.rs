//! Access control lists: what is a list, how mode and list keep in step, what is handed down.

use proptest::prelude::*;

use super::*;
use crate::fs::acl::Acl;
use crate::fs::{AclKind, XattrMode};
use crate::store::Kind;

const OWNER: u16 = 0x01;
const NAMED_USER: u16 = 0x02;
const OWNING_GROUP: u16 = 0x04;
const NAMED_GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;
const NO_ID: u32 = u32::MAX;

type Entry = (u16, u16, u32);

/// A list as the kernel passes it.
fn list(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(permissions.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

/// One user of its own beside what the mode says.
fn with_user(owner: u16, user: u16, group: u16, mask: u16, other: u16) -> Vec<u8> {
    list(&[
        (OWNER, owner, NO_ID),
        (NAMED_USER, user, 1234),
        (OWNING_GROUP, group, NO_ID),
        (MASK, mask, NO_ID),
        (OTHER, other, NO_ID),
    ])
}

fn minimal(mode: u16) -> Vec<u8> {
    list(&[(OWNER, mode >> 6 & 7, NO_ID), (OWNING_GROUP, mode >> 3 & 7, NO_ID), (OTHER, mode & 7, NO_ID)])
}

impl Mount {
    fn acl(&self, id: EntryId, which: AclKind) -> Option<Vec<u8>> {
        self.getxattr(id, which.name()).ok()
    }

    fn set(&self, id: EntryId, which: AclKind, list: &[u8]) {
        self.set_acl(id, which, list, &|_| true).unwrap();
    }

    fn mode(&self, id: EntryId) -> u16 {
        self.getattr(id).unwrap().attributes.mode
    }
}

#[test]
fn a_list_and_the_mode_keep_in_step() {
    let mount = Mount::new();
    let id = mount.file("key", b"value");
    mount.set(id, AclKind::Access, &with_user(6, 6, 0, 6, 4));
    assert_eq!(mount.mode(id), 0o664, "the group's bits are the mask");
    mount.chmod(id, 0o4601);
    assert_eq!(mount.acl(id, AclKind::Access).unwrap(), with_user(6, 6, 0, 0, 1));
    let after = mount.crash();
    assert_eq!(after.stat("key").unwrap().attributes.mode, 0o4601);
    assert_eq!(after.acl(id, AclKind::Access).unwrap(), with_user(6, 6, 0, 0, 1));
    // A change of owner leaves both alone.
    mount.setattr(&ROOT_USER, id, SetAttributes { uid: Some(7), ..Default::default() });
    assert_eq!((mount.mode(id), mount.acl(id, AclKind::Access)), (0o601, Some(with_user(6, 6, 0, 0, 1))));
    assert_eq!(mount.listxattr(id).unwrap(), b"system.posix_acl_access\0");
}

#[test]
fn a_list_that_says_no_more_than_the_mode_is_only_that() {
    let mount = Mount::new();
    let id = mount.file("key", b"value");
    mount.set(id, AclKind::Access, &with_user(6, 6, 0, 6, 4));
    mount.set(id, AclKind::Access, &minimal(0o750));
    assert_eq!((mount.mode(id), mount.acl(id, AclKind::Access)), (0o750, None));
    mount.set(id, AclKind::Access, &minimal(0o705));
    assert_eq!((mount.mode(id), mount.acl(id, AclKind::Access)), (0o705, None));
    // Without names, but with a mask: the group's bits are not the owning group's.
    let masked = list(&[(OWNER, 7, NO_ID), (OWNING_GROUP, 7, NO_ID), (MASK, 1, NO_ID), (OTHER, 0, NO_ID)]);
    mount.set(id, AclKind::Access, &masked);
    assert_eq!((mount.mode(id), mount.acl(id, AclKind::Access)), (0o710, Some(masked)));
    mount.removexattr(&USER, id, AclKind::Access.name()).unwrap();
    assert_eq!((mount.mode(id), mount.acl(id, AclKind::Access)), (0o710, None));
    mount.removexattr(&USER, id, AclKind::Access.name()).unwrap();
    assert_eq!(errno(mount.getxattr(id, AclKind::Access.name())), libc::ENODATA);
}

#[test]
fn setting_a_list_takes_setgid_from_who_is_no_member() {
    let mount = Mount::new();
    let id = mount.file("key", b"value");
    for (member, left) in [(true, 0o6000), (false, 0o4000)] {
        mount.chmod(id, 0o6775);
        let mut asked = None;
        let asks = std::cell::RefCell::new(&mut asked);
        let keeps = |gid| {
            **asks.borrow_mut() = Some(gid);
            member
        };
        mount.set_acl(id, AclKind::Access, &with_user(7, 7, 5, 7, 5), &keeps).unwrap();
        assert_eq!((mount.mode(id), asked), (left | 0o775, Some(USER.gid)));
    }
}

#[test]
fn a_default_list_is_handed_down() {
    let mount = Mount::new();
    let directory = mount.mkdir("directory");
    let default = with_user(7, 7, 5, 7, 0);
    mount.set(directory, AclKind::Default, &default);
    assert_eq!((mount.mode(directory), mount.acl(directory, AclKind::Access)), (0o755, None));
    // The umask does not count here.
    let maker = Caller { umask: 0o077, ..USER };
    let (file, handle) = mount.filesystem.create(&maker, directory, b"file", 0o666, WRITE).unwrap();
    assert_eq!(file.attributes.mode, 0o660);
    assert_eq!(mount.acl(file.id, AclKind::Access).unwrap(), with_user(6, 7, 5, 6, 0));
    assert_eq!(mount.acl(file.id, AclKind::Default), None);
    mount.close((file.id, handle));
    let below = mount.filesystem.mkdir(&maker, directory, b"below", 0o2705).unwrap().0;
    assert_eq!(below.attributes.mode, 0o2700);
    assert_eq!(mount.acl(below.id, AclKind::Access).unwrap(), with_user(7, 7, 5, 0, 0));
    assert_eq!(mount.acl(below.id, AclKind::Default).unwrap(), default);
    let fifo = mount.mknod(&maker, below.id, b"fifo", Kind::Fifo, 0o640, 0).unwrap().0;
    assert_eq!(mount.acl(fifo.id, AclKind::Access).unwrap(), with_user(6, 7, 5, 4, 0));
    let link = mount.symlink(&maker, directory, b"link", b"file").unwrap().0;
    assert_eq!((link.attributes.mode, mount.acl(link.id, AclKind::Access)), (0o777, None));
    let after = mount.crash();
    let found = after.stat("directory/file").unwrap();
    assert_eq!((found.id, found.attributes.mode), (file.id, 0o660));
    assert_eq!(after.acl(file.id, AclKind::Access).unwrap(), with_user(6, 7, 5, 6, 0));
    assert_eq!(after.acl(below.id, AclKind::Default).unwrap(), default);
    // A default list that permission bits can say hands down a mode alone, without the umask too.
    mount.set(directory, AclKind::Default, &minimal(0o751));
    let plain = mount.mknod(&maker, directory, b"plain", Kind::File, 0o666, 0).unwrap().0;
    assert_eq!((plain.attributes.mode, mount.acl(plain.id, AclKind::Access)), (0o640, None));
    // And without one the umask is what counts.
    mount.removexattr(&USER, directory, AclKind::Default.name()).unwrap();
    let masked = mount.mknod(&maker, directory, b"masked", Kind::File, 0o666, 0).unwrap().0;
    assert_eq!(masked.attributes.mode, 0o600);
}

#[test]
fn what_cannot_have_a_list_is_refused_one() {
    let mount = Mount::new();
    let file = mount.file("key", b"value");
    let set = |id, which, bytes: &[u8]| errno(mount.set_acl(id, which, bytes, &|_| true));
    let good = with_user(6, 6, 0, 6, 4);
    assert_eq!(set(file, AclKind::Default, &good), libc::EACCES);
    let link = mount.symlink(&USER, ROOT, b"link", b"key").unwrap().0.id;
    assert_eq!(set(link, AclKind::Access, &good), libc::EOPNOTSUPP);
    assert_eq!(set(link, AclKind::Default, &good), libc::EOPNOTSUPP);
    let mut other_version = good.clone();
    other_version[0] = 3;
    assert_eq!(set(file, AclKind::Access, &other_version), libc::EOPNOTSUPP);
    let entries: Vec<Entry> = vec![
        (OWNER, 6, NO_ID),
        (NAMED_USER, 4, 1),
        (OWNING_GROUP, 4, NO_ID),
        (NAMED_GROUP, 4, 1),
        (MASK, 4, NO_ID),
        (OTHER, 4, NO_ID),
    ];
    assert_eq!(set(file, AclKind::Access, &list(&entries)), 0);
    let before = (mount.getattr(file).unwrap(), mount.acl(file, AclKind::Access));
    let changed = |change: &dyn Fn(&mut Vec<Entry>)| {
        let mut entries = entries.clone();
        change(&mut entries);
        list(&entries)
    };
    let bad = [
        Vec::new(),
        2u32.to_le_bytes().to_vec(),
        good[..good.len() - 1].to_vec(),
        [&good[..], b"\0"].concat(),
        changed(&|entries| entries.retain(|entry| entry.0 != OWNER)),
        changed(&|entries| entries.retain(|entry| entry.0 != OWNING_GROUP)),
        changed(&|entries| entries.retain(|entry| entry.0 != MASK)),
        changed(&|entries| entries.retain(|entry| entry.0 != OTHER)),
        changed(&|entries| entries.swap(0, 5)),
        changed(&|entries| entries.swap(1, 2)),
        changed(&|entries| entries.push((OTHER, 4, NO_ID))),
        changed(&|entries| entries.insert(4, (MASK, 4, NO_ID))),
        changed(&|entries| entries[0].1 = 8),
        changed(&|entries| entries[1].2 = NO_ID),
        changed(&|entries| entries[1].0 = 3),
    ];
    for bytes in bad {
        assert_eq!(set(file, AclKind::Access, &bytes), libc::EINVAL, "{bytes:?}");
    }
    assert_eq!((mount.getattr(file).unwrap(), mount.acl(file, AclKind::Access)), before);
}

#[test]
fn a_mount_that_shows_other_modes_has_no_lists() {
    let disk = SimDisk::new();
    let stored = Mount::on(disk.clone(), FilesystemOptions::default());
    let id = stored.file("key", b"value");
    stored.set(id, AclKind::Access, &with_user(6, 6, 0, 6, 4));
    stored.setxattr(&USER, id, b"user.one", b"1", XattrMode::Set).unwrap();
    drop(stored);
    let mount = Mount::on(disk, FilesystemOptions { umask: 0o077, ..Default::default() });
    assert!(!mount.has_acls());
    assert_eq!(mount.mode(id), 0o600);
    assert_eq!(errno(mount.getxattr(id, AclKind::Access.name())), libc::EOPNOTSUPP);
    assert_eq!(errno(mount.set_acl(id, AclKind::Access, &minimal(0o600), &|_| true)), libc::EOPNOTSUPP);
    assert_eq!(mount.listxattr(id).unwrap(), b"user.one\0");
}

fn entry() -> impl Strategy<Value = Entry> {
    let tag = prop_oneof![8 => (0u32..6).prop_map(|bit| 1u16 << bit), 1 => any::<u16>()];
    let permissions = prop_oneof![8 => 0u16..8, 1 => any::<u16>()];
    (tag, permissions, prop_oneof![Just(NO_ID), any::<u32>()])
}

/// Entries of any kind, often in the order that they must have.
fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let named = proptest::collection::vec(entry(), 0..6);
    (named, any::<bool>(), 0u16..512).prop_map(|(mut entries, complete, mode)| {
        if complete {
            entries.retain(|entry| matches!(entry.0, NAMED_USER | NAMED_GROUP));
            entries.extend([(OWNER, mode >> 6, NO_ID), (OWNING_GROUP, mode >> 3 & 7, NO_ID), (OTHER, mode & 7, NO_ID)]);
            entries.push((MASK, mode & 7, NO_ID));
            entries.sort_by_key(|entry| entry.0);
        }
        entries
    })
}

proptest! {
    #[test]
    fn any_bytes_are_a_list_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        if let Ok(acl) = Acl::decode(&bytes) {
            prop_assert!(acl.mode() <= 0o777);
        }
    }

    #[test]
    fn a_list_comes_out_as_it_went_in(entries in entries(), mode in 0u16..0o10000) {
        let bytes = list(&entries);
        let Ok(mut acl) = Acl::decode(&bytes) else { return Ok(()) };
        let named = |entry: &Entry| matches!(entry.0, NAMED_USER | NAMED_GROUP);
        let kept: Vec<Entry> = entries.iter().map(|entry| if named(entry) { *entry } else { (entry.0, entry.1, NO_ID) }).collect();
        prop_assert_eq!(acl.encode(), list(&kept));
        prop_assert_eq!(acl.is_equivalent_to_mode(), kept.len() == 3);
        let before = acl.mode();
        acl.restrict(mode);
        prop_assert_eq!(acl.mode(), before & mode & 0o777);
        acl.set_mode(mode);
        prop_assert_eq!(acl.mode(), mode & 0o777);
        let after = acl.encode();
        for (old, new) in kept.iter().zip(after[4..].chunks(8)) {
            if named(old) {
                prop_assert_eq!(&list(&[*old])[4..], new, "names keep what they have");
            }
        }
        prop_assert_eq!(Acl::decode(&after).unwrap(), acl);
    }
}
