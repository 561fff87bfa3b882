//! Expiry: files that are gone by themselves, at the second that was set for them.
//!
//! There is one mechanism. Whoever looks at keys or begins a transaction first *removes* what is due by a clock that is
//! believed (`clock.rs`), with tombstones like any other removal; a program that wants it removed when nobody looks calls
//! [`Store::expire_due`]. So what was removed stays gone, whatever the clock says later, and its space is merged away.
//! Whether anything is due is one look at an atomic number.
//!
//! What is due and cannot be removed is *hidden*: because the clock is not believed yet, because the start could not read the
//! whole log, or in a store that is read-only, has failed, or has no room even for tombstones. A hidden name is free: what takes
//! it, or removes the directory that it is in, removes what was hidden. A snapshot shows what had not expired when it was taken.

use std::io::Read;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, Sender};

use parking_lot::Mutex;

use super::attributes::{EntryId, Kind, Stat, Time};
use super::changes::Door;
use super::error::Error;
use super::record::NodeState;
use super::transaction::Transaction;
use super::{Store, Update};

/// The extended attribute in which a mount shows when a file expires: a view, which is never stored as an attribute.
pub const XATTR: &[u8] = b"user.caskfs.expires";

/// Files removed in one transaction.
const BATCH: usize = 10_000;

/// A name that is gone since its file expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expired {
    /// The file.
    pub id: EntryId,
    /// The directory that it was in.
    pub parent: EntryId,
    /// The name that it had there.
    pub name: Box<[u8]>,
}

/// Who removes what nobody looks at, and must hear when that is due sooner than before.
#[derive(Debug, Default)]
pub(super) struct Watch(Mutex<Option<Sender<()>>>);

impl Watch {
    fn wake(&self) {
        if let Some(sender) = &*self.0.lock() {
            // Whoever stopped listening needs no news.
            let _ = sender.send(());
        }
    }
}

impl Store {
    /// Sets a key that is gone by itself at a time, rounded up to a whole second: as [`Store::put`], which makes one
    /// that stays.
    ///
    /// # Errors
    /// As [`Store::put`].
    ///
    /// ```
    /// use std::time::{Duration, SystemTime};
    ///
    /// # let directory = tempfile::tempdir()?;
    /// let store = caskfs::Store::open(directory.path(), caskfs::Options { create: true, ..Default::default() })?;
    /// store.put_expiring("session", "Ada", SystemTime::now() + Duration::from_secs(3600))?;
    /// assert!(store.stat("session")?.is_some_and(|stat| stat.expires.is_some()));
    /// store.set_expiry("session", None)?; // it stays
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn put_expiring(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        at: impl Into<Time>,
    ) -> Result<(), Error> {
        self.put_until(key.as_ref(), value.as_ref(), Some(at.into()))
    }

    /// [`Store::put_reader`], and [`Store::put_expiring`] if there is a time.
    ///
    /// # Errors
    /// As [`Store::put_reader`].
    pub fn put_reader_expiring(
        &self,
        key: impl AsRef<[u8]>,
        value: &mut dyn Read,
        at: Option<Time>,
    ) -> Result<(), Error> {
        self.put_reader_until(key.as_ref(), value, at)
    }

    /// Sets when a key is gone by itself, rounded up to a whole second, or that it stays. The time belongs to the file:
    /// one with several names loses all of them.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::NotPermitted`] for anything but a file.
    pub fn set_expiry(&self, key: impl AsRef<[u8]>, at: Option<Time>) -> Result<(), Error> {
        let id = self.resolve(key.as_ref())?.ok_or(Error::NotFound)?.id;
        let mut transaction = self.begin()?;
        transaction.set_expiry(id, at)?;
        let sequence = transaction.commit_attributes(id)?;
        self.acknowledge(sequence.unwrap_or(0))
    }

