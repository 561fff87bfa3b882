//! A transaction: changes to several entries that become visible, and survive a crash, all or none.
//!
//! It works on copies. What it reads is the keydir with its own changes on top; on commit each entry that it touched
//! is written as one record with its whole state, the records are appended as one, and only then applied to the
//! keydir. A transaction that fails or is dropped has changed nothing.

use std::borrow::Cow;
use std::sync::atomic::Ordering;

use hashbrown::{Equivalent, HashMap};

use super::append::{Record, append, push_value};
use super::attributes::{Attributes, EntryId, Kind, ROOT, Time};
use super::change::Change;
use super::changes::{self, Announced, Door};
use super::directory::Directory;
use super::error::Error;
use super::extents::Extent;
use super::keydir::{PIECE, Staged};
use super::memory::{Charge, ENTRY, MemoryUse};
use super::namespace::check_reserved;
use super::record::{Link, MAX_EXTENT, NodeState};
use super::reserve::{Claim, Room};
use super::sealed::{Sealed, SealedChanges};
use super::{Store, Update};
use crate::log::{Appender, MAX_ENTRY};

/// Changes to several entries, all or none. What it is to write may be borrowed, for as long as it is there.
pub struct Transaction<'a> {
    pub(super) store: &'a Store,
    pub(super) appender: Appender<'a>,
    pub(super) now: Time,
    /// How what it changes came.
    pub(super) door: Door,
    changes: HashMap<EntryId, Change<'a>>,
    order: Vec<EntryId>,
    /// Names made (`Some`) and taken away (`None`).
    names: HashMap<(EntryId, Box<[u8]>), Option<EntryId>>,
    /// How many children each directory gained or lost.
    population: HashMap<EntryId, i64>,
    next_id: EntryId,
    /// It is not the owner of the store who makes it.
    others: bool,
    /// Changes that are done.
    sealed: SealedChanges<'a>,
    /// What is done to the room on the medium by them,
    room: Room,
    /// and bytes of values that they bring.
    put: u64,
    /// So many changes are worked on before they are sealed.
    seal_at: usize,
    held: Option<Charge>,
    /// What is due at this second or before it is hidden.
    pub(super) horizon: i64,
}

/// So many changes are worked on at once, as long as they can be sealed.
const AT_ONCE: usize = if cfg!(test) { 16 } else { 1024 };
/// About what one of them takes in memory.
const CHANGE: u64 = 600;

/// A name in a directory, as a key of `names`: the hash is that of the pair, and so must be made of the same parts.
#[derive(Hash)]
struct NameOf<'a>(EntryId, &'a [u8]);

impl Equivalent<(EntryId, Box<[u8]>)> for NameOf<'_> {
    fn equivalent(&self, (parent, name): &(EntryId, Box<[u8]>)) -> bool {
        self.0 == *parent && *self.1 == **name
    }
}

