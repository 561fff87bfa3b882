//! The reference: two plain trees, the one that is seen and the one that a crash leaves.

use std::collections::{BTreeMap, BTreeSet};

use caskfs::fs::{HandleId, SetAttributes, SetTime};
use caskfs::store::{Attributes, EntryId, Kind, ROOT, Time};

/// An errno.
pub(crate) type Errno = i32;

/// The extended attribute that says when a file expires.
pub(crate) const EXPIRES: &[u8] = b"user.caskfs.expires";

/// A file, directory, or anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) attributes: Attributes,
    /// The value, or a symbolic link's target.
    pub(crate) bytes: Vec<u8>,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// All entries, and the names that lead to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    pub(crate) nodes: BTreeMap<EntryId, Node>,
    pub(crate) names: BTreeMap<(EntryId, Vec<u8>), EntryId>,
}

/// An open file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Open {
    pub(crate) id: EntryId,
    pub(crate) write: bool,
    pub(crate) wrote: bool,
    /// The stage of the file that it wrote to last.
    pub(crate) wrote_to: u32,
    /// It may leave something to be committed: it can write, or the file was made with it.
    pub(crate) leaves: bool,
}

/// What happened to a value since it was committed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stage {
    pub(crate) emptied: bool,
    /// Something after that, or without it.
    pub(crate) written: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Reference {
    /// What is seen.
    pub(crate) now: Tree,
    /// What is in the log.
    pub(crate) saved: Tree,
    /// Files whose value in `now` is not committed.
    pub(crate) staged: BTreeMap<EntryId, Stage>,
    /// How often what is staged of a file began anew.
    pub(crate) stages: BTreeMap<EntryId, u32>,
    pub(crate) handles: BTreeMap<HandleId, Open>,
    /// When the operation happens.
    pub(crate) time: Time,
}

impl Tree {
    pub(crate) fn lookup(&self, parent: EntryId, name: &[u8]) -> Option<EntryId> {
        self.names.get(&(parent, name.to_vec())).copied()
    }

    /// The directories that an entry has a name in, once for each name.
    pub(crate) fn parents(&self, id: EntryId) -> Vec<EntryId> {
        self.names.iter().filter(|(_, entry)| **entry == id).map(|((parent, _), _)| *parent).collect()
    }

    pub(crate) fn is_linked(&self, id: EntryId) -> bool {
        id == ROOT || self.names.values().any(|entry| *entry == id)
    }

    pub(crate) fn is_directory(&self, id: EntryId) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.attributes.kind == Kind::Directory)
    }

    pub(crate) fn children(&self, directory: EntryId) -> impl Iterator<Item = (&[u8], EntryId)> {
        let names = self.names.range((directory, Vec::new())..(directory + 1, Vec::new()));
        names.map(|((_, name), id)| (name.as_slice(), *id))
    }

    /// What stat shows as the number of links.
    pub(crate) fn links(&self, id: EntryId) -> u32 {
        let names = self.parents(id).len() as u32;
        let directories = self.children(id).filter(|(_, child)| self.is_directory(*child)).count() as u32;
        match self.is_directory(id) {
            true if names == 0 && id != ROOT => 0,
            true => 2 + directories,
            false => names,
        }
    }
}

impl Reference {
    /// Nothing but a root with these attributes.
    pub(crate) fn new(root: Attributes) -> Reference {
        let mut reference = Reference::default();
        let node = Node { attributes: root, bytes: Vec::new(), xattrs: BTreeMap::new() };
        reference.now.nodes.insert(ROOT, node);
        reference.saved = reference.now.clone();
        reference
    }

    pub(crate) fn node(&self, id: EntryId) -> Result<&Node, Errno> {
        self.now.nodes.get(&id).ok_or(libc::ESTALE)
    }

    pub(crate) fn change(&mut self, id: EntryId) -> Result<&mut Node, Errno> {
        self.now.nodes.get_mut(&id).ok_or(libc::ESTALE)
    }

    /// Seen, but in no record.
    pub(crate) fn is_provisional(&self, id: EntryId) -> bool {
        self.now.is_linked(id) && !self.saved.nodes.contains_key(&id)
    }

    pub(crate) fn is_open(&self, id: EntryId) -> bool {
        self.handles.values().any(|handle| handle.id == id)
    }

    pub(crate) fn writers(&self, id: EntryId) -> usize {
        self.handles.values().filter(|handle| handle.id == id && handle.write).count()
    }

