//! `.snapshots`: each snapshot of the store as a tree that never changes.
//!
//! Invariants:
//! - A snapshot gets the number of its tree when it is first seen, and no other one ever has it, not even a later one of
//!   the same name. So its inode numbers stay right while its keydir comes and goes.
//! - A snapshot is opened when something in it is wanted, which takes as long as the start of a store: whoever must not
//!   wait asks [`Snapshots::is_open`] first. It is closed when nothing of it has been used for a while.
//! - Snapshots with the same content share one tree. The trees together take a bounded share of memory: before one more is
//!   opened those are closed that were used longest ago and have no open file; if that is not enough, it is refused.
//! - One that is removed while files in it are open stays readable until these are closed.
//!
//! Locks: a snapshot's own, held while it is opened; then `trees`. Whoever holds `trees` never waits for one.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::place::{FIRST_SNAPSHOT, LAST_SNAPSHOT, Place, outer};
use crate::fs::{DirectoryEntry, Filesystem, HandleId, OpenFlags};
use crate::log;
use crate::store::{EntryId, Error, Kind, ROOT, Snapshot, Stat, Time, heap};

/// Its name in the root.
pub(super) const NAME: &[u8] = b".snapshots";

/// Bytes of memory that the keydirs of open snapshots may take in any case.
const MEMORY: u64 = 256 << 20;
/// As many times the store's own keydir, if that is more.
const TIMES_LIVE: u64 = 4;

/// All snapshots that were seen.
#[derive(Debug)]
pub(super) struct Snapshots {
    live: Arc<Filesystem>,
    trees: Mutex<Trees>,
    memory: u64,
}

#[derive(Debug, Default)]
struct Trees {
    /// By number, and so in the order in which they were seen.
    seen: BTreeMap<u64, Arc<Frozen>>,
    last: u64,
    /// How often any was used.
    turns: u64,
}

/// One snapshot.
#[derive(Debug)]
struct Frozen {
    number: u64,
    name: String,
    taken: Option<Time>,
    sequence: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    tree: Option<Arc<Filesystem>>,
    /// Bytes that its keydir takes.
    memory: u64,
    /// The attributes of its root, once they are known.
    root: Option<Stat>,
    /// Used since it was last asked whether it can be closed.
    used: bool,
    /// When it was used last, as a number that grows with each use.
    turn: u64,
    /// Something in it was wanted, and not its root's attributes alone.
    entered: bool,
}

impl State {
    /// Takes the tree out, unless somebody has a file of it open. To be dropped without a lock.
    fn close(&mut self) -> Option<Arc<Filesystem>> {
        let idle = self.tree.as_ref().is_some_and(|tree| tree.staged_and_open().1 == 0);
        self.entered &= !idle;
        if idle { self.tree.take() } else { None }
    }
}

impl Snapshots {
    pub(super) fn new(live: Arc<Filesystem>) -> Snapshots {
        Snapshots { live, trees: Mutex::default(), memory: MEMORY }
    }

    #[cfg(test)]
    pub(super) fn bound(&mut self, bytes: u64) {
        self.memory = bytes;
    }

    #[cfg(test)]
    pub(super) fn open_keydirs(&self) -> usize {
        let trees = self.trees.lock();
        let open = trees.seen.values().filter_map(|frozen| Some(Arc::as_ptr(frozen.state.lock().tree.as_ref()?)));
        open.collect::<std::collections::BTreeSet<_>>().len()
    }

