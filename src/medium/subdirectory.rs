//! A directory of a medium as a medium of its own: a snapshot is a whole store below another one.

use std::io;
use std::sync::Arc;

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
    path: String,
}

impl Subdirectory {
    /// The directory at `path`; touches nothing.
    pub fn new(medium: Arc<dyn Medium>, path: impl Into<String>) -> Subdirectory {
        Subdirectory { medium, path: path.into() }
    }

    fn resolve(&self, path: &str) -> io::Result<String> {
        check(path)?;
        Ok(match path {
            "" => self.path.clone(),
            path => format!("{}/{path}", self.path),
        })
    }
}

impl Medium for Subdirectory {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        self.medium.create(&self.resolve(path)?)
    }

    fn open(&self, path: &str, write: bool) -> io::Result<Arc<dyn File>> {
        self.medium.open(&self.resolve(path)?, write)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.medium.rename(&self.resolve(from)?, &self.resolve(to)?)
    }

    fn hard_link(&self, from: &str, to: &str) -> io::Result<()> {
        self.medium.hard_link(&self.resolve(from)?, &self.resolve(to)?)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.medium.remove(&self.resolve(path)?)
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.medium.create_dir(&self.resolve(path)?)
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        self.medium.remove_dir(&self.resolve(path)?)
    }

    fn status(&self, path: &str) -> io::Result<Status> {
        self.medium.status(&self.resolve(path)?)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.medium.list(&self.resolve(path)?)
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        self.medium.sync_dir(&self.resolve(path)?)
    }

    fn space(&self) -> io::Result<Space> {
        self.medium.space()
    }

    fn lock(&self, path: &str, shared: bool) -> io::Result<Option<Box<dyn Lock>>> {
        self.medium.lock(&self.resolve(path)?, shared)
    }
}
