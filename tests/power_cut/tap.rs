//! A medium that is watched: before each operation that changes it, the disks are taken that a power cut, or a
//! killed process, would leave right then. So one run of a workload is cut at every one of its operations.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use caskfs::medium::{File, Lock, Medium, SimDisk, Space, Status};
use parking_lot::Mutex;

/// The disks that may be found when everything stops before one operation.
#[derive(Debug)]
pub(crate) struct Cut {
    /// The number of the operation, and its name.
    pub(crate) operation: u64,
    pub(crate) name: String,
    /// Whether the call under way had been answered by then.
    pub(crate) answered: bool,
    /// After a power cut.
    pub(crate) unpowered: Vec<SimDisk>,
    /// After the process was killed, before the operation or in the middle of it.
    pub(crate) killed: Vec<SimDisk>,
}

/// A watched disk. Clones watch the same one.
#[derive(Clone, Debug)]
pub(crate) struct Tap(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    disk: SimDisk,
    seed: u64,
    /// Disks to take for each power cut.
    images: usize,
    operations: AtomicU64,
    answered: AtomicBool,
    cuts: Mutex<Vec<Cut>>,
}

impl Tap {
    pub(crate) fn new(disk: SimDisk, seed: u64, images: usize) -> Tap {
        let (operations, answered, cuts) = Default::default();
        Tap(Arc::new(Inner { disk, seed, images, operations, answered, cuts }))
    }

    pub(crate) fn disk(&self) -> &SimDisk {
        &self.0.disk
    }

    /// Takes the disks that there may be right now.
    pub(crate) fn cut(&self, name: &str) {
        self.cut_in(name, |_| None);
    }

    fn cut_in(&self, name: &str, halfway: impl FnOnce(&SimDisk) -> Option<SimDisk>) {
        let operation = self.0.operations.fetch_add(1, Ordering::Relaxed);
        let disk = &self.0.disk;
        let seed = self.0.seed.wrapping_add(operation.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let unpowered = disk.power_cut_images(seed, self.0.images);
        let mut killed = vec![disk.restart()];
        killed.extend(halfway(disk));
        let answered = self.0.answered.load(Ordering::Relaxed);
        self.0.cuts.lock().push(Cut { operation, name: name.into(), answered, unpowered, killed });
    }

    /// Tells whether the call under way has been answered.
    pub(crate) fn answered(&self, answered: bool) {
        self.0.answered.store(answered, Ordering::Relaxed);
    }

    /// The cuts since this was asked last.
    pub(crate) fn take_cuts(&self) -> Vec<Cut> {
        std::mem::take(&mut self.0.cuts.lock())
    }
}

impl Medium for Tap {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        self.cut(&format!("create {path}"));
        let file = self.disk().create(path)?;
        Ok(Arc::new(TapFile { tap: self.clone(), file, path: path.into() }))
    }

    fn open(&self, path: &str, write: bool) -> io::Result<Arc<dyn File>> {
        let file = self.disk().open(path, write)?;
        Ok(Arc::new(TapFile { tap: self.clone(), file, path: path.into() }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.cut(&format!("rename {from} to {to}"));
        self.disk().rename(from, to)
    }

    fn hard_link(&self, from: &str, to: &str) -> io::Result<()> {
        self.cut(&format!("hard_link {from} to {to}"));
        self.disk().hard_link(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.cut(&format!("remove {path}"));
        self.disk().remove(path)
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.cut(&format!("create_dir {path}"));
        self.disk().create_dir(path)
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        self.cut(&format!("remove_dir {path}"));
        self.disk().remove_dir(path)
    }

    fn status(&self, path: &str) -> io::Result<Status> {
        self.disk().status(path)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.disk().list(path)
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        self.cut(&format!("sync_dir {path:?}"));
        self.disk().sync_dir(path)
    }

    fn space(&self) -> io::Result<Space> {
        self.disk().space()
    }

    fn lock(&self, path: &str, shared: bool) -> io::Result<Option<Box<dyn Lock>>> {
        self.disk().lock(path, shared)
    }
}

/// A file of a watched disk.
#[derive(Debug)]
struct TapFile {
    tap: Tap,
    file: Arc<dyn File>,
    path: String,
}

impl File for TapFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        // A fatal signal ends a write between two pages.
        let halfway = |disk: &SimDisk| {
            let disk = disk.restart();
            let half = data.get(..data.len() / 2).filter(|half| !half.is_empty())?;
            // A file that was put in place by a rename goes by its new name.
            let file = disk.open(&self.path, true).or_else(|_| disk.open(self.path.trim_end_matches(".tmp"), true));
            file.and_then(|file| file.write_all_at(half, offset)).ok()?;
            Some(disk)
        };
        self.tap.cut_in(&format!("write {} bytes to {} at {offset}", data.len(), self.path), halfway);
        self.file.write_at(data, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.tap.cut(&format!("set_len {} to {len}", self.path));
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.tap.cut(&format!("sync {}", self.path));
        self.file.sync()
    }
}
