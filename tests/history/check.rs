//! Whether there is an order in which what was done gives what was answered.

use std::collections::HashSet;

/// How many keys there are.
pub(crate) const KEYS: usize = 4;

/// What a key has: the number of a value, or 0 for none.
pub(crate) type State = [u32; KEYS];

/// What was done, and what was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    Put(usize, u32),
    Get(usize, u32),
    /// Whether there was a key to be renamed.
    Rename(usize, usize, bool),
    /// Whether there was a key to be removed.
    Remove(usize, bool),
    /// The lengths of all values, in the order of the keys.
    List([Option<u64>; KEYS]),
}

/// A call, with the times between which it took effect.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) door: &'static str,
    pub(crate) start: u128,
    pub(crate) end: u128,
    pub(crate) done: Done,
}

impl Done {
    /// The state after it; `None` if the answer was another one before.
    fn apply(&self, mut state: State, len: &dyn Fn(u32) -> u64) -> Option<State> {
        let fits = match *self {
            Done::Put(key, value) => {
                state[key] = value;
                true
            }
            Done::Get(key, value) => state[key] == value,
            Done::Rename(from, _, false) => state[from] == 0,
            Done::Rename(from, to, true) => {
                let value = state[from];
                if from != to {
                    state[from] = 0;
                    state[to] = value;
                }
                value != 0
            }
            Done::Remove(key, there) => (std::mem::take(&mut state[key]) != 0) == there,
            Done::List(lengths) => lengths == state.map(|value| (value != 0).then(|| len(value))),
        };
        fits.then_some(state)
    }
}

/// The states in which calls may have left what was in one of these states before: none if no order fits.
pub(crate) fn check(calls: &[Call], before: &[State], len: &dyn Fn(u32) -> u64) -> Vec<State> {
    assert!(calls.len() < 64, "a round is short");
    let all = (1u64 << calls.len()) - 1;
    let mut seen: HashSet<(u64, State)> = before.iter().map(|state| (0, *state)).collect();
    let mut pending: Vec<(u64, State)> = seen.iter().copied().collect();
    let mut after = HashSet::new();
    while let Some((taken, state)) = pending.pop() {
        if taken == all {
            after.insert(state);
            continue;
        }
        let open = || calls.iter().enumerate().filter(|(place, _)| taken & (1 << place) == 0);
        // Whatever has begun before the first of the others was answered may be next.
        let first_end = open().map(|(_, call)| call.end).min().unwrap_or(0);
        for (place, call) in open().filter(|(_, call)| call.start <= first_end) {
            if let Some(next) = call.done.apply(state, len)
                && seen.insert((taken | 1 << place, next))
            {
                pending.push((taken | 1 << place, next));
            }
        }
    }
    after.into_iter().collect()
}

#[test]
fn what_cannot_have_been_is_noticed() {
    let call = |start, end, done| Call { door: "", start, end, done };
    let len = |value: u32| u64::from(value);
    let fits = |calls: &[Call]| !check(calls, &[[0; KEYS]], &len).is_empty();
    let put = || call(0, 10, Done::Put(0, 1));
    assert!(fits(&[put(), call(5, 6, Done::Get(0, 0)), call(7, 8, Done::Get(0, 1))]));
    assert!(!fits(&[put(), call(5, 6, Done::Get(0, 1)), call(7, 8, Done::Get(0, 0))]), "it was there already");
    assert!(!fits(&[put(), call(11, 12, Done::Get(0, 0))]), "it was acknowledged");
    assert!(!fits(&[call(0, 1, Done::Get(0, 1))]), "nobody has put it");
    let renamed = |list| [put(), call(11, 20, Done::Rename(0, 1, true)), call(12, 13, Done::List(list))];
    assert!(fits(&renamed([Some(1), None, None, None])));
    assert!(fits(&renamed([None, Some(1), None, None])));
    assert!(!fits(&renamed([Some(1), Some(1), None, None])), "never were there both");
    assert!(!fits(&renamed([None; KEYS])), "never was there none");
}
