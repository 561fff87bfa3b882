//! Both media keep the contract of the traits, and answer any workload alike.

mod open_files;

use std::io::{ErrorKind, Result};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Disk, File, Medium, SimDisk, Status, Subdirectory, cannot_link};

/// The errno of a failure.
pub(super) fn errno(result: Result<impl Sized>) -> i32 {
    result.err().unwrap().raw_os_error().unwrap()
}

pub(super) fn kind(result: Result<impl Sized>) -> ErrorKind {
    result.err().unwrap().kind()
}

pub(super) fn contents(file: &dyn File) -> Vec<u8> {
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// Runs a test on the real medium and on the simulated one.
fn on_both(test: impl Fn(&dyn Medium)) {
    let directory = tempfile::tempdir().unwrap();
    test(&Disk::new(directory.path()));
    test(&SimDisk::new());
}

#[test]
fn bytes_are_read_where_they_were_written() {
    on_both(|medium| {
        let file = medium.create("a").unwrap();
        assert!(file.is_empty().unwrap());
        file.write_all_at(b"hello", 3).unwrap();
        assert_eq!(contents(&*file), b"\0\0\0hello");
        file.write_all_at(b"JE", 3).unwrap();
        assert_eq!(contents(&*file), b"\0\0\0JEllo");
        let mut buffer = [0; 9];
        assert_eq!(file.read_at(&mut buffer, 6).unwrap(), 2);
        assert_eq!(&buffer[..2], b"lo");
        assert_eq!(file.read_at(&mut buffer, 8).unwrap(), 0);
        assert_eq!(file.read_at(&mut buffer, 1 << 40).unwrap(), 0);
        let short = file.read_exact_at(&mut buffer, 0);
        assert_eq!(kind(short), ErrorKind::UnexpectedEof);
        file.set_len(4).unwrap();
        file.set_len(6).unwrap();
        assert_eq!(contents(&*file), b"\0\0\0J\0\0");
        assert_eq!(file.write_at(b"", 100).unwrap(), 0);
        assert_eq!(file.len().unwrap(), 6);
        file.sync().unwrap();
        medium.sync_dir("").unwrap();
    });
}

#[test]
fn names_follow_the_contract() {
    on_both(|medium| {
        medium.create_dir("segments").unwrap();
        assert_eq!(kind(medium.create_dir("segments")), ErrorKind::AlreadyExists);
        for path in ["b", "a", "segments/2", "segments/1"] {
            medium.create(path).unwrap();
        }
        assert_eq!(kind(medium.create("a")), ErrorKind::AlreadyExists);
        assert_eq!(medium.list("").unwrap(), ["a", "b", "segments"]);
        assert_eq!(medium.list("segments").unwrap(), ["1", "2"]);
        medium.sync_dir("segments").unwrap();

        let (a, b) = (medium.open("a", true).unwrap(), medium.open("b", false).unwrap());
        a.write_all_at(b"new", 0).unwrap();
        medium.rename("a", "b").unwrap();
        assert_eq!(contents(&*medium.open("b", false).unwrap()), b"new");
        assert_eq!(contents(&*b), b"", "a handle stays on the replaced file");
        medium.rename("b", "segments/1").unwrap();
        assert_eq!(medium.list("").unwrap(), ["segments"]);
        medium.rename("segments/1", "segments/1").unwrap();
        medium.remove("segments/1").unwrap();
        assert_eq!(medium.list("segments").unwrap(), ["2"]);
        assert_eq!(contents(&*a), b"new", "an open file outlives its name");
        a.write_all_at(b"er", 3).unwrap();
        assert_eq!(contents(&*a), b"newer");

        for missing in ["a", "missing/a"] {
            assert_eq!(kind(medium.open(missing, false)), ErrorKind::NotFound);
            assert_eq!(kind(medium.remove(missing)), ErrorKind::NotFound);
            assert_eq!(kind(medium.rename(missing, "c")), ErrorKind::NotFound);
            assert_eq!(kind(medium.list(missing)), ErrorKind::NotFound);
            assert_eq!(kind(medium.sync_dir(missing)), ErrorKind::NotFound);
        }
        assert_eq!(kind(medium.create("missing/a")), ErrorKind::NotFound);
        assert_eq!(kind(medium.lock("missing/a", false)), ErrorKind::NotFound);
        assert_eq!(kind(medium.list("segments/2")), ErrorKind::NotADirectory);
        assert_eq!(kind(medium.sync_dir("segments/2")), ErrorKind::NotADirectory);
        assert_eq!(kind(medium.create("segments/2/x")), ErrorKind::NotADirectory);
        assert_eq!(kind(medium.remove("segments")), ErrorKind::IsADirectory);
        assert_eq!(kind(medium.open("segments", true)), ErrorKind::IsADirectory);
    });
}

#[test]
fn a_file_may_have_several_names() {
    on_both(|medium| {
        medium.create_dir("d").unwrap();
        let file = medium.create("a").unwrap();
        file.write_all_at(b"bytes", 0).unwrap();
        medium.hard_link("a", "d/b").unwrap();
        assert_eq!(kind(medium.hard_link("a", "d/b")), ErrorKind::AlreadyExists);
        assert_eq!(kind(medium.hard_link("missing", "c")), ErrorKind::NotFound);
        for path in ["a", "d/b"] {
            assert_eq!(medium.status(path).unwrap(), Status::File { len: 5, links: 2 });
        }
        assert_eq!(medium.status("d").unwrap(), Status::Directory);
        assert_eq!(kind(medium.status("missing")), ErrorKind::NotFound);
        // One file by two names; the bytes go with the last.
        medium.remove("a").unwrap();
        file.write_all_at(b"B", 0).unwrap();
        assert_eq!(contents(&*medium.open("d/b", false).unwrap()), b"Bytes");
        assert_eq!(medium.status("d/b").unwrap(), Status::File { len: 5, links: 1 });
    });
}

#[test]
fn directories_are_renamed_and_removed() {
    on_both(|medium| {
        medium.create_dir("d").unwrap();
        medium.create_dir("d/e.tmp").unwrap();
        medium.create("d/e.tmp/a").unwrap();
        medium.rename("d/e.tmp", "d/e").unwrap();
        assert_eq!(medium.list("d").unwrap(), ["e"]);
        assert_eq!(medium.list("d/e").unwrap(), ["a"]);
        assert_eq!(kind(medium.remove_dir("d")), ErrorKind::DirectoryNotEmpty);
        assert_eq!(kind(medium.remove_dir("d/e/a")), ErrorKind::NotADirectory);
        assert_eq!(kind(medium.remove_dir("d/missing")), ErrorKind::NotFound);
        medium.remove("d/e/a").unwrap();
        medium.remove_dir("d/e").unwrap();
        medium.remove_dir("d").unwrap();
        assert!(medium.list("").unwrap().is_empty());
    });
}

#[test]
fn a_directory_is_a_medium_of_its_own() {
    let disk = SimDisk::new();
    disk.create_dir("d").unwrap();
    let below = Subdirectory::new(Arc::new(disk.clone()), "d");
    below.create("a").unwrap().write_all_at(b"x", 0).unwrap();
    below.create_dir("e").unwrap();
    below.hard_link("a", "e/b").unwrap();
    below.rename("a", "c").unwrap();
    assert_eq!(disk.paths(), ["d/c", "d/e/b"]);
    assert_eq!(below.list("").unwrap(), ["c", "e"]);
    assert_eq!(below.status("c").unwrap(), Status::File { len: 1, links: 2 });
    // Neither up from there, nor by a path that is none.
    for path in ["..", "../d/c", "/d/c", "e/../../x"] {
        assert_eq!(kind(below.open(path, false)), ErrorKind::InvalidInput, "{path}");
        assert_eq!(kind(below.remove(path)), ErrorKind::InvalidInput, "{path}");
    }
    let held = below.lock("c", false).unwrap();
    assert!(held.is_some() && disk.lock("d/c", true).unwrap().is_none());
}

#[test]
fn a_file_system_without_links_says_so() {
    let disk = SimDisk::new();
    disk.create("a").unwrap();
    disk.refuse_links();
    let error = disk.hard_link("a", "b").unwrap_err();
    assert!(cannot_link(&error), "{error}");
    assert!(!cannot_link(&ErrorKind::NotFound.into()));
    assert_eq!(disk.paths(), ["a"]);
}

#[test]
fn no_path_leads_out_of_the_store() {
    on_both(|medium| {
        medium.create_dir("d").unwrap();
        for path in ["/etc", "..", "../x", "d/../../x", "d//x", "d/", "/", ".", "./x", "a\0b"] {
            let invalid = ErrorKind::InvalidInput;
            assert_eq!(kind(medium.create(path)), invalid, "{path:?}");
            assert_eq!(kind(medium.open(path, false)), invalid, "{path:?}");
            assert_eq!(kind(medium.rename(path, "x")), invalid, "{path:?}");
            assert_eq!(kind(medium.remove(path)), invalid, "{path:?}");
            assert_eq!(kind(medium.create_dir(path)), invalid, "{path:?}");
            assert_eq!(kind(medium.list(path)), invalid, "{path:?}");
            assert_eq!(kind(medium.sync_dir(path)), invalid, "{path:?}");
            assert_eq!(kind(medium.lock(path, true)), invalid, "{path:?}");
        }
        medium.create("x").unwrap();
        assert_eq!(kind(medium.rename("x", "../y")), ErrorKind::InvalidInput);
    });
}

#[test]
fn a_handle_for_reading_does_not_write() {
    on_both(|medium| {
        medium.create("a").unwrap().write_all_at(b"kept", 0).unwrap();
        let file = medium.open("a", false).unwrap();
        assert_eq!(errno(file.write_at(b"x", 0)), libc::EBADF);
        assert_eq!(errno(file.set_len(0)), libc::EINVAL);
        assert_eq!(contents(&*file), b"kept");
        file.sync().unwrap();
    });
}

#[test]
fn a_lock_has_one_holder_or_several_that_share() {
    on_both(|medium| {
        let one = medium.lock("lock", false).unwrap();
        assert!(one.is_some());
        assert_eq!(medium.list("").unwrap(), ["lock"], "the file is created");
        assert!(medium.lock("lock", false).unwrap().is_none());
        assert!(medium.lock("lock", true).unwrap().is_none());
        assert!(medium.lock("other", false).unwrap().is_some());
        drop(one);
        let (first, second) = (medium.lock("lock", true), medium.lock("lock", true));
        let (first, second) = (first.unwrap(), second.unwrap());
        assert!(first.is_some() && second.is_some());
        assert!(medium.lock("lock", false).unwrap().is_none());
        drop(first);
        assert!(medium.lock("lock", false).unwrap().is_none());
        drop(second);
        assert!(medium.lock("lock", false).unwrap().is_some());
    });
}

#[test]
fn room_is_told_in_bytes() {
    on_both(|medium| {
        let space = medium.space().unwrap();
        assert!(space.available <= space.free && space.free <= space.total, "{space:?}");
        assert!(space.total > 1 << 20, "{space:?}");
    });
}

/// The simulated disk answers any workload as the real one does.
#[test]
fn both_media_agree() {
    for seed in 0..20 {
        let directory = tempfile::tempdir().unwrap();
        let (real, sim) = (Disk::new(directory.path()), SimDisk::new());
        let media: [&dyn Medium; 2] = [&real, &sim];
        let mut handles: Vec<[Arc<dyn File>; 2]> = Vec::new();
        let mut random = StdRng::seed_from_u64(seed);
        let paths = ["a", "b", "d", "d/a", "d/b", "d/a/c", "e/a", ""];
        for step in 0..300 {
            let path = paths[random.random_range(0..paths.len())];
            let other = paths[random.random_range(0..paths.len())];
            let same = match random.random_range(0..10) {
                // Only files are renamed and opened: what a directory answers to that differs by kernel.
                0 if !path.is_empty() && path != "d" && other != "d" && !other.is_empty() => {
                    media.map(|medium| medium.rename(path, other).map_err(|error| error.kind()))
                }
                1 if path != "d" && !path.is_empty() => {
                    media.map(|medium| medium.remove(path).map_err(|error| error.kind()))
                }
                2 => media.map(|medium| medium.create_dir("d").map_err(|error| error.kind())),
                0..=4 if path != "d" && !path.is_empty() => {
                    let create = random.random_bool(0.5);
                    let [real, sim] = media.map(|medium| match create {
                        true => medium.create(path),
                        false => medium.open(path, true),
                    });
                    if let (Ok(real), Ok(sim)) = (&real, &sim) {
                        handles.push([real.clone(), sim.clone()]);
                    }
                    [real, sim].map(|file| file.map(drop).map_err(|error| error.kind()))
                }
                5..=7 if !handles.is_empty() => {
                    let pair = &handles[random.random_range(0..handles.len())];
                    let data = vec![random.random::<u8>(); random.random_range(0..2000)];
                    let offset = random.random_range(0..4000);
                    pair.each_ref().map(|file| {
                        assert_eq!(file.write_at(&data, offset).unwrap(), data.len());
                        Ok(())
                    })
                }
                8 if !handles.is_empty() => {
                    let pair = &handles[random.random_range(0..handles.len())];
                    let len = random.random_range(0..6000);
                    pair.each_ref().map(|file| {
                        file.set_len(len).unwrap();
                        Ok(())
                    })
                }
                _ => media.map(|medium| medium.sync_dir("").map_err(|error| error.kind())),
            };
            assert_eq!(same[0], same[1], "seed {seed} step {step} {path:?} {other:?}");
            for path in ["", "d"] {
                let [real, sim] = media.map(|medium| medium.list(path).ok());
                assert_eq!(real, sim, "seed {seed} step {step}");
            }
            if let Some([real, sim]) = handles.last() {
                assert_eq!(contents(&**real), contents(&**sim), "seed {seed} step {step}");
            }
        }
        for [real, sim] in &handles {
            assert_eq!(contents(&**real), contents(&**sim), "seed {seed}");
        }
        let used: u64 = sim.paths().iter().map(|path| sim.file(path).unwrap().len() as u64).sum();
        let space = sim.space().unwrap();
        assert_eq!(space.total - space.free, used);
    }
}

#[test]
fn a_store_is_private_to_its_owner() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::new(directory.path());
    disk.create_dir("d").unwrap();
    disk.create("d/a").unwrap();
    disk.lock("lock", false).unwrap();
    for (path, mode) in [("d", 0o700), ("d/a", 0o600), ("lock", 0o600)] {
        let metadata = disk.root().join(path).metadata().unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, mode, "{path}");
    }
    assert_eq!(disk.root(), directory.path());
}

