//! Real mounts, made and taken away by the library alone. Left out, with a line that says so, where this process may not
//! mount.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::unistd::geteuid;
use tempfile::TempDir;

use crate::fs::{Filesystem, FilesystemOptions};
use crate::fuse::found::Found;
use crate::fuse::{Ended, Error, FSTYPE, Mount, MountOptions, check, kernel_mount, mount_table};
use crate::store::{Options, Store};

/// A store and an empty directory to mount it on.
pub(super) struct Scratch {
    directory: TempDir,
}

impl Scratch {
    /// `None` where nothing can be mounted.
    pub(super) fn new() -> Option<Scratch> {
        if !geteuid().is_root() || fs::File::options().read(true).write(true).open(kernel_mount::DEVICE).is_err() {
            eprintln!("left out: mounting takes root and /dev/fuse");
            return None;
        }
        let scratch = Scratch { directory: TempDir::new().unwrap() };
        fs::create_dir(scratch.mountpoint()).unwrap();
        fs::create_dir(scratch.store()).unwrap();
        Some(scratch)
    }

    pub(super) fn mountpoint(&self) -> PathBuf {
        self.directory.path().canonicalize().unwrap().join("mnt")
    }

    fn store(&self) -> PathBuf {
        self.directory.path().canonicalize().unwrap().join("store")
    }

    pub(super) fn options(&self) -> MountOptions {
        MountOptions { mountpoint: self.mountpoint(), store: self.store(), ..MountOptions::default() }
    }

    pub(super) fn filesystem(&self) -> Arc<Filesystem> {
        let store = Store::open(self.store(), Options { create: true, ..Options::default() }).unwrap();
        Filesystem::new(Arc::new(store), FilesystemOptions::default())
    }

    fn mount(&self) -> Mount {
        Mount::new(self.filesystem(), &self.options()).unwrap()
    }

    /// How many mounts there are on the mountpoint.
    fn mounts(&self) -> usize {
        mount_table::read().unwrap().iter().filter(|entry| entry.mountpoint == self.mountpoint()).count()
    }
}

/// Why a store may not be mounted there.
fn refusal(mountpoint: &Path, store: &Path) -> Error {
    let options = MountOptions { mountpoint: mountpoint.into(), store: store.into(), ..MountOptions::default() };
    check(&options).unwrap_err()
}

#[test]
fn a_mount_serves_files_and_ends_without_a_trace() {
    let Some(scratch) = Scratch::new() else { return };
    let mount = scratch.mount();
    let key = scratch.mountpoint().join("key");
    fs::write(&key, "value").unwrap();
    assert_eq!(fs::read_to_string(&key).unwrap(), "value");
    fs::rename(&key, scratch.mountpoint().join("other")).unwrap();
    assert_eq!(fs::metadata(scratch.mountpoint().join("other")).unwrap().size(), 5);
    assert!(!key.exists());
    let table = mount_table::read().unwrap();
    let entry = mount_table::topmost(&table, &scratch.mountpoint()).unwrap();
    assert_eq!((entry.fstype.as_str(), Path::new(&entry.source)), (FSTYPE, scratch.store().as_path()));
    mount.unmount().unwrap();
    assert_eq!(mount.wait(), Ended::Unmounted);
    mount.unmount().unwrap();
    assert_eq!(scratch.mounts(), 0);
    assert_eq!(fs::read_dir(scratch.mountpoint()).unwrap().count(), 0);
}

#[test]
fn an_unmount_by_someone_else_is_a_clean_end() {
    let Some(scratch) = Scratch::new() else { return };
    for flags in [MntFlags::empty(), MntFlags::MNT_DETACH, MntFlags::MNT_FORCE] {
        let mount = scratch.mount();
        umount2(&scratch.mountpoint(), flags).unwrap();
        assert_eq!(mount.wait(), Ended::Unmounted);
        drop(mount);
        assert_eq!(scratch.mounts(), 0);
    }
}

