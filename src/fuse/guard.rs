//! What keeps a fault in this program from becoming a mount that half works.
//!
//! A handler that panics may leave `fs` with an invariant broken, and its locks do not remember that. So its request gets
//! `EIO`, no further handler runs, and the mount is ended. An event-loop thread that ends for any other reason while the
//! mount lives is reported too: fuser itself would go on with one loop fewer.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

use fuser::Errno;

use super::awake::Awake;
use super::reply::Refuse;
use super::supervisor::Event;

thread_local! {
    /// Tells of the end of this event-loop thread when the thread's own variables are dropped.
    static LOOP_END: RefCell<Option<LoopEnd>> = const { RefCell::new(None) };
}

struct LoopEnd(Sender<Event>);

impl Drop for LoopEnd {
    fn drop(&mut self) {
        // The supervisor is gone once the session has ended.
        let _ = self.0.send(Event::LoopEnded);
    }
}

/// Runs every handler.
#[derive(Debug)]
pub(super) struct Guard {
    events: Sender<Event>,
    panicked: AtomicBool,
    /// Is told of each request.
    awake: Option<Awake>,
}

impl Guard {
    /// A guard that reports to whoever receives `events`.
    pub(super) fn new(events: Sender<Event>, awake: Option<Awake>) -> Guard {
        Guard { events, panicked: AtomicBool::new(false), awake }
    }

    /// Runs `handler`, which answers through `reply`. If it panics the reply, dropped in the unwinding, answers `EIO`.
    pub(super) fn run<R: Refuse>(&self, operation: &'static str, reply: R, handler: impl FnOnce(R)) {
        self.watch_thread();
        if let Some(awake) = &self.awake {
            awake.request();
        }
        self.run_apart(operation, reply, handler);
    }

    /// The same on a thread that is no event loop: its end is nothing to tell.
    pub(super) fn run_apart<R: Refuse>(&self, operation: &'static str, reply: R, handler: impl FnOnce(R)) {
        if self.panicked.load(Ordering::Acquire) {
            return reply.refuse(Errno::EIO);
        }
        if catch_unwind(AssertUnwindSafe(|| handler(reply))).is_err() {
            self.panicked.store(true, Ordering::Release);
            log::error!("{operation}: the handler panicked; this is a fault in caskfs, and the mount ends");
            let _ = self.events.send(Event::Panicked);
        }
    }

    fn watch_thread(&self) {
        LOOP_END.with_borrow_mut(|end| {
            end.get_or_insert_with(|| LoopEnd(self.events.clone()));
        });
    }
}