    /// Removes every file whose second has come, and returns the names that went. What reads or writes does this by
    /// itself; this is for those that nobody looks at.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], and as [`Transaction::commit`]. What is due is not shown all the same.
    pub fn expire_due(&self) -> Result<Vec<Expired>, Error> {
        let mut gone = Vec::new();
        while self.may_expire(self.now()) {
            self.check_writable()?;
            gone.extend(Transaction::new(self, Door::EXPIRY)?.expire()?);
        }
        Ok(gone)
    }

    /// When the next file expires.
    pub fn next_expiry(&self) -> Option<Time> {
        Some(self.next_due.load(Ordering::Acquire)).filter(|next| *next != i64::MAX).map(|next| Time::new(next, 0))
    }

    /// Tells whenever [`Store::next_expiry`] becomes earlier. Ends with [`Store::unwatch_expiry`]; there is one watcher at a
    /// time. What expires is in the stream of changes: [`Store::subscribe`].
    pub fn watch_expiry(&self) -> Receiver<()> {
        let (sender, receiver) = mpsc::channel();
        *self.watch.0.lock() = Some(sender);
        receiver
    }

    /// Ends the news.
    pub fn unwatch_expiry(&self) {
        *self.watch.0.lock() = None;
    }

    /// Whether a listing that was kept of before may show what is no longer so: a subscriber to changes has not dealt with all of
    /// them, or something has expired and cannot be removed.
    pub fn listings_are_stale(&self) -> bool {
        self.remove_due();
        self.changes.is_pending() || self.horizon() != i64::MIN
    }

    /// Whether an entry has expired. If it was removed for that, somebody still has it open.
    pub fn has_expired(&self, stat: &Stat) -> bool {
        stat.expires.is_some_and(|at| stat.links == 0 || at.seconds() <= self.horizon())
    }

    /// Removes what is due, before somebody looks.
    pub(crate) fn remove_due(&self) {
        if self.may_expire(self.now())
            && let Err(error) = self.expire_due()
        {
            log::debug!("keys have expired and are hidden, but not removed: {error}");
        }
    }

    /// Whether what is due at this time, or a part of it, is due by a clock that is believed. A later time may stand in what
    /// the start could not read.
    pub(super) fn may_expire(&self, now: Time) -> bool {
        let believed = || self.options.read_only || self.is_due(self.believed.time());
        self.expires() && self.is_due(now) && self.report.unread.is_empty() && believed()
    }

    /// Whether the clock is believed: else what is due is hidden, and not removed.
    pub fn clock_is_believed(&self) -> bool {
        self.believed.is_settled()
    }

    /// Whether anything is due that was not removed.
    pub fn hides(&self) -> bool {
        self.horizon() != i64::MIN
    }

    /// Whether any file expires ever. Most stores have none that does, and need not look at the clock.
    pub(super) fn expires(&self) -> bool {
        self.next_due.load(Ordering::Acquire) != i64::MAX
    }

    /// Whether a file is due at this time.
    pub(super) fn is_due(&self, now: Time) -> bool {
        self.next_due.load(Ordering::Acquire) <= now.seconds()
    }

    /// What is due at this second or before it is not shown.
    pub(super) fn horizon(&self) -> i64 {
        if !self.expires() {
            return i64::MIN;
        }
        let moment = self.taken().unwrap_or_else(|| self.now());
        if self.is_due(moment) { moment.seconds() } else { i64::MIN }
    }

    /// Tells the watcher if something expires sooner than before.
    pub(super) fn tell_if_sooner(&self, before: i64) {
        if self.next_due.load(Ordering::Acquire) < before {
            self.watch.wake();
        }
    }
}

impl<'a> Transaction<'a> {
    /// Sets when a file is gone by itself, rounded up to a whole second, or that it stays.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] for anything but a file that has a name; [`Error::Stale`].
    pub fn set_expiry(&mut self, id: EntryId, at: Option<Time>) -> Result<(), Error> {
        let (kind, nameless) = self.view(id, |state| (state.attributes.kind, !state.has_name()))?;
        if kind != Kind::File || nameless {
            return Err(Error::NotPermitted("only a file that has a name expires"));
        }
        let now = self.now;
        let state = &mut self.edit(id)?.state;
        state.expires = at.map(Time::seconds_up);
        state.attributes.ctime = now;
        Ok(())
    }

