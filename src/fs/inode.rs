//! Open files: which there are, and what is staged of each.

use std::collections::BTreeSet;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::access_time::Accesses;
use super::staged::Staged;
use super::types::{HandleId, Sequence};
use crate::store::{Charge, EntryId, Error};

/// An open file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handle {
    pub(super) id: EntryId,
    pub(super) write: bool,
    /// The file was made with it, and may be in no record yet.
    pub(super) made: bool,
    /// Something was written through it that its FLUSH must see durable.
    pub(super) wrote: bool,
    /// The last stage of the file that it has written to: see [`Inode::stage`].
    pub(super) wrote_to: u64,
}

/// A file that is open, or has staged bytes.
#[derive(Debug, Default)]
pub(super) struct Inode {
    pub(super) handles: u32,
    /// How many of the handles may write.
    pub(super) writers: u32,
    /// Sequence number of the last commit of what was staged since it was opened; 0 if there was none.
    pub(super) committed: Sequence,
    /// How often what is staged began anew: after a commit, or when the value was emptied. So a handle whose bytes are in
    /// what is staged is told from one whose bytes went before.
    stage: u64,
    pub(super) staged: Option<Staged>,
}

/// Everything about open files.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) inodes: HashMap<EntryId, Inode>,
    handles: HashMap<HandleId, Handle>,
    next_handle: HandleId,
    /// What all that is staged takes in memory.
    pub(super) dirty: usize,
    /// Files with staged bytes in memory, by how many.
    by_bytes: BTreeSet<(usize, EntryId)>,
    /// In the store's account.
    pub(super) account: Option<Charge>,
    pub(super) accesses: Accesses,
}

impl State {
    pub(super) fn open(&mut self, id: EntryId, write: bool, made: bool) -> HandleId {
        let inode = self.inodes.entry(id).or_default();
        inode.handles += 1;
        inode.writers += u32::from(write);
        self.next_handle += 1;
        self.handles.insert(self.next_handle, Handle { id, write, made, wrote: false, wrote_to: 0 });
        self.next_handle
    }

    pub(super) fn handle(&mut self, id: EntryId, handle: HandleId) -> Result<&mut Handle, Error> {
        self.handles.get_mut(&handle).filter(|handle| handle.id == id).ok_or(Error::Stale)
    }

    /// Something was written through a handle.
    pub(super) fn wrote(&mut self, id: EntryId, handle: HandleId) -> Result<(), Error> {
        let stage = self.inodes.get(&id).map_or(0, |inode| inode.stage);
        let handle = self.handle(id, handle)?;
        (handle.wrote, handle.wrote_to) = (true, stage);
        Ok(())
    }

    /// Whether bytes of this handle are in what is staged, so that it is this one's to publish.
    pub(super) fn has_staged(&self, handle: &Handle) -> bool {
        let inode = self.inodes.get(&handle.id);
        handle.wrote && inode.is_some_and(|inode| inode.staged.is_some() && inode.stage == handle.wrote_to)
    }

    /// Whether all that happened to a file since it was last committed is that it was emptied.
    pub(super) fn is_only_emptied(&self, id: EntryId) -> bool {
        self.staged(id).is_some_and(|staged| !staged.written)
    }

    /// What is staged of a file begins anew: nothing that was written before is in it.
    pub(super) fn begin_stage(&mut self, id: EntryId) {
        self.inodes.entry(id).or_default().stage += 1;
    }

    /// Closes a handle. Returns it, and how many are left that may write.
    pub(super) fn close(&mut self, id: EntryId, handle: HandleId) -> Result<(Handle, u32), Error> {
        let handle = match self.handles.entry(handle) {
            Entry::Occupied(entry) if entry.get().id == id => entry.remove(),
            _ => return Err(Error::Stale),
        };
        let Some(inode) = self.inodes.get_mut(&id) else { return Ok((handle, 0)) };
        inode.handles -= 1;
        inode.writers -= u32::from(handle.write);
        Ok((handle, inode.writers))
    }

    pub(super) fn open_files(&self) -> usize {
        self.handles.len()
    }

    pub(super) fn staged(&self, id: EntryId) -> Option<&Staged> {
        self.inodes.get(&id)?.staged.as_ref()
    }

    /// What is staged of a file, for changing anything but its bytes.
    pub(super) fn staged_mut(&mut self, id: EntryId) -> Option<&mut Staged> {
        self.inodes.get_mut(&id)?.staged.as_mut()
    }

    /// Takes what is staged of a file, out of the count of dirty bytes too.
    pub(super) fn take_staged(&mut self, id: EntryId) -> Option<Staged> {
        let staged = self.inodes.get_mut(&id)?.staged.take()?;
        self.by_bytes.remove(&(staged.memory, id));
        self.count(self.dirty - staged.held());
        Some(staged)
    }

    fn count(&mut self, dirty: usize) {
        self.dirty = dirty;
        if let Some(account) = &mut self.account {
            account.set(dirty as u64);
        }
    }

    /// Staged bytes in memory, without what is known of them.
    #[cfg(test)]
    pub(super) fn staged_bytes(&self) -> usize {
        self.by_bytes.iter().map(|(bytes, _)| bytes).sum()
    }

    /// The file with the most staged bytes in memory, if there is any.
    pub(super) fn largest(&self) -> Option<EntryId> {
        self.by_bytes.last().map(|(_, id)| *id)
    }

    /// What was staged of a file is committed with this sequence number.
    pub(super) fn committed(&mut self, id: EntryId, sequence: Sequence) {
        if let Some(inode) = self.inodes.get_mut(&id) {
            inode.committed = sequence;
            inode.stage += 1;
        }
    }

    /// Puts it back.
    pub(super) fn put_staged(&mut self, id: EntryId, staged: Staged) {
        if staged.memory > 0 {
            self.by_bytes.insert((staged.memory, id));
        }
        self.count(self.dirty + staged.held());
        self.inodes.entry(id).or_default().staged = Some(staged);
    }

    /// The files that are open or dirty, in the order in which they were made: what is committed for several of them
    /// goes into the log in an order that a test can foresee.
    pub(super) fn files(&self) -> Vec<EntryId> {
        let mut files: Vec<EntryId> = self.inodes.keys().copied().collect();
        files.sort_unstable();
        files
    }

    /// Forgets a file that is neither open nor dirty.
    pub(super) fn settle(&mut self, id: EntryId) {
        if self.inodes.get(&id).is_some_and(|inode| inode.handles == 0 && inode.staged.is_none()) {
            self.inodes.remove(&id);
        }
    }
}
