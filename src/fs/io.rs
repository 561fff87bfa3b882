//! Opening, reading and writing files.

use super::inode::State;
use super::staged::{Fragment, Staged};
use super::{Caller, Filesystem, HandleId, OpenFlags, Writing, Written};
use crate::store::{Attributes, EntryId, Error, Kind, Stat};

/// The longest value, as on Linux: offsets are signed.
const MAX_SIZE: u64 = i64::MAX as u64;

const S_ISUID: u16 = 0o4000;
const S_ISGID: u16 = 0o2000;
const S_IXGRP: u16 = 0o010;
const CAPABILITY: &[u8] = b"security.capability";

/// The permission bits after a change that must not keep privileges: no suid, and no sgid of an executable. Of any other file the
/// bit is not for who is no `member` of its group.
pub(super) fn without_privileges(mode: u16, member: bool) -> u16 {
    let sgid = if mode & S_IXGRP != 0 || !member { S_ISGID } else { 0 };
    mode & !(S_ISUID | sgid)
}

impl Filesystem {
    /// Creates a file and opens it. It is in no record until it is committed, so that a crash never shows it empty.
    ///
    /// # Errors
    /// [`Error::Exists`] and others of the store.
    pub fn create(
        &self,
        caller: &Caller,
        parent: EntryId,
        name: &[u8],
        mode: u16,
        flags: OpenFlags,
    ) -> Result<(Stat, HandleId), Error> {
        let (attributes, lists) = self.new_attributes(caller, parent, Kind::File, mode, 0)?;
        let mut state = self.state.lock();
        let stat = self.store.create_provisional(parent, name, attributes)?;
        if !lists.is_empty() {
            let mut transaction = self.begin()?;
            lists.give(&mut transaction, stat.id)?;
            transaction.commit_attributes(stat.id)?;
        }
        let handle = state.open(stat.id, flags.write, true);
        Ok((self.shown(&state, stat), handle))
    }

    /// Opens a file.
    ///
    /// # Errors
    /// [`Error::Stale`] if it is gone, [`Error::ReadOnly`] for writing on a store that takes no writes, and the
    /// reason if it has stopped taking them.
    pub fn open(&self, id: EntryId, flags: OpenFlags) -> Result<HandleId, Error> {
        self.store.remove_due();
        let stat = self.store.entry(id).ok().filter(|stat| !self.store.has_expired(stat)).ok_or(Error::Stale)?;
        if stat.attributes.kind == Kind::Directory {
            return Err(Error::IsADirectory);
        }
        if flags.write {
            self.store.check_writable()?;
        }
        Ok(self.state.lock().open(id, flags.write, false))
    }

    /// Writes bytes. They are seen at once, and published when the file is committed.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::TooLarge`].
    pub fn write(
        &self,
        id: EntryId,
        handle: HandleId,
        offset: u64,
        data: &[u8],
        how: Writing<'_>,
    ) -> Result<Written, Error> {
        check_end(offset, data.len() as u64)?;
        let state = &mut *self.state.lock();
        state.handle(id, handle)?;
        if data.is_empty() {
            // Not even the length changes.
            return Ok(Written::default());
        }
        // Bytes that can never be committed are not taken either.
        self.store.check_writable()?;
        let stat = self.store.entry(id)?;
        // Before any of the new bytes is taken: a full disk must not fill the memory too.
        self.settle_overtaken(state, id);
        self.make_room(state, id, data.len())?;
        // Now, when the caller still hears of it, and not when the file is closed.
        self.store.check_space(data.len() as u64)?;
        let stripped = self.drop_privileges(&stat, how.kill)?;
        let mut staged = self.stage(state, id)?;
        // The kernel's end is another than the true one only if the value was changed elsewhere. Otherwise the caller has asked
        // for this very place: RWF_NOAPPEND.
        let moved = how.append && offset != staged.size && self.store.is_changed_elsewhere();
        let offset = if moved { staged.size } else { offset };
        let fits = check_end(offset, data.len() as u64);
        if fits.is_ok() {
            staged.write(offset, data, self.store.now());
        }
        state.put_staged(id, staged);
        fits?;
        state.wrote(id, handle)?;
        Ok(Written { bytes: data.len() as u64, moved, stripped })
    }

    /// Sets the length of a file.
    pub(super) fn truncate(&self, state: &mut State, caller: &Caller, stat: &Stat, size: u64) -> Result<(), Error> {
        if size > MAX_SIZE {
            return Err(Error::TooLarge);
        }
        self.store.check_writable()?;
        // To less is always possible, if it is to nothing.
        if size > 0 {
            self.make_room(state, stat.id, 0)?;
        }
        let now = self.store.now();
        self.drop_privileges(stat, caller.without_rights())?;
        let mut staged = self.stage(state, stat.id)?;
        match size {
            0 => {
                match staged.empty(now) {
                    0 => {}
                    stage => self.store.abandon(stage),
                }
                state.begin_stage(stat.id);
            }
            size => staged.resize(size, now),
        }
        state.put_staged(stat.id, staged);
        Ok(())
    }

