//! Times of last access: when reading changes one, and when that goes to the log.
//!
//! Reading must not write. So a new time is held in memory, shown from there, and goes to the log with the next change of
//! its entry, at the unmount, or when there are many. A crash takes what is held: the times are then older ones.

use hashbrown::HashMap;

use super::Filesystem;
use super::inode::State;
use crate::store::{Attributes, EntryId, Error, Kind, Standing, Time};

/// The most times that are held.
const HELD: usize = 4096;

/// Entries of one transaction. Each may have 256 KiB of extended attributes, which are in every record of it.
const AT_ONCE: usize = 64;

/// A time that is this old is renewed by any access.
const DAY: i64 = 24 * 60 * 60 * 1_000_000_000;

/// When reading changes the time of last access, as mount(8) has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessTimes {
    /// relatime: if it is no later than the last change, or a day old.
    #[default]
    Relative,
    /// strictatime: always.
    Strict,
    /// noatime: never.
    Never,
}

impl AccessTimes {
    /// Whether an access at `now` is to be noted.
    fn is_due(self, attributes: &Attributes, now: Time) -> bool {
        let Attributes { atime, mtime, ctime, .. } = *attributes;
        match self {
            AccessTimes::Relative => atime <= mtime || atime <= ctime || now.0.saturating_sub(atime.0) >= DAY,
            AccessTimes::Strict => true,
            AccessTimes::Never => false,
        }
    }
}

/// Times that the log does not have yet.
#[derive(Debug, Default)]
pub(super) struct Accesses(HashMap<EntryId, Time>);

impl Accesses {
    /// The time that is held of an entry.
    pub(super) fn get(&self, id: EntryId) -> Option<Time> {
        self.0.get(&id).copied()
    }

    /// How many are held.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The entry's time is in a record now.
    pub(super) fn settle(&mut self, id: EntryId) {
        self.0.remove(&id);
    }
}

impl Filesystem {
    /// When reading changes times of access.
    pub fn access_times(&self) -> AccessTimes {
        self.options.access_times
    }

    /// Notes that an entry was read.
    pub(super) fn accessed(&self, id: EntryId) {
        if self.options.access_times == AccessTimes::Never || self.store.is_read_only() {
            return;
        }
        let state = &mut *self.state.lock();
        // It may be gone by now.
        let Ok(stat) = self.store.entry(id) else { return };
        if stat.attributes.kind == Kind::Directory && self.options.no_directory_access_times {
            return;
        }
        let now = self.store.now();
        if self.options.access_times.is_due(&self.shown(state, stat).attributes, now) {
            state.accesses.0.insert(id, now);
            if state.accesses.0.len() >= HELD {
                self.write_access_times(state);
            }
        }
    }

    /// Writes what is held to the log. A time that cannot be written is forgotten: it is no reason for a failure.
    pub(super) fn write_access_times(&self, state: &mut State) {
        let mut held: Vec<(EntryId, Time)> = std::mem::take(&mut state.accesses.0).into_iter().collect();
        held.sort_unstable();
        let stays = |id| matches!(self.store.standing(id), Ok(Standing::Provisional | Standing::Unlinked));
        // Those are in no record anyway.
        let (unrecorded, held): (Vec<_>, Vec<_>) = held.into_iter().partition(|(id, _)| stays(*id));
        // As many of them as could be forgotten again are not kept.
        state.accesses.0.extend(unrecorded.into_iter().take(HELD / 2));
        if let Err(error) = held.chunks(AT_ONCE).try_for_each(|times| self.record_access_times(times)) {
            log::warn!("{} times of last access are lost: {error}", held.len());
        }
    }

    fn record_access_times(&self, times: &[(EntryId, Time)]) -> Result<(), Error> {
        let mut transaction = self.begin()?;
        transaction.made_by_others();
        for (id, atime) in times {
            match transaction.attributes(*id) {
                Ok(old) => transaction.set_attributes(*id, Attributes { atime: *atime, ..old })?,
                // Gone meanwhile.
                Err(Error::Stale) => {}
                Err(error) => return Err(error),
            }
        }
        transaction.commit().map(drop)
    }
}
