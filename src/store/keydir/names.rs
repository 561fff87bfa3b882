//! Names: finding them, and giving and taking them as records say.
//!
//! A name of an entry is in one of two places, and never in both: in its node record, or in a record of its own
//! (`further.rs`). It is in its directory once.

use std::collections::BTreeMap;

use super::further::{self, NameRecord};
use super::node::Node;
use super::{Keydir, unknown_state};
use crate::log::Location;
use crate::store::attributes::{EntryId, Kind, ROOT};
use crate::store::directory::first_place;
use crate::store::record::Link;

impl Keydir {
    pub(in crate::store) fn lookup(&self, parent: EntryId, name: &[u8]) -> Option<EntryId> {
        let has_it = |id: &EntryId| self.has_name(*id, parent, name);
        self.directory(parent)?.candidates(first_place(name)).map(|(_, id)| id).find(has_it)
    }

    /// Whether an entry has this name.
    fn has_name(&self, id: EntryId, parent: EntryId, name: &[u8]) -> bool {
        self.entries.find_name(id, |of, its| of == parent && its == name).is_some()
            || self.entries.further.get(id, parent, name).is_some()
    }

    /// The name that an entry has at this place of a directory.
    pub(in crate::store) fn name_at(&self, parent: EntryId, cookie: u64, id: EntryId) -> Option<&[u8]> {
        self.entries.name_at(parent, cookie, id)
    }

    /// One of an entry's names, and the directory that it is in: the first in its node record, if there is one.
    pub(in crate::store) fn first_name(&self, id: EntryId) -> Option<(EntryId, &[u8])> {
        let mut above = ROOT;
        let own = self.entries.find_name(id, |parent, _| {
            above = parent;
            true
        });
        own.map(|name| (above, name)).or_else(|| self.entries.further.first(id))
    }

    /// All names of an entry.
    pub(in crate::store) fn all_names(&self, id: EntryId) -> Vec<Link> {
        let mut names = self.links(id);
        names.extend(self.further_names(id));
        names
    }

    /// The names of an entry that are in records of their own.
    pub(in crate::store) fn further_names(&self, id: EntryId) -> Vec<Link> {
        self.entries.further.all(id).map(|(parent, name, _)| Link { parent, name: name.into() }).collect()
    }

    /// A name of an entry that is in a record of its own, and not one of these.
    pub(in crate::store) fn some_further_name(
        &self,
        id: EntryId,
        but: &BTreeMap<Link, bool>,
    ) -> Option<(EntryId, Box<[u8]>)> {
        let names = self.entries.further.all(id).map(|(parent, name, _)| Link { parent, name: name.into() });
        names.filter(|link| !but.contains_key(link)).map(|link| (link.parent, link.name)).next()
    }

    /// The record of a name, if it has one of its own.
    pub(in crate::store) fn name_record(&self, id: EntryId, parent: EntryId, name: &[u8]) -> Option<NameRecord> {
        self.entries.further.get(id, parent, name)
    }

    /// Whether the record of one of an entry's names stands in a place that `is_there` says yes to, given the record's
    /// length.
    pub(in crate::store) fn any_name(&self, id: EntryId, is_there: impl Fn(Location, u64) -> bool) -> bool {
        self.entries
            .further
            .all(id)
            .any(|(parent, name, record)| is_there(record.location, further::record_len(parent, name)))
    }

    /// Whether the record of some name of this entry is lost, or that one is gone.
    pub(in crate::store) fn has_wrong_names(&self, id: EntryId) -> bool {
        self.entries.further.is_wrong(id)
    }

    /// Whether there is such an entry.
    pub(in crate::store) fn any_wrong_names(&self) -> bool {
        !self.entries.further.wrong().is_empty()
    }

    /// After recovery: all such entries. Of one without a node record nothing but names is known, and so its value is
    /// damaged.
    pub(in crate::store) fn settle_names(&mut self) -> Vec<EntryId> {
        let wrong = self.entries.further.wrong();
        for &id in &wrong {
            if self.get(id).is_some_and(|node| node.meta.is_none()) {
                let last = self.entries.further.all(id).map(|(_, _, record)| record.sequence).max();
                self.apply_damage(id, last.unwrap_or(0));
            }
        }
        wrong
    }

