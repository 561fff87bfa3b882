//! A disk whose reads can be held up: what was not read since it was cooled waits at a gate, as for a slow disk.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex};

use caskfs::medium::{Disk, File, Lock, Medium, Space, Status};

const BLOCK: u64 = 4096;

#[derive(Debug, Default)]
struct State {
    /// Blocks that are in memory, by file and number; `None` for all.
    warm: Option<BTreeSet<(String, u64)>>,
    closed: bool,
    /// Reads that wait at the gate.
    waiting: usize,
}

/// What decides which reads wait.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<(Mutex<State>, Condvar)>);

impl Gate {
    /// Lets no read through of what is not in memory.
    pub(crate) fn close(&self) {
        self.0.0.lock().unwrap().closed = true;
    }

    /// Lets all through.
    pub(crate) fn open(&self) {
        self.0.0.lock().unwrap().closed = false;
        self.0.1.notify_all();
    }

    /// Forgets what is in memory.
    pub(crate) fn cool(&self) {
        self.0.0.lock().unwrap().warm = Some(BTreeSet::new());
    }

    /// How many reads wait.
    pub(crate) fn waiting(&self) -> usize {
        self.0.0.lock().unwrap().waiting
    }

    fn blocks(name: &str, bytes: Range<u64>) -> impl Iterator<Item = (String, u64)> {
        (bytes.start / BLOCK..bytes.end.div_ceil(BLOCK)).map(move |block| (name.to_owned(), block))
    }

    fn is_warm(&self, name: &str, bytes: Range<u64>) -> bool {
        let state = self.0.0.lock().unwrap();
        state.warm.as_ref().is_none_or(|warm| Gate::blocks(name, bytes).all(|block| warm.contains(&block)))
    }

    fn warm(&self, name: &str, bytes: Range<u64>) {
        if let Some(warm) = &mut self.0.0.lock().unwrap().warm {
            warm.extend(Gate::blocks(name, bytes));
        }
    }

    fn pass(&self, name: &str, bytes: Range<u64>) {
        if !self.is_warm(name, bytes.clone()) {
            let mut state = self.0.0.lock().unwrap();
            state.waiting += 1;
            let mut state = self.0.1.wait_while(state, |state| state.closed).unwrap();
            state.waiting -= 1;
        }
        self.warm(name, bytes);
    }
}

/// A disk behind a gate.
#[derive(Debug)]
pub(crate) struct SlowDisk {
    disk: Disk,
    gate: Gate,
}

impl SlowDisk {
    pub(crate) fn new(disk: Disk, gate: Gate) -> SlowDisk {
        SlowDisk { disk, gate }
    }

    fn file(&self, name: &str, file: io::Result<Arc<dyn File>>) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(SlowFile { name: name.to_owned(), file: file?, gate: self.gate.clone() }))
    }
}

#[derive(Debug)]
struct SlowFile {
    name: String,
    file: Arc<dyn File>,
    gate: Gate,
}

fn range(offset: u64, len: usize) -> Range<u64> {
    offset..offset + len as u64
}

impl File for SlowFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.gate.pass(&self.name, range(offset, buffer.len()));
        self.file.read_at(buffer, offset)
    }

    fn read_cached_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
        if !self.gate.is_warm(&self.name, range(offset, buffer.len())) {
            return Ok(false);
        }
        self.file.read_exact_at(buffer, offset).map(|()| true)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        self.gate.warm(&self.name, range(offset, data.len()));
        self.file.write_at(data, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

impl Medium for SlowDisk {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        self.file(path, self.disk.create(path))
    }

    fn open(&self, path: &str, write: bool) -> io::Result<Arc<dyn File>> {
        self.file(path, self.disk.open(path, write))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn hard_link(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.hard_link(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.disk.create_dir(path)
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        self.disk.remove_dir(path)
    }

    fn status(&self, path: &str) -> io::Result<Status> {
        self.disk.status(path)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.disk.list(path)
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        self.disk.sync_dir(path)
    }

    fn space(&self) -> io::Result<Space> {
        self.disk.space()
    }

    fn lock(&self, path: &str, shared: bool) -> io::Result<Option<Box<dyn Lock>>> {
        self.disk.lock(path, shared)
    }
}
