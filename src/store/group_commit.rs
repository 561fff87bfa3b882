//! Group commit: one fsync for all who wait.
//!
//! Whoever can wait calls [`GroupCommit::wait`]: the first becomes the leader and syncs, the others are served by its
//! sync or the next. Whoever cannot (an event loop) leaves a callback; a thread syncs for all callbacks at once, and
//! while it does the next group forms. The same thread sees to it that nothing stays off the medium for longer than
//! a second.
//!
//! A second thread keeps house: it prepares the next segment as soon as one was used, so that no writer makes one itself, and
//! looks after the reserve file.

use std::mem;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::error::Error;
use crate::log::Log;

/// The longest time that a change stays off the medium.
const INTERVAL: Duration = Duration::from_secs(1);

/// What to do once a sequence number is durable, or never will be.
pub type Callback = Box<dyn FnOnce(Result<(), Error>) + Send>;

#[derive(Default)]
struct Queue {
    waiting: Vec<(u64, Callback)>,
    /// A segment is full: it is to be sealed.
    full: bool,
    stop: bool,
}

struct Shared {
    log: Arc<Log>,
    queue: Mutex<Queue>,
    wake: Condvar,
    bell: Arc<Bell>,
}

/// Wakes the thread that keeps house.
#[derive(Default)]
struct Bell {
    state: Mutex<BellState>,
    rung: Condvar,
}

#[derive(Default)]
struct BellState {
    rung: bool,
    stop: bool,
}

impl Bell {
    fn ring(&self) {
        self.state.lock().rung = true;
        self.rung.notify_one();
    }

    /// Waits until it rings, or for so long. Returns whether it did, and whether it is over.
    fn wait(&self, time: Duration) -> (bool, bool) {
        let mut state = self.state.lock();
        if !state.rung && !state.stop {
            self.rung.wait_for(&mut state, time);
        }
        (mem::take(&mut state.rung), state.stop)
    }
}

/// Shares each fsync of the log among all who wait for one.
pub(super) struct GroupCommit {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl GroupCommit {
    /// Without threads, callbacks are served by whoever leaves them.
    pub(super) fn new(log: Arc<Log>, background: bool) -> std::io::Result<GroupCommit> {
        let bell = Arc::new(Bell::default());
        let shared = Arc::new(Shared { log, queue: Mutex::default(), wake: Condvar::new(), bell });
        let mut commits = GroupCommit { shared, threads: Vec::new() };
        if background {
            let bell = Arc::clone(&commits.shared.bell);
            commits.shared.log.when_rotated(Box::new(move || bell.ring()));
            commits.spawn("caskfs-sync", Shared::run)?;
            commits.spawn("caskfs-house", Shared::keep_house)?;
        }
        Ok(commits)
    }

    fn spawn(&mut self, name: &str, run: fn(&Shared)) -> std::io::Result<()> {
        let shared = Arc::clone(&self.shared);
        self.threads.push(std::thread::Builder::new().name(name.into()).spawn(move || run(&shared))?);
        Ok(())
    }

    /// Waits until `sequence` is durable.
    pub(super) fn wait(&self, sequence: u64) -> Result<(), Error> {
        Ok(self.shared.log.sync(sequence).map(drop)?)
    }

    /// Calls `done` once `sequence` is durable: now, if it is already.
    pub(super) fn when_durable(&self, sequence: u64, done: Callback) {
        if sequence <= self.shared.log.durable() {
            return done(Ok(()));
        }
        if self.threads.is_empty() {
            return done(self.wait(sequence));
        }
        self.shared.log.join_sync();
        self.shared.queue.lock().waiting.push((sequence, done));
        self.shared.wake.notify_one();
    }
}

impl Drop for GroupCommit {
    fn drop(&mut self) {
        self.shared.bell.state.lock().stop = true;
        self.shared.bell.rung.notify_one();
        self.shared.queue.lock().stop = true;
        self.shared.wake.notify_one();
        for thread in self.threads.drain(..) {
            // A panic in it was reported on standard error by the runtime.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn run(&self) {
        loop {
            let (last, stop) = {
                let mut queue = self.queue.lock();
                if queue.waiting.is_empty() && !queue.full && !queue.stop {
                    self.wake.wait_for(&mut queue, INTERVAL);
                }
                queue.full = false;
                (queue.waiting.iter().map(|(sequence, _)| *sequence).max(), queue.stop)
            };
            let wanted = last.unwrap_or(0).max(self.log.written());
            // A failure is latched in the log, so that each waiter below meets it again.
            let reached = self.log.sync_joined(wanted).map_or(u64::MAX, |reached| reached.max(wanted));
            for (sequence, done) in self.served(reached) {
                done(self.log.sync_joined(sequence).map(drop).map_err(Error::from));
            }
            if stop && self.queue.lock().waiting.is_empty() {
                return;
            }
        }
    }

    /// Takes those out of the queue who wait for nothing beyond `reached`. The others came while it was synced.
    fn served(&self, reached: u64) -> Vec<(u64, Callback)> {
        let mut queue = self.queue.lock();
        let (served, waiting) =
            mem::take(&mut queue.waiting).into_iter().partition(|(sequence, _)| *sequence <= reached);
        queue.waiting = waiting;
        served
    }

    fn keep_house(&self) {
        loop {
            let (rung, stop) = self.bell.wait(INTERVAL);
            if stop {
                return;
            }
            // A full disk is met again, and reported, by the writer that needs the segment.
            let _ = self.log.prepare();
            if rung {
                self.queue.lock().full = true;
                self.wake.notify_one();
            }
            self.log.keep_reserve();
            self.log.clear_removed_snapshots();
        }
    }
}
