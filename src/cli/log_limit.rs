//! A rate limit on the daemon's messages: a store that has failed answers every request with the same error, and a disk that
//! goes bad has a different one for each key.
//!
//! The same message passes once in [`INTERVAL`]; and so many different ones of a kind, which is a place in the program: one
//! kind does not drown another. What is remembered is bounded by the number of places, [`MESSAGES`] for each.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a message is not repeated.
const INTERVAL: Duration = Duration::from_secs(60);
/// How many different messages of a kind pass in that time.
const MESSAGES: usize = 64;

/// A place in the program that says something: a source file and a line.
pub(super) type Kind = (&'static str, u32);

/// Remembers what was said of late.
#[derive(Debug, Default)]
pub(super) struct LogLimit {
    kinds: Mutex<BTreeMap<Kind, Said>>,
    /// Messages are remembered by their hash.
    hash: RandomState,
}

/// The messages of one kind.
#[derive(Debug, Default)]
struct Said {
    messages: BTreeMap<u64, Message>,
    /// Messages that were too many.
    others: u64,
}

/// When a message last passed, and how often it came since.
#[derive(Debug)]
struct Message {
    when: Instant,
    unsaid: u64,
}

/// What was kept back before a message that passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KeptBack {
    /// How often the same message was.
    pub(super) same: u64,
    /// How many others of its kind were, because there were too many.
    pub(super) others: u64,
}

impl LogLimit {
    /// Whether a message is to be said now, and what was not said since it last was.
    pub(super) fn pass(&self, kind: Kind, message: &str, now: Instant) -> Option<KeptBack> {
        let hash = self.hash.hash_one(message);
        let mut kinds = self.kinds.lock();
        let said = kinds.entry(kind).or_default();
        let recent = |message: &Message| now.duration_since(message.when) < INTERVAL;
        let mut same = 0;
        match said.messages.get_mut(&hash) {
            Some(message) if recent(message) => {
                message.unsaid += 1;
                return None;
            }
            Some(message) => {
                same = message.unsaid;
                *message = Message { when: now, unsaid: 0 };
            }
            None => {
                if said.messages.len() >= MESSAGES {
                    said.messages.retain(|_, message| recent(message));
                }
                if said.messages.len() >= MESSAGES {
                    said.others += 1;
                    return None;
                }
                said.messages.insert(hash, Message { when: now, unsaid: 0 });
            }
        }
        Some(KeptBack { same, others: std::mem::take(&mut said.others) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: Kind = ("read.rs", 1);
    const WRITE: Kind = ("write.rs", 1);

    #[test]
    fn the_same_error_is_said_once_a_minute() {
        let limit = LogLimit::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(limit.pass(READ, "the store has failed", at(0)), Some(KeptBack::default()));
        (1..60).for_each(|second| assert_eq!(limit.pass(READ, "the store has failed", at(second)), None));
        assert_eq!(limit.pass(READ, "key a is damaged", at(30)), Some(KeptBack::default()), "another message");
        assert_eq!(limit.pass(WRITE, "the store has failed", at(30)), Some(KeptBack::default()), "another kind");
        assert_eq!(limit.pass(READ, "the store has failed", at(60)), Some(KeptBack { same: 59, others: 0 }));
        assert_eq!(limit.pass(READ, "the store has failed", at(61)), None);
        assert_eq!(limit.pass(READ, "the store has failed", at(120)), Some(KeptBack { same: 1, others: 0 }));
    }

    #[test]
    fn different_errors_neither_fill_the_log_nor_drown_others() {
        let limit = LogLimit::default();
        let start = Instant::now();
        let passed = (0..1000).filter(|key| limit.pass(READ, &format!("key {key}"), start).is_some()).count();
        assert_eq!(passed, MESSAGES);
        assert_eq!(limit.pass(WRITE, "an event loop died", start), Some(KeptBack::default()));
        let later = start + Duration::from_secs(61);
        let kept_back = limit.pass(READ, "key 999", later);
        assert_eq!(kept_back, Some(KeptBack { same: 0, others: 1000 - MESSAGES as u64 }));
        assert_eq!(limit.pass(READ, "key 998", later), Some(KeptBack::default()));
        assert!(limit.kinds.lock()[&READ].messages.len() <= MESSAGES);
    }
}
