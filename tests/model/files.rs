//! The reference's files: values, handles, and when a value is committed.

use caskfs::fs::HandleId;
use caskfs::store::{EntryId, Kind};

use super::reference::{EXPIRES, Errno, Open, Reference, without_privileges};

pub(crate) const CAPABILITY: &[u8] = b"security.capability";

impl Reference {
    pub(crate) fn open(&mut self, id: EntryId, handle: HandleId, write: bool, made: bool) {
        self.handles.insert(handle, Open { id, write, wrote: false, wrote_to: 0, leaves: write || made });
    }

    /// The value was changed: `emptied`, or otherwise.
    fn stage(&mut self, id: EntryId, emptied: bool) -> Result<(), Errno> {
        let now = self.time;
        let attributes = &mut self.change(id)?.attributes;
        (attributes.mtime, attributes.ctime) = (now, now);
        // What is written of a file that is being created sets its value, as it does after the file was emptied.
        let created = !self.staged.contains_key(&id) && self.is_provisional(id);
        let stage = self.staged.entry(id).or_default();
        stage.emptied |= emptied || created;
        stage.written = !emptied;
        if emptied {
            *self.stages.entry(id).or_default() += 1;
        }
        Ok(())
    }

    /// Suid, sgid and capabilities go before the value changes, to the log too.
    fn drop_privileges(&mut self, id: EntryId, kill: bool) -> Result<(), Errno> {
        let (time, is_linked) = (self.time, self.now.is_linked(id));
        let saved = self.saved.nodes.get_mut(&id).filter(|_| is_linked);
        for node in [Some(self.now.nodes.get_mut(&id).ok_or(libc::ESTALE)?), saved].into_iter().flatten() {
            if kill {
                let member = node.attributes.gid == super::steps::caller(false).gid;
                node.attributes.mode = without_privileges(node.attributes.mode, member);
            }
            if node.xattrs.remove(CAPABILITY).is_some() {
                node.attributes.ctime = time;
            }
        }
        Ok(())
    }

    pub(crate) fn write(&mut self, handle: HandleId, offset: u64, data: &[u8], kill: bool) -> Result<(), Errno> {
        let id = self.handles.get(&handle).ok_or(libc::ESTALE)?.id;
        if data.is_empty() {
            return Ok(());
        }
        self.drop_privileges(id, kill)?;
        let bytes = &mut self.change(id)?.bytes;
        let (start, end) = (offset as usize, offset as usize + data.len());
        bytes.resize(bytes.len().max(end), 0);
        bytes[start..end].copy_from_slice(data);
        self.wrote(handle);
        self.stage(id, false)
    }

    pub(crate) fn wrote(&mut self, handle: HandleId) {
        if let Some(handle) = self.handles.get_mut(&handle) {
            (handle.wrote, handle.wrote_to) = (true, self.stages.get(&handle.id).copied().unwrap_or(0));
        }
    }

    /// Whether what is staged holds bytes of this handle: only who wrote publishes.
    fn has_staged(&self, open: &Open) -> bool {
        let stage = self.stages.get(&open.id).copied().unwrap_or(0);
        open.wrote && open.wrote_to == stage && self.staged.contains_key(&open.id)
    }

    /// Whether a writer sets the value anew, and is not done yet.
    fn is_being_set(&self, id: EntryId) -> bool {
        let emptied = self.staged.get(&id).is_some_and(|stage| stage.emptied);
        self.writers(id) > 0 && (emptied || self.is_provisional(id))
    }

    pub(crate) fn fsync(&mut self, handle: HandleId) {
        let Some(open) = self.handles.get(&handle).copied() else { return };
        if open.write || !self.is_being_set(open.id) {
            self.commit(open.id);
        }
    }

    /// Sets the length, and tells the privileges that the caller has not.
    pub(crate) fn truncate(&mut self, id: EntryId, size: u64, root: bool) -> Result<(), Errno> {
        match self.node(id)?.attributes.kind {
            Kind::File => {}
            Kind::Directory => return Err(libc::EISDIR),
            _ => return Err(libc::EINVAL),
        }
        self.drop_privileges(id, !root)?;
        self.change(id)?.bytes.resize(size as usize, 0);
        self.stage(id, size == 0)
    }

