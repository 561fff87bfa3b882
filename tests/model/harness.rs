//! What drives both: the filesystem as a kernel would, with its lookup counts, and the reference beside it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use caskfs::fs::{AccessTimes, Filesystem, FilesystemOptions, HandleId, SyncMode};
use caskfs::medium::SimDisk;
use caskfs::store::{Clock, EntryId, Error, Kind, Options, ROOT, Store, Time};

use super::operation::{Operation, Place, Setup, Target};
use super::reference::{Errno, Reference, Tree};

/// What differs, in words.
pub(crate) type Difference = String;

const NAMES: [&[u8]; 5] = [b"a", b"b", b"c", b"\xff\xfe not UTF-8", b"e"];
/// More directories than these are made, but not chosen.
const DIRECTORIES: usize = 6;

pub(crate) struct World {
    pub(crate) setup: Setup,
    pub(crate) disk: SimDisk,
    pub(crate) clock: Arc<AtomicI64>,
    pub(crate) filesystem: Arc<Filesystem>,
    pub(crate) reference: Reference,
    /// Lookup counts.
    pub(crate) held: BTreeMap<EntryId, u64>,
    /// Open files.
    pub(crate) slots: [Option<(EntryId, HandleId)>; 4],
    /// What was committed when each snapshot was taken.
    pub(crate) snapshots: BTreeMap<String, Tree>,
}

fn open(disk: &SimDisk, setup: &Setup, clock: &Arc<AtomicI64>) -> Arc<Filesystem> {
    let clock = Arc::clone(clock);
    let options = Options {
        create: true,
        segment_size: setup.segment_size,
        background: false,
        clock: Clock::new(move || Time(clock.load(Ordering::Relaxed))),
        ..Options::default()
    };
    let store = Store::open_on(Arc::new(disk.clone()), options).unwrap();
    let report = store.recovery_report();
    assert_eq!((&report.torn, &report.damage), (&vec![], &vec![]), "nothing is torn or damaged on a good disk");
    let options = FilesystemOptions {
        sync: setup.sync,
        dirty_limit: setup.dirty_limit,
        access_times: AccessTimes::Never,
        ..Default::default()
    };
    Filesystem::new(Arc::new(store), options)
}

impl World {
    pub(crate) fn new(setup: Setup) -> World {
        let disk = SimDisk::new();
        let clock = Arc::new(AtomicI64::new(1_000_000_000));
        let filesystem = open(&disk, &setup, &clock);
        let root = filesystem.getattr(ROOT).unwrap().attributes;
        let (held, slots, snapshots) = (BTreeMap::new(), [None; 4], BTreeMap::new());
        World { setup, disk, clock, filesystem, reference: Reference::new(root), held, slots, snapshots }
    }

    /// Does one operation on both and compares.
    pub(crate) fn step(&mut self, operation: &Operation) -> Result<(), Difference> {
        self.reference.time = Time(self.clock.fetch_add(1_000_000_000, Ordering::Relaxed) + 1_000_000_000);
        self.reference.expire();
        self.apply(operation)?;
        self.reference.expire();
        self.reference.sweep(&self.held);
        self.compare()
    }

    pub(crate) fn place(&self, place: Place) -> (EntryId, Vec<u8>) {
        let now = &self.reference.now;
        let (directory, name) = match place {
            Place::Any { directory, name } => (directory, name),
            Place::Taken(number) => match nth(now.names.keys(), number) {
                Some(place) => return place.clone(),
                None => (0, number),
            },
        };
        // Removed directories that somebody is still in come last.
        let mut directories: Vec<EntryId> = now.nodes.keys().copied().filter(|id| now.is_directory(*id)).collect();
        directories.sort_by_key(|id| !now.is_linked(*id));
        let directory = usize::from(directory) % directories.len().min(DIRECTORIES);
        (directories[directory], NAMES[usize::from(name) % NAMES.len()].to_vec())
    }

    /// A slot that holds an open file: this one or the next that does.
    pub(crate) fn slot(&self, slot: u8) -> Option<(EntryId, HandleId)> {
        let slots = self.slots.len();
        (0..slots).find_map(|next| self.slots[(usize::from(slot) + next) % slots])
    }

