//! A mount over a disk that answers slowly: nobody waits for what another reads.
//!
//! Reads of what is not in memory are held up for as long as a test likes, so that no clock decides what is right. There are
//! more of them than the mount has event loops.

#![cfg(feature = "fuse")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "slow_disk/medium.rs"]
mod medium;

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use caskfs::fs::{Filesystem, FilesystemOptions};
use caskfs::fuse::{Mount, MountOptions};
use caskfs::medium::Disk;
use caskfs::store::{Options, Store};
use medium::{Gate, SlowDisk};
use tempfile::TempDir;

/// How long something gets that needs no disk. It takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// Readers that wait for the disk at a time.
const COLD: usize = 4;

/// A value that is longer than a block, and is in a record of its own.
fn value(number: usize) -> Vec<u8> {
    (0..200_000).map(|place| (place * 31 + number * 7) as u8).collect()
}

struct Slow {
    gate: Gate,
    directory: TempDir,
    store: Arc<Store>,
    mount: Option<Mount>,
}

impl Slow {
    /// A store on a slow disk with some keys, mounted. Each cold one has a directory of its own, which the kernel locks for a rename. `None` where nothing can be mounted.
    fn mounted() -> Option<Slow> {
        if !nix::unistd::geteuid().is_root() || !PathBuf::from("/dev/fuse").exists() {
            eprintln!("not run: mounting takes root and /dev/fuse");
            return None;
        }
        let (gate, directory) = (Gate::default(), TempDir::new().unwrap());
        let (path, mountpoint) = (directory.path().join("store"), directory.path().join("mnt"));
        fs::create_dir(&mountpoint).unwrap();
        let disk = Disk::new(&path);
        disk.create_root().unwrap();
        let options = Options { create: true, ..Options::default() };
        let store = Store::open_on(Arc::new(SlowDisk::new(disk, gate.clone())), options).unwrap();
        for number in 0..COLD {
            store.put(format!("cold{number}/key"), value(number)).unwrap();
        }
        store.put("warm", value(99)).unwrap();
        store.put("directory/other", "value").unwrap();
        let store = Arc::new(store);
        let filesystem = Filesystem::new(Arc::clone(&store), FilesystemOptions::default());
        let options = MountOptions { mountpoint, store: path, ..MountOptions::default() };
        let mount = Mount::new(filesystem, &options).unwrap();
        Some(Slow { gate, directory, store, mount: Some(mount) })
    }

    fn at(&self, key: &str) -> PathBuf {
        self.directory.path().join("mnt").join(key)
    }

    /// Runs `work` for each of the cold keys on a thread of its own, with the gate closed, and returns when all of them
    /// wait at it.
    fn hold<T: Send + 'static>(&self, work: impl Fn(PathBuf) -> T + Clone + Send + 'static) -> Receiver<(usize, T)> {
        self.gate.cool();
        assert_eq!(self.store.get("warm").unwrap(), Some(value(99)));
        self.gate.close();
        let (sender, results) = mpsc::channel();
        for number in 0..COLD {
            let (sender, work, path) = (sender.clone(), work.clone(), self.at(&format!("cold{number}/key")));
            thread::spawn(move || sender.send((number, work(path))));
        }
        let deadline = Instant::now() + PATIENCE;
        while self.gate.waiting() < COLD {
            assert!(Instant::now() < deadline, "only {} of them wait for the disk", self.gate.waiting());
            thread::sleep(Duration::from_millis(1));
        }
        results
    }

    /// What somebody else does must be done although the disk does not answer.
    #[track_caller]
    fn others_go_on(&self) {
        let (done, ends) = mpsc::channel();
        let (warm, directory, new) = (self.at("warm"), self.at("directory"), self.at("new"));
        thread::spawn(move || {
            let done = |what: &'static str| done.send(what).unwrap();
            done("begun");
            assert_eq!(fs::metadata(&directory).unwrap().len(), 4096);
            done("stat");
            assert_eq!(fs::read(&warm).unwrap(), value(99));
            done("a read of a warm key");
            assert!(fs::symlink_metadata(directory.join("not there")).is_err());
            done("a lookup");
            assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
            done("a listing");
            fs::write(&new, "value").unwrap();
            done("a put");
            fs::rename(&new, directory.join("moved")).unwrap();
            fs::remove_file(directory.join("moved")).unwrap();
            done("a rename and a removal");
        });
        let mut last = "nothing";
        loop {
            match ends.recv_timeout(PATIENCE) {
                Ok(what) => last = what,
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("stuck behind another's disk; {last} was done last"),
            }
        }
        assert_eq!(last, "a rename and a removal");
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.gate.open();
        self.mount.take();
    }
}

