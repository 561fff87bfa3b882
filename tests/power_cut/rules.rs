//! What each call does to the model. This is the contract spelled out, and shares no code with what it judges.

use std::collections::BTreeSet;
use std::sync::Arc;

use caskfs::fs::{RenameMode, SyncMode};
use caskfs::store::Kind;

use crate::call::{Call, Change, Slot, split};
use crate::expiry::EXPIRES;
use crate::model::{Handle, Id, Model, Node, Staged, State, TOP};
use crate::tree::stamped;

impl Model {
    /// Makes a call. Says whether it acknowledges: whether it returns only when everything so far is durable. `None`
    /// if it makes no sense here; the model may then be spoiled.
    pub(crate) fn apply(&mut self, call: &Call, now: i64) -> Option<bool> {
        let always = self.sync == SyncMode::Always;
        self.expire_before(call, now)?;
        match call {
            Call::Create { slot, path, mode } => {
                let id = self.make(path, State::new(Kind::File, *mode, now), now)?.0;
                self.open(*slot, id, true)?;
                Some(false)
            }
            Call::Open { slot, path, write, truncate } => {
                let id = self.file(path)?;
                if *truncate {
                    write.then(|| self.resize(id, 0, now))?;
                }
                self.open(*slot, id, *write)?;
                Some(false)
            }
            Call::Write { slot, offset, len, stamp } => {
                let id = self.write_through(*slot)?;
                let staged = self.staged(id, now);
                let (start, end) = (*offset as usize, *offset as usize + len);
                staged.bytes.resize(staged.bytes.len().max(end), 0);
                staged.bytes[start..end].copy_from_slice(&stamped(*stamp, *offset, *len));
                Some(false)
            }
            Call::Copy { from, to, from_offset, to_offset, len } => {
                let from = self.slots[*from].as_ref()?.id;
                let to = self.write_through(*to)?;
                let node = &self.nodes[from];
                let shown = node.staged.as_ref().map_or(node.now.value.as_slice(), |staged| &staged.bytes);
                let range = *from_offset as usize..(from_offset + len) as usize;
                let bytes = shown.get(range.clone())?.to_vec();
                let (start, end) = (*to_offset as usize, *to_offset as usize + bytes.len());
                if bytes.is_empty() || (from == to && range.start < end && start < range.end) {
                    return None;
                }
                let staged = self.staged(to, now);
                staged.bytes.resize(staged.bytes.len().max(end), 0);
                staged.bytes[start..end].copy_from_slice(&bytes);
                Some(false)
            }
            Call::Merge { .. } | Call::Wait { .. } => Some(false),
            Call::Snapshot { name } => {
                let tree = self.history().last().cloned()?;
                self.snapshots.create(name, tree).then_some(true)
            }
            Call::RemoveSnapshot { name } => self.snapshots.remove(name).then_some(false),
            Call::Read { slot } => self.slots[*slot].as_ref().map(|_| false),
            Call::Punch { slot, offset, len } => {
                let id = self.write_through(*slot)?;
                let staged = self.staged(id, now);
                let place = staged.bytes.iter_mut().skip(*offset as usize).take(*len as usize);
                place.for_each(|byte| *byte = 0);
                Some(false)
            }
            Call::Resize { slot, size } => {
                let id = self.write_through(*slot)?;
                self.resize(id, *size as usize, now);
                // The length was changed through it, too.
                self.write_through(*slot)?;
                Some(false)
            }
            Call::Flush { slot } => {
                let handle = self.slots[*slot].clone()?;
                let mine = self.has_staged(&handle);
                let only_emptied = self.nodes[handle.id].staged.as_ref().is_some_and(|staged| !staged.written);
                if !handle.wrote || (mine && only_emptied) {
                    return Some(false);
                }
                let (published, waits) = (mine && self.commit(handle.id), self.sync != SyncMode::Interval);
                if !published && waits {
                    // Somebody else has published it: that is what must be durable.
                    self.kept = self.kept.max(self.nodes[handle.id].published);
                }
                self.slots[*slot] = Some(Handle { wrote: false, ..handle });
                Some(published && waits)
            }
            Call::Fsync { slot } => {
                let Handle { id, write, .. } = self.slots[*slot].clone()?;
                if write || !self.is_being_set(id) {
                    self.commit(id);
                }
                Some(true)
            }
            Call::Release { slot } => self.release(*slot),
            Call::Truncate { path, size } => {
                let id = self.file(path)?;
                self.resize(id, *size as usize, now);
                Some(self.nodes[id].writers == 0 && self.commit(id) && always)
            }
            Call::Chmod { path, mode } => self.change(path, now, |state| state.mode = *mode),
            Call::Utimens { path, atime, mtime } => {
                let id = self.find(path)?;
                let mut at = *mtime;
                if let Some(staged) = &mut self.nodes[id].staged {
                    // The time of a change that is staged goes with it.
                    (staged.mtime, staged.ctime) = (*mtime, now);
                    at = self.nodes[id].now.times[1];
                }
                self.change(path, now, |state| (state.times[0], state.times[1]) = (*atime, at))
            }
            Call::SetXattr { path, name, value } => {
                let value = match *name {
                    EXPIRES => self.expiry_text(path, value, now)?,
                    _ => value.clone(),
                };
                self.change(path, now, |state| drop(state.xattrs.insert(name.as_bytes().into(), value)))
            }
            Call::RemoveXattr { path, name } => {
                self.nodes[self.find(path)?].now.xattrs.get(name.as_bytes())?;
                self.change(path, now, |state| drop(state.xattrs.remove(name.as_bytes())))
            }
            Call::Mkdir { path, mode } => self.make_recorded(path, State::new(Kind::Directory, *mode, now), now),
            Call::Mkfifo { path } => self.make_recorded(path, State::new(Kind::Fifo, 0o600, now), now),
            Call::Symlink { path, target } => {
                let target = target.as_bytes().into();
                self.make_recorded(path, State { target, ..State::new(Kind::Symlink, 0o777, now) }, now)
            }
            Call::Unlink { path } => self.remove(path, false, now),
            Call::Rmdir { path } => self.remove(path, true, now),
            Call::Rename { from, to, mode } => {
                let mut touched = BTreeSet::new();
                let mut moved = vec![self.find(from)?];
                moved.extend(self.find(to).filter(|_| *mode == RenameMode::Exchange));
                for id in moved {
                    if self.nodes[id].staged.is_some() {
                        self.publish(id);
                        touched.insert(id);
                    }
                }
                self.rename(from, to, *mode, now, &mut touched)?;
                if !touched.is_empty() {
                    self.record(touched);
                }
                Some(always)
            }
            Call::Link { from, to } => {
                let id = self.find(from).filter(|id| !self.is_directory(*id))?;
                let mut touched = BTreeSet::from([id]);
                self.publish(id);
                self.place(id, to, now, &mut touched)?;
                self.record(touched);
                Some(always)
            }
            Call::FsyncDir { path } => {
                let directory = self.find(path).filter(|id| self.is_directory(*id))?;
                let inside = |id: &Id| self.nodes[*id].now.links.first().is_some_and(|link| link.parent == directory);
                let due =
                    |id: &Id| self.is_busy(*id) && self.is_provisional(*id) && inside(id) && !self.is_being_set(*id);
                let due: Vec<Id> = (0..self.nodes.len()).filter(due).collect();
                for id in due {
                    self.commit(id);
                }
                Some(true)
            }
            Call::SyncAll => {
                let busy: Vec<Id> = (0..self.nodes.len()).filter(|id| self.is_busy(*id)).collect();
                for id in busy {
                    self.commit(id);
                }
                Some(true)
            }
            Call::Put { path, len, stamp, expires } => {
                let mut touched = BTreeSet::new();
                let value = stamped(*stamp, 0, *len);
                self.put(path, value, *expires, now, &mut touched)?;
                self.record(touched);
                Some(true)
            }
            Call::Batch(changes) => {
                let mut touched = BTreeSet::new();
                for change in changes {
                    self.apply_change(change, now, &mut touched)?;
                }
                if !touched.is_empty() {
                    self.record(touched);
                }
                Some(true)
            }
        }
    }

