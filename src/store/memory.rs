//! The account of memory: everything that grows with what users do is counted here, by kind, in sums that are kept.
//!
//! The keydir keeps sums of its own, since it changes where records are applied; whoever makes it grow asks here before,
//! and hears [`Error::OutOfMemory`] at the limit. What is held beside it is *charged*: a [`Charge`] is given back when it is
//! dropped. At a limit only the one who wants more is refused: what makes nothing grow never asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::RwLock;

use super::Store;
use super::attributes::EntryId;
use super::error::Error;
use super::keydir::{Keydir, PIECE};
use super::record::MAX_EXTENT;

/// More than a new entry takes in the keydir, its name and all else that it has left out.
pub(super) const ENTRY: u64 = 512;

/// What the keydir takes, in bytes of memory, about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeydirMemory {
    /// Entries, but for what follows.
    pub entries: u64,
    /// The names in directories.
    pub directories: u64,
    /// Names, extended attributes and targets of entries that have many or long ones.
    pub attributes: u64,
    /// Where values are that are in several pieces.
    pub extents: u64,
    /// Where bytes are that are in the log and not published.
    pub staged: u64,
    /// What listings that are being read keep of what was changed since.
    pub listings: u64,
    /// What the kernel holds, what expires, what is shared, and counts by segment.
    pub others: u64,
}

impl KeydirMemory {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.entries + self.directories + self.attributes + self.extents + self.staged + self.listings + self.others
    }
}

/// What takes memory beside the keydir.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryUse {
    /// Bytes that were written to open files and are not committed, with all that is known of them.
    Staged,
    /// Transactions and batches.
    Transactions,
}

const USES: usize = 2;

/// The account.
#[derive(Debug)]
pub(super) struct Account {
    /// Bytes that the keydir may take.
    limit: u64,
    /// Bytes by which it may grow before it is asked again.
    budget: AtomicU64,
    told: AtomicBool,
    /// Bytes by use.
    used: [AtomicU64; USES],
    /// And the most of each.
    most: [u64; USES],
}

impl Account {
    /// With limits for the keydir, and for all transactions together.
    pub(super) fn new(keydir: Option<u64>, transactions: u64) -> Account {
        Account {
            limit: keydir.unwrap_or(u64::MAX),
            budget: AtomicU64::new(0),
            told: AtomicBool::new(false),
            used: Default::default(),
            most: [u64::MAX, transactions],
        }
    }

    /// The keydir is about to grow by so many bytes, or by fewer.
    pub(super) fn grow(&self, keydir: &RwLock<Keydir>, bytes: u64) -> Result<(), Error> {
        let spend = |budget: u64| budget.checked_sub(bytes);
        if bytes == 0 || self.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_ok() {
            return Ok(());
        }
        let taken = keydir.read().memory().total();
        let Some(left) = self.limit.checked_sub(taken.saturating_add(bytes)) else {
            if !self.told.swap(true, Ordering::Relaxed) {
                let limit = self.limit;
                log::error!("the keys take {taken} bytes of memory, and the limit is {limit}: growth is refused");
            }
            return Err(Error::OutOfMemory);
        };
        // Not by who wants little while others are refused.
        if left > ENTRY && self.told.swap(false, Ordering::Relaxed) {
            log::info!("the keys take {taken} bytes of memory: they may grow again");
        }
        // Half of what is left: the tables double, and then the keydir is asked before they are far over.
        self.budget.store((left / 2).min(512 << 20), Ordering::Relaxed);
        Ok(())
    }

    /// Bytes of one use.
    pub(super) fn used(&self, kind: MemoryUse) -> u64 {
        self.used.get(kind as usize).map_or(0, |used| used.load(Ordering::Relaxed))
    }
}

/// Memory that somebody holds. It is given back when this is dropped.
#[derive(Debug)]
pub struct Charge {
    account: Arc<Account>,
    kind: MemoryUse,
    bytes: u64,
}

impl Charge {
    /// Nothing so far.
    pub(super) fn new(account: &Arc<Account>, kind: MemoryUse) -> Charge {
        Charge { account: Arc::clone(account), kind, bytes: 0 }
    }

    /// Bytes of it.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// So many bytes are held from now on, whatever the limit is.
    pub fn set(&mut self, bytes: u64) {
        if let Some(used) = self.account.used.get(self.kind as usize) {
            // Both at once: what the sum wraps by in between it wraps back by.
            used.fetch_add(bytes.wrapping_sub(self.bytes), Ordering::Relaxed);
            self.bytes = bytes;
        }
    }

    /// As many bytes more, unless that would be more than all of this use may take.
    pub(super) fn add(&mut self, bytes: u64) -> Result<(), Error> {
        let kind = self.kind as usize;
        let (Some(used), Some(most)) = (self.account.used.get(kind), self.account.most.get(kind)) else {
            return Ok(());
        };
        let add = |used: u64| used.checked_add(bytes).filter(|used| used <= most);
        let added = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        added.map_err(|_| Error::BatchTooLarge)?;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl Store {
    /// So many bytes of an entry's value are about to be staged.
    pub(super) fn grow_staged(&self, entry: EntryId, stage: u64, bytes: usize) -> Result<(), Error> {
        let pieces = bytes.div_ceil(MAX_EXTENT);
        // What is no more than the value has already takes the place of that.
        let is_more = self.keydir.read().is_staging_more(entry, stage, pieces);
        if is_more { self.memory.grow(&self.keydir, (pieces * PIECE) as u64) } else { Ok(()) }
    }

    /// What the keydir takes, by kind.
    pub fn keydir_memory(&self) -> KeydirMemory {
        self.keydir.read().memory()
    }

    /// Bytes of memory of a use beside the keydir.
    pub fn memory_used(&self, kind: MemoryUse) -> u64 {
        self.memory.used(kind)
    }

    /// A place in the account for memory of this use.
    pub fn charge(&self, kind: MemoryUse) -> Charge {
        Charge::new(&self.memory, kind)
    }
}
