//! The daemon's part in expiry: a thread that removes, at its second, what nobody looks at.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use super::exit::Failure;
use crate::store::Store;

/// The longest time that it sleeps, should the clock be set forward; and how long it rests when nothing can be removed.
const INTERVAL: Duration = Duration::from_secs(1);

/// Expires keys while it lives.
pub(super) struct Expiring {
    store: Arc<Store>,
    thread: Option<JoinHandle<()>>,
}

impl Expiring {
    pub(super) fn start(store: Arc<Store>) -> Result<Expiring, Failure> {
        let news = store.watch_expiry();
        let run = {
            let store = Arc::clone(&store);
            move || run(&store, &news)
        };
        let thread = std::thread::Builder::new().name("caskfs-expire".into()).spawn(run)?;
        Ok(Expiring { store, thread: Some(thread) })
    }
}

impl Drop for Expiring {
    fn drop(&mut self) {
        self.store.unwatch_expiry();
        if let Some(thread) = self.thread.take() {
            // A panic in it was reported on standard error by the runtime.
            let _ = thread.join();
        }
    }
}

fn run(store: &Store, news: &Receiver<()>) {
    let mut failed = false;
    loop {
        // What is due is hidden for now if the clock is not believed: there is nothing to be done at once.
        let rests = failed || !store.clock_is_believed();
        let next = store.next_expiry().filter(|_| !rests).map(SystemTime::from);
        let left = next.map(|next| next.duration_since(SystemTime::now()).unwrap_or_default());
        match news.recv_timeout(left.unwrap_or(INTERVAL).min(INTERVAL)) {
            Ok(()) => {}
            Err(RecvTimeoutError::Timeout) => {
                let expired = store.expire_due();
                if let (Err(error), false) = (&expired, failed) {
                    log::warn!("expired keys are hidden, but cannot be removed: {error}");
                }
                failed = expired.is_err();
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