    fn apply_change(&mut self, change: &Change, now: i64, touched: &mut BTreeSet<Id>) -> Option<()> {
        match change {
            Change::Put { path, len, stamp, expires } => {
                self.put(path, stamped(*stamp, 0, *len), *expires, now, touched)
            }
            Change::Remove { path } => match self.find(path) {
                None => Some(()),
                Some(TOP) => None,
                Some(id) if self.is_directory(id) && !self.is_empty(id) => None,
                // Whether who has it open would see what the same batch has put is nobody's promise.
                Some(id) if self.is_busy(id) && touched.contains(&id) => None,
                Some(id) => self.take_name(id, path, now, touched),
            },
            Change::Rename { from, to } => {
                // Below the filesystem, where staged bytes are unknown.
                self.find(from).filter(|id| self.nodes[*id].staged.is_none())?;
                self.rename(from, to, RenameMode::Replace, now, touched)
            }
        }
    }

    fn file(&self, path: &str) -> Option<Id> {
        self.find(path).filter(|id| self.nodes[*id].now.kind == Kind::File)
    }

    fn open(&mut self, slot: Slot, id: Id, write: bool) -> Option<()> {
        let free = self.slots.get_mut(slot).filter(|slot| slot.is_none())?;
        *free = Some(Handle { id, write, wrote: false, wrote_to: 0 });
        self.nodes[id].handles += 1;
        self.nodes[id].writers += u32::from(write);
        Some(())
    }

