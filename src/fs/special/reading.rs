//! What changes nothing.

use super::own_files::{NAME, OwnFiles};
use super::place::{Node, Place};
use super::{READ_ONLY, Tree, is_reserved};
use crate::fs::{DirectoryEntry, FilesystemStat, HandleId, OpenFlags, Sequence};
use crate::store::{EntryId, Error, ROOT, Stat};

impl Tree {
    /// See [`Filesystem::lookup`](super::Filesystem::lookup).
    ///
    /// # Errors
    /// As there; likewise below.
    pub fn lookup(&self, parent: EntryId, name: &[u8]) -> Result<Option<Stat>, Error> {
        match Place::of(parent)? {
            Place::Live(ROOT) if name == NAME => self.own.stat(Node::Directory).map(Some),
            Place::Live(parent) if is_reserved(parent, name) => Ok(None),
            Place::Live(parent) => self.live.lookup(parent, name),
            Place::Own(Node::Directory) => OwnFiles::find(name).map(|node| self.own.stat(node)).transpose(),
            Place::Own(Node::File(_)) => Err(Error::NotADirectory),
        }
    }

    /// See [`Filesystem::forget`](super::Filesystem::forget).
    pub fn forget(&self, id: EntryId, count: u64) {
        if let Ok(Place::Live(id)) = Place::of(id) {
            self.live.forget(id, count);
        }
    }

    /// See [`Filesystem::remember`](super::Filesystem::remember).
    pub fn remember(&self, id: EntryId) {
        if let Ok(Place::Live(id)) = Place::of(id) {
            self.live.remember(id);
        }
    }

    /// See [`Filesystem::getattr`](super::Filesystem::getattr).
    ///
    /// # Errors
    /// As there.
    pub fn getattr(&self, id: EntryId) -> Result<Stat, Error> {
        match Place::of(id)? {
            Place::Live(id) => self.live.getattr(id),
            Place::Own(node) => self.own.stat(node),
        }
    }

    /// See [`Filesystem::readlink`](super::Filesystem::readlink).
    ///
    /// # Errors
    /// As there.
    pub fn readlink(&self, id: EntryId) -> Result<Vec<u8>, Error> {
        match Place::of(id)? {
            Place::Live(id) => self.live.readlink(id),
            Place::Own(_) => Err(Error::Invalid("not a symbolic link")),
        }
    }

    /// See [`Filesystem::open`](super::Filesystem::open).
    ///
    /// # Errors
    /// As there; [`Error::NotPermitted`] for writing to a file of the mount's own.
    pub fn open(&self, id: EntryId, flags: OpenFlags) -> Result<HandleId, Error> {
        match Place::of(id)? {
            Place::Live(id) => self.live.open(id, flags),
            Place::Own(_) if flags.write => Err(READ_ONLY),
            Place::Own(node) => self.own.open(node),
        }
    }

    /// See [`Filesystem::read`](super::Filesystem::read).
    ///
    /// # Errors
    /// As there.
    pub fn read(&self, id: EntryId, handle: HandleId, offset: u64, size: usize) -> Result<Vec<u8>, Error> {
        match Place::of(id)? {
            Place::Live(id) => self.live.read(id, offset, size),
            Place::Own(_) => {
                let text = self.own.opened(handle)?;
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(text.len());
                let end = start.saturating_add(size).min(text.len());
                Ok(text.get(start..end).unwrap_or_default().to_vec())
            }
        }
    }

    /// See [`Filesystem::lseek`](super::Filesystem::lseek).
    ///
    /// # Errors
    /// As there.
    pub fn lseek(&self, id: EntryId, offset: u64, whence: i32) -> Result<u64, Error> {
        match Place::of(id)? {
            Place::Live(id) => self.live.lseek(id, offset, whence),
            // A text has no holes.
            Place::Own(node) => match (self.own.stat(node)?.size, whence) {
                (size, _) if offset >= size => Err(Error::BeyondEnd),
                (_, libc::SEEK_DATA) => Ok(offset),
                (size, _) => Ok(size),
            },
        }
    }

    /// See [`Filesystem::flush`](super::Filesystem::flush).
    ///
    /// # Errors
    /// As there.
    pub fn flush(&self, id: EntryId, handle: HandleId) -> Result<Option<Sequence>, Error> {
        match Place::of(id)? {
            Place::Live(id) => self.live.flush(id, handle),
            Place::Own(_) => Ok(None),
        }
    }

    /// See [`Filesystem::release`](super::Filesystem::release).
    ///
    /// # Errors
    /// As there.
    pub fn release(&self, id: EntryId, handle: HandleId) -> Result<(), Error> {
        match Place::of(id)? {
            Place::Live(id) => return self.live.release(id, handle),
            Place::Own(_) => self.own.close(handle),
        }
        Ok(())
    }

    /// See [`Filesystem::fsync`](super::Filesystem::fsync).
    ///
    /// # Errors
    /// As there.
    pub fn fsync(&self, id: EntryId) -> Result<Option<Sequence>, Error> {
        match Place::of(id)? {
            Place::Live(id) => self.live.fsync(id),
            Place::Own(_) => Ok(None),
        }
    }

    /// See [`Filesystem::fsyncdir`](super::Filesystem::fsyncdir).
    ///
    /// # Errors
    /// As there.
    pub fn fsyncdir(&self, id: EntryId) -> Result<Option<Sequence>, Error> {
        match Place::of(id)? {
            Place::Live(id) => self.live.fsyncdir(id),
            Place::Own(_) => Ok(None),
        }
    }

    /// See [`Filesystem::readdir`](super::Filesystem::readdir).
    ///
    /// # Errors
    /// As there.
    pub fn readdir(
        &self,
        id: EntryId,
        cookie: u64,
        entry: &mut dyn FnMut(&DirectoryEntry, &Stat) -> bool,
    ) -> Result<(), Error> {
        match Place::of(id)? {
            // A store that is older than the names may hold keys under them.
            Place::Live(ROOT) => self
                .live
                .readdir(ROOT, cookie, &mut |listed, stat| is_reserved(ROOT, &listed.name) || entry(listed, stat)),
            Place::Live(id) => self.live.readdir(id, cookie, entry),
            Place::Own(Node::Directory) => self.own.list(cookie, entry),
            Place::Own(Node::File(_)) => Err(Error::NotADirectory),
        }
    }

    /// See [`Filesystem::statfs`](super::Filesystem::statfs).
    ///
    /// # Errors
    /// As there.
    pub fn statfs(&self) -> Result<FilesystemStat, Error> {
        self.live.statfs()
    }

    /// See [`Filesystem::getxattr`](super::Filesystem::getxattr).
    ///
    /// # Errors
    /// As there.
    pub fn getxattr(&self, id: EntryId, name: &[u8]) -> Result<Vec<u8>, Error> {
        match Place::of(id)? {
            Place::Live(id) => self.live.getxattr(id, name),
            Place::Own(_) => Err(Error::NoAttribute),
        }
    }

    /// See [`Filesystem::listxattr`](super::Filesystem::listxattr).
    ///
    /// # Errors
    /// As there.
    pub fn listxattr(&self, id: EntryId) -> Result<Vec<u8>, Error> {
        match Place::of(id)? {
            Place::Live(id) => self.live.listxattr(id),
            Place::Own(_) => Ok(Vec::new()),
        }
    }
}