impl<'a> Transaction<'a> {
    pub(super) fn new(store: &'a Store, door: Door) -> Result<Transaction<'a>, Error> {
        let appender = store.log.begin()?;
        let next_id = store.keydir.read().next_id;
        Ok(Transaction {
            store,
            appender,
            now: store.now(),
            door,
            changes: HashMap::new(),
            order: Vec::new(),
            names: HashMap::new(),
            population: HashMap::new(),
            next_id,
            others: false,
            sealed: SealedChanges::default(),
            room: Room::default(),
            put: 0,
            seal_at: AT_ONCE,
            held: None,
            horizon: store.horizon(),
        })
    }

    /// Says which user it is made for: on a full disk there is less of the reserve for others than root and the store's
    /// owner.
    pub fn made_by(&mut self, uid: u32) {
        self.others = uid != 0 && uid != self.store.owner.0;
    }

    /// Says that any user may have it made.
    pub fn made_by_others(&mut self) {
        self.others = true;
    }

    /// The present, the same for everything that this transaction does.
    pub fn now(&self) -> Time {
        self.now
    }

    /// Looks at an entry as this transaction sees it.
    pub(super) fn view<R>(&self, id: EntryId, look: impl FnOnce(&NodeState) -> R) -> Result<R, Error> {
        if let Some(change) = self.changes.get(&id) {
            return Ok(look(&change.state));
        }
        match self.sealed.get(id, self.appender.next_sequence()) {
            Some(Sealed::Changed(state)) => Ok(look(&state)),
            Some(Sealed::Removed) => Err(Error::Stale),
            None => self.store.keydir.read().get(id).map(|node| look(&node.state)).ok_or(Error::Stale),
        }
    }

    /// The attributes of an entry.
    ///
    /// # Errors
    /// [`Error::Stale`] if it is gone.
    pub fn attributes(&self, id: EntryId) -> Result<Attributes, Error> {
        self.view(id, |state| state.attributes)
    }

    /// The entry of this name in a directory, if it is not hidden.
    pub fn lookup(&self, parent: EntryId, name: &[u8]) -> Option<EntryId> {
        self.lookup_any(parent, name).filter(|id| !self.is_hidden(*id))
    }

    /// The entry of this name, hidden or not.
    pub(super) fn lookup_any(&self, parent: EntryId, name: &[u8]) -> Option<EntryId> {
        if let Some(entry) = self.names.get(&NameOf(parent, name)) {
            return *entry;
        }
        self.sealed.lookup(parent, name).unwrap_or_else(|| self.store.keydir.read().lookup(parent, name))
    }

    /// Number of children of a directory.
    pub(super) fn population(&self, directory: EntryId) -> i64 {
        let keydir = self.store.keydir.read();
        let before = keydir.directory(directory).map_or(0, Directory::len);
        before as i64 + self.population.get(&directory).copied().unwrap_or(0)
    }

    /// The entry, to be changed: its record will be written.
    pub(super) fn edit(&mut self, id: EntryId) -> Result<&mut Change<'a>, Error> {
        if !self.changes.contains_key(&id) {
            let (state, provisional) = match self.sealed.get(id, self.appender.next_sequence()) {
                Some(Sealed::Changed(state)) => (state, false),
                Some(Sealed::Removed) => return Err(Error::Stale),
                None => {
                    let keydir = self.store.keydir.read();
                    let node = keydir.to_be_changed(id)?;
                    (node.state.clone(), node.provisional)
                }
            };
            // The directory of a provisional entry changed when that was made; its record is due now.
            let parents: Vec<EntryId> = match provisional {
                true => state.links.iter().map(|link| link.parent).collect(),
                false => Vec::new(),
            };
            self.insert(id, Change::new(state, false, provisional));
            for parent in parents {
                self.edit(parent)?;
            }
        }
        self.changes.get_mut(&id).ok_or(Error::Stale)
    }

    pub(super) fn insert(&mut self, id: EntryId, change: Change<'a>) {
        self.changes.insert(id, change);
        self.order.push(id);
    }

    /// An entry that is not in the tree yet.
    pub(super) fn make(&mut self, attributes: Attributes, target: &[u8]) -> Result<EntryId, Error> {
        let id = self.next_id;
        self.make_as(id, attributes, target)?;
        self.next_id += 1;
        Ok(id)
    }

    /// An entry that is not in the tree yet, under an id that was set aside for it.
    pub(super) fn make_as(&mut self, id: EntryId, attributes: Attributes, target: &[u8]) -> Result<(), Error> {
        if id > MAX_ENTRY {
            return Err(Error::NoSpace);
        }
        self.store.memory.grow(&self.store.keydir, ENTRY)?;
        let state = new_state(attributes, target);
        self.insert(id, Change::new(state, true, false));
        Ok(())
    }

