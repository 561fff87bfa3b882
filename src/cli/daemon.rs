//! The process that serves a mount.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use super::arguments::MountArguments;
use super::control::Server;
use super::exit::{FAULT, Failure, OTHER};
use super::expiring::Expiring;
use super::log_file::LogFile;
use super::signals::Signals;
use super::store_access::open_alone;
use super::{logger, process};
use crate::fs::{Filesystem, FilesystemOptions};
use crate::fuse::{self, Ended, Mount, MountOptions};
use crate::store::Options;

/// Mounts, serves, and returns when the mount has ended.
pub(super) fn run(arguments: &MountArguments) -> Result<(), Failure> {
    process::begin();
    process::check_file_size(arguments.segment_size)?;
    let signals = Signals::start()?;
    let sync = arguments.flags.sync_mode(arguments.sync.into())?;
    let options = MountOptions {
        mountpoint: arguments.mountpoint.clone(),
        store: arguments.store.clone(),
        source: arguments.fsname.clone(),
        read_only: arguments.read_only,
        allow_other: arguments.allow_other,
        access_times: arguments.atime.into(),
        low_latency: arguments.low_latency,
        flags: arguments.flags.of_mount(arguments),
        ..MountOptions::default()
    };
    // Before a store is made: a mount that is refused changes nothing.
    let checked = fuse::check(&options)?;
    let store_options = Options {
        create: !arguments.read_only,
        read_only: arguments.read_only,
        segment_size: arguments.segment_size,
        memory_limit: arguments.memory_limit,
        strict: arguments.strict,
        merge: arguments.merge.policy(),
        ..Options::default()
    };
    let directory = checked.store().to_owned();
    let store = Arc::new(open_alone(&directory, &store_options)?);
    let filesystem = Filesystem::new(
        Arc::clone(&store),
        FilesystemOptions {
            sync,
            uid: arguments.uid,
            gid: arguments.gid,
            umask: arguments.umask.unwrap_or(0),
            access_times: arguments.atime.into(),
            no_directory_access_times: arguments.nodiratime,
            ..FilesystemOptions::default()
        },
    );
    tell_of_strangers(&directory);
    let log_file = match &arguments.log_file {
        Some(path) => LogFile::at(path)?,
        None if arguments.read_only => None,
        None => LogFile::in_store(&directory)?,
    };
    let log_file = log_file.map(Arc::new);
    logger::limit(log_file.clone());
    signals.mounting(log_file.clone());
    let mountpoint = checked.path().to_owned();
    let mount = Mount::on(checked, Arc::clone(&filesystem), &options)?;
    // Readers share the lock, so that they need no daemon.
    let server = match arguments.read_only {
        true => None,
        false => Server::start(Arc::clone(&store), &directory, &mountpoint)
            // The file system of the store may know no sockets.
            .inspect_err(|failure| {
                log::warn!(
                    "no control socket, so that no command reaches the store while it is mounted: {}",
                    failure.message
                );
            })
            .ok(),
    };
    let expiring = match arguments.read_only {
        true => None,
        false => Some(Expiring::start(Arc::clone(&store))?),
    };
    process::leave_directory()?;
    match arguments.announce {
        true => process::detach(log_file.as_deref())?,
        false => log::info!("{} is mounted at {}", directory.display(), mountpoint.display()),
    }
    signals.mounted(Arc::clone(&filesystem), mount.unmounter());

    let ended = mount.wait();
    // Whoever has asked for a merge is told.
    store.stop_merging();
    drop(server);
    drop(expiring);
    signals.ended();
    // Whatever is returned, the store is closed then: nobody else holds it.
    match ended {
        Ended::Unmounted => Ok(filesystem.sync_all()?),
        // What memory holds may be wrong: the log is right, and the next start reads that.
        Ended::Panicked => {
            Err(Failure::new(FAULT, "a fault in caskfs stopped the mount; nothing acknowledged is lost"))
        }
        Ended::Failed(reason) => {
            filesystem.sync_all()?;
            Err(Failure::new(OTHER, reason))
        }
    }
}

/// Says so if the store directory is another user's, who then can change every key, past all permissions, and lead the daemon
/// to files that only it may open.
fn tell_of_strangers(directory: &Path) {
    let Ok(metadata) = directory.metadata() else { return };
    let (owner, user) = (metadata.uid(), nix::unistd::geteuid().as_raw());
    if owner != user && owner != 0 {
        log::warn!(
            "the store {} belongs to user {owner}, who so has all its keys, and decides what this daemon of user {user} \
             reads and writes there",
            directory.display()
        );
    }
}