    /// Finds a snapshot by name, and shows the root of its tree.
    pub(super) fn find(&self, name: &[u8]) -> Result<Option<Stat>, Error> {
        let Ok(name) = std::str::from_utf8(name) else { return Ok(None) };
        let Some(snapshot) = self.live.store().find_snapshot(name)? else { return Ok(None) };
        let frozen = self.number(&snapshot)?;
        match self.root(&frozen) {
            // Removed since.
            Err(Error::NotFound | Error::Stale) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Lists the snapshots behind `cookie`. What is shown of them is not the attributes of their roots, for which they
    /// would have to be opened.
    pub(super) fn list(
        &self,
        cookie: u64,
        like: &Stat,
        entry: &mut dyn FnMut(&DirectoryEntry, &Stat) -> bool,
    ) -> Result<(), Error> {
        let mut listed = Vec::new();
        for snapshot in self.live.store().snapshots()? {
            let frozen = self.number(&snapshot)?;
            let mut stat = Stat { id: outer(frozen.number, ROOT), ..*like };
            let taken = frozen.taken.unwrap_or_default();
            (stat.attributes.mtime, stat.attributes.ctime, stat.attributes.mode) = (taken, taken, 0);
            listed.push((frozen.number, frozen.name.clone(), stat));
        }
        listed.sort_unstable_by_key(|(number, ..)| *number);
        for (number, name, stat) in listed.into_iter().filter(|(number, ..)| number + 1 > cookie) {
            // Greater than those of the dots.
            let shown = DirectoryEntry { cookie: number + 1, id: stat.id, kind: Kind::Directory, name: name.into() };
            if !entry(&shown, &stat) {
                break;
            }
        }
        Ok(())
    }

    /// Takes a snapshot, and shows its root as far as it is known without opening it.
    pub(super) fn make(&self, name: &[u8], like: &Stat) -> Result<Stat, Error> {
        let name = std::str::from_utf8(name).map_err(|_| Error::InvalidSnapshotName)?;
        let snapshot = self.live.store().snapshot(name).map_err(plain)?;
        Ok(Stat { id: outer(self.number(&snapshot)?.number, ROOT), ..*like })
    }

    /// Removes a snapshot.
    pub(super) fn remove(&self, name: &[u8]) -> Result<(), Error> {
        let name = std::str::from_utf8(name).map_err(|_| Error::NotFound)?;
        self.live.store().remove_snapshot(name).map_err(plain)
    }

    /// The root's attributes.
    pub(super) fn root_of(&self, number: u64) -> Result<Stat, Error> {
        let frozen = self.seen(number)?;
        self.root(&frozen)
    }

    /// The tree of a snapshot, which is opened if it is not.
    pub(super) fn tree(&self, number: u64) -> Result<Arc<Filesystem>, Error> {
        let frozen = self.seen(number)?;
        let state = &mut *frozen.state.lock();
        state.entered = true;
        self.open(&frozen, state)
    }

    /// Opens a file in a snapshot, which so stays open.
    pub(super) fn open_file(&self, number: u64, id: EntryId, flags: OpenFlags) -> Result<HandleId, Error> {
        let frozen = self.seen(number)?;
        // With its lock held: it must not be closed in between.
        let state = &mut *frozen.state.lock();
        state.entered = true;
        self.open(&frozen, state)?.open(id, flags)
    }

    /// Whether a snapshot's tree can be had without waiting.
    pub(super) fn is_open(&self, number: u64) -> bool {
        let Ok(frozen) = self.seen(number) else { return true };
        // A lock that is held is held by whoever opens it.
        frozen.state.try_lock().is_some_and(|state| state.tree.is_some())
    }

    /// Closes what was not used since the last call.
    pub(super) fn close_idle(&self) {
        let all: Vec<Arc<Frozen>> = self.trees.lock().seen.values().cloned().collect();
        let mut closed = Vec::new();
        for frozen in &all {
            let Some(mut state) = frozen.state.try_lock() else { continue };
            if !std::mem::take(&mut state.used) {
                closed.extend(state.close());
            }
        }
        if closed.is_empty() {
            return;
        }
        drop(closed);
        heap::give_back();
        // Of those that are removed nobody has anything any more.
        let Ok(there) = self.live.store().snapshots() else { return };
        self.trees.lock().seen.retain(|_, frozen| {
            let open = frozen.state.try_lock().is_none_or(|state| state.tree.is_some());
            open || there.iter().any(|snapshot| frozen.is(snapshot))
        });
    }

    fn seen(&self, number: u64) -> Result<Arc<Frozen>, Error> {
        self.trees.lock().seen.get(&number).cloned().ok_or(Error::Stale)
    }

    /// The number of a snapshot: a new one if it was never seen.
    fn number(&self, snapshot: &Snapshot) -> Result<Arc<Frozen>, Error> {
        let trees = &mut *self.trees.lock();
        if let Some(frozen) = trees.seen.values().find(|frozen| frozen.is(snapshot)) {
            return Ok(Arc::clone(frozen));
        }
        let number = (trees.last + 1).max(FIRST_SNAPSHOT);
        if number > LAST_SNAPSHOT {
            return Err(Error::NotSupported("more than 65,000 snapshots in the life of one mount"));
        }
        trees.last = number;
        let &Snapshot { taken, sequence, .. } = snapshot;
        let frozen = Frozen { number, name: snapshot.name.clone(), taken, sequence, state: Mutex::default() };
        let frozen = Arc::new(frozen);
        trees.seen.insert(number, Arc::clone(&frozen));
        Ok(frozen)
    }

    fn root(&self, frozen: &Frozen) -> Result<Stat, Error> {
        let state = &mut *frozen.state.lock();
        if let Some(root) = state.root {
            return Ok(root);
        }
        let tree = self.open(frozen, state)?;
        let root = frozen.shown(tree.getattr(ROOT)?)?;
        state.root = Some(root);
        Ok(root)
    }

    fn open(&self, frozen: &Frozen, state: &mut State) -> Result<Arc<Filesystem>, Error> {
        let others: Vec<Arc<Frozen>> = {
            let trees = &mut *self.trees.lock();
            trees.turns += 1;
            (state.used, state.turn) = (true, trees.turns);
            if let Some(tree) = &state.tree {
                return Ok(Arc::clone(tree));
            }
            trees.seen.values().filter(|other| other.number != frozen.number).cloned().collect()
        };
        if let Some((tree, memory)) = others.iter().find_map(|other| other.same_as(frozen)) {
            (state.tree, state.memory) = (Some(Arc::clone(&tree)), memory);
            return Ok(tree);
        }
        self.make_room(&others)?;
        let store = self.live.store().open_snapshot(&frozen.name).map_err(plain)?;
        if store.taken() != frozen.taken {
            // Another one of this name.
            return Err(Error::Stale);
        }
        state.memory = store.keydir_bytes();
        let tree = Filesystem::new(Arc::new(store), self.live.options.clone());
        state.tree = Some(Arc::clone(&tree));
        // Whoever lists all of them with their attributes must not have all of them in memory.
        for other in &others {
            // One that is being opened is in use.
            let closed = other.state.try_lock().filter(|state| !state.entered).and_then(|mut state| state.close());
            drop(closed);
        }
        Ok(tree)
    }

    /// Closes what was used longest ago, until there is memory for one more.
    fn make_room(&self, others: &[Arc<Frozen>]) -> Result<(), Error> {
        let more = self.live.store().keydir_bytes();
        let most = self.memory.max(more.saturating_mul(TIMES_LIVE));
        let mut closed = false;
        loop {
            let mut open = Vec::new();
            for (place, other) in others.iter().enumerate() {
                // One that is being opened finds out for itself.
                let Some(state) = other.state.try_lock() else { continue };
                let Some(tree) = &state.tree else { continue };
                open.push((state.turn, place, Arc::as_ptr(tree), state.memory));
            }
            let mut trees: Vec<_> = open.iter().map(|(_, _, tree, memory)| (*tree, *memory)).collect();
            trees.sort_unstable();
            trees.dedup();
            let taken: u64 = trees.iter().map(|(_, memory)| memory).sum();
            if trees.is_empty() || taken.saturating_add(more) <= most {
                if closed {
                    heap::give_back();
                }
                return Ok(());
            }
            open.sort_unstable_by_key(|(turn, ..)| *turn);
            let close = |(_, place, ..): &(u64, usize, *const Filesystem, u64)| {
                others.get(*place)?.state.try_lock().and_then(|mut state| state.close())
            };
            match open.iter().find_map(close) {
                Some(tree) => drop(tree),
                None => return Err(Error::TooManySnapshots),
            }
            closed = true;
        }
    }
}

impl Frozen {
    fn is(&self, snapshot: &Snapshot) -> bool {
        self.name == snapshot.name && self.taken == snapshot.taken && self.sequence == snapshot.sequence
    }

    /// The tree of this snapshot, and what it takes of memory, if it is open and in the other one is the same.
    fn same_as(&self, other: &Frozen) -> Option<(Arc<Filesystem>, u64)> {
        if self.sequence != other.sequence {
            return None;
        }
        let state = self.state.try_lock()?;
        let tree = state.tree.as_ref()?;
        let store = tree.store();
        // Else they differ in what had expired.
        let same = store.hides_nothing(self.taken) && store.hides_nothing(other.taken);
        same.then(|| (Arc::clone(tree), state.memory))
    }

    /// An entry of the snapshot as the mount shows it.
    fn shown(&self, stat: Stat) -> Result<Stat, Error> {
        shown(self.number, stat)
    }
}

/// An entry of a snapshot under its number in the mount.
pub(super) fn shown(number: u64, stat: Stat) -> Result<Stat, Error> {
    Ok(Stat { id: inside(number, stat.id)?, ..stat })
}

/// The number in the mount of an entry of a snapshot.
pub(super) fn inside(number: u64, id: EntryId) -> Result<EntryId, Error> {
    match Place::of(id)? {
        Place::Live(id) => Ok(outer(number, id)),
        Place::Own(_) | Place::Frozen(..) => Err(Error::Stale),
    }
}

/// What the log says of snapshots, in the words of files.
fn plain(error: Error) -> Error {
    match error {
        Error::Log(log::Error::NoSnapshot(_)) => Error::NotFound,
        Error::Log(log::Error::SnapshotExists(_)) => Error::Exists,
        Error::Log(log::Error::Frozen) => Error::ReadOnly,
        other => other,
    }
}
