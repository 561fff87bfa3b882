//! `caskfs umount`: unmount, and wait until the daemon has ended.

use std::path::Path;

use super::arguments::UmountArguments;
use super::control::Connection;
use super::exit::{BUSY, Failure, NOT_MOUNTED};
use super::output;
use crate::fuse::{self, MountState};

pub(super) fn run(arguments: &UmountArguments) -> Result<(), Failure> {
    let path = &arguments.mountpoint;
    let Some(mounted) = fuse::mounted_at(path)? else {
        return Err(Failure::new(NOT_MOUNTED, format!("{}: no caskfs store is mounted there", path.display())));
    };
    if mounted.state == MountState::Dead {
        fuse::unmount_at(path, true)?;
        output::say(format_args!("the daemon of {} had died; its mount is cleared away", path.display()));
        return Ok(());
    }
    // The connection ends with the daemon, whatever comes before that.
    let daemon = Connection::open(Path::new(&mounted.source));
    match fuse::unmount_at(path, arguments.lazy) {
        Err(fuse::Error::Unmount { source, .. }) if source.raw_os_error() == Some(libc::EBUSY) => {
            let message =
                format!("{} is in use (`fuser -vm` shows by whom); --lazy unmounts all the same", path.display());
            return Err(Failure::new(BUSY, message));
        }
        other => other?,
    }
    // After a lazy unmount the daemon serves whoever still has files open.
    if let Some(daemon) = daemon.filter(|_| !arguments.lazy) {
        daemon.wait_for_end();
    }
    Ok(())
}
