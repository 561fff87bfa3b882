//! How a store is opened.

use std::fmt;
use std::time::SystemTime;

use super::clock::Clock;
use super::merge::MergePolicy;
use crate::log::StoreId;

/// How a store is opened.
#[derive(Clone)]
pub struct Options {
    /// Make a new store where there is an empty directory, or none.
    pub create: bool,
    /// Change nothing. A writer keeps readers out, and readers keep a writer out.
    pub read_only: bool,
    /// Refuse a store in which the start meets damage: see [`Error::Strict`](super::Error::Strict). Nothing is changed
    /// then.
    pub strict: bool,
    /// Every call waits until its change is durable. Without it a change is on the medium at most a second later, or
    /// after [`Store::sync`](super::Store::sync).
    pub durable: bool,
    /// Bytes after which a segment of the log is sealed.
    pub segment_size: u32,
    /// Run the thread that syncs for those who cannot wait, and the one that merges. Without them (in tests) whoever
    /// asks does.
    pub background: bool,
    /// Bytes of memory that the keydir may take: the keys with all that is known of them. At the limit whatever would make
    /// it grow gets [`Error::OutOfMemory`](super::Error::OutOfMemory).
    pub memory_limit: Option<u64>,
    /// Bytes of memory that a batch may take while it is written, its own among them; beyond it is
    /// [`Error::BatchTooLarge`](super::Error::BatchTooLarge).
    pub batch_limit: u64,
    /// When the store merges by itself.
    pub merge: MergePolicy,
    /// What time it is.
    pub clock: Clock,
    /// The identity of a store that is made; random by default.
    pub id: Option<StoreId>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            create: false,
            read_only: false,
            strict: false,
            durable: true,
            segment_size: 64 << 20,
            background: true,
            memory_limit: None,
            batch_limit: 4 << 30,
            merge: MergePolicy::default(),
            clock: Clock::default(),
            id: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Options")
            .field("create", &self.create)
            .field("read_only", &self.read_only)
            .field("strict", &self.strict)
            .field("durable", &self.durable)
            .field("segment_size", &self.segment_size)
            .field("merge", &self.merge)
            .finish_non_exhaustive()
    }
}

/// A random identity.
pub(super) fn random_id() -> StoreId {
    use std::hash::{BuildHasher, RandomState};
    // The standard library keys each of these from the operating system's random numbers.
    let half = || RandomState::new().hash_one(SystemTime::now()).to_le_bytes();
    let mut id = [0; 16];
    id[..8].copy_from_slice(&half());
    id[8..].copy_from_slice(&half());
    StoreId(id)
}
