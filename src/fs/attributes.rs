//! Attributes: getattr, setattr, statfs.

use super::access_control::Lists;
use super::io::without_privileges;
use super::{Caller, Filesystem, FilesystemStat, HandleId, Sequence, SetAttributes, SetTime};
use crate::store::{Attributes, EntryId, Error, Kind, Stat, Time};

const S_ISGID: u16 = 0o2000;

impl Filesystem {
    /// What stat shows of an entry.
    ///
    /// # Errors
    /// [`Error::Stale`] if it is gone.
    pub fn getattr(&self, id: EntryId) -> Result<Stat, Error> {
        let state = self.state.lock();
        Ok(self.shown(&state, self.present(&state, id)?))
    }

    /// Changes attributes, the length among them. Returns the sequence number to wait for, if the caller must.
    ///
    /// # Errors
    /// [`Error::Stale`]; [`Error::IsADirectory`] for the length of one; those of the store.
    pub fn setattr(
        &self,
        caller: &Caller,
        id: EntryId,
        handle: Option<HandleId>,
        change: SetAttributes,
    ) -> Result<(Stat, Option<Sequence>), Error> {
        let state = &mut *self.state.lock();
        self.settle_overtaken(state, id);
        let stat = self.present(state, id)?;
        let mut sequence = None;
        if let Some(size) = change.size {
            match stat.attributes.kind {
                Kind::File => {}
                Kind::Directory => return Err(Error::IsADirectory),
                _ => return Err(Error::Invalid("it has no length")),
            }
            self.truncate(state, caller, &stat, size)?;
            if let Some(handle) = handle {
                state.wrote(id, handle)?;
            }
        }
        let now = self.store.now();
        let time = |set: SetTime| if let SetTime::At(time) = set { time } else { now };
        // The time of a change that is staged goes with it.
        let mut mtime = change.mtime.map(time);
        if let Some(set) = mtime
            && let Some(staged) = state.staged_mut(id)
        {
            (staged.mtime, staged.ctime) = (set, now);
            mtime = None;
        }
        let rest = SetAttributes { size: None, mtime: None, ..change };
        if rest != SetAttributes::default() || mtime.is_some() {
            let mut transaction = self.begin()?;
            transaction.made_by(caller.uid);
            let old = transaction.attributes(id)?;
            let mode = change.mode.unwrap_or(match change.uid.or(change.gid) {
                Some(_) if old.kind != Kind::Directory => {
                    without_privileges(old.mode, caller.uid == 0 || caller.gid == old.gid)
                }
                _ => old.mode,
            });
            let atime = change.atime.map_or(state.accesses.get(id).unwrap_or(old.atime), time);
            let mtime = mtime.unwrap_or(old.mtime);
            let (uid, gid) = (change.uid.unwrap_or(old.uid), change.gid.unwrap_or(old.gid));
            if change.mode.is_some() {
                self.change_acl_mode(&mut transaction, id, mode)?;
            }
            transaction.set_attributes(id, Attributes { mode, uid, gid, atime, mtime, ctime: now, ..old })?;
            sequence = transaction.commit_attributes(id)?;
            state.accesses.settle(id);
        }
        // Nobody has the file open for writing, so that no close will come: the new length is committed now.
        let writers = state.inodes.get(&id).map_or(0, |inode| inode.writers);
        if change.size.is_some() && writers == 0 {
            sequence = self.commit(state, id)?;
        }
        let stat = self.store.entry(id)?;
        Ok((self.shown(state, stat), sequence.and_then(|sequence| self.awaited(sequence))))
    }

    /// The attributes of a new entry, and its access control lists: the caller's, but a setgid directory hands down its
    /// group, and to directories the bit too.
    pub(super) fn new_attributes(
        &self,
        caller: &Caller,
        parent: EntryId,
        kind: Kind,
        mode: u16,
        rdev: u32,
    ) -> Result<(Attributes, Lists), Error> {
        let (mode, lists) = self.inherited(parent, kind, mode, caller.umask)?;
        let above = self.store.entry(parent)?.attributes;
        let inherits = above.mode & S_ISGID != 0;
        let gid = if inherits { above.gid } else { caller.gid };
        let bit = if inherits && kind == Kind::Directory { S_ISGID } else { 0 };
        let now: Time = self.store.now();
        let mode = mode & 0o7777 | bit;
        Ok((Attributes { kind, mode, uid: caller.uid, gid, rdev, atime: now, mtime: now, ctime: now }, lists))
    }

    /// Room on the medium, in the store's terms.
    ///
    /// # Errors
    /// Those of the medium.
    pub fn statfs(&self) -> Result<FilesystemStat, Error> {
        const BLOCK: u64 = 4096;
        /// About what a key with a short value takes in the log.
        const KEY: u64 = 512;
        let space = self.store.space()?;
        Ok(FilesystemStat {
            block_size: BLOCK as u32,
            blocks: space.total / BLOCK,
            free: space.free / BLOCK,
            available: space.available.saturating_sub(self.store.reserved()) / BLOCK,
            files: self.store.len() + space.available / KEY,
            files_free: space.available / KEY,
        })
    }
}
