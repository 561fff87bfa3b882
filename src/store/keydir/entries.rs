//! The entries by their ids. Most are packed; those that cannot be, or would be too long, are whole.

use std::ops::{Deref, Range};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;

use super::blocks::{self, LONGEST, Place, Strings};
use super::further::Further;
use super::node::{Held, Node};
use super::packed;
use crate::store::Standing;
use crate::store::attributes::{EntryId, ROOT, Stat};
use crate::store::directory::{self, Directory};
use crate::store::extents::{Extents, Runs};
use crate::store::memory::KeydirMemory;

/// An entry: one that is kept whole, or the copy of a packed one.
#[derive(Debug)]
pub(in crate::store) enum Entry<'a> {
    Whole(&'a Node),
    Unpacked(Box<Node>),
}

impl Deref for Entry<'_> {
    type Target = Node;

    fn deref(&self) -> &Node {
        match self {
            Entry::Whole(node) => node,
            Entry::Unpacked(node) => node,
        }
    }
}

/// Entries that are not packed.
#[derive(Debug, Default)]
struct Whole {
    nodes: Vec<Option<(EntryId, Box<Node>)>>,
    free: Vec<u32>,
    /// What all of them hold.
    held: Held,
}

impl Whole {
    /// `None` if there are too many.
    fn insert(&mut self, id: EntryId, node: Box<Node>) -> Option<Place> {
        let held = node.held();
        let number = self.free.pop().map_or(self.nodes.len(), |number| number as usize);
        let place = blocks::outside(number)?;
        match self.nodes.get_mut(number) {
            Some(free) => *free = Some((id, node)),
            None => self.nodes.push(Some((id, node))),
        }
        self.held.add(held);
        Some(place)
    }

    fn remove(&mut self, number: usize) -> Option<Box<Node>> {
        let (_, node) = self.nodes.get_mut(number)?.take()?;
        self.free.push(number as u32);
        self.held.subtract(node.held());
        Some(node)
    }

    fn used(&self) -> usize {
        self.nodes.len() - self.free.len()
    }
}

/// Every entry.
#[derive(Debug)]
pub(in crate::store) struct Entries {
    table: HashTable<Place>,
    packed: Strings,
    whole: Whole,
    /// Names that are in records of their own.
    pub(super) further: Further,
    /// The number of the whole entry that was changed last: mostly the directory of the next file too.
    last_changed: usize,
    scratch: Vec<u8>,
    /// An entry found no place: see [`Entries::has_room`].
    overflowed: bool,
}

/// Sixteen ids that follow one another are neighbours in the table, because they are mostly used together; the
/// sixteens are scattered. The table tells neighbours apart by the uppermost bits.
fn hash(id: EntryId) -> u64 {
    let scattered = (id >> 4).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let among_sixteen = id & 15;
    (((scattered ^ (scattered >> 32)) << 4) | among_sixteen) ^ (among_sixteen << 60)
}

impl Entries {
    pub(in crate::store) fn new() -> Entries {
        Entries {
            table: HashTable::new(),
            packed: Strings::new(),
            whole: Whole::default(),
            further: Further::default(),
            last_changed: 0,
            scratch: Vec::new(),
            overflowed: false,
        }
    }

    /// Whether so many entries can be put in or changed. Each may need a place among those that are not packed: the blocks of
    /// its size may all be used. What makes no new entries may have twice as many as what does, so that a full table can be
    /// emptied.
    pub(in crate::store) fn has_room(&self, entries: usize, grows: bool) -> bool {
        let most = if grows { blocks::most() } else { 2 * blocks::most() };
        self.whole.used().saturating_add(entries) <= most
    }

    /// Whether an entry found no place. Nobody makes or changes one without asking for room before, so that only a log that
    /// has more than fit can do it.
    pub(in crate::store) fn overflowed(&self) -> bool {
        self.overflowed
    }

    pub(in crate::store) fn len(&self) -> usize {
        self.table.len()
    }

    /// The ids of all, in no order.
    pub(in crate::store) fn ids(&self) -> impl Iterator<Item = EntryId> {
        self.table.iter().map(|place| Entries::id_at(&self.packed, &self.whole, *place))
    }

    fn id_at(packed: &Strings, whole: &Whole, place: Place) -> EntryId {
        match blocks::outside_number(place) {
            Some(number) => whole.nodes.get(number).and_then(Option::as_ref).map_or(0, |(id, _)| *id),
            None => packed::id(packed.get(place)).unwrap_or(0),
        }
    }

    fn find(&self, id: EntryId) -> Option<Place> {
        let is_it = |place: &Place| Entries::id_at(&self.packed, &self.whole, *place) == id;
        self.table.find(hash(id), is_it).copied()
    }

    pub(in crate::store) fn contains(&self, id: EntryId) -> bool {
        self.find(id).is_some()
    }

