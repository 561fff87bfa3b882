//! What is said in the log again and again: a store that has failed answers every request with the same error.
//!
//! The same message is let through once a minute, and so many different ones at most. A damaged key's message names
//! the key, and so differs from all others.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a message is not repeated.
const INTERVAL: Duration = Duration::from_secs(60);
/// How many different messages are let through in that time.
pub(super) const MESSAGES: usize = 256;

/// Remembers what was said of late.
#[derive(Debug)]
pub(super) struct Repetition(Mutex<State>);

#[derive(Debug)]
struct State {
    said: BTreeMap<String, Said>,
    /// Messages that were too many.
    others: u64,
}

/// When a message was last let through, and how often it came since.
#[derive(Debug)]
struct Said {
    when: Instant,
    unsaid: u64,
}

/// What was kept back before a message that is let through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KeptBack {
    /// How often the same message was.
    pub(super) same: u64,
    /// How many others were, because there were too many.
    pub(super) others: u64,
}

impl Repetition {
    pub(super) const fn new() -> Repetition {
        Repetition(Mutex::new(State { said: BTreeMap::new(), others: 0 }))
    }

    /// Whether a message is to be said now, and what was not said since it last was.
    pub(super) fn pass(&self, message: &str, now: Instant) -> Option<KeptBack> {
        let state = &mut *self.0.lock();
        let recent = |said: &Said| now.duration_since(said.when) < INTERVAL;
        let mut same = 0;
        match state.said.get_mut(message) {
            Some(said) if recent(said) => {
                said.unsaid += 1;
                return None;
            }
            Some(said) => {
                same = said.unsaid;
                *said = Said { when: now, unsaid: 0 };
            }
            None => {
                if state.said.len() >= MESSAGES {
                    state.said.retain(|_, said| recent(said));
                }
                if state.said.len() >= MESSAGES {
                    state.others += 1;
                    return None;
                }
                state.said.insert(message.to_owned(), Said { when: now, unsaid: 0 });
            }
        }
        Some(KeptBack { same, others: std::mem::take(&mut state.others) })
    }
}
