//! Publishing what is staged.

use super::inode::State;
use super::staged::{Fragment, Staged};
use super::{Filesystem, Sequence, SyncMode};
use crate::store::{EntryId, Error, Standing, Transaction};

/// Bytes of one file, filled up to whole blocks, held in memory before they are spilled.
const INODE_LIMIT: usize = 1 << 20;

impl Filesystem {
    /// Commits what is staged of a file, or that it was created, and returns the sequence number to wait for; `None`
    /// if there was nothing to do.
    pub(super) fn commit(&self, state: &mut State, id: EntryId) -> Result<Option<Sequence>, Error> {
        self.store.remove_due();
        self.settle_overtaken(state, id);
        let standing = self.store.standing(id)?;
        if standing == Standing::Unlinked || (standing == Standing::Recorded && state.staged(id).is_none()) {
            return Ok(None);
        }
        match self.transact(state, &[id], |_| Ok(())) {
            // It has expired this very moment.
            Err(Error::Stale) if self.store.standing(id)? == Standing::Unlinked => Ok(None),
            result => result.map(|((), sequence)| Some(sequence)),
        }
    }

    /// What is staged of a file, taken out to be changed; or the beginning of it.
    pub(super) fn stage(&self, state: &mut State, id: EntryId) -> Result<Staged, Error> {
        self.settle_overtaken(state, id);
        if let Some(staged) = state.take_staged(id) {
            return Ok(staged);
        }
        let (size, base, created) = self.store.value_start(id).ok_or(Error::Stale)?;
        Ok(Staged::new(size, base, created, self.store.now()))
    }

    /// Whether the whole value was set through another door since this was staged over it. A value that is being set does not
    /// care: it takes effect when it is whole. What was changed in place came before, and is gone with the value that it changed.
    pub(super) fn is_overtaken(&self, id: EntryId, staged: &Staged) -> bool {
        !staged.emptied && self.store.value_start(id).is_some_and(|(_, start, _)| start != staged.base)
    }

    /// Forgets what is staged of a file if it is overtaken.
    pub(super) fn settle_overtaken(&self, state: &mut State, id: EntryId) {
        if state.staged(id).is_some_and(|staged| self.is_overtaken(id, staged)) {
            self.discard(state, id);
            state.begin_stage(id);
        }
    }

