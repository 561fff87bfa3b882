//! Stretches of segments, to be looked up by place: what is damaged or unread, for those who ask of each record.

use std::collections::BTreeMap;

use super::record::record_len;
use super::{Damage, Defect, Location};

/// By segment, the stretches in order, none overlapping another: where each begins and ends.
#[derive(Clone, Debug, Default)]
pub struct Stretches(BTreeMap<u32, Vec<(u64, u64)>>);

impl Stretches {
    fn of(stretches: impl Iterator<Item = (u32, u64, u64)>) -> Stretches {
        let mut by_segment: BTreeMap<u32, Vec<(u64, u64)>> = BTreeMap::new();
        for (segment, start, end) in stretches {
            by_segment.entry(segment).or_default().push((start, end));
        }
        for stretches in by_segment.values_mut() {
            stretches.sort_unstable();
            stretches.dedup_by(|next, last| {
                let joined = next.0 <= last.1;
                last.1 = if joined { last.1.max(next.1) } else { last.1 };
                joined
            });
        }
        Stretches(by_segment)
    }

    /// Those of damage.
    pub fn of_damage<'a>(damage: impl Iterator<Item = &'a Damage>) -> Stretches {
        Stretches::of(damage.map(|Damage { location, len }| {
            let start = u64::from(location.offset);
            (location.segment, start, start + len)
        }))
    }

    /// Those of defects; one without a length is the whole segment.
    pub fn of_defects<'a>(defects: impl Iterator<Item = &'a Defect>) -> Stretches {
        Stretches::of(defects.filter_map(|defect| {
            let Defect { segment, offset, len, .. } = *defect;
            let (start, end) = if len == 0 { (0, u64::MAX) } else { (offset, offset + len) };
            Some((segment?, start, end))
        }))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether so many bytes at a place have a part in one of them.
    pub fn touch(&self, location: Location, len: u64) -> bool {
        let Some(stretches) = self.0.get(&location.segment) else { return false };
        let start = u64::from(location.offset);
        let first = stretches.partition_point(|(_, end)| *end <= start);
        stretches.get(first).is_some_and(|(begins, _)| *begins < start + len)
    }

    /// Whether a record with a body of this length has.
    pub fn touch_record(&self, location: Location, body_len: u32) -> bool {
        self.touch(location, record_len(body_len as usize))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_place_is_found_as_if_all_were_looked_at(
            all in vec((1..3u32, 0..200u32, 1..40u64), 0..30),
            (segment, offset, len) in (1..4u32, 0..260u32, 1..50u64),
        ) {
            let place = |segment, offset| Location { segment, offset };
            let damage: Vec<Damage> =
                all.into_iter().map(|(segment, offset, len)| Damage { location: place(segment, offset), len }).collect();
            let found = Stretches::of_damage(damage.iter()).touch(place(segment, offset), len);
            let (start, end) = (u64::from(offset), u64::from(offset) + len);
            let overlaps = |damage: &Damage| {
                let its = u64::from(damage.location.offset);
                damage.location.segment == segment && its < end && start < its + damage.len
            };
            prop_assert_eq!(found, damage.iter().any(overlaps));
        }
    }
}
