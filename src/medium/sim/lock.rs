//! Locks on the files of a simulated disk: flock(2) without a kernel.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

use super::State;
use crate::medium::Lock;

/// Who holds a file.
enum Holders {
    Exclusive,
    /// How many share it.
    Shared(usize),
}

/// The locks held on a disk, by path.
#[derive(Default)]
pub(super) struct Locks(BTreeMap<String, Holders>);

impl Locks {
    /// Whether the lock was free to take.
    pub(super) fn take(&mut self, path: &str, shared: bool) -> bool {
        match self.0.get_mut(path) {
            Some(Holders::Shared(holders)) if shared => *holders += 1,
            Some(_) => return false,
            None => {
                let holders = match shared {
                    true => Holders::Shared(1),
                    false => Holders::Exclusive,
                };
                self.0.insert(path.to_owned(), holders);
            }
        }
        true
    }

    fn release(&mut self, path: &str) {
        match self.0.get_mut(path) {
            Some(Holders::Shared(holders)) if *holders > 1 => *holders -= 1,
            _ => {
                self.0.remove(path);
            }
        }
    }
}

/// A held lock.
pub(super) struct SimLock {
    pub(super) state: Arc<Mutex<State>>,
    pub(super) path: String,
}

impl Lock for SimLock {}

impl fmt::Debug for SimLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimLock").field(&self.path).finish()
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        self.state.lock().locks.release(&self.path);
    }
}
