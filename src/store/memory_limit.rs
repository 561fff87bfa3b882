//! The memory limit: new keys are refused before the machine runs out of memory.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::RwLock;

use super::error::Error;
use super::keydir::Keydir;

/// More than a new entry takes, unless its name is very long.
const ENTRY: u64 = 512;

/// Asks the keydir for its size only now and then.
#[derive(Debug)]
pub(super) struct MemoryLimit {
    /// Bytes that the keydir may take.
    bytes: u64,
    /// Entries that may be made before the keydir is asked again.
    budget: AtomicU64,
    told: AtomicBool,
}

impl MemoryLimit {
    /// No limit without `bytes`.
    pub(super) fn new(bytes: Option<u64>) -> MemoryLimit {
        MemoryLimit { bytes: bytes.unwrap_or(u64::MAX), budget: AtomicU64::new(0), told: AtomicBool::new(false) }
    }

    /// Takes room for one more entry.
    pub(super) fn take(&self, keydir: &RwLock<Keydir>) -> Result<(), Error> {
        let spend = |budget: u64| budget.checked_sub(1);
        if self.budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_ok() {
            return Ok(());
        }
        let taken = keydir.read().memory() as u64;
        let Some(left) = self.bytes.checked_sub(taken.saturating_add(ENTRY)) else {
            if !self.told.swap(true, Ordering::Relaxed) {
                let limit = self.bytes;
                log::error!("the keys take {taken} bytes of memory, and the limit is {limit}: new ones are refused");
            }
            return Err(Error::OutOfMemory);
        };
        if self.told.swap(false, Ordering::Relaxed) {
            log::info!("the keys take {taken} bytes of memory: new ones are taken again");
        }
        // Half of what is left: the tables double, and then the keydir is asked before they are far over.
        self.budget.store((left / ENTRY / 2).min(1 << 20), Ordering::Relaxed);
        Ok(())
    }
}
