//! Names: looking up, making, taking away and moving them.

use super::access_control::Lists;
use super::{Caller, Filesystem, RenameMode, Sequence};
use crate::store::{Attributes, EntryId, Error, Kind, Stat, Unlink, check_name};

/// The longest target of a symbolic link, as Linux has it.
const MAX_TARGET: usize = 4095;

impl Filesystem {
    /// Finds a name. A hit counts as one lookup of the entry.
    ///
    /// # Errors
    /// [`Error::NameTooLong`], [`Error::NotADirectory`], [`Error::Stale`].
    pub fn lookup(&self, parent: EntryId, name: &[u8]) -> Result<Option<Stat>, Error> {
        let state = self.state.lock();
        let found = self.store.lookup_pinned(parent, name)?;
        Ok(found.map(|stat| self.shown(&state, stat)))
    }

    /// The kernel drops `count` lookups of an entry. One without a name is gone after the last.
    pub fn forget(&self, id: EntryId, count: u64) {
        self.store.unpin(id, count);
        if self.store.entry(id).is_err() {
            self.reap(&mut self.state.lock(), id);
        }
    }

    /// The kernel was shown an entry other than by a call that says so.
    pub fn remember(&self, id: EntryId) {
        self.store.pin(id);
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is none.
    pub fn readlink(&self, id: EntryId) -> Result<Vec<u8>, Error> {
        let target = self.store.target(id)?;
        self.accessed(id);
        Ok(target)
    }

    /// Makes a file, fifo, socket or device node.
    ///
    /// # Errors
    /// [`Error::Exists`] and others of the store; likewise below.
    pub fn mknod(
        &self,
        caller: &Caller,
        parent: EntryId,
        name: &[u8],
        kind: Kind,
        mode: u16,
        rdev: u32,
    ) -> Result<(Stat, Option<Sequence>), Error> {
        if matches!(kind, Kind::Directory | Kind::Symlink) {
            return Err(Error::Invalid("mknod makes neither directories nor symbolic links"));
        }
        let new = self.new_attributes(caller, parent, kind, mode, rdev)?;
        self.make(parent, name, new, b"")
    }

    /// Makes a directory.
    ///
    /// # Errors
    /// As [`Filesystem::mknod`].
    pub fn mkdir(
        &self,
        caller: &Caller,
        parent: EntryId,
        name: &[u8],
        mode: u16,
    ) -> Result<(Stat, Option<Sequence>), Error> {
        self.make(parent, name, self.new_attributes(caller, parent, Kind::Directory, mode, 0)?, b"")
    }

    /// Makes a symbolic link.
    ///
    /// # Errors
    /// As [`Filesystem::mknod`]; [`Error::NameTooLong`] for a target of more than 4,095 bytes.
    pub fn symlink(
        &self,
        caller: &Caller,
        parent: EntryId,
        name: &[u8],
        target: &[u8],
    ) -> Result<(Stat, Option<Sequence>), Error> {
        if target.len() > MAX_TARGET {
            return Err(Error::NameTooLong);
        }
        self.make(parent, name, self.new_attributes(caller, parent, Kind::Symlink, 0o777, 0)?, target)
    }

    fn make(
        &self,
        parent: EntryId,
        name: &[u8],
        (attributes, lists): (Attributes, Lists),
        target: &[u8],
    ) -> Result<(Stat, Option<Sequence>), Error> {
        let mut transaction = self.begin()?;
        let id = transaction.create(parent, name, attributes, target)?;
        lists.give(&mut transaction, id)?;
        let sequence = transaction.commit()?;
        self.store.pin(id);
        let state = self.state.lock();
        Ok((self.shown(&state, self.store.entry(id)?), self.awaited(sequence)))
    }

    /// Gives a file one more name. What is staged of it is committed with it.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] for a directory, [`Error::TooManyLinks`], and as [`Filesystem::mknod`].
    pub fn link(&self, id: EntryId, parent: EntryId, name: &[u8]) -> Result<(Stat, Option<Sequence>), Error> {
        let state = &mut *self.state.lock();
        let ((), sequence) = self.transact(state, &[id], |transaction| transaction.link(id, parent, name))?;
        self.store.pin(id);
        let stat = self.store.entry(id)?;
        Ok((self.shown(state, stat), self.awaited(sequence)))
    }

    /// Takes a name from anything but a directory. The entry lives on while it is open.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::IsADirectory`].
    pub fn unlink(&self, parent: EntryId, name: &[u8]) -> Result<Option<Sequence>, Error> {
        self.remove(parent, name, Unlink::File)
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::NotADirectory`], [`Error::NotEmpty`].
    pub fn rmdir(&self, parent: EntryId, name: &[u8]) -> Result<Option<Sequence>, Error> {
        self.remove(parent, name, Unlink::Directory)
    }

    fn remove(&self, parent: EntryId, name: &[u8], what: Unlink) -> Result<Option<Sequence>, Error> {
        let mut transaction = self.begin()?;
        transaction.unlink(parent, name, what)?;
        let sequence = transaction.commit()?;
        Ok(self.awaited(sequence))
    }

    /// Moves a name. What is staged of the moved files is committed with it, so that after a crash the new name leads
    /// to all that was written, or the old state is there.
    ///
    /// # Errors
    /// As rename(2).
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

    /// [`Filesystem::rename`] for a caller: on a full disk root may take more of the reserve than others.
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
        check_name(name)?;
        check_name(new_name)?;
        let state = &mut *self.state.lock();
        // Looked up with the state locked: no file can become dirty between here and the transaction.
        let mut files: Vec<EntryId> = Vec::new();
        files.extend(self.dirty(state, parent, name));
        if mode == RenameMode::Exchange {
            files.extend(self.dirty(state, new_parent, new_name));
        }
        files.dedup();
        let change = |transaction: &mut crate::store::Transaction<'_>| {
            transaction.made_by(caller.uid);
            transaction.rename((parent, name), (new_parent, new_name), mode)
        };
        let (_, sequence) = self.transact(state, &files, change)?;
        Ok(self.awaited(sequence))
    }

    /// The entry of this name, if something is staged of it.
    fn dirty(&self, state: &super::State, parent: EntryId, name: &[u8]) -> Option<EntryId> {
        let stat = self.store.lookup_pinned(parent, name).ok()??;
        self.store.unpin(stat.id, 1);
        state.staged(stat.id).map(|_| stat.id)
    }
}
