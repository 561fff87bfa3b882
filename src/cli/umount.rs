//! `caskfs umount`: unmount, and wait until the daemon has ended.

use std::time::{Duration, Instant};

use super::arguments::UmountArguments;
use super::exit::{BUSY, Failure, HELD, NOT_MOUNTED, SILENT};
use super::serving::{self, Process, elsewhere};
use crate::fuse::{self, MountState, Mounted};

/// How long a daemon gets before it is looked whether something else keeps the filesystem mounted.
const MOMENT: Duration = Duration::from_secs(2);

/// How long something else may do so: a namespace that is just being made or taken down, say.
const HOLD: Duration = Duration::from_secs(10);

/// How long it gets to write what is staged, and to end.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn run(arguments: &UmountArguments) -> Result<(), Failure> {
    let path = &arguments.mountpoint;
    let Some(mounted) = fuse::mounted_at(path)? else {
        return Err(Failure::new(NOT_MOUNTED, format!("{}: no caskfs store is mounted there", path.display())));
    };
    if mounted.state == MountState::Dead {
        mounted.unmount(true)?;
        super::output::say(format_args!("the daemon of {} had died; its mount is cleared away", path.display()));
        return Ok(());
    }
    let daemon = serving::of_mount(&mounted);
    if mounted.state == MountState::Silent && !arguments.lazy {
        // It would be in use by this process, whose question is not answered.
        let why = serving::why_silent(daemon.as_ref());
        let message = format!("the daemon of {} does not answer: {why}; --lazy unmounts all the same", path.display());
        return Err(Failure::new(SILENT, message));
    }
    match mounted.unmount(arguments.lazy) {
        Err(fuse::Error::Unmount { source, .. }) if source.raw_os_error() == Some(libc::EBUSY) => {
            let message =
                format!("{} is in use (`fuser -vm` shows by whom); --lazy unmounts all the same", path.display());
            return Err(Failure::new(BUSY, message));
        }
        other => other?,
    }
    // After a lazy unmount the daemon serves whoever still has files open.
    match daemon.filter(|_| !arguments.lazy) {
        Some(daemon) => wait(&mounted, &daemon),
        None => Ok(()),
    }
}

/// Waits until the daemon has ended, as long as that is to be expected.
fn wait(mounted: &Mounted, daemon: &Process) -> Result<(), Failure> {
    if daemon.wait(MOMENT) {
        return Ok(());
    }
    let begun = Instant::now();
    let mut places = elsewhere(mounted);
    while begun.elapsed() < if places.is_empty() { PATIENCE } else { HOLD } {
        if daemon.wait(MOMENT) {
            return Ok(());
        }
        places = elsewhere(mounted);
    }
    let why = match (places.as_slice(), daemon.is_stopped()) {
        ([], true) => format!("it is stopped: `kill -CONT {}` lets it go on", daemon.pid()),
        ([], false) => {
            "it still writes what was staged, or files are open in a mount that was taken away lazily".into()
        }
        (places, _) => format!("the filesystem is mounted on {} too", places.join(", ")),
    };
    let path = mounted.path.display();
    let message = format!(
        "{path} is unmounted, but {daemon} goes on: {why}; `kill {}` ends it, and whoever uses it",
        daemon.pid()
    );
    Err(Failure::new(HELD, message))
}
