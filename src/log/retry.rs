//! Asking a medium again for what it has failed to give: many failures pass by themselves.
//!
//! A process may be short of descriptors or memory for a moment; a disk behind a network, or one that is busy with
//! itself, may fail to read for a moment. Only what changes nothing is tried again here: reads, and opening files.

use std::io;
use std::time::Duration;

use crate::medium::{self, Trouble};

/// How long to wait before each attempt after the first, where a device has failed.
const PAUSES: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(40)];

/// Whether the process, and not the medium, was short of something: it passes, and says nothing of the medium.
pub(super) fn is_short_of_resources(error: &io::Error) -> bool {
    Trouble::of(error) == Trouble::Passing
}

/// Whether another attempt may end otherwise: a file that is missing, or shorter than was thought, stays so.
fn may_pass(error: &io::Error) -> bool {
    is_short_of_resources(error) || matches!(error.raw_os_error(), Some(libc::EIO | libc::ETIMEDOUT | libc::ENOLINK))
}

/// The result of the first attempt that succeeds, or of the last one.
pub(super) fn retried<T>(mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut round = 0;
    loop {
        match medium::retry(&mut attempt) {
            Err(error) if may_pass(&error) && rest_before(round) => round += 1,
            other => return other,
        }
    }
}

/// Waits before the `round`-th attempt to read what has failed. False if there is to be none.
pub(super) fn rest_before(round: usize) -> bool {
    let pause = PAUSES.get(round);
    // A simulated disk counts accesses, and not time.
    pause.filter(|_| !cfg!(test)).into_iter().for_each(|pause| std::thread::sleep(*pause));
    pause.is_some()
}
