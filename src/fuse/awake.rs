//! Keeping the CPUs awake while requests come.
//!
//! A CPU that sleeps takes tens of microseconds to wake, on a virtual machine more, and each request of one client wakes
//! another thread. Whoever holds `/dev/cpu_dma_latency` open with a 0 written to it forbids deep sleep (the kernel's
//! `Documentation/power/pm_qos_interface.rst`). That costs power, so that it is held only while requests come, and a moment
//! after.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// The kernel's file for it. Root alone may open it.
const DEVICE: &str = "/dev/cpu_dma_latency";

/// For how long after the last request the CPUs are kept awake, at least; at most twice that.
const MOMENT: Duration = Duration::from_millis(100);

/// Keeps the CPUs awake while it is told of requests.
#[derive(Debug)]
pub(super) struct Awake(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// A request has come since this was last looked at.
    busy: AtomicBool,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug)]
struct State {
    /// The thread waits for a request.
    asleep: bool,
    ended: bool,
}

impl Awake {
    /// Begins.
    ///
    /// # Errors
    /// Where the kernel has no such file, or this process may not open it.
    pub(super) fn new() -> io::Result<Awake> {
        // Tried now, so that whoever asks for it hears that it cannot be had.
        drop(hold()?);
        let state = Mutex::new(State { asleep: true, ended: false });
        let shared = Arc::new(Shared { busy: AtomicBool::new(false), state, wake: Condvar::new() });
        let own = Arc::clone(&shared);
        thread::Builder::new().name("caskfs-awake".into()).spawn(move || own.run())?;
        Ok(Awake(shared))
    }

    /// A request has come.
    pub(super) fn request(&self) {
        // Mostly it is set already, and then no other CPU's copy of it is disturbed.
        if self.0.busy.load(Ordering::Relaxed) || self.0.busy.swap(true, Ordering::AcqRel) {
            return;
        }
        if self.0.state.lock().asleep {
            self.0.wake.notify_one();
        }
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.0.state.lock().ended = true;
        self.0.wake.notify_one();
    }
}

impl Shared {
    fn run(&self) {
        let mut state = self.state.lock();
        while !state.ended {
            state.asleep = true;
            self.wake.wait_while(&mut state, |state| !self.busy.load(Ordering::Acquire) && !state.ended);
            state.asleep = false;
            // A passing want of descriptors makes this moment slow, and is no reason to end.
            let held = hold();
            while !state.ended && self.busy.swap(false, Ordering::AcqRel) {
                self.wake.wait_for(&mut state, MOMENT);
            }
            drop(held);
        }
    }
}

/// Forbids deep sleep for as long as the file is open.
fn hold() -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).open(DEVICE)?;
    file.write_all(&0_i32.to_ne_bytes())?;
    Ok(file)
}
