//! The children of a directory, in the order in which it is read piece by piece.
//!
//! That order is by a hash of the names: so a name keeps its place for as long as it is there, also when it goes and
//! comes back, one tree serves lookup and reading, and nothing about the order has to be stored.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::hash::{DefaultHasher, Hasher};
use std::ops::Bound;

use super::attributes::EntryId;

/// Places for names of one hash.
const SAME_HASH: u64 = 0xff;

/// The children of a directory.
#[derive(Debug, Default)]
pub(super) struct Directory {
    children: BTreeMap<u64, EntryId>,
    /// How many of the children are directories.
    pub(super) subdirectories: u32,
}

/// The first place, or *cookie*, that a name may have: from 256 on, for a reader's own use of the lower ones, and at
/// most what fits into a signed number, as the kernel wants it.
pub(super) fn first_place(name: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(name);
    ((hasher.finish() >> 1) & !SAME_HASH).max(SAME_HASH + 1)
}

/// Whether a name may be in this place.
pub(super) fn may_be_at(name: &[u8], cookie: u64) -> bool {
    first_place(name) == cookie & !SAME_HASH
}

impl Directory {
    pub(super) fn len(&self) -> usize {
        self.children.len()
    }

    /// The places that a name with this first place may have, and who is there.
    pub(super) fn candidates(&self, first: u64) -> impl Iterator<Item = (u64, EntryId)> {
        self.children.range(first..=first | SAME_HASH).map(|(&cookie, &id)| (cookie, id))
    }

    /// Puts an entry into the first free of the places of its name. (There always is one: nobody finds 256 names with one hash of 55
    /// bits.)
    pub(super) fn insert(&mut self, first: u64, id: EntryId) {
        if let Entry::Vacant(place) = self.children.entry(first) {
            place.insert(id);
            return;
        }
        let free = (first..first | SAME_HASH).find(|cookie| !self.children.contains_key(cookie));
        self.children.insert(free.unwrap_or(first | SAME_HASH), id);
    }

    /// Takes a name away, if it is this entry's. Returns whether it was.
    pub(super) fn remove(&mut self, name: &[u8], id: EntryId) -> bool {
        let found = self.candidates(first_place(name)).find(|(_, child)| *child == id).map(|(cookie, _)| cookie);
        found.is_some_and(|cookie| self.children.remove(&cookie).is_some())
    }

    /// The children whose cookies are greater than `cookie`, in order of cookies.
    pub(super) fn after_cookie(&self, cookie: u64) -> impl Iterator<Item = (u64, EntryId)> {
        let range = (Bound::Excluded(cookie), Bound::Unbounded);
        self.children.range(range).map(|(&cookie, &id)| (cookie, id))
    }
}