    /// Sets a key to a value, and when it expires.
    pub(super) fn put_until(&mut self, key: &[u8], update: Update<'a>, at: Option<Time>) -> Result<(), Error> {
        let id = self.put(key, update)?;
        self.edit(id)?.state.expires = at.map(Time::seconds_up);
        Ok(())
    }

    /// Whether an entry has expired, and was not removed.
    pub(super) fn is_hidden(&self, id: EntryId) -> bool {
        self.horizon != i64::MIN
            && self.view(id, NodeState::due).is_ok_and(|due| due.is_some_and(|second| second <= self.horizon))
    }

    /// Removes what is hidden in a directory, if that is all that there is.
    pub(super) fn clear_hidden(&mut self, directory: EntryId) -> Result<(), Error> {
        if self.horizon == i64::MIN {
            return Ok(());
        }
        let children: Vec<(Box<[u8]>, EntryId)> = {
            let keydir = self.store.keydir.read();
            let children = keydir.directory(directory).into_iter().flat_map(|children| children.after_cookie(0));
            let named = children.filter_map(|(cookie, id)| Some((keydir.name_at(directory, cookie, id)?.into(), id)));
            named.collect()
        };
        let there = |(name, id): &&(Box<[u8]>, EntryId)| self.lookup_any(directory, name) == Some(*id);
        let children: Vec<_> = children.iter().filter(there).collect();
        if children.len() as i64 == self.population(directory) && children.iter().all(|(_, id)| self.is_hidden(*id)) {
            children.into_iter().try_for_each(|(name, id)| self.take_name(*id, directory, name))?;
        }
        Ok(())
    }

    /// Removes files that are due, and nothing else.
    pub(super) fn expire(mut self) -> Result<Vec<Expired>, Error> {
        self.door = Door::EXPIRY;
        let store = self.store;
        let until = store.believed.time().seconds().min(self.now.seconds());
        let due = store.keydir.read().due.until(until, BATCH);
        let mut gone = Vec::new();
        // They are to be found.
        self.horizon = i64::MIN;
        for &id in &due {
            let names = store.keydir.read().all_names(id);
            for link in names {
                self.detach(id, link.parent, &link.name)?;
                gone.push(Expired { id, parent: link.parent, name: link.name });
            }
            self.edit(id)?.removed = true;
        }
        self.commit()?;
        store.counters.expired(due.len() as u64);
        Ok(gone)
    }
}

/// The text of [`XATTR`]: seconds since 1970.
pub(super) fn text(at: Time) -> Vec<u8> {
    at.seconds().to_string().into_bytes()
}

/// Reads such a text; or `+` and how long from now on: `+90`, in seconds, or `+90s`, `+15m`, `+1h`, `+7d`.
pub(super) fn parse(text: &[u8], now: Time) -> Result<Time, Error> {
    const WRONG: Error = Error::Invalid("when a file expires is in seconds since 1970, or +90, +90s, +15m, +1h, +7d");
    let text = std::str::from_utf8(text).map_err(|_| WRONG)?;
    let second = match text.strip_prefix('+') {
        None => text.parse::<i64>().ok(),
        Some(rest) => {
            let units = [("s", 1), ("m", 60), ("h", 3600), ("d", 86400)];
            let unit = units.iter().find_map(|(letter, unit)| Some((rest.strip_suffix(letter)?, *unit)));
            let (digits, unit) = unit.unwrap_or((rest, 1));
            let count = digits.parse::<u32>().ok().filter(|_| !digits.starts_with('+'));
            count.and_then(|count| i64::from(count).checked_mul(unit)?.checked_add(now.seconds_up()))
        }
    };
    // A time that nobody could read back as it was written is none.
    let second = second.filter(|second| second.checked_mul(1_000_000_000).is_some());
    second.map(|second| Time::new(second, 0)).ok_or(WRONG)
}
