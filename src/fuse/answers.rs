//! Answers under way: which requests were begun, and are not answered yet.
//!
//! An answer that was prepared before a change, and reaches the kernel after the kernel was told of the change, would make it
//! keep what is no longer so, for good. So who tells it waits for the answers that were begun before: then the kernel hears the
//! old first, and the news after it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hashbrown::HashSet;
use parking_lot::{Condvar, Mutex};

use crate::store::EntryId;

#[derive(Debug, Default)]
struct UnderWay {
    next: u64,
    /// The inode of each, in the order in which they were begun.
    begun: BTreeMap<u64, EntryId>,
    /// Whether somebody waits.
    watched: bool,
}

/// All answers that say something of an inode, or of the names in it.
#[derive(Debug, Default)]
pub(super) struct Answers {
    state: Mutex<UnderWay>,
    answered: Condvar,
}

/// A request that is being answered. Dropped when it was.
#[derive(Debug)]
pub(super) struct Answer {
    answers: Arc<Answers>,
    number: u64,
}

impl Answers {
    /// A request is about to be answered that says something of `id`: before anything is looked up for it.
    pub(super) fn begin(self: &Arc<Self>, id: EntryId) -> Answer {
        let mut state = self.state.lock();
        let number = state.next;
        state.next += 1;
        state.begun.insert(number, id);
        Answer { answers: Arc::clone(self), number }
    }

    /// Waits until all is answered that was begun before now of any of these inodes; false if that takes longer than `patience`.
    pub(super) fn wait(&self, ids: &HashSet<EntryId>, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.state.lock();
        let now = state.next;
        while state.begun.range(..now).any(|(_, id)| ids.contains(id)) {
            state.watched = true;
            if self.answered.wait_until(&mut state, deadline).timed_out() {
                return false;
            }
        }
        true
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let mut state = self.answers.state.lock();
        state.begun.remove(&self.number);
        if std::mem::take(&mut state.watched) {
            self.answers.answered.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_answers_are_waited_for_and_later_ones_are_not() {
        const AT_ONCE: Duration = Duration::ZERO;
        let answers = Arc::new(Answers::default());
        let ids = HashSet::from([1, 2]);
        let (older, other) = (answers.begin(1), answers.begin(3));
        assert!(!answers.wait(&ids, AT_ONCE));
        answers.state.lock().watched = false;
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| answers.wait(&ids, Duration::from_secs(60)));
            // Whatever comes while it waits is not waited for.
            let later = (!waiting.is_finished()).then(|| {
                while !answers.state.lock().watched {
                    std::thread::yield_now();
                }
                answers.begin(2)
            });
            drop(older);
            assert!(waiting.join().unwrap());
            drop(later);
        });
        assert!(answers.wait(&ids, AT_ONCE) && !answers.wait(&HashSet::from([3]), AT_ONCE));
        drop(other);
    }
}
