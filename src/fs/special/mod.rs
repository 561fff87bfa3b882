//! What a mount shows: the store's own tree, and at its root, reachable by name but not listed, what the mount adds.
//!
//! ```text
//! /.caskfs/       stats, recovery, contract, version: text that is made when it is looked at
//! ```
//!
//! Not listed, so that what walks the tree (rsync, find, rm -r) does not meet it.
//!
//! Invariants:
//! - Every inode number says by itself what it belongs to ([`place`]).
//! - Nothing here can be made, changed or removed through the mount, and the names of the root are taken. The store
//!   refuses them too; one that an older store holds is hidden in the mount, and the API still reaches it.
//! - Nothing is locked while a text is made but what [`Store::statistics`](crate::store::Store::statistics) takes.

mod changing;
mod metrics;
mod own_files;
mod place;
mod reading;
mod report;

use std::sync::Arc;

use super::{AccessTimes, Filesystem, Sequence};
use crate::store::{Callback, EntryId, Error, RESERVED, ROOT};
use own_files::OwnFiles;
use place::Place;
pub use place::lasts;

/// A filesystem as a mount shows it. Each operation is that of [`Filesystem`] with the same name.
#[derive(Debug)]
pub struct Tree {
    live: Arc<Filesystem>,
    own: OwnFiles,
}

impl Tree {
    /// The tree of a filesystem.
    pub fn new(live: Arc<Filesystem>) -> Tree {
        Tree { own: OwnFiles::new(Arc::clone(&live)), live }
    }

    /// See [`Filesystem::access_times`].
    pub fn access_times(&self) -> AccessTimes {
        self.live.access_times()
    }

    /// See [`Filesystem::has_acls`].
    pub fn has_acls(&self) -> bool {
        self.live.has_acls()
    }

    /// See [`Filesystem::when_durable`].
    pub fn when_durable(&self, sequence: Sequence, done: Callback) {
        self.live.when_durable(sequence, done);
    }

    /// The entry of the store's own tree, to be changed.
    fn writable(&self, id: EntryId) -> Result<EntryId, Error> {
        match Place::of(id)? {
            Place::Live(id) => Ok(id),
            Place::Own(_) => Err(READ_ONLY),
        }
    }

    /// The directory in which this name is to be made.
    fn vacant(&self, parent: EntryId, name: &[u8]) -> Result<EntryId, Error> {
        let parent = self.writable(parent)?;
        if is_reserved(parent, name) { Err(Error::Exists) } else { Ok(parent) }
    }

    /// The directory from which this name is to be taken.
    fn removable(&self, parent: EntryId, name: &[u8]) -> Result<EntryId, Error> {
        let parent = self.writable(parent)?;
        if is_reserved(parent, name) { Err(READ_ONLY) } else { Ok(parent) }
    }
}

const READ_ONLY: Error = Error::NotPermitted("it is the mount's own");

/// Whether the root has a name for the mount alone.
fn is_reserved(parent: EntryId, name: &[u8]) -> bool {
    parent == ROOT && RESERVED.contains(&name)
}
