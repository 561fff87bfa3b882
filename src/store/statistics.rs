//! What a store has done since it was opened, and what it takes.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Error, Info, MergeStatistics, Store};
use crate::log::LogStatistics;

/// Counted by the store itself, without a lock.
#[derive(Debug, Default)]
pub(super) struct Counters {
    put: AtomicU64,
    expired: AtomicU64,
}

impl Counters {
    /// So many bytes of values were taken.
    pub(super) fn put(&self, bytes: u64) {
        self.put.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many files have expired.
    pub(super) fn expired(&self, files: u64) {
        self.expired.fetch_add(files, Ordering::Relaxed);
    }
}

/// What a store holds, and what it has done since it was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// What it holds now.
    pub info: Info,
    /// Bytes of values that were handed in.
    pub put_bytes: u64,
    /// Keys that were removed because they expired.
    pub expired: u64,
    /// What was appended to the log, and how it was synced.
    pub log: LogStatistics,
    /// What merges have moved.
    pub merges: MergeStatistics,
    /// Bytes of memory that this process has in use; `None` where the system does not tell.
    pub resident_bytes: Option<u64>,
}

impl Statistics {
    /// Bytes of segments that a merge would not have to copy.
    pub fn dead_bytes(&self) -> u64 {
        self.info.log_bytes.saturating_sub(self.info.live_bytes)
    }

    /// Bytes that were written to segments: those that were appended, and those that merges wrote.
    pub fn written_bytes(&self) -> u64 {
        self.log.appended + self.merges.bytes_written
    }

    /// Bytes written for each byte put; `None` if none was.
    pub fn write_amplification(&self) -> Option<f64> {
        (self.put_bytes > 0).then(|| self.written_bytes() as f64 / self.put_bytes as f64)
    }
}

impl Store {
    /// What the store holds, and what it has done since it was opened.
    ///
    /// # Errors
    /// As [`Store::info`].
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// let store = caskfs::Store::open(directory.path(), caskfs::Options { create: true, ..Default::default() })?;
    /// store.put("key", "value")?;
    /// let statistics = store.statistics()?;
    /// assert_eq!(statistics.put_bytes, 5);
    /// assert!(statistics.log.sync_latency.count() > 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn statistics(&self) -> Result<Statistics, Error> {
        Ok(Statistics {
            info: self.info()?,
            put_bytes: self.counters.put.load(Ordering::Relaxed),
            expired: self.counters.expired.load(Ordering::Relaxed),
            log: self.log.statistics(),
            merges: self.merge_statistics(),
            resident_bytes: resident(),
        })
    }
}

/// The resident set, from proc_pid_status(5).
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}
