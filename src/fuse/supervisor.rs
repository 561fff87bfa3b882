//! How a mount ends, and how everyone who waits for that hears of it.
//!
//! One thread, the supervisor, hears what becomes of the event loops: they stopped because the mount is gone, one of them
//! died, or a handler panicked. It sees to it that the mount goes with the loops and the loops with the mount, and then
//! says once and for all how it ended.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::Error;
use super::mountpoint::Mountpoint;
use super::patience::within;

/// How long those who use the mount get to finish before it is taken from them.
const GRACE: Duration = Duration::from_secs(1);

/// How often an unmount is tried in that time.
const RETRY: Duration = Duration::from_millis(50);

/// How long a system call on the mount, or the end of the event loops, is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a mount ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was unmounted: by [`Unmounter::unmount`], by umount(8) or fusermount3, or by an abort through fusectl.
    Unmounted,
    /// A handler panicked, which is a fault in this program. What memory held may be wrong: neither commit it nor serve it
    /// again, but exit with a status of its own, and let the next start recover the store from its log.
    Panicked,
    /// The connection to the kernel failed, or the mount could not be taken away.
    Failed(String),
}

/// What becomes of the event loops.
#[derive(Debug)]
pub(super) enum Event {
    /// A handler panicked; its request was answered.
    Panicked,
    /// One event-loop thread ended.
    LoopEnded,
    /// All of them did, with this result.
    Finished(io::Result<()>),
}

/// The end of one mount, shared by all who bring it about or wait for it.
#[derive(Debug)]
pub(super) struct Ending {
    mountpoint: Mountpoint,
    ended: Mutex<Option<Ended>>,
    changed: Condvar,
}

impl Ending {
    /// The end, yet to come, of a mount.
    pub(super) fn new(mountpoint: Mountpoint) -> Arc<Ending> {
        Arc::new(Ending { mountpoint, ended: Mutex::new(None), changed: Condvar::new() })
    }

    /// Waits until the mount has ended.
    pub(super) fn wait(&self) -> Ended {
        let mut ended = self.ended.lock();
        loop {
            match &*ended {
                Some(ended) => return ended.clone(),
                None => self.changed.wait(&mut ended),
            }
        }
    }

    /// Waits for `patience` at most; whether it has ended.
    pub(super) fn wait_for(&self, patience: Duration) -> bool {
        let mut ended = self.ended.lock();
        self.changed.wait_while_for(&mut ended, |ended| ended.is_none(), patience);
        ended.is_some()
    }

    /// It ended like this, unless it had already.
    fn settle(&self, how: Ended) {
        self.ended.lock().get_or_insert(how);
        self.changed.notify_all();
    }

    /// Hears out the event loops until the mount has ended. For a thread of its own.
    pub(super) fn supervise(&self, events: &Receiver<Event>) {
        let mut panicked = false;
        let result = loop {
            let event = if panicked { events.recv_timeout(PATIENCE) } else { events.recv().map_err(Into::into) };
            match event {
                Ok(Event::Finished(result)) => break result,
                Ok(Event::Panicked) => {
                    panicked = true;
                    self.sever();
                }
                // A loop ends when the connection does. If this one stands, the loop died of something else.
                Ok(Event::LoopEnded) if !panicked && self.mountpoint.is_connected() => {
                    log::error!("an event loop died; the mount ends");
                    panicked = true;
                    self.sever();
                }
                Ok(Event::LoopEnded) => {}
                // Users hold the connection open and it could not be cut: it ends with this process.
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break Ok(()),
            }
        };
        let how = match result {
            _ if panicked => Ended::Panicked,
            Ok(()) => Ended::Unmounted,
            Err(error) => Ended::Failed(format!("the connection to the kernel failed: {error}")),
        };
        if how != Ended::Unmounted {
            self.sever();
        }
        self.mountpoint.clear_if_dead(PATIENCE);
        self.settle(how);
    }

    fn sever(&self) {
        if let Err(error) = self.mountpoint.sever() {
            log::error!("{error}");
        }
    }
}

/// Ends a mount, from any thread but one that serves its requests. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Unmounter(Arc<Ending>);

impl Unmounter {
    pub(super) fn new(ending: Arc<Ending>) -> Unmounter {
        Unmounter(ending)
    }

    /// Unmounts, and returns when the mount has ended; at once if it already has.
    ///
    /// Whoever uses the mount gets a second to finish. Then what they wrote to mappings is fetched, the mount is taken out
    /// of the tree, and the connection is cut: their next call on it fails.
    ///
    /// # Errors
    /// If the mount could not be taken away. It has ended all the same, as [`Ended::Failed`]: the process may exit, and
    /// leaves a dead mount behind.
    pub fn unmount(&self) -> Result<(), Error> {
        let Unmounter(ending) = self;
        let outcome = if self.unmount_gently() { Ok(()) } else { self.unmount_forcibly() };
        match &outcome {
            // A connection that others still hold, in another mount namespace say, ends with this process.
            Ok(()) => ending.settle(Ended::Unmounted),
            Err(error) => ending.settle(Ended::Failed(error.to_string())),
        }
        outcome
    }

    /// Tries to unmount until nobody uses the mount any more. `false`: someone does, or the daemon is stuck.
    fn unmount_gently(&self) -> bool {
        let Unmounter(ending) = self;
        let deadline = Instant::now() + GRACE;
        while !ending.wait_for(Duration::ZERO) && ending.mountpoint.is_connected() {
            let mountpoint = ending.mountpoint.clone();
            match within(PATIENCE, move || mountpoint.unmount()) {
                Some(Ok(())) => break,
                Some(Err(error)) if Instant::now() >= deadline => {
                    log::warn!("{error}; cutting off whoever uses it");
                    return false;
                }
                Some(Err(_)) => thread::sleep(RETRY),
                None => {
                    log::warn!("{} does not answer; cutting it off", ending.mountpoint.path().display());
                    return false;
                }
            }
        }
        // It is out of this tree, but another mount namespace or a bind mount may hold on to it.
        ending.wait_for(GRACE)
    }

    fn unmount_forcibly(&self) -> Result<(), Error> {
        let Unmounter(ending) = self;
        let mountpoint = ending.mountpoint.clone();
        if within(PATIENCE, move || mountpoint.write_back()).is_none() {
            log::warn!("the mappings of {} could not be written back", ending.mountpoint.path().display());
        }
        ending.mountpoint.sever()?;
        // If the connection still stands, others hold it where this process cannot reach, and there is nothing to wait for.
        if !ending.mountpoint.is_connected() {
            ending.wait_for(PATIENCE);
        }
        Ok(())
    }
}
