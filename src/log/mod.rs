//! Bytes: records, segments and the manifest. Knows nothing of files or directories.
//!
//! The log is a sequence of *records*, each with a sequence number, in *segments*. Records that were appended together
//! are a *transaction*: recovery shows all of them or none. `docs/FORMAT.md` draws every byte.
//!
//! Invariants:
//! * There is one writer. A record's sequence number is one more than that of the record before it.
//! * A segment exists if and only if the manifest says so, and was announced there before its first record.
//! * A record in segment N+1 is acknowledged only after the manifest durably says that N is sealed. So whatever is
//!   wrong in a sealed segment is damage, never a torn tail.
//! * A failed write or sync is final: the log refuses all later appends. A full disk is no failure as long as the
//!   half-written transaction could be cut off again.

mod ahead;
mod bad_blocks;
mod ballast;
mod codec;
mod copy;
mod error;
mod files;
mod format;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod hint;
mod histogram;
mod load;
mod lost_end;
mod manifest;
mod merge;
mod note;
mod open_snapshots;
mod record;
mod recovery;
mod repair;
mod retry;
mod salvage;
mod scan;
mod segment;
mod segments;
mod settle;
mod snapshot;
mod snapshot_index;
mod spares;
mod statistics;
mod stretches;
mod tidy;
mod turn;
mod unread;
mod verify;
mod writer;
mod written;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

pub use codec::{Decoder, Encoder, Truncated};
pub use copy::{Check, Copied, CopyKind, Progress, copy_snapshot, is_frozen};
use error::Context;
pub use error::Error;
pub use format::{FORMAT_VERSION, StoreId};
pub use histogram::Distribution;
pub use merge::{MergeWriter, Missing, SealedSegment};
pub use record::{HEADER_LEN, Header, Location, MAX_BODY, MAX_ENTRY};
pub use recovery::{Damage, Report, Visit};
pub use repair::{Inspection, Preview, Quarantine, Step};
pub use segment::{Body, Wait};
pub use segments::Segments;
pub use snapshot::{Snapshot, is_snapshot_name};
pub use statistics::LogStatistics;
pub use stretches::Stretches;
pub use unread::Unread;
pub use verify::{Defect, Seen, Span};
pub use writer::{Appender, Draft, WRITE_AHEAD};

use crate::medium::{Cached, Medium, Trouble};
use ballast::Ballast;
use manifest::Manifest;
use segments::SegmentMap;
use spares::Spares;
use turn::{Taken, Turn};
use writer::Writer;
use written::{Unsynced, Written};

/// How a log is opened.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Bytes after which a segment is sealed and the next one begun.
    pub segment_size: u32,
    /// Zeros that are written ahead, in bytes: [`WRITE_AHEAD`] as a rule.
    pub write_ahead: u32,
    /// Change nothing on the medium.
    pub read_only: bool,
    /// Make a new log where there is none.
    pub create: bool,
    /// Refuse a log in which damage is met, before anything is changed.
    pub strict: bool,
    /// Open what there is: segments that are missing, or of which nothing can be read, are left out, and stay in the
    /// manifest.
    pub lenient: bool,
    /// With `lenient`: what the medium fails to read is lost. Otherwise such a log is refused, and nothing is changed.
    pub give_up_unread: bool,
    /// Identity for a log that is created.
    pub new_id: StoreId,
}

impl Default for LogOptions {
    /// For a log that is there, to be read and written.
    fn default() -> LogOptions {
        LogOptions {
            segment_size: 64 << 20,
            write_ahead: WRITE_AHEAD,
            read_only: false,
            create: false,
            strict: false,
            lenient: false,
            give_up_unread: false,
            new_id: StoreId([0; 16]),
        }
    }
}

/// An open log.
#[derive(Debug)]
pub struct Log {
    medium: Arc<dyn Medium>,
    /// The same, for the segments: few of them are open at once.
    cached: Cached,
    options: LogOptions,
    id: StoreId,
    segments: SegmentMap,
    manifest: Mutex<Manifest>,
    writer: Mutex<Writer>,
    /// The thread that holds the writer, if any does.
    holder: AtomicUsize,
    written: Written,
    spares: Spares,
    /// That of the one thread that syncs.
    syncing: Turn,
    /// Of a log that is only read: where the segments end that were not sealed.
    unsealed: manifest::SegmentList,
    snapshots: snapshot::Snapshots,
    durable: AtomicU64,
    failure: OnceLock<String>,
    /// Sealed segments that have a hint, or can have none.
    hinted: Mutex<BTreeSet<u32>>,
    counters: statistics::Counters,
    ballast: Ballast,
}