    /// Gives an entry a name, and touches its new directory.
    pub(super) fn attach(&mut self, id: EntryId, parent: EntryId, name: &[u8]) -> Result<(), Error> {
        check_reserved(parent, name)?;
        if self.store.keydir.read().is_crowded(parent, name) {
            return Err(Error::TableFull);
        }
        if let Some(hidden) = self.lookup_any(parent, name).filter(|id| self.is_hidden(*id)) {
            self.take_name(hidden, parent, name)?;
        }
        let now = self.now;
        self.touch(parent)?;
        let change = self.edit(id)?;
        change.give(Link { parent, name: name.into() });
        change.state.attributes.ctime = now;
        self.names.insert((parent, name.into()), Some(id));
        *self.population.entry(parent).or_default() += 1;
        Ok(())
    }

    /// Takes a name from an entry, and touches the directory. Says whether the entry has others.
    pub(super) fn detach(&mut self, id: EntryId, parent: EntryId, name: &[u8]) -> Result<bool, Error> {
        let now = self.now;
        self.touch(parent)?;
        let change = self.edit(id)?;
        change.take(Link { parent, name: name.into() });
        change.state.attributes.ctime = now;
        let left = change.state.has_name();
        self.names.insert((parent, name.into()), None);
        *self.population.entry(parent).or_default() -= 1;
        Ok(left)
    }

    fn touch(&mut self, directory: EntryId) -> Result<(), Error> {
        let now = self.now;
        let attributes = &mut self.edit(directory)?.state.attributes;
        (attributes.mtime, attributes.ctime) = (now, now);
        Ok(())
    }

    /// Changes the attributes of an entry.
    ///
    /// # Errors
    /// [`Error::Stale`] if it is gone.
    pub fn set_attributes(&mut self, id: EntryId, attributes: Attributes) -> Result<(), Error> {
        self.edit(id)?.state.attributes = attributes;
        Ok(())
    }

    /// Writes the records of an entry's names once more, those that are not in its node record.
    pub(super) fn renew_names(&mut self, id: EntryId) -> Result<(), Error> {
        let names = self.store.keydir.read().further_names(id);
        self.edit(id)?.names.extend(names.into_iter().map(|link| (link, true)));
        Ok(())
    }

    /// Says of these entries that their values are lost.
    pub(super) fn mark_lost(mut self, entries: &[EntryId]) -> Result<u64, Error> {
        self.append(entries.iter().map(|&entry| Record::Loss { entry }).collect(), 0)
    }

    /// Changes the value of a file; its new size goes with it.
    ///
    /// # Errors
    /// [`Error::Stale`] if the entry is gone; those of the log.
    pub fn set_value(&mut self, id: EntryId, mut update: Update<'a>) -> Result<(), Error> {
        let (overtaken, foreign) = {
            let keydir = self.store.keydir.read();
            let foreign = |staged: &Staged| staged.entry != id;
            let overtaken = update.stage != 0 && keydir.get(id).is_some_and(|node| node.value_sequence > update.stage);
            (overtaken, keydir.stage(update.stage).first().is_some_and(foreign))
        };
        if overtaken || foreign {
            update.stage = self.restage(update.stage, id)?;
        }
        let change = self.edit(id)?;
        let (old, new) = (change.state.size, update.size);
        // What was published meanwhile may be longer: nothing of it is left behind the end, to show when that moves.
        if old > new && !update.replace && !update.holes.iter().any(|(at, len)| *at <= new && at + len >= old) {
            update.holes.push((new, old - new));
        }
        change.state.size = update.size;
        change.update = Some(update);
        Ok(())
    }

    /// Writes the records of a stage anew, for `entry`. Another change of the value was published since it was begun,
    /// and records must be in the log in the order in which they take effect; or it was begun for another entry. The
    /// old stage stays, should the transaction fail.
    fn restage(&mut self, stage: u64, entry: EntryId) -> Result<u64, Error> {
        let staged = self.store.keydir.read().stage(stage).to_vec();
        let fresh = self.appender.next_sequence();
        for Staged { offset, len, extent, .. } in staged {
            let record = match extent {
                Some(extent) if extent.is_borrowed() => Record::Share { entry, offset, len, extent },
                Some(extent) => Record::Data {
                    entry,
                    offset,
                    bytes: self.store.read_extent(entry, &extent, 0..len as usize)?.into(),
                },
                None => Record::Hole { entry, offset, len },
            };
            self.append(vec![record], fresh)?;
        }
        Ok(fresh)
    }

