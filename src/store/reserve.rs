//! The reserve: room for what gives room back, so that a full disk can be emptied again, and a part of it for what does
//! not make the store larger.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Store;
use super::error::Error;
use super::keydir::{CHILD, further_name_size};
use super::record::{Burden, Link};
use super::value::Update;
use crate::medium::Medium;

/// What a change does to the room on the medium, and so how much of the reserve it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// Makes what is live longer: a new entry or name, bytes of a value, longer extended attributes. None of it.
    Growth,
    /// Writes anew what is there, at about the same length: mode, owner, times, another name. What it replaces is dead, so a
    /// merge gives the room back, but until then a user could write without end: half of it.
    Rewrite,
    /// The same, by the owner of the store, for whom others leave something: three quarters.
    OwnersRewrite,
    /// Gives room back: takes a name away, or frees at least the bytes that it writes. All of it, and the file `reserve`.
    Release,
}

impl Claim {
    /// What it leaves of a reserve.
    fn leaves(self, reserve: u64) -> u64 {
        match self {
            Claim::Growth => reserve,
            Claim::Rewrite => reserve / 2,
            Claim::OwnersRewrite => reserve / 4,
            Claim::Release => 0,
        }
    }
}

/// Asks the medium for its free space only now and then.
#[derive(Debug)]
pub(super) struct Reserve {
    bytes: u64,
    /// Bytes that may be written before the medium is asked again.
    budget: AtomicU64,
}

impl Reserve {
    /// Keeps `bytes` bytes free.
    pub(super) fn new(bytes: u64) -> Reserve {
        Reserve { bytes, budget: AtomicU64::new(0) }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes room for a change that writes so many bytes.
    pub(super) fn take(&self, medium: &dyn Medium, claim: Claim, bytes: u64) -> Result<(), Error> {
        let spend = |budget: u64| budget.checked_sub(bytes);
        if self.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_ok() {
            return Ok(());
        }
        let space = medium.space().map_err(|source| crate::log::Error::Io {
            context: "asking the medium for its free space".into(),
            source,
        })?;
        // A filesystem that reports no size at all is not believed: the write itself will tell.
        let free = if space.total == 0 { u64::MAX } else { space.available };
        let left = free.checked_sub(bytes);
        if let Some(usable) = left.and_then(|left| left.checked_sub(self.bytes)) {
            // Others fill the disk too: believe the answer for an eighth of it, and for no more than the reserve can bear.
            let most = if self.bytes > 0 { self.bytes / 8 } else { u64::MAX };
            self.budget.store((usable / 8).min(most), Ordering::Relaxed);
            return Ok(());
        }
        match claim {
            // The write itself will tell.
            Claim::Release => Ok(()),
            _ if left.is_some_and(|left| left >= claim.leaves(self.bytes)) => Ok(()),
            _ => Err(Error::NoSpace),
        }
    }
}

/// What a transaction does to the room on the medium.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) grows: bool,
    /// Some entry has a name less, and none has one more.
    pub(super) names_freed: bool,
    /// Bytes of values and extended attributes that it frees.
    freed: u64,
    /// Bytes of memory by which entries grow, their values left out.
    pub(super) memory: u64,
}

impl Room {
    /// An entry's record is longer or shorter than before.
    pub(super) fn note(&mut self, before: Burden, after: Burden, is_new: bool) {
        self.grows |= is_new || after.names > before.names || after.lasting > before.lasting;
        self.names_freed |= after.names < before.names;
        let names = if is_new { 0 } else { after.names.saturating_sub(before.names) };
        self.memory += (names * (CHILD + size_of::<Link>()) + after.bytes.saturating_sub(before.bytes)) as u64;
        self.freed += before.bytes.saturating_sub(after.bytes) as u64;
    }

    /// An entry gets names in records of their own, or loses them.
    pub(super) fn note_names(&mut self, names: &BTreeMap<Link, bool>) {
        let gained = names.iter().filter(|(_, there)| **there);
        self.memory += gained.map(|(link, _)| further_name_size(&link.name) as u64).sum::<u64>();
    }

    /// An entry's value is changed; without new bytes it frees as many as `freed` says.
    pub(super) fn note_update(&mut self, update: &Update<'_>, freed: impl FnOnce() -> u64) {
        match update.stage != 0 || !update.bytes.is_empty() {
            true => self.grows = true,
            false => self.freed += freed(),
        }
    }

    /// What it is in all, if it writes so many bytes.
    pub(super) fn claim(&self, bytes: u64, others: bool) -> Claim {
        match others {
            _ if self.grows => Claim::Growth,
            _ if self.names_freed || self.freed >= bytes.max(1) => Claim::Release,
            true => Claim::Rewrite,
            false => Claim::OwnersRewrite,
        }
    }
}

impl Store {
    /// Bytes that are kept free for deletes and merges.
    pub(crate) fn reserved(&self) -> u64 {
        self.reserve.bytes()
    }

    /// Whether so many bytes of value may still be written, without setting them aside: a later commit can still fail
    /// if others fill the disk.
    ///
    /// # Errors
    /// [`Error::NoSpace`] if only the reserve is left.
    pub fn check_space(&self, bytes: u64) -> Result<(), Error> {
        self.reserve.take(&**self.log.medium(), Claim::Growth, bytes)
    }
}
