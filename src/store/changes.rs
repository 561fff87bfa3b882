//! The stream of committed changes: whoever keeps a copy of what the store says, the kernel's caches say, is told what became
//! untrue.
//!
//! Invariants:
//! - Subscribers are told of transactions in the order of their sequence numbers, each once it was applied. Who wants to know
//!   when it is durable asks [`Store::when_durable`](super::Store::when_durable).
//! - A writer never waits for a subscriber while it holds a lock, and a queue never grows beyond its bound: a subscriber that is
//!   too slow is told that everything may have changed.
//! - From before a change is applied until the subscriber has dealt with it, it is *pending*: nobody finds something changed and
//!   a copy still trusted.
//! - A change that nobody wants to hear of costs one relaxed load.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hashbrown::HashSet;
use parking_lot::{Condvar, Mutex};

use super::Store;
use super::attributes::{EntryId, Kind, Time};
use super::error::Error;
use super::record::{Link, NodeState};

/// Changed entries and names that a subscriber may be behind by.
const BOUND: usize = 1 << 15;

/// The way on which a change came into the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Door(u32);

impl Door {
    /// The functions of [`Store`](super::Store), and the commands.
    pub const API: Door = Door(1);
    /// A file's time came.
    pub const EXPIRY: Door = Door(2);
    const FIRST_OTHER: u32 = 3;
}

/// A name: the directory, and what it is called there.
pub type Name = (EntryId, Box<[u8]>);

/// What became of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The entry.
    pub entry: EntryId,
    /// What it is.
    pub kind: Kind,
    /// It was made.
    pub made: bool,
    /// It has lost its last name.
    pub removed: bool,
    /// Its value changed, and not its attributes alone.
    pub value: bool,
    /// The value's length before and after, in bytes.
    pub size: (u64, u64),
    /// When it expires.
    pub expires: Option<Time>,
    /// Names that it has lost.
    pub gone: Vec<Name>,
    /// Names that it was given.
    pub came: Vec<Name>,
    /// A name that it had before and has now.
    pub stays: Option<Name>,
}

/// A transaction.
#[derive(Debug, PartialEq, Eq)]
pub struct Committed {
    /// The sequence number of its last record.
    pub sequence: u64,
    /// How it came.
    pub door: Door,
    /// What it changed, in no order.
    pub changes: Vec<Change>,
}

/// What a subscriber is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A transaction was committed.
    Committed(Arc<Committed>),
    /// So many came that they were not kept: everything may have changed.
    Everything,
}

/// What one subscriber is still to be told.
#[derive(Debug)]
struct Queue {
    /// Whose changes it does not want to hear of.
    except: Option<Door>,
    state: Mutex<Waiting>,
    changed: Condvar,
    /// Transactions that are about to be applied, waiting, or being dealt with.
    pending: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    news: VecDeque<(u64, News)>,
    /// What all of `news` weighs.
    weight: usize,
    /// The sequence number of what the subscriber deals with now.
    working: Option<u64>,
    closed: bool,
}

impl Waiting {
    /// Whether something up to `sequence` is still to be dealt with.
    fn is_behind(&self, sequence: u64) -> bool {
        let first = self.news.front().map(|(first, _)| *first);
        !self.closed && self.working.into_iter().chain(first).any(|first| first <= sequence)
    }
}

/// All who want to hear of changes.
#[derive(Debug, Default)]
pub(super) struct Changes {
    queues: Mutex<Vec<Arc<Queue>>>,
    /// 0: nobody. The number of a door: who there is wants all but what comes through that. `u32::MAX`: any other.
    interest: AtomicU32,
    doors: AtomicU32,
    /// Something was changed through another door than a subscriber's own.
    elsewhere: AtomicBool,
}