    /// Likewise, if it was opened for writing.
    pub(crate) fn writer(&self, slot: u8) -> Option<(EntryId, HandleId)> {
        let writes = |handle: &HandleId| self.reference.handles.get(handle).is_some_and(|open| open.write);
        let slots = self.slots.len();
        (0..slots).find_map(|next| self.slots[(usize::from(slot) + next) % slots].filter(|(_, handle)| writes(handle)))
    }

    /// A chosen entry, looked up as the kernel would.
    pub(crate) fn target(&mut self, target: Target) -> Result<EntryId, Difference> {
        let now = &self.reference.now;
        let choice = match target {
            Target::Slot(slot) => return Ok(self.slot(slot).map_or(ROOT, |(id, _)| id)),
            Target::Name(number) => nth(now.names.keys().map(Some).chain([None]), number).flatten(),
            Target::File(number) => {
                let files = now.names.iter().filter(|(_, id)| is_file(&self.reference, **id));
                nth(files.map(|(place, _)| place), number)
            }
        };
        let Some((parent, name)) = choice.cloned() else { return Ok(ROOT) };
        self.look_up(parent, &name)?.ok_or_else(|| format!("{name:?} is not found in {parent}"))
    }

    /// Looks a name up and keeps the count.
    pub(crate) fn look_up(&mut self, parent: EntryId, name: &[u8]) -> Result<Option<EntryId>, Difference> {
        let found = self.filesystem.lookup(parent, name).map_err(|error| format!("lookup: {error}"))?;
        let id = found.map(|stat| stat.id);
        if id != self.reference.now.lookup(parent, name) {
            return Err(format!("{name:?} in {parent} is {id:?}"));
        }
        id.into_iter().for_each(|id| self.hold(id));
        Ok(id)
    }

    /// An entry was shown to the kernel once more.
    pub(crate) fn hold(&mut self, id: EntryId) {
        *self.held.entry(id).or_default() += 1;
    }

    /// The kernel drops every entry that is not open.
    pub(crate) fn forget(&mut self) -> Result<(), Difference> {
        // What has expired while nobody looked would still have its name.
        self.filesystem.store().expire_due().map_err(|error| format!("expire: {error}"))?;
        let open: Vec<EntryId> = self.slots.iter().flatten().map(|(id, _)| *id).collect();
        for (id, count) in std::mem::take(&mut self.held) {
            if open.contains(&id) {
                self.held.insert(id, count);
                continue;
            }
            // In two parts: the entry must outlive the first.
            self.filesystem.forget(id, count - 1);
            self.filesystem
                .store()
                .entry(id)
                .map_err(|error| format!("{id} is gone before its last forget: {error}"))?;
            self.filesystem.forget(id, 1);
            let stays = self.filesystem.store().entry(id).is_ok();
            if stays != self.reference.now.is_linked(id) {
                return Err(format!("entry {id} after its last forget: {stays}"));
            }
        }
        Ok(())
    }

    /// Puts an open file into a free slot, or that of the first, which is closed.
    pub(crate) fn free_slot(&mut self) -> Result<usize, Difference> {
        match self.slots.iter().position(Option::is_none) {
            Some(slot) => Ok(slot),
            None => self.close(0).map(|()| 0),
        }
    }

    /// Whatever the clock says now, what has expired does not come back.
    pub(crate) fn look_back(&mut self) -> Result<(), Difference> {
        self.compare()?;
        let now = self.clock.fetch_sub(20_000_000_000, Ordering::Relaxed);
        let compared = self.compare();
        self.clock.store(now, Ordering::Relaxed);
        compared.map_err(|what| format!("with the clock set back: {what}"))
    }

    /// FLUSH and RELEASE, as close(2) sends them.
    pub(crate) fn close(&mut self, slot: usize) -> Result<(), Difference> {
        let Some((id, handle)) = self.slots[slot] else { return Ok(()) };
        self.flush(id, handle)?;
        self.release(slot)
    }

