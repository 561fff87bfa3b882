//! System calls that may hang, waited for only so long.
//!
//! A call on a mount waits for the mount's daemon. If that is stopped, or stuck on a dead disk, the call never returns,
//! and neither a mount command nor an unmount may hang along with it.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// What `work` returns, or `None` if it takes longer than `patience`; it is then left to itself on its own thread.
pub(super) fn within<T: Send + 'static>(patience: Duration, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, outcome) = mpsc::channel();
    let thread = thread::Builder::new().name("caskfs-patience".into()).spawn(move || {
        // Whoever waited may have gone.
        let _ = sender.send(work());
    });
    thread.ok().and_then(|_| outcome.recv_timeout(patience).ok())
}