    fn write_through(&mut self, slot: Slot) -> Option<Id> {
        let handle = self.slots[slot].as_mut().filter(|handle| handle.write)?;
        (handle.wrote, handle.wrote_to) = (true, self.nodes[handle.id].stage);
        Some(handle.id)
    }

    /// Whether what is staged holds bytes of this handle: only who wrote publishes.
    fn has_staged(&self, handle: &Handle) -> bool {
        let node = &self.nodes[handle.id];
        handle.wrote && node.staged.is_some() && node.stage == handle.wrote_to
    }

    /// Whether a writer sets the value anew, and is not done yet.
    fn is_being_set(&self, id: Id) -> bool {
        let node = &self.nodes[id];
        node.writers > 0 && (node.recorded.is_none() || node.staged.as_ref().is_some_and(|staged| staged.emptied))
    }

    /// What is staged, about to be written to.
    fn staged(&mut self, id: Id, now: i64) -> &mut Staged {
        let Node { now: state, staged, recorded, .. } = &mut self.nodes[id];
        // What is written of a file that is being created sets its value, as it does after the file was emptied.
        let emptied = recorded.is_none();
        let fresh = || Staged { bytes: state.value.to_vec(), emptied, written: true, mtime: now, ctime: now };
        let staged = staged.get_or_insert_with(fresh);
        (staged.written, staged.mtime, staged.ctime) = (true, now, now);
        staged
    }

    fn resize(&mut self, id: Id, size: usize, now: i64) {
        let staged = self.staged(id, now);
        staged.bytes.resize(size, 0);
        if size == 0 {
            (staged.emptied, staged.written) = (true, false);
            self.nodes[id].stage += 1;
        }
    }

    /// A record of it follows.
    fn publish(&mut self, id: Id) {
        let next = self.history().len();
        let node = &mut self.nodes[id];
        if let Some(staged) = node.staged.take() {
            node.published = next;
            node.stage += 1;
            node.now.value = Arc::new(staged.bytes);
            node.now.times[1] = staged.mtime;
            node.now.times[2] = node.now.times[2].max(staged.ctime);
        }
    }

    /// Records what is staged, or that the file was created; false if there was nothing to do.
    fn commit(&mut self, id: Id) -> bool {
        let node = &self.nodes[id];
        if node.now.links.is_empty() || (node.recorded.is_some() && node.staged.is_none()) {
            return false;
        }
        self.publish(id);
        self.record([id]);
        true
    }

    fn release(&mut self, slot: Slot) -> Option<bool> {
        let handle = self.slots[slot].take()?;
        let (Handle { id, write, .. }, finishes) = (handle.clone(), self.has_staged(&handle));
        let node = &mut self.nodes[id];
        let only_emptied = node.staged.as_ref().is_some_and(|staged| !staged.written);
        node.handles -= 1;
        node.writers -= u32::from(write);
        if node.now.links.is_empty() {
            if node.handles == 0 {
                node.staged = None;
            }
        } else if (finishes && !only_emptied) || node.writers == 0 {
            self.commit(id);
        }
        Some(false)
    }

    /// A change of attributes alone.
    fn change(&mut self, path: &str, now: i64, change: impl FnOnce(&mut State)) -> Option<bool> {
        let id = self.find(path)?;
        let state = &mut self.nodes[id].now;
        change(state);
        state.times[2] = now;
        if self.is_provisional(id) {
            return Some(false);
        }
        self.record([id]);
        Some(self.sync == SyncMode::Always)
    }

    fn touch(&mut self, directory: Id, now: i64, touched: &mut BTreeSet<Id>) {
        let times = &mut self.nodes[directory].now.times;
        (times[1], times[2]) = (now, now);
        touched.insert(directory);
    }

