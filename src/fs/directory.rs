//! Reading directories.

use super::{DirectoryEntry, Filesystem};
use crate::store::{EntryId, Error, Kind, Stat};

/// Cookies of `.` and `..`; those of names are greater.
const SELF: u64 = 1;
const PARENT: u64 = 2;
/// Names taken from the store at once.
const CHUNK: usize = 128;

impl Filesystem {
    /// Shows the entries behind `cookie` (0: all) to `entry` until that says no. A name that is there from beginning
    /// to end is shown exactly once, whatever else changes meanwhile: a cookie is a name's place for good.
    ///
    /// `entry` must not call back.
    ///
    /// # Errors
    /// [`Error::Stale`], [`Error::NotADirectory`].
    pub fn readdir(
        &self,
        id: EntryId,
        mut cookie: u64,
        entry: &mut dyn FnMut(&DirectoryEntry, &Stat) -> bool,
    ) -> Result<(), Error> {
        let stat = self.getattr(id)?;
        if stat.attributes.kind != Kind::Directory {
            return Err(Error::NotADirectory);
        }
        self.accessed(id);
        let parent = self.store.parent(id).unwrap_or(id);
        for (own, target, name) in [(SELF, id, "."), (PARENT, parent, "..")] {
            if cookie < own {
                let dot = DirectoryEntry { cookie: own, id: target, kind: Kind::Directory, name: name.into() };
                if !entry(&dot, &stat) {
                    return Ok(());
                }
                cookie = own;
            }
        }
        loop {
            let state = self.state.lock();
            let children = self.store.children(id, cookie, CHUNK)?;
            for child in &children {
                let stat = self.shown(&state, child.stat);
                let kind = stat.attributes.kind;
                let shown = DirectoryEntry { cookie: child.cookie, id: stat.id, kind, name: child.name.to_vec() };
                if !entry(&shown, &stat) {
                    return Ok(());
                }
                cookie = child.cookie;
            }
            if children.len() < CHUNK {
                return Ok(());
            }
        }
    }
}
