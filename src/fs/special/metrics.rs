//! `.caskfs/stats`: what the store and the mount do, in the text format of Prometheus
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>), in seconds and bytes.

use std::fmt::Display;

use crate::fs::Filesystem;
use crate::log::Distribution;
use crate::store::{Error, MemoryUse};

/// The whole text.
pub(super) fn text(filesystem: &Filesystem) -> Result<String, Error> {
    let store = filesystem.store();
    let statistics = store.statistics()?;
    let (info, log, merges) = (&statistics.info, &statistics.log, &statistics.merges);
    let report = store.recovery_report();
    let (dirty, open) = filesystem.staged_and_open();
    let mut page = Page::default();
    let version = env!("CARGO_PKG_VERSION");
    page.head("caskfs_info", "gauge", "Version of caskfs and identity of the store.");
    page.line("caskfs_info", &format!("{{version=\"{version}\",store=\"{}\"}}", info.id), 1);

    page.gauge("caskfs_keys", "Entries: files, directories and all others.", info.keys);
    page.gauge("caskfs_segments", "Segments of the log.", info.segments);
    page.gauge("caskfs_log_bytes", "Bytes in the segments.", info.log_bytes);
    page.gauge("caskfs_live_bytes", "Bytes in the segments that a merge would have to copy.", info.live_bytes);
    page.gauge("caskfs_dead_bytes", "Bytes in the segments that a merge gives back.", statistics.dead_bytes());
    page.gauge("caskfs_snapshots", "Snapshots that there are.", info.snapshots);
    let alone = info.snapshot_bytes;
    page.gauge("caskfs_snapshot_bytes", "Bytes on the disk that only snapshots keep there.", alone);
    page.gauge("caskfs_disk_free_bytes", "Bytes that are free on the disk of the store.", info.space.available);
    page.gauge("caskfs_written_sequence", "The highest sequence number given out.", info.written);
    page.gauge("caskfs_durable_sequence", "The highest sequence number known to be on the disk.", info.durable);
    let failed = u8::from(info.failure.is_some());
    page.gauge("caskfs_failed", "1 if a write or sync has failed, so that the store refuses all changes.", failed);

    let trouble = u8::from(info.background_trouble.is_some());
    page.gauge(
        "caskfs_background_trouble",
        "1 while merging or writing hints fails and is tried again later.",
        trouble,
    );

    page.counter("caskfs_put_bytes_total", "Bytes of values handed in.", statistics.put_bytes);
    page.counter("caskfs_expired_keys_total", "Keys removed because they expired.", statistics.expired);
    page.counter("caskfs_appended_bytes_total", "Bytes appended to the log.", log.appended);
    page.counter("caskfs_rotations_total", "Segments that were filled and left.", log.rotations);
    let awaited = log.segments_awaited;
    page.counter("caskfs_segments_awaited_total", "Segments that a writer had to wait for.", awaited);
    page.counter("caskfs_merges_total", "Merges completed.", merges.merges);
    page.counter("caskfs_merge_read_bytes_total", "Bytes of segments that merges took away.", merges.bytes_read);
    page.counter("caskfs_merge_written_bytes_total", "Bytes that merges wrote instead.", merges.bytes_written);
    let micros = |value: u64| value as f64 / 1e6;
    page.histogram("caskfs_sync_duration_seconds", "How long each sync took.", &log.sync_latency, micros);
    let each = |value: u64| value as f64;
    page.histogram("caskfs_sync_waiters", "How many waited for each sync.", &log.sync_waiters, each);

    page.gauge("caskfs_dirty_bytes", "Bytes in memory that open files hold and that are not committed.", dirty);
    page.gauge("caskfs_open_files", "Open files.", open);
    page.gauge("caskfs_keydir_bytes", "Bytes of memory that the keydir takes, about.", info.keydir_bytes);
    let believed = u8::from(store.clock_is_believed());
    page.gauge("caskfs_clock_believed", "0 after a jump of the clock: what expires is hidden, not removed.", believed);
    let memory = store.keydir_memory();
    page.head("caskfs_memory_bytes", "gauge", "Bytes of memory by use, about: those of the keydir, and others.");
    let others = [("staged", MemoryUse::Staged), ("transactions", MemoryUse::Transactions)];
    let keydir = [
        ("keydir_entries", memory.entries),
        ("keydir_directories", memory.directories),
        ("keydir_attributes", memory.attributes),
        ("keydir_extents", memory.extents),
        ("keydir_staged", memory.staged),
        ("keydir_listings", memory.listings),
        ("keydir_others", memory.others),
    ];
    for (name, bytes) in keydir.into_iter().chain(others.map(|(name, kind)| (name, store.memory_used(kind)))) {
        page.line("caskfs_memory_bytes", &format!("{{use=\"{name}\"}}"), bytes);
    }
    if let Some(resident) = statistics.resident_bytes {
        page.gauge("caskfs_resident_memory_bytes", "Bytes of memory that the process has in use.", resident);
    }
    let torn: u64 = report.torn.iter().map(|torn| torn.len).sum();
    page.gauge("caskfs_recovery_torn_bytes", "Bytes of a crash that the last start cut off.", torn);
    let damaged: u64 = report.damage.iter().map(|damage| damage.len).sum();
    page.gauge("caskfs_recovery_damaged_bytes", "Damaged bytes that the last start found.", damaged);
    let unread = report.unread_bytes();
    page.gauge("caskfs_recovery_unread_bytes", "Bytes that the last start could not read: nothing is merged.", unread);
    let keys = report.damaged_keys.len();
    page.gauge("caskfs_recovery_damaged_keys", "Keys of which the last start could not read a record.", keys);
    Ok(page.0)
}

/// The text as far as it is written.
#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.0 += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl Display) {
        self.0 += &format!("{name}{labels} {value}\n");
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "gauge", help);
        self.line(name, "", value);
    }

    fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.head(name, "counter", help);
        self.line(name, "", value);
    }

    /// Its buckets count all that came before them too.
    fn histogram(&mut self, name: &str, help: &str, counts: &Distribution, unit: impl Fn(u64) -> f64) {
        self.head(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        let mut below = 0;
        for (bound, count) in &counts.buckets {
            below += count;
            self.line(&bucket, &format!("{{le=\"{}\"}}", unit(*bound)), below);
        }
        self.line(&bucket, "{le=\"+Inf\"}", counts.count());
        self.line(&format!("{name}_sum"), "", unit(counts.sum));
        self.line(&format!("{name}_count"), "", counts.count());
    }
}
