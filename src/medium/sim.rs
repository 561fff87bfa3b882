//! A disk in memory, for tests.
//!
//! It keeps for every file and every directory what is durable and, in order, what happened since: from these it
//! builds the images that a power cut may leave. It has no clock and no chance of its own: the same calls and seeds
//! give the same bytes.

mod bytes;
mod faults;
mod file;
mod journal;
mod lock;
mod names;
mod random;
#[cfg(test)]
mod tests;
mod tree;

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

pub use faults::{Access, Fault, Passing};

use self::bytes::ByteChange;
use self::faults::Faults;
use self::file::SimFile;
use self::journal::Survival;
use self::lock::{Locks, SimLock};
use self::random::Random;
use self::tree::Tree;
use super::{File, Lock, Medium, Space, Status, Trouble};

/// Bytes that a disk holds unless told otherwise.
const CAPACITY: u64 = 1 << 40;

/// A store directory in memory that loses power, fills up and fails on demand. Clones are the same disk.
///
/// ```
/// use caskfs::medium::{Medium, SimDisk};
///
/// let disk = SimDisk::new();
/// let file = disk.create("note")?;
/// disk.sync_dir("")?;
/// file.write_all_at(b"hello", 0)?;
/// let images = disk.power_cut_images(7, 2);
/// assert_eq!(images[0].file("note"), Some(vec![])); // nothing unsynced survived
/// assert_eq!(images[1].file("note"), Some(b"hello".to_vec())); // everything did
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

/// The disk behind all handles.
struct State {
    tree: Tree,
    faults: Faults,
    locks: Locks,
    /// Bytes that all files together may hold.
    capacity: u64,
    /// Whether [`File::allocate`] is not supported.
    sparse: bool,
    /// Syncs that do nothing: of what starts with these paths.
    ignored: Vec<String>,
    /// Syncs that do nothing: of just these directories.
    ignored_dirs: Vec<String>,
    /// Whether a file may have several names.
    links: bool,
}

impl State {
    fn new(tree: Tree, capacity: u64) -> State {
        State {
            tree,
            faults: Faults::default(),
            locks: Locks::default(),
            capacity,
            sparse: false,
            ignored: Vec::new(),
            ignored_dirs: Vec::new(),
            links: true,
        }
    }

    /// Bytes by which files may grow.
    fn room(&self) -> u64 {
        self.capacity.saturating_sub(self.tree.used())
    }

    fn ignores_sync(&self, path: &str) -> bool {
        let mut ignored = self.ignored.iter();
        ignored.any(|prefix| path.starts_with(prefix.as_str()))
    }

    fn ignores_dir_sync(&self, path: &str) -> bool {
        self.ignores_sync(path) || self.ignored_dirs.iter().any(|dir| dir == path)
    }
}

impl SimDisk {
    /// An empty disk of 1 TiB.
    pub fn new() -> SimDisk {
        SimDisk::with(State::new(Tree::new(), CAPACITY))
    }

    fn with(state: State) -> SimDisk {
        SimDisk { state: Arc::new(Mutex::new(state)) }
    }

    /// How many mutating operations were begun, failed ones included: `create`, `rename`, `hard_link`, `remove`,
    /// `create_dir`, `remove_dir`, `sync_dir`, `write_at`, `set_len` and `sync`. Those after a power cut do not count.
    pub fn operations(&self) -> u64 {
        self.state.lock().faults.operations()
    }

