//! What changes nothing.

use super::own_files::{NAME, OwnFiles};
use super::place::{Node, Place};
use super::snapshots::{self, inside, shown};
use super::{READ_ONLY, Tree, is_reserved};
use crate::fs::{DirectoryEntry, FilesystemStat, HandleId, OpenFlags, Sequence};
use crate::store::{Attributes, EntryId, Error, Kind, ROOT, Stat};

/// The permissions to execute: owner's, group's and others'.
const EXECUTE: u16 = 0o111;

impl Tree {
    /// See [`Store::hides`](crate::store::Store::hides).
    pub fn hides(&self) -> bool {
        self.live.store().hides()
    }

    /// See [`Filesystem::lookup`](super::Filesystem::lookup).
    ///
    /// # Errors
    /// As there; likewise below.
    pub fn lookup(&self, parent: EntryId, name: &[u8]) -> Result<Option<Stat>, Error> {
        match Place::of(parent)? {
            Place::Live(ROOT) if name == snapshots::NAME => self.own.stat(Node::Snapshots).map(Some),
            Place::Live(ROOT) if name == NAME => self.own.stat(Node::Directory).map(Some),
            Place::Live(parent) => self.live.lookup(parent, name),
            Place::Own(Node::Directory) => OwnFiles::find(name).map(|node| self.own.stat(node)).transpose(),
            Place::Own(Node::Snapshots) => self.snapshots.find(name),
            Place::Own(Node::File(_)) => Err(Error::NotADirectory),
            Place::Frozen(number, ROOT) if is_reserved(ROOT, name) => self.snapshots.tree(number).map(|_| None),
            Place::Frozen(number, parent) => {
                let tree = self.snapshots.tree(number)?;
                let Some(stat) = tree.lookup(parent, name)? else { return Ok(None) };
                // Nothing of it can go while it is known.
                tree.forget(stat.id, 1);
                shown(number, stat).map(Some)
            }
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
            Place::Frozen(number, ROOT) => self.snapshots.root_of(number),
            Place::Frozen(number, id) => shown(number, self.snapshots.tree(number)?.getattr(id)?),
        }
    }

    /// access(2) by root, who may do everything but execute what nobody may execute.
    ///
    /// # Errors
    /// [`Error::AccessDenied`] for that.
    pub fn check_access_of_root(&self, id: EntryId, execute: bool) -> Result<(), Error> {
        let Attributes { kind, mode, .. } = self.getattr(id)?.attributes;
        match execute && kind != Kind::Directory && mode & EXECUTE == 0 {
            true => Err(Error::AccessDenied("nobody may execute it")),
            false => Ok(()),
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
            Place::Frozen(number, id) => self.snapshots.tree(number)?.readlink(id),
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
            Place::Frozen(number, id) => self.snapshots.open_file(number, id, flags),
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
            Place::Frozen(number, id) => self.snapshots.tree(number)?.read(id, offset, size),
        }
    }

    /// See [`Filesystem::read_cached`](super::Filesystem::read_cached).
    ///
    /// # Errors
    /// As there.
    pub fn read_cached(
        &self,
        id: EntryId,
        handle: HandleId,
        offset: u64,
        size: usize,
    ) -> Result<Option<Vec<u8>>, Error> {
        match Place::of(id)? {
            Place::Live(id) => self.live.read_cached(id, offset, size),
            Place::Own(_) => self.read(id, handle, offset, size).map(Some),
            Place::Frozen(number, id) => self.snapshots.tree(number)?.read_cached(id, offset, size),
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
            Place::Frozen(number, id) => self.snapshots.tree(number)?.lseek(id, offset, whence),
        }
    }

    /// See [`Filesystem::flush`](super::Filesystem::flush).
    ///
    /// # Errors
    /// As there.
    pub fn flush(&self, id: EntryId, handle: HandleId) -> Result<Option<Sequence>, Error> {
        match Place::of(id)? {
            Place::Live(id) => self.live.flush(id, handle),
            Place::Own(_) | Place::Frozen(..) => Ok(None),
        }
    }

