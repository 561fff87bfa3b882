//! The keydir: every entry in memory, as a tree.
//!
//! It changes in one way only: a record that stands in the log is applied. Recovery applies all of them; a running
//! store applies each right after appending it. So what is in memory is by construction what a restart would find.
//! The one exception are *provisional* entries: files that were created but hold no acknowledged value yet. They are
//! in the tree, and in no record; the first record that is written of one makes it an ordinary entry.
//!
//! Order of application is the order of sequence numbers. Children may come before the directory that they are in
//! (a merge may have moved that), so a directory that is not known yet is made up, and filled in later.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::{HashMap, HashSet};

use super::attributes::{Attributes, EntryId, Kind, ROOT, Stat, Time};
use super::directory::{self, Directory};
use super::extents::{Extent, Extents};
use super::range_map::Piece;
use super::record::{DATA_PREFIX, Link, NodeRecord, NodeState};
use super::usage::Usage;
use crate::log::Location;

/// What stat shows as the size of a directory.
const DIRECTORY_SIZE: u64 = 4096;

/// An entry.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) state: NodeState,
    pub(super) extents: Extents,
    /// The node record that holds the state.
    pub(super) meta: Option<Meta>,
    /// Sequence number of the last record that changed the value.
    pub(super) value_sequence: u64,
    pub(super) directory: Option<Box<Directory>>,
    /// How often the layer above holds on to it: an entry without names lives while it is held.
    pins: AtomicU64,
    /// In no record yet.
    pub(super) provisional: bool,
}

impl Node {
    pub(super) fn new(state: NodeState) -> Node {
        let directory = (state.attributes.kind == Kind::Directory).then(Box::default);
        Node {
            state,
            extents: Extents::None,
            meta: None,
            value_sequence: 0,
            directory,
            pins: AtomicU64::new(0),
            provisional: false,
        }
    }

    pub(super) fn is_directory(&self) -> bool {
        self.directory.is_some()
    }

    /// Whether there are bytes for the whole of a value of this size, none of them older than `start`.
    pub(super) fn has_all(&self, start: u64, size: u64) -> bool {
        let young = self.extents.within(0..size).into_iter().filter(|(_, extent)| extent.sequence >= start);
        young.map(|(range, _)| range.end - range.start).sum::<u64>() == size
    }

    pub(super) fn stat(&self, id: EntryId) -> Stat {
        let state = &self.state;
        let (size, links) = match &self.directory {
            Some(_) if id != ROOT && state.links.is_empty() => (DIRECTORY_SIZE, 0),
            Some(directory) => (DIRECTORY_SIZE, 2 + directory.subdirectories),
            None => (state.size, state.links.len() as u32),
        };
        Stat { id, attributes: state.attributes, size, allocated: self.extents.total(), links }
    }
}

/// The record that holds an entry's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) location: Location,
    pub(super) sequence: u64,
    /// Bytes of it, an inline value left out.
    pub(super) len: u64,
}

/// A stretch of a value that is in the log, but not published yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Staged {
    pub(super) entry: EntryId,
    pub(super) offset: u64,
    pub(super) len: u64,
    /// Where the bytes are; `None` for a hole.
    pub(super) extent: Option<Extent>,
}

/// Every entry.
#[derive(Debug)]
pub(super) struct Keydir {
    nodes: HashMap<EntryId, Node>,
    /// By stage, in order of sequence numbers.
    stages: HashMap<u64, Vec<Staged>>,
    /// Stages with holes that will never be published.
    dead_stages: HashSet<u64>,
    pub(super) usage: Usage,
    /// Greater than every id in use.
    pub(super) next_id: EntryId,
    /// Provisional entries, which are in no record.
    provisional: usize,
    /// Sequence number of the last record of an entry that could not be read.
    damaged: HashMap<EntryId, u64>,
}

impl Keydir {
    /// A tree with nothing but a root.
    pub(super) fn new() -> Keydir {
        let mut nodes = HashMap::new();
        nodes.insert(ROOT, Node::new(unknown_state(Kind::Directory, 0o755)));
        Keydir {
            nodes,
            stages: HashMap::new(),
            dead_stages: HashSet::new(),
            usage: Usage::default(),
            next_id: ROOT + 1,
            provisional: 0,
            damaged: HashMap::new(),
        }
    }

