//! What the log has done since it was opened.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::histogram::{Distribution, Histogram};

/// Bounds of the time that a sync takes, in microseconds.
const LATENCY: [u64; 16] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// Bounds of the number of those who wait for one sync.
const WAITERS: [u64; 12] = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024];

/// What the log has done since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogStatistics {
    /// Bytes that were appended: records with their headers.
    pub appended: u64,
    /// How often the writer went on in another segment,
    pub rotations: u64,
    /// and how many times it had to wait for that one, because it was not prepared.
    pub segments_awaited: u64,
    /// How long each sync took, in microseconds.
    pub sync_latency: Distribution,
    /// How many waited for each sync. Who comes while one runs is counted with the next, although that one may do.
    pub sync_waiters: Distribution,
}

/// Counts it, without a lock.
#[derive(Debug)]
pub(super) struct Counters {
    appended: AtomicU64,
    rotations: AtomicU64,
    awaited: AtomicU64,
    latency: Histogram<16>,
    waiters: Histogram<12>,
}

impl Default for Counters {
    fn default() -> Counters {
        let (latency, waiters) = (Histogram::new(&LATENCY), Histogram::new(&WAITERS));
        let (appended, rotations, awaited) = Default::default();
        Counters { appended, rotations, awaited, latency, waiters }
    }
}

impl Counters {
    pub(super) fn appended(&self, bytes: u64) {
        self.appended.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The writer goes on in another segment.
    pub(super) fn rotated(&self) {
        self.rotations.fetch_add(1, Ordering::Relaxed);
    }

    /// It has to wait for that.
    pub(super) fn segment_awaited(&self) {
        self.awaited.fetch_add(1, Ordering::Relaxed);
    }

    /// A sync has succeeded, for so many who waited.
    pub(super) fn synced(&self, waiters: u64, took: Duration) {
        self.latency.observe(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        self.waiters.observe(waiters);
    }

    pub(super) fn statistics(&self) -> LogStatistics {
        LogStatistics {
            appended: self.appended.load(Ordering::Relaxed),
            rotations: self.rotations.load(Ordering::Relaxed),
            segments_awaited: self.awaited.load(Ordering::Relaxed),
            sync_latency: self.latency.distribution(),
            sync_waiters: self.waiters.distribution(),
        }
    }
}