#[test]
fn readers_of_a_slow_disk_keep_nobody_waiting() {
    let Some(slow) = Slow::mounted() else { return };
    let results = slow.hold(|path| fs::read(path).unwrap());
    slow.others_go_on();
    slow.gate.open();
    for (number, read) in results {
        assert_eq!(read, value(number));
    }
}

/// One byte of them is staged, so that what is read is put together from memory and the disk.
#[test]
fn readers_of_files_that_are_being_written_keep_nobody_waiting() {
    let Some(slow) = Slow::mounted() else { return };
    let open = |number| OpenOptions::new().write(true).open(slow.at(&format!("cold{number}/key"))).unwrap();
    let writers: Vec<File> = (0..COLD).map(open).collect();
    writers.iter().for_each(|file| file.write_all_at(b"!", 100_000).unwrap());
    let results = slow.hold(|path| fs::read(path).unwrap());
    slow.others_go_on();
    slow.gate.open();
    for (number, read) in results {
        let mut expected = value(number);
        expected[100_000] = b'!';
        assert_eq!(read, expected);
    }
}

/// What is written of a block is completed from the disk when it is committed.
#[test]
fn those_who_commit_part_of_a_block_keep_nobody_waiting() {
    let Some(slow) = Slow::mounted() else { return };
    for how in 0..3 {
        slow.gate.open();
        let results = slow.hold(move |path| {
            let file = OpenOptions::new().write(true).open(&path).unwrap();
            file.write_all_at(b"!", 100_000 + how * 8192).unwrap();
            match how {
                0 => drop(file),
                1 => file.sync_all().unwrap(),
                _ => fs::rename(&path, path.with_extension("moved")).unwrap(),
            }
        });
        slow.others_go_on();
        slow.gate.open();
        assert_eq!(results.into_iter().count(), COLD);
    }
    for number in 0..COLD {
        let mut expected = value(number);
        (0..3).for_each(|how| expected[100_000 + how * 8192] = b'!');
        assert_eq!(fs::read(slow.at(&format!("cold{number}/key.moved"))).unwrap(), expected);
    }
}

/// A file of which much is written is spilled while it is open, whole blocks at a time.
#[test]
fn those_who_write_much_keep_nobody_waiting() {
    let Some(slow) = Slow::mounted() else { return };
    let results = slow.hold(|path| {
        let mut file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(b"!", 100_000).unwrap();
        std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(200_000)).unwrap();
        (0..16).for_each(|piece| file.write_all(&[piece; 128 << 10]).unwrap());
    });
    slow.others_go_on();
    slow.gate.open();
    assert_eq!(results.into_iter().count(), COLD);
    for number in 0..COLD {
        let mut expected = value(number);
        expected[100_000] = b'!';
        (0..16).for_each(|piece| expected.extend([piece; 128 << 10]));
        assert!(fs::read(slow.at(&format!("cold{number}/key"))).unwrap() == expected);
    }
}

/// A copy within the mount shares what is in the log, and copies what is less than a block.
#[test]
fn those_who_copy_keep_nobody_waiting() {
    let Some(slow) = Slow::mounted() else { return };
    let results = slow.hold(|path| {
        let mut from = File::open(&path).unwrap();
        std::io::Seek::seek(&mut from, std::io::SeekFrom::Start(10)).unwrap();
        let mut to = File::create(path.with_extension("copy")).unwrap();
        std::io::copy(&mut from.take(1000), &mut to).unwrap()
    });
    slow.others_go_on();
    slow.gate.open();
    assert_eq!(results.into_iter().count(), COLD);
    for number in 0..COLD {
        assert_eq!(fs::read(slow.at(&format!("cold{number}/key.copy"))).unwrap(), value(number)[10..1010]);
    }
}