    pub(super) fn get(&self, id: EntryId) -> Option<&Node> {
        self.nodes.get(&id)
    }

    /// Number of entries, the root and the provisional ones left out.
    pub(super) fn len(&self) -> usize {
        self.nodes.len() - 1 - self.provisional
    }

    pub(super) fn lookup(&self, parent: EntryId, name: &[u8]) -> Option<EntryId> {
        let is_it = |link: &Link| link.parent == parent && *link.name == *name;
        let has_it = |id: &EntryId| self.get(*id).is_some_and(|node| node.state.links.iter().any(is_it));
        self.get(parent)?.directory.as_ref()?.candidates(name).map(|(_, id)| id).find(has_it)
    }

    /// The children of a directory whose names begin with these bytes, in order of names.
    pub(super) fn sorted(&self, directory: EntryId, front: &[u8]) -> Vec<(&[u8], EntryId)> {
        let children = self.get(directory).and_then(|node| node.directory.as_ref());
        let children = children.into_iter().flat_map(|directory| directory.after_cookie(0));
        let named = children.filter_map(|(cookie, id)| Some((self.name_at(directory, cookie, id)?, id)));
        let mut named: Vec<_> = named.filter(|(name, _)| name.starts_with(front)).collect();
        named.sort_unstable();
        named
    }

    /// The name that an entry has at this place of a directory.
    pub(super) fn name_at(&self, parent: EntryId, cookie: u64, id: EntryId) -> Option<&[u8]> {
        let mut links = self.get(id)?.state.links.iter();
        links.find(|link| link.parent == parent && directory::may_be_at(&link.name, cookie)).map(|link| &*link.name)
    }

    /// An entry's path, for messages. The first of its names if it has several.
    pub(super) fn path(&self, id: EntryId) -> String {
        let mut names = Vec::new();
        let mut id = id;
        // Bounded, should damage have made a circle.
        while id != ROOT && names.len() < 4096 {
            let Some(link) = self.get(id).and_then(|node| node.state.links.first()) else {
                names.push(format!("(entry {id})"));
                break;
            };
            names.push(String::from_utf8_lossy(&link.name).into_owned());
            id = link.parent;
        }
        names.reverse();
        names.join("/")
    }

    pub(super) fn stage(&self, stage: u64) -> &[Staged] {
        self.stages.get(&stage).map_or(&[], Vec::as_slice)
    }

    /// Forgets a stage that will not be published.
    pub(super) fn drop_stage(&mut self, stage: u64) {
        if let Some(staged) = self.stages.remove(&stage)
            && staged.iter().any(|staged| staged.extent.is_none())
        {
            self.dead_stages.insert(stage);
        }
    }

    /// Whether a hole of this stage counts.
    pub(super) fn is_published(&self, stage: u64) -> bool {
        !self.stages.contains_key(&stage) && !self.dead_stages.contains(&stage)
    }

    /// The segments that hold bytes which are not published yet. They may be read by those who wrote them, and stay.
    pub(super) fn staged_segments(&self) -> HashSet<u32> {
        let staged = self.stages.values().flatten();
        staged.filter_map(|staged| Some(staged.extent?.location.segment)).collect()
    }

    /// Holds on to an entry; false if it is not there.
    pub(super) fn pin(&self, id: EntryId) -> bool {
        let node = self.get(id);
        node.is_some_and(|node| node.pins.fetch_add(1, Ordering::Relaxed) < u64::MAX)
    }

