//! The process that serves a mount.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::arguments::MountArguments;
use super::control::Server;
use super::exit::{FAULT, Failure, OTHER};
use super::expiring::Expiring;
use super::mount::READY;
use super::store_access::open_alone;
use crate::fs::{Filesystem, FilesystemOptions};
use crate::fuse::{self, Ended, Mount, MountOptions};
use crate::store::Options;

/// The daemon's log in the store directory.
const LOG_FILE: &str = "daemon.log";

/// Mounts, serves, and returns when the mount has ended.
pub(super) fn run(arguments: &MountArguments) -> Result<(), Failure> {
    let options = MountOptions {
        mountpoint: arguments.mountpoint.clone(),
        store: arguments.store.clone(),
        source: arguments.fsname.clone(),
        read_only: arguments.read_only,
        allow_other: arguments.allow_other,
        access_times: arguments.atime.into(),
        low_latency: arguments.low_latency,
        ..MountOptions::default()
    };
    // Before a store is made: a mount that is refused changes nothing.
    fuse::check(&options)?;
    raise_file_limit();
    let store_options = Options {
        create: !arguments.read_only,
        read_only: arguments.read_only,
        segment_size: arguments.segment_size,
        memory_limit: arguments.memory_limit,
        strict: arguments.strict,
        merge: arguments.merge.policy(),
        ..Options::default()
    };
    let store = Arc::new(open_alone(&arguments.store, &store_options)?);
    let filesystem = Filesystem::new(
        Arc::clone(&store),
        FilesystemOptions {
            sync: arguments.sync.into(),
            uid: arguments.uid,
            gid: arguments.gid,
            umask: arguments.umask.unwrap_or(0),
            access_times: arguments.atime.into(),
            no_directory_access_times: arguments.nodiratime,
            ..FilesystemOptions::default()
        },
    );
    let directory = arguments.store.canonicalize()?;
    let log_file = open_log(arguments, &directory);
    let mount = Mount::new(Arc::clone(&filesystem), &options)?;
    let mountpoint = arguments.mountpoint.canonicalize().unwrap_or_else(|_| arguments.mountpoint.clone());
    // Readers share the lock, so that they need no daemon.
    let server = match arguments.read_only {
        true => None,
        false => Server::start(Arc::clone(&store), mount.notifier(), &directory, &mountpoint)
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
        false => Some(Expiring::start(Arc::clone(&store), mount.notifier())?),
    };
    unmount_on_signals(&filesystem, &mount)?;
    match arguments.announce {
        true => detach(log_file)?,
        false => log::info!("{} is mounted at {}", directory.display(), mountpoint.display()),
    }

    let ended = mount.wait();
    // Whoever has asked for a merge is told.
    store.stop_merging();
    drop(server);
    drop(expiring);
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

/// SIGTERM and SIGINT sync and unmount.
fn unmount_on_signals(filesystem: &Arc<Filesystem>, mount: &Mount) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let (filesystem, unmounter) = (Arc::clone(filesystem), mount.unmounter());
    let wait = move || {
        for signal in signals.forever() {
            log::info!("signal {signal}: unmounting");
            // First what is certain to succeed: the unmount may have to wait for those who use the mount.
            if let Err(error) = filesystem.sync_all() {
                log::error!("syncing before the unmount: {error}");
            }
            if let Err(error) = unmounter.unmount() {
                log::error!("{error}");
            }
        }
    };
    std::thread::Builder::new().name("caskfs-signals".into()).spawn(wait)?;
    Ok(())
}

/// Tells the command that started this process that the mount answers, and lets go of its terminal.
fn detach(log_file: Option<File>) -> Result<(), Failure> {
    let failed = |error: nix::Error| Failure::from(std::io::Error::from(error));
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    // A session of its own: the terminal's signals are not for the daemon.
    nix::unistd::setsid().map_err(failed)?;
    nix::unistd::chdir("/").map_err(failed)?;
    let mut output = std::io::stdout();
    writeln!(output, "{READY}")?;
    output.flush()?;
    nix::unistd::dup2_stdout(&null).map_err(failed)?;
    nix::unistd::dup2_stderr(log_file.as_ref().unwrap_or(&null)).map_err(failed)
}

fn open_log(arguments: &MountArguments, directory: &Path) -> Option<File> {
    let default = || (!arguments.read_only).then(|| directory.join(LOG_FILE));
    let path: PathBuf = arguments.log_file.clone().or_else(default)?;
    let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
    opened.inspect_err(|error| log::warn!("there will be no log: {}: {error}", path.display())).ok()
}

/// Every segment is an open file.
fn raise_file_limit() {
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        log::warn!("the limit of open files stays as it is: {error}");
    }
}