    /// An entry's path, for messages. The first of its names if it has several.
    pub(in crate::store) fn path(&self, id: EntryId) -> String {
        if id == ROOT {
            return "/".to_owned();
        }
        let mut names = Vec::new();
        let mut id = id;
        // Bounded, should damage have made a circle.
        while id != ROOT && names.len() < 4096 {
            let Some((parent, name)) = self.first_name(id) else {
                names.push(format!("(entry {id})"));
                break;
            };
            names.push(String::from_utf8_lossy(name).into_owned());
            id = parent;
        }
        names.reverse();
        names.join("/")
    }

    /// The names in an entry's node record.
    pub(super) fn links(&self, id: EntryId) -> Vec<Link> {
        let mut links = Vec::new();
        self.entries.find_name(id, |parent, name| {
            links.push(Link { parent, name: name.into() });
            false
        });
        links
    }

    /// Applies the record of one name. False, and nothing done, if it cannot be of this entry.
    pub(in crate::store) fn apply_name(&mut self, id: EntryId, sequence: u64, at: Location, link: &Link) -> bool {
        if id == ROOT || self.directory(id).is_some() {
            return false;
        }
        self.next_id = self.next_id.max(id + 1);
        if !self.contains(id) {
            self.entries.insert(id, Node::new(unknown_state(Kind::File, 0o600)));
        }
        self.keep_entry(id);
        let len = further::record_len(link.parent, &link.name);
        self.usage.add(at.segment, len);
        if let Some(old) = self.entries.further.insert(id, link, NameRecord { location: at, sequence }) {
            self.usage.subtract(old.location.segment, len);
            return true;
        }
        let Keydir { entries, due, .. } = self;
        let was_own = entries.change(id, |node| {
            let (before, own) = (node.state.due(), node.state.links.len());
            node.state.links.retain(|known| known != link);
            node.state.further += 1;
            due.change(id, before, node.state.due());
            node.state.links.len() < own
        });
        if was_own != Some(true) {
            self.attach(id, false, link);
        }
        true
    }

    /// Applies the record that says that a name is gone.
    pub(in crate::store) fn apply_name_gone(&mut self, id: EntryId, link: &Link) {
        self.next_id = self.next_id.max(id + 1);
        if self.entries.further.get(id, link.parent, &link.name).is_some() {
            self.displace(id, link);
        }
    }

    /// Notes that a merge has moved the record of a name, unless that is outdated.
    pub(in crate::store) fn move_name(&mut self, id: EntryId, parent: EntryId, name: &[u8], to: NameRecord) {
        if let Some(old) = self.entries.further.change(id, parent, name, to) {
            let len = further::record_len(parent, name);
            self.usage.subtract(old.location.segment, len);
            self.usage.add(to.location.segment, len);
        }
    }

    /// Of these names, which are in an entry's node record now, those that were in records of their own: they are not any
    /// more.
    pub(super) fn own_again(&mut self, id: EntryId, links: &[Link], old: &[Link]) -> Vec<Link> {
        if self.entries.further.count(id) == 0 {
            return Vec::new();
        }
        let mut again = links.iter().filter(|link| !old.contains(link)).cloned().collect::<Vec<_>>();
        again.retain(|link| self.forget_name(id, link.parent, &link.name));
        again
    }

    /// Takes a name from those in records of their own, and from nowhere else. False if it is not one of them.
    fn forget_name(&mut self, id: EntryId, parent: EntryId, name: &[u8]) -> bool {
        let record = self.entries.further.remove(id, parent, name);
        record.is_some_and(|record| {
            self.usage.subtract(record.location.segment, further::record_len(parent, name));
            true
        })
    }