impl Log {
    /// This store's identity.
    pub fn id(&self) -> StoreId {
        self.id
    }

    /// How often the log was opened for writing.
    pub fn epoch(&self) -> u32 {
        self.manifest.lock().epoch
    }

    /// The highest sequence number known to be on the medium.
    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// Why the log refuses all writes, if it does.
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Segments that there are, and their bytes.
    pub fn size(&self) -> (usize, u64) {
        let active = self.written.position();
        let segments = self.segments();
        (segments.all().len(), segments.all().map(|segment| segment.end(active)).sum())
    }

    /// What the log has done since it was opened.
    pub fn statistics(&self) -> LogStatistics {
        self.counters.statistics()
    }

    /// The medium that the log is on.
    pub fn medium(&self) -> &Arc<dyn Medium> {
        &self.medium
    }

    /// The size at which segments are sealed, in bytes.
    pub fn segment_size(&self) -> u32 {
        self.options.segment_size
    }

    /// Begins a transaction: the caller is the one writer until the [`Appender`] is dropped.
    ///
    /// # Errors
    /// [`Error::InTransaction`] if the calling thread is the writer already: it would wait for itself.
    pub fn begin(&self) -> Result<Appender<'_>, Error> {
        self.check_no_writer()?;
        Ok(Appender::new(self, self.writer.lock()))
    }

    /// That the calling thread is not the writer.
    fn check_no_writer(&self) -> Result<(), Error> {
        match self.holder.load(Ordering::Relaxed) == writer::this_thread() {
            true => Err(Error::InTransaction),
            false => Ok(()),
        }
    }

    /// The highest sequence number given out.
    pub fn written(&self) -> u64 {
        self.written.sequence()
    }

    /// Makes everything up to `sequence` durable, and with it all that was appended by then, and returns the sequence
    /// number reached. One thread syncs at a time, for all who wait; writers go on meanwhile. It begins a moment later if
    /// others are likely to come, who would have to wait for the next sync.
    ///
    /// # Errors
    /// [`Error::NotDurable`] if the manifest has no room for what it must say: nothing is lost, and the next sync tries
    /// again. Any other failure but one that [passes](Error::passing) is final: see [`Log::failure`].
    pub fn sync(&self, sequence: u64) -> Result<u64, Error> {
        if sequence > self.durable() {
            self.join_sync();
        }
        self.sync_joined(sequence)
    }

    /// Somebody waits for a sync, but leaves it to another thread to call [`Log::sync_joined`].
    pub fn join_sync(&self) {
        self.syncing.join();
    }

    /// [`Log::sync`] for those who have joined.
    ///
    /// # Errors
    /// As [`Log::sync`].
    pub fn sync_joined(&self, sequence: u64) -> Result<u64, Error> {
        match self.syncing.take(|| sequence <= self.durable()) {
            Some(turn) => self.sync_written(&turn),
            None => Ok(self.durable()),
        }
    }

    /// Makes everything that was written durable, and seals every segment that is full.
    fn sync_written(&self, turn: &Taken<'_>) -> Result<u64, Error> {
        self.check()?;
        let Unsynced { sequence: target, retired, active } = self.written.unsynced();
        if !retired.is_empty() {
            // Before the active segment is synced, and so before anything in it is acknowledged.
            if let Err(error) = self.with_reserve(|| self.seal(&retired)) {
                self.written.retire_again(retired);
                return Err(match error {
                    Error::NoSpace => Error::NotDurable,
                    other => other,
                });
            }
        }
        let synced = active.map_or(Ok(()), |segment| segment.file.sync());
        synced.map_err(|error| self.fail("fsync of the log", &error))?;
        self.durable.store(target, Ordering::Release);
        // A failure is heard by whoever writes next.
        let _ = self.tidy_manifest();
        self.counters.synced(turn.waiters, turn.began.elapsed());
        Ok(target)
    }

    /// Notes in the manifest how far the log is durable, so that the next start can tell damage to its end from what a
    /// crash leaves: the last thing to be done before the log is closed.
    ///
    /// # Errors
    /// [`Error::NoSpace`] is no harm. Any other failure is final.
    pub fn note_end(&self) -> Result<(), Error> {
        self.check()?;
        let sequence = self.durable();
        let mut manifest = self.manifest.lock();
        if sequence <= manifest.durable {
            return Ok(());
        }
        let noted = manifest.append(&manifest::Change::Durable { sequence });
        noted.map_err(|error| self.failed("writing the manifest", error))?;
        manifest.sync().map_err(|error| self.fail("fsync of the manifest", &error))
    }

    /// Makes segments durable, and durable that they are complete.
    fn seal(&self, retired: &[writer::Retired]) -> Result<(), Error> {
        for segment in retired {
            segment.sync().map_err(|error| self.fail("fsync of the log", &error))?;
        }
        let mut manifest = self.manifest.lock();
        for segment in retired {
            manifest.append(&segment.seal()).map_err(|error| self.failed("writing the manifest", error))?;
        }
        manifest.sync().map_err(|error| self.fail("fsync of the manifest", &error))?;
        // Nothing is written to them any more.
        retired.iter().for_each(writer::Retired::release);
        Ok(())
    }

    /// Writes the hint of one sealed segment that has none. Returns whether there was one to write.
    ///
    /// # Errors
    /// Those of the medium. They are no failure of the log: without the hint the next start takes longer.
    pub fn write_hint(&self) -> Result<bool, Error> {
        self.check()?;
        let without = {
            let (manifest, hinted) = (self.manifest.lock(), self.hinted.lock());
            // A hint proves that its segment was sealed: so that is durable first.
            if !manifest.is_synced() {
                return Ok(false);
            }
            let mut sealed = manifest.segments.iter().filter_map(|(&id, sealed)| Some((id, (*sealed)?)));
            sealed.find(|(id, _)| !hinted.contains(id))
        };
        let Some((id, sealed)) = without else { return Ok(false) };
        self.hinted.lock().insert(id);
        let Some(segment) = self.segments.get(id) else { return Ok(true) };
        let written = hint::write(&*self.medium, &segment, &sealed);
        if written.is_err() {
            // It is due again.
            self.hinted.lock().remove(&id);
        }
        // A merge may have taken the segment away meanwhile.
        if !self.segments.contains(id) {
            let _ = self.medium.remove(&files::hint(id));
        }
        written.context(|| format!("writing the hint of segment {id}")).map(|()| true)
    }

    /// The body of a record, verified against its checksums and against what the caller knows of it.
    ///
    /// # Errors
    /// [`Error::Damaged`] if the bytes are not those that were written.
    pub fn read(&self, location: Location, body_len: u32, sequence: u64) -> Result<Body, Error> {
        let read = self.segments().read(location, body_len, sequence, Wait::Yes)?;
        read.ok_or(Error::Damaged { location, what: "it was not read" })
    }

    /// Whether a segment reaches so far that a record with a body of this length may be there.
    pub fn may_hold(&self, location: Location, body_len: u32) -> bool {
        let active = self.written.position();
        let end = self.segments.get(location.segment).map_or(0, |segment| segment.end(active));
        u64::from(location.offset) + record::record_len(body_len as usize) <= end
    }

    fn check(&self) -> Result<(), Error> {
        match self.failure.get() {
            Some(reason) => Err(Error::Failed(reason.clone())),
            None if self.options.read_only => Err(Error::ReadOnly),
            None => Ok(()),
        }
    }

    /// What has failed before anything depended on it, and has left nothing behind: only a fault of the medium is final.
    fn failed(&self, what: &str, error: std::io::Error) -> Error {
        match Trouble::of(&error) {
            Trouble::Device => self.fail(what, &error),
            Trouble::Full | Trouble::Passing => Error::of(what, error),
        }
    }
    /// Latches a failure: nothing is written from here on.
    fn fail(&self, what: &str, error: &std::io::Error) -> Error {
        let reason = format!("{what} failed: {error}");
        log::error!("{reason}; the store is read-only until it is opened again");
        Error::Failed(self.failure.get_or_init(|| reason).clone())
    }
}
