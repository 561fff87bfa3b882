//! How many bytes of each segment are live: what a merge of it would have to copy.

use hashbrown::HashMap;

/// Live bytes by segment.
#[derive(Debug, Default)]
pub(super) struct Usage(HashMap<u32, u64>);

impl Usage {
    /// Bytes have become live.
    pub(super) fn add(&mut self, segment: u32, bytes: u64) {
        *self.0.entry(segment).or_default() += bytes;
    }

    /// Bytes have died.
    pub(super) fn subtract(&mut self, segment: u32, bytes: u64) {
        if let Some(live) = self.0.get_mut(&segment) {
            *live = live.saturating_sub(bytes);
        }
    }

    /// The live bytes of a segment.
    pub(super) fn live(&self, segment: u32) -> u64 {
        self.0.get(&segment).copied().unwrap_or(0)
    }

    /// The segment is gone.
    pub(super) fn forget(&mut self, segment: u32) {
        self.0.remove(&segment);
    }

    /// Live bytes of all segments.
    pub(super) fn total(&self) -> u64 {
        self.0.values().sum()
    }
}