    /// A change of the value takes away file capabilities, and suid and sgid if it is by who may not keep them. Says whether it
    /// took any.
    pub(super) fn drop_privileges(&self, stat: &Stat, kill: Option<&Caller>) -> Result<bool, Error> {
        let Attributes { mode, gid, .. } = stat.attributes;
        let mode = kill.map_or(mode, |caller| without_privileges(mode, caller.gid == gid));
        let capability = self.store.has_xattrs(stat.id) && self.store.xattr(stat.id, CAPABILITY).is_ok();
        if mode == stat.attributes.mode && !capability {
            return Ok(false);
        }
        let mut transaction = self.begin()?;
        transaction.made_by_others();
        let attributes = transaction.attributes(stat.id)?;
        transaction.set_attributes(stat.id, Attributes { mode, ..attributes })?;
        if capability {
            transaction.remove_xattr(stat.id, CAPABILITY)?;
        }
        transaction.commit_attributes(stat.id).map(|_| true)
    }

    /// fallocate(2): `mode` is its mode. Space is never set aside; what is punched or zeroed becomes a hole.
    ///
    /// # Errors
    /// [`Error::NotSupported`] for modes that Linux does not pass on either.
    pub fn fallocate(
        &self,
        caller: &Caller,
        id: EntryId,
        handle: HandleId,
        mode: i32,
        offset: u64,
        length: u64,
    ) -> Result<Written, Error> {
        let end = check_end(offset, length)?;
        let keep_size = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
        let zeros = match mode & !libc::FALLOC_FL_KEEP_SIZE {
            0 => false,
            libc::FALLOC_FL_PUNCH_HOLE if keep_size => true,
            libc::FALLOC_FL_ZERO_RANGE => true,
            _ => return Err(Error::NotSupported("this mode of fallocate")),
        };
        let state = &mut *self.state.lock();
        state.handle(id, handle)?;
        self.store.check_writable()?;
        let stat = self.store.entry(id)?;
        self.make_room(state, id, 0)?;
        let stripped = self.drop_privileges(&stat, caller.without_rights())?;
        let now = self.store.now();
        let mut staged = self.stage(state, id)?;
        let old = staged.size;
        if zeros {
            staged.punch(offset..end.min(old).max(offset), now);
        }
        let extends = end > old && !keep_size;
        if extends {
            staged.resize(end, now);
        }
        if !zeros && !extends {
            staged.reserve(now);
        }
        let changed = staged.written;
        state.put_staged(id, staged);
        if changed {
            state.wrote(id, handle)?;
        }
        Ok(Written { stripped, ..Written::default() })
    }

    /// lseek(2) with SEEK_DATA or SEEK_HOLE.
    ///
    /// # Errors
    /// [`Error::BeyondEnd`] if there is nothing to be found.
    pub fn lseek(&self, id: EntryId, offset: u64, whence: i32) -> Result<u64, Error> {
        let mut state = self.state.lock();
        self.settle_overtaken(&mut state, id);
        let size = match state.staged(id) {
            Some(staged) => staged.size,
            None => self.store.entry(id)?.size,
        };
        if offset >= size {
            return Err(Error::BeyondEnd);
        }
        match whence {
            libc::SEEK_DATA => {
                let data = self.first_data(state.staged(id), id, offset)?;
                data.filter(|data| *data < size).ok_or(Error::BeyondEnd)
            }
            libc::SEEK_HOLE => Ok(self.first_hole(state.staged(id), id, offset)?.min(size)),
            _ => Err(Error::Invalid("lseek knows SEEK_DATA and SEEK_HOLE here")),
        }
    }

    /// The first byte at or behind `at` that is in no hole: what is staged hides what is published.
    fn first_data(&self, staged: Option<&Staged>, id: EntryId, mut at: u64) -> Result<Option<u64>, Error> {
        let Some(staged) = staged else { return self.store.first_data(id, at) };
        for (place, fragment) in staged.fragments.overlapping(at..u64::MAX) {
            let published = if staged.emptied { None } else { self.store.first_data(id, at)? };
            match published.filter(|data| *data < place.start) {
                Some(data) => return Ok(Some(data)),
                None if !matches!(fragment, Fragment::Hole) => return Ok(Some(at.max(place.start))),
                None => at = place.end,
            }
        }
        if staged.emptied { Ok(None) } else { self.store.first_data(id, at) }
    }

    /// The first byte at or behind `at` that is in a hole.
    fn first_hole(&self, staged: Option<&Staged>, id: EntryId, mut at: u64) -> Result<u64, Error> {
        let Some(staged) = staged else { return self.store.first_hole(id, at) };
        loop {
            let (next, data) = match staged.fragments.overlapping(at..u64::MAX).next() {
                Some((place, fragment)) if place.start <= at => (place.end, !matches!(fragment, Fragment::Hole)),
                gap => {
                    let next = gap.map_or(u64::MAX, |(place, _)| place.start);
                    let hole = if staged.emptied { at } else { self.store.first_hole(id, at)? };
                    if hole < next {
                        return Ok(hole);
                    }
                    (next, true)
                }
            };
            if !data {
                return Ok(at);
            }
            at = next;
        }
    }
}

/// Where a change of so many bytes ends.
pub(super) fn check_end(offset: u64, length: u64) -> Result<u64, Error> {
    offset.checked_add(length).filter(|end| *end <= MAX_SIZE).ok_or(Error::TooLarge)
}