    /// Appends a run of bytes of a value that is not published yet; a stage of 0 begins a new one. Returns the stage
    /// and where each piece now is.
    pub(super) fn stage(mut self, entry: EntryId, stage: u64, offset: u64, bytes: &[u8]) -> Result<StagedRun, Error> {
        let stage = if stage == 0 { self.appender.next_sequence() } else { stage };
        let mut extents = Vec::new();
        let mut at = offset;
        for chunk in bytes.chunks(MAX_EXTENT) {
            self.append(vec![Record::Data { entry, offset: at, bytes: chunk.into() }], stage)?;
            let staged = self.store.keydir.read().stage(stage).last().and_then(|staged| staged.extent);
            extents.extend(staged.map(|extent| (at, chunk.len() as u64, extent)));
            at += chunk.len() as u64;
        }
        Ok(StagedRun { stage, extents })
    }

    /// Appends the records of everything that was changed and applies them. Returns the sequence number of the last
    /// record: once that is durable, so is the transaction.
    ///
    /// # Errors
    /// [`Error::NoSpace`] and others leave the store as it was.
    pub fn commit(mut self) -> Result<u64, Error> {
        let mut records = Vec::new();
        let mut forgotten = Vec::new();
        let mut orphans = Vec::new();
        let next_due = self.store.next_due.load(Ordering::Acquire);
        let first = self.appender.next_sequence() + self.sealed.len() as u64;
        let (mut room, mut put) = (std::mem::take(&mut self.room), self.put);
        let touched = self.order.len() + self.sealed.len();
        let (announced, sealed) = (self.announce(), self.sealed.len());
        for id in std::mem::take(&mut self.order) {
            let Some(mut change) = self.changes.remove(&id) else { continue };
            change.shed_names();
            let Change { mut state, fresh, provisional, removed, update, before, names } = change;
            if removed {
                match (fresh, provisional) {
                    (true, _) => {}
                    (false, true) => forgotten.push(id),
                    (false, false) => {
                        room.names_freed = true;
                        records.push(Record::Tombstone { entry: id });
                    }
                }
                orphans.push((id, state));
                continue;
            }
            if !fresh && id != ROOT && !state.has_name() {
                // It has expired since the caller looked. What has no name is in no record.
                orphans.push((id, state));
                continue;
            }
            room.note_names(&names);
            room.note(before, state.burden(), fresh || provisional);
            if let Some(update) = &update {
                room.note_update(update, || self.store.keydir.read().freed(id, update));
            }
            records.extend(names.into_iter().map(|(link, there)| match there {
                true => Record::Name { entry: id, link },
                false => Record::NameGone { entry: id, link },
            }));
            let mut stage = 0;
            let mut inline = None;
            if let Some(update) = update {
                let replace = update.replace;
                put += update.bytes.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
                match update.into_inline() {
                    Ok(bytes) => inline = Some(bytes).filter(|bytes| !bytes.is_empty()),
                    Err(update) => {
                        let next = first + records.len() as u64;
                        let has_records = !update.bytes.is_empty() || !update.holes.is_empty();
                        stage = if update.stage == 0 && has_records { next } else { update.stage };
                        push_value(id, update, &mut records);
                    }
                }
                let own = first + records.len() as u64;
                if replace {
                    state.value_start = if stage == 0 { own } else { stage };
                }
            }
            records.push(Record::Node { entry: id, state, stage, inline });
        }
        let bytes = self.sealed.size() + records.iter().map(Record::size).sum::<u64>();
        let claim = room.claim(bytes, self.others);
        self.check_memory(&room, touched, &records)?;
        self.store.reserve.take(&**self.store.log.medium(), claim, bytes)?;
        if claim == Claim::Release {
            self.appender.frees_space();
        }
        let sequence = self.append_staged(records, first)?;
        self.store.counters.put(put);
        let removed = self.sealed.removed();
        if !orphans.is_empty() || self.sealed.has_removed() {
            let mut keydir = self.store.keydir.write();
            forgotten.into_iter().for_each(|id| keydir.apply_tombstone(id));
            // For whoever still has it open: when it lost its name.
            orphans.into_iter().for_each(|(id, state)| keydir.change_unrecorded(id, state));
            removed.for_each(|id| keydir.note_orphan(id, self.now));
        }
        if let Some((announced, changes)) = announced {
            match sealed {
                0 => announced.publish(sequence, changes),
                // So large a batch is not told one by one.
                _ => announced.publish_everything(sequence),
            }
        }
        self.store.tell_if_sooner(next_due);
        Ok(sequence)
    }

