//! How often the layer above holds on to each entry. An entry without names lives while it is held.

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::Keydir;
use crate::store::attributes::{EntryId, ROOT};

/// Tables, so that threads seldom wait for one another.
const TABLES: usize = 16;

/// Counts by entry; those that are not held are not in it.
#[derive(Debug)]
pub(super) struct Pins([Mutex<HashMap<EntryId, u64>>; TABLES]);

impl Pins {
    pub(super) fn new() -> Pins {
        Pins(std::array::from_fn(|_| Mutex::default()))
    }

    fn table(&self, id: EntryId) -> Option<&Mutex<HashMap<EntryId, u64>>> {
        self.0.get(id as usize % TABLES)
    }

    /// Holds on to an entry.
    pub(super) fn pin(&self, id: EntryId) {
        if let Some(table) = self.table(id) {
            *table.lock().entry(id).or_default() += 1;
        }
    }

    /// Lets go of an entry `count` times; says whether nobody holds it any more.
    pub(super) fn unpin(&self, id: EntryId, count: u64) -> bool {
        let Some(table) = self.table(id) else { return true };
        let mut table = table.lock();
        let left = table.get(&id).map_or(0, |pins| pins.saturating_sub(count));
        match left {
            0 => drop(table.remove(&id)),
            left => drop(table.insert(id, left)),
        }
        left == 0
    }

    pub(super) fn is_pinned(&self, id: EntryId) -> bool {
        self.table(id).is_some_and(|table| table.lock().contains_key(&id))
    }

    /// All that are held.
    pub(super) fn all(&self) -> Vec<EntryId> {
        self.0.iter().flat_map(|table| table.lock().keys().copied().collect::<Vec<_>>()).collect()
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.0.iter().map(|table| table.lock().allocation_size()).sum()
    }
}

impl Keydir {
    /// An entry's key: the first of its names, from the root. `None` if it has none.
    pub(in crate::store) fn key(&self, mut id: EntryId) -> Option<Vec<u8>> {
        let mut names = Vec::new();
        // Bounded, should damage have made a circle.
        while id != ROOT && names.len() < 4096 {
            let mut above = None;
            let name = self.entries.find_name(id, |parent, _| {
                above = Some(parent);
                true
            });
            names.push(name?.to_vec());
            id = above?;
        }
        names.reverse();
        Some(names.join(&b'/'))
    }

    pub(in crate::store) fn is_pinned(&self, id: EntryId) -> bool {
        self.pins.is_pinned(id)
    }

    pub(in crate::store) fn pinned(&self) -> Vec<EntryId> {
        self.pins.all()
    }
}
