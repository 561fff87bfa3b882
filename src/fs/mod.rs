//! Files: inodes, handles, dirty data, and the rules of when a change is committed. No kernel in here.
//!
//! The store has what is *published*: what a crash leaves. Here is what is *staged* on top: the bytes that were
//! written through open files and not committed yet. What a reader of the mount sees is both, one over the other.
//!
//! The commit rules (`docs/SEMANTICS.md`):
//! * FLUSH (some descriptor is closed) commits if that handle has written, unless all that happened to the file is
//!   that it was created or emptied: `echo v > k` closes a copy of the descriptor before it writes.
//! * FSYNC commits whatever is there, but for a value that another is setting: see [`Filesystem::fsync`]. RELEASE (the last
//!   descriptor is closed) commits what FLUSH left.
//! * Rename and link commit the bytes staged of their file in the same transaction, so that a name never leads to less
//!   than what was written.
//! * A file without a name is never committed.
//!
//! Locks: `state` before any of the store's. It is held while the log is appended to, not while it is synced. Whoever
//! shows an entry takes it before looking at the store: the kernel keeps what it is shown for good, so that published
//! and staged must be of one moment.

mod access_control;
mod access_time;
mod acl;
mod attributes;
mod commit;
mod copy;
mod directory;
mod expiry;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod inode;
mod io;
mod namespace;
mod read;
mod special;
mod staged;
mod types;
mod xattrs;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use parking_lot::Mutex;

pub use crate::store::Error;
pub use access_control::AclKind;
pub use access_time::AccessTimes;
pub use copy::CopyEnd;
pub use special::{Tree, lasts};
pub use types::*;

use crate::store::{Callback, Door, EntryId, MemoryUse, Stat, Store, Subscription, Transaction};
use inode::State;

/// Bytes of memory that what is staged may take, of all files together.
const DIRTY_LIMIT: usize = 64 << 20;

/// A store as a filesystem.
#[derive(Debug)]
pub struct Filesystem {
    store: Arc<Store>,
    options: FilesystemOptions,
    /// Whose changes are its own.
    door: Door,
    state: Mutex<State>,
}

impl Filesystem {
    /// A filesystem over a store, which is driven through nothing else that holds on to entries.
    pub fn new(store: Arc<Store>, mut options: FilesystemOptions) -> Arc<Filesystem> {
        if options.dirty_limit == 0 {
            options.dirty_limit = DIRTY_LIMIT;
        }
        let door = store.new_door();
        let mut state = State::default();
        state.account = Some(store.charge(MemoryUse::Staged));
        Arc::new(Filesystem { store, options, door, state: Mutex::new(state) })
    }

    /// The changes that come through other doors.
    pub fn subscribe(&self) -> Subscription {
        self.store.subscribe(Some(self.door))
    }

    fn begin(&self) -> Result<Transaction<'_>, Error> {
        self.store.begin_through(self.door)
    }

    /// Whether the entry was handed out, and not all of that forgotten.
    fn is_known(&self, id: EntryId) -> bool {
        self.store.is_pinned(id)
    }

    /// The last byte of a file as the mount shows it, and where it is. `None` if it is empty or cannot be read.
    fn last_byte(&self, id: EntryId) -> Option<(u64, u8)> {
        let mut state = self.state.lock();
        self.settle_overtaken(&mut state, id);
        let end = self.shown(&state, self.store.entry(id).ok()?).size.checked_sub(1)?;
        let byte = self.read_shown(&state, id, end..end + 1).ok()?.first().copied()?;
        Some((end, byte))
    }

    /// The store beneath.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Calls `done` once everything up to `sequence` is durable, or with the error why it never will be: at once, on
    /// this thread, if it is already.
    pub fn when_durable(&self, sequence: Sequence, done: Callback) {
        self.store.when_durable(sequence, done);
    }

    /// Bytes that open files hold in memory, and how many are open.
    fn staged_and_open(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.dirty, state.open_files())
    }

    /// What the caller of a change other than close and fsync waits for.
    fn awaited(&self, sequence: Sequence) -> Option<Sequence> {
        (self.options.sync == SyncMode::Always).then_some(sequence)
    }

    /// An entry as the mount shows it: staged bytes counted, ownership and permissions as the options say.
    fn shown(&self, state: &State, mut stat: Stat) -> Stat {
        if let Some(staged) = state.staged(stat.id).filter(|staged| !self.is_overtaken(stat.id, staged)) {
            stat.size = staged.size;
            stat.allocated = staged.allocated(stat.allocated);
            stat.attributes.mtime = staged.mtime;
            stat.attributes.ctime = stat.attributes.ctime.max(staged.ctime);
        }
        let attributes = &mut stat.attributes;
        attributes.atime = state.accesses.get(stat.id).unwrap_or(attributes.atime);
        attributes.uid = self.options.uid.unwrap_or(attributes.uid);
        attributes.gid = self.options.gid.unwrap_or(attributes.gid);
        attributes.mode &= !self.options.umask;
        stat
    }
}
