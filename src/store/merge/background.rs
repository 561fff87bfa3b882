//! The thread that merges: it looks now and then whether there is anything worth it.
//!
//! What fails is tried again later, and later each time; that it does not get on is said once, and shown for as long as it
//! lasts.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{Crumbs, Error, LogError, Merger, Throttle};

/// How often it looks while the log grows, and while it does not.
const BUSY: Duration = Duration::from_millis(100);
const IDLE: Duration = Duration::from_secs(1);
/// How long it rests after something has failed: first, and at most.
const FIRST_REST: Duration = if cfg!(test) { Duration::from_millis(1) } else { Duration::from_secs(2) };
const LONGEST_REST: Duration = if cfg!(test) { Duration::from_millis(50) } else { Duration::from_secs(120) };

/// How often it looks for small extents to join, of values that nobody has changed since it looked before.
const JOIN: Duration = Duration::from_secs(60);

/// Merges while it lives.
pub(in crate::store) struct Background {
    merger: Arc<Merger>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Without a thread if `on` is false.
    pub(in crate::store) fn new(merger: Arc<Merger>, on: bool) -> io::Result<Background> {
        let run =
            |merger: Arc<Merger>| std::thread::Builder::new().name("caskfs-merge".into()).spawn(move || work(&merger));
        let thread = on.then(|| run(Arc::clone(&merger))).transpose()?;
        Ok(Background { merger, thread })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.merger.stop();
        if let Some(thread) = self.thread.take() {
            // A panic in it was reported on standard error by the runtime.
            let _ = thread.join();
        }
    }
}

/// How long to leave alone what has failed.
struct Backoff {
    what: &'static str,
    rest: Duration,
    /// How long it is still left alone.
    left: Duration,
}

impl Backoff {
    fn new(what: &'static str) -> Backoff {
        Backoff { what, rest: FIRST_REST, left: Duration::ZERO }
    }

    /// So much time has passed. Whether it is due.
    fn is_due(&mut self, passed: Duration) -> bool {
        self.left = self.left.saturating_sub(passed);
        self.left.is_zero()
    }

    fn succeeded(&mut self, merger: &Merger) {
        self.rest = FIRST_REST;
        if merger.trouble.lock().remove(self.what).is_some() {
            log::info!("{} goes on", self.what);
        }
    }

    /// Said once, until it succeeds.
    fn failed(&mut self, merger: &Merger, error: &Error) {
        let said = merger.trouble.lock().insert(self.what, error.to_string()).is_some();
        if !said {
            log::warn!("{} fails, and is tried again later: {error}", self.what);
        }
        self.left = self.rest;
        self.rest = (2 * self.rest).min(LONGEST_REST);
    }
}

/// So that the next start is fast. Without its hints the store is as good.
fn write_hints(merger: &Merger) -> Result<(), Error> {
    while merger.log.write_hint()? && !merger.pause(Duration::ZERO) {}
    Ok(())
}

/// Joins the small extents of values at rest.
fn join(merger: &Merger, rested: u64) -> Result<(), Error> {
    let mut throttle = Throttle::new(merger.options.merge.rate);
    match merger.join(&Crumbs::at_rest(rested), &mut throttle, &mut || true)? {
        0 => {}
        bytes => log::info!("joined the small pieces of values: {bytes} bytes"),
    }
    Ok(())
}

fn work(merger: &Merger) {
    let (mut pause, mut seen) = (BUSY, 0);
    let (mut looked, mut joined, mut rested) = (Instant::now(), 0, 0);
    let mut joins = Backoff::new("joining the small pieces of values");
    let (mut hints, mut merges) = (Backoff::new("writing hints"), Backoff::new("merging"));
    while !merger.pause(pause) {
        // After a failure nothing is written until the store is opened anew.
        if merger.log.failure().is_some() {
            return;
        }
        let passed = pause;
        let written = merger.log.written();
        pause = if written == seen { IDLE } else { BUSY };
        seen = written;
        if hints.is_due(passed) {
            match write_hints(merger) {
                Ok(()) => hints.succeeded(merger),
                Err(error) => hints.failed(merger, &error),
            }
        }
        let open = merger.options.merge.window.contains(merger.options.clock.now());
        if merges.is_due(passed) && open {
            match merger.merge_due() {
                Ok(more) => {
                    merges.succeeded(merger);
                    // There may be more.
                    pause = if more { Duration::ZERO } else { pause };
                }
                Err(Error::Closing | Error::Log(LogError::Failed(_))) => return,
                Err(error) => merges.failed(merger, &error),
            }
        }
        if open && !pause.is_zero() && looked.elapsed() >= JOIN && joined < written {
            match join(merger, rested) {
                Ok(()) => {
                    joins.succeeded(merger);
                    joined = rested;
                }
                Err(Error::Closing | Error::Log(LogError::Failed(_))) => return,
                Err(error) => joins.failed(merger, &error),
            }
            (looked, rested) = (Instant::now(), written);
        }
        // What rests is looked at when it is due.
        for waiting in [hints.left, merges.left] {
            pause = if waiting.is_zero() { pause } else { pause.min(waiting) };
        }
    }
}
