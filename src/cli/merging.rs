//! The daemon's merging: a thread that looks once a second whether there is anything worth it.

use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use super::exit::Failure;
use crate::store::{Error, Store};

/// How often it looks.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long it rests when the disk is too full to merge.
const REST: Duration = Duration::from_secs(60);

/// Merges while it lives.
pub(super) struct Merging {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Merging {
    pub(super) fn start(store: Arc<Store>) -> Result<Merging, Failure> {
        let (stop, stopped) = mpsc::channel();
        let run = move || {
            let mut pause = INTERVAL;
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                pause = match store.merge() {
                    // There may be more.
                    Ok(true) => Duration::ZERO,
                    Ok(false) => INTERVAL,
                    Err(Error::NoSpace) => {
                        log::warn!("there is no room to merge: free some space on the disk of the store");
                        REST
                    }
                    Err(error) => {
                        log::error!("merging stops: {error}");
                        return;
                    }
                };
            }
        };
        let thread = std::thread::Builder::new().name("caskfs-merge".into()).spawn(run)?;
        Ok(Merging { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Merging {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in it was reported on standard error by the runtime.
            let _ = thread.join();
        }
    }
}
