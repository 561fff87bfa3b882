//! The requests that a daemon has taken on: one that ends finishes them, and takes on no more.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// The requests under way.
#[derive(Default)]
pub(super) struct Requests {
    state: Mutex<State>,
    finished: Condvar,
}

#[derive(Default)]
struct State {
    running: usize,
    closed: bool,
}

impl Requests {
    /// Takes one on; `None` if the daemon is ending. It is under way until the value is dropped.
    pub(super) fn take(&self) -> Option<Running<'_>> {
        let mut state = self.state.lock();
        if state.closed {
            return None;
        }
        state.running += 1;
        Some(Running(self))
    }

    /// Takes no more on, and waits for those that are under way, for `patience` at most.
    pub(super) fn close(&self, patience: Duration) {
        let mut state = self.state.lock();
        state.closed = true;
        self.finished.wait_while_for(&mut state, |state| state.running > 0, patience);
    }
}

/// A request under way.
pub(super) struct Running<'a>(&'a Requests);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.state.lock().running -= 1;
        self.0.finished.notify_all();
    }
}
