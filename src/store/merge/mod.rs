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
//! * A segment with a damaged record is never merged: what is behind the damage may yet be wanted.

mod copy;
mod plan;

use hashbrown::HashSet;
use parking_lot::Mutex;

use super::usage::Usage;
use super::{Error, Store};
use crate::log::{Error as LogError, SealedSegment};
use copy::Copier;

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

/// The state of merging.
#[derive(Debug, Default)]
pub(super) struct Merger {
    /// Held while a merge runs.
    running: Mutex<()>,
    statistics: Mutex<MergeStatistics>,
    /// Segments that are left alone: damaged, or found to be all live although they looked otherwise.
    left_alone: Mutex<HashSet<u32>>,
}

impl Store {
    /// Merges once, if there is a run of segments worth it. Returns whether there was.
    ///
    /// # Errors
    /// Those of the log. [`Error::NoSpace`] leaves everything as it was.
    pub fn merge(&self) -> Result<bool, Error> {
        self.merge_with(plan::TRIGGER)
    }

    /// Merges until no run of segments has more than a tenth of its bytes dead.
    ///
    /// # Errors
    /// As [`Store::merge`].
    pub fn compact(&self) -> Result<(), Error> {
        while self.merge_with(plan::COMPACT)? {}
        Ok(())
    }

    /// Merges `count` sealed segments from the `first` on, in order of sequence numbers, whatever is dead in them.
    /// Returns whether there were any that may be merged.
    ///
    /// # Errors
    /// As [`Store::merge`].
    pub fn merge_run(&self, first: usize, count: usize) -> Result<bool, Error> {
        self.merge_chosen(|segments, _, untouchable| {
            let run = segments.get(first..first.saturating_add(count).min(segments.len()))?;
            let allowed = !run.is_empty() && run.iter().all(|segment| !untouchable.contains(&segment.id));
            allowed.then(|| run.to_vec())
        })
    }

    /// What merging has done since the store was opened.
    pub fn merge_statistics(&self) -> MergeStatistics {
        *self.merger.statistics.lock()
    }

    fn merge_with(&self, trigger: f64) -> Result<bool, Error> {
        let size = self.log.segment_size();
        self.merge_chosen(|segments, usage, untouchable| plan::choose(segments, usage, untouchable, trigger, size))
    }

    fn merge_chosen(
        &self,
        choose: impl FnOnce(&[SealedSegment], &Usage, &HashSet<u32>) -> Option<Vec<SealedSegment>>,
    ) -> Result<bool, Error> {
        let _alone = self.merger.running.lock();
        self.check_writable()?;
        let (run, oldest) = {
            let segments = self.log.sealed();
            let keydir = self.keydir.read();
            let mut untouchable = keydir.staged_segments();
            untouchable.extend(self.merger.left_alone.lock().iter());
            let Some(run) = choose(&segments, &keydir.usage, &untouchable) else { return Ok(false) };
            let oldest = segments.first() == run.first();
            (run, oldest)
        };
        let size: u64 = run.iter().map(|segment| segment.end).sum();
        // What it writes at most, it gives back in the end; the reserve is there for this.
        if self.space()?.available < size {
            return Err(Error::NoSpace);
        }
        self.run_merge(&run, oldest, size).map(|()| true)
    }

    fn run_merge(&self, run: &[SealedSegment], oldest: bool, size: u64) -> Result<(), Error> {
        let mut copier = Copier::new(self, run, oldest);
        for segment in run {
            let damage = self.log.visit_sealed(segment, &mut |header, from, body| copier.record(header, from, body));
            match damage {
                Ok(None) => {}
                Ok(Some(damage)) => {
                    log::error!("segment {} is damaged at {}: it is not merged", segment.id, damage.location);
                    copier.give_up();
                    self.merger.left_alone.lock().insert(segment.id);
                    return Ok(());
                }
                Err(error) => {
                    copier.give_up();
                    return Err(error);
                }
            }
        }
        // What made records dead must not be lost when they are gone.
        if let Err(error) = self.sync() {
            copier.give_up();
            return Err(error);
        }
        let written = copier.written();
        let outputs = copier.install(run)?;
        let inputs: Vec<u32> = run.iter().map(|segment| segment.id).collect();
        self.log.drop_segments(&inputs);
        let mut keydir = self.keydir.write();
        inputs.iter().for_each(|id| keydir.usage.forget(*id));
        drop(keydir);
        if written * 10 > size * 9 {
            // It hardly shrank: tombstones and holes that must stay look dead. Not again until something changes.
            self.merger.left_alone.lock().extend(outputs);
        } else {
            self.merger.left_alone.lock().clear();
        }
        let mut statistics = self.merger.statistics.lock();
        statistics.merges += 1;
        statistics.bytes_read += size;
        statistics.bytes_written += written;
        Ok(())
    }
}

/// Whether a merge has moved what was read: it is to be looked for again.
pub(super) fn is_moved(error: &Error) -> bool {
    matches!(error, Error::Log(LogError::Moved))
}