#[test]
fn names_that_are_not_utf8_are_listed_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(std::ffi::OsStr::from_bytes(b"a\xff")), "").unwrap();
    let disk = Disk::new(directory.path());
    assert_eq!(disk.list("").unwrap(), ["a\u{fffd}"]);
}

#[test]
fn a_cached_read_waits_for_no_disk() {
    on_both(|medium| {
        let file = medium.create("a").unwrap();
        file.write_all_at(&[7; 10_000], 0).unwrap();
        file.sync().unwrap();
        let mut buffer = [0; 9_000];
        let beyond = file.read_cached_at(&mut buffer, 5_000).map(|known| (known, ()));
        assert!(beyond.is_err() || beyond.is_ok_and(|(known, ())| !known));
        if file.read_cached_at(&mut buffer, 0).unwrap() {
            assert_eq!(buffer, [7; 9_000]);
        }
    });
    // Where the file system tells what it has in memory.
    let directory = tempfile::tempdir().unwrap();
    let file = Disk::new(directory.path()).create("a").unwrap();
    file.write_all_at(&[7; 10_000], 0).unwrap();
    let mut buffer = [0; 9_000];
    if file.read_cached_at(&mut buffer, 0).unwrap() {
        file.sync().unwrap();
        file.drop_cache();
        let on_disk = !matches!(
            nix::sys::statfs::statfs(directory.path()).unwrap().filesystem_type(),
            nix::sys::statfs::TMPFS_MAGIC
        );
        assert_eq!(file.read_cached_at(&mut buffer, 0).unwrap(), !on_disk);
        file.read_exact_at(&mut buffer, 0).unwrap();
        assert!(file.read_cached_at(&mut buffer, 0).unwrap());
    }
}

