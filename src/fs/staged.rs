//! What was written to a file and not committed yet.

use std::ops::Range;

use crate::store::{Extent, MAX_EXTENT, Piece, RangeMap, Time, Update};

/// Extents begin and end at multiples of this (but for the value's end), so that many small writes do not leave the
/// value in crumbs.
pub(super) const BLOCK: u64 = 4096;

/// A stretch of staged value.
#[derive(Clone, Debug)]
pub(super) enum Fragment {
    /// In memory.
    Memory(Vec<u8>),
    /// Spilled to the log.
    Logged(Extent),
    /// Zeros.
    Hole,
}

/// About what a fragment takes in memory, its bytes left out.
pub(super) const FRAGMENT: usize = 100;

/// Gives room back that a cut fragment holds on to.
fn shrink(data: &mut Vec<u8>) {
    if data.capacity() > 2 * data.len() {
        data.shrink_to_fit();
    }
}

impl Piece for Fragment {
    fn advance(&mut self, bytes: u64) {
        match self {
            Fragment::Memory(data) => {
                data.drain(..(bytes as usize).min(data.len()));
                shrink(data);
            }
            Fragment::Logged(extent) => extent.advance(bytes),
            Fragment::Hole => {}
        }
    }

    fn truncate(&mut self, bytes: u64) {
        if let Fragment::Memory(data) = self {
            data.truncate(bytes as usize);
            shrink(data);
        }
    }
}

/// What was written to a file and not committed yet.
#[derive(Debug)]
pub(super) struct Staged {
    /// Whether nothing of the published value shows through: the value is being set.
    pub(super) emptied: bool,
    /// What [`Store::value_start`](crate::store::Store::value_start) was when this was begun.
    pub(super) base: u64,
    /// The log's stage for what was spilled; 0 if nothing was.
    pub(super) stage: u64,
    pub(super) fragments: RangeMap<Fragment>,
    pub(super) size: u64,
    pub(super) mtime: Time,
    pub(super) ctime: Time,
    /// Bytes held in memory.
    pub(super) memory: usize,
    /// About how many fragments came since the last spill. Each may have to be filled up to a whole block.
    pieces: usize,
    /// More has happened than that the file was emptied.
    pub(super) written: bool,
}

impl Staged {
    /// Nothing, over a published value of `size` bytes that began at `base`; or over nothing, of a file that is being created.
    pub(super) fn new(size: u64, base: u64, created: bool, now: Time) -> Staged {
        Staged {
            emptied: created,
            base,
            stage: 0,
            fragments: RangeMap::default(),
            size,
            mtime: now,
            ctime: now,
            memory: 0,
            pieces: 0,
            written: false,
        }
    }

    fn touch(&mut self, now: Time) {
        (self.mtime, self.ctime) = (now, now);
    }

    /// Makes the value empty. Returns the stage to abandon.
    pub(super) fn empty(&mut self, now: Time) -> u64 {
        self.fragments = RangeMap::default();
        (self.emptied, self.written, self.size, self.memory, self.pieces) = (true, false, 0, 0, 0);
        self.touch(now);
        std::mem::take(&mut self.stage)
    }

    /// Sets the length.
    pub(super) fn resize(&mut self, size: u64, now: Time) {
        if size < self.size {
            self.insert(size..self.size, Fragment::Hole);
        }
        self.size = size;
        self.written = true;
        self.touch(now);
    }

    /// Puts bytes at `offset`.
    pub(super) fn write(&mut self, offset: u64, data: &[u8], now: Time) {
        let end = offset + data.len() as u64;
        self.memory -= self.memory_within(offset..end);
        let pieces = self.fragments.len();
        // A run that is written from front to back is one fragment.
        let before = match self.fragments.ending_at(offset) {
            Some((start, Fragment::Memory(_))) => Some(start),
            _ => None,
        };
        match before {
            Some(start) => {
                self.fragments.remove(offset..end);
                if let Some((_, Fragment::Memory(run))) = self.fragments.ending_at(offset) {
                    run.extend_from_slice(data);
                }
                self.fragments.extended(start, data.len() as u64);
            }
            None => self.fragments.insert(offset..end, Fragment::Memory(data.to_vec())),
        }
        self.pieces = (self.pieces + self.fragments.len()).saturating_sub(pieces);
        self.memory += data.len();
        self.size = self.size.max(end);
        self.written = true;
        self.touch(now);
    }

