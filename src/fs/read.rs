//! Reading a file as the mount shows it: what is staged, over what is published.
//!
//! Both are taken in one hold of the state's lock. What takes a disk is read after that: nobody waits for what another
//! reads, of whatever file.

use std::ops::Range;

use super::Filesystem;
use super::inode::State;
use super::staged::{BLOCK, Fragment};
use crate::store::{EntryId, Error, Extent, Piece, Store, View, Wait};

/// Where the bytes of a stretch of a file are.
#[derive(Debug)]
pub(super) struct ReadPlan {
    range: Range<u64>,
    /// What is staged of it, in order. What is in none of them is published.
    staged: Vec<(Range<u64>, Bytes)>,
    view: View,
}

/// Where staged bytes are.
#[derive(Debug)]
enum Bytes {
    Hole,
    Memory(Vec<u8>),
    Logged(Extent),
}

impl Filesystem {
    /// Reads up to `size` bytes; fewer at the end.
    ///
    /// # Errors
    /// [`Error::DamagedKey`] if the bytes are not those that were written.
    pub fn read(&self, id: EntryId, offset: u64, size: usize) -> Result<Vec<u8>, Error> {
        Ok(self.read_or_ask_again(id, offset, size, Wait::Yes)?.unwrap_or_default())
    }

    /// [`Filesystem::read`] of what can be had without waiting for a disk; `None` if it cannot.
    ///
    /// # Errors
    /// As there.
    pub fn read_cached(&self, id: EntryId, offset: u64, size: usize) -> Result<Option<Vec<u8>>, Error> {
        self.read_or_ask_again(id, offset, size, Wait::No)
    }

    fn read_or_ask_again(&self, id: EntryId, offset: u64, size: usize, wait: Wait) -> Result<Option<Vec<u8>>, Error> {
        let range = offset..offset.saturating_add(size as u64);
        let plan = {
            let mut state = self.state.lock();
            self.settle_overtaken(&mut state, id);
            ReadPlan::new(&self.store, &state, id, range)?
        };
        let bytes = plan.read(&self.store, wait)?;
        if bytes.is_some() {
            self.accessed(id);
        }
        Ok(bytes)
    }

    /// [`Filesystem::warm`] for a write, which reads nothing unless it spills first.
    pub fn warm_write(&self, id: EntryId, wait: Wait) -> bool {
        /// As much as a request may bring.
        const MOST: usize = 1 << 20;
        let due = self.spills_due(&self.state.lock(), id, MOST);
        due.into_iter().flatten().all(|file| self.warm(file, wait))
    }

    /// Reads what a commit of this file, or a spill, will have to read with the state locked, so that it is in memory then:
    /// the rest of blocks that are only partly staged. `false`: that takes a disk, and the caller does not wait.
    ///
    /// What fails here the commit meets again, and tells.
    pub fn warm(&self, id: EntryId, wait: Wait) -> bool {
        let plans: Vec<_> = {
            let state = self.state.lock();
            let Some(staged) = state.staged(id) else { return true };
            if staged.emptied && staged.stage == 0 {
                return true;
            }
            let partial = staged.dirty_blocks().into_iter().filter(|range| !staged.holds(range));
            partial.map(|range| ReadPlan::new(&self.store, &state, id, range)).collect()
        };
        plans.into_iter().flatten().all(|plan| !matches!(plan.read(&self.store, wait), Ok(None)))
    }

    /// The same of what a copy of this stretch reads with the state locked: what is too short to be shared.
    pub fn warm_copy(&self, id: EntryId, range: Range<u64>, wait: Wait) -> bool {
        let edge = |at: u64| at / BLOCK * BLOCK..(at / BLOCK * BLOCK).saturating_add(BLOCK);
        let end = range.end.saturating_sub(1).max(range.start);
        [edge(range.start), edge(end)].into_iter().all(|range| {
            let plan = ReadPlan::new(&self.store, &self.state.lock(), id, range);
            !plan.is_ok_and(|plan| matches!(plan.read(&self.store, wait), Ok(None)))
        })
    }

    /// The bytes of a file as the mount shows them, cut off at its end.
    pub(super) fn read_shown(&self, state: &State, id: EntryId, range: Range<u64>) -> Result<Vec<u8>, Error> {
        let plan = ReadPlan::new(&self.store, state, id, range)?;
        Ok(plan.read(&self.store, Wait::Yes)?.unwrap_or_default())
    }
}

impl ReadPlan {
    /// Of a stretch, cut off at the end of the file.
    pub(super) fn new(store: &Store, state: &State, id: EntryId, range: Range<u64>) -> Result<ReadPlan, Error> {
        let Some(staged) = state.staged(id) else {
            let view = store.view(id, range.clone())?;
            let end = range.end.min(view.size());
            return Ok(ReadPlan { range: range.start.min(end)..end, staged: Vec::new(), view });
        };
        let end = range.end.min(staged.size);
        let range = range.start.min(end)..end;
        let copy = |(place, fragment): (Range<u64>, &Fragment)| {
            let clipped = place.start.max(range.start)..place.end.min(range.end);
            let skip = clipped.start - place.start;
            let bytes = match fragment {
                Fragment::Hole => Bytes::Hole,
                Fragment::Memory(data) => {
                    let skip = skip as usize;
                    let part = data.get(skip..skip + (clipped.end - clipped.start) as usize);
                    Bytes::Memory(part.ok_or(Error::Invalid("a fragment is too short"))?.to_vec())
                }
                Fragment::Logged(extent) => {
                    let mut extent = *extent;
                    extent.advance(skip);
                    Bytes::Logged(extent)
                }
            };
            Ok((clipped, bytes))
        };
        let overlapping = staged.fragments.overlapping(range.clone());
        let copied = overlapping.map(copy).collect::<Result<Vec<_>, Error>>()?;
        // What is staged over all of it needs nothing of what is published, which may be damaged.
        let covered: u64 = copied.iter().map(|(place, _)| place.end - place.start).sum();
        let view = match staged.emptied || covered == range.end - range.start {
            true => store.view_of_nothing(id),
            false => store.view(id, range.clone())?,
        };
        Ok(ReadPlan { range, staged: copied, view })
    }

    /// The bytes; `None` if that takes a disk, and the caller does not wait.
    pub(super) fn read(&self, store: &Store, wait: Wait) -> Result<Option<Vec<u8>>, Error> {
        let len = usize::try_from(self.range.end - self.range.start).map_err(|_| Error::TooLarge)?;
        let mut buffer = vec![0; len];
        let mut position = self.range.start;
        let mut rest = buffer.as_mut_slice();
        let mut take = |until: u64| {
            let (part, behind) = std::mem::take(&mut rest).split_at_mut((until - position) as usize);
            rest = behind;
            (std::mem::replace(&mut position, until), part)
        };
        for (place, bytes) in &self.staged {
            let (gap, part) = take(place.start);
            if !part.is_empty() && store.read_view(&self.view, gap, part, wait)?.is_none() {
                return Ok(None);
            }
            let (_, part) = take(place.end);
            match bytes {
                Bytes::Hole => {}
                Bytes::Memory(data) => part.copy_from_slice(data),
                Bytes::Logged(extent) => {
                    if !store.read_staged(&self.view, extent, part, wait)? {
                        return Ok(None);
                    }
                }
            }
        }
        let (gap, part) = take(self.range.end);
        if !part.is_empty() && store.read_view(&self.view, gap, part, wait)?.is_none() {
            return Ok(None);
        }
        Ok(Some(buffer))
    }
}
