//! Entries that the layer above holds on to, and what it asks of them by their ids.

use super::Store;
use super::attributes::{EntryId, Stat};
use super::error::Error;
use super::namespace::check_name;

impl Store {
    /// What a name in a directory leads to.
    pub(crate) fn child(&self, parent: EntryId, name: &[u8]) -> Option<EntryId> {
        self.keydir.read().lookup(parent, name)
    }

    /// Finds a name in a directory and holds on to the entry: see [`Store::unpin`].
    ///
    /// # Errors
    /// Those of [`check_name`]; [`Error::Stale`], [`Error::NotADirectory`] of the parent.
    pub fn lookup_pinned(&self, parent: EntryId, name: &[u8]) -> Result<Option<Stat>, Error> {
        check_name(name)?;
        self.remove_due();
        let keydir = self.keydir.read();
        let directory = keydir.get(parent).ok_or(Error::Stale)?;
        if !directory.is_directory() {
            return Err(Error::NotADirectory);
        }
        let Some(id) = keydir.lookup(parent, name) else { return Ok(None) };
        let stat = keydir.stat(id).filter(|stat| !self.has_expired(stat));
        if stat.is_some() {
            keydir.pin(id);
        }
        Ok(stat)
    }

    /// Holds on to an entry: it stays readable after it has lost its last name.
    pub fn pin(&self, id: EntryId) {
        self.keydir.read().pin(id);
    }

    /// Lets go of an entry `count` times.
    pub fn unpin(&self, id: EntryId, count: u64) {
        if self.keydir.read().unpin(id, count) {
            self.keydir.write().drop_if_orphan(id);
        }
    }

    /// Whether the layer above holds on to an entry.
    pub fn is_pinned(&self, id: EntryId) -> bool {
        self.keydir.read().is_pinned(id)
    }

    /// The entries that the layer above holds on to.
    pub fn pinned(&self) -> Vec<EntryId> {
        self.keydir.read().pinned()
    }

    /// The length of a value and the sequence number with which it began, which is another after each change that left nothing
    /// of the value before; and whether the entry is in no record yet.
    pub fn value_start(&self, id: EntryId) -> Option<(u64, u64, bool)> {
        self.keydir.read().get(id).map(|node| (node.state.size, node.state.value_start, node.provisional))
    }

    /// The first of an entry's names, from the root: its key. `None` if it has none.
    pub fn key(&self, id: EntryId) -> Option<Vec<u8>> {
        self.keydir.read().key(id)
    }
}
