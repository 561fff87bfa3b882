//! Files that have expired and that somebody has open: they live on as unlinked ones do, for who has them open alone.

use super::Filesystem;
use super::inode::State;
use crate::store::{EntryId, Error, Stat};

impl Filesystem {
    /// An entry as the store has it, unless it has expired and nobody has it open. The kernel may ask for it all the
    /// same, if the time was set after it had looked the name up; at [`Error::Stale`] it looks again.
    pub(super) fn present(&self, state: &State, id: EntryId) -> Result<Stat, Error> {
        self.store.remove_due();
        let stat = self.store.entry(id)?;
        let open = state.inodes.get(&id).is_some_and(|inode| inode.handles > 0);
        if !open && self.store.has_expired(&stat) { Err(Error::Stale) } else { Ok(stat) }
    }

    /// Whether what the kernel keeps of listings is still so, now that a directory is opened.
    pub fn listings_last(&self) -> bool {
        !self.store.listings_are_stale()
    }
}