#[test]
fn a_mount_in_use_is_taken_away_all_the_same() {
    let Some(scratch) = Scratch::new() else { return };
    let mount = scratch.mount();
    let file = fs::File::create(scratch.mountpoint().join("open")).unwrap();
    let begun = Instant::now();
    mount.unmount().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!(mount.wait(), Ended::Unmounted);
    assert_eq!(scratch.mounts(), 0);
    assert!(file.sync_all().is_err());
}

#[test]
fn dropping_a_mount_unmounts() {
    let Some(scratch) = Scratch::new() else { return };
    drop(scratch.mount());
    assert_eq!(scratch.mounts(), 0);
}

#[test]
fn whoever_waits_hears_of_the_end() {
    let Some(scratch) = Scratch::new() else { return };
    let mount = scratch.mount();
    let unmounter = mount.unmounter();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| mount.wait());
        unmounter.unmount().unwrap();
        assert_eq!(waiting.join().unwrap(), Ended::Unmounted);
    });
}

#[test]
fn a_dead_mount_is_taken_over() {
    let Some(scratch) = Scratch::new() else { return };
    // A mount whose connection is closed is what a killed daemon leaves; two of them, one upon the other, included.
    for _ in 0..2 {
        let on = Found::new(&scratch.mountpoint()).unwrap();
        drop(kernel_mount::mount(&on, "died".as_ref(), &scratch.options()).unwrap());
    }
    assert_eq!(scratch.mounts(), 2);
    assert_eq!(fs::read_dir(scratch.mountpoint()).unwrap_err().raw_os_error(), Some(libc::ENOTCONN));
    let mount = scratch.mount();
    assert_eq!(scratch.mounts(), 1);
    fs::write(scratch.mountpoint().join("key"), "value").unwrap();
    mount.unmount().unwrap();
    assert_eq!(scratch.mounts(), 0);
}

#[test]
fn a_living_mount_is_not_taken_over() {
    let Some(scratch) = Scratch::new() else { return };
    let other = Scratch::new().unwrap();
    let mount = scratch.mount();
    let error = refusal(&scratch.mountpoint(), &other.store());
    assert!(matches!(error, Error::AlreadyMounted { .. }), "{error}");
    fs::write(scratch.mountpoint().join("key"), "value").unwrap();
    drop(mount);
}

/// Who can rename a directory above the mountpoint does not so choose where root mounts.
#[test]
fn the_mountpoint_is_looked_up_once() {
    let Some(scratch) = Scratch::new() else { return };
    let here = scratch.directory.path().canonicalize().unwrap();
    let (above, moved, decoy) = (here.join("above"), here.join("moved"), here.join("decoy"));
    for directory in [above.join("mnt"), decoy.join("mnt")] {
        fs::create_dir_all(directory).unwrap();
    }
    for dead in [false, true] {
        let options = MountOptions { mountpoint: above.join("mnt"), store: scratch.store(), ..MountOptions::default() };
        if dead {
            let on = Found::new(&options.mountpoint).unwrap();
            drop(kernel_mount::mount(&on, "died".as_ref(), &options).unwrap());
        }
        let checked = check(&options).unwrap();
        fs::rename(&above, &moved).unwrap();
        std::os::unix::fs::symlink(&decoy, &above).unwrap();
        let mount = Mount::on(checked, scratch.filesystem(), &options).unwrap();
        let table = mount_table::read().unwrap();
        let places: Vec<_> = table.iter().filter(|entry| entry.mountpoint.starts_with(&here)).collect();
        assert_eq!(places.len(), 1, "{places:?}");
        assert_eq!(places[0].mountpoint, moved.join("mnt"));
        mount.unmount().unwrap();
        drop(mount);
        fs::remove_file(&above).unwrap();
        fs::rename(&moved, &above).unwrap();
    }
}