    /// What it changes, for those who want to hear of it. Nothing was applied yet, and nobody else can change anything.
    fn announce(&self) -> Option<(Announced, Vec<changes::Change>)> {
        if !self.store.changes.wanted(self.door) {
            return None;
        }
        let keydir = self.store.keydir.read();
        let describe = |(id, change): (&EntryId, &Change<'_>)| {
            let before = keydir.get(*id);
            let before = before.as_ref().map(|node| &node.state);
            let mut told = changes::change(*id, before, &change.state, change.removed, change.update.is_some());
            told.note_further(&change.names, keydir.some_further_name(*id, &change.names));
            told
        };
        Some((self.store.changes.announce(self.door), self.changes.iter().map(describe).collect()))
    }

    /// Commits a transaction that changes nothing but the attributes of `id`; but if that is provisional, or has no
    /// name any more, only in memory: its first record, if there will be one, says so. `None`: nothing was written.
    ///
    /// # Errors
    /// As [`Transaction::commit`].
    pub fn commit_attributes(mut self, id: EntryId) -> Result<Option<u64>, Error> {
        match self.changes.remove(&id) {
            Some(change) if change.provisional || (id != ROOT && !change.state.has_name()) => {
                let mut room = Room::default();
                let before = self.store.keydir.read().get(id).map(|node| node.state.burden()).unwrap_or_default();
                room.note(before, change.state.burden(), false);
                self.check_memory(&room, 1, &[])?;
                let next_due = self.store.next_due.load(Ordering::Acquire);
                self.store.keydir.write().change_unrecorded(id, change.state);
                self.store.tell_if_sooner(next_due);
                Ok(None)
            }
            change => {
                self.changes.extend(change.map(|change| (id, change)));
                self.commit().map(Some)
            }
        }
    }

    /// So many bytes of memory are held for what is to be done.
    ///
    /// # Errors
    /// [`Error::BatchTooLarge`]
    pub(super) fn hold(&mut self, bytes: u64) -> Result<(), Error> {
        self.held.get_or_insert_with(|| self.store.charge(MemoryUse::Transactions)).add(bytes)
    }

    /// Seals the changes that are done, once there are many.
    ///
    /// # Errors
    /// [`Error::BatchTooLarge`]
    pub(super) fn seal_some(&mut self) -> Result<(), Error> {
        if self.order.len() < self.seal_at {
            return Ok(());
        }
        let before = self.sealed.memory();
        let first = self.appender.next_sequence();
        for ((parent, name), entry) in self.names.drain() {
            self.sealed.name(parent, &name, entry);
        }
        for id in std::mem::take(&mut self.order) {
            match self.changes.remove(&id) {
                Some(change) if change.can_be_sealed() => self.seal(id, change, first),
                change => self.changes.extend(change.map(|change| {
                    self.order.push(id);
                    (id, change)
                })),
            }
        }
        // Those that cannot be sealed, directories mostly, are not looked at each time.
        self.seal_at = AT_ONCE.max(2 * self.order.len());
        let changes = (self.seal_at as u64 / 2).saturating_sub(AT_ONCE as u64) * CHANGE;
        self.hold((self.sealed.memory() - before) + changes)?;
        if self.sealed.is_full() { Err(Error::BatchTooLarge) } else { Ok(()) }
    }