    /// Names and attributes of an entry go to the log, not what is staged of its value.
    pub(crate) fn record(&mut self, id: EntryId) {
        self.saved.names.retain(|_, entry| *entry != id);
        if !self.now.is_linked(id) {
            self.saved.nodes.remove(&id);
            return;
        }
        let Some(mut node) = self.now.nodes.get(&id).cloned() else { return };
        match (self.saved.nodes.get(&id), self.staged.contains_key(&id)) {
            (Some(old), true) => {
                node.bytes.clone_from(&old.bytes);
                node.attributes.mtime = old.attributes.mtime;
            }
            (Some(_), false) => {}
            (None, staged) => {
                if staged {
                    node.bytes.clear();
                }
                // The change of its directory was not recorded when the file was made.
                self.now.parents(id).into_iter().for_each(|parent| self.record(parent));
            }
        }
        self.saved.nodes.insert(id, node);
        let names = self.now.names.iter().filter(|(_, entry)| **entry == id);
        self.saved.names.extend(names.map(|(name, entry)| (name.clone(), *entry)));
    }

    /// Attributes go to the log, unless they are of an entry that is not in there. Says whether they did.
    pub(crate) fn record_attributes(&mut self, id: EntryId) -> bool {
        let recorded = self.saved.nodes.contains_key(&id) && self.now.is_linked(id);
        if recorded {
            self.record(id);
        }
        recorded
    }

    /// The whole entry goes to the log, unless it is there already or has no name. Says whether it did.
    pub(crate) fn commit(&mut self, id: EntryId) -> bool {
        let due = self.staged.contains_key(&id) || self.is_provisional(id);
        if !due || !self.now.is_linked(id) {
            return false;
        }
        self.take_stage(id);
        self.record(id);
        true
    }

    /// What is staged of a file is so no longer.
    pub(crate) fn take_stage(&mut self, id: EntryId) {
        if self.staged.remove(&id).is_some() {
            *self.stages.entry(id).or_default() += 1;
        }
    }

    /// Entries without a name are gone once nobody holds them.
    pub(crate) fn sweep(&mut self, held: &BTreeMap<EntryId, u64>) {
        let linked: BTreeSet<EntryId> = self.now.names.values().copied().chain([ROOT]).collect();
        self.now.nodes.retain(|id, _| linked.contains(id) || held.contains_key(id));
        self.staged.retain(|id, _| self.now.nodes.contains_key(id));
    }

    /// The process is killed.
    pub(crate) fn crash(&mut self) {
        self.now = self.saved.clone();
        self.staged.clear();
        self.handles.clear();
    }

    /// Says whether anything went to the log.
    pub(crate) fn setattr(&mut self, id: EntryId, change: &SetAttributes) -> Result<bool, Errno> {
        let now = self.time;
        let at = |set: SetTime| if let SetTime::At(time) = set { time } else { now };
        let staged = self.staged.contains_key(&id);
        let attributes = &mut self.change(id)?.attributes;
        let owner = change.uid.or(change.gid).is_some();
        if owner && attributes.kind != Kind::Directory {
            // By root.
            attributes.mode = without_privileges(attributes.mode, true);
        }
        attributes.mode = change.mode.unwrap_or(attributes.mode);
        attributes.uid = change.uid.unwrap_or(attributes.uid);
        attributes.gid = change.gid.unwrap_or(attributes.gid);
        attributes.atime = change.atime.map_or(attributes.atime, at);
        attributes.mtime = change.mtime.map_or(attributes.mtime, at);
        let others = owner || change.mode.is_some() || change.atime.is_some();
        if others || change.mtime.is_some() {
            attributes.ctime = now;
        }
        // The time of a change that is not committed is not either.
        let due = others || (change.mtime.is_some() && !staged);
        Ok(due && self.record_attributes(id))
    }

    pub(crate) fn set_xattr(&mut self, id: EntryId, name: &[u8], value: Option<&[u8]>) -> Result<bool, Errno> {
        let now = self.time;
        let node = self.change(id)?;
        match value {
            Some(value) => drop(node.xattrs.insert(name.to_vec(), value.to_vec())),
            None => drop(node.xattrs.remove(name).ok_or(libc::ENODATA)?),
        }
        node.attributes.ctime = now;
        Ok(self.record_attributes(id))
    }
}

/// No suid, and no sgid of what its group may execute; nor of anything else, by who is no member of the group.
pub(crate) fn without_privileges(mode: u16, member: bool) -> u16 {
    if mode & 0o010 != 0 || !member { mode & !0o6000 } else { mode & !0o4000 }
}
