//! Merge: the space of what is dead comes back.
//!
//! A merge takes a few sealed segments that follow one another, copies what is live of them, and lets the manifest put
//! the copies in their place (`log::merge`). It runs beside readers and writers; what it relies on:
//! * What is dead stays dead: sequence numbers only grow. What is found live may die while it is copied; then the copy
//!   is dead too, and nothing points to it.
//! * A record is dead because of a younger one. That must be on the medium before the dead one goes: so the log is
//!   synced before the manifest is written.
//! * The keydir changes last, and only where it still points to what was copied.
//! * A copy of a value's bytes says itself that it is published (stage 0), so that it does not need the node record
//!   that published it, which may go before it: but only if the run holds all that came before it in its stage.
//!   Otherwise it keeps its stage, and the node record is copied as it is. Only stretches that are still part of the
//!   value are copied.
//! * A tombstone or a hole may go when nothing older than it can be left: when the merge takes the oldest segments.
//! * Segments with bytes that are staged and not published are left alone: those who staged them know where they are.
//!   So are those from which staged bytes are borrowed, and those with the records that say so.
//! * A record moves for the entry that it is of. What others have borrowed becomes their own before, at the end of the log;
//!   meanwhile nothing more is borrowed from the run.
//! * A segment with a damaged record is never merged: what is behind the damage may yet be wanted. That holds for damage that
//!   the start has met, too.
//! * While something could not be read at the start, nothing is merged: what nobody points to may be wanted by what is
//!   unread. A segment that cannot be read now is left alone for a while.
//! * What small overwrites have left of a value is joined at the end of the log (`join.rs`), and not by a copy: a copy says what one
//!   record said.
//! * No lock but that which keeps merges apart is held while bytes are copied, synced or waited for. (What becomes a
//!   borrower's own is a transaction like any other, and holds the log's writer.)

mod background;
mod copy;
mod join;
mod own;
mod plan;
mod policy;
mod throttle;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::{HashMap, HashSet};
use parking_lot::{Condvar, Mutex, RwLock};

use super::group_commit::GroupCommit;
use super::keydir::Keydir;
use super::usage::Live;
use super::{Error, Options, RecoveryReport, Store, io_error};
use crate::log::{Error as LogError, Log, Missing, SealedSegment};
pub(super) use background::Background;
use copy::Copier;
pub(super) use join::Crumbs;
pub(super) use own::make_own;
use plan::{Candidate, Limits};
pub use policy::{DeadSpace, MergePolicy, MergeWindow};
pub(super) use throttle::Throttle;

/// How long a segment that could not be read is left alone.
const REST: Duration = Duration::from_secs(60);

/// How often a merge is begun on a disk that is almost full, each time with less.
const ATTEMPTS: usize = 4;

/// What merging has done since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MergeStatistics {
    /// Merges that were completed.
    pub merges: u64,
    /// Bytes of segments that were taken away.
    pub bytes_read: u64,
    /// Bytes that were written in their place.
    pub bytes_written: u64,
}

/// A merge that is worth doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedMerge {
    /// The segments that it takes, by number; those that an earlier one of the same plan makes are not named.
    pub segments: Vec<u32>,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes of these that it copies; the others come back.
    pub copied: u64,
}

/// What a merge finds a segment to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Whole,
    Damaged,
    Unread,
}

/// Bytes of a segment that are not live, and stay when it is merged.
#[derive(Clone, Copy, Debug, Default)]
struct Residue {
    /// As long as something older may be left.
    held: u64,
    /// Anyway: headers, padding.
    stuck: u64,
}

/// Merges, one at a time.
pub(super) struct Merger {
    log: Arc<Log>,
    keydir: Arc<RwLock<Keydir>>,
    commits: Arc<GroupCommit>,
    options: Options,
    /// When only so many bytes are free, little dead space is worth a merge.
    reserve: u64,
    /// Held while a merge runs.
    running: Mutex<()>,
    stopped: Mutex<bool>,
    wake: Condvar,
    statistics: Mutex<MergeStatistics>,
    /// What the background does not get on with, and why.
    trouble: Mutex<BTreeMap<&'static str, String>>,
    /// What is known of the segments that merges wrote. Of others all that is not live is taken for dead; the first
    /// merge of them tells.
    residues: Mutex<HashMap<u32, Residue>>,
    /// Segments that are left alone.
    damaged: Mutex<HashSet<u32>>,
    /// Whether the start could not read everything.
    unread: bool,
    /// Segments that could not be read, and until when they are left alone.
    resting: Mutex<HashMap<u32, Instant>>,
    /// Segments that merges have made and that hardly took less room than what they were made of.
    futile: Mutex<HashSet<u32>>,
}

