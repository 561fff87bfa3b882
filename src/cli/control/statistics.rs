//! What a store has done since it was opened, as `info --json` shows it.

use serde::{Deserialize, Serialize};

use crate::log::Distribution;
use crate::store;

/// What a store has done since it was opened: by the daemon, if it is mounted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::cli) struct Statistics {
    pub(in crate::cli) dead_bytes: u64,
    /// Bytes of values that were handed in.
    pub(in crate::cli) put_bytes: u64,
    /// Keys that were removed because they expired.
    pub(in crate::cli) expired_keys: u64,
    /// Bytes appended to the log.
    pub(in crate::cli) appended_bytes: u64,
    pub(in crate::cli) merge_read_bytes: u64,
    pub(in crate::cli) merge_written_bytes: u64,
    /// Bytes written, by merges too, for each byte put.
    pub(in crate::cli) write_amplification: Option<f64>,
    pub(in crate::cli) syncs: u64,
    pub(in crate::cli) sync_microseconds: Histogram,
    /// How many waited for each sync.
    pub(in crate::cli) sync_waiters: Histogram,
    /// Memory that the process has in use.
    pub(in crate::cli) resident_bytes: Option<u64>,
}

/// How values are distributed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::cli) struct Histogram {
    pub(in crate::cli) sum: u64,
    /// A bound, and how many values were at most so great and greater than the bound before.
    pub(in crate::cli) buckets: Vec<(u64, u64)>,
    /// How many were greater than the last bound.
    pub(in crate::cli) above: u64,
}

impl From<Distribution> for Histogram {
    fn from(Distribution { buckets, above, sum }: Distribution) -> Histogram {
        Histogram { sum, buckets, above }
    }
}

impl From<store::Statistics> for Statistics {
    fn from(statistics: store::Statistics) -> Statistics {
        Statistics {
            dead_bytes: statistics.dead_bytes(),
            put_bytes: statistics.put_bytes,
            expired_keys: statistics.expired,
            appended_bytes: statistics.log.appended,
            merge_read_bytes: statistics.merges.bytes_read,
            merge_written_bytes: statistics.merges.bytes_written,
            write_amplification: statistics.write_amplification(),
            syncs: statistics.log.sync_latency.count(),
            sync_microseconds: statistics.log.sync_latency.into(),
            sync_waiters: statistics.log.sync_waiters.into(),
            resident_bytes: statistics.resident_bytes,
        }
    }
}

impl Histogram {
    /// The mean; `None` if there were no values.
    pub(in crate::cli) fn mean(&self) -> Option<f64> {
        let count = self.buckets.iter().map(|(_, count)| count).sum::<u64>() + self.above;
        (count > 0).then(|| self.sum as f64 / count as f64)
    }
}
