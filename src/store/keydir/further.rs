//! Names in records of their own: those of entries that have many.
//!
//! An entry with a few names has them in its node record, and takes no room here. What it has beyond these stands here, by
//! the entry, so that a name comes and goes without the others being looked at.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use crate::log::{HEADER_LEN, Location};
use crate::store::attributes::EntryId;
use crate::store::directory::{SAME_HASH, first_place};
use crate::store::record::{self, Link};

/// A name's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct NameRecord {
    pub(in crate::store) location: Location,
    pub(in crate::store) sequence: u64,
}

/// By the directory, and a place of the name in it.
type Places = BTreeMap<(EntryId, u64), (Box<[u8]>, NameRecord)>;

/// The names of one entry.
#[derive(Debug, Default)]
struct Names {
    places: Places,
    /// How many there are by the entry's node record.
    said: u64,
}

/// The names of all entries that are in records of their own.
#[derive(Debug, Default)]
pub(super) struct Further {
    entries: HashMap<EntryId, Names>,
    /// Bytes of memory of the names, about.
    memory: usize,
}

/// Bytes of memory that a name takes, about.
pub(in crate::store) fn further_name_size(name: &[u8]) -> usize {
    /// Its place in the tree, and what the allocator adds.
    const PLACE: usize = 88;
    PLACE + name.len()
}

/// Bytes of log that the record of a name takes, without padding.
pub(super) fn record_len(parent: EntryId, name: &[u8]) -> u64 {
    (HEADER_LEN + record::encode_name(parent, name).len()) as u64
}

impl Further {
    /// Notes how many names an entry has here by its node record.
    pub(super) fn say(&mut self, id: EntryId, said: u64) {
        if said > 0 {
            self.entries.entry(id).or_default().said = said;
        } else if !self.entries.is_empty()
            && let Some(names) = self.entries.get_mut(&id)
        {
            names.said = 0;
            if names.places.is_empty() {
                self.entries.remove(&id);
            }
        }
    }

    /// Number of names of an entry.
    pub(super) fn count(&self, id: EntryId) -> u64 {
        self.places(id).map_or(0, |places| places.len() as u64)
    }

    fn places(&self, id: EntryId) -> Option<&Places> {
        // Mostly nobody has any, and one look at that does.
        if self.entries.is_empty() {
            return None;
        }
        self.entries.get(&id).map(|names| &names.places)
    }

    /// The record of a name.
    pub(super) fn get(&self, id: EntryId, parent: EntryId, name: &[u8]) -> Option<NameRecord> {
        let places = self.places(id)?;
        find(places, parent, name).and_then(|place| places.get(&place)).map(|(_, record)| *record)
    }

    /// The name that an entry has at this place of a directory.
    pub(super) fn at_place(&self, id: EntryId, parent: EntryId, cookie: u64) -> Option<&[u8]> {
        let first = cookie & !SAME_HASH;
        let mut there = self.places(id)?.range((parent, first)..=(parent, first | SAME_HASH));
        there.next().map(|(_, (name, _))| &**name)
    }

    /// The first name of an entry, and the directory that it is in.
    pub(super) fn first(&self, id: EntryId) -> Option<(EntryId, &[u8])> {
        self.places(id)?.first_key_value().map(|((parent, _), (name, _))| (*parent, &**name))
    }

    /// All names of an entry, and their records.
    pub(super) fn all(&self, id: EntryId) -> impl Iterator<Item = (EntryId, &[u8], NameRecord)> {
        let places = self.places(id).into_iter().flatten();
        places.map(|((parent, _), (name, record))| (*parent, &**name, *record))
    }

    /// Gives an entry a name, or the name another record. Returns the old one.
    pub(super) fn insert(&mut self, id: EntryId, link: &Link, record: NameRecord) -> Option<NameRecord> {
        let places = &mut self.entries.entry(id).or_default().places;
        if let Some((_, old)) = find(places, link.parent, &link.name).and_then(|place| places.get_mut(&place)) {
            return Some(std::mem::replace(old, record));
        }
        let first = first_place(&link.name);
        let free = (first..first | SAME_HASH).find(|place| !places.contains_key(&(link.parent, *place)));
        self.memory += further_name_size(&link.name);
        places.insert((link.parent, free.unwrap_or(first | SAME_HASH)), (link.name.clone(), record));
        None
    }

    /// Notes that a name's record is elsewhere, unless it has another one by now. Returns where it was.
    pub(super) fn change(&mut self, id: EntryId, parent: EntryId, name: &[u8], to: NameRecord) -> Option<NameRecord> {
        let places = &mut self.entries.get_mut(&id)?.places;
        let (_, record) = find(places, parent, name).and_then(|place| places.get_mut(&place))?;
        (record.sequence == to.sequence).then(|| std::mem::replace(record, to))
    }

    /// Takes a name from an entry.
    pub(super) fn remove(&mut self, id: EntryId, parent: EntryId, name: &[u8]) -> Option<NameRecord> {
        if self.entries.is_empty() {
            return None;
        }
        let names = self.entries.get_mut(&id)?;
        let (name, record) = find(&names.places, parent, name).and_then(|place| names.places.remove(&place))?;
        self.memory -= further_name_size(&name);
        if names.places.is_empty() && names.said == 0 {
            self.entries.remove(&id);
        }
        Some(record)
    }

    /// Takes all names from an entry.
    pub(super) fn take(&mut self, id: EntryId) -> Vec<(Link, NameRecord)> {
        if self.entries.is_empty() {
            return Vec::new();
        }
        let names = self.entries.remove(&id).unwrap_or_default();
        self.memory -= names.places.values().map(|(name, _)| further_name_size(name)).sum::<usize>();
        let link = |((parent, _), (name, record))| (Link { parent, name }, record);
        names.places.into_iter().map(link).collect()
    }

    /// Whether an entry has more or fewer names here than its node record says: a record of one is lost.
    pub(super) fn is_wrong(&self, id: EntryId) -> bool {
        self.entries.get(&id).is_some_and(|names| names.places.len() as u64 != names.said)
    }

    /// All such entries, in order.
    pub(super) fn wrong(&self) -> Vec<EntryId> {
        let mut wrong: Vec<EntryId> = self.entries.keys().copied().filter(|id| self.is_wrong(*id)).collect();
        wrong.sort_unstable();
        wrong
    }

    /// Bytes of memory, about.
    pub(super) fn memory(&self) -> usize {
        self.entries.allocation_size() + self.memory
    }
}

/// Where a name stands.
fn find(places: &Places, parent: EntryId, name: &[u8]) -> Option<(EntryId, u64)> {
    let first = first_place(name);
    let mut there = places.range((parent, first)..=(parent, first | SAME_HASH));
    there.find(|(_, (its, _))| **its == *name).map(|(place, _)| *place)
}
