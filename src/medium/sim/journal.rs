//! What a power cut may take back from one file, or from the names of one directory.
//!
//! Invariant: `base` with every change applied in order is `now`. `base` is on the medium for certain.

use super::random::Random;

/// Something that changes one step at a time.
pub(super) trait Replay: Clone {
    /// One step.
    type Change;

    /// Applies a step; one that makes no sense here (because an earlier one did not survive) does nothing.
    fn apply(&mut self, change: &Self::Change);

    /// Applies what a power cut in the middle of the step may leave of it.
    fn apply_torn(&mut self, change: &Self::Change, random: &mut Random);
}

/// What is known of a change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Waits for a sync.
    Unsynced,
    /// A sync failed: some of it may have reached the medium, and no later sync will write the rest.
    Lost,
    /// On the medium; listed only because a `Lost` change before it may be there too, beneath it.
    Durable,
}

/// Which unsynced changes a power cut leaves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Survival {
    /// None of them.
    Nothing,
    /// All of them, but none that a failed sync lost.
    Everything,
    /// By chance.
    Random,
}

/// What becomes of one change.
enum Outcome {
    Gone,
    Torn,
    Whole,
}

/// The choice for one journal.
enum Plan {
    /// The first `whole` changes, and if `torn` a piece of the next.
    Prefix { whole: usize, torn: bool },
    /// Any of them: the medium reorders.
    Each,
}

impl Plan {
    fn new(survival: Survival, unsynced: usize, random: &mut Random) -> Plan {
        let prefix = |whole, torn| Plan::Prefix { whole, torn };
        match survival {
            Survival::Nothing => prefix(0, false),
            Survival::Everything => prefix(unsynced, false),
            Survival::Random => match random.below(5) {
                0 => prefix(0, false),
                1 => prefix(unsynced, false),
                2 => prefix(random.below(unsynced + 1), false),
                3 => prefix(random.below(unsynced), true),
                _ => Plan::Each,
            },
        }
    }

    /// What becomes of the `nth` unsynced change.
    fn outcome(&self, nth: usize, random: &mut Random) -> Outcome {
        match *self {
            Plan::Prefix { whole, .. } if nth < whole => Outcome::Whole,
            Plan::Prefix { whole, torn: true } if nth == whole => Outcome::Torn,
            Plan::Prefix { .. } => Outcome::Gone,
            Plan::Each => match random.below(8) {
                0..4 => Outcome::Gone,
                4..7 => Outcome::Whole,
                _ => Outcome::Torn,
            },
        }
    }
}

/// A state and the changes to it that the medium may not have.
#[derive(Clone)]
pub(super) struct Journal<T: Replay> {
    base: T,
    now: T,
    changes: Vec<(T::Change, Fate)>,
}

impl<T: Replay> Journal<T> {
    /// A state that is all on the medium.
    pub(super) fn durable(state: T) -> Journal<T> {
        Journal { base: state.clone(), now: state, changes: Vec::new() }
    }

    /// The state as a running process sees it.
    pub(super) fn now(&self) -> &T {
        &self.now
    }

    /// A change that waits for a sync.
    pub(super) fn change(&mut self, change: T::Change) {
        self.now.apply(&change);
        self.changes.push((change, Fate::Unsynced));
    }

    /// A change of the medium itself: no power cut takes it back.
    pub(super) fn settle(&mut self, change: T::Change) {
        self.now.apply(&change);
        self.changes.push((change, Fate::Durable));
        self.compact();
    }

    /// Every change that waits is on the medium now.
    pub(super) fn sync(&mut self) {
        self.seal(Fate::Durable);
        self.compact();
    }

    /// Every change that waits is lost for good, though it can still be read.
    pub(super) fn fail_sync(&mut self) {
        self.seal(Fate::Lost);
    }

    fn seal(&mut self, fate: Fate) {
        for (_, state) in &mut self.changes {
            if *state == Fate::Unsynced {
                *state = fate;
            }
        }
    }

    /// Moves the durable changes before any other into the base.
    fn compact(&mut self) {
        let durable = |&(_, fate): &(_, Fate)| fate == Fate::Durable;
        let settled = self.changes.iter().take_while(|&change| durable(change));
        let settled = settled.count();
        for (change, _) in self.changes.drain(..settled) {
            self.base.apply(&change);
        }
    }

    /// What the medium holds after a power cut now.
    pub(super) fn after_power_cut(&self, survival: Survival, random: &mut Random) -> T {
        let mut image = self.base.clone();
        let unsynced = self.changes.iter();
        let unsynced = unsynced.filter(|(_, fate)| *fate == Fate::Unsynced);
        let plan = Plan::new(survival, unsynced.count(), random);
        let lost_is_gone = survival != Survival::Random || random.one_in(2);
        let mut nth = 0;
        for (change, fate) in &self.changes {
            let outcome = match fate {
                Fate::Durable => Outcome::Whole,
                Fate::Lost if lost_is_gone => Outcome::Gone,
                Fate::Lost => Plan::Each.outcome(0, random),
                Fate::Unsynced => {
                    nth += 1;
                    plan.outcome(nth - 1, random)
                }
            };
            match outcome {
                Outcome::Gone => {}
                Outcome::Torn => image.apply_torn(change, random),
                Outcome::Whole => image.apply(change),
            }
        }
        image
    }
}
