//! Changes of a large transaction that are done: kept as the records that they will be in the log, and in tables by which a
//! later change of the same transaction finds them. A change that is still worked on takes ten times as much memory.
//!
//! Sealed records stand in the log before those of all other changes. An entry that is changed again gets another record
//! behind them, as if it had been changed in another transaction.

use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashTable};

use super::attributes::{EntryId, Kind};
use super::record::{self, NodeState};
use crate::log::{Decoder, Draft, Encoder};

/// A record: a tombstone, or a node's.
#[derive(Clone, Copy, Debug)]
struct SealedRecord<'b> {
    entry: EntryId,
    /// Where its front ends; it begins where that of the record before it does. A tombstone's is empty.
    end: usize,
    value: &'b [u8],
}

/// What the changes so far have made of an entry.
#[derive(Debug)]
pub(super) enum Sealed {
    Removed,
    Changed(NodeState),
}

/// Records, in order, and what they say by entry and by name.
#[derive(Debug, Default)]
pub(super) struct SealedChanges<'b> {
    records: Vec<SealedRecord<'b>>,
    fronts: Vec<u8>,
    /// Bytes of all values.
    values: u64,
    has_removed: bool,
    /// The number of each entry's last record.
    by_entry: HashTable<u32>,
    /// A directory, who has the name there (0: nobody), and the name, one behind the other.
    names: Vec<u8>,
    /// Where in them each name's last one is.
    by_name: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl<'b> SealedChanges<'b> {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Bytes of memory.
    pub(super) fn memory(&self) -> u64 {
        let records = self.records.len() * size_of::<SealedRecord<'_>>() + self.fronts.len() + self.names.len();
        (records + self.by_entry.allocation_size() + self.by_name.allocation_size()) as u64
    }

    /// About how many bytes of log it takes.
    pub(super) fn size(&self) -> u64 {
        self.records.len() as u64 * 48 + self.fronts.len() as u64 + self.values
    }

    /// Whether any entry is removed.
    pub(super) fn has_removed(&self) -> bool {
        self.has_removed
    }

    /// The entries that are removed.
    pub(super) fn removed(&self) -> impl Iterator<Item = EntryId> {
        self.drafts().filter(|draft| draft.kind == record::TOMBSTONE).map(|draft| draft.entry)
    }

    /// Whether there is no room in the tables for as many again.
    pub(super) fn is_full(&self) -> bool {
        self.records.len().max(self.names.len()) > u32::MAX as usize / 2
    }

    /// Adds the record of a removed entry.
    pub(super) fn remove(&mut self, entry: EntryId) {
        self.has_removed = true;
        self.push(entry, &[]);
    }

    /// Adds the node record, with this sequence number, of an entry.
    pub(super) fn change(&mut self, entry: EntryId, state: &NodeState, sequence: u64, value: &'b [u8]) {
        record::put_node(state, sequence, 0, &mut self.fronts);
        self.push(entry, value);
    }

    fn push(&mut self, entry: EntryId, value: &'b [u8]) {
        let number = self.records.len() as u32;
        self.values += value.len() as u64;
        self.records.push(SealedRecord { entry, end: self.fronts.len(), value });
        let SealedChanges { records, by_entry, hasher, .. } = self;
        let of = |number: &u32| records.get(*number as usize).map_or(0, |record| record.entry);
        let hash = |number: &u32| hasher.hash_one(of(number));
        match by_entry.find_mut(hasher.hash_one(entry), |number| of(number) == entry) {
            Some(last) => *last = number,
            None => drop(by_entry.insert_unique(hasher.hash_one(entry), number, hash)),
        }
    }

    /// Notes who has a name.
    pub(super) fn name(&mut self, parent: EntryId, name: &[u8], entry: Option<EntryId>) {
        let at = self.names.len() as u32;
        self.names.put_varint(parent);
        self.names.put_varint(entry.unwrap_or(0));
        self.names.put_u8(name.len() as u8);
        self.names.extend_from_slice(name);
        let SealedChanges { names, by_name, hasher, .. } = self;
        let hash = |at: &u32| name_at(names, *at).map_or(0, |(parent, _, name)| hasher.hash_one((parent, name)));
        let is_it = |at: &u32| name_at(names, *at).is_some_and(|(of, _, its)| of == parent && its == name);
        match by_name.find_mut(hasher.hash_one((parent, name)), is_it) {
            Some(last) => *last = at,
            None => drop(by_name.insert_unique(hasher.hash_one((parent, name)), at, hash)),
        }
    }

    /// Who has a name, if any of these changes says so.
    pub(super) fn lookup(&self, parent: EntryId, name: &[u8]) -> Option<Option<EntryId>> {
        if self.by_name.is_empty() {
            return None;
        }
        let is_it = |at: &u32| name_at(&self.names, *at).is_some_and(|(of, _, its)| of == parent && its == name);
        let at = self.by_name.find(self.hasher.hash_one((parent, name)), is_it)?;
        name_at(&self.names, *at).map(|(_, entry, _)| Some(entry).filter(|entry| *entry != 0))
    }

    /// What these changes have made of an entry, if any of them has changed it. `first` is the sequence number of the
    /// first record.
    pub(super) fn get(&self, entry: EntryId, first: u64) -> Option<Sealed> {
        if self.by_entry.is_empty() {
            return None;
        }
        let of = |number: &u32| self.records.get(*number as usize).map_or(0, |record| record.entry);
        let number = *self.by_entry.find(self.hasher.hash_one(entry), |number| of(number) == entry)? as usize;
        let value = self.records.get(number).map_or(0, |record| record.value.len());
        match record::decode_node(self.front(number), first + number as u64, value as u32) {
            Some(node) => Some(Sealed::Changed(node.state)),
            None => Some(Sealed::Removed),
        }
    }

    fn front(&self, number: usize) -> &[u8] {
        let end = |number: usize| self.records.get(number).map_or(0, |record| record.end);
        let start = number.checked_sub(1).map_or(0, end);
        self.fronts.get(start..end(number)).unwrap_or_default()
    }

    /// The records as they are to be appended.
    pub(super) fn drafts(&self) -> impl Iterator<Item = Draft<'_>> + Clone {
        self.records.iter().enumerate().map(|(number, SealedRecord { entry, value, .. })| {
            let front = self.front(number);
            let kind = if front.is_empty() { record::TOMBSTONE } else { record::NODE };
            Draft { kind, entry: *entry, front, bulk: value }
        })
    }
}

fn name_at(names: &[u8], at: u32) -> Option<(EntryId, EntryId, &[u8])> {
    let mut decoder = Decoder::new(names.get(at as usize..)?);
    let (parent, entry, len) = (decoder.varint().ok()?, decoder.varint().ok()?, decoder.u8().ok()?);
    Some((parent, entry, decoder.bytes(len.into()).ok()?))
}

/// Whether an entry in this state can be sealed: what it has is all in its one record.
pub(super) fn is_plain(state: &NodeState) -> bool {
    state.attributes.kind == Kind::File && state.links.len() <= 1 && state.further == 0 && state.xattrs.is_empty()
}
