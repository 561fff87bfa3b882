//! What a signal does to the daemon.
//!
//! | signal | what it does |
//! |---|---|
//! | TERM, INT, QUIT | syncs, unmounts and ends with exit code 0 |
//! | HUP | opens the log file anew, after logrotate has moved it |
//! | USR1, USR2, ALRM, VTALRM, PROF, PIPE, IO, PWR, STKFLT, SYS, TRAP, XCPU, XFSZ, all real-time signals | nothing |
//! | STOP, TSTP, TTIN, TTOU; CONT | stop it; let it go on |
//! | KILL; ABRT, FPE, ILL, and BUS, SEGV by a fault | end it at once; the mount is dead until the next one takes it over |
//! | BUS, SEGV by another process | nothing, the first time: Rust's handler waits for the fault to come again |
//!
//! All but the last two lines are blocked in every thread, and taken by a thread that waits for them: no system call of
//! another is interrupted (fallocate(2) would fail).

use std::sync::Arc;
use std::thread;

use nix::sys::signal::{SigSet, Signal};
use parking_lot::Mutex;

use super::exit::{Failure, OTHER};
use super::log_file::LogFile;
use super::output::say;
use crate::fs::Filesystem;
use crate::fuse::Unmounter;

/// Those that nobody waits for.
const LEFT: [Signal; 13] = [
    Signal::SIGKILL,
    Signal::SIGSTOP,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGCONT,
    Signal::SIGCHLD,
    Signal::SIGABRT,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGSEGV,
    Signal::SIGURG,
];

/// The signals of this process, which are waited for from now on.
#[derive(Clone)]
pub(super) struct Signals(Arc<Mutex<State>>);

/// How far the mount is.
enum Stage {
    /// Nothing is mounted yet: whoever wants an end has it at once.
    Starting,
    /// The mount is being made: an end waits for it.
    Mounting,
    Mounted(Arc<Filesystem>, Unmounter),
    /// The mount has ended.
    Ended,
}

struct State {
    stage: Stage,
    /// An end was asked for.
    asked: bool,
    log_file: Option<Arc<LogFile>>,
}

impl Signals {
    /// Begins to wait for signals. Before any other thread is started: each inherits that they are blocked.
    pub(super) fn start() -> Result<Signals, Failure> {
        let mut waited_for = SigSet::all();
        LEFT.into_iter().for_each(|signal| waited_for.remove(signal));
        waited_for.thread_block().map_err(std::io::Error::from)?;
        let signals = Signals(Arc::new(Mutex::new(State { stage: Stage::Starting, asked: false, log_file: None })));
        let waiting = signals.clone();
        thread::Builder::new().name("caskfs-signals".into()).spawn(move || {
            loop {
                // A real-time signal has no name here.
                match waited_for.wait() {
                    Ok(Signal::SIGTERM) => waiting.end(Signal::SIGTERM),
                    Ok(Signal::SIGINT) => waiting.end(Signal::SIGINT),
                    Ok(Signal::SIGQUIT) => waiting.end(Signal::SIGQUIT),
                    Ok(Signal::SIGHUP) => waiting.reopen_log(),
                    Ok(signal) => log::debug!("{signal} does nothing"),
                    Err(_) => {}
                }
            }
        })?;
        Ok(signals)
    }

    /// The mount is about to be made, and this is where the log goes.
    pub(super) fn mounting(&self, log_file: Option<Arc<LogFile>>) {
        let mut state = self.0.lock();
        state.stage = Stage::Mounting;
        state.log_file = log_file;
    }

    /// The mount answers, and this is what ends it.
    pub(super) fn mounted(&self, filesystem: Arc<Filesystem>, unmounter: Unmounter) {
        let mut state = self.0.lock();
        if state.asked {
            unmount(&filesystem, &unmounter);
        }
        state.stage = Stage::Mounted(filesystem, unmounter);
    }

    /// The mount has ended: once this returns, nothing of the store is held here any more.
    pub(super) fn ended(&self) {
        self.0.lock().stage = Stage::Ended;
    }

    /// Holds the lock until the mount has ended, so that whoever waits for that in [`ended`](Self::ended) waits for this too.
    fn end(&self, signal: Signal) {
        let mut state = self.0.lock();
        state.asked = true;
        match &state.stage {
            Stage::Starting => {
                say(format_args!("{signal} came before the store was mounted"));
                std::process::exit(i32::from(OTHER));
            }
            Stage::Mounting | Stage::Ended => {}
            Stage::Mounted(filesystem, unmounter) => {
                log::info!("{signal}: unmounting");
                unmount(filesystem, unmounter);
            }
        }
    }

    fn reopen_log(&self) {
        let log_file = self.0.lock().log_file.clone();
        if let Some(Err(error)) = log_file.map(|log_file| log_file.reopen()) {
            log::error!("the log file cannot be opened anew, and stays the one before: {error}");
        }
    }
}

fn unmount(filesystem: &Filesystem, unmounter: &Unmounter) {
    // First what is certain to succeed: the unmount may have to wait for those who use the mount.
    if let Err(error) = filesystem.sync_all() {
        log::error!("syncing before the unmount: {error}");
    }
    if let Err(error) = unmounter.unmount() {
        log::error!("{error}");
    }
}