    fn whole_at(&self, place: Place) -> Option<&(EntryId, Box<Node>)> {
        self.whole.nodes.get(blocks::outside_number(place)?)?.as_ref()
    }

    pub(in crate::store) fn get(&self, id: EntryId) -> Option<Entry<'_>> {
        let place = self.find(id)?;
        match self.whole_at(place) {
            Some((_, node)) => Some(Entry::Whole(node)),
            None => packed::unpack(self.packed.get(place)).map(|node| Entry::Unpacked(Box::new(node))),
        }
    }

    /// An entry if it is kept whole, as every directory is.
    pub(in crate::store) fn get_whole(&self, id: EntryId) -> Option<&Node> {
        self.whole_at(self.find(id)?).map(|(_, node)| &**node)
    }

    fn get_whole_mut(&mut self, id: EntryId) -> Option<&mut Node> {
        let is_last =
            self.whole.nodes.get(self.last_changed).is_some_and(|last| last.as_ref().is_some_and(|last| last.0 == id));
        if !is_last {
            self.last_changed = blocks::outside_number(self.find(id)?)?;
        }
        self.whole.nodes.get_mut(self.last_changed)?.as_mut().map(|(_, node)| &mut **node)
    }

    /// Changes which children a directory has, if it is there.
    pub(in crate::store) fn change_children<R>(
        &mut self,
        id: EntryId,
        change: impl FnOnce(&mut Directory) -> R,
    ) -> Option<R> {
        let directory = self.get_whole_mut(id)?.directory.as_deref_mut()?;
        let before = directory.len();
        let result = change(directory);
        let after = directory.len();
        self.whole.held.change_children(before, after);
        Some(result)
    }

    pub(in crate::store) fn stat(&self, id: EntryId) -> Option<Stat> {
        let place = self.find(id)?;
        match self.whole_at(place) {
            Some((id, node)) => Some(node.stat(*id)),
            None => packed::stat(self.packed.get(place)),
        }
    }

    /// What stat shows of an entry that a record speaks of, unless it is to be gone at this second.
    pub(in crate::store) fn published(&self, id: EntryId, second: i64) -> Option<Stat> {
        let place = self.find(id)?;
        let stat = match self.whole_at(place) {
            Some((id, node)) => Some(node.stat(*id)).filter(|_| !node.provisional),
            None => packed::stat(self.packed.get(place)),
        };
        stat.filter(|stat| stat.links == 0 || stat.expires.is_none_or(|at| at.seconds() > second))
    }

    /// Whether a record speaks of an entry, and whether it has a name.
    pub(in crate::store) fn standing(&self, id: EntryId) -> Option<Standing> {
        let place = self.find(id)?;
        let (provisional, nameless) = match self.whole_at(place) {
            Some((id, node)) => (node.provisional, !node.state.has_name() && *id != ROOT),
            None => (false, packed::stat(self.packed.get(place))?.links == 0),
        };
        Some(match (provisional, nameless) {
            (_, true) => Standing::Unlinked,
            (true, false) => Standing::Provisional,
            (false, false) => Standing::Recorded,
        })
    }

    /// Length and extents of a value, clipped to `range`.
    pub(in crate::store) fn value(&self, id: EntryId, range: Range<u64>) -> Option<(u64, Runs)> {
        let place = self.find(id)?;
        let clip = |size: u64| range.start..range.end.min(size);
        match self.whole_at(place) {
            Some((_, node)) => Some((node.state.size, node.extents.within(clip(node.state.size)))),
            None => {
                let (size, value) = packed::value(self.packed.get(place))?;
                let extents = value.map_or(Extents::None, |(len, extent)| Extents::One(len, extent));
                Some((size, extents.within(clip(size))))
            }
        }
    }

    /// Looks at where a value's bytes are.
    pub(in crate::store) fn extents<R>(&self, id: EntryId, look: impl FnOnce(&Extents) -> R) -> Option<R> {
        let place = self.find(id)?;
        match self.whole_at(place) {
            Some((_, node)) => Some(look(&node.extents)),
            None => {
                let (_, value) = packed::value(self.packed.get(place))?;
                Some(look(&value.map_or(Extents::None, |(len, extent)| Extents::One(len, extent))))
            }
        }
    }

    /// The first of the names in an entry's node record for which `is_it` says yes, given parent and name.
    pub(in crate::store) fn find_name(
        &self,
        id: EntryId,
        mut is_it: impl FnMut(EntryId, &[u8]) -> bool,
    ) -> Option<&[u8]> {
        let place = self.find(id)?;
        match self.whole_at(place) {
            Some((_, node)) => {
                let mut links = node.state.links.iter();
                links.find(|link| is_it(link.parent, &link.name)).map(|link| &*link.name)
            }
            None => packed::find_name(self.packed.get(place), is_it),
        }
    }

    /// The name that an entry has at this place of a directory.
    pub(super) fn name_at(&self, parent: EntryId, cookie: u64, id: EntryId) -> Option<&[u8]> {
        let own = self.find_name(id, |of, name| of == parent && directory::may_be_at(name, cookie));
        own.or_else(|| self.further.at_place(id, parent, cookie))
    }

    /// Puts an entry in that is not there.
    pub(in crate::store) fn insert(&mut self, id: EntryId, node: Node) {
        let Some(place) = self.keep(id, node) else {
            self.overflowed = true;
            return;
        };
        let Entries { table, packed, whole, .. } = self;
        table.insert_unique(hash(id), place, |place| hash(Entries::id_at(packed, whole, *place)));
    }

    /// Puts an entry in, as [`packed::pack`] packs it, unless it is there. One that is too long is unpacked. Returns whether it was put in.
    pub(super) fn insert_packed(&mut self, id: EntryId, bytes: &[u8]) -> bool {
        let Entries { table, packed, whole, .. } = self;
        let is_it = |place: &Place| Entries::id_at(packed, whole, *place) == id;
        let slot = table.entry(hash(id), is_it, |place| hash(Entries::id_at(packed, whole, *place)));
        let Slot::Vacant(vacant) = slot else { return false };
        match packed.insert(bytes) {
            Some(place) => drop(vacant.insert(place)),
            None => packed::unpack(bytes).map_or((), |node| self.insert(id, node)),
        }
        true
    }

    /// Finds a place for an entry, if there is one.
    fn keep(&mut self, id: EntryId, node: Node) -> Option<Place> {
        let fits = packed::pack(id, &node, &mut self.scratch) && self.scratch.len() <= LONGEST;
        let place = if fits { self.packed.insert(&self.scratch) } else { None };
        place.or_else(|| self.whole.insert(id, Box::new(node)))
    }

    /// Takes an entry out.
    pub(in crate::store) fn remove(&mut self, id: EntryId) -> Option<Box<Node>> {
        let Entries { table, packed, whole, .. } = self;
        let found = table.find_entry(hash(id), |place| Entries::id_at(packed, whole, *place) == id);
        let (place, _) = found.ok()?.remove();
        match blocks::outside_number(place) {
            Some(number) => self.whole.remove(number),
            None => {
                let node = packed::unpack(self.packed.get(place)).map(Box::new);
                self.packed.remove(place);
                node
            }
        }
    }

    /// Changes an entry, if it is there.
    pub(in crate::store) fn change<R>(&mut self, id: EntryId, change: impl FnOnce(&mut Node) -> R) -> Option<R> {
        let place = self.find(id)?;
        if let Some(node) = blocks::outside_number(place)
            .and_then(|number| self.whole.nodes.get_mut(number)?.as_mut())
            .map(|(_, node)| node)
            && node.is_directory()
        {
            let before = node.held();
            let result = change(node);
            let after = node.held();
            self.whole.held.subtract(before);
            self.whole.held.add(after);
            return Some(result);
        }
        let mut node = match blocks::outside_number(place) {
            Some(number) => self.whole.remove(number)?,
            None => Box::new(packed::unpack(self.packed.get(place))?),
        };
        let result = change(&mut node);
        let fits = packed::pack(id, &node, &mut self.scratch) && self.scratch.len() <= LONGEST;
        let new = match (fits, blocks::outside_number(place)) {
            (true, None) => self.packed.replace(place, &self.scratch),
            (true, Some(_)) => self.packed.insert(&self.scratch),
            (false, None) => {
                self.packed.remove(place);
                None
            }
            (false, Some(_)) => None,
        };
        let new = new.or_else(|| self.whole.insert(id, node));
        if let Ok(mut slot) = self.table.find_entry(hash(id), |old| *old == place) {
            match new {
                Some(new) => *slot.get_mut() = new,
                None => {
                    self.overflowed = true;
                    slot.remove();
                }
            }
        }
        Some(result)
    }

    /// The entries that are kept whole.
    pub(in crate::store) fn whole(&self) -> impl Iterator<Item = (EntryId, &Node)> {
        self.whole.nodes.iter().flatten().map(|(id, node)| (*id, &**node))
    }

    /// Bytes of memory, about: what directories and large values hold is estimated.
    pub(in crate::store) fn memory(&self) -> KeydirMemory {
        let Held { nodes, children, attributes, extents } = self.whole.held;
        let tables = self.table.allocation_size() + self.whole.nodes.capacity() * 16 + self.whole.free.capacity() * 4;
        KeydirMemory {
            entries: (tables + self.packed.memory() + nodes) as u64,
            directories: children as u64,
            attributes: (attributes + self.further.memory()) as u64,
            extents: extents as u64,
            ..KeydirMemory::default()
        }
    }

    /// What [`Entries::memory`] keeps a sum of, from the entries themselves.
    #[cfg(test)]
    pub(in crate::store) fn check_sums(&self) {
        let mut held = Held::default();
        self.whole().for_each(|(_, node)| held.add(node.held()));
        assert_eq!(held, self.whole.held);
    }
}
