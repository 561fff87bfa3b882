//! The time, and how far it is believed.
//!
//! What is due by the clock on the wall is hidden. It is removed, for good, only by a clock that can be believed: one that has
//! gone in step with the monotonic clock for an hour. Then a clock that jumps ahead hides keys until it is right again, and
//! loses none that was not due.
//!
//! The difference of the two clocks is what is looked at: it is the moment at which the machine was started, as the clock on
//! the wall has it. A jump is a change of it. It is noted when the store is closed, so that the next process on the machine
//! goes on with it. After a restart of the machine nothing is known of the time in between; what was due before it was noted
//! may go, the rest an hour later. A program that never runs for an hour believes what the clock showed in an earlier run,
//! an hour before or more.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;

use super::attributes::Time;
use crate::log::Log;

const SECOND: i64 = 1_000_000_000;
/// A clock that goes in step for so long, in nanoseconds, is believed.
const SETTLED: i64 = 3600 * SECOND;
/// A change of the difference by less than this is no jump: the clock is set right a little all the time.
const STEP: i64 = 60 * SECOND;

type Source = Arc<dyn Fn() -> Time + Send + Sync>;

/// Tells the time. Handed in, so that a test can replay a run.
#[derive(Clone)]
pub struct Clock {
    wall: Source,
    /// Without one the clock on the wall is always believed.
    monotonic: Option<Source>,
}

impl Clock {
    /// A clock that asks this function, and is believed whatever it says.
    pub fn new(now: impl Fn() -> Time + Send + Sync + 'static) -> Clock {
        Clock { wall: Arc::new(now), monotonic: None }
    }

    /// A clock that may jump, and one that never does, which tells how long the machine has been running.
    pub fn with_monotonic(
        now: impl Fn() -> Time + Send + Sync + 'static,
        running: impl Fn() -> Time + Send + Sync + 'static,
    ) -> Clock {
        Clock { wall: Arc::new(now), monotonic: Some(Arc::new(running)) }
    }

    /// The present.
    pub fn now(&self) -> Time {
        (self.wall)()
    }
}

impl Default for Clock {
    fn default() -> Clock {
        Clock::with_monotonic(|| SystemTime::now().into(), running)
    }
}

/// How long the machine has been running, sleep included.
fn running() -> Time {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME);
    time.map_or(Time(0), |time| Time(time.tv_sec().saturating_mul(SECOND).saturating_add(time.tv_nsec())))
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Clock")
    }
}

/// How far the clock is believed. All in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Belief {
    /// The difference of the clocks as it is now,
    difference: i64,
    /// and since when it has been so, by the monotonic clock; `i64::MIN` if it is believed.
    since: i64,
    /// A time that has come for certain.
    passed: i64,
    /// A time that the clock on the wall has shown, in an earlier process.
    shown: i64,
    /// The operator was told of a jump.
    told: bool,
}

/// Nothing is known.
const NEVER: i64 = i64::MIN;

impl Belief {
    /// Before the clocks are looked at: what an earlier process noted, if any did; or, if `is_new`, there is nothing yet that a
    /// wrong clock could cost.
    fn new(note: Option<[i64; 4]>, is_new: bool, wall: i64, running: i64) -> Belief {
        let difference = wall.saturating_sub(running);
        let since = if is_new { NEVER } else { running };
        let Some([noted, noted_since, passed, shown]) = note else {
            return Belief { difference, since, passed: NEVER, shown: NEVER, told: false };
        };
        let same_boot = difference.abs_diff(noted) <= STEP as u64 && noted_since <= running;
        let since = if same_boot { noted_since } else { since };
        // An hour later, and in another process, the clock still shows a later time.
        let (passed, shown) = match shown {
            NEVER => (passed, NEVER),
            shown if wall.saturating_sub(shown) >= SETTLED => (passed.max(shown), NEVER),
            shown if wall < shown => (passed, NEVER),
            shown => (passed, shown),
        };
        Belief { difference, since, passed, shown, told: false }
    }

    /// The time up to which what is due may be removed.
    fn look(&mut self, wall: i64, running: i64) -> i64 {
        let difference = wall.saturating_sub(running);
        let change = difference.saturating_sub(self.difference);
        if change.unsigned_abs() > STEP as u64 {
            if !std::mem::replace(&mut self.told, true) {
                log::warn!(
                    "the clock has jumped by {} s: what is due by it is hidden, and is removed when it has been in step for an hour",
                    change / SECOND
                );
            }
            // Up to the jump it was believed.
            if self.since == NEVER {
                self.passed = self.passed.max(running.saturating_add(self.difference).min(wall));
            }
            (self.difference, self.since) = (difference, running);
        } else if self.since == NEVER {
            // In small steps it may go anywhere, in its time.
            self.difference = difference;
        } else if running.saturating_sub(self.since) >= SETTLED {
            (self.difference, self.since) = (difference, NEVER);
            if std::mem::take(&mut self.told) {
                log::info!("the clock has been in step for an hour and is believed again");
            }
        }
        if self.since == NEVER {
            self.passed = self.passed.max(wall);
        }
        // Never what is not due.
        self.passed.min(wall)
    }

    /// What the next process is to know.
    fn note(&self, wall: i64) -> [i64; 4] {
        let shown = if self.since == NEVER || self.shown != NEVER { self.shown } else { wall };
        [self.difference, self.since, self.passed, shown]
    }
}

/// The clock of a store, and how far it is believed.
#[derive(Debug)]
pub(super) struct Believed {
    clock: Clock,
    belief: Option<Mutex<Belief>>,
    /// The last answer was that the clock is believed.
    settled: AtomicBool,
}