/// The directory is renamed, and another one gets its name: the disk stays with what it was opened on.
#[test]
fn a_disk_stays_with_its_directory() {
    let place = tempfile::tempdir().unwrap();
    let (one, other) = (place.path().join("one"), place.path().join("other"));
    let disk = Disk::new(&one);
    assert_eq!(disk.list("").unwrap_err().kind(), ErrorKind::NotFound);
    disk.create_root().unwrap();
    disk.create("a").unwrap();
    std::fs::rename(&one, &other).unwrap();
    std::fs::create_dir(&one).unwrap();
    disk.create_dir("d").unwrap();
    disk.create("d/b").unwrap().write_all_at(b"b", 0).unwrap();
    disk.rename("d/b", "d/c").unwrap();
    disk.hard_link("d/c", "e").unwrap();
    disk.remove("a").unwrap();
    disk.sync_dir("d").unwrap();
    disk.sync_dir("").unwrap();
    let lock = disk.lock("lock", false).unwrap().unwrap();
    assert!(Disk::new(&other).lock("lock", false).unwrap().is_none());
    drop(lock);
    assert!(disk.space().unwrap().total > 0);
    assert_eq!(disk.list("").unwrap(), ["d", "e", "lock"]);
    assert_eq!(Disk::new(&other).list("d").unwrap(), ["c"]);
    assert_eq!(std::fs::read_dir(&one).unwrap().count(), 0);
}
