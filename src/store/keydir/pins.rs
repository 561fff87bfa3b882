//! How often the layer above holds on to each entry. An entry without names lives while it is held.

use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::store::attributes::EntryId;

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

    /// Bytes of memory.
    pub(super) fn memory(&self) -> usize {
        self.0.iter().map(|table| table.lock().allocation_size()).sum()
    }
}