    /// Runs a transaction that also commits whatever is staged of these files.
    pub(super) fn transact<R>(
        &self,
        state: &mut State,
        files: &[EntryId],
        change: impl FnOnce(&mut Transaction<'_>) -> Result<R, Error>,
    ) -> Result<(R, Sequence), Error> {
        for &id in files {
            self.fill_blocks(state, id)?;
        }
        let mut transaction = self.begin()?;
        // Nothing can come through another door now.
        files.iter().for_each(|&id| self.settle_overtaken(state, id));
        for &id in files {
            let mut attributes = transaction.attributes(id)?;
            attributes.atime = state.accesses.get(id).unwrap_or(attributes.atime);
            if let Some(staged) = state.staged(id) {
                attributes.mtime = staged.mtime;
                attributes.ctime = attributes.ctime.max(staged.ctime);
            }
            transaction.set_attributes(id, attributes)?;
        }
        for &id in files {
            if let Some(staged) = state.staged(id) {
                transaction.set_value(id, staged.update())?;
            }
        }
        let result = change(&mut transaction)?;
        for &id in files {
            if self.store.standing(id)? == Standing::Unlinked {
                return Err(Error::Stale);
            }
        }
        let sequence = transaction.commit()?;
        for &id in files {
            if state.staged(id).is_some() {
                state.committed(id, sequence);
            }
            // What was published of its stage is no longer there to be forgotten.
            self.discard(state, id);
            state.settle(id);
            state.accesses.settle(id);
        }
        Ok((result, sequence))
    }

    /// Completes the blocks that are only partly written from what lies beneath.
    fn fill_blocks(&self, state: &mut State, id: EntryId) -> Result<(), Error> {
        let blocks = state.staged(id).map(Staged::dirty_blocks).unwrap_or_default();
        for range in blocks {
            let Some(staged) = state.staged(id) else { continue };
            if staged.holds(&range) {
                continue;
            }
            let bytes = self.read_shown(state, id, range.clone())?;
            let Some(mut staged) = state.take_staged(id) else { continue };
            staged.insert(range, Fragment::Memory(bytes));
            state.put_staged(id, staged);
        }
        Ok(())
    }

    /// Whether so many bytes more make a spill of this file due, or of the one with the most bytes.
    pub(super) fn spills_due(&self, state: &State, id: EntryId, bytes: usize) -> [Option<EntryId>; 2] {
        let limit = self.options.dirty_limit;
        let is_much = |staged: &Staged| staged.memory > 0 && staged.spill_size() >= INODE_LIMIT.min(limit);
        let own = state.staged(id).is_some_and(is_much).then_some(id);
        let largest = if state.dirty.saturating_add(bytes) > limit { state.largest() } else { None };
        [own, largest]
    }

    /// Makes room in memory for so many bytes more, and a few fragments, that are staged of a file: spills its bytes to the
    /// log if there are many of them, and then those of the files that have the most, until all fit together.
    ///
    /// # Errors
    /// Those of the file's own bytes; [`Error::OutOfMemory`] if what is known of fragments, which stays in memory, takes all
    /// that it may.
    pub(super) fn make_room(&self, state: &mut State, id: EntryId, bytes: usize) -> Result<(), Error> {
        if let [Some(own), _] = self.spills_due(state, id, bytes) {
            self.spill(state, own)?;
        }
        while let [_, Some(largest)] = self.spills_due(state, id, bytes) {
            let before = state.dirty;
            let spilled = self.spill(state, largest);
            // Another file's bytes that cannot be spilled are no fault of this one's: it makes do with its own.
            if (largest == id || spilled.is_ok()) && state.dirty < before {
                spilled?;
                continue;
            }
            self.spill(state, id)?;
            break;
        }
        if state.dirty > self.options.dirty_limit.max(super::DIRTY_LIMIT) + INODE_LIMIT {
            return Err(Error::OutOfMemory);
        }
        Ok(())
    }

    /// Spills a file's bytes to the log.
    fn spill(&self, state: &mut State, id: EntryId) -> Result<(), Error> {
        self.fill_blocks(state, id)?;
        let Some(mut staged) = state.take_staged(id) else { return Ok(()) };
        let result = self.spill_all(&mut staged, id);
        state.put_staged(id, staged);
        result
    }

    fn spill_all(&self, staged: &mut Staged, id: EntryId) -> Result<(), Error> {
        let (mut stage, mut runs, mut spilled) = (staged.stage, Vec::new(), Ok(()));
        for (range, fragment) in staged.fragments.iter() {
            let Fragment::Memory(data) = fragment else { continue };
            match self.store.stage(id, stage, range.start, data) {
                Ok(run) => {
                    stage = run.stage;
                    runs.push((range, run.extents));
                }
                Err(error) => {
                    spilled = Err(error);
                    break;
                }
            }
        }
        staged.stage = stage;
        for (range, extents) in runs {
            // All of the run at once: its bytes are not to be moved up behind each piece that is taken away.
            staged.insert(range, Fragment::Hole);
            for (offset, len, extent) in extents {
                staged.insert(offset..offset + len, Fragment::Logged(extent));
            }
        }
        spilled.inspect(|()| staged.spilled())
    }

    /// Forgets what is staged of a file: it was published, or the file is gone.
    pub(super) fn discard(&self, state: &mut State, id: EntryId) {
        if let Some(staged) = state.take_staged(id)
            && staged.stage != 0
        {
            self.store.abandon(staged.stage);
        }
    }

    /// FLUSH: a descriptor is closed.
    ///
    /// # Errors
    /// Those of the store; the bytes stay staged, and the next flush or fsync tries again.
    pub fn flush(&self, id: EntryId, handle: super::HandleId) -> Result<Option<Sequence>, Error> {
        let state = &mut *self.state.lock();
        let open = *state.handle(id, handle)?;
        self.settle_overtaken(state, id);
        let mine = state.has_staged(&open);
        if !open.wrote || (mine && state.is_only_emptied(id)) {
            return Ok(None);
        }
        // An fsync or another handle may have committed these bytes: then it is that which must be durable, and nothing that came
        // after it. Or another has emptied the file since: what is staged now is that one's to commit.
        let before = state.inodes.get(&id).map_or(0, |inode| inode.committed);
        let sequence = if mine { self.commit(state, id)?.unwrap_or(before) } else { before };
        state.handle(id, handle)?.wrote = false;
        Ok(Some(sequence).filter(|&sequence| sequence > 0 && self.options.sync != SyncMode::Interval))
    }

    /// FSYNC: commits the file, and waits for everything before. A value that is set anew, by a file that was created or
    /// emptied and is open for writing, is half written: then only a handle that may write commits it, for the writers are those
    /// who know when it is whole.
    ///
    /// # Errors
    /// Those of the store.
    pub fn fsync(&self, id: EntryId, handle: super::HandleId) -> Result<Option<Sequence>, Error> {
        let state = &mut *self.state.lock();
        // The log is one sequence: what is committed now comes after everything before.
        let sequence = match state.handle(id, handle)?.write || !self.is_being_set(state, id)? {
            true => self.commit(state, id)?,
            false => None,
        };
        Ok(Some(sequence.unwrap_or_else(|| self.store.written())))
    }

    /// Whether somebody is setting the value of a file anew: it was created or emptied, and is not closed yet.
    fn is_being_set(&self, state: &State, id: EntryId) -> Result<bool, Error> {
        let written = state.inodes.get(&id).is_some_and(|inode| inode.writers > 0);
        let begun = state.staged(id).is_some_and(|staged| staged.emptied);
        Ok(written && (begun || self.store.standing(id)? == Standing::Provisional))
    }

    /// RELEASE: the last descriptor of a handle is closed. Nobody waits for it, so errors can only be logged.
    ///
    /// # Errors
    /// Those of the store; the bytes stay staged.
    pub fn release(&self, id: EntryId, handle: super::HandleId) -> Result<(), Error> {
        let state = &mut *self.state.lock();
        let (closed, writers) = state.close(id, handle)?;
        // A reader leaves nothing, but it may be the last to see what could not be committed before.
        let leaves = closed.write || closed.made || state.staged(id).is_some();
        // What others have begun to write is theirs to commit.
        let finishes = state.has_staged(&closed) && !state.is_only_emptied(id);
        // What is staged of a file without a name stays: the inode can be opened again until it is forgotten.
        let committed = match leaves && (finishes || writers == 0) {
            true => self.commit(state, id).map(drop),
            false => Ok(()),
        };
        self.reap(state, id);
        state.settle(id);
        match committed {
            // Forgotten before it was closed.
            Err(Error::Stale) => Ok(()),
            other => other,
        }
    }

    /// Forgets what is staged of a file that is gone for good.
    pub(super) fn reap(&self, state: &mut State, id: EntryId) {
        if state.staged(id).is_none() && state.accesses.get(id).is_none() {
            return;
        }
        let open = state.inodes.get(&id).is_some_and(|inode| inode.handles > 0);
        if !open && self.store.entry(id).is_err() {
            self.discard(state, id);
            state.settle(id);
            state.accesses.settle(id);
        }
    }

    /// FSYNCDIR: waits for everything before. Files that were created in the directory and are still open for writing are
    /// committed when they are closed; those of which nobody writes anything, at once.
    ///
    /// # Errors
    /// Those of the store.
    pub fn fsyncdir(&self, id: EntryId) -> Result<Option<Sequence>, Error> {
        let state = &mut *self.state.lock();
        for file in state.files() {
            if self.store.standing(file).is_ok_and(|standing| standing == Standing::Provisional)
                && self.store.parent(file) == Some(id)
                && !self.is_being_set(state, file)?
            {
                self.commit(state, file)?;
            }
        }
        Ok(Some(self.store.written()))
    }

    /// Commits everything that is staged and waits until it is durable.
    ///
    /// # Errors
    /// The first failure; the other files are committed all the same.
    pub fn sync_all(&self) -> Result<(), Error> {
        let mut result = Ok(());
        if !self.store.is_read_only() {
            let state = &mut *self.state.lock();
            for id in state.files() {
                let committed = match self.commit(state, id) {
                    // A file that has gone for good meanwhile.
                    Err(Error::Stale) => {
                        self.reap(state, id);
                        Ok(None)
                    }
                    other => other,
                };
                result = result.and(committed.map(drop));
            }
            self.write_access_times(state);
        }
        result.and(self.store.sync())
    }
}
