//! An entry as it is worked on.

use crate::log::Location;
use crate::store::attributes::{EntryId, Kind, ROOT, Stat, Time};
use crate::store::directory::Directory;
use crate::store::extents::{Extent, Extents};
use crate::store::record::{Burden, Link, NodeRecord, NodeState};
use crate::store::usage::Usage;

use super::Staged;

/// What stat shows as the size of a directory.
const DIRECTORY_SIZE: u64 = 4096;

/// An entry.
#[derive(Debug)]
pub(in crate::store) struct Node {
    pub(in crate::store) state: NodeState,
    pub(in crate::store) extents: Extents,
    /// The node record that holds the state.
    pub(in crate::store) meta: Option<Meta>,
    /// Sequence number of the last record that changed the value.
    pub(in crate::store) value_sequence: u64,
    pub(in crate::store) directory: Option<Box<Directory>>,
    /// In no record yet.
    pub(in crate::store) provisional: bool,
}

impl Node {
    pub(in crate::store) fn new(state: NodeState) -> Node {
        let directory = (state.attributes.kind == Kind::Directory).then(Box::default);
        Node { state, extents: Extents::None, meta: None, value_sequence: 0, directory, provisional: false }
    }

    pub(in crate::store) fn is_directory(&self) -> bool {
        self.directory.is_some()
    }

    /// Whether it is a directory of which nothing is known but what is in it.
    pub(super) fn is_made_up(&self) -> bool {
        self.is_directory() && self.meta.is_none() && !self.provisional
    }

    /// Whether there are bytes for the whole of a value of this size, none of them older than `start`.
    pub(in crate::store) fn has_all(&self, start: u64, size: u64) -> bool {
        let young = self.extents.within(0..size).into_iter().filter(|(_, extent)| extent.sequence >= start);
        young.map(|(range, _)| range.end - range.start).sum::<u64>() == size
    }

    pub(in crate::store) fn stat(&self, id: EntryId) -> Stat {
        let state = &self.state;
        let (size, links) = match &self.directory {
            Some(_) if id != ROOT && !state.has_name() => (DIRECTORY_SIZE, 0),
            Some(directory) => (DIRECTORY_SIZE, 2 + directory.subdirectories),
            None => (state.size, state.names() as u32),
        };
        let file = state.attributes.kind == Kind::File;
        let expires = state.expires.filter(|_| file).map(|second| Time::new(second, 0));
        Stat { id, attributes: state.attributes, size, allocated: self.extents.total(), links, expires }
    }

    /// Applies a node record of this entry, whose body has this length. `staged` is what its stage holds.
    pub(super) fn apply(
        &mut self,
        id: EntryId,
        record: NodeRecord,
        (meta, body_len): (Meta, u32),
        staged: &[Staged],
        usage: &mut Usage,
    ) {
        let NodeRecord { mut state, stage, inline } = record;
        if state.value_start < self.state.value_start {
            // It was written after a start that could not read the newest value, which this one could: that stays.
            let brings_bytes = stage != 0 || inline.is_some();
            state.size = if brings_bytes { state.size.max(self.state.size) } else { self.state.size };
            state.value_start = self.state.value_start;
        }
        self.extents.drop_older(state.value_start, usage);
        for &Staged { offset, len, extent, .. } in staged.iter().filter(|staged| staged.entry == id) {
            match extent {
                Some(extent) => self.extents.insert(offset..offset + len, extent, usage),
                None => self.extents.remove(offset..offset + len, usage),
            }
        }
        let Meta { location, sequence, len } = meta;
        if let Some((skip, len)) = inline {
            self.extents.insert(0..u64::from(len), Extent::own(location, body_len, skip, sequence), usage);
        }
        if let Some(old) = self.meta.replace(meta) {
            usage.subtract(old.location.segment, old.len);
        }
        usage.add(location.segment, len);
        if stage != 0 || inline.is_some() || state.value_start > self.state.value_start {
            self.value_sequence = sequence;
        }
        self.state = state;
    }

    /// What it holds in memory.
    pub(super) fn held(&self) -> Held {
        /// What the allocator adds.
        const MORE: usize = 48;
        let Burden { bytes, .. } = self.state.burden();
        let pieces = match &self.extents {
            Extents::Many(map) => map.len() * PIECE,
            Extents::None | Extents::One(..) => 0,
        };
        let directory = self.directory.as_ref().map_or(0, |directory| size_of::<Directory>() + directory.len() * CHILD);
        let attributes = self.state.links.len() * size_of::<Link>() + self.state.xattrs.len() * 64 + bytes;
        Held { nodes: size_of::<Node>() + MORE, children: directory, attributes, extents: pieces }
    }
}

/// What a child takes in the tree of a directory, in bytes of memory.
pub(in crate::store) const CHILD: usize = 29;
/// What a piece takes in that of a value.
pub(in crate::store) const PIECE: usize = 72;

/// Bytes of memory that entries hold which are not packed, about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// Themselves.
    pub(super) nodes: usize,
    /// The trees of directories.
    pub(super) children: usize,
    /// Names, extended attributes and targets.
    pub(super) attributes: usize,
    /// Where values in several pieces are.
    pub(super) extents: usize,
}

impl Held {
    pub(super) fn add(&mut self, other: Held) {
        self.nodes += other.nodes;
        self.children += other.children;
        self.attributes += other.attributes;
        self.extents += other.extents;
    }

    pub(super) fn subtract(&mut self, other: Held) {
        self.nodes -= other.nodes;
        self.children -= other.children;
        self.attributes -= other.attributes;
        self.extents -= other.extents;
    }

    /// A directory has another number of children.
    pub(super) fn change_children(&mut self, before: usize, after: usize) {
        self.children = self.children + after * CHILD - before * CHILD;
    }
}

/// The record that holds an entry's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Meta {
    pub(in crate::store) location: Location,
    pub(in crate::store) sequence: u64,
    /// Bytes of it, an inline value left out.
    pub(in crate::store) len: u64,
}
