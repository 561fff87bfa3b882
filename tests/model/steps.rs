//! One operation at a time.

use std::sync::Arc;

use caskfs::fs::{Caller, CopyEnd, OpenFlags, RenameMode, SetAttributes, SetTime, Writing, XattrMode};
use caskfs::store::{Attributes, EntryId, Kind, Time};

use super::files::CAPABILITY;
use super::harness::{Difference, World, is_file, pattern, same};
use super::operation::{Operation, Place, Target};
use super::reference::EXPIRES;

const XATTRS: [&[u8]; 5] = [b"user.one", b"user.two", CAPABILITY, b"system.none", EXPIRES];

pub(crate) fn caller(root: bool) -> Caller {
    if root { Caller { uid: 0, gid: 0, umask: 0 } } else { Caller { uid: 1000, gid: 100, umask: 0 } }
}

impl World {
    pub(crate) fn apply(&mut self, operation: &Operation) -> Result<(), Difference> {
        match *operation {
            Operation::Create { at, mode, write, root } => self.create(at, mode, write, root),
            Operation::Open { file, write, truncate, root } => self.open(file, write, truncate, root),
            Operation::Write { slot, offset, len, fill, kill } => self.write(slot, offset, &pattern(len, fill), kill),
            Operation::Read { slot, offset, len } => self.read(slot, offset, len),
            Operation::Truncate { target, by_handle, size, root } => self.truncate(target, by_handle, size, root),
            Operation::Fallocate { slot, mode, offset, len } => {
                let Some((id, handle)) = self.writer(slot) else { return Ok(()) };
                let expected = self.reference.fallocate(handle, mode, offset, len);
                same("fallocate", self.filesystem.fallocate(&caller(true), id, handle, mode, offset, len), expected)
                    .map(drop)
            }
            Operation::Copy { from, to, from_offset, to_offset, len } => {
                let (Some(from), Some(to)) = (self.slot(from), self.writer(to)) else { return Ok(()) };
                let expected = self.reference.copy((from.1, from_offset), (to.1, to_offset), len);
                let end = |(id, handle), offset| CopyEnd { id, handle, offset };
                let (from, to) = (end(from, from_offset), end(to, to_offset));
                match same("copy", self.filesystem.copy_file_range(&caller(true), from, to, len), expected)? {
                    Some((copied, expected)) if copied.bytes != expected => Err(format!("{copied:?} is copied")),
                    _ => Ok(()),
                }
            }
            Operation::Flush(slot) => match self.slot(slot) {
                Some((id, handle)) => self.flush(id, handle),
                None => Ok(()),
            },
            Operation::Fsync(slot) => {
                let Some((id, handle)) = self.slot(slot) else { return Ok(()) };
                self.reference.fsync(handle);
                let sequence = self.filesystem.fsync(id, handle).map_err(|error| format!("fsync: {error}"))?;
                self.awaited("fsync", sequence, true)
            }
            Operation::Release(slot) => self.close(usize::from(slot) % self.slots.len()),
            Operation::FsyncDirectory(place) => {
                let (id, _) = self.place(place);
                self.reference.fsync_directory(id);
                let sequence = self.filesystem.fsyncdir(id).map_err(|error| format!("fsyncdir: {error}"))?;
                self.awaited("fsyncdir", sequence, true)
            }
            Operation::Chmod { target, mode } => {
                self.setattr(target, SetAttributes { mode: Some(mode), ..Default::default() })
            }
            Operation::Chown { target, uid, gid } => {
                self.setattr(target, SetAttributes { uid, gid, ..Default::default() })
            }
            Operation::Utimens { target, atime, mtime } => {
                let time = |time: i64| if time < 0 { SetTime::Now } else { SetTime::At(Time(time)) };
                let (atime, mtime) = (atime.map(time), mtime.map(time));
                self.setattr(target, SetAttributes { atime, mtime, ..Default::default() })
            }
            Operation::SetXattr { target, name, len, mode } => {
                self.set_xattr(target, XATTRS[usize::from(name)], &pattern(len, name), mode)
            }
            Operation::Expire { target, ahead, mode } => {
                let second = self.reference.time.seconds() + ahead;
                self.set_xattr(target, EXPIRES, second.to_string().as_bytes(), mode)
            }
            Operation::LookBack => self.look_back(),
            Operation::RemoveXattr { target, name } => {
                let (id, name) = (self.target(target)?, XATTRS[usize::from(name)]);
                let expected = match name.starts_with(b"system") {
                    true => Err(libc::EOPNOTSUPP),
                    false if name == EXPIRES && self.reference.has_expired(id) => Err(libc::EPERM),
                    false => self.reference.set_xattr(id, name, None),
                };
                match same("removexattr", self.filesystem.removexattr(&caller(true), id, name), expected)? {
                    Some((sequence, recorded)) => self.awaited("removexattr", sequence, recorded && self.always()),
                    None => Ok(()),
                }
            }
            Operation::Mknod { at, kind } => self.make(at, kind, 0o640, &[]),
            Operation::Symlink { at, len } => self.make(at, Kind::Symlink, 0o777, &pattern(len, 1)),
            Operation::Mkdir { at, mode } => self.make(at, Kind::Directory, mode, &[]),
            Operation::Rmdir(at) => self.unlink(at, true),
            Operation::Link { target, at } => self.link(target, at),
            Operation::Unlink(at) => self.unlink(at, false),
            Operation::Rename { from, to, mode } => self.rename(from, to, mode),
            Operation::Forget => self.forget(),
            Operation::Put { at, below, len, fill } => self.put(at, below, &pattern(len, fill)),
            Operation::Remove(at) => self.remove(at),
            Operation::Merge { first, count } => {
                let merged = self.filesystem.store().merge_run(first, count);
                merged.map(drop).map_err(|error| format!("merge: {error}"))
            }
            Operation::Compact => {
                let compacted = self.filesystem.store().compact().and_then(|()| self.filesystem.store().write_hints());
                compacted.map_err(|error| format!("compact: {error}"))
            }
            Operation::Snapshot(number) => self.snapshot(number),
            Operation::Reopen => self.reopen(),
            Operation::Crash => {
                // What has expired while nobody looked would be there after the crash, until somebody looks.
                self.filesystem.store().expire_due().map_err(|error| format!("expire: {error}"))?;
                self.crash();
                Ok(())
            }
        }
    }

