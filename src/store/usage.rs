//! How many bytes of each segment are live: what a merge of it would have to copy.
//!
//! Bytes that several values have are counted for each of them: a merge makes a copy for each. So a segment may have more
//! live bytes than bytes.

use hashbrown::HashMap;

use super::extents::Extent;

/// Live bytes of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Live {
    /// All of them,
    pub(super) bytes: u64,
    /// and those of them that are borrowed.
    pub(super) borrowed: u64,
}

/// Live bytes by segment.
#[derive(Debug, Default)]
pub(super) struct Usage(HashMap<u32, Live>);

impl Usage {
    /// Bytes have become live.
    pub(super) fn add(&mut self, segment: u32, bytes: u64) {
        self.0.entry(segment).or_default().bytes += bytes;
    }

    /// So many bytes of an extent have become live.
    pub(super) fn add_extent(&mut self, extent: &Extent, bytes: u64) {
        let live = self.0.entry(extent.location.segment).or_default();
        live.bytes += bytes;
        live.borrowed += if extent.is_borrowed() { bytes } else { 0 };
    }

    /// Bytes have died.
    pub(super) fn subtract(&mut self, segment: u32, bytes: u64) {
        if let Some(live) = self.0.get_mut(&segment) {
            live.bytes = live.bytes.saturating_sub(bytes);
        }
    }

    /// So many bytes of an extent have died.
    pub(super) fn subtract_extent(&mut self, extent: &Extent, bytes: u64) {
        if let Some(live) = self.0.get_mut(&extent.location.segment) {
            live.bytes = live.bytes.saturating_sub(bytes);
            live.borrowed = live.borrowed.saturating_sub(if extent.is_borrowed() { bytes } else { 0 });
        }
    }

    /// The live bytes of a segment.
    pub(super) fn live(&self, segment: u32) -> Live {
        self.0.get(&segment).copied().unwrap_or_default()
    }

    /// The segment is gone.
    pub(super) fn forget(&mut self, segment: u32) {
        self.0.remove(&segment);
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.0.allocation_size()
    }

    /// Live bytes of all segments.
    pub(super) fn total(&self) -> u64 {
        self.0.values().map(|live| live.bytes).sum()
    }
}
