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
pub(super) const SAME_HASH: u64 = 0xff;

/// The children of a directory.
#[derive(Debug, Default)]
pub(super) struct Directory {
    children: BTreeMap<u64, EntryId>,
    /// How many of the children are directories.
    pub(super) subdirectories: u32,
    /// How many of the children are not in the first place of their names.
    displaced: u32,
}

/// The first place, or *cookie*, that a name may have: from 256 on, for a reader's own use of the lower ones, and at
/// most what fits into a signed number, as the kernel wants it.
pub(super) fn first_place(name: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(name);
    ((hasher.finish() >> 1) & !SAME_HASH).max(SAME_HASH + 1)
}

/// The last place that a name may have.
pub(super) fn last_place(name: &[u8]) -> u64 {
    first_place(name) | SAME_HASH
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
        // Mostly everybody is in the first place of its name, and one look there does; a range takes two.
        let alone = self.displaced == 0;
        let only = alone.then(|| self.children.get_key_value(&first)).flatten();
        let all = (!alone).then(|| self.children.range(first..=first | SAME_HASH));
        only.into_iter().chain(all.into_iter().flatten()).map(|(&cookie, &id)| (cookie, id))
    }

    /// Whether so many names have this first place that a transaction might find no free one for another.
    pub(super) fn is_crowded(&self, first: u64) -> bool {
        self.candidates(first).count() > SAME_HASH as usize / 2
    }

    /// Puts an entry into the first of the places of its name. False, and nothing done, if somebody may have that name.
    pub(super) fn insert_alone(&mut self, first: u64, id: EntryId, is_directory: bool) -> bool {
        if self.displaced > 0 && self.candidates(first).next().is_some() {
            return false;
        }
        let Entry::Vacant(place) = self.children.entry(first) else { return false };
        place.insert(id);
        self.subdirectories += u32::from(is_directory);
        true
    }

    /// Puts an entry into the first free of the places of its name, and says which. There is one: see
    /// [`Directory::is_crowded`], and nobody finds 256 names with one hash of 55 bits anyway.
    pub(super) fn insert(&mut self, first: u64, id: EntryId, is_directory: bool) -> u64 {
        let free = (first..first | SAME_HASH).find(|cookie| !self.children.contains_key(cookie));
        let cookie = free.unwrap_or(first | SAME_HASH);
        self.displaced += u32::from(cookie != first);
        self.subdirectories += u32::from(is_directory);
        self.children.insert(cookie, id);
        cookie
    }

    /// Takes a name away, if it is this entry's: returns the place that it had.
    pub(super) fn remove(&mut self, name: &[u8], id: EntryId, is_directory: bool) -> Option<u64> {
        let first = first_place(name);
        let found = self.candidates(first).find(|(_, child)| *child == id);
        let (cookie, _) = found?;
        self.children.remove(&cookie);
        self.displaced -= u32::from(cookie != first);
        self.subdirectories -= u32::from(is_directory);
        Some(cookie)
    }

    /// The children whose cookies are greater than `cookie`, in order of cookies.
    pub(super) fn after_cookie(&self, cookie: u64) -> impl Iterator<Item = (u64, EntryId)> {
        let range = (Bound::Excluded(cookie), Bound::Unbounded);
        self.children.range(range).map(|(&cookie, &id)| (cookie, id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_one_hash_have_places_of_their_own() {
        let mut directory = Directory::default();
        let first = first_place(b"name");
        assert!(directory.insert_alone(first, 2, false));
        assert!(!directory.insert_alone(first, 3, false));
        directory.insert(first, 3, true);
        assert_eq!(directory.candidates(first).collect::<Vec<_>>(), [(first, 2), (first + 1, 3)]);
        directory.remove(b"name", 2, false);
        // The first place is free, and yet somebody else may have the name.
        assert!(!directory.insert_alone(first, 4, false));
        directory.remove(b"name", 3, true);
        assert!(directory.insert_alone(first, 4, false));
        assert_eq!((directory.len(), directory.subdirectories), (1, 0));
    }
}