    /// Lets go of an entry. True if it may be an orphan now: see [`Keydir::drop_if_orphan`].
    pub(super) fn unpin(&self, id: EntryId, count: u64) -> bool {
        let Some(node) = self.get(id) else { return false };
        let before =
            node.pins.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |pins| Some(pins.saturating_sub(count)));
        before.is_ok_and(|pins| pins <= count) && node.state.links.is_empty()
    }

    /// Puts an entry into the tree that no record speaks of yet.
    pub(super) fn insert_provisional(&mut self, id: EntryId, state: NodeState, time: Time) {
        for link in &state.links {
            if let Some(parent) = self.nodes.get_mut(&link.parent) {
                parent.state.attributes.mtime = time;
                parent.state.attributes.ctime = time;
            }
        }
        let mut node = Node::new(state);
        node.provisional = true;
        self.provisional += 1;
        self.next_id = self.next_id.max(id + 1);
        let links = node.state.links.clone();
        self.nodes.insert(id, node);
        links.iter().for_each(|link| self.attach(id, link));
    }

    /// Changes the attributes of an entry that no record speaks of: not yet, or not any more.
    pub(super) fn change_unrecorded(&mut self, id: EntryId, state: NodeState) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.state.attributes = state.attributes;
            node.state.xattrs = state.xattrs;
        }
    }

    /// Applies a node record. `body_len` is the length of its body.
    pub(super) fn apply_node(&mut self, id: EntryId, sequence: u64, at: Location, body_len: u32, record: NodeRecord) {
        let NodeRecord { state, stage, inline } = record;
        self.next_id = self.next_id.max(id + 1);
        let old = self.nodes.get(&id).map(|node| node.state.links.clone()).unwrap_or_default();
        old.iter().filter(|link| !state.links.contains(link)).for_each(|link| self.detach(id, link));
        let staged = self.stages.remove(&stage).unwrap_or_default();
        let usage = &mut self.usage;
        let node = self.nodes.entry(id).or_insert_with(|| Node::new(state.clone()));
        self.provisional -= usize::from(std::mem::take(&mut node.provisional));
        if state.attributes.kind == Kind::Directory && node.directory.is_none() {
            node.directory = Some(Box::default());
        }
        node.extents.drop_older(state.value_start, usage);
        for Staged { offset, len, extent, .. } in staged.into_iter().filter(|staged| staged.entry == id) {
            match extent {
                Some(extent) => node.extents.insert(offset..offset + len, extent, usage),
                None => node.extents.remove(offset..offset + len, usage),
            }
        }
        if let Some((skip, len)) = inline {
            node.extents.insert(0..u64::from(len), Extent { location: at, body_len, skip, sequence }, usage);
        }
        let len = crate::log::HEADER_LEN as u64 + u64::from(body_len - inline.map_or(0, |(_, len)| len));
        if let Some(old) = node.meta.replace(Meta { location: at, sequence, len }) {
            usage.subtract(old.location.segment, old.len);
        }
        usage.add(at.segment, len);
        if stage != 0 || inline.is_some() || state.value_start > node.state.value_start {
            node.value_sequence = sequence;
        }
        let links = state.links.clone();
        node.state = state;
        links.iter().filter(|link| !old.contains(link)).for_each(|link| self.attach(id, link));
    }

    /// Applies a data record: its bytes are staged until a node record publishes them. Those of stage 0 were published
    /// when a merge moved them.
    pub(super) fn apply_data(&mut self, entry: EntryId, stage: u64, offset: u64, len: u64, mut extent: Extent) {
        extent.skip = DATA_PREFIX as u32;
        self.next_id = self.next_id.max(entry + 1);
        if stage != 0 {
            self.stages.entry(stage).or_default().push(Staged { entry, offset, len, extent: Some(extent) });
            return;
        }
        let usage = &mut self.usage;
        let node = self.nodes.entry(entry).or_insert_with(|| Node::new(unknown_state(Kind::File, 0o600)));
        if extent.sequence >= node.state.value_start {
            node.extents.insert(offset..offset + len, extent, usage);
        }
    }

    /// Applies a hole record, as a data record.
    pub(super) fn apply_hole(&mut self, entry: EntryId, stage: u64, offset: u64, len: u64) {
        if stage != 0 {
            self.stages.entry(stage).or_default().push(Staged { entry, offset, len, extent: None });
        } else if let Some(node) = self.nodes.get_mut(&entry) {
            node.extents.remove(offset..offset + len, &mut self.usage);
        }
    }

    /// Notes that a merge has moved an entry's node record, unless that is outdated.
    pub(super) fn move_meta(&mut self, id: EntryId, sequence: u64, location: Location, len: u64) {
        if let Some(node) = self.nodes.get_mut(&id)
            && let Some(old) = node.meta.filter(|meta| meta.sequence == sequence)
        {
            node.meta = Some(Meta { location, sequence, len });
            self.usage.subtract(old.location.segment, old.len);
            self.usage.add(location.segment, len);
        }
    }

    /// Notes that a merge has moved the bytes of a value that are within `range` and from the record at `from`, as far
    /// as they are still there. `to` is where the range's first byte is now.
    pub(super) fn move_extent(&mut self, id: EntryId, range: Range<u64>, from: Location, to: Extent) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        for (place, extent) in node.extents.of_record(range.clone(), to.sequence) {
            if extent.location == from {
                let mut moved = to;
                moved.advance(place.start - range.start);
                node.extents.insert(place, moved, &mut self.usage);
            }
        }
    }

    /// Applies a tombstone: the entry has no name any more.
    pub(super) fn apply_tombstone(&mut self, id: EntryId) {
        self.next_id = self.next_id.max(id + 1);
        let Some(node) = self.nodes.get_mut(&id) else { return };
        self.provisional -= usize::from(std::mem::take(&mut node.provisional));
        let links = std::mem::take(&mut node.state.links);
        links.iter().for_each(|link| self.detach(id, link));
        self.drop_if_orphan(id);
    }

    /// Notes that a record of this entry could not be read. It may come before the record that publishes it.
    pub(super) fn apply_damage(&mut self, id: EntryId, sequence: u64) {
        let damaged = self.damaged.entry(id).or_default();
        *damaged = sequence.max(*damaged);
    }

    /// Whether a record that may be part of an entry's value could not be read.
    pub(super) fn is_damaged(&self, id: EntryId, node: &Node) -> bool {
        self.damaged.get(&id).is_some_and(|&sequence| sequence >= node.state.value_start)
    }

    /// After recovery: drops what no record published, and hangs directories whose own record is lost, but not their
    /// children's, below the root. Returns the names given to those.
    pub(super) fn finish_recovery(&mut self) -> Vec<String> {
        let open: Vec<u64> = self.stages.keys().copied().collect();
        open.into_iter().for_each(|stage| self.drop_stage(stage));
        let lost = |(id, node): (&EntryId, &Node)| (*id != ROOT && node.state.links.is_empty()).then_some(*id);
        let lost: Vec<EntryId> = self.nodes.iter().filter_map(lost).collect();
        let mut names = Vec::new();
        for id in lost {
            if self.get(id).and_then(|node| node.directory.as_ref()).is_none_or(|directory| directory.len() == 0) {
                self.remove_node(id);
                continue;
            }
            let name = format!("lost+found.{id}");
            let link = Link { parent: ROOT, name: name.as_bytes().into() };
            if let Some(node) = self.nodes.get_mut(&id) {
                node.state.links.push(link.clone());
            }
            self.attach(id, &link);
            names.push(name);
        }
        names
    }

    fn attach(&mut self, id: EntryId, link: &Link) {
        let occupant = self.lookup(link.parent, &link.name);
        if let Some(occupant) = occupant.filter(|occupant| *occupant != id) {
            self.displace(occupant, link);
        }
        let is_directory = self.get(id).is_some_and(Node::is_directory);
        let parent = self.nodes.entry(link.parent).or_insert_with(|| Node::new(unknown_state(Kind::Directory, 0o700)));
        let directory = parent.directory.get_or_insert_default();
        directory.insert(&link.name, id);
        directory.subdirectories += u32::from(is_directory);
        self.next_id = self.next_id.max(link.parent + 1);
    }

    fn detach(&mut self, id: EntryId, link: &Link) {
        let is_directory = self.get(id).is_some_and(Node::is_directory);
        if let Some(directory) = self.nodes.get_mut(&link.parent).and_then(|node| node.directory.as_mut())
            && directory.remove(&link.name, id)
        {
            directory.subdirectories -= u32::from(is_directory);
        }
    }

    /// Takes a name from the entry that has it: the next record of the same transaction says what becomes of that.
    fn displace(&mut self, id: EntryId, place: &Link) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let links = &mut node.state.links;
        let taken = links.iter().position(|link| link.parent == place.parent && link.name == place.name);
        if let Some(link) = taken.map(|position| links.swap_remove(position)) {
            self.detach(id, &link);
        }
    }

    /// Drops an entry that has no name and that nobody holds.
    pub(super) fn drop_if_orphan(&mut self, id: EntryId) {
        let orphan = |node: &Node| node.state.links.is_empty() && node.pins.load(Ordering::Relaxed) == 0;
        if id != ROOT && self.get(id).is_some_and(orphan) {
            self.remove_node(id);
        }
    }

    fn remove_node(&mut self, id: EntryId) {
        if let Some(mut node) = self.nodes.remove(&id) {
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
        xattrs: Vec::new(),
        target: Box::default(),
        expires: None,
        value_start: 0,
    }
}
