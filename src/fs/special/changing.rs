//! What changes something: only ever in the store's own tree, but for which snapshots there are.

use super::Tree;
use super::place::{Node, Place};
use crate::fs::{
    AclKind, Caller, CopyEnd, HandleId, OpenFlags, RenameMode, Sequence, SetAttributes, Writing, Written, XattrMode,
};
use crate::store::{EntryId, Error, Kind, Stat};

type Made = Result<(Stat, Option<Sequence>), Error>;

impl Tree {
    /// See [`Filesystem::setattr`](super::Filesystem::setattr).
    ///
    /// # Errors
    /// As there; [`Error::NotPermitted`] for what is the mount's own, and [`Error::Exists`] for a name that is;
    /// likewise below.
    pub fn setattr(
        &self,
        caller: &Caller,
        id: EntryId,
        handle: Option<HandleId>,
        change: SetAttributes,
    ) -> Result<(Stat, Option<Sequence>), Error> {
        self.live.setattr(caller, self.writable(id)?, handle, change)
    }

    /// See [`Filesystem::mknod`](super::Filesystem::mknod).
    ///
    /// # Errors
    /// As there.
    pub fn mknod(&self, caller: &Caller, parent: EntryId, name: &[u8], kind: Kind, mode: u16, rdev: u32) -> Made {
        self.live.mknod(caller, self.vacant(parent, name)?, name, kind, mode, rdev)
    }

    /// See [`Filesystem::mkdir`](super::Filesystem::mkdir). In `.snapshots` it takes a snapshot.
    ///
    /// # Errors
    /// As there.
    pub fn mkdir(&self, caller: &Caller, parent: EntryId, name: &[u8], mode: u16) -> Made {
        match Place::of(parent)? {
            // It is durable when this returns.
            Place::Own(Node::Snapshots) => {
                self.snapshots.make(name, &self.own.stat(Node::Snapshots)?).map(|stat| (stat, None))
            }
            _ => self.live.mkdir(caller, self.vacant(parent, name)?, name, mode),
        }
    }

    /// See [`Filesystem::symlink`](super::Filesystem::symlink).
    ///
    /// # Errors
    /// As there.
    pub fn symlink(&self, caller: &Caller, parent: EntryId, name: &[u8], target: &[u8]) -> Made {
        self.live.symlink(caller, self.vacant(parent, name)?, name, target)
    }

    /// See [`Filesystem::link`](super::Filesystem::link).
    ///
    /// # Errors
    /// As there.
    pub fn link(&self, id: EntryId, parent: EntryId, name: &[u8]) -> Made {
        self.live.link(self.writable(id)?, self.vacant(parent, name)?, name)
    }

    /// See [`Filesystem::create`](super::Filesystem::create).
    ///
    /// # Errors
    /// As there.
    pub fn create(
        &self,
        caller: &Caller,
        parent: EntryId,
        name: &[u8],
        mode: u16,
        flags: OpenFlags,
    ) -> Result<(Stat, HandleId), Error> {
        self.live.create(caller, self.vacant(parent, name)?, name, mode, flags)
    }

    /// See [`Filesystem::unlink`](super::Filesystem::unlink).
    ///
    /// # Errors
    /// As there.
    pub fn unlink(&self, parent: EntryId, name: &[u8]) -> Result<Option<Sequence>, Error> {
        self.live.unlink(self.removable(parent, name)?, name)
    }

    /// See [`Filesystem::rmdir`](super::Filesystem::rmdir). In `.snapshots` it removes a snapshot.
    ///
    /// # Errors
    /// As there.
    pub fn rmdir(&self, parent: EntryId, name: &[u8]) -> Result<Option<Sequence>, Error> {
        match Place::of(parent)? {
            Place::Own(Node::Snapshots) => self.snapshots.remove(name).map(|()| None),
            _ => self.live.rmdir(self.removable(parent, name)?, name),
        }
    }

    /// See [`Filesystem::rename`](super::Filesystem::rename).
    ///
    /// # Errors
    /// As there.
    pub fn rename(
        &self,
        parent: EntryId,
        name: &[u8],
        new_parent: EntryId,
        new_name: &[u8],
        mode: RenameMode,
    ) -> Result<Option<Sequence>, Error> {
        self.rename_as(&Caller { uid: 0, gid: 0, umask: 0 }, (parent, name), (new_parent, new_name), mode)
    }

    /// See [`Filesystem::rename_as`](super::Filesystem::rename_as).
    ///
    /// # Errors
    /// As there.
    pub fn rename_as(
        &self,
        caller: &Caller,
        (parent, name): (EntryId, &[u8]),
        (new_parent, new_name): (EntryId, &[u8]),
        mode: RenameMode,
    ) -> Result<Option<Sequence>, Error> {
        let (parent, new_parent) = (self.removable(parent, name)?, self.removable(new_parent, new_name)?);
        self.live.rename_as(caller, (parent, name), (new_parent, new_name), mode)
    }

    /// See [`Filesystem::write`](super::Filesystem::write).
    ///
    /// # Errors
    /// As there.
    pub fn write(
        &self,
        id: EntryId,
        handle: HandleId,
        offset: u64,
        data: &[u8],
        how: Writing<'_>,
    ) -> Result<Written, Error> {
        self.live.write(self.writable(id)?, handle, offset, data, how)
    }

    /// See [`Filesystem::fallocate`](super::Filesystem::fallocate).
    ///
    /// # Errors
    /// As there.
    pub fn fallocate(
        &self,
        caller: &Caller,
        id: EntryId,
        handle: HandleId,
        mode: i32,
        offset: u64,
        length: u64,
    ) -> Result<Written, Error> {
        self.live.fallocate(caller, self.writable(id)?, handle, mode, offset, length)
    }

    /// See [`Filesystem::copy_file_range`](super::Filesystem::copy_file_range).
    ///
    /// # Errors
    /// As there; [`Error::NotSupported`] for a source that is the mount's own: the kernel then reads and writes.
    pub fn copy_file_range(&self, caller: &Caller, from: CopyEnd, to: CopyEnd, length: u64) -> Result<Written, Error> {
        let to = CopyEnd { id: self.writable(to.id)?, ..to };
        match Place::of(from.id)? {
            Place::Live(id) => self.live.copy_file_range(caller, CopyEnd { id, ..from }, to, length),
            Place::Own(_) | Place::Frozen(..) => Err(Error::NotSupported("copying from here within the daemon")),
        }
    }

    /// See [`Filesystem::setxattr`](super::Filesystem::setxattr).
    ///
    /// # Errors
    /// As there.
    pub fn setxattr(
        &self,
        caller: &Caller,
        id: EntryId,
        name: &[u8],
        value: &[u8],
        mode: XattrMode,
    ) -> Result<Option<Sequence>, Error> {
        self.live.setxattr(caller, self.writable(id)?, name, value, mode)
    }

    /// See [`Filesystem::set_acl`](super::Filesystem::set_acl).
    ///
    /// # Errors
    /// As there.
    pub fn set_acl(
        &self,
        id: EntryId,
        which: AclKind,
        list: &[u8],
        keeps_setgid: &dyn Fn(u32) -> bool,
    ) -> Result<Option<Sequence>, Error> {
        self.live.set_acl(self.writable(id)?, which, list, keeps_setgid)
    }

    /// See [`Filesystem::removexattr`](super::Filesystem::removexattr).
    ///
    /// # Errors
    /// As there.
    pub fn removexattr(&self, caller: &Caller, id: EntryId, name: &[u8]) -> Result<Option<Sequence>, Error> {
        self.live.removexattr(caller, self.writable(id)?, name)
    }
}