    /// See [`Filesystem::release`](super::Filesystem::release).
    ///
    /// # Errors
    /// As there.
    pub fn release(&self, id: EntryId, handle: HandleId) -> Result<(), Error> {
        match Place::of(id)? {
            Place::Live(id) => return self.live.release(id, handle),
            Place::Frozen(number, id) => return self.snapshots.tree(number)?.release(id, handle),
            Place::Own(_) => self.own.close(handle),
        }
        Ok(())
    }

    /// See [`Filesystem::fsync`](super::Filesystem::fsync).
    ///
    /// # Errors
    /// As there.
    pub fn fsync(&self, id: EntryId, handle: HandleId) -> Result<Option<Sequence>, Error> {
        match Place::of(id)? {
            Place::Live(id) => self.live.fsync(id, handle),
            Place::Own(_) | Place::Frozen(..) => Ok(None),
        }
    }

    /// See [`Filesystem::fsyncdir`](super::Filesystem::fsyncdir).
    ///
    /// # Errors
    /// As there.
    pub fn fsyncdir(&self, id: EntryId) -> Result<Option<Sequence>, Error> {
        match Place::of(id)? {
            Place::Live(id) => self.live.fsyncdir(id),
            Place::Own(_) | Place::Frozen(..) => Ok(None),
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
        // A store that is older than the names may hold keys under them.
        let hidden = |id, listed: &DirectoryEntry| is_reserved(id, &listed.name);
        match Place::of(id)? {
            Place::Live(id) => {
                self.live.readdir(id, cookie, &mut |listed, stat| hidden(id, listed) || entry(listed, stat))
            }
            Place::Own(Node::Directory) => self.own.list(cookie, entry),
            Place::Own(Node::Snapshots) => self.list_snapshots(cookie, entry),
            Place::Own(Node::File(_)) => Err(Error::NotADirectory),
            Place::Frozen(number, id) => {
                let mut failed = None;
                let listing = self.snapshots.tree(number)?.readdir(id, cookie, &mut |listed, stat| {
                    if hidden(id, listed) {
                        return true;
                    }
                    let above = id == ROOT && listed.name == b"..";
                    let outside = if above { Ok(Node::Snapshots.id()) } else { inside(number, listed.id) };
                    match (outside, shown(number, *stat)) {
                        (Ok(id), Ok(stat)) => entry(&DirectoryEntry { id, ..listed.clone() }, &stat),
                        (Err(error), _) | (_, Err(error)) => {
                            failed = Some(error);
                            false
                        }
                    }
                });
                failed.map_or(listing, Err)
            }
        }
    }

    /// The names in `.snapshots`: those of the snapshots come after the dots, whose cookies are the numbers below theirs.
    fn list_snapshots(
        &self,
        mut cookie: u64,
        entry: &mut dyn FnMut(&DirectoryEntry, &Stat) -> bool,
    ) -> Result<(), Error> {
        let own = self.own.stat(Node::Snapshots)?;
        for (number, stat, name) in [(1, own, "."), (2, self.live.getattr(ROOT)?, "..")] {
            if cookie < number {
                let kind = stat.attributes.kind;
                if !entry(&DirectoryEntry { cookie: number, id: stat.id, kind, name: name.into() }, &stat) {
                    return Ok(());
                }
                cookie = number;
            }
        }
        self.snapshots.list(cookie, &own, entry)
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
            Place::Frozen(number, id) => self.snapshots.tree(number)?.getxattr(id, name),
        }
    }

    /// See [`Filesystem::lacks_xattr`](super::Filesystem::lacks_xattr).
    pub fn lacks_xattr(&self, id: EntryId, name: &[u8]) -> bool {
        matches!(Place::of(id), Ok(Place::Live(_))) && self.live.lacks_xattr(name)
    }

    /// See [`Filesystem::listxattr`](super::Filesystem::listxattr).
    ///
    /// # Errors
    /// As there.
    pub fn listxattr(&self, id: EntryId) -> Result<Vec<u8>, Error> {
        match Place::of(id)? {
            Place::Live(id) => self.live.listxattr(id),
            Place::Own(_) => Ok(Vec::new()),
            Place::Frozen(number, id) => self.snapshots.tree(number)?.listxattr(id),
        }
    }
}
