//! A histogram with fixed buckets, counted without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts values by the smallest bound that is not below them.
#[derive(Debug)]
pub(super) struct Histogram<const N: usize> {
    bounds: &'static [u64; N],
    counts: [AtomicU64; N],
    /// Values above the last bound.
    above: AtomicU64,
    sum: AtomicU64,
}

/// What a histogram has counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// Bounds in ascending order, and how many values were at most so great, and greater than the bound before.
    pub buckets: Vec<(u64, u64)>,
    /// How many values were greater than the last bound.
    pub above: u64,
    /// Sum of all values.
    pub sum: u64,
}

impl<const N: usize> Histogram<N> {
    /// A histogram with these bounds, which ascend.
    pub(super) fn new(bounds: &'static [u64; N]) -> Histogram<N> {
        let counts = std::array::from_fn(|_| AtomicU64::new(0));
        Histogram { bounds, counts, above: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }

    /// Counts a value.
    pub(super) fn observe(&self, value: u64) {
        let bucket = self.counts.get(self.bounds.partition_point(|bound| *bound < value));
        bucket.unwrap_or(&self.above).fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// What was counted so far. Values that come meanwhile may be in one part of it and not yet in another.
    pub(super) fn distribution(&self) -> Distribution {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Distribution {
            buckets: self.bounds.iter().zip(&self.counts).map(|(bound, each)| (*bound, count(each))).collect(),
            above: count(&self.above),
            sum: count(&self.sum),
        }
    }
}

impl Distribution {
    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum::<u64>() + self.above
    }

    /// Their mean; `None` if there were none.
    pub fn mean(&self) -> Option<f64> {
        (self.count() > 0).then(|| self.sum as f64 / self.count() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_counted_at_the_first_bound_that_is_not_below_it() {
        let histogram = Histogram::new(&[1, 10, 100]);
        for value in [0, 1, 2, 10, 11, 100, 101, 1000] {
            histogram.observe(value);
        }
        let found = histogram.distribution();
        assert_eq!(found, Distribution { buckets: vec![(1, 2), (10, 2), (100, 2)], above: 2, sum: 1225 });
        assert_eq!((found.count(), found.mean()), (8, Some(1225.0 / 8.0)));
        assert_eq!(Histogram::new(&[1]).distribution().mean(), None);
    }
}