    fn attributes(&self, kind: Kind, mode: u16, root: bool) -> Attributes {
        let (caller, now) = (caller(root), self.reference.time);
        Attributes { kind, mode, uid: caller.uid, gid: caller.gid, rdev: 0, atime: now, mtime: now, ctime: now }
    }

    fn create(&mut self, at: Place, mode: u16, write: bool, root: bool) -> Result<(), Difference> {
        let slot = self.free_slot()?;
        let (parent, name) = self.place(at);
        let flags = OpenFlags { write };
        let made = self.filesystem.create(&caller(root), parent, &name, mode, flags);
        let id = made.as_ref().map_or(0, |(stat, _)| stat.id);
        let expected = self.reference.make((parent, &name), id, self.attributes(Kind::File, mode, root), &[]);
        let Some(((stat, handle), ())) = same("create", made, expected)? else { return Ok(()) };
        self.hold(stat.id);
        self.reference.open(stat.id, handle, write, true);
        self.slots[slot] = Some((stat.id, handle));
        Ok(())
    }

    fn open(&mut self, file: u8, write: bool, truncate: bool, root: bool) -> Result<(), Difference> {
        let slot = self.free_slot()?;
        let id = self.target(Target::File(file))?;
        if !is_file(&self.reference, id) {
            return Ok(());
        }
        let opened = self.filesystem.open(id, OpenFlags { write });
        let Some((handle, ())) = same("open", opened, Ok(()))? else { return Ok(()) };
        self.reference.open(id, handle, write, false);
        self.slots[slot] = Some((id, handle));
        // The kernel empties what it has opened.
        if truncate { self.truncate(Target::Slot(slot as u8), false, 0, root) } else { Ok(()) }
    }

    fn write(&mut self, slot: u8, offset: u64, data: &[u8], kill: bool) -> Result<(), Difference> {
        let Some((id, handle)) = self.writer(slot) else { return Ok(()) };
        let expected = self.reference.write(handle, offset, data, kill);
        match same(
            "write",
            self.filesystem.write(
                id,
                handle,
                offset,
                data,
                Writing { kill: kill.then_some(&caller(false)), append: false },
            ),
            expected,
        )? {
            Some((written, ())) if written.bytes != data.len() as u64 => Err(format!("{written:?}: bytes are written")),
            _ => Ok(()),
        }
    }

