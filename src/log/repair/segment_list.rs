//! The list of segments, made from the segments themselves: for a manifest that is lost.
//!
//! What makes it less than simple:
//! * *Merges.* The outputs of one that was not finished lie beside its inputs, or the inputs of a finished one beside its
//!   outputs. Read both, and a key that was removed may come back: so one side goes. As long as every record of the
//!   outputs is found in the inputs these are taken: they hold at least as much. Otherwise an input is gone already, so
//!   the merge was finished, and the outputs are whole. (Inputs go the oldest first. What made a dead record dead is
//!   younger, and so never goes before it.)
//! * *Torn tails.* Where one was cut off the numbers were given again, and the torn records still stand there. They are
//!   known by the segments that have these numbers now.
//! * *What was being written.* A segment of which some record was not called durable by any other may have a torn tail.
//!   It counts as unsealed, and recovery tells.

use super::contents::Contents;
use crate::log::manifest::{Sealed, SegmentList};

/// Which segments there are, and which are left out, each with the reason.
pub(super) fn segment_list(mut found: Vec<Contents>) -> (SegmentList, Vec<(u32, &'static str)>) {
    found.sort_by_key(|contents| contents.id);
    cut_torn_tails(&mut found);
    let left_out = choose_between_copies(&mut found);
    let durable = found.iter().filter(|contents| !contents.merged).map(|contents| contents.durable).max().unwrap_or(0);
    let unproven = |contents: &&Contents| {
        !contents.merged
            && !contents.linked
            && contents.sealed.is_none()
            && contents.last().is_some_and(|last| last > durable)
    };
    let unsealed_from = found.iter().find(unproven).map_or(u32::MAX, |contents| contents.id);
    let mut list = SegmentList::new();
    for contents in &found {
        let entry = match (contents.first(), contents.last()) {
            _ if contents.sealed.is_some() => contents.sealed,
            (Some(_), Some(_)) if !contents.merged && !contents.linked && contents.id >= unsealed_from => None,
            (Some(first_sequence), Some(last_sequence)) => {
                Some(Sealed { end: contents.filled, first_sequence, last_sequence })
            }
            // Nothing was written to it yet.
            _ => None,
        };
        list.insert(contents.id, entry);
    }
    (list, left_out)
}

/// Forgets the records of torn tails that were cut off, where others have their numbers.
fn cut_torn_tails(found: &mut [Contents]) {
    for index in 0..found.len() {
        let (_, rest) = found.split_at_mut(index);
        let Some((contents, after)) = rest.split_first_mut() else { return };
        let (Some(gap), Some(last)) = (contents.doubt, contents.last()) else { continue };
        let has_them = |other: &Contents| {
            other.first().is_some_and(|first| first <= last) && other.last().is_some_and(|last| last >= gap.due)
        };
        // A segment has a higher number than those from which its records were copied.
        if after.iter().any(has_them) {
            contents.cut(gap);
        }
    }
}

/// Where a merge's outputs and inputs are both there, leaves one side out.
fn choose_between_copies(found: &mut Vec<Contents>) -> Vec<(u32, &'static str)> {
    let mut left_out: Vec<(u32, &'static str)> = Vec::new();
    let outputs: Vec<u32> = found.iter().rev().filter(|contents| contents.merged).map(|contents| contents.id).collect();
    for output in outputs {
        let there = |id: u32| found.iter().find(|contents| contents.id == id);
        let Some(newest) = there(output) else { continue };
        let inputs: Vec<&Contents> = found.iter().filter(|other| other.id < output && other.overlaps(newest)).collect();
        let Some(highest) = inputs.iter().map(|input| input.id).max() else { continue };
        // The outputs of one merge stand or fall together.
        let of_these = |contents: &&Contents| {
            contents.merged && contents.id > highest && inputs.iter().any(|input| input.overlaps(contents))
        };
        let siblings: Vec<&Contents> = found.iter().filter(of_these).collect();
        let inputs: Vec<&Contents> = found
            .iter()
            .filter(|other| other.id <= highest && siblings.iter().any(|sibling| sibling.overlaps(other)))
            .collect();
        let rows = joined(inputs.iter().flat_map(|input| input.rows.iter().copied()).collect());
        let is_there = |(first, last): &(u64, u64)| {
            let row = rows.partition_point(|(_, end)| end < first);
            rows.get(row).is_some_and(|(start, end)| start <= first && last <= end)
        };
        let copied = |contents: &&Contents| contents.rows.iter().all(is_there);
        let (gone, why): (Vec<u32>, _) = match siblings.iter().all(copied) {
            true => (siblings.iter().map(|one| one.id).collect(), "a copy: the merge that made it was not finished"),
            false => (inputs.iter().map(|one| one.id).collect(), "it was merged: others hold what was live in it"),
        };
        found.retain(|contents| !gone.contains(&contents.id));
        left_out.extend(gone.into_iter().map(|id| (id, why)));
    }
    left_out
}

/// Rows of sequence numbers in order, those that follow one another made one.
fn joined(mut rows: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    rows.sort_unstable();
    rows.dedup_by(|next, last| {
        let joins = next.0 <= last.1.saturating_add(1);
        last.1 = if joins { last.1.max(next.1) } else { last.1 };
        joins
    });
    rows
}
