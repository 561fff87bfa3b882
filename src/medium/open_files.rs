//! Files that are open only now and then: however many segments the stores of a process have, and their snapshots, so many
//! are open at once and no more.
//!
//! [`Cached`] is a medium whose files are closed when others are wanted, and opened again when they are. It is for files
//! that are there, and never change: one that is made, or opened for writing, stays open until [`File::release`], since
//! an fsync by another descriptor may not hear of an error.
//!
//! The bound is for the whole process, by its limit of descriptors. A file that is read is found without looking here.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use nix::sys::resource::{Resource, getrlimit};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use super::trouble::retry;
use super::{File, Lock, Medium, Space, Status};

/// This part of the process's descriptors is for them, within these bounds.
const PART: u64 = 4;
const FEWEST: u64 = 16;
const MOST: u64 = 1024;

/// The files that are open and may be closed, in the order in which they were opened or last found in use.
static OPEN: Mutex<VecDeque<Weak<CachedFile>>> = Mutex::new(VecDeque::new());
/// How many of these are not there any more.
static GONE: AtomicUsize = AtomicUsize::new(0);

/// How many may be open. The limit may be changed while the process runs.
pub(super) fn bound() -> usize {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(FEWEST, |(soft, _)| soft);
    (limit / PART).clamp(FEWEST, MOST) as usize
}

/// How many files are open that may be closed.
pub fn open_files() -> usize {
    let open = OPEN.lock();
    open.iter().filter(|file| file.strong_count() > 0).count()
}

/// One more is open: closes others if there are too many.
fn admit(file: Weak<CachedFile>) {
    let mut open = OPEN.lock();
    open.push_back(file);
    let bound = bound();
    if open.len() > bound && GONE.swap(0, Ordering::Relaxed) > 0 {
        open.retain(|file| file.strong_count() > 0);
    }
    let mut closed = Vec::new();
    while open.len() > bound {
        match close_one(&mut open) {
            Some(file) => closed.push(file),
            None => break,
        }
    }
    // They are closed when nobody waits.
    drop(open);
}

/// Closes the file that was not used for the longest time, about. `None` if all of them are in use.
fn close_one(open: &mut VecDeque<Weak<CachedFile>>) -> Option<Arc<dyn File>> {
    // Each is seen twice at most: once to find that it was used, once to close it.
    for _ in 0..2 * open.len() {
        let Some(file) = open.pop_front()?.upgrade() else { continue };
        if !file.used.swap(false, Ordering::Relaxed)
            && let Some(mut descriptor) = file.descriptor.try_write()
        {
            if let Some(descriptor) = descriptor.take() {
                return Some(descriptor);
            }
            continue;
        }
        open.push_back(Arc::downgrade(&file));
    }
    None
}

/// If it was for lack of a descriptor that something failed: gives half of ours back. True if there were any.
pub(super) fn close_some(error: &io::Error) -> bool {
    if !matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
        return false;
    }
    let mut open = OPEN.lock();
    let wanted = open.len().div_ceil(2);
    let closed: Vec<_> = std::iter::from_fn(|| close_one(&mut open)).take(wanted).collect();
    drop(open);
    !closed.is_empty()
}

/// Closes all that are open and not in use.
#[cfg(test)]
pub(crate) fn close_all() {
    let mut open = OPEN.lock();
    while close_one(&mut open).is_some() {}
}

/// A medium whose files are open only now and then.
#[derive(Clone, Debug)]
pub struct Cached(Arc<dyn Medium>);

impl Cached {
    /// The same medium, for files that never change.
    pub fn new(medium: Arc<dyn Medium>) -> Cached {
        Cached(medium)
    }

    fn file(&self, path: &str, descriptor: Arc<dyn File>, kept: bool) -> Arc<dyn File> {
        let file = Arc::new_cyclic(|me| CachedFile {
            medium: Arc::clone(&self.0),
            path: path.to_owned(),
            descriptor: RwLock::new(Some(descriptor)),
            used: AtomicBool::new(true),
            kept: AtomicBool::new(kept),
            me: Weak::clone(me),
        });
        if !kept {
            admit(Arc::downgrade(&file));
        }
        file
    }
}

impl Medium for Cached {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        retry(|| self.0.create(path)).map(|file| self.file(path, file, true))
    }

    fn open(&self, path: &str, write: bool) -> io::Result<Arc<dyn File>> {
        retry(|| self.0.open(path, write)).map(|file| self.file(path, file, write))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn hard_link(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.hard_link(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.0.remove(path)
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.0.create_dir(path)
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        self.0.remove_dir(path)
    }

    fn status(&self, path: &str) -> io::Result<Status> {
        self.0.status(path)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.0.list(path)
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        self.0.sync_dir(path)
    }

    fn space(&self) -> io::Result<Space> {
        self.0.space()
    }

    fn lock(&self, path: &str, shared: bool) -> io::Result<Option<Box<dyn Lock>>> {
        self.0.lock(path, shared)
    }
}

/// A file that may be closed.
struct CachedFile {
    medium: Arc<dyn Medium>,
    path: String,
    descriptor: RwLock<Option<Arc<dyn File>>>,
    /// Since somebody last looked for one to close.
    used: AtomicBool,
    /// It is not to be closed.
    kept: AtomicBool,
    me: Weak<CachedFile>,
}

impl fmt::Debug for CachedFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CachedFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl CachedFile {
    /// Does something with the open file, which is not closed meanwhile.
    fn with<T>(&self, work: impl FnOnce(&dyn File) -> io::Result<T>) -> io::Result<T> {
        work(&**self.opened()?)
    }

    fn opened(&self) -> io::Result<parking_lot::MappedRwLockReadGuard<'_, Arc<dyn File>>> {
        loop {
            if let Some(open) = self.if_open() {
                return Ok(open);
            }
            let mut descriptor = self.descriptor.write();
            if descriptor.is_none() {
                *descriptor = Some(retry(|| self.medium.open(&self.path, false))?);
                drop(descriptor);
                self.used.store(true, Ordering::Relaxed);
                admit(Weak::clone(&self.me));
            }
        }
    }

    fn if_open(&self) -> Option<parking_lot::MappedRwLockReadGuard<'_, Arc<dyn File>>> {
        let open = RwLockReadGuard::try_map(self.descriptor.read(), Option::as_ref).ok()?;
        // Most often it is set already: then nobody else's cache line is taken.
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        Some(open)
    }
}

impl Drop for CachedFile {
    fn drop(&mut self) {
        if !self.kept.load(Ordering::Relaxed) && self.descriptor.get_mut().is_some() {
            GONE.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl File for CachedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|file| file.read_at(buffer, offset))
    }

    fn read_cached_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
        // To open a file may be to wait.
        self.if_open().map_or(Ok(false), |file| file.read_cached_at(buffer, offset))
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        self.with(|file| file.write_at(data, offset))
    }

    fn len(&self) -> io::Result<u64> {
        self.with(|file| file.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.with(|file| file.set_len(len))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.with(|file| file.allocate(len))
    }

    fn sync(&self) -> io::Result<()> {
        self.with(|file| file.sync())
    }

    fn drop_cache(&self) {
        let _ = self.with(|file| {
            file.drop_cache();
            Ok(())
        });
    }

    fn release(&self) {
        if self.kept.swap(false, Ordering::Relaxed) {
            admit(Weak::clone(&self.me));
        }
    }
}
