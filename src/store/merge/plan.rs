//! Which segments to merge: neighbours in order of sequence numbers, chosen by what they cost and what they give back.
//!
//! Of segments of which a fraction `d` is dead, copying the rest costs `(1 - d) / d` bytes for each byte that comes back.
//! So the one with the greatest part of dead bytes is merged (greedy), as late as the disk allows: not before its trigger
//! is reached, unless half of all is dead. A run is as long as its copies fill about one segment, or an eighth of what is
//! live: shorter ones wait for syncs more than they copy, longer ones need too much room.

use std::ops::Range;

use super::policy::{DeadSpace, MergePolicy};
use crate::log::SealedSegment;

/// When so great a part of all that may be merged is dead, a segment of which as much is dead starts a merge: so that
/// the log is at most twice what is live.
const WHOLE: f64 = 0.5;
/// When an operator asks for it, or little room is left, so much of a segment is enough.
const COMPACT: DeadSpace = DeadSpace { fraction: 0.1, bytes: u64::MAX };
/// So many small ones in a row start a merge: fewer would copy the same bytes too often.
const CRUMBS: usize = 4;
/// So many segments at most, however little is live in them.
const MOST: usize = 64;
/// A run copies at most one part of so many of what is live,
const PART: u64 = 8;
/// and so many bytes, or a segment.
const LONGEST: u64 = 256 << 20;

/// A segment, and what a merge of it costs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) segment: SealedSegment,
    /// Bytes that are live, counted for each value that has them.
    pub(super) live: u64,
    /// Those of them that are borrowed.
    pub(super) borrowed: u64,
    /// Bytes that nobody reads, and that stay as long as something older may be left: tombstones, holes.
    pub(super) held: u64,
    /// Bytes that nobody reads, and that a merge has found to stay anyway.
    pub(super) stuck: u64,
    /// Whether it may be merged at all.
    pub(super) allowed: bool,
}

impl Candidate {
    /// Bytes that a merge would copy; `oldest` if nothing older is left beside it.
    pub(super) fn cost(&self, oldest: bool) -> u64 {
        let held = if oldest { 0 } else { self.held };
        let cost = self.live + held + self.stuck;
        // Of what is borrowed each borrower gets a copy, however much that is.
        if self.borrowed > 0 { cost } else { cost.min(self.segment.end) }
    }

    /// Bytes that would come back.
    fn dead(&self, oldest: bool) -> u64 {
        self.segment.end.saturating_sub(self.cost(oldest))
    }

    /// Whether it is worth a merge for being small alone. Not if something is borrowed from it: copies for each borrower take
    /// more than a file.
    fn is_small(&self, limits: &Limits) -> bool {
        self.segment.end < limits.small && self.borrowed == 0
    }

    fn fraction(&self, oldest: bool) -> f64 {
        self.dead(oldest) as f64 / self.segment.end.max(1) as f64
    }
}

/// What is worth a merge.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    trigger: DeadSpace,
    threshold: DeadSpace,
    small: u64,
    segment_size: u64,
    /// Bytes that a merge may write.
    room: u64,
}

impl Limits {
    /// Those of a store that merges by itself.
    pub(super) fn of(policy: &MergePolicy, segment_size: u32) -> Limits {
        let segment_size = u64::from(segment_size);
        Limits {
            trigger: policy.trigger,
            threshold: policy.threshold,
            small: policy.small.min(segment_size / 4),
            segment_size,
            room: u64::MAX,
        }
    }

    /// Those of a store that is to become as small as is sensible.
    pub(super) fn compact(self) -> Limits {
        Limits { trigger: COMPACT, threshold: COMPACT, ..self }
    }

    /// For a merge that may write so many bytes.
    pub(super) fn with_room(self, room: u64) -> Limits {
        Limits { room, ..self }
    }

    /// The most that a run may copy.
    fn most(&self, candidates: &[Candidate]) -> u64 {
        let live: u64 = candidates.iter().map(|candidate| candidate.cost(false)).sum();
        // Something less than a segment: headers make copies a little longer.
        let segment = self.segment_size - self.segment_size / 16;
        (live / PART).min(LONGEST).max(segment).min(self.room)
    }
}

