//! The keydir: every entry in memory, as a tree.
//!
//! It changes in one way only: a record that stands in the log is applied. Recovery applies all of them; a running
//! store applies each right after appending it. So what is in memory is by construction what a restart would find.
//! The one exception are *provisional* entries: files that were created but hold no acknowledged value yet. They are
//! in the tree, and in no record; the first record that is written of one makes it an ordinary entry.
//!
//! Order of application is the order of sequence numbers. Children may come before the directory that they are in
//! (a merge may have moved that), so a directory that is not known yet is made up, and filled in later.

mod blocks;
mod due;
mod entries;
mod further;
mod known_xattrs;
mod lending;
mod listing;
mod names;
mod node;
mod packed;
mod pins;
mod plain;
mod room;
mod unread;

use std::ops::Range;

use hashbrown::{HashMap, HashSet};

use super::Standing;
use super::attributes::{Attributes, EntryId, Kind, ROOT, Stat, Time};
use super::directory::Directory;
use super::extents::{Extent, Extents, Runs};
use super::range_map::Piece;
use super::record::{DATA_PREFIX, Link, NodeRecord, NodeState, Share};
use super::usage::Usage;
use crate::log::{HEADER_LEN, Location};
#[cfg(test)]
pub(in crate::store) use blocks::MOST;
use due::Due;
pub(in crate::store) use entries::Entries;
use entries::Entry;
pub(in crate::store) use further::{NameRecord, further_name_size};
use known_xattrs::KnownXattrs;
use lending::Lending;
use listing::Listings;
pub(in crate::store) use listing::{Found, Listing, Scope, Seen};
pub(in crate::store) use node::{CHILD, Meta, Node, PIECE};
use pins::Pins;
pub(in crate::store) use plain::Plain;

/// A stretch of a value that is in the log, but not published yet.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Staged {
    pub(in crate::store) entry: EntryId,
    pub(in crate::store) offset: u64,
    pub(in crate::store) len: u64,
    /// Where the bytes are; `None` for a hole.
    pub(in crate::store) extent: Option<Extent>,
    /// The segment of the record that says so; 0 for a hole.
    segment: u32,
}

/// Every entry.
#[derive(Debug)]
pub(in crate::store) struct Keydir {
    entries: Entries,
    pins: Pins,
    listings: Listings,
    /// By stage, in order of sequence numbers.
    stages: HashMap<u64, Vec<Staged>>,
    /// Stretches in all of them.
    staged: usize,
    /// Stages with holes that will never be published.
    dead_stages: HashSet<u64>,
    pub(in crate::store) usage: Usage,
    lending: Lending,
    pub(in crate::store) due: Due,
    /// Greater than every id in use.
    pub(in crate::store) next_id: EntryId,
    /// Provisional entries, which are in no record.
    provisional: usize,
    /// Sequence number of the last record of an entry that could not be read.
    damaged: HashMap<EntryId, u64>,
    /// Those of them of which a repair has said so.
    lost: HashSet<EntryId>,
    /// Directories of which nothing is known but what is in them, because a part of the log could not be read: nothing is
    /// written of them.
    unread: HashSet<EntryId>,
    /// While the log is read: entries that may have no name in the end.
    nameless: Option<HashSet<EntryId>>,
    known_xattrs: KnownXattrs,
}

impl Keydir {
    /// A tree with nothing but a root.
    pub(in crate::store) fn new() -> Keydir {
        let mut entries = Entries::new();
        entries.insert(ROOT, Node::new(unknown_state(Kind::Directory, 0o755)));
        Keydir {
            entries,
            pins: Pins::new(),
            listings: Listings::default(),
            stages: HashMap::new(),
            staged: 0,
            dead_stages: HashSet::new(),
            usage: Usage::default(),
            lending: Lending::default(),
            due: Due::new(),
            next_id: ROOT + 1,
            provisional: 0,
            damaged: HashMap::new(),
            lost: HashSet::new(),
            unread: HashSet::new(),
            nameless: Some(HashSet::new()),
            known_xattrs: KnownXattrs::default(),
        }
    }