impl Changes {
    /// A door of its own for whoever wants to tell its changes from others'.
    pub(super) fn new_door(&self) -> Door {
        Door(Door::FIRST_OTHER + self.doors.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether anybody wants to hear of what comes through this door.
    pub(super) fn wanted(&self, door: Door) -> bool {
        let interest = self.interest.load(Ordering::Relaxed);
        interest != 0 && interest != door.0
    }

    pub(super) fn subscribe(self: &Arc<Self>, except: Option<Door>) -> Subscription {
        let (state, changed, pending) = Default::default();
        let queue = Arc::new(Queue { except, state, changed, pending });
        self.change_queues(|queues| queues.push(Arc::clone(&queue)));
        Subscription { queue, changes: Arc::clone(self) }
    }

    fn change_queues(&self, change: impl FnOnce(&mut Vec<Arc<Queue>>)) {
        let queues = &mut *self.queues.lock();
        change(queues);
        let mut doors = queues.iter().map(|queue| queue.except);
        let interest = match doors.next() {
            None => 0,
            Some(Some(first)) if doors.all(|door| door == Some(first)) => first.0,
            Some(_) => u32::MAX,
        };
        self.interest.store(interest, Ordering::Release);
    }

    /// A transaction is about to be applied.
    pub(super) fn announce(&self, door: Door) -> Announced {
        let queues = self.queues.lock().iter().filter(|queue| queue.except != Some(door)).cloned().collect();
        let announced = Announced { queues, door };
        for queue in &announced.queues {
            queue.pending.fetch_add(1, Ordering::AcqRel);
            self.elsewhere.fetch_or(queue.except.is_some(), Ordering::AcqRel);
        }
        announced
    }

    /// Whether anything was ever changed through another door than a subscriber's own. True from before it is applied.
    pub(super) fn were_elsewhere(&self) -> bool {
        self.elsewhere.load(Ordering::Acquire)
    }

    /// Whether somebody has not dealt with all that was changed.
    pub(super) fn is_pending(&self) -> bool {
        self.interest.load(Ordering::Acquire) != 0
            && self.queues.lock().iter().any(|queue| queue.pending.load(Ordering::Acquire) > 0)
    }

    /// Waits until all have dealt with everything up to `sequence`; false if that took longer than `patience`.
    pub(super) fn flush(&self, sequence: u64, patience: Duration) -> bool {
        if self.interest.load(Ordering::Acquire) == 0 {
            return true;
        }
        let deadline = Instant::now() + patience;
        let queues = self.queues.lock().clone();
        queues.iter().all(|queue| {
            let mut state = queue.state.lock();
            while state.is_behind(sequence) {
                if queue.changed.wait_until(&mut state, deadline).timed_out() {
                    return !state.is_behind(sequence);
                }
            }
            true
        })
    }
}

/// A transaction that is about to be applied. Dropped, it was not.
pub(super) struct Announced {
    queues: Vec<Arc<Queue>>,
    door: Door,
}

impl Announced {
    /// It was.
    pub(super) fn publish(self, sequence: u64, changes: Vec<Change>) {
        let weight = |change: &Change| 1 + change.gone.len() + change.came.len();
        let weight = changes.iter().map(weight).sum::<usize>();
        let committed = Committed { sequence, door: self.door, changes };
        self.push(sequence, weight, &News::Committed(Arc::new(committed)));
    }

    /// It was, and changed more than can be told.
    pub(super) fn publish_everything(self, sequence: u64) {
        self.push(sequence, BOUND + 1, &News::Everything);
    }

    fn push(mut self, sequence: u64, weight: usize, news: &News) {
        for queue in std::mem::take(&mut self.queues) {
            let state = &mut *queue.state.lock();
            state.weight += weight;
            if state.weight > BOUND {
                // Who waits for any of them waits for this.
                let first = state.news.front().map_or(sequence, |(first, _)| *first);
                queue.pending.fetch_sub(state.news.len() as u64, Ordering::AcqRel);
                state.news.clear();
                state.weight = BOUND;
                state.news.push_back((first, News::Everything));
            } else {
                state.news.push_back((sequence, news.clone()));
            }
            queue.changed.notify_all();
        }
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        for queue in &self.queues {
            queue.pending.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// What one subscriber hears. Ends when it is dropped.
#[derive(Debug)]
pub struct Subscription {
    queue: Arc<Queue>,
    changes: Arc<Changes>,
}

impl Subscription {
    /// Waits for the next news; `None` when the subscription was closed. To ask for more is to say that one has dealt with what
    /// came before.
    pub fn next(&self) -> Option<News> {
        let Queue { state, changed, pending, .. } = &*self.queue;
        let mut state = state.lock();
        if state.working.take().is_some() {
            pending.fetch_sub(1, Ordering::AcqRel);
            changed.notify_all();
        }
        loop {
            if state.closed {
                return None;
            }
            if let Some((sequence, news)) = state.news.pop_front() {
                state.working = Some(sequence);
                state.weight -= match &news {
                    News::Everything => state.weight,
                    News::Committed(committed) => {
                        committed.changes.iter().map(|change| 1 + change.gone.len() + change.came.len()).sum()
                    }
                };
                return Some(news);
            }
            changed.wait(&mut state);
        }
    }

    /// What closes it from another thread.
    pub fn closer(&self) -> Closer {
        Closer(Arc::clone(&self.queue))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.changes.change_queues(|queues| queues.retain(|queue| !Arc::ptr_eq(queue, &self.queue)));
        self.closer().close();
    }
}

/// Ends a subscription: nobody waits for it any more.
#[derive(Clone, Debug)]
pub struct Closer(Arc<Queue>);

impl Closer {
    /// Ends it.
    pub fn close(&self) {
        self.0.state.lock().closed = true;
        self.0.changed.notify_all();
    }
}

/// How long a change through the API waits for those who must hear of it.
const PATIENCE: Duration = Duration::from_secs(10);

impl Store {
    /// A door that nobody else has.
    pub fn new_door(&self) -> Door {
        self.changes.new_door()
    }

    /// Whether anything was changed through another door than a subscriber's own since the store was opened.
    pub fn is_changed_elsewhere(&self) -> bool {
        self.changes.were_elsewhere()
    }

    /// Every change from now on, but those that come through the door `except`.
    pub fn subscribe(&self, except: Option<Door>) -> Subscription {
        self.changes.subscribe(except)
    }

    /// Waits as the caller of a change through the API must: until it is durable, and until all who keep a copy of what it
    /// changed know.
    pub(super) fn acknowledge(&self, sequence: u64) -> Result<(), Error> {
        let durable = if self.options.durable { self.wait(sequence) } else { Ok(()) };
        if !self.changes.flush(sequence, PATIENCE) {
            log::warn!("a change is not known to all who were to hear of it after {} s", PATIENCE.as_secs());
        }
        durable
    }
}

/// The names in which two states of an entry differ, and one in which they do not.
pub(super) fn names(before: &[Link], after: &[Link]) -> (Vec<Name>, Vec<Name>, Option<Name>) {
    let name = |link: &Link| (link.parent, link.name.clone());
    if before == after {
        return (Vec::new(), Vec::new(), after.first().map(name));
    }
    let key = |link: &Link| (link.parent, link.name.clone());
    let (old, new): (HashSet<Name>, HashSet<Name>) =
        (before.iter().map(key).collect(), after.iter().map(key).collect());
    let gone = old.difference(&new).cloned().collect();
    let came = new.difference(&old).cloned().collect();
    (gone, came, after.iter().map(name).find(|name| old.contains(name)))
}

impl Change {
    /// Notes the names in records of their own that it gets (true) or loses, and one that it keeps.
    pub(super) fn note_further(&mut self, names: &BTreeMap<Link, bool>, kept: Option<Name>) {
        for (link, there) in names {
            let list = if *there { &mut self.came } else { &mut self.gone };
            list.push((link.parent, link.name.clone()));
        }
        if self.stays.is_none() && !self.removed {
            self.stays = kept;
        }
    }
}

/// What a transaction makes of an entry that was `before` and will be `after`.
pub(super) fn change(
    entry: EntryId,
    before: Option<&NodeState>,
    after: &NodeState,
    removed: bool,
    value: bool,
) -> Change {
    let old = before.map_or(&[][..], |state| &state.links);
    let (gone, came, stays) = names(old, if removed { &[] } else { &after.links });
    Change {
        entry,
        kind: after.attributes.kind,
        made: before.is_none(),
        removed,
        value,
        size: (before.map_or(0, |state| state.size), after.size),
        expires: after.expires.map(|second| Time::new(second, 0)),
        gone,
        came,
        stays,
    }
}