impl Store {
    /// Merges once, if there is a run of segments worth it by [`Options::merge`]. Returns whether there was.
    ///
    /// # Errors
    /// Those of the log. [`Error::NoSpace`] leaves everything as it was.
    pub fn merge(&self) -> Result<bool, Error> {
        self.check_writable()?;
        self.merger.merge_due()
    }

    /// Joins the small extents that many overwrites have left of values, and merges until no run of segments has more than
    /// a tenth of its bytes dead.
    ///
    /// # Errors
    /// As [`Store::merge`].
    pub fn compact(&self) -> Result<(), Error> {
        self.compact_at(self.options.merge.rate)
    }

    /// The same, reading so many bytes a second.
    ///
    /// # Errors
    /// As [`Store::merge`].
    pub fn compact_at(&self, rate: Option<NonZeroU64>) -> Result<(), Error> {
        self.compact_while(rate, &mut || true).map(drop)
    }

    /// The same, for as long as it is wanted, which is asked after each merge and each piece that is joined; without a rate at that of the options. Returns
    /// whether it came to its end.
    ///
    /// # Errors
    /// As [`Store::merge`].
    pub fn compact_while(&self, rate: Option<NonZeroU64>, wanted: &mut dyn FnMut() -> bool) -> Result<bool, Error> {
        self.check_writable()?;
        let mut throttle = Throttle::new(rate.or(self.options.merge.rate));
        self.merger.join(&Crumbs::ASKED, &mut throttle, wanted)?;
        while self.merger.merge_within(&self.merger.limits().compact(), &mut throttle)? {
            if !wanted() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Joins the small extents of values that were last changed by this sequence number or before it, as a store does by
    /// itself. Returns how many bytes it wrote.
    #[cfg(test)]
    pub(super) fn join_rested(&self, rested: u64) -> Result<u64, Error> {
        self.merger.join(&Crumbs::at_rest(rested), &mut Throttle::new(None), &mut || true)
    }

    /// What [`Store::compact`] would do now, as far as can be told without reading.
    pub fn planned_compaction(&self) -> Vec<PlannedMerge> {
        self.merger.planned_compaction()
    }

    /// Merges `count` sealed segments from the `first` on, in order of sequence numbers, whatever is dead in them.
    /// Returns whether there were any that may be merged.
    ///
    /// # Errors
    /// As [`Store::merge`].
    pub fn merge_run(&self, first: usize, count: usize) -> Result<bool, Error> {
        self.check_writable()?;
        self.merger.check_unread()?;
        let _alone = self.merger.running.lock();
        let candidates = self.merger.candidates();
        let run = first..first.saturating_add(count).min(candidates.len());
        let chosen = candidates.get(run.clone()).unwrap_or_default();
        if chosen.is_empty() || !chosen.iter().all(|candidate| candidate.allowed) {
            return Ok(false);
        }
        self.merger.run_merge(&candidates, run, &mut Throttle::new(None)).map(|()| true)
    }

    /// What merging has done since the store was opened.
    pub fn merge_statistics(&self) -> MergeStatistics {
        *self.merger.statistics.lock()
    }

    /// What of the work in the background fails, and is tried again later: `None` if all goes well.
    pub(super) fn background_trouble(&self) -> Option<String> {
        let trouble = self.merger.trouble.lock();
        let lines: Vec<String> = trouble.iter().map(|(what, why)| format!("{what}: {why}")).collect();
        (!lines.is_empty()).then(|| lines.join("; "))
    }

    /// Ends merging for as long as the store is open: a merge that is under way is given up. Dropping the store does so
    /// too.
    pub fn stop_merging(&self) {
        self.merger.stop();
    }
}

impl Merger {
    pub(super) fn new(
        log: Arc<Log>,
        keydir: Arc<RwLock<Keydir>>,
        commits: Arc<GroupCommit>,
        options: Options,
        reserve: u64,
        report: &RecoveryReport,
    ) -> Merger {
        Merger {
            log,
            keydir,
            commits,
            options,
            reserve,
            running: Mutex::default(),
            stopped: Mutex::default(),
            wake: Condvar::new(),
            statistics: Mutex::default(),
            trouble: Mutex::default(),
            residues: Mutex::default(),
            damaged: Mutex::new(report.damage.iter().map(|damage| damage.location.segment).collect()),
            unread: !report.unread.is_empty(),
            resting: Mutex::default(),
            futile: Mutex::default(),
        }
    }

    /// Gives up a merge that is under way, and begins no other.
    pub(super) fn stop(&self) {
        *self.stopped.lock() = true;
        self.wake.notify_all();
    }

    /// Whether merges would drop what may be wanted by what the start could not read.
    ///
    /// # Errors
    /// [`Error::Unread`] if so.
    fn check_unread(&self) -> Result<(), Error> {
        match self.unread {
            true => Err(Error::Unread("nothing is merged")),
            false => Ok(()),
        }
    }

    /// Waits for so long. True if there is to be no merge any more.
    fn pause(&self, time: Duration) -> bool {
        let mut stopped = self.stopped.lock();
        self.wake.wait_while_for(&mut stopped, |stopped| !*stopped, time);
        *stopped
    }

    fn limits(&self) -> Limits {
        Limits::of(&self.options.merge, self.log.segment_size())
    }

    /// Free bytes that may be used, the reserve among them: it is there for this.
    fn room(&self) -> Result<u64, Error> {
        let space = self.log.medium().space();
        let space = space.map_err(|source| io_error("asking the medium for its free space", source))?;
        // A filesystem that reports no size at all is not believed: the write itself will tell.
        Ok(if space.total == 0 { u64::MAX } else { space.available })
    }

    /// Merges once, if something is worth it by the store's own policy.
    fn merge_due(&self) -> Result<bool, Error> {
        let limits = self.limits();
        let scarce = self.room()? < self.reserve;
        let limits = if scarce { limits.compact() } else { limits };
        self.merge_within(&limits, &mut Throttle::new(self.options.merge.rate))
    }

    /// Merges once, if something is worth it within these limits.
    fn merge_within(&self, limits: &Limits, throttle: &mut Throttle) -> Result<bool, Error> {
        self.check_unread()?;
        let _alone = self.running.lock();
        if let Some(reason) = self.log.failure() {
            return Err(LogError::Failed(reason.to_owned()).into());
        }
        let candidates = self.candidates();
        let mut room = self.room()?;
        for _ in 0..ATTEMPTS {
            if let Some(run) = plan::choose(&candidates, &limits.with_room(room)) {
                match self.run_merge(&candidates, run, throttle) {
                    // Headers and whole blocks took more than was counted.
                    Err(Error::NoSpace | Error::Log(LogError::NotDurable)) => room /= 2,
                    other => return other.map(|()| true),
                }
            } else if plan::choose(&candidates, limits).is_none() {
                return Ok(false);
            }
            // Something is worth it, and there is no room for what it would write.
            if self.log.give_up_reserve() {
                room = self.room()?;
            }
        }
        Err(Error::NoSpace)
    }

    fn planned_compaction(&self) -> Vec<PlannedMerge> {
        if self.unread {
            return Vec::new();
        }
        let limits = self.limits().compact();
        let mut candidates = self.candidates();
        let mut planned = Vec::new();
        while let Some(run) = plan::choose(&candidates, &limits) {
            let taken: Vec<Candidate> = candidates.drain(run.clone()).collect();
            let copied = taken.iter().map(|candidate| candidate.cost(run.start == 0)).sum();
            let made = taken.iter().filter(|candidate| candidate.segment.id != 0);
            planned.push(PlannedMerge {
                segments: made.map(|candidate| candidate.segment.id).collect(),
                bytes: taken.iter().map(|candidate| candidate.segment.end).sum(),
                copied,
            });
            if let Some(first) = taken.first().filter(|_| copied > 0) {
                let segment = SealedSegment { id: 0, end: copied, ..first.segment };
                candidates.insert(
                    run.start,
                    Candidate { segment, live: copied, borrowed: 0, held: 0, stuck: 0, allowed: true },
                );
            }
        }
        planned
    }

    /// The segments that a merge may choose from, in order of sequence numbers.
    fn candidates(&self) -> Vec<Candidate> {
        let segments = self.log.sealed();
        let keydir = self.keydir.read();
        let staged = keydir.staged_segments();
        let (residues, damaged, futile) = (self.residues.lock(), self.damaged.lock(), self.futile.lock());
        let mut resting = self.resting.lock();
        let now = Instant::now();
        resting.retain(|_, until| *until > now);
        let candidate = |segment: SealedSegment| {
            let Residue { held, stuck } = residues.get(&segment.id).copied().unwrap_or_default();
            let Live { bytes: live, borrowed } = keydir.usage.live(segment.id);
            let allowed = !staged.contains(&segment.id) && !damaged.contains(&segment.id);
            let allowed = allowed && !futile.contains(&segment.id) && !resting.contains_key(&segment.id);
            Candidate { segment, live, borrowed, held, stuck, allowed }
        };
        segments.into_iter().map(candidate).collect()
    }

    fn run_merge(&self, candidates: &[Candidate], run: Range<usize>, throttle: &mut Throttle) -> Result<(), Error> {
        let oldest = run.start == 0;
        let run: Vec<SealedSegment> =
            candidates.get(run).unwrap_or_default().iter().map(|candidate| candidate.segment).collect();
        let inputs: Vec<u32> = run.iter().map(|segment| segment.id).collect();
        let closed = {
            // Whoever is about to stage a share has looked already.
            let _writer = self.log.begin()?;
            self.keydir.write().close_segments(&inputs)
        };
        if !closed {
            // Staged since the run was chosen.
            return Ok(());
        }
        let merged = self.merge_closed(&run, &inputs, oldest, throttle);
        self.keydir.write().reopen_segments(&inputs);
        merged
    }

    /// Merges segments from which nothing more is borrowed.
    fn merge_closed(
        &self,
        run: &[SealedSegment],
        inputs: &[u32],
        oldest: bool,
        throttle: &mut Throttle,
    ) -> Result<(), Error> {
        let mut owned = 0;
        let unreadable = make_own(&self.log, &self.keydir, inputs, &mut |bytes| {
            owned += bytes;
            self.rest(bytes, throttle)
        })?;
        if !unreadable.is_empty() {
            unreadable.iter().for_each(|unreadable| self.leave_alone(unreadable.segment, unreadable.is_damaged));
            return Ok(());
        }
        let mut copier = Copier::new(self, run, oldest);
        for segment in run {
            match self.copy(segment, &mut copier, throttle) {
                Ok(Condition::Whole) => {}
                Ok(condition) => {
                    copier.give_up();
                    self.leave_alone(segment.id, condition == Condition::Damaged);
                    return Ok(());
                }
                Err(error) => {
                    copier.give_up();
                    return Err(error);
                }
            }
        }
        // What made records dead must not be lost when they are gone.
        if let Err(error) = self.commits.wait(self.log.written()) {
            copier.give_up();
            return Err(error);
        }
        let outputs = copier.install(run)?;
        self.log.drop_segments(inputs);
        let mut keydir = self.keydir.write();
        inputs.iter().for_each(|id| keydir.forget_segment(*id));
        drop(keydir);
        let mut residues = self.residues.lock();
        residues.retain(|id, _| !inputs.contains(id));
        residues.extend(outputs.iter().map(|(output, residue)| (output.id, *residue)));
        drop(residues);
        let read: u64 = run.iter().map(|segment| segment.end).sum();
        let written = outputs.iter().map(|(output, _)| output.end).sum::<u64>() + owned;
        let mut futile = self.futile.lock();
        match outputs.len() >= run.len() && written * 10 > read * 9 {
            // It hardly shrank, whatever was counted on: not again until another merge has shown more.
            true => futile.extend(outputs.iter().map(|(output, _)| output.id)),
            false => futile.clear(),
        }
        drop(futile);
        log::info!("merged segments {inputs:?}: {} bytes came back of {read}", read.saturating_sub(written));
        let mut statistics = self.statistics.lock();
        statistics.merges += 1;
        statistics.bytes_read += read;
        statistics.bytes_written += written;
        Ok(())
    }

    /// After so many bytes: waits as long as the rate demands.
    fn rest(&self, bytes: u64, throttle: &mut Throttle) -> Result<(), Error> {
        let wait = throttle.spend(bytes, Instant::now());
        match self.pause(wait.unwrap_or(Duration::ZERO)) {
            true => Err(Error::Closing),
            false => Ok(()),
        }
    }

    /// Does not merge a segment any more, or not for a while if it could not be read.
    fn leave_alone(&self, segment: u32, is_damaged: bool) {
        match is_damaged {
            true => drop(self.damaged.lock().insert(segment)),
            false => drop(self.resting.lock().insert(segment, Instant::now() + REST)),
        }
    }

    /// Copies what is live of a segment, if that is whole.
    fn copy(
        &self,
        segment: &SealedSegment,
        copier: &mut Copier<'_>,
        throttle: &mut Throttle,
    ) -> Result<Condition, Error> {
        let missing = self.log.visit_sealed(segment, &mut |header, from, body| {
            self.rest(header.record_len(), throttle)?;
            copier.record(header, from, body)
        })?;
        Ok(match missing {
            None => Condition::Whole,
            Some(Missing { damage, unread: false }) => {
                log::error!("segment {} is damaged at {}: it is not merged", segment.id, damage.location);
                Condition::Damaged
            }
            Some(Missing { damage, unread: true }) => {
                log::warn!("segment {} cannot be read at {}: it is not merged now", segment.id, damage.location);
                Condition::Unread
            }
        })
    }
}
