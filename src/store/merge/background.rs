//! The thread that merges: it looks now and then whether there is anything worth it.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Error, Merger};

/// How often it looks while the log grows, and while it does not.
const BUSY: Duration = Duration::from_millis(100);
const IDLE: Duration = Duration::from_secs(1);
/// How long it rests when the disk is too full to merge.
const REST: Duration = Duration::from_secs(60);

/// Merges while it lives.
pub(in crate::store) struct Background {
    merger: Arc<Merger>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Without a thread if `on` is false.
    pub(in crate::store) fn new(merger: Arc<Merger>, on: bool) -> io::Result<Background> {
        let run = |merger: Arc<Merger>| {
            std::thread::Builder::new().name("caskfs-merge".into()).spawn(move || merge_when_due(&merger))
        };
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

/// So that the next start is fast. Without its hints the store is as good.
fn write_hints(merger: &Merger) {
    loop {
        match merger.log.write_hint() {
            Ok(true) if !merger.pause(Duration::ZERO) => {}
            Ok(_) => return,
            Err(error) => {
                log::warn!("{error}: the next start takes longer");
                return;
            }
        }
    }
}

fn merge_when_due(merger: &Merger) {
    let (mut pause, mut seen) = (BUSY, 0);
    while !merger.pause(pause) {
        let written = merger.log.written();
        pause = if written == seen { IDLE } else { BUSY };
        seen = written;
        write_hints(merger);
        if !merger.options.merge.window.contains(merger.options.clock.now()) {
            continue;
        }
        match merger.merge_due() {
            // There may be more.
            Ok(true) => pause = Duration::ZERO,
            Ok(false) => {}
            Err(Error::Closing) => return,
            Err(Error::NoSpace) => {
                log::warn!("there is no room to merge: free some space on the disk of the store");
                pause = REST;
            }
            Err(error) => {
                log::error!("merging stops: {error}");
                return;
            }
        }
    }
}