    /// Makes a stretch bytes that are in the log.
    pub(super) fn lay(&mut self, range: Range<u64>, extent: Extent, now: Time) {
        self.size = self.size.max(range.end);
        self.insert(range, Fragment::Logged(extent));
        self.written = true;
        self.touch(now);
    }

    /// Makes a stretch zeros.
    pub(super) fn punch(&mut self, range: Range<u64>, now: Time) {
        self.insert(range, Fragment::Hole);
        self.written = true;
        self.touch(now);
    }

    /// Space was set aside, which nothing but the times shows. An empty value is still one that is yet to be written.
    pub(super) fn reserve(&mut self, now: Time) {
        self.written |= self.size > 0;
        self.touch(now);
    }

    /// Puts a fragment where `range` says.
    pub(super) fn insert(&mut self, range: Range<u64>, fragment: Fragment) {
        self.memory -= self.memory_within(range.clone());
        if let Fragment::Memory(data) = &fragment {
            self.memory += data.len();
        }
        self.fragments.insert(range, fragment);
    }

    /// Everything was spilled.
    pub(super) fn spilled(&mut self) {
        self.pieces = 0;
    }

    /// What it takes in memory, whatever it is made of.
    pub(super) fn held(&self) -> usize {
        self.memory + self.fragments.len() * FRAGMENT
    }

    /// About how many bytes a spill will have to hold.
    pub(super) fn spill_size(&self) -> usize {
        self.memory + self.pieces * BLOCK as usize
    }

    fn memory_within(&self, range: Range<u64>) -> usize {
        let memory =
            self.fragments.overlapping(range.clone()).filter(|(_, piece)| matches!(piece, Fragment::Memory(_)));
        memory.map(|(place, _)| (place.end.min(range.end) - place.start.max(range.start)) as usize).sum()
    }

    /// Whether all of a stretch is in memory, in one fragment.
    pub(super) fn holds(&self, range: &Range<u64>) -> bool {
        let mut overlapping = self.fragments.overlapping(range.clone());
        overlapping.any(|(place, piece)| {
            matches!(piece, Fragment::Memory(_)) && place.start <= range.start && place.end >= range.end
        })
    }

    /// The stretches of blocks that hold fragments in memory, joined where they touch, cut at the end of the value.
    pub(super) fn dirty_blocks(&self) -> Vec<Range<u64>> {
        let mut blocks: Vec<Range<u64>> = Vec::new();
        for (range, _) in self.fragments.iter().filter(|(_, piece)| matches!(piece, Fragment::Memory(_))) {
            let start = range.start / BLOCK * BLOCK;
            let end = range.end.next_multiple_of(BLOCK).min(self.size);
            match blocks.last_mut() {
                Some(last) if last.end >= start => last.end = last.end.max(end),
                _ => blocks.push(start..end),
            }
        }
        blocks
    }

    /// What the store must be told to make the staged value the published one. Its blocks are to be filled up before.
    pub(super) fn update(&self) -> Update<'_> {
        let mut update = Update { replace: self.emptied, stage: self.stage, size: self.size, ..Update::default() };
        let mut whole = self.size == 0;
        for (range, fragment) in self.fragments.iter() {
            match fragment {
                Fragment::Memory(data) => {
                    whole |= range == (0..self.size) && data.len() <= MAX_EXTENT;
                    update.bytes.push((range.start, data.into()));
                }
                Fragment::Hole => update.holes.push((range.start, range.end - range.start)),
                Fragment::Logged(_) => {}
            }
        }
        if whole {
            // The new value is all there: nothing of the old one, and nothing that was spilled, is needed.
            update.replace = true;
            update.stage = 0;
            update.holes.clear();
        }
        update
    }

    /// About how many bytes the value takes, given those of the published one.
    pub(super) fn allocated(&self, published: u64) -> u64 {
        let mine = self.fragments.iter().filter(|(_, piece)| !matches!(piece, Fragment::Hole));
        let mine: u64 = mine.map(|(range, _)| range.end - range.start).sum();
        let published = if self.emptied { 0 } else { published };
        (mine + published).min(self.size.max(mine))
    }
}
