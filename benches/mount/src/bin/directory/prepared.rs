//! What must be there before an operation is measured.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::operation::Write;

/// How many prepare: where each close waits for the disk, many share a wait.
const HANDS: u64 = 16;

/// The directories that the operations work in.
pub(crate) struct Prepared {
    directory: PathBuf,
    pub(crate) keys: u64,
}

impl Prepared {
    pub(crate) fn new(directory: &Path, keys: u64) -> io::Result<Prepared> {
        fs::create_dir_all(directory.join("keys"))?;
        Ok(Prepared { directory: directory.to_owned(), keys })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// One of the keys that are there.
    pub(crate) fn key(&self, number: u64) -> PathBuf {
        self.directory.join("keys").join(format!("k{number:08}"))
    }

    /// One that is not.
    pub(crate) fn absent(&self, number: u64) -> PathBuf {
        self.directory.join("keys").join(format!("absent{number:08}"))
    }

    /// A directory for a measurement alone.
    pub(crate) fn fresh(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path(name);
        fs::create_dir(&path)?;
        self.settle()?;
        Ok(path)
    }

    /// Makes every key that is missing, and waits until the disk has them.
    pub(crate) fn fill(&self, write: Write) -> io::Result<()> {
        let value: Vec<u8> = vec![b'x'; write.size];
        each(self.keys, |number| {
            let key = self.key(number);
            if fs::symlink_metadata(&key).is_ok_and(|found| found.len() == write.size as u64) {
                return Ok(());
            }
            fs::write(&key, &value)
        })?;
        self.settle()
    }

    /// Waits until the disk has all that was done: what is prepared is not measured with what comes after it.
    pub(crate) fn settle(&self) -> io::Result<()> {
        let directory = File::open(&self.directory)?;
        directory.sync_all()?;
        nix::unistd::syncfs(&directory).map_err(io::Error::from)
    }
}

/// Does something for each of the numbers up to `end`, many at a time.
pub(crate) fn each(end: u64, work: impl Fn(u64) -> io::Result<()> + Sync) -> io::Result<()> {
    let next = AtomicU64::new(0);
    let hand = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= end {
                return Ok(());
            }
            work(number)?;
        }
    };
    std::thread::scope(|scope| {
        let hands: Vec<_> = (0..HANDS).map(|_| scope.spawn(hand)).collect();
        hands
            .into_iter()
            .try_for_each(|hand| hand.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked"))))
    })
}
