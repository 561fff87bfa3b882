//! How far the log is written: what the thread that syncs, and whoever asks for figures, need of the writer. Its lock is held
//! for moments, also while a transaction is open.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::segment::Segment;
use super::writer::Retired;

/// How far the log is written.
#[derive(Debug)]
pub(super) struct Written {
    state: Mutex<State>,
    /// That of the state, for who wants no more.
    sequence: AtomicU64,
}

#[derive(Debug)]
struct State {
    /// The last sequence number given out.
    sequence: u64,
    /// The active segment and where its records end.
    active: Option<(Arc<Segment>, u64)>,
    /// Segments that are full, and not yet synced and sealed.
    retired: Vec<Retired>,
}

/// What a sync must cover. The retired segments are handed over: the caller seals them.
pub(super) struct Unsynced {
    pub(super) sequence: u64,
    pub(super) retired: Vec<Retired>,
    pub(super) active: Option<Arc<Segment>>,
}

impl Written {
    pub(super) fn new(sequence: u64, active: Option<(Arc<Segment>, u64)>) -> Written {
        let state = Mutex::new(State { sequence, active, retired: Vec::new() });
        Written { state, sequence: AtomicU64::new(sequence) }
    }

    /// The highest sequence number given out.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence.load(Ordering::Acquire)
    }

    /// The active segment's number and where its records end.
    pub(super) fn position(&self) -> (u32, u64) {
        self.state.lock().active.as_ref().map_or((0, 0), |(segment, end)| (segment.id, *end))
    }

    /// A transaction stands in the active segment, up to `end`.
    pub(super) fn appended(&self, sequence: u64, end: u64) {
        let mut state = self.state.lock();
        state.sequence = sequence;
        if let Some((_, offset)) = &mut state.active {
            *offset = end;
        }
        self.sequence.store(sequence, Ordering::Release);
    }

    /// The writer goes on in another segment. Returns how many are retired.
    pub(super) fn rotated(&self, retired: Option<Retired>, active: Arc<Segment>, start: u64) -> usize {
        let mut state = self.state.lock();
        state.retired.extend(retired);
        state.active = Some((active, start));
        state.retired.len()
    }

    pub(super) fn unsynced(&self) -> Unsynced {
        let mut state = self.state.lock();
        let active = state.active.as_ref().map(|(segment, _)| Arc::clone(segment));
        Unsynced { sequence: state.sequence, retired: std::mem::take(&mut state.retired), active }
    }

    /// Takes back retired segments that could not be sealed, in front of those that were retired meanwhile.
    pub(super) fn retire_again(&self, mut retired: Vec<Retired>) {
        let mut state = self.state.lock();
        retired.append(&mut state.retired);
        state.retired = retired;
    }
}