    fn read(&mut self, slot: u8, offset: u64, len: usize) -> Result<(), Difference> {
        let Some((id, _)) = self.slot(slot) else { return Ok(()) };
        let bytes = &self.reference.node(id).map_err(|errno| format!("errno {errno}"))?.bytes;
        let start = bytes.len().min(offset as usize);
        let expected = &bytes[start..bytes.len().min(start + len)];
        let read = self.filesystem.read(id, offset, len).map_err(|error| format!("read: {error}"))?;
        if read == expected { Ok(()) } else { Err(format!("read gives {} other bytes", read.len())) }
    }

    fn truncate(&mut self, target: Target, by_handle: bool, size: u64, root: bool) -> Result<(), Difference> {
        let (id, handle) = match target {
            Target::Slot(slot) if by_handle => match self.writer(slot) {
                Some((id, handle)) => (id, Some(handle)),
                None => return Ok(()),
            },
            target => (self.target(target)?, None),
        };
        let expected = self.reference.truncate(id, size, root);
        let change = SetAttributes { size: Some(size), ..Default::default() };
        let done = self.filesystem.setattr(&caller(root), id, handle, change);
        let Some(((_, sequence), ())) = same("truncate", done, expected)? else { return Ok(()) };
        if let Some(handle) = handle {
            self.reference.wrote(handle);
        }
        let committed = self.reference.writers(id) == 0 && self.reference.commit(id);
        self.awaited("truncate", sequence, committed && self.always())
    }

    fn setattr(&mut self, target: Target, change: SetAttributes) -> Result<(), Difference> {
        let id = self.target(target)?;
        let expected = self.reference.setattr(id, &change);
        match same("setattr", self.filesystem.setattr(&caller(true), id, None, change), expected)? {
            Some(((_, sequence), recorded)) => self.awaited("setattr", sequence, recorded && self.always()),
            None => Ok(()),
        }
    }

    fn set_xattr(&mut self, target: Target, name: &[u8], value: &[u8], mode: XattrMode) -> Result<(), Difference> {
        let id = self.target(target)?;
        let expires = is_file(&self.reference, id) && self.reference.now.is_linked(id);
        let there = self.reference.node(id).is_ok_and(|node| node.xattrs.contains_key(name));
        let expected = match (mode, there) {
            _ if name.starts_with(b"system") => Err(libc::EOPNOTSUPP),
            (XattrMode::Create, true) => Err(libc::EEXIST),
            (XattrMode::Replace, false) => Err(libc::ENODATA),
            _ if name == EXPIRES && !expires => Err(libc::EPERM),
            _ => self.reference.set_xattr(id, name, Some(value)),
        };
        match same("setxattr", self.filesystem.setxattr(&caller(true), id, name, value, mode), expected)? {
            Some((sequence, recorded)) => self.awaited("setxattr", sequence, recorded && self.always()),
            None => Ok(()),
        }
    }

    fn make(&mut self, at: Place, kind: Kind, mode: u16, target: &[u8]) -> Result<(), Difference> {
        let ((parent, name), caller) = (self.place(at), caller(false));
        let made = match kind {
            Kind::Directory => self.filesystem.mkdir(&caller, parent, &name, mode),
            Kind::Symlink => self.filesystem.symlink(&caller, parent, &name, target),
            kind => self.filesystem.mknod(&caller, parent, &name, kind, mode, 0),
        };
        let id = made.as_ref().map_or(0, |(stat, _)| stat.id);
        let expected = self.reference.make((parent, &name), id, self.attributes(kind, mode, false), target);
        let Some(((stat, sequence), ())) = same("make", made, expected)? else { return Ok(()) };
        self.hold(stat.id);
        self.reference.commit(id);
        self.awaited("make", sequence, self.always())
    }

    fn link(&mut self, target: Target, at: Place) -> Result<(), Difference> {
        let (id, (parent, name)) = (self.target(target)?, self.place(at));
        let expected = self.reference.link(id, parent, &name);
        let linked = self.filesystem.link(id, parent, &name);
        let Some(((_, sequence), ())) = same("link", linked, expected)? else { return Ok(()) };
        self.hold(id);
        self.awaited("link", sequence, self.always())
    }

    fn unlink(&mut self, at: Place, directory: bool) -> Result<(), Difference> {
        let (parent, name) = self.place(at);
        let expected = self.reference.unlink(parent, &name, directory);
        let gone = match directory {
            true => self.filesystem.rmdir(parent, &name),
            false => self.filesystem.unlink(parent, &name),
        };
        match same("unlink", gone, expected)? {
            Some((sequence, ())) => self.awaited("unlink", sequence, self.always()),
            None => Ok(()),
        }
    }

