//! Whose turn it is: one thread works for all who wait, and all of these go on when it is done.
//!
//! A mutex would let them through one by one, and those served already would stand in the way of who comes next.
//!
//! A turn is put off until those have come who are likely to. Who was served together comes back one after the other: a turn that
//! began with the first would leave the others to the next one, and from then on everybody would wait for two. As many are likely
//! to come as were served by the last turn or had come when it ended. So who is alone is never held up, and who is held up for
//! nobody is held up once.

use std::mem;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// So many are enough for a turn to begin: with more of them it costs each hardly less, and who is still to come can work meanwhile.
const ENOUGH: u64 = 8;

/// The longest that a turn is put off. As a rule it is less: as long as a turn takes, for each who is missing.
const PATIENCE: Duration = Duration::from_millis(5);

/// A turn, which one thread has at a time.
#[derive(Debug, Default)]
pub(super) struct Turn {
    state: Mutex<State>,
    over: Condvar,
    came: Condvar,
}

#[derive(Debug, Default)]
struct State {
    taken: bool,
    /// Those who wait for a turn that has not begun.
    waiting: u64,
    /// How many are likely to wait for it.
    expected: u64,
    /// How long a turn takes: a moving average.
    takes: Duration,
}

impl State {
    /// For how many a turn that somebody waits for is still put off.
    fn missing(&self) -> u32 {
        let wanted = if self.waiting > 0 { self.expected.min(ENOUGH) } else { 0 };
        wanted.saturating_sub(self.waiting) as u32
    }
}

/// Whoever holds this has the turn.
#[derive(Debug)]
pub(super) struct Taken<'a> {
    turn: &'a Turn,
    /// How many it is for.
    pub(super) waiters: u64,
    pub(super) began: Instant,
}

impl Turn {
    /// One more waits.
    pub(super) fn join(&self) {
        let mut state = self.state.lock();
        state.waiting += 1;
        if state.missing() == 0 {
            self.came.notify_one();
        }
    }

    /// Waits for the turn; `None` as soon as `served` says that somebody else's has done. Those for whom it is have joined.
    pub(super) fn take(&self, served: impl Fn() -> bool) -> Option<Taken<'_>> {
        let mut state = self.state.lock();
        loop {
            if served() {
                return None;
            }
            if !state.taken {
                break;
            }
            self.over.wait(&mut state);
        }
        state.taken = true;
        if state.missing() > 0 {
            let end = Instant::now() + PATIENCE.min(state.takes * state.missing());
            while state.missing() > 0 && !self.came.wait_until(&mut state, end).timed_out() {}
        }
        Some(Taken { turn: self, waiters: mem::take(&mut state.waiting), began: Instant::now() })
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut state = self.turn.state.lock();
        state.taken = false;
        state.expected = self.waiters + state.waiting;
        state.takes = (state.takes * 7 + self.began.elapsed()) / 8;
        drop(state);
        self.turn.over.notify_all();
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
    fn as_many_are_waited_for_as_came_of_late() {
        let missing = |expected, waiting| State { expected, waiting, ..State::default() }.missing();
        // Nobody expects others at first, nor does who was alone.
        assert_eq!([missing(0, 1), missing(1, 1)], [0, 0]);
        assert_eq!([missing(4, 1), missing(4, 3), missing(4, 4), missing(4, 5)], [3, 1, 0, 0]);
        assert_eq!([missing(100, 1), missing(100, 8)], [7, 0]);
        // A sync that nobody waits for.
        assert_eq!(missing(4, 0), 0);
    }

    /// A turn for one, during which another came: the next one is for both, though one of them comes later.
    #[test]
    fn a_turn_is_put_off_until_they_have_come() {
        let turn = Turn::default();
        let round = || {
            turn.join();
            let taken = turn.take(|| false).unwrap();
            turn.join();
            drop(taken);
            // Long enough for whoever joins below.
            turn.state.lock().takes = PATIENCE;
            std::thread::scope(|scope| {
                let next = scope.spawn(|| turn.take(|| false).unwrap().waiters);
                while !turn.state.lock().taken && !next.is_finished() {
                    std::thread::yield_now();
                }
                turn.join();
                next.join().unwrap()
            })
        };
        // A busy machine may hold up the one who joins for longer than anybody waits, but not always.
        assert!((0..1000).any(|_| round() == 2));
        // Who does not come is not waited for again.
        assert_eq!(turn.state.lock().expected, 2);
        turn.join();
        drop(turn.take(|| false).unwrap());
        assert_eq!(turn.state.lock().expected, 1);
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