impl Believed {
    /// For a store that `is_new`, or that has such a note.
    pub(super) fn new(clock: &Clock, log: &Log, is_new: bool) -> Believed {
        let belief = clock.monotonic.as_ref().map(|running| {
            let note = if is_new { None } else { log.read_clock() };
            Mutex::new(Belief::new(note, is_new, clock.now().0, running().0))
        });
        Believed { clock: clock.clone(), belief, settled: AtomicBool::new(true) }
    }

    /// What was due at this time may be removed.
    pub(super) fn time(&self) -> Time {
        let wall = self.clock.now();
        let (Some(belief), Some(running)) = (&self.belief, &self.clock.monotonic) else { return wall };
        let mut belief = belief.lock();
        let passed = belief.look(wall.0, running().0);
        self.settled.store(belief.since == NEVER, Ordering::Relaxed);
        Time(passed)
    }

    /// Whether the clock was believed when it was looked at last.
    pub(super) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Relaxed)
    }

    /// Notes it for the next process.
    pub(super) fn note(&self, log: &Log) {
        let Some(belief) = &self.belief else { return };
        self.time();
        let note = belief.lock().note(self.clock.now().0);
        if let Err(error) = log.write_clock(note) {
            log::debug!("{error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600 * SECOND;
    const DAY: i64 = 24 * HOUR;
    const YEAR: i64 = 365 * DAY;

    /// A belief, and the two clocks.
    struct Run {
        belief: Belief,
        wall: i64,
        running: i64,
    }

    impl Run {
        fn start(note: Option<[i64; 4]>, is_new: bool, wall: i64, running: i64) -> Run {
            Run { belief: Belief::new(note, is_new, wall, running), wall, running }
        }

        fn look(&mut self) -> i64 {
            self.belief.look(self.wall, self.running)
        }

        fn pass(&mut self, time: i64) -> i64 {
            self.wall += time;
            self.running += time;
            self.look()
        }

        fn close(&self) -> [i64; 4] {
            self.belief.note(self.wall)
        }
    }

    #[test]
    fn a_clock_in_step_is_believed() {
        let mut run = Run::start(None, true, YEAR, 5);
        assert_eq!(run.look(), YEAR, "a new store has nothing to lose");
        assert_eq!(run.pass(DAY), YEAR + DAY);
        // In another process on the same machine, and in one after that.
        for _ in 0..2 {
            let note = run.close();
            run = Run::start(Some(note), false, run.wall + HOUR, run.running + HOUR);
            assert_eq!(run.look(), run.wall);
        }
        // It is set right, a little at a time.
        for _ in 0..1000 {
            run.wall += 10 * SECOND;
            assert_eq!(run.pass(SECOND), run.wall);
        }
    }

    #[test]
    fn a_jump_is_not_believed_for_an_hour() {
        let mut run = Run::start(None, true, YEAR, 5);
        run.pass(DAY);
        run.wall += YEAR;
        run.running += SECOND;
        let before = run.wall - YEAR + SECOND;
        assert_eq!(run.look(), before, "the second that has passed is believed");
        assert_eq!(run.pass(HOUR - SECOND), before);
        // Another one, and the hour begins anew; or it is right again.
        run.wall -= YEAR;
        assert_eq!(run.look(), before);
        assert_eq!(run.pass(HOUR - SECOND), before);
        assert_eq!(run.pass(SECOND), run.wall);
        // It is set back: what has come stays so, but nothing goes that is not due.
        run.wall -= DAY;
        assert_eq!(run.look(), run.wall);
        assert_eq!(run.pass(HOUR), run.wall);
    }

    #[test]
    fn a_machine_that_was_off_removes_what_was_due_an_hour_after_its_start() {
        let mut run = Run::start(None, true, YEAR, DAY);
        run.pass(DAY);
        let (closed, note) = (run.wall, run.close());
        let mut run = Run::start(Some(note), false, closed + 30 * DAY, 60 * SECOND);
        assert_eq!(run.look(), closed, "what was due before");
        run.pass(HOUR / 2);
        // In two processes.
        let note = run.close();
        let mut run = Run::start(Some(note), false, run.wall + SECOND, run.running + SECOND);
        assert_eq!(run.look(), closed);
        assert_eq!(run.pass(HOUR / 2), run.wall);
        // And if the clock was a year ahead for less than that, nothing was lost.
        let (closed, note) = (run.wall, run.close());
        let mut wrong = Run::start(Some(note), false, closed + YEAR, 60 * SECOND);
        assert_eq!(wrong.pass(HOUR / 2), closed);
        let note = wrong.close();
        let mut right = Run::start(Some(note), false, closed + DAY, 60 * SECOND);
        assert_eq!(right.look(), closed);
        assert_eq!(right.pass(HOUR), right.wall);
    }

    #[test]
    fn programs_that_never_run_for_an_hour_remove_what_was_due_at_an_earlier_one() {
        let mut note = None;
        let mut wall = YEAR;
        for day in 0..10 {
            // The machine is started each day.
            let mut run = Run::start(note, false, wall, 10 * SECOND);
            let passed = run.look();
            assert_eq!(passed, if day == 0 { NEVER } else { wall - DAY }, "day {day}");
            note = Some(run.close());
            wall += DAY;
        }
        // A wrong clock, again and again within an hour, is not believed.
        let before = wall - DAY;
        for start in 0..5 {
            let mut run = Run::start(note, false, wall + YEAR + start * 60 * SECOND, 10 * SECOND);
            assert_eq!(run.look(), before);
            note = Some(run.close());
        }
    }

    #[test]
    fn without_a_note_nothing_is_removed_for_an_hour() {
        let mut run = Run::start(None, false, YEAR, 5);
        assert_eq!(run.look(), NEVER);
        assert_eq!(run.pass(HOUR), run.wall);
    }
}