    fn rename(&mut self, from: Place, to: Place, mode: RenameMode) -> Result<(), Difference> {
        let (from, to) = (self.place(from), self.place(to));
        let expected = self.reference.rename((from.0, &from.1), (to.0, &to.1), mode);
        match same("rename", self.filesystem.rename(from.0, &from.1, to.0, &to.1, mode), expected)? {
            Some((sequence, ())) => self.awaited("rename", sequence, self.always()),
            None => Ok(()),
        }
    }

    /// The key of a place, if it has one.
    fn key(&self, parent: EntryId, name: &[u8]) -> Option<Vec<u8>> {
        let (mut key, mut directory) = (name.to_vec(), parent);
        while directory != caskfs::store::ROOT {
            let ((above, name), _) = self.reference.now.names.iter().find(|(_, id)| **id == directory)?;
            key = [name, b"/".as_slice(), &key].concat();
            directory = *above;
        }
        Some(key)
    }
}

/// The embedded store's own calls, between those of the mount.
impl World {
    /// Puts a value at a place, or below a directory of that name.
    fn put(&mut self, at: Place, below: Option<u8>, value: &[u8]) -> Result<(), Difference> {
        let store = Arc::clone(self.filesystem.store());
        let (mut parent, mut name) = self.place(at);
        let Some(mut key) = self.key(parent, &name) else { return Ok(()) };
        let mut expected = Ok(());
        let mut above = None;
        if let Some(below) = below {
            let (_, last) = self.place(Place::Any { directory: 0, name: below });
            let directory = self.reference.now.lookup(parent, &name);
            if directory.is_some_and(|id| !self.reference.now.is_directory(id)) {
                expected = Err(libc::ENOTDIR);
            }
            above = directory.is_none().then(|| (parent, name.clone(), key.clone()));
            key = [&key, b"/".as_slice(), &last].concat();
            (parent, name) = (directory.unwrap_or_default(), last);
        }
        let old = self.reference.now.lookup(parent, &name);
        // What is written to an open file and what is put beneath make a mixture, which is nobody's business.
        if old.and_then(|id| self.reference.staged.get(&id)).is_some_and(|stage| !stage.emptied) {
            return Ok(());
        }
        let done = store.put(&key, value);
        let id = |key: &[u8]| store.stat(key).ok().flatten().map_or(0, |stat| stat.id);
        if let Some((place, directory, key)) = above {
            parent = id(&key);
            self.put_entry((place, &directory), parent, Kind::Directory);
        }
        if expected.is_ok() {
            expected = self.put_value((parent, &name), old, id(&key), value);
        }
        same("put", done, expected).map(drop)
    }

    fn put_value(
        &mut self,
        (parent, name): (EntryId, &[u8]),
        old: Option<EntryId>,
        found: EntryId,
        value: &[u8],
    ) -> Result<(), i32> {
        match old {
            Some(old) => self.reference.put(old, value),
            None => {
                self.put_entry((parent, name), found, Kind::File);
                self.reference.put(found, value)
            }
        }
    }

    /// An entry made by the store itself: the daemon's own, and no set-group-id directory has a say.
    fn put_entry(&mut self, place: (EntryId, &[u8]), id: EntryId, kind: Kind) {
        let mode = if kind == Kind::Directory { 0o755 } else { 0o644 };
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let attributes = Attributes { uid, gid, ..self.attributes(kind, mode, true) };
        if self.reference.make(place, id, attributes, &[]).is_ok() {
            self.reference.now.nodes.entry(id).and_modify(|node| node.attributes = attributes);
            self.reference.commit(id);
        }
    }

    fn remove(&mut self, at: Place) -> Result<(), Difference> {
        let (parent, name) = self.place(at);
        let Some(key) = self.key(parent, &name) else { return Ok(()) };
        let old = self.reference.now.lookup(parent, &name);
        let directory = old.is_some_and(|id| self.reference.now.is_directory(id));
        let expected = match old {
            Some(_) => self.reference.unlink(parent, &name, directory).map(|()| true),
            None => Ok(false),
        };
        match same("remove", self.filesystem.store().remove(key), expected)? {
            Some((there, expected)) if there != expected => Err(format!("remove says {there}")),
            _ => Ok(()),
        }
    }
}
