//! When files expire, in order. A time stands here if and only if [`NodeState::due`] of an entry in the tree says it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::store::attributes::EntryId;

/// What a place in the set takes, about.
const PLACE: usize = 24;

/// The times, in seconds since 1970.
#[derive(Debug)]
pub(in crate::store) struct Due {
    times: BTreeSet<(i64, EntryId)>,
    /// The first of them, to be looked at without a lock; `i64::MAX` if there is none.
    next: Arc<AtomicI64>,
}

impl Due {
    pub(super) fn new() -> Due {
        Due { times: BTreeSet::new(), next: Arc::new(AtomicI64::new(i64::MAX)) }
    }

    /// The first time, as it will be from now on.
    pub(in crate::store) fn next(&self) -> Arc<AtomicI64> {
        Arc::clone(&self.next)
    }

    /// Notes that an entry expires at another time than before.
    pub(super) fn change(&mut self, id: EntryId, before: Option<i64>, after: Option<i64>) {
        if before == after {
            return;
        }
        before.map(|second| self.times.remove(&(second, id)));
        after.map(|second| self.times.insert((second, id)));
        let first = self.times.first().map_or(i64::MAX, |(second, _)| *second);
        self.next.store(first, Ordering::Release);
    }

    /// The entries that expire at this second or before it, at most `limit` of them, the longest due first.
    pub(in crate::store) fn until(&self, second: i64, limit: usize) -> Vec<EntryId> {
        self.times.range(..=(second, EntryId::MAX)).take(limit).map(|(_, id)| *id).collect()
    }

    pub(super) fn memory(&self) -> usize {
        self.times.len() * PLACE
    }
}
