//! The only code that touches the disk.
//!
//! Everything above works on two traits: a [`Medium`] is a store directory, a [`File`] one file in it. [`Disk`] is
//! the real thing. [`SimDisk`] is a disk in memory for tests: it remembers what was synced, fails on demand, and
//! rebuilds any image that a power cut may leave.
//!
//! What the layers above assume of a medium, and nothing more:
//! * bytes are durable once [`File::sync`] has returned; a name is durable once [`Medium::sync_dir`] of its directory
//!   has returned, and not before, whatever became of the file;
//! * without a sync, writes may be lost, kept, reordered or torn at any byte;
//! * [`Medium::rename`] replaces its target atomically;
//! * after a failed sync nothing is known about the bytes: nobody above ever retries one.

mod disk;
mod open_files;
mod sim;
mod subdirectory;
#[cfg(test)]
mod tests;
mod trouble;

use std::fmt;
use std::io;
use std::sync::Arc;

pub use disk::Disk;
#[cfg(test)]
pub(crate) use open_files::close_all;
pub use open_files::{Cached, open_files};
pub use sim::{Access, Fault, Passing, SimDisk};
pub use subdirectory::{Place, Subdirectory};
pub use trouble::{Trouble, retry};

/// A store directory. Paths are relative to it and use `/` (`segments/00000001.log`); `""` is the store directory
/// itself.
pub trait Medium: Send + Sync + fmt::Debug {
    /// Creates a file that must not exist yet (`AlreadyExists` otherwise), open for reading and writing, mode 0600.
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>>;

    /// Opens an existing file; for reading alone unless `write`.
    fn open(&self, path: &str, write: bool) -> io::Result<Arc<dyn File>>;

    /// Renames a file, replacing `to` atomically if it exists; or a directory, to a name that is free in the same
    /// directory.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Gives a file a second name, `to` (`AlreadyExists` if there is something). Not every file system can: see
    /// [`cannot_link`].
    fn hard_link(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Open files stay readable.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Creates a directory, mode 0700 (`AlreadyExists` if it is there).
    fn create_dir(&self, path: &str) -> io::Result<()>;

    /// Removes a directory that is empty.
    fn remove_dir(&self, path: &str) -> io::Result<()>;

    /// What stands at a path.
    fn status(&self, path: &str) -> io::Result<Status>;

    /// The names in a directory, sorted, without `.` and `..`.
    fn list(&self, path: &str) -> io::Result<Vec<String>>;

    /// Makes the names in a directory durable: fsync of the directory.
    fn sync_dir(&self, path: &str) -> io::Result<()>;

    /// Room on the medium.
    fn space(&self) -> io::Result<Space>;

    /// Takes the kernel lock on a file (created if it is missing and the medium is writable) without waiting: for one
    /// holder, or `shared` with other shared ones. `None` if somebody else holds it. Dropped with the value, and by
    /// the kernel when the process dies.
    fn lock(&self, path: &str, shared: bool) -> io::Result<Option<Box<dyn Lock>>>;
}

/// An open file. Safe to use from several threads at once.
pub trait File: Send + Sync + fmt::Debug {
    /// Reads up to `buffer.len()` bytes at `offset`; 0 at the end of the file. May be short.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// [`File::read_exact_at`] of what can be had without waiting for the medium, because the operating system keeps it in
    /// memory. `false`: it cannot, or nobody knows, and the buffer holds anything.
    fn read_cached_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
        self.read_exact_at(buffer, offset).map(|()| true)
    }

    /// Writes up to `data.len()` bytes at `offset`, growing the file where needed. May be short.
    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize>;

    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file holds no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Cuts or extends (with zeros) the file.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Sets room aside for the first `len` bytes, and makes the file as long as that: fallocate(2). `Unsupported` where
    /// the medium cannot.
    fn allocate(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Makes the file's bytes and length durable: fdatasync(2).
    fn sync(&self) -> io::Result<()>;

    /// Has the next read come from the medium, where the operating system keeps a copy in memory. Without effect on
    /// what was not written there yet, and on a medium that has no such thing.
    fn drop_cache(&self) {}

    /// Nothing is written to the file any more: from now on it need not stay open while nobody reads it.
    fn release(&self) {}

    /// Fills `buffer` from `offset`, or fails with `UnexpectedEof`.
    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match retry(|| self.read_at(buffer, offset))? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => {
                    buffer = buffer.get_mut(n..).unwrap_or_default();
                    offset += n as u64;
                }
            }
        }
        Ok(())
    }

    /// Writes all of `data` at `offset`. After an error any part of it may have been written.
    fn write_all_at(&self, mut data: &[u8], mut offset: u64) -> io::Result<()> {
        while !data.is_empty() {
            // A call that fails has written nothing.
            match retry(|| self.write_at(data, offset))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => {
                    data = data.get(n..).unwrap_or_default();
                    offset += n as u64;
                }
            }
        }
        Ok(())
    }
}

/// Whether a failure of [`Medium::hard_link`] means that the file system has no room for links, rather than that it is
/// broken: it knows none, or the file has as many names as there may be.
pub fn cannot_link(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
        || matches!(error.raw_os_error(), Some(libc::EPERM | libc::EXDEV | libc::EMLINK | libc::ENOSYS))
}

/// What stands at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// A file.
    File {
        /// Its length in bytes.
        len: u64,
        /// How many names it has.
        links: u64,
    },
    /// A directory.
    Directory,
}

/// A held kernel lock; dropping it releases the lock.
pub trait Lock: Send + Sync + fmt::Debug {}

/// Room on a medium, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Size of the filesystem that holds the store.
    pub total: u64,
    /// Free bytes, those kept for root included.
    pub free: u64,
    /// Free bytes that this process may use.
    pub available: u64,
}