    pub(crate) fn fallocate(&mut self, handle: HandleId, mode: i32, offset: u64, len: u64) -> Result<(), Errno> {
        let id = self.handles.get(&handle).ok_or(libc::ESTALE)?.id;
        let keep = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
        let zeros = match mode & !libc::FALLOC_FL_KEEP_SIZE {
            0 => false,
            libc::FALLOC_FL_PUNCH_HOLE if keep => true,
            libc::FALLOC_FL_ZERO_RANGE => true,
            _ => return Err(libc::EOPNOTSUPP),
        };
        self.drop_privileges(id, false)?;
        let bytes = &mut self.change(id)?.bytes;
        let (old, end) = (bytes.len(), (offset + len) as usize);
        if zeros {
            bytes.iter_mut().take(end).skip(offset as usize).for_each(|byte| *byte = 0);
        }
        let extends = end > old && !keep;
        if extends {
            bytes.resize(end, 0);
        }
        // Where nothing but the times changes, an empty value stays one that is yet to be written.
        let empty = bytes.is_empty() && !zeros;
        let written = !empty || self.staged.get(&id).is_some_and(|stage| stage.written);
        self.stage(id, false)?;
        self.staged.entry(id).or_default().written = written;
        if written {
            self.wrote(handle);
        }
        Ok(())
    }

    /// copy_file_range(2). Says how many bytes are copied.
    pub(crate) fn copy(&mut self, from: (HandleId, u64), to: (HandleId, u64), len: u64) -> Result<u64, Errno> {
        let id = |handle| self.handles.get(&handle).map(|open| open.id).ok_or(libc::ESTALE);
        let (source, target) = (id(from.0)?, id(to.0)?);
        let bytes = &self.node(source)?.bytes;
        let start = bytes.len().min(from.1 as usize);
        let bytes = bytes[start..bytes.len().min(start + len as usize)].to_vec();
        let len = bytes.len() as u64;
        if source == target && from.1 < to.1 + len && to.1 < from.1 + len {
            return Err(libc::EINVAL);
        }
        self.write(to.0, to.1, &bytes, false).map(|()| len)
    }

    /// Says whether the caller waits for its bytes; `None` if another call has committed them, or emptied the file: it waits for
    /// that if it is not durable.
    pub(crate) fn flush(&mut self, handle: HandleId) -> Result<Option<bool>, Errno> {
        let open = *self.handles.get(&handle).ok_or(libc::ESTALE)?;
        let mine = self.has_staged(&open);
        if !open.wrote || (mine && self.staged.get(&open.id).is_some_and(|stage| !stage.written)) {
            return Ok(Some(false));
        }
        let committed = mine && self.commit(open.id);
        self.handles.insert(handle, Open { wrote: false, ..open });
        Ok(committed.then_some(true))
    }

    pub(crate) fn release(&mut self, handle: HandleId) -> Result<(), Errno> {
        let open = self.handles.remove(&handle).ok_or(libc::ESTALE)?;
        let only_emptied = self.staged.get(&open.id).is_some_and(|stage| !stage.written);
        let leaves = open.leaves || self.staged.contains_key(&open.id);
        if leaves && ((self.has_staged(&open) && !only_emptied) || self.writers(open.id) == 0) {
            self.commit(open.id);
        }
        Ok(())
    }

    /// A whole new value goes to the log. A value that is being set is still what is seen; what was changed in place is gone.
    pub(crate) fn put(&mut self, id: EntryId, value: &[u8]) -> Result<(), Errno> {
        let now = self.time;
        match self.node(id)?.attributes.kind {
            Kind::File => {}
            Kind::Directory => return Err(libc::EISDIR),
            _ => return Err(libc::EINVAL),
        }
        let staged = self.staged.get(&id).is_some_and(|stage| stage.emptied);
        if !staged {
            self.take_stage(id);
        }
        let node = self.change(id)?;
        node.attributes.ctime = now;
        node.xattrs.remove(EXPIRES);
        if !staged {
            node.bytes = value.to_vec();
            node.attributes.mtime = now;
        }
        self.record(id);
        if let Some(node) = self.saved.nodes.get_mut(&id) {
            node.bytes = value.to_vec();
            node.attributes.mtime = now;
        }
        Ok(())
    }

    /// Every file that was made in the directory goes to the log, but those that are being written.
    pub(crate) fn fsync_directory(&mut self, directory: EntryId) {
        let files: Vec<EntryId> = self.now.children(directory).map(|(_, id)| id).collect();
        for id in files {
            if self.is_provisional(id) && !self.is_being_set(id) {
                self.commit(id);
            }
        }
    }
}
