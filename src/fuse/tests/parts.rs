//! What needs no mount: the mount table, quoting, conversions, the guard.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{FileType, RenameFlags, TimeOrNow};

use crate::fs::{OpenFlags, RenameMode, SetTime, XattrMode};
use crate::fuse::attributes::{
    kind_from_mode, nothing, open_flags, permissions, rename_mode, set_time, wire, xattr_mode,
};
use crate::fuse::groups::supplementary;
use crate::fuse::guard::Guard;
use crate::fuse::mount_options::quote;
use crate::fuse::mount_table::{parse, topmost};
use crate::fuse::patience::within;
use crate::fuse::supervisor::Event;
use crate::fuse::{Context, Error, MountOptions};
use crate::store::{Attributes, Kind, Stat, Time};

const TABLE: &[u8] = b"\
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw,discard
42 27 0:39 / /mnt/a\\040b\\134c rw,nosuid,nodev shared:7 master:3 - fuse.caskfs /srv/we,ird\\134so\\040urce rw,user_id=0
43 42 0:40 / /mnt/a\\040b\\134c rw - tmpfs none rw
a line that is none
44 27 0:41 /sub /mnt/\xff rw - fuse.caskfs \\04 rw
45 27
";

#[test]
fn mount_table_is_parsed() {
    let table = parse(TABLE);
    assert_eq!(table.iter().map(|entry| entry.id).collect::<Vec<_>>(), [27, 42, 43, 44]);
    let caskfs = &table[1];
    assert_eq!((caskfs.parent, caskfs.device), (27, (0, 39)));
    assert_eq!(caskfs.mountpoint, Path::new("/mnt/a b\\c"));
    assert_eq!(caskfs.fstype, "fuse.caskfs");
    assert_eq!(caskfs.source, OsStr::new("/srv/we,ird\\so urce"));
    // Neither a name that is not UTF-8 nor a cut escape is a reason to lose a mount.
    assert_eq!(table[3].source, OsStr::new("\\04"));
    assert_eq!(table[3].mountpoint.as_os_str().as_encoded_bytes(), b"/mnt/\xff");
}

#[test]
fn mount_table_of_this_process_is_read() {
    let table = crate::fuse::mount_table::read().unwrap();
    assert!(topmost(&table, Path::new("/")).is_some());
}

#[test]
fn topmost_mount_is_the_one_that_is_seen() {
    let table = parse(TABLE);
    assert_eq!(topmost(&table, Path::new("/mnt/a b\\c")).unwrap().fstype, "tmpfs");
    assert_eq!(topmost(&table, Path::new("/")).unwrap().id, 27);
    assert_eq!(topmost(&table, Path::new("/mnt")), None);
    // The root of a mount namespace may be its own parent.
    let root = parse(b"1 1 0:2 / / rw - rootfs rootfs rw\n");
    assert_eq!(topmost(&root, Path::new("/")).unwrap().id, 1);
}

#[test]
fn option_values_are_quoted() {
    assert_eq!(quote(b"/srv/store"), b"/srv/store");
    assert_eq!(quote(b"a,b\\c d"), b"a\\,b\\\\c d");
}

#[test]
fn options_are_put_as_kernel_and_helper_want_them() {
    let mut options = MountOptions { mountpoint: "/mnt".into(), store: "/srv".into(), ..MountOptions::default() };
    let values = options.kernel_values(7);
    assert!(values.contains(&("fd", "7".into())) && values.contains(&("subtype", "caskfs".into())), "{values:?}");
    let flags = |options: &MountOptions| options.kernel_flags().collect::<Vec<_>>();
    assert_eq!(flags(&options).contains(&"default_permissions"), options.checks_permissions());
    assert_eq!(
        options.helper_options(OsStr::new("a,b")).unwrap(),
        "nosuid,nodev,default_permissions,subtype=caskfs,fsname=a\\,b"
    );
    options.read_only = true;
    options.allow_other = true;
    options.flags.noexec = true;
    options.flags.sync = true;
    assert_eq!(flags(&options), ["ro", "sync", "default_permissions", "allow_other"]);
    let helper = options.helper_options(OsStr::new("s")).unwrap();
    assert!(helper.to_string_lossy().ends_with(",fsname=s,ro,noexec,sync,allow_other"), "{helper:?}");
}

/// What fusermount3 would not do is refused, and not dropped.
#[test]
fn what_the_helper_cannot_do_is_refused() {
    let set: [fn(&mut MountOptions); 3] = [
        |options| options.flags.nosymfollow = true,
        |options| options.flags.lazytime = true,
        |options| options.flags.contexts.push((Context::All, "label".into())),
    ];
    for set in set {
        let mut options = MountOptions::default();
        set(&mut options);
        assert!(matches!(options.helper_options(OsStr::new("s")), Err(Error::RootOnly { .. })));
    }
}

#[test]
fn source_is_the_store_unless_it_is_named() {
    let mut options = MountOptions::default();
    assert_eq!(options.checked_source(OsStr::new("/srv/store")).unwrap(), "/srv/store");
    options.source = Some("cask".into());
    assert_eq!(options.checked_source(OsStr::new("/srv/store")).unwrap(), "cask");
    for bad in ["", "a\0b"] {
        options.source = Some(bad.into());
        assert!(matches!(options.checked_source(OsStr::new("/srv")), Err(Error::BadSource { .. })), "{bad:?}");
    }
}

