//! Which segments to merge.

use hashbrown::HashSet;

use crate::log::SealedSegment;
use crate::store::usage::Usage;

/// A segment with so great a part of dead bytes starts a merge,
pub(super) const TRIGGER: f64 = 0.5;
/// or, when an operator asks for it, with so great a one.
pub(super) const COMPACT: f64 = 0.1;

/// Its neighbours go along from a lower part on: 0.6 of that which started it.
const ALONG: f64 = 0.6;
/// So many segments at most.
const MOST: usize = 8;

/// The run of neighbouring segments that is most worth merging, if any is.
pub(super) fn choose(
    segments: &[SealedSegment],
    usage: &Usage,
    untouchable: &HashSet<u32>,
    trigger: f64,
    segment_size: u32,
) -> Option<Vec<SealedSegment>> {
    let dead = |segment: &SealedSegment| {
        if untouchable.contains(&segment.id) {
            return -1.0;
        }
        1.0 - usage.live(segment.id) as f64 / segment.end.max(1) as f64
    };
    let parts: Vec<f64> = segments.iter().map(dead).collect();
    // The one with the greatest part of dead bytes; of equals the oldest, so that tombstones go.
    let worst = (0..parts.len()).reduce(|best, next| if parts.get(next) > parts.get(best) { next } else { best })?;
    let worst_part = parts.get(worst).copied()?;
    if worst_part < trigger {
        return None;
    }
    // Small ones go along too, so that merges do not leave crumbs.
    let small = |index: usize| segments.get(index).is_some_and(|segment| segment.end < u64::from(segment_size) / 4);
    let joins =
        |index: usize| parts.get(index).is_some_and(|part| *part >= trigger * ALONG || (*part >= 0.0 && small(index)));
    let (mut first, mut last) = (worst, worst);
    while last - first + 1 < MOST {
        if first > 0 && joins(first - 1) {
            first -= 1;
        } else if joins(last + 1) {
            last += 1;
        } else {
            break;
        }
    }
    segments.get(first..=last).map(<[SealedSegment]>::to_vec)
}
