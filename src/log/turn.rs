//! Whose turn it is: one thread works for all who wait, and all of these go on when it is done.
//!
//! A mutex would let them through one by one, and those served already would stand in the way of who comes next.

use parking_lot::{Condvar, Mutex};

/// A turn, which one thread has at a time.
#[derive(Debug, Default)]
pub(super) struct Turn {
    taken: Mutex<bool>,
    over: Condvar,
}

/// Whoever holds this has the turn.
#[derive(Debug)]
pub(super) struct Taken<'a>(&'a Turn);

impl Turn {
    /// Waits for the turn; `None` as soon as `served` says that somebody else's has done.
    pub(super) fn take(&self, served: impl Fn() -> bool) -> Option<Taken<'_>> {
        let mut taken = self.taken.lock();
        loop {
            if served() {
                return None;
            }
            if !*taken {
                *taken = true;
                return Some(Taken(self));
            }
            self.over.wait(&mut taken);
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.0.taken.lock() = false;
        self.0.over.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use super::*;

    #[test]
    fn all_who_were_served_go_on_when_the_turn_is_over() {
        let (turn, served) = (Turn::default(), AtomicBool::new(false));
        let first = turn.take(|| false).unwrap();
        std::thread::scope(|scope| {
            let wait = || turn.take(|| served.load(Ordering::Acquire)).is_none();
            let waiters: Vec<_> = (0..8).map(|_| scope.spawn(wait)).collect();
            served.store(true, Ordering::Release);
            drop(first);
            assert!(waiters.into_iter().all(|waiter| waiter.join().unwrap()));
        });
    }

    #[test]
    fn one_thread_has_it_at_a_time() {
        let (turn, holders) = (Turn::default(), AtomicU32::new(0));
        let work = || {
            for _ in 0..200 {
                let taken = turn.take(|| false).unwrap();
                assert_eq!(holders.fetch_add(1, Ordering::AcqRel), 0);
                std::thread::yield_now();
                holders.fetch_sub(1, Ordering::AcqRel);
                drop(taken);
            }
        };
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(work))));
    }
}
