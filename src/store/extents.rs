//! Where a value's bytes are in the log.

use std::ops::Range;
use std::sync::Arc;

use super::range_map::{Piece, RangeMap};
use super::record::MAX_EXTENT;
use super::usage::Usage;
use crate::log::Location;

/// A run of a value's bytes in one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// The record.
    pub(super) location: Location,
    /// Length of the record's body.
    pub(super) body_len: u32,
    /// Where in the body the run begins.
    pub(super) skip: u32,
    /// Sequence number of the record by which the run became part of the value: that of the one above, or that of a share
    /// record, which is younger.
    pub(super) sequence: u64,
    /// Sequence number of the record where the bytes stand.
    pub(super) source: u64,
}

impl Extent {
    /// A run in a record that is the entry's own.
    pub(super) fn own(location: Location, body_len: u32, skip: u32, sequence: u64) -> Extent {
        Extent { location, body_len, skip, sequence, source: sequence }
    }

    /// Whether the bytes stand in a record that was lent.
    pub(super) fn is_borrowed(&self) -> bool {
        self.source != self.sequence
    }
}

/// Runs of a value: which stretch each is, and where.
pub(super) type Runs = Vec<(Range<u64>, Extent)>;

impl Piece for Extent {
    fn advance(&mut self, bytes: u64) {
        self.skip = self.skip.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    fn truncate(&mut self, _bytes: u64) {}
}

/// The extents of a value. Most values have one, at their beginning.
#[derive(Clone, Debug, Default)]
pub(super) enum Extents {
    #[default]
    None,
    One(u64, Extent),
    /// Shared with those who read the value, and copied by whoever changes it while they do.
    Many(Arc<RangeMap<Extent>>),
}

impl Extents {
    /// Puts an extent where `range` says.
    pub(super) fn insert(&mut self, range: Range<u64>, extent: Extent, usage: &mut Usage) {
        self.uncount(range.clone(), usage);
        usage.add_extent(&extent, range.end.saturating_sub(range.start));
        match self {
            Extents::None if range.start == 0 && !range.is_empty() => *self = Extents::One(range.end, extent),
            Extents::One(len, _) if range.start == 0 && range.end >= *len => *self = Extents::One(range.end, extent),
            _ => self.map().insert(range, extent),
        }
    }

    /// Makes a stretch a hole.
    pub(super) fn remove(&mut self, range: Range<u64>, usage: &mut Usage) {
        self.uncount(range.clone(), usage);
        match self {
            Extents::None => {}
            Extents::One(len, _) if range.start >= *len || range.is_empty() => {}
            Extents::One(len, _) if range.end >= *len => match range.start {
                0 => *self = Extents::None,
                start => *len = start,
            },
            _ => self.map().remove(range),
        }
    }

    /// Drops what is older than `sequence`.
    pub(super) fn drop_older(&mut self, sequence: u64, usage: &mut Usage) {
        match self {
            Extents::None => {}
            Extents::One(len, extent) if extent.sequence < sequence => {
                usage.subtract_extent(extent, *len);
                *self = Extents::None;
            }
            Extents::One(..) => {}
            Extents::Many(map) => {
                let old = map.iter().filter(|(_, extent)| extent.sequence < sequence);
                old.for_each(|(place, extent)| usage.subtract_extent(extent, place.end - place.start));
                let some_stay = map.iter().any(|(_, extent)| extent.sequence >= sequence);
                match some_stay {
                    true => Arc::make_mut(map).retain(|extent| extent.sequence >= sequence),
                    // Nothing is copied for those who still read it.
                    false => *self = Extents::None,
                }
            }
        }
    }

    /// The stretches within `range` of the record with this sequence number.
    pub(super) fn of_record(&self, range: Range<u64>, sequence: u64) -> Runs {
        self.within(range).into_iter().filter(|(_, extent)| extent.sequence == sequence).collect()
    }

    /// Takes a stretch out of the count of live bytes.
    fn uncount(&self, range: Range<u64>, usage: &mut Usage) {
        for (place, extent) in self.within(range) {
            usage.subtract_extent(&extent, place.end - place.start);
        }
    }

    /// The extents in a stretch, clipped to it.
    pub(super) fn within(&self, range: Range<u64>) -> Runs {
        let clip = |(place, extent): (Range<u64>, &Extent)| {
            let clipped = place.start.max(range.start)..place.end.min(range.end);
            let mut extent = *extent;
            extent.advance(clipped.start - place.start);
            (clipped, extent)
        };
        match self {
            _ if range.is_empty() => Vec::new(),
            Extents::None => Vec::new(),
            Extents::One(len, extent) if range.start < *len => vec![clip((0..*len, extent))],
            Extents::One(..) => Vec::new(),
            Extents::Many(map) => map.overlapping(range.clone()).map(clip).collect(),
        }
    }

