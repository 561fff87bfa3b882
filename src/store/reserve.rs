//! The reserve: room that only deletes and merges may take, so that a full disk can be emptied again.

use std::sync::atomic::{AtomicU64, Ordering};

use super::error::Error;
use crate::medium::Medium;

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

    /// Takes room for a write that makes the store larger.
    pub(super) fn take(&self, medium: &dyn Medium, bytes: u64) -> Result<(), Error> {
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
        let usable = free.checked_sub(self.bytes).and_then(|usable| usable.checked_sub(bytes));
        let usable = usable.ok_or(Error::NoSpace)?;
        // Others fill the disk too: believe the answer for an eighth of it.
        self.budget.store(usable / 8, Ordering::Relaxed);
        Ok(())
    }
}
