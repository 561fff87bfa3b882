//! The reference's names: making, taking away and moving them.

use std::collections::BTreeMap;

use caskfs::fs::RenameMode;
use caskfs::store::{Attributes, EntryId, Kind, ROOT};

use super::reference::{EXPIRES, Errno, Node, Reference};

impl Reference {
    fn check_directory(&self, id: EntryId) -> Result<(), Errno> {
        match self.node(id)?.attributes.kind {
            Kind::Directory if !self.now.is_linked(id) => Err(libc::ENOENT),
            Kind::Directory => Ok(()),
            _ => Err(libc::ENOTDIR),
        }
    }

    fn check_vacant(&self, parent: EntryId, name: &[u8]) -> Result<(), Errno> {
        self.check_directory(parent)?;
        self.now.lookup(parent, name).map_or(Ok(()), |_| Err(libc::EEXIST))
    }

    fn find(&self, parent: EntryId, name: &[u8]) -> Result<EntryId, Errno> {
        self.check_directory(parent)?;
        self.now.lookup(parent, name).ok_or(libc::ENOENT)
    }

    fn touch(&mut self, directory: EntryId) {
        let now = self.time;
        if let Ok(node) = self.change(directory) {
            (node.attributes.mtime, node.attributes.ctime) = (now, now);
        }
    }

    /// An entry's names have changed.
    fn rename_noted(&mut self, id: EntryId) {
        let now = self.time;
        if let Ok(node) = self.change(id) {
            node.attributes.ctime = now;
        }
    }

    /// Makes an entry that is in no record yet.
    pub(crate) fn make(
        &mut self,
        (parent, name): (EntryId, &[u8]),
        id: EntryId,
        attributes: Attributes,
        target: &[u8],
    ) -> Result<(), Errno> {
        self.check_vacant(parent, name)?;
        let above = self.node(parent)?.attributes;
        let mut attributes = attributes;
        if above.mode & 0o2000 != 0 {
            attributes.gid = above.gid;
            attributes.mode |= if attributes.kind == Kind::Directory { 0o2000 } else { 0 };
        }
        self.now.nodes.insert(id, Node { attributes, bytes: target.to_vec(), xattrs: BTreeMap::new() });
        self.now.names.insert((parent, name.to_vec()), id);
        self.touch(parent);
        Ok(())
    }

    pub(crate) fn link(&mut self, id: EntryId, parent: EntryId, name: &[u8]) -> Result<(), Errno> {
        self.check_vacant(parent, name)?;
        if self.now.is_directory(id) {
            return Err(libc::EPERM);
        }
        if !self.now.is_linked(id) {
            return Err(libc::ENOENT);
        }
        self.now.names.insert((parent, name.to_vec()), id);
        self.rename_noted(id);
        self.touch(parent);
        self.record(parent);
        self.take_stage(id);
        self.record(id);
        Ok(())
    }

    pub(crate) fn unlink(&mut self, parent: EntryId, name: &[u8], directory: bool) -> Result<(), Errno> {
        let id = self.find(parent, name)?;
        match (self.now.is_directory(id), directory) {
            (true, false) => return Err(libc::EISDIR),
            (false, true) => return Err(libc::ENOTDIR),
            (true, true) if self.now.children(id).next().is_some() => return Err(libc::ENOTEMPTY),
            _ => {}
        }
        self.take_name(id, parent, name);
        Ok(())
    }

    fn take_name(&mut self, id: EntryId, parent: EntryId, name: &[u8]) {
        self.now.names.remove(&(parent, name.to_vec()));
        self.rename_noted(id);
        self.touch(parent);
        self.record(parent);
        self.record(id);
        self.forget_time(id);
    }

    /// What was removed does not expire.
    fn forget_time(&mut self, id: EntryId) {
        if !self.now.is_linked(id)
            && let Ok(node) = self.change(id)
        {
            node.xattrs.remove(EXPIRES);
        }
    }

    /// Files whose second has come lose their names.
    pub(crate) fn expire(&mut self) {
        let now = self.time.seconds();
        let is_due = |node: &Node| {
            let second =
                node.xattrs.get(EXPIRES).map(|text| std::str::from_utf8(text).unwrap().parse::<i64>().unwrap());
            second.is_some_and(|second| second <= now)
        };
        let names: Vec<_> = self.now.names.iter().map(|((parent, name), id)| (*parent, name.clone(), *id)).collect();
        for (parent, name, id) in names {
            let Some(node) = self.now.nodes.get(&id).filter(|node| is_due(node)) else { continue };
            let time = node.xattrs.get(EXPIRES).cloned();
            self.take_name(id, parent, &name);
            if let (Ok(node), Some(time)) = (self.change(id), time) {
                node.xattrs.insert(EXPIRES.into(), time);
            }
        }
    }

    /// Whether it was removed since its second had come.
    pub(crate) fn has_expired(&self, id: EntryId) -> bool {
        !self.now.is_linked(id) && self.node(id).is_ok_and(|node| node.xattrs.contains_key(EXPIRES))
    }

    /// Whether `id` is `ancestor`, or below it.
    fn is_within(&self, mut id: EntryId, ancestor: EntryId) -> bool {
        while id != ancestor && id != ROOT {
            match self.now.parents(id).first() {
                Some(parent) => id = *parent,
                None => return false,
            }
        }
        id == ancestor
    }

    pub(crate) fn rename(
        &mut self,
        (parent, name): (EntryId, &[u8]),
        (new_parent, new_name): (EntryId, &[u8]),
        mode: RenameMode,
    ) -> Result<(), Errno> {
        let id = self.find(parent, name)?;
        self.check_directory(new_parent)?;
        let target = self.now.lookup(new_parent, new_name);
        let into_itself = |id, place| self.now.is_directory(id) && self.is_within(place, id);
        if into_itself(id, new_parent) {
            return Err(libc::EINVAL);
        }
        match (target, mode) {
            (Some(_), RenameMode::NoReplace) => return Err(libc::EEXIST),
            (None, RenameMode::Exchange) => return Err(libc::ENOENT),
            (Some(target), _) if target == id => {
                // Nothing is moved, but what was written to it is committed as it would be otherwise.
                if self.staged.contains_key(&id) {
                    self.commit(id);
                }
                return Ok(());
            }
            (Some(target), RenameMode::Exchange) => {
                if into_itself(target, parent) {
                    return Err(libc::EINVAL);
                }
                self.now.names.insert((parent, name.to_vec()), target);
                self.take_stage(target);
            }
            (Some(target), RenameMode::Replace) => {
                match (self.now.is_directory(id), self.now.is_directory(target)) {
                    (true, false) => return Err(libc::ENOTDIR),
                    (false, true) => return Err(libc::EISDIR),
                    (true, true) if self.now.children(target).next().is_some() => return Err(libc::ENOTEMPTY),
                    _ => self.now.names.remove(&(parent, name.to_vec())),
                };
            }
            (None, _) => drop(self.now.names.remove(&(parent, name.to_vec()))),
        }
        self.now.names.insert((new_parent, new_name.to_vec()), id);
        self.take_stage(id);
        [parent, new_parent].into_iter().for_each(|directory| self.touch(directory));
        [Some(id), target].into_iter().flatten().for_each(|id| self.rename_noted(id));
        let changed = [Some(parent), Some(new_parent), Some(id), target];
        changed.into_iter().flatten().for_each(|id| self.record(id));
        target.into_iter().for_each(|id| self.forget_time(id));
        Ok(())
    }
}