    /// Whether an entry may have an extended attribute of this name: some entry has, or had one.
    pub(in crate::store) fn knows_xattr(&self, name: &[u8]) -> bool {
        self.known_xattrs.contains(name)
    }

    pub(in crate::store) fn get(&self, id: EntryId) -> Option<Entry<'_>> {
        self.entries.get(id)
    }

    pub(in crate::store) fn contains(&self, id: EntryId) -> bool {
        self.entries.contains(id)
    }

    /// What stat shows of an entry.
    pub(in crate::store) fn stat(&self, id: EntryId) -> Option<Stat> {
        self.entries.stat(id)
    }

    /// Whether a record speaks of an entry, and whether it has a name.
    pub(in crate::store) fn standing(&self, id: EntryId) -> Option<Standing> {
        self.entries.standing(id)
    }

    /// What stat shows of an entry that a record speaks of, unless it is to be gone at this second.
    pub(in crate::store) fn published(&self, id: EntryId, second: i64) -> Option<Stat> {
        self.entries.published(id, second)
    }

    /// Length and extents of a value, clipped to `range`; `None` if there is no such entry. Not to be trusted where
    /// there is damage: see [`Keydir::is_damaged`].
    pub(in crate::store) fn value(&self, id: EntryId, range: Range<u64>) -> Option<(u64, Runs)> {
        self.entries.value(id, range)
    }

    /// Looks at where a value's bytes are; `None` if there is no such entry.
    pub(in crate::store) fn extents<R>(&self, id: EntryId, look: impl FnOnce(&Extents) -> R) -> Option<R> {
        self.entries.extents(id, look)
    }

    /// The children of a directory.
    pub(in crate::store) fn directory(&self, id: EntryId) -> Option<&Directory> {
        self.entries.get_whole(id)?.directory.as_deref()
    }

    /// Number of entries, the root and the provisional ones left out.
    pub(in crate::store) fn len(&self) -> usize {
        self.entries.len() - 1 - self.provisional
    }

    /// The ids of all entries, in no order.
    pub(in crate::store) fn ids(&self) -> impl Iterator<Item = EntryId> {
        self.entries.ids()
    }

    pub(in crate::store) fn stage(&self, stage: u64) -> &[Staged] {
        self.stages.get(&stage).map_or(&[], Vec::as_slice)
    }

    /// Whether something is staged for an entry.
    pub(in crate::store) fn is_staged(&self, entry: EntryId) -> bool {
        self.stages.values().any(|staged| staged.first().is_some_and(|staged| staged.entry == entry))
    }

    /// The files with at least so many extents that were last changed by this sequence number or before it.
    pub(in crate::store) fn crumbled(&self, extents: usize, rested: u64) -> Vec<EntryId> {
        let crumbled = |node: &Node| node.extents.pieces() >= extents && node.value_sequence <= rested;
        self.entries.whole().filter(|(_, node)| crumbled(node)).map(|(id, _)| id).collect()
    }

    /// Forgets a stage that will not be published.
    pub(in crate::store) fn drop_stage(&mut self, stage: u64) {
        if let Some(staged) = self.take_stage(stage)
            && staged.iter().any(|staged| staged.extent.is_none())
        {
            self.dead_stages.insert(stage);
        }
    }

    /// Whether a hole of this stage counts.
    pub(in crate::store) fn is_published(&self, stage: u64) -> bool {
        !self.stages.contains_key(&stage) && !self.dead_stages.contains(&stage)
    }

    /// The segments that hold bytes which are not published yet, or lend them, or say so. They may be read by those who
    /// wrote them, and stay.
    pub(in crate::store) fn staged_segments(&self) -> HashSet<u32> {
        let staged = self.stages.values().flatten();
        staged.filter_map(|staged| Some([staged.extent?.location.segment, staged.segment])).flatten().collect()
    }

    /// Holds on to an entry, if it is there.
    pub(in crate::store) fn pin(&self, id: EntryId) {
        if self.contains(id) {
            self.pins.pin(id);
        }
    }

    /// Lets go of an entry. True if it may be an orphan now: see [`Keydir::drop_if_orphan`].
    pub(in crate::store) fn unpin(&self, id: EntryId, count: u64) -> bool {
        self.pins.unpin(id, count) && self.stat(id).is_some_and(|stat| stat.links == 0)
    }

    /// Puts an entry into the tree that no record speaks of yet.
    pub(in crate::store) fn insert_provisional(&mut self, id: EntryId, state: NodeState, time: Time) {
        for link in &state.links {
            self.keep_entry(link.parent);
            self.entries.change(link.parent, |parent| {
                parent.state.attributes.mtime = time;
                parent.state.attributes.ctime = time;
            });
        }
        self.due.change(id, None, state.due());
        self.known_xattrs.note(&state);
        let mut node = Node::new(state);
        node.provisional = true;
        self.provisional += 1;
        self.next_id = self.next_id.max(id + 1);
        let links = node.state.links.clone();
        self.entries.insert(id, node);
        links.iter().for_each(|link| self.attach(id, false, link));
    }

    /// Changes the attributes of an entry that no record speaks of: not yet, or not any more.
    pub(in crate::store) fn change_unrecorded(&mut self, id: EntryId, state: NodeState) {
        self.known_xattrs.note(&state);
        let changed = self.entries.change(id, |node| {
            let before = node.state.due();
            node.state.attributes = state.attributes;
            node.state.xattrs = state.xattrs;
            node.state.expires = state.expires;
            (before, node.state.due())
        });
        if let Some((before, after)) = changed {
            self.due.change(id, before, after);
        }
    }

    /// Whether a record cannot be of this entry, whatever its checksum says: what is a directory was one from the start,
    /// and has one name, the root none, so that the directories below the root are a tree.
    pub(in crate::store) fn contradicts(&self, id: EntryId, record: &NodeRecord) -> bool {
        let is_directory = record.state.attributes.kind == Kind::Directory;
        let names = u64::from(id != ROOT);
        let is_known = self.contains(id);
        (is_known && self.directory(id).is_some() != is_directory) || (is_directory && record.state.names() > names)
    }

    /// Applies a node record. `body_len` is the length of its body.
    pub(in crate::store) fn apply_node(
        &mut self,
        id: EntryId,
        sequence: u64,
        at: Location,
        body_len: u32,
        mut record: NodeRecord,
    ) {
        self.next_id = self.next_id.max(id + 1);
        self.known_xattrs.note(&record.state);
        let is_directory = record.state.attributes.kind == Kind::Directory;
        self.entries.further.say(id, record.state.further);
        record.state.further = self.entries.further.count(id);
        if let Some(nameless) = self.nameless.as_mut().filter(|_| !record.state.has_name()) {
            nameless.insert(id);
        }
        let staged = self.take_stage(record.stage).unwrap_or_default();
        let extents = staged.iter().filter(|staged| staged.entry == id).filter_map(|staged| staged.extent.as_ref());
        extents.for_each(|extent| self.lending.note(id, extent));
        let bulk_len = record.inline.map_or(0, |(_, len)| len);
        let meta = Meta { location: at, sequence, len: HEADER_LEN as u64 + u64::from(body_len - bulk_len) };
        if !self.contains(id) {
            record.state.links.iter().for_each(|link| self.attach(id, is_directory, link));
            let mut node = Node::new(unknown_state(record.state.attributes.kind, 0));
            node.apply(id, record, (meta, body_len), &staged, &mut self.usage);
            self.due.change(id, None, node.state.due());
            self.entries.insert(id, node);
            return;
        }
        self.keep_entry(id);
        let (old, new) = (self.links(id), record.state.links.clone());
        // Names that were in records of their own, and are in this one now, are in their directories already.
        let mut known = self.own_again(id, &new, &old);
        record.state.further = self.entries.further.count(id);
        old.iter().filter(|link| !new.contains(link)).for_each(|link| self.detach(id, is_directory, link));
        let Keydir { entries, usage, due, provisional, .. } = self;
        entries.change(id, |node| {
            *provisional -= usize::from(std::mem::take(&mut node.provisional));
            let before = node.state.due();
            node.apply(id, record, (meta, body_len), &staged, usage);
            due.change(id, before, node.state.due());
        });
        known.extend(old);
        new.iter().filter(|link| !known.contains(link)).for_each(|link| self.attach(id, is_directory, link));
    }

    /// For whoever still has an entry open that was removed: when it lost its last name.
    pub(in crate::store) fn note_orphan(&mut self, id: EntryId, time: Time) {
        self.entries.change(id, |node| {
            node.state.attributes.ctime = time;
            node.state.expires = None;
        });
    }

    /// Applies the node record of a plain file that is not there yet. False if it is there.
    pub(super) fn apply_plain(&mut self, plain: &Plain, bytes: &[u8]) -> bool {
        let Plain { id, location, len, size, parent, first_place, .. } = *plain;
        let is_new = self.entries.insert_packed(id, plain.packed(bytes));
        if is_new {
            self.next_id = self.next_id.max(id + 1);
            self.attach_at(id, false, parent, plain.name(bytes), first_place);
            self.usage.add(location.segment, len + size);
        }
        is_new
    }

    /// Applies a data record: its bytes are staged until a node record publishes them. Those of stage 0 were published
    /// when a merge moved them.
    pub(in crate::store) fn apply_data(
        &mut self,
        entry: EntryId,
        stage: u64,
        offset: u64,
        len: u64,
        mut extent: Extent,
    ) {
        extent.skip = DATA_PREFIX as u32;
        self.apply_share(entry, extent.location.segment, Share { stage, offset, len, extent });
    }

    /// Applies a share record that stands in this segment, as a data record.
    pub(in crate::store) fn apply_share(&mut self, entry: EntryId, segment: u32, share: Share) {
        let Share { stage, offset, len, extent } = share;
        self.next_id = self.next_id.max(entry + 1);
        if stage != 0 {
            self.push_staged(stage, Staged { entry, offset, len, extent: Some(extent), segment });
            return;
        }
        self.lending.note(entry, &extent);
        if !self.contains(entry) {
            self.entries.insert(entry, Node::new(unknown_state(Kind::File, 0o600)));
            self.nameless.as_mut().map(|nameless| nameless.insert(entry));
        }
        let Keydir { entries, usage, .. } = self;
        entries.change(entry, |node| {
            if extent.sequence >= node.state.value_start {
                node.extents.insert(offset..offset + len, extent, usage);
            }
        });
    }

    /// Applies a hole record, as a data record.
    pub(in crate::store) fn apply_hole(&mut self, entry: EntryId, stage: u64, offset: u64, len: u64) {
        if stage != 0 {
            self.push_staged(stage, Staged { entry, offset, len, extent: None, segment: 0 });
            return;
        }
        let Keydir { entries, usage, .. } = self;
        entries.change(entry, |node| node.extents.remove(offset..offset + len, usage));
    }

    /// Notes that a merge has moved an entry's node record, unless that is outdated.
    pub(in crate::store) fn move_meta(&mut self, id: EntryId, sequence: u64, location: Location, len: u64) {
        let Keydir { entries, usage, .. } = self;
        entries.change(id, |node| {
            if let Some(old) = node.meta.filter(|meta| meta.sequence == sequence) {
                node.meta = Some(Meta { location, sequence, len });
                usage.subtract(old.location.segment, old.len);
                usage.add(location.segment, len);
            }
        });
    }

    /// Notes that a merge has moved the bytes of a value that are within `range` and from the record at `from`, as far
    /// as they are still there. `to` is where the range's first byte is now.
    pub(in crate::store) fn move_extent(&mut self, id: EntryId, range: Range<u64>, from: Location, to: Extent) {
        let Keydir { entries, usage, .. } = self;
        entries.change(id, |node| {
            for (place, extent) in node.extents.of_record(range.clone(), to.sequence) {
                if extent.location == from {
                    let mut moved = to;
                    moved.advance(place.start - range.start);
                    node.extents.insert(place, moved, usage);
                }
            }
        });
    }

    /// Notes that a record of this entry could not be read. It may come before the record that publishes it.
    pub(in crate::store) fn apply_damage(&mut self, id: EntryId, sequence: u64) {
        let damaged = self.damaged.entry(id).or_default();
        *damaged = sequence.max(*damaged);
        self.lost.remove(&id);
    }

    /// Notes that a repair could not save this entry's value.
    pub(in crate::store) fn apply_loss(&mut self, id: EntryId, sequence: u64) {
        self.next_id = self.next_id.max(id + 1);
        self.apply_damage(id, sequence);
        self.lost.insert(id);
    }

    /// Whether the value is known to be lost, and no other damage was met.
    pub(in crate::store) fn is_lost(&self, id: EntryId) -> bool {
        self.lost.contains(&id)
    }

    /// Whether a record that may be part of an entry's value could not be read.
    pub(in crate::store) fn is_damaged(&self, id: EntryId) -> bool {
        let damaged = self.damaged.get(&id);
        damaged.is_some_and(|&sequence| self.get(id).is_some_and(|node| sequence >= node.state.value_start))
    }

    /// Whether there may be such an entry.
    pub(in crate::store) fn has_damage(&self) -> bool {
        !self.damaged.is_empty()
    }

    /// After recovery: drops what no record published, and hangs directories whose own record is lost, but not their
    /// children's, below the root. Returns the names given to those.
    pub(in crate::store) fn finish_recovery(&mut self) -> Vec<String> {
        let open: Vec<u64> = self.stages.keys().copied().collect();
        open.into_iter().for_each(|stage| self.drop_stage(stage));
        let mut lost: Vec<EntryId> = self.nameless.take().unwrap_or_default().into_iter().collect();
        lost.retain(|id| *id != ROOT && self.stat(*id).is_some_and(|stat| stat.links == 0));
        lost.sort_unstable();
        let mut names = Vec::new();
        for id in lost {
            if self.directory(id).is_none_or(|directory| directory.len() == 0) {
                self.remove_node(id);
                continue;
            }
            let name = format!("lost+found.{id}");
            let link = Link { parent: ROOT, name: name.as_bytes().into() };
            self.entries.change(id, |node| node.state.links.push(link.clone()));
            self.attach(id, true, &link);
            names.push(name);
        }
        names
    }

    /// Drops an entry that has no name and that nobody holds.
    pub(in crate::store) fn drop_if_orphan(&mut self, id: EntryId) {
        if id != ROOT && !self.pins.is_pinned(id) && self.stat(id).is_some_and(|stat| stat.links == 0) {
            self.remove_node(id);
        }
    }

    fn remove_node(&mut self, id: EntryId) {
        self.keep_children(id);
        if let Some(mut node) = self.entries.remove(id) {
            self.due.change(id, node.state.due(), None);
            self.take_further(id);
            node.extents.drop_older(u64::MAX, &mut self.usage);
            if let Some(meta) = node.meta {
                self.usage.subtract(meta.location.segment, meta.len);
            }
        }
    }
}

/// An entry of which nothing is known yet.
fn unknown_state(kind: Kind, mode: u16) -> NodeState {
    let time = Time::default();
    let attributes = Attributes { kind, mode, uid: 0, gid: 0, rdev: 0, atime: time, mtime: time, ctime: time };
    NodeState {
        attributes,
        size: 0,
        links: Vec::new(),
        further: 0,
        xattrs: Vec::new(),
        target: Box::default(),
        expires: None,
        value_start: 0,
    }
}
