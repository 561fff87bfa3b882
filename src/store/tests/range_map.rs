//! Range maps and extents against the plainest model: what is at each single place.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::log::Location;
use crate::store::extents::{Extent, Extents};
use crate::store::usage::{Live, Usage};
use crate::store::{Piece, RangeMap};

/// Offsets in these tests are below this.
const END: u64 = 64;

/// A piece that knows which of its places it begins with, and how many it has.
#[derive(Clone, Debug, PartialEq)]
struct Tagged {
    tag: u32,
    first: u64,
    len: u64,
}

impl Piece for Tagged {
    fn advance(&mut self, bytes: u64) {
        self.first += bytes;
        self.len -= bytes;
    }

    fn truncate(&mut self, bytes: u64) {
        self.len = bytes;
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u64, u64),
    Remove(u64, u64),
    /// Keeps what has an even tag.
    Retain,
    /// Grows what ends at an offset, where nothing follows.
    Grow(u64, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let range = || (0..END, 0..END).prop_map(|(a, b)| (a.min(b), a.max(b)));
    prop_oneof![
        6 => range().prop_map(|(from, to)| Step::Insert(from, to)),
        3 => range().prop_map(|(from, to)| Step::Remove(from, to)),
        1 => Just(Step::Retain),
        2 => (0..END, 1..9u64).prop_map(|(at, by)| Step::Grow(at, by)),
    ]
}

/// What is at each place: the tag of the piece, and which of the piece's places it is.
type Naive = Vec<Option<(u32, u64)>>;

fn spread(map: &RangeMap<Tagged>) -> Naive {
    let mut naive: Naive = vec![None; 2 * END as usize];
    for (range, piece) in map.iter() {
        assert!(!range.is_empty());
        assert_eq!(range.end - range.start, piece.len, "{range:?} {piece:?}");
        for place in range.clone() {
            let slot = &mut naive[place as usize];
            assert_eq!(*slot, None, "overlap at {place}");
            *slot = Some((piece.tag, piece.first + place - range.start));
        }
    }
    naive
}

/// The first place from this one on where there is something, and the first where there is nothing.
fn firsts(naive: &Naive, from: u64) -> (Option<u64>, u64) {
    let places = || (from..2 * END).map(|place| (place, naive[place as usize]));
    let data = places().find(|(_, slot)| slot.is_some()).map(|(place, _)| place);
    (data, places().find(|(_, slot)| slot.is_none()).map_or(2 * END, |(place, _)| place))
}

proptest! {
    #[test]
    fn a_range_map_is_what_is_at_each_place(steps in vec(step(), 1..60), window in (0..END, 0..END)) {
        let mut map: RangeMap<Tagged> = RangeMap::default();
        let mut naive: Naive = vec![None; 2 * END as usize];
        for (tag, step) in (0..).zip(steps) {
            match step {
                Step::Insert(from, to) => {
                    map.insert(from..to, Tagged { tag, first: 0, len: to - from });
                    (from..to).for_each(|place| naive[place as usize] = Some((tag, place - from)));
                }
                Step::Remove(from, to) => {
                    map.remove(from..to);
                    (from..to).for_each(|place| naive[place as usize] = None);
                }
                Step::Retain => {
                    map.retain(|piece| piece.tag % 2 == 0);
                    naive.iter_mut().for_each(|slot| *slot = slot.filter(|(tag, _)| tag % 2 == 0));
                }
                Step::Grow(at, by) => {
                    map.remove(at..at + by);
                    (at..at + by).for_each(|place| naive[place as usize] = None);
                    if let Some((start, piece)) = map.ending_at(at) {
                        piece.len += by;
                        let (tag, first) = (piece.tag, piece.first);
                        map.extended(start, by);
                        (at..at + by).for_each(|place| naive[place as usize] = Some((tag, first + place - start)));
                    }
                }
            }
            prop_assert_eq!(&spread(&map), &naive);
            prop_assert_eq!(map.total(), naive.iter().flatten().count() as u64);
            prop_assert_eq!(map.len(), map.iter().count());
            prop_assert_eq!(map.is_empty(), map.iter().next().is_none());
            for from in 0..2 * END {
                let (data, gap) = firsts(&naive, from);
                prop_assert_eq!((map.first_data(from), map.first_gap(from)), (data, gap), "from {}", from);
            }
        }
        let (from, to) = (window.0.min(window.1), window.0.max(window.1));
        let touched: Vec<_> = map.overlapping(from..to).map(|(range, piece)| (range, piece.clone())).collect();
        let expected: Vec<_> = map
            .iter()
            .filter(|(range, _)| range.start < to && range.end > from && from < to)
            .map(|(range, piece)| (range, piece.clone()))
            .collect();
        if from < to {
            prop_assert_eq!(touched, expected);
        }
    }

    /// The extents of a value, with their shortcut for the value that has one.
    #[test]
    fn extents_are_what_is_at_each_place(steps in vec((step(), any::<bool>()), 1..40), window in (0..END, 0..END)) {
        let mut extents = Extents::default();
        let mut usage = Usage::default();
        let mut naive: Naive = vec![None; 2 * END as usize];
        for (sequence, (step, from_the_start)) in (1..).zip(steps) {
            let begin = |from| if from_the_start { 0 } else { from };
            match step {
                Step::Insert(from, to) => {
                    let from = begin(from);
                    let location = Location { segment: 1, offset: 0 };
                    let source = sequence - sequence % 2;
                    let extent = Extent { source, ..Extent::own(location, 99, 0, sequence) };
                    extents.insert(from..to, extent, &mut usage);
                    (from..to).for_each(|place| naive[place as usize] = Some((sequence as u32, place - from)));
                }
                Step::Remove(from, to) | Step::Grow(from, to) => {
                    let (from, to) = (begin(from), to.max(from));
                    extents.remove(from..to, &mut usage);
                    (from..to).for_each(|place| naive[place as usize] = None);
                }
                Step::Retain => {
                    let oldest = sequence.saturating_sub(3);
                    extents.drop_older(oldest, &mut usage);
                    naive.iter_mut().for_each(|slot| *slot = slot.filter(|(tag, _)| u64::from(*tag) >= oldest));
                }
            }
            let mut found: Naive = vec![None; 2 * END as usize];
            for (range, extent) in extents.within(0..u64::MAX) {
                for place in range.clone() {
                    let nth = u64::from(extent.skip) + place - range.start;
                    prop_assert_eq!(found[place as usize].replace((extent.sequence as u32, nth)), None);
                }
            }
            prop_assert_eq!(&found, &naive);
            prop_assert_eq!(extents.total(), naive.iter().flatten().count() as u64);
            for from in 0..2 * END {
                let (data, hole) = firsts(&naive, from);
                prop_assert_eq!((extents.first_data(from), extents.first_hole(from)), (data, hole), "from {}", from);
            }
            let borrowed = naive.iter().flatten().filter(|(sequence, _)| sequence % 2 == 1).count() as u64;
            prop_assert_eq!(usage.live(1), Live { bytes: extents.total(), borrowed });
            let found = extents.some(0, u64::MAX, Extent::is_borrowed);
            prop_assert_eq!(found.iter().map(|(range, _)| range.end - range.start).sum::<u64>(), borrowed);
        }
        let (from, to) = (window.0.min(window.1), window.0.max(window.1));
        for (range, extent) in extents.within(from..to) {
            prop_assert!(range.start >= from && range.end <= to && !range.is_empty());
            prop_assert_eq!(naive[range.start as usize], Some((extent.sequence as u32, u64::from(extent.skip))));
        }
    }
}