    /// Gives a node a name that is free.
    fn place(&mut self, id: Id, path: &str, now: i64, touched: &mut BTreeSet<Id>) -> Option<()> {
        let (directory, name) = split(path);
        let parent = self.find(directory).filter(|id| self.is_directory(*id))?;
        if name.is_empty() || self.child(parent, name).is_some() {
            return None;
        }
        self.attach(id, parent, name);
        self.touch(parent, now, touched);
        self.nodes[id].now.times[2] = now;
        touched.insert(id);
        Some(())
    }

    pub(crate) fn take_name(&mut self, id: Id, path: &str, now: i64, touched: &mut BTreeSet<Id>) -> Option<()> {
        let (directory, name) = split(path);
        let parent = self.find(directory)?;
        self.touch(parent, now, touched);
        let state = &mut self.nodes[id].now;
        state.links.retain(|link| link.parent != parent || link.name != name);
        state.times[2] = now;
        touched.insert(id);
        Some(())
    }

    fn make(&mut self, path: &str, state: State, now: i64) -> Option<(Id, BTreeSet<Id>)> {
        let mut touched = BTreeSet::new();
        let id = self.add(state);
        self.place(id, path, now, &mut touched)?;
        Some((id, touched))
    }

    fn make_recorded(&mut self, path: &str, state: State, now: i64) -> Option<bool> {
        let (_, touched) = self.make(path, state, now)?;
        self.record(touched);
        Some(self.sync == SyncMode::Always)
    }

    fn remove(&mut self, path: &str, directory: bool, now: i64) -> Option<bool> {
        let id = self.find(path).filter(|id| *id != TOP && self.is_directory(*id) == directory)?;
        if directory && !self.is_empty(id) {
            return None;
        }
        let mut touched = BTreeSet::new();
        self.take_name(id, path, now, &mut touched)?;
        self.record(touched);
        Some(self.sync == SyncMode::Always)
    }

    fn rename(&mut self, from: &str, to: &str, mode: RenameMode, now: i64, touched: &mut BTreeSet<Id>) -> Option<()> {
        let id = self.find(from).filter(|id| *id != TOP)?;
        let target = self.find(to);
        let within = |path: &str, above: &str| path == above || path.starts_with(&format!("{above}/"));
        if to.is_empty() || (self.is_directory(id) && within(to, from) && to != from) {
            return None;
        }
        match (target, mode) {
            (Some(_), RenameMode::NoReplace) | (None, RenameMode::Exchange) => None,
            (Some(target), _) if target == id => Some(()),
            (Some(target), RenameMode::Exchange) => {
                if self.is_directory(target) && within(from, to) {
                    return None;
                }
                self.take_name(id, from, now, touched)?;
                self.take_name(target, to, now, touched)?;
                self.place(id, to, now, touched)?;
                self.place(target, from, now, touched)
            }
            (target, _) => {
                if let Some(target) = target {
                    let both = (self.is_directory(id), self.is_directory(target));
                    if both.0 != both.1 || (both.1 && !self.is_empty(target)) {
                        return None;
                    }
                    self.take_name(target, to, now, touched)?;
                }
                self.take_name(id, from, now, touched)?;
                self.place(id, to, now, touched)
            }
        }
    }

    fn make_parents(&mut self, path: &str, now: i64, touched: &mut BTreeSet<Id>) -> Option<()> {
        let (directory, _) = split(path);
        if self.find(directory).is_none() {
            self.make_parents(directory, now, touched)?;
            let id = self.add(State::new(Kind::Directory, 0o755, now));
            self.place(id, directory, now, touched)?;
        }
        Some(())
    }

    fn put(
        &mut self,
        path: &str,
        value: Vec<u8>,
        expires: Option<i64>,
        now: i64,
        touched: &mut BTreeSet<Id>,
    ) -> Option<()> {
        self.make_parents(path, now, touched)?;
        let id = match self.find(path) {
            Some(id) => {
                let node = &mut self.nodes[id];
                if node.now.kind != Kind::File {
                    return None;
                }
                // What was changed in place came before, and is gone with the value that it changed.
                if node.staged.as_ref().is_some_and(|staged| !staged.emptied) {
                    node.staged = None;
                    node.stage += 1;
                }
                (node.now.times[1], node.now.times[2]) = (now, now);
                id
            }
            None => {
                let id = self.add(State::new(Kind::File, 0o644, now));
                self.place(id, path, now, touched)?;
                id
            }
        };
        let state = &mut self.nodes[id].now;
        state.value = Arc::new(value);
        state.set_expiry(expires);
        touched.insert(id);
        Some(())
    }
}