    /// The extents behind `start` of which `wanted` says yes, until they are so many bytes; a short one counts as a block.
    pub(super) fn some(&self, start: u64, most: u64, mut wanted: impl FnMut(&Extent) -> bool) -> Runs {
        const BLOCK: u64 = 4096;
        let mut bytes = 0u64;
        let mut found = Vec::new();
        let mut take = |(place, extent): (Range<u64>, &Extent)| {
            if bytes < most && wanted(extent) {
                bytes = bytes.saturating_add((place.end - place.start).max(BLOCK));
                found.push((place, *extent));
            }
            bytes < most
        };
        match self {
            Extents::None => {}
            Extents::One(len, extent) => drop((start < *len).then(|| take((0..*len, extent)))),
            Extents::Many(map) => drop(map.overlapping(start..u64::MAX).all(take)),
        }
        found
    }

    /// Small extents of the entry's own records from `start` on that follow one another, at least so many and as many as one
    /// record holds, and where they end. None of them if there are none among the next few thousand; `None` if there is
    /// nothing behind `start`.
    pub(super) fn crumbs(&self, start: u64, least: usize) -> Option<(Runs, u64)> {
        /// Extents looked at, so that no lock is held for long.
        const AT_ONCE: usize = 4096;
        let Extents::Many(map) = self else { return None };
        let mut group: Runs = Vec::new();
        let mut end = None;
        for (place, extent) in map.overlapping(start..u64::MAX).take(AT_ONCE) {
            let len = |group: &Runs| group.first().map_or(0, |(first, _)| place.end - first.start);
            let follows = group.last().is_some_and(|(last, _)| last.end == place.start);
            if !follows || extent.is_borrowed() || len(&group) > MAX_EXTENT as u64 {
                if group.len() >= least {
                    break;
                }
                group.clear();
            }
            end = Some(place.end);
            if !extent.is_borrowed() && len(&group).max(place.end - place.start) <= MAX_EXTENT as u64 {
                group.push((place, *extent));
            }
        }
        // The last ones may go on behind what was looked at; then they are shorter than they might be.
        let group = if group.len() >= least { group } else { Vec::new() };
        end.map(|end| (group, end))
    }

    /// The first byte at or behind `offset` that is in no hole.
    pub(super) fn first_data(&self, offset: u64) -> Option<u64> {
        match self {
            Extents::None => None,
            Extents::One(len, _) => (offset < *len).then_some(offset),
            Extents::Many(map) => map.first_data(offset),
        }
    }

    /// The first byte at or behind `offset` that is in a hole, or behind all extents.
    pub(super) fn first_hole(&self, offset: u64) -> u64 {
        match self {
            Extents::None => offset,
            Extents::One(len, _) => offset.max(*len),
            Extents::Many(map) => map.first_gap(offset),
        }
    }

    /// How many there are.
    pub(super) fn pieces(&self) -> usize {
        match self {
            Extents::None => 0,
            Extents::One(..) => 1,
            Extents::Many(map) => map.len(),
        }
    }

    /// By how many pieces more the value would be in, if these stretches, which do not overlap, were written or made holes;
    /// `replace`: with nothing else left of it. At most one too many for a hole.
    pub(super) fn more_pieces(&self, replace: bool, stretches: &[Range<u64>]) -> i64 {
        if replace {
            return stretches.len() as i64 - self.pieces() as i64;
        }
        let more = |stretch: &Range<u64>| {
            let (mut covered, mut cut) = (0, 0);
            // Clipped: what is shorter in the stretch is cut there.
            for (place, _) in self.pieces_over(stretch) {
                let (front, back) = (place.start < stretch.start, place.end > stretch.end);
                covered += i64::from(!front && !back);
                // The middle of a piece: it becomes two.
                cut += i64::from(front && back);
            }
            1 + cut - covered
        };
        stretches.iter().map(more).sum()
    }

    /// The pieces that reach into a stretch, unclipped.
    fn pieces_over(&self, stretch: &Range<u64>) -> Vec<(Range<u64>, Extent)> {
        match self {
            Extents::None => Vec::new(),
            Extents::One(len, extent) => {
                (stretch.start < *len && !stretch.is_empty()).then_some((0..*len, *extent)).into_iter().collect()
            }
            Extents::Many(map) => map.overlapping(stretch.clone()).map(|(place, extent)| (place, *extent)).collect(),
        }
    }

    /// Bytes that are not holes.
    pub(super) fn total(&self) -> u64 {
        match self {
            Extents::None => 0,
            Extents::One(len, _) => *len,
            Extents::Many(map) => map.total(),
        }
    }

    fn map(&mut self) -> &mut RangeMap<Extent> {
        if !matches!(self, Extents::Many(_)) {
            let mut map = RangeMap::default();
            if let Extents::One(len, extent) = *self {
                map.insert(0..len, extent);
            }
            *self = Extents::Many(Arc::new(map));
        }
        match self {
            Extents::Many(map) => Arc::make_mut(map),
            Extents::None | Extents::One(..) => unreachable!("made a map just above"),
        }
    }
}
