//! Group commit: one fsync for all who wait.
//!
//! Whoever can wait calls [`GroupCommit::wait`]: the first becomes the leader and syncs, the others are served by its
//! sync or the next. Whoever cannot (an event loop) leaves a callback; a thread syncs for all callbacks at once, and
//! while it does the next group forms. The same thread sees to it that nothing stays off the medium for longer than
//! a second.

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
    stop: bool,
}

struct Shared {
    log: Arc<Log>,
    queue: Mutex<Queue>,
    wake: Condvar,
}

/// Shares each fsync of the log among all who wait for one.
pub(super) struct GroupCommit {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl GroupCommit {
    /// Without a thread, callbacks are served by whoever leaves them.
    pub(super) fn new(log: Arc<Log>, background: bool) -> std::io::Result<GroupCommit> {
        let shared = Arc::new(Shared { log, queue: Mutex::default(), wake: Condvar::new() });
        let run =
            |shared: Arc<Shared>| std::thread::Builder::new().name("caskfs-sync".into()).spawn(move || shared.run());
        let thread = background.then(|| run(Arc::clone(&shared))).transpose()?;
        Ok(GroupCommit { shared, thread })
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
        if self.thread.is_none() {
            return done(self.wait(sequence));
        }
        self.shared.log.join_sync();
        self.shared.queue.lock().waiting.push((sequence, done));
        self.shared.wake.notify_one();
    }
}

impl Drop for GroupCommit {
    fn drop(&mut self) {
        self.shared.queue.lock().stop = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
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
                if queue.waiting.is_empty() && !queue.stop {
                    self.wake.wait_for(&mut queue, INTERVAL);
                }
                (queue.waiting.iter().map(|(sequence, _)| *sequence).max(), queue.stop)
            };
            let wanted = last.unwrap_or(0).max(self.log.written());
            // A failure is latched in the log, so that each waiter below meets it again.
            let reached = self.log.sync_joined(wanted).map_or(u64::MAX, |reached| reached.max(wanted));
            for (sequence, done) in self.served(reached) {
                done(self.log.sync_joined(sequence).map(drop).map_err(Error::from));
            }
            // A full disk is met again, and reported, by the writer that needs the segment.
            let _ = self.log.prepare();
            self.log.keep_reserve();
            self.log.clear_removed_snapshots();
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
}
