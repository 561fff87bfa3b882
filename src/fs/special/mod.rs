//! What a mount shows: the store's own tree, and at its root, reachable by name but not listed, what the mount adds.
//!
//! ```text
//! /.caskfs/           stats, recovery, contract, version: text that is made when it is looked at
//! /.snapshots/NAME/   the tree as it was when the snapshot was taken
//! ```
//!
//! Not listed, so that what walks the tree (rsync, find, rm -r) does not meet it.
//!
//! Invariants:
//! - Every inode number says by itself what it belongs to ([`place`]).
//! - Nothing here can be changed through the mount, but that a snapshot is taken by mkdir and removed by rmdir. The names in
//!   the root are taken. The store refuses them too; one that an older store holds is hidden in the mount, and the API still reaches it.
//! - Nothing is locked while a text is made but what [`Store::statistics`](crate::store::Store::statistics) takes.

mod changing;
mod metrics;
mod own_files;
mod place;
mod reading;
mod report;
mod snapshots;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::{Arc, Once};

use super::{AccessTimes, Filesystem, Sequence};
use crate::store::{Callback, EntryId, Error, RESERVED, ROOT, Wait};
use own_files::OwnFiles;
pub use place::lasts;
use place::{Node, Place};
use snapshots::Snapshots;

/// A filesystem as a mount shows it. Each operation is that of [`Filesystem`] with the same name.
#[derive(Debug)]
pub struct Tree {
    live: Arc<Filesystem>,
    own: OwnFiles,
    snapshots: Snapshots,
    /// It was said that there is no room for others where the mount has its own.
    told: Once,
}

impl Tree {
    /// The tree of a filesystem.
    pub fn new(live: Arc<Filesystem>) -> Tree {
        Tree {
            own: OwnFiles::new(Arc::clone(&live)),
            snapshots: Snapshots::new(Arc::clone(&live)),
            live,
            told: Once::new(),
        }
    }

    /// See [`Filesystem::access_times`].
    pub fn access_times(&self) -> AccessTimes {
        self.live.access_times()
    }

    /// Lets the keydirs of open snapshots take so many bytes.
    #[cfg(test)]
    pub(super) fn bound_snapshots(&mut self, bytes: u64) {
        self.snapshots.bound(bytes);
    }

    /// How many keydirs of snapshots are in memory.
    #[cfg(test)]
    pub(super) fn open_keydirs(&self) -> usize {
        self.snapshots.open_keydirs()
    }

    /// See [`Filesystem::has_acls`].
    pub fn has_acls(&self) -> bool {
        self.live.has_acls()
    }

    /// See [`Filesystem::warm`].
    pub fn warm(&self, id: EntryId, wait: Wait) -> bool {
        !matches!(Place::of(id), Ok(Place::Live(_))) || self.live.warm(id, wait)
    }

    /// See [`Filesystem::warm_write`].
    pub fn warm_write(&self, id: EntryId, wait: Wait) -> bool {
        !matches!(Place::of(id), Ok(Place::Live(_))) || self.live.warm_write(id, wait)
    }

    /// [`Tree::warm`] of what a name leads to.
    pub fn warm_name(&self, parent: EntryId, name: &[u8], wait: Wait) -> bool {
        self.live.store().child(parent, name).is_none_or(|id| self.warm(id, wait))
    }

    /// See [`Filesystem::warm_copy`].
    pub fn warm_copy(&self, id: EntryId, range: std::ops::Range<u64>, wait: Wait) -> bool {
        !matches!(Place::of(id), Ok(Place::Live(_))) || self.live.warm_copy(id, range, wait)
    }

    /// See [`Filesystem::when_durable`].
    pub fn when_durable(&self, sequence: Sequence, done: Callback) {
        self.live.when_durable(sequence, done);
    }

    /// Whether an operation on this entry may take long, because a snapshot has to be opened for it: about as long as a
    /// start of the store took.
    pub fn takes_long(&self, id: EntryId) -> bool {
        match Place::of(id) {
            Ok(Place::Own(Node::Snapshots)) => true,
            Ok(Place::Frozen(number, _)) => !self.snapshots.is_open(number),
            _ => false,
        }
    }

    /// Closes snapshots of which nothing was used since the last call and no file is open. They are opened again when they
    /// are wanted.
    pub fn close_idle(&self) {
        self.snapshots.close_idle();
    }

    /// Whether the entry was handed out, and not all of that forgotten.
    pub fn is_known(&self, id: EntryId) -> bool {
        matches!(Place::of(id), Ok(Place::Live(id)) if self.live.is_known(id))
    }

    /// All of the store's own tree that are.
    pub fn known(&self) -> Vec<EntryId> {
        self.live.store().pinned()
    }

    /// The last byte of a file's value, and where it is. `None` if it is empty or cannot be read.
    pub fn last_byte(&self, id: EntryId) -> Option<(u64, u8)> {
        if let Ok(Place::Live(id)) = Place::of(id) { self.live.last_byte(id) } else { None }
    }

    /// Where the entry is, from the root. `None` if it has no name.
    pub fn path(&self, id: EntryId) -> Option<PathBuf> {
        self.live.store().key(id).map(|key| PathBuf::from(OsString::from_vec(key)))
    }

    /// See [`Filesystem::listings_last`].
    pub fn listings_last(&self) -> bool {
        self.live.listings_last()
    }

    /// The entry of the store's own tree, to be changed.
    fn writable(&self, id: EntryId) -> Result<EntryId, Error> {
        match Place::of(id)? {
            Place::Live(id) => Ok(id),
            Place::Own(_) => Err(READ_ONLY),
            Place::Frozen(..) => Err(Error::ReadOnly),
        }
    }

    /// The directory in which this name is to be made.
    fn vacant(&self, parent: EntryId, name: &[u8]) -> Result<EntryId, Error> {
        let own = matches!(Place::of(parent), Ok(Place::Own(_)));
        let parent = self.writable(parent).inspect_err(|_| {
            if own {
                self.told.call_once(|| log::warn!("{NO_ROOM_HERE}"));
            }
        })?;
        if is_reserved(parent, name) { Err(Error::Exists) } else { Ok(parent) }
    }

    /// The directory from which this name is to be taken.
    fn removable(&self, parent: EntryId, name: &[u8]) -> Result<EntryId, Error> {
        let parent = self.writable(parent)?;
        if is_reserved(parent, name) { Err(READ_ONLY) } else { Ok(parent) }
    }
}

/// Said once: rsync and cp show no more than "operation not permitted".
const NO_ROOM_HERE: &str = "something was to be made in .snapshots or .caskfs at the root, which are the mount's own: a tree that \
    has such a name at its top can come in one level down, or without that name";

const READ_ONLY: Error = Error::NotPermitted("it is the mount's own");

/// Whether the root has a name for the mount alone.
fn is_reserved(parent: EntryId, name: &[u8]) -> bool {
    parent == ROOT && RESERVED.contains(&name)
}