/// A mount that comes between the check and the mount is not covered, and not unmounted.
#[test]
fn a_mount_that_came_first_is_left_alone() {
    let Some(scratch) = Scratch::new() else { return };
    let other = Scratch::new().unwrap();
    let on_the_same = MountOptions { store: other.store(), ..scratch.options() };
    for dead in [false, true] {
        if dead {
            let on = Found::new(&scratch.mountpoint()).unwrap();
            drop(kernel_mount::mount(&on, "died".as_ref(), &scratch.options()).unwrap());
        }
        let checked = check(&on_the_same).unwrap();
        let mount = scratch.mount();
        fs::write(scratch.mountpoint().join("key"), "value").unwrap();
        let refused = Mount::on(checked, other.filesystem(), &on_the_same).unwrap_err();
        assert!(matches!(refused, Error::AlreadyMounted { .. }), "{refused}");
        assert_eq!(scratch.mounts(), 1);
        assert_eq!(fs::read(scratch.mountpoint().join("key")).unwrap(), b"value");
        fs::remove_file(scratch.mountpoint().join("key")).unwrap();
        mount.unmount().unwrap();
        assert_eq!(scratch.mounts(), 0);
    }
}

#[test]
fn what_lies_on_top_of_a_mount_is_not_unmounted() {
    let Some(scratch) = Scratch::new() else { return };
    let mount = scratch.mount();
    nix::mount::mount(Some("none"), &scratch.mountpoint(), Some("tmpfs"), nix::mount::MsFlags::empty(), None::<&str>)
        .unwrap();
    assert!(matches!(mount.unmount(), Err(Error::Covered { .. })));
    assert!(matches!(mount.wait(), Ended::Failed(_)));
    assert_eq!(scratch.mounts(), 2);
    umount2(&scratch.mountpoint(), MntFlags::empty()).unwrap();
    umount2(&scratch.mountpoint(), MntFlags::MNT_DETACH).unwrap();
}

#[test]
fn a_mountpoint_must_be_an_empty_directory() {
    let Some(scratch) = Scratch::new() else { return };
    let here = scratch.directory.path();
    let store = scratch.store();
    let missing = here.join("missing");
    assert!(matches!(refusal(&missing, &store), Error::MountpointMissing { .. }));
    let file = here.join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(refusal(&file, &store), Error::NotADirectory { .. }));
    fs::write(scratch.mountpoint().join("in it"), "").unwrap();
    assert!(matches!(refusal(&scratch.mountpoint(), &store), Error::NotEmpty { .. }));
}

#[test]
fn a_mount_over_or_inside_the_store_is_refused() {
    let Some(scratch) = Scratch::new() else { return };
    let store = scratch.store();
    let inside = store.join("inside");
    fs::create_dir(&inside).unwrap();
    assert!(matches!(refusal(&inside, &store), Error::InsideStore { .. }));
    assert!(matches!(refusal(&store, &store), Error::InsideStore { .. }));
    assert!(matches!(refusal(scratch.directory.path(), &store), Error::OverStore { .. }));
    let link = scratch.directory.path().join("link");
    std::os::unix::fs::symlink(&inside, &link).unwrap();
    assert!(matches!(refusal(&link, &store), Error::InsideStore { .. }));
}

#[test]
fn a_change_through_another_door_is_seen_once_its_call_has_returned() {
    let Some(scratch) = Scratch::new() else { return };
    let filesystem = scratch.filesystem();
    let _mount = Mount::new(filesystem.clone(), &scratch.options()).unwrap();
    let store = filesystem.store();
    let key = scratch.mountpoint().join("key");
    // The kernel keeps that the name is missing, and the empty listing.
    assert!(!key.exists());
    assert_eq!(fs::read_dir(scratch.mountpoint()).unwrap().count(), 0);
    for length in [10, 10_000, 5, 100_000, 0, 1] {
        let value = vec![length as u8; length];
        store.put("key", &value).unwrap();
        assert!(fs::read(&key).unwrap() == value);
        assert_eq!(
            (fs::metadata(&key).unwrap().len(), fs::read_dir(scratch.mountpoint()).unwrap().count()),
            (length as u64, 1)
        );
    }
    store.rename("key", "other").unwrap();
    assert!(!key.exists());
    assert!(store.remove("other").unwrap());
    assert_eq!(fs::read_dir(scratch.mountpoint()).unwrap().count(), 0);
}