    /// Takes all names that are in records of their own, from there alone.
    pub(super) fn take_further(&mut self, id: EntryId) -> Vec<Link> {
        let names = self.entries.further.take(id);
        for (link, record) in &names {
            self.usage.subtract(record.location.segment, further::record_len(link.parent, &link.name));
        }
        names.into_iter().map(|(link, _)| link).collect()
    }

    /// Applies a tombstone: the entry has no name any more.
    pub(in crate::store) fn apply_tombstone(&mut self, id: EntryId) {
        self.next_id = self.next_id.max(id + 1);
        self.keep_entry(id);
        let Keydir { entries, due, provisional, .. } = self;
        let taken = entries.change(id, |node| {
            *provisional -= usize::from(std::mem::take(&mut node.provisional));
            due.change(id, node.state.due(), None);
            node.state.further = 0;
            (node.is_directory(), std::mem::take(&mut node.state.links))
        });
        let further = self.take_further(id);
        let Some((is_directory, links)) = taken else { return };
        links.iter().chain(&further).for_each(|link| self.detach(id, is_directory, link));
        self.drop_if_orphan(id);
    }

    pub(super) fn attach(&mut self, id: EntryId, is_directory: bool, link: &Link) {
        self.attach_at(id, is_directory, link.parent, &link.name, first_place(&link.name));
    }

    /// Gives an entry a name whose first place is known.
    pub(super) fn attach_at(&mut self, id: EntryId, is_directory: bool, parent: EntryId, name: &[u8], first: u64) {
        self.next_id = self.next_id.max(parent + 1);
        if is_directory {
            self.keep_entry(parent);
        }
        let attached =
            self.entries.change_children(parent, |directory| directory.insert_alone(first, id, is_directory));
        match attached {
            Some(true) => return self.keep_free(parent, first, id, is_directory),
            Some(false) => {
                if let Some(occupant) = self.lookup_other(parent, name, id) {
                    self.displace(occupant, &Link { parent, name: name.into() });
                }
            }
            None => self.make_directory(parent),
        }
        let placed = self.entries.change_children(parent, |directory| directory.insert(first, id, is_directory));
        if let Some(cookie) = placed {
            self.keep_free(parent, cookie, id, is_directory);
        }
    }

    /// The entry in a place of the tree, if it is another.
    fn lookup_other(&self, parent: EntryId, name: &[u8], id: EntryId) -> Option<EntryId> {
        let mut candidates = self.directory(parent)?.candidates(first_place(name)).map(|(_, other)| other);
        candidates.find(|other| *other != id && self.has_name(*other, parent, name))
    }

    /// A directory of which nothing is known but what is in it. (What is known to be none stays what it is.)
    fn make_directory(&mut self, id: EntryId) {
        if !self.contains(id) {
            self.entries.insert(id, Node::new(unknown_state(Kind::Directory, 0o700)));
            self.nameless.as_mut().map(|nameless| nameless.insert(id));
        }
    }

    pub(super) fn detach(&mut self, id: EntryId, is_directory: bool, link: &Link) {
        if is_directory {
            self.keep_entry(link.parent);
        }
        let removed =
            self.entries.change_children(link.parent, |directory| directory.remove(&link.name, id, is_directory));
        if let Some(cookie) = removed.flatten() {
            self.keep_occupied((link.parent, cookie), id, is_directory, &link.name);
        }
    }

    /// Takes a name from the entry that has it: the next record of the same transaction says what becomes of that.
    fn displace(&mut self, id: EntryId, place: &Link) {
        self.keep_entry(id);
        let further = self.forget_name(id, place.parent, &place.name);
        let Keydir { entries, due, .. } = self;
        let is_directory = entries.change(id, |node| {
            let before = node.state.due();
            node.state.links.retain(|link| link.parent != place.parent || link.name != place.name);
            node.state.further -= u64::from(further).min(node.state.further);
            due.change(id, before, node.state.due());
            node.is_directory()
        });
        self.nameless.as_mut().map(|nameless| nameless.insert(id));
        self.detach(id, is_directory == Some(true), place);
    }
}