    fn seal(&mut self, id: EntryId, change: Change<'a>, first: u64) {
        let Change { mut state, fresh, removed, update, before, .. } = change;
        if removed {
            if !fresh {
                self.room.names_freed = true;
                self.sealed.remove(id);
            }
            return;
        }
        self.room.note(before, state.burden(), fresh);
        let sequence = first + self.sealed.len() as u64;
        let mut value: &'a [u8] = &[];
        if let Some(update) = update {
            self.room.note_update(&update, || self.store.keydir.read().freed(id, &update));
            state.value_start = sequence;
            if let Some((_, Cow::Borrowed(bytes))) = update.bytes.first() {
                value = bytes;
            }
        }
        self.put += value.len() as u64;
        self.sealed.change(id, &state, sequence, value);
    }

    /// Whether there are places in memory for so many entries that are made or changed, and memory for all that these
    /// records bring. What is appended must not fail to be applied.
    fn check_memory(&self, room: &Room, touched: usize, records: &[Record<'_>]) -> Result<(), Error> {
        if !self.store.keydir.read().has_room(touched, room.grows) {
            return Err(Error::TableFull);
        }
        let is_piece = |record: &&Record<'_>| matches!(record, Record::Data { .. } | Record::Hole { .. });
        let pieces = (records.iter().filter(is_piece).count() * PIECE) as u64;
        let grow = |bytes| self.store.memory.grow(&self.store.keydir, bytes);
        match grow(room.memory + pieces) {
            Err(Error::OutOfMemory) if pieces > 0 => grow(room.memory + self.more_pieces(records) * PIECE as u64),
            result => result,
        }
    }

    /// By how many pieces more values will be in, about: some take the place of others.
    fn more_pieces(&self, records: &[Record<'_>]) -> u64 {
        let first = self.appender.next_sequence();
        let keydir = self.store.keydir.read();
        let (mut more, mut stretches) = (0, Vec::new());
        for record in records {
            match record {
                Record::Data { offset, bytes, .. } => stretches.push(*offset..offset + bytes.len() as u64),
                Record::Hole { offset, len, .. } => stretches.push(*offset..offset + len),
                Record::Node { entry, state, .. } if !stretches.is_empty() => {
                    more += keydir.more_pieces(*entry, state.value_start >= first, &stretches).max(0);
                    stretches.clear();
                }
                _ => {}
            }
        }
        more as u64
    }

    /// Data and hole records belong to the stage of the node record that follows them.
    fn append_staged(&mut self, records: Vec<Record<'_>>, first: u64) -> Result<u64, Error> {
        let mut stages = Vec::with_capacity(records.len());
        let mut stage = first;
        for record in records.iter().rev() {
            if let Record::Node { stage: published, .. } = record {
                stage = *published;
            }
            stages.push(stage);
        }
        stages.reverse();
        append(&mut self.appender, &self.store.keydir, &self.sealed, records, &stages)
    }

    pub(super) fn append(&mut self, records: Vec<Record<'_>>, stage: u64) -> Result<u64, Error> {
        let stages = vec![stage; records.len()];
        append(&mut self.appender, &self.store.keydir, &SealedChanges::default(), records, &stages)
    }
}

/// Where a staged run of bytes is.
#[derive(Clone, Debug)]
pub struct StagedRun {
    /// The stage that it belongs to.
    pub stage: u64,
    /// Offset in the value, length and place of each piece.
    pub extents: Vec<(u64, u64, Extent)>,
}

/// The state of an entry without names.
pub(super) fn new_state(attributes: Attributes, target: &[u8]) -> NodeState {
    let size = if attributes.kind == Kind::Symlink { target.len() as u64 } else { 0 };
    NodeState {
        attributes,
        size,
        links: Vec::new(),
        further: 0,
        xattrs: Vec::new(),
        target: target.into(),
        expires: None,
        value_start: 0,
    }
}
