//! A directory of a medium as a medium of its own: a snapshot is a whole store below another one.

use std::io;
use std::sync::Arc;

use parking_lot::RwLock;

use super::disk::check;
use super::{File, Lock, Medium, Space, Status};

/// A directory of another medium.
///
/// ```
/// use std::sync::Arc;
///
/// use caskfs::medium::{Medium, SimDisk, Subdirectory};
///
/// let disk = SimDisk::new();
/// disk.create_dir("below")?;
/// let below = Subdirectory::new(Arc::new(disk.clone()), "below");
/// below.create("note")?;
/// assert_eq!(disk.list("below")?, ["note"]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Subdirectory {
    medium: Arc<dyn Medium>,
    place: Place,
}

/// Where a directory is, for all who have it open: it may be moved.
pub type Place = Arc<RwLock<String>>;

impl Subdirectory {
    /// The directory at `path`; touches nothing.
    pub fn new(medium: Arc<dyn Medium>, path: impl Into<String>) -> Subdirectory {
        Subdirectory::at(medium, Arc::new(RwLock::new(path.into())))
    }

    /// The directory at a place that others have open too.
    pub fn at(medium: Arc<dyn Medium>, place: Place) -> Subdirectory {
        Subdirectory { medium, place }
    }

    /// Does something with the path that `path` has on the medium. The directory is not moved meanwhile.
    fn with<T>(&self, path: &str, work: impl FnOnce(&str) -> io::Result<T>) -> io::Result<T> {
        check(path)?;
        // Two paths of one call are looked up one within the other.
        let place = self.place.read_recursive();
        match path {
            "" => work(&place),
            path => work(&format!("{place}/{path}")),
        }
    }
}

impl Medium for Subdirectory {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        self.with(path, |path| self.medium.create(path))
    }

    fn open(&self, path: &str, write: bool) -> io::Result<Arc<dyn File>> {
        self.with(path, |path| self.medium.open(path, write))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.with(from, |from| self.with(to, |to| self.medium.rename(from, to)))
    }

    fn hard_link(&self, from: &str, to: &str) -> io::Result<()> {
        self.with(from, |from| self.with(to, |to| self.medium.hard_link(from, to)))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.with(path, |path| self.medium.remove(path))
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.with(path, |path| self.medium.create_dir(path))
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        self.with(path, |path| self.medium.remove_dir(path))
    }

    fn status(&self, path: &str) -> io::Result<Status> {
        self.with(path, |path| self.medium.status(path))
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.with(path, |path| self.medium.list(path))
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        self.with(path, |path| self.medium.sync_dir(path))
    }

    fn space(&self) -> io::Result<Space> {
        self.medium.space()
    }

    fn lock(&self, path: &str, shared: bool) -> io::Result<Option<Box<dyn Lock>>> {
        self.with(path, |path| self.medium.lock(path, shared))
    }
}