    /// Plants a fault on one operation, the first being 0: `fail_at(disk.operations(), fault)` hits the next one. A
    /// second fault on the same operation replaces the first.
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        self.state.lock().faults.plant(operation, fault);
    }

    /// Whether reads of the file that stands at `path` fail with `EIO`, through handles opened before too. The file
    /// need not exist yet.
    pub fn set_read_fault(&self, path: &str, on: bool) {
        self.state.lock().faults.set_unreadable(path, on);
    }

    /// From now on reads of the file that stands at `path` fail with `EIO` if they want any of these bytes, by whatever name
    /// it goes later. False if there is no such file.
    pub fn set_bad(&self, path: &str, bytes: Range<u64>) -> bool {
        let state = &mut *self.state.lock();
        let Ok(file) = state.tree.file_at(path) else { return false };
        state.faults.set_bad(file, bytes);
        true
    }

    /// Has the next accesses fail that this describes, and those after them go well: a disk that is busy with itself for
    /// a moment, a process that has no descriptor left.
    pub fn fail_for_a_while(&self, passing: Passing) {
        self.state.lock().faults.pass_by(passing);
    }

    /// From now on one window of a few reads and opens in `one_in` fails, each with one errno that passes, as the seed
    /// has it; never, if that is 0.
    pub fn set_weather(&self, seed: u64, one_in: usize) {
        self.state.lock().faults.set_weather(seed, one_in);
    }

    /// Forgets every planted fault and every read fault. Power that is off stays off: what a machine finds when it is
    /// back on, [`power_cut_images`](Self::power_cut_images) tells.
    pub fn clear_faults(&self) {
        self.state.lock().faults.clear();
    }

    /// From now on syncs of files and directories whose path starts with `prefix` succeed and make nothing durable, as
    /// if the caller had left them out: proof that a test would notice. A file's path is the one that it was opened
    /// by. `""` means every sync.
    pub fn ignore_syncs(&self, prefix: &str) {
        self.state.lock().ignored.push(prefix.to_owned());
    }

    /// Like [`ignore_syncs`](Self::ignore_syncs), for syncs of exactly this directory and of no file in it.
    pub fn ignore_dir_syncs(&self, path: &str) {
        self.state.lock().ignored_dirs.push(path.to_owned());
    }

    /// Limits the bytes in all files that have a name; `None` is 1 TiB again. What is there already stays.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state.lock().capacity = bytes.unwrap_or(CAPACITY);
    }

    /// From now on no file can be given a second name, as on a file system that knows no hard links.
    pub fn refuse_links(&self) {
        self.state.lock().links = false;
    }

    /// From now on room cannot be set aside, as on a file system without fallocate(2).
    pub fn forbid_allocation(&self) {
        self.state.lock().sparse = true;
    }

    /// Flips the bits `xor` of a byte on the medium and in what is read now. False if there is no such byte.
    pub fn corrupt(&self, path: &str, offset: u64, xor: u8) -> bool {
        let mut state = self.state.lock();
        let tree = &mut state.tree;
        let file = tree.file_at(path);
        let Ok(file) = file.and_then(|file| tree.file_mut(file)) else {
            return false;
        };
        match usize::try_from(offset) {
            Ok(offset) if offset < file.now().len() => {
                file.settle(ByteChange::Flip { offset, xor });
                true
            }
            _ => false,
        }
    }

    /// The bytes of a file as they are now; `None` if there is none. Works without power.
    pub fn file(&self, path: &str) -> Option<Vec<u8>> {
        let state = self.state.lock();
        let file = state.tree.file_at(path).ok()?;
        let file = state.tree.file(file).ok()?;
        Some(file.now().as_slice().to_vec())
    }

    /// Puts a file on the medium, replacing the one at `path`: bytes, name and the directories above it are durable.
    /// Not counted as an operation.
    ///
    /// # Panics
    /// If no file can have that path, which is the test's mistake.
    pub fn put_file(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        let put = self.state.lock().tree.put_file(path, bytes.into());
        assert!(put.is_ok(), "put_file({path:?}): {put:?}");
    }

    /// The paths of all files, sorted. Works without power.
    pub fn paths(&self) -> Vec<String> {
        let files = self.state.lock().tree.files();
        files.into_iter().map(|(path, _)| path).collect()
    }

    /// `count` disks that may be found after a power cut now, or after the one that a [`Fault::PowerCut`] was: each
    /// with everything in it durable, no faults, no locks, the same capacity and operations counted from 0.
    ///
    /// On the first nothing unsynced survived, on the second everything (but nothing that a failed sync lost). On the
    /// others each file and each directory has lost none, all, all but the first, or any of its unsynced changes,
    /// and writes may be torn at any byte, or hold only some of their 512-byte sectors. The `i`-th disk depends on the
    /// seed and `i` alone.
    pub fn power_cut_images(&self, seed: u64, count: usize) -> Vec<SimDisk> {
        let state = self.state.lock();
        let image = |stream| {
            let survival = match stream {
                0 => Survival::Nothing,
                1 => Survival::Everything,
                _ => Survival::Random,
            };
            let mut random = Random::new(seed, stream);
            let tree = state.tree.after_power_cut(survival, &mut random);
            SimDisk::with(State::new(tree, state.capacity))
        };
        (0..count as u64).map(image).collect()
    }

    /// The disk as the next process finds it after this one was killed: everything is as it is now, and what was not
    /// synced still is not. Locks and faults are gone, ignored syncs stay ignored, and operations count from 0.
    /// This disk and its handles live on, apart from the new one.
    pub fn restart(&self) -> SimDisk {
        let state = self.state.lock();
        SimDisk::with(State {
            ignored: state.ignored.clone(),
            ignored_dirs: state.ignored_dirs.clone(),
            links: state.links,
            ..State::new(state.tree.clone(), state.capacity)
        })
    }

    fn handle(&self, file: u64, path: &str, write: bool) -> Arc<dyn File> {
        Arc::new(SimFile { state: Arc::clone(&self.state), file, path: path.to_owned(), write })
    }
}