#[test]
fn times_before_1970_come_over_whole() {
    let at = |time| match set_time(TimeOrNow::SpecificTime(time)) {
        SetTime::At(time) => time,
        SetTime::Now => panic!("a time became now"),
    };
    assert_eq!(at(UNIX_EPOCH + Duration::new(5, 7)), Time::new(5, 7));
    // What fuser makes of the kernel's (-2 s, +0.25 s), which is 1.75 s before 1970.
    assert_eq!(at(UNIX_EPOCH - Duration::new(2, 250_000_000)), Time::new(-2, 250_000_000));
    assert_eq!(at(UNIX_EPOCH - Duration::new(3, 0)), Time::new(-3, 0));
    assert_eq!(set_time(TimeOrNow::Now), SetTime::Now);
}

#[test]
fn attributes_go_on_the_wire() {
    let attributes = Attributes {
        kind: Kind::CharDevice,
        mode: 0o4755,
        uid: 1,
        gid: 2,
        rdev: 0x103,
        atime: Time(-1),
        mtime: Time(2),
        ctime: Time(3),
    };
    let attr = wire(&Stat { id: 9, attributes, size: 700, allocated: 513, links: 3, expires: None });
    assert_eq!((attr.ino.0, attr.size, attr.blocks, attr.nlink), (9, 700, 2, 3));
    assert_eq!((attr.kind, attr.perm, attr.uid, attr.gid, attr.rdev), (FileType::CharDevice, 0o4755, 1, 2, 0x103));
    assert_eq!(attr.atime, UNIX_EPOCH - Duration::from_nanos(1));
    assert_eq!(nothing().ino.0, 0);
}

#[test]
fn flags_come_off_the_wire() {
    assert_eq!(kind_from_mode(0o644), Some(Kind::File));
    assert_eq!(kind_from_mode(libc::S_IFIFO | 0o644), Some(Kind::Fifo));
    assert_eq!(kind_from_mode(libc::S_IFDIR | 0o644), None);
    assert_eq!(permissions(libc::S_IFREG | 0o4755), 0o4755);
    assert_eq!(open_flags(libc::O_RDONLY), OpenFlags { write: false });
    assert_eq!(open_flags(libc::O_RDWR | libc::O_TRUNC), OpenFlags { write: true });
    assert_eq!(open_flags(libc::O_WRONLY | libc::O_APPEND), OpenFlags { write: true });
    assert_eq!(rename_mode(RenameFlags::empty()), Some(RenameMode::Replace));
    assert_eq!(rename_mode(RenameFlags::RENAME_NOREPLACE), Some(RenameMode::NoReplace));
    assert_eq!(rename_mode(RenameFlags::RENAME_EXCHANGE), Some(RenameMode::Exchange));
    assert_eq!(rename_mode(RenameFlags::RENAME_WHITEOUT), None);
    assert_eq!(rename_mode(RenameFlags::RENAME_NOREPLACE | RenameFlags::RENAME_EXCHANGE), None);
    assert_eq!(xattr_mode(0), Some(XattrMode::Set));
    assert_eq!(xattr_mode(libc::XATTR_CREATE), Some(XattrMode::Create));
    assert_eq!(xattr_mode(libc::XATTR_REPLACE), Some(XattrMode::Replace));
    assert_eq!(xattr_mode(libc::XATTR_CREATE | libc::XATTR_REPLACE), None);
}

#[test]
fn groups_of_a_process_are_read() {
    let status = "Name:\tGroups: 9\nUid:\t1\t1\t1\t1\nGroups:\t4 100 1000 \nNStgid:\t7\n";
    assert_eq!(supplementary(status).collect::<Vec<_>>(), [4, 100, 1000]);
    assert_eq!(supplementary("Groups:\t \n").count(), 0);
    assert_eq!(supplementary("").count(), 0);
}

#[test]
fn a_panic_is_reported_and_stops_all_handlers() {
    let (sender, events) = mpsc::channel();
    let guard = Guard::new(sender, None);
    thread::scope(|scope| {
        scope.spawn(|| {
            guard.run("first", (), |()| {});
            guard.run("second", (), |()| panic!("as the test wants it"));
            guard.run("third", (), |()| unreachable!("a handler ran after a panic"));
        });
    });
    assert!(matches!(events.recv().unwrap(), Event::Panicked));
    // The end of the thread is told as well.
    assert!(matches!(events.recv().unwrap(), Event::LoopEnded));
}

#[test]
fn what_hangs_is_given_up() {
    assert_eq!(within(Duration::from_secs(10), || 5), Some(5));
    assert_eq!(within(Duration::from_millis(10), || thread::sleep(Duration::from_secs(1))), None);
}

#[test]
fn errors_are_one_line() {
    let errors = [
        Error::NoHelper,
        Error::NoDevice { source: std::io::Error::from_raw_os_error(libc::ENOENT) },
        Error::NotPermitted { mountpoint: "/mnt".into() },
        Error::DeadForeign { mountpoint: "/mnt".into(), kind: "fuse.sshfs".into() },
    ];
    for error in errors {
        let line = error.to_string();
        assert!(!line.contains('\n') && !line.contains("  "), "{line}");
    }
}
