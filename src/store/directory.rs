//! The names in a directory: by name for lookup and sorted listing, by cookie for reading it piece by piece.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::attributes::EntryId;

/// The children of a directory.
#[derive(Debug, Default)]
pub(super) struct Directory {
    names: BTreeMap<Box<[u8]>, EntryId>,
    cookies: BTreeMap<u64, EntryId>,
    /// How many of the children are directories.
    pub(super) subdirectories: u32,
}

impl Directory {
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    pub(super) fn get(&self, name: &[u8]) -> Option<EntryId> {
        self.names.get(name).copied()
    }

    pub(super) fn insert(&mut self, name: &[u8], cookie: u64, id: EntryId) {
        self.names.insert(name.into(), id);
        self.cookies.insert(cookie, id);
    }

    pub(super) fn remove(&mut self, name: &[u8], cookie: u64) {
        self.names.remove(name);
        self.cookies.remove(&cookie);
    }

    /// The children whose cookies are greater than `cookie`, in order of cookies.
    pub(super) fn after_cookie(&self, cookie: u64) -> impl Iterator<Item = (u64, EntryId)> {
        let range = (Bound::Excluded(cookie), Bound::Unbounded);
        self.cookies.range(range).map(|(&cookie, &id)| (cookie, id))
    }

    /// The children whose names are at least `name`, in order of names.
    pub(super) fn at_or_after(&self, name: &[u8]) -> impl Iterator<Item = (&[u8], EntryId)> {
        let range = (Bound::Included(name), Bound::Unbounded);
        self.names.range::<[u8], _>(range).map(|(name, &id)| (&**name, id))
    }
}