impl Default for SimDisk {
    fn default() -> SimDisk {
        SimDisk::new()
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimDisk")
            .field("operations", &self.operations())
            .field("paths", &self.paths())
            .finish_non_exhaustive()
    }
}

impl Medium for SimDisk {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let mut state = self.state.lock();
        state.faults.access(Access::Open, path, &(0..0))?;
        state.faults.begin()?;
        let file = state.tree.create(path)?;
        Ok(self.handle(file, path, true))
    }

    fn open(&self, path: &str, write: bool) -> io::Result<Arc<dyn File>> {
        let mut state = self.state.lock();
        state.faults.access(Access::Open, path, &(0..0))?;
        let file = state.tree.file_at(path)?;
        Ok(self.handle(file, path, write))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.faults.begin()?;
        state.tree.rename(from, to)
    }

    fn hard_link(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.faults.begin()?;
        if !state.links {
            return Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP));
        }
        state.tree.hard_link(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.faults.begin()?;
        state.tree.remove(path)
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.faults.begin()?;
        state.tree.create_dir(path)
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        state.faults.begin()?;
        state.tree.remove_dir(path)
    }

    fn status(&self, path: &str) -> io::Result<Status> {
        let mut state = self.state.lock();
        state.faults.access(Access::Open, path, &(0..0))?;
        state.tree.status(path)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let mut state = self.state.lock();
        state.faults.access(Access::Open, path, &(0..0))?;
        let names = state.tree.dir_at(path)?.now().iter();
        Ok(names.map(|(name, _)| name.to_owned()).collect())
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        let mut state = self.state.lock();
        let begun = state.faults.begin();
        let powered = state.faults.powered().is_ok();
        let ignored = state.ignores_dir_sync(path);
        match begun {
            Ok(()) if ignored => state.tree.dir_at(path).map(|_| ()),
            Ok(()) => state.tree.dir_at(path).map(|names| names.sync()),
            Err(error) => {
                let begun = powered && Trouble::of_sync(&error) != Trouble::Passing;
                if let (true, Ok(names)) = (begun, state.tree.dir_at(path)) {
                    names.fail_sync();
                }
                Err(error)
            }
        }
    }

    fn space(&self) -> io::Result<Space> {
        let state = self.state.lock();
        state.faults.powered()?;
        let free = state.room();
        Ok(Space { total: state.capacity, free, available: free })
    }

    fn lock(&self, path: &str, shared: bool) -> io::Result<Option<Box<dyn Lock>>> {
        let mut state = self.state.lock();
        state.faults.powered()?;
        match state.tree.file_at(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                state.tree.create(path)?;
            }
            found => {
                found?;
            }
        }
        if !state.locks.take(path, shared) {
            return Ok(None);
        }
        Ok(Some(Box::new(SimLock { state: Arc::clone(&self.state), path: path.to_owned() })))
    }
}
