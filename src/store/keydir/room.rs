//! What the keydir takes, and what a change would make it take: sums that are kept, and no walks.

use std::ops::Range;

use super::{Keydir, Staged};
use crate::store::attributes::EntryId;
use crate::store::directory::first_place;
use crate::store::memory::KeydirMemory;
use crate::store::value::Update;

impl Keydir {
    /// Bytes of memory, about, by kind. It is a sum that is kept, and no walk.
    pub(in crate::store) fn memory(&self) -> KeydirMemory {
        let damage = self.damaged.allocation_size() + self.lost.allocation_size() + self.dead_stages.allocation_size();
        let others = self.pins.memory() + self.due.memory() + self.lending.memory() + self.usage.memory() + damage;
        let staged = self.stages.allocation_size() + self.staged * size_of::<Staged>();
        let listings = self.listings.memory() as u64;
        KeydirMemory { staged: staged as u64, listings, others: others as u64, ..self.entries.memory() }
    }

    /// Compares the sums that are kept with what they are sums of.
    #[cfg(test)]
    pub(in crate::store) fn check_sums(&self) {
        self.entries.check_sums();
        self.lending.check_sums();
        assert_eq!(self.staged, self.stages.values().map(Vec::len).sum::<usize>());
    }

    /// Whether so many entries can be made or changed: see [`Entries::has_room`].
    pub(in crate::store) fn has_room(&self, entries: usize, grows: bool) -> bool {
        self.entries.has_room(entries, grows)
    }

    /// Whether the log has more entries than fit.
    pub(in crate::store) fn overflowed(&self) -> bool {
        self.entries.overflowed()
    }

    /// By about how many pieces more a value would be in: see [`Extents::more_pieces`](super::extents::Extents).
    pub(in crate::store) fn more_pieces(&self, id: EntryId, replace: bool, stretches: &[Range<u64>]) -> i64 {
        match self.get(id) {
            Some(node) => node.extents.more_pieces(replace, stretches),
            None => stretches.len() as i64,
        }
    }

    /// Whether so many pieces more, staged of an entry, would be more than its value is in.
    pub(in crate::store) fn is_staging_more(&self, id: EntryId, stage: u64, pieces: usize) -> bool {
        let published = self.get(id).map_or(0, |node| node.extents.pieces());
        self.stage(stage).len() + pieces > published
    }

    /// Whether a directory has so many names with this one's hash that another one may find no place.
    pub(in crate::store) fn is_crowded(&self, parent: EntryId, name: &[u8]) -> bool {
        self.directory(parent).is_some_and(|directory| directory.is_crowded(first_place(name)))
    }

    /// How many bytes of an entry's value a change without new ones would free.
    pub(in crate::store) fn freed(&self, id: EntryId, update: &Update<'_>) -> u64 {
        let Some(node) = self.get(id) else { return 0 };
        let within = |from: u64, to: u64| -> u64 {
            node.extents.within(from..to).into_iter().map(|(range, _)| range.end - range.start).sum()
        };
        let start = if update.replace { 0 } else { update.size };
        let holes = update.holes.iter().map(|(at, len)| within(*at, at.saturating_add(*len).min(start)));
        within(start, u64::MAX) + holes.sum::<u64>()
    }

    pub(super) fn take_stage(&mut self, stage: u64) -> Option<Vec<Staged>> {
        let staged = self.stages.remove(&stage)?;
        self.staged -= staged.len();
        Some(staged)
    }

    pub(super) fn push_staged(&mut self, stage: u64, staged: Staged) {
        self.stages.entry(stage).or_default().push(staged);
        self.staged += 1;
    }
}
