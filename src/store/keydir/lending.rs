//! Bytes that are lent: a share record makes the bytes of another record part of a value.
//!
//! A merge moves a record for the entry that the record is of, and for no other. So before the segment goes, what is
//! borrowed from it becomes the borrowers' own (`merge/own.rs`), and nothing more is borrowed from it meanwhile.

use hashbrown::{HashMap, HashSet};

use super::Keydir;
use crate::log::Location;
use crate::store::attributes::EntryId;
use crate::store::extents::Extent;

/// Who has borrowed from which segment, and from which nothing is lent any more.
#[derive(Debug, Default)]
pub(super) struct Lending {
    /// By segment, the entries that have extents in it which are not in records of their own; or had: who gives them back
    /// is not struck off.
    borrowers: HashMap<u32, HashSet<EntryId>>,
    /// Segments that are about to go.
    closed: HashSet<u32>,
    /// Entries in all of `borrowers`.
    noted: usize,
}

impl Lending {
    /// Notes that an extent becomes part of an entry's value.
    pub(super) fn note(&mut self, entry: EntryId, extent: &Extent) {
        if extent.is_borrowed() {
            self.noted += usize::from(self.borrowers.entry(extent.location.segment).or_default().insert(entry));
        }
    }

    /// Keeps the borrowers from these segments.
    fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        let noted = &mut self.noted;
        self.borrowers.retain(|segment, entries| {
            let kept = keep(*segment);
            *noted -= if kept { 0 } else { entries.len() };
            kept
        });
    }

    /// Bytes of memory, about.
    pub(super) fn memory(&self) -> usize {
        /// What an entry takes in a set, which is never quite full.
        const ENTRY: usize = 16;
        self.borrowers.allocation_size() + self.noted * ENTRY
    }

    #[cfg(test)]
    pub(super) fn check_sums(&self) {
        assert_eq!(self.noted, self.borrowers.values().map(HashSet::len).sum::<usize>());
    }
}

impl Keydir {
    /// Whether bytes of a record in this segment may become part of a value that is not the record's.
    pub(in crate::store) fn is_lendable(&self, segment: u32) -> bool {
        !self.lending.closed.contains(&segment)
    }

    /// Lends nothing of these segments any more; unless somebody has staged what is lent there, or the record that lends
    /// it: false then, and nothing has changed. The caller holds the log's writer, so that nobody is about to do so.
    pub(in crate::store) fn close_segments(&mut self, segments: &[u32]) -> bool {
        let staged = self.staged_segments();
        let is_free = segments.iter().all(|segment| !staged.contains(segment));
        if is_free {
            self.lending.closed.extend(segments);
        }
        is_free
    }

    /// Lends of these segments again.
    pub(in crate::store) fn reopen_segments(&mut self, segments: &[u32]) {
        self.lending.closed.retain(|segment| !segments.contains(segment));
    }

    /// A segment is gone.
    pub(in crate::store) fn forget_segment(&mut self, segment: u32) {
        self.usage.forget(segment);
        self.lending.retain(|other| other != segment);
    }

    /// The entries that may have borrowed from these segments, in order.
    pub(in crate::store) fn borrowers(&self, segments: &[u32]) -> Vec<EntryId> {
        let lent = segments.iter().filter(|segment| self.usage.live(**segment).borrowed > 0);
        let borrowers = lent.filter_map(|segment| self.lending.borrowers.get(segment)).flatten();
        let mut borrowers: Vec<EntryId> = borrowers.copied().collect();
        borrowers.sort_unstable();
        borrowers.dedup();
        borrowers
    }

    /// After recovery: the entries with bytes in records that are not there, by their places and the lengths of their
    /// bodies, and not known to be damaged so far. Now they are.
    pub(in crate::store) fn mark_dangling(&mut self, is_there: &dyn Fn(Location, u32) -> bool) -> Vec<EntryId> {
        let usage = &self.usage;
        self.lending.retain(|segment| usage.live(segment).borrowed > 0);
        let mut segments: Vec<u32> = self.lending.borrowers.keys().copied().collect();
        segments.sort_unstable();
        let mut damaged = Vec::new();
        for id in self.borrowers(&segments) {
            let Some(node) = self.get(id).filter(|_| !self.is_damaged(id)) else { continue };
            let lost = |extent: &Extent| extent.is_borrowed() && !is_there(extent.location, extent.body_len);
            let first = node.extents.some(0, 1, lost).first().map(|(_, extent)| extent.sequence);
            if let Some(sequence) = first {
                drop(node);
                self.apply_damage(id, sequence);
                damaged.push(id);
            }
        }
        damaged
    }
}