    pub(crate) fn release(&mut self, slot: usize) -> Result<(), Difference> {
        let Some((id, handle)) = self.slots[slot].take() else { return Ok(()) };
        same("release", self.filesystem.release(id, handle), self.reference.release(handle)).map(drop)
    }

    pub(crate) fn flush(&mut self, id: EntryId, handle: HandleId) -> Result<(), Difference> {
        let flushed = same("flush", self.filesystem.flush(id, handle), self.reference.flush(handle))?;
        let Some((sequence, waits)) = flushed else { return Ok(()) };
        let waits = waits.map(|waits| waits && self.setup.sync != SyncMode::Interval);
        self.awaited("flush", sequence, waits.unwrap_or(sequence.is_some()))
    }

    /// Checks whether the caller is made to wait, and waits.
    pub(crate) fn awaited(&self, what: &str, sequence: Option<u64>, expected: bool) -> Result<(), Difference> {
        if sequence.is_some() != expected {
            return Err(format!("{what}: to be waited for is {sequence:?}, expected: {expected}"));
        }
        let Some(sequence) = sequence else { return Ok(()) };
        self.filesystem.store().wait(sequence).map_err(|error| format!("{what}: waiting: {error}"))
    }

    /// Whether callers wait for a change of a name or attributes.
    pub(crate) fn always(&self) -> bool {
        self.setup.sync == SyncMode::Always
    }

    /// Unmounts and mounts again.
    pub(crate) fn reopen(&mut self) -> Result<(), Difference> {
        (0..self.slots.len()).try_for_each(|slot| self.close(slot))?;
        self.forget()?;
        self.reference.sweep(&self.held);
        self.filesystem.sync_all().map_err(|error| format!("sync_all: {error}"))?;
        if self.reference.now != self.reference.saved {
            return Err("something is not committed although all is closed".into());
        }
        self.restart(self.disk.clone());
        self.compare()
    }

    /// Kills the daemon and starts it again. Whatever it gave to the operating system is there.
    pub(crate) fn crash(&mut self) {
        self.slots = [None; 4];
        self.held.clear();
        self.reference.crash();
        self.restart(self.disk.restart());
    }

    fn restart(&mut self, disk: SimDisk) {
        // The lock must be free before the store is opened again.
        self.filesystem = open(&SimDisk::new(), &self.setup, &self.clock);
        self.filesystem = open(&disk, &self.setup, &self.clock);
        self.disk = disk;
    }
}

/// Both succeed, or both fail with the same errno. What they gave, if they succeeded.
pub(crate) fn same<T, U>(
    what: &str,
    actual: Result<T, Error>,
    expected: Result<U, Errno>,
) -> Result<Option<(T, U)>, Difference> {
    match (actual, expected) {
        (Ok(actual), Ok(expected)) => Ok(Some((actual, expected))),
        (Err(actual), Err(expected)) if actual.errno() == expected => Ok(None),
        (Err(actual), Err(expected)) => Err(format!("{what}: errno {}, expected {expected}", actual.errno())),
        (Ok(_), Err(expected)) => Err(format!("{what} succeeds, expected errno {expected}")),
        (Err(actual), Ok(_)) => Err(format!("{what} fails: {actual}")),
    }
}

/// One of them: which is a number modulo how many there are.
fn nth<T>(choices: impl Iterator<Item = T>, number: u8) -> Option<T> {
    let mut choices: Vec<T> = choices.collect();
    let choice = usize::from(number).checked_rem(choices.len())?;
    Some(choices.swap_remove(choice))
}

/// Whether a file can be opened and written to.
pub(crate) fn is_file(reference: &Reference, id: EntryId) -> bool {
    reference.node(id).is_ok_and(|node| node.attributes.kind == Kind::File)
}

/// Bytes without a zero, so that a hole is told from them.
pub(crate) fn pattern(len: usize, fill: u8) -> Vec<u8> {
    (0..len).map(|at| ((at * 13 + at / 251 + usize::from(fill) * 7) % 255) as u8 + 1).collect()
}