/// The run of neighbours that is most worth merging, if any is.
pub(super) fn choose(candidates: &[Candidate], limits: &Limits) -> Option<Range<usize>> {
    worst(candidates, limits).or_else(|| crumbs(candidates, limits)).or_else(|| tombstones(candidates, limits))
}

/// The segment with the greatest part of dead bytes and those beside it.
fn worst(candidates: &[Candidate], limits: &Limits) -> Option<Range<usize>> {
    let mut trigger = limits.trigger;
    let allowed = || candidates.iter().filter(|candidate| candidate.allowed);
    let (total, dead) = allowed()
        .fold((0, 0), |(total, dead), candidate| (total + candidate.segment.end, dead + candidate.dead(false)));
    if dead as f64 >= WHOLE * total as f64 {
        trigger.fraction = trigger.fraction.min(WHOLE);
    }
    let due = |(index, candidate): &(usize, &Candidate)| {
        let (dead, cost) = (candidate.dead(*index == 0), candidate.cost(*index == 0));
        candidate.allowed && cost <= limits.room && trigger.reached(dead, candidate.segment.end)
    };
    let due = candidates.iter().enumerate().filter(due);
    // Of equals the oldest, so that tombstones go.
    let (worst, first) = due.reduce(|best, next| match next.1.fraction(false) > best.1.fraction(best.0 == 0) {
        true => next,
        false => best,
    })?;
    let mut run = worst..worst + 1;
    let mut cost = first.cost(worst == 0);
    let most = limits.most(candidates);
    while run.len() < MOST {
        let joins = |index: Option<usize>| {
            let index = index?;
            let candidate = candidates.get(index)?;
            let (dead, end) = (candidate.dead(index == 0), candidate.segment.end);
            let wanted = limits.threshold.reached(dead, end) || candidate.is_small(limits);
            let fits = cost + candidate.cost(index == 0) <= most;
            (candidate.allowed && wanted && fits).then_some((index, candidate))
        };
        let (before, behind) = (joins(run.start.checked_sub(1)), joins(Some(run.end)));
        let (index, next) = match (before, behind) {
            (Some(before), Some(behind)) if behind.1.fraction(false) > before.1.fraction(before.0 == 0) => behind,
            (Some(before), _) => before,
            (None, Some(behind)) => behind,
            (None, None) => break,
        };
        cost += next.cost(index == 0);
        run = run.start.min(index)..run.end.max(index + 1);
    }
    Some(run)
}

/// Small segments in a row, as merges and restarts leave them: each is an open file.
fn crumbs(candidates: &[Candidate], limits: &Limits) -> Option<Range<usize>> {
    let mut run = 0..0;
    let mut cost = 0;
    let most = limits.most(candidates);
    for (index, candidate) in candidates.iter().enumerate() {
        let own = candidate.cost(false);
        if !candidate.allowed || !candidate.is_small(limits) {
            (run, cost) = (index + 1..index + 1, 0);
            continue;
        }
        if cost + own > most || run.len() == MOST {
            (run, cost) = (index..index, 0);
        }
        run.end = index + 1;
        cost += own;
        if run.len() >= CRUMBS {
            return Some(run);
        }
    }
    None
}

/// The oldest segments, as many as it takes for their tombstones to be worth it: these go with the oldest alone, and must
/// not pile up behind values that never die.
fn tombstones(candidates: &[Candidate], limits: &Limits) -> Option<Range<usize>> {
    let (mut total, mut cost, mut held) = (0, 0, 0);
    let mut best: Option<(f64, usize)> = None;
    let trigger = limits.trigger.fraction.min(WHOLE);
    for (index, candidate) in candidates.iter().enumerate() {
        total += candidate.segment.end;
        cost += candidate.cost(true);
        held += candidate.held;
        if !candidate.allowed || cost > limits.room {
            break;
        }
        let dead = total.saturating_sub(cost);
        let fraction = dead as f64 / total.max(1) as f64;
        if held > 0 && fraction >= trigger && best.is_none_or(|(best, _)| fraction > best) {
            best = Some((fraction, index + 1));
        }
    }
    best.map(|(_, end)| 0..end)
}
