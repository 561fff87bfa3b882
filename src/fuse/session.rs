//! A mount from its first check to its end.
//!
//! [`Mount::new`] returns when the mount is ready: the kernel's INIT was answered, and a request that no cache can answer
//! came through. Whatever fails on the way there leaves no mount behind.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use fuser::{Config, Session, SessionACL};
use nix::unistd::geteuid;

use super::adapter::Adapter;
use super::awake::Awake;
use super::kernel_mount::Made;
use super::mount_options::MountOptions;
use super::mountpoint::Mountpoint;
use super::mountpoint_check::CheckedMountpoint;
use super::notifications::Notifications;
use super::probe::{Probe, probe};
use super::service::Service;
use super::supervisor::{Ended, Ending, Event, Unmounter};
use super::teller::Teller;
use super::{Error, fusermount, kernel_mount, readahead};
use crate::fs::{Filesystem, Tree};

/// Event-loop threads if none are asked for.
const DEFAULT_THREADS: usize = 2;

/// How often snapshots are closed that nobody has used since the last time.
const IDLE: Duration = Duration::from_secs(30);

/// How long a mount gets to answer for the first time.
const PATIENCE: Duration = Duration::from_secs(10);

/// A store that is mounted and served by threads of this process. Dropping it unmounts.
///
/// ```no_run
/// use std::sync::Arc;
/// use caskfs::fs::{Filesystem, FilesystemOptions};
/// use caskfs::fuse::{Ended, Mount, MountOptions};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Arc::new(caskfs::Store::open("/srv/store", caskfs::Options::default())?);
/// let filesystem = Filesystem::new(store, FilesystemOptions::default());
/// let options = MountOptions { mountpoint: "/mnt".into(), store: "/srv/store".into(), ..MountOptions::default() };
/// let mount = Mount::new(filesystem.clone(), &options)?;
/// if mount.wait() == Ended::Unmounted {
///     filesystem.sync_all()?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Mount {
    ending: Arc<Ending>,
    /// Before the mount has ended nobody waits for it in vain.
    _teller: Teller,
}

impl Mount {
    /// Mounts `filesystem`, serves it on threads of its own, and returns once it answers.
    ///
    /// A dead mount that an earlier daemon left on the mountpoint is taken over, with a line in the log.
    ///
    /// # Errors
    /// One for each reason why the store cannot be mounted there: see [`Error`].
    pub fn new(filesystem: Arc<Filesystem>, options: &MountOptions) -> Result<Mount, Error> {
        Mount::on(CheckedMountpoint::new(options)?, filesystem, options)
    }

    /// The same on a mountpoint that [`check`](super::check) has found, with the same options: what was looked up then is not
    /// looked up again.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn on(
        mountpoint: CheckedMountpoint,
        filesystem: Arc<Filesystem>,
        options: &MountOptions,
    ) -> Result<Mount, Error> {
        let awake = options.low_latency.then(Awake::new).transpose();
        let awake = awake.map_err(|source| Error::LowLatency { source })?;
        let source = options.checked_source(mountpoint.store().as_os_str())?;
        let (directory, turn) = mountpoint.clear()?;
        let Made { connection, entry, root } = if geteuid().is_root() {
            kernel_mount::mount(&directory, &source, options)?
        } else {
            fusermount::mount(&directory, &source, options)?
        };
        drop((directory, turn));
        let path = entry.mountpoint.as_path();
        let second = connection.try_clone().map_err(Error::io("duplicate the connection of", path))?;
        let mountpoint = Mountpoint::new(&entry, second);
        let mount = serve(filesystem, connection, &mountpoint, options, awake).inspect_err(|_| {
            // The reason is what counts; that nothing answers there any more can be seen.
            let _ = mountpoint.sever();
        })?;
        readahead::raise(&mountpoint);
        // By way of its root: at its path there might be another mount, for a moment.
        match probe(&root.proc_path(), PATIENCE) {
            Probe::Alive => Ok(mount),
            other => {
                let _ = mountpoint.sever();
                Err(not_ready(path, other))
            }
        }
    }

    /// Waits until the mount has ended, whoever ended it.
    pub fn wait(&self) -> Ended {
        self.ending.wait()
    }

    /// Unmounts; see [`Unmounter::unmount`].
    ///
    /// # Errors
    /// If the mount could not be taken away.
    pub fn unmount(&self) -> Result<(), Error> {
        self.unmounter().unmount()
    }

    /// What ends this mount from another thread: a signal's, say.
    pub fn unmounter(&self) -> Unmounter {
        Unmounter::new(self.ending.clone())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Err(error) = self.unmount() {
            log::error!("{error}");
        }
    }
}

/// Answers INIT and starts the threads.
fn serve(
    filesystem: Arc<Filesystem>,
    connection: OwnedFd,
    mountpoint: &Mountpoint,
    options: &MountOptions,
    awake: Option<Awake>,
) -> Result<Mount, Error> {
    let (sender, events) = mpsc::channel();
    let second = connection.try_clone().map_err(|source| Error::Handshake { source })?;
    let notifications = Notifications::new(second);
    // From before the first answer: what changes later the kernel is told of.
    let changes = filesystem.subscribe();
    let service = Service::new(Tree::new(filesystem), sender.clone(), awake, notifications.clone());
    let adapter = Adapter::new(Arc::clone(&service), options.checks_permissions());
    // The kernel has checked who may enter. fuser's own check by owner would deny a FLUSH to a process that got an open
    // file from another user's.
    let acl = SessionACL::All;
    let mut config = Config::default();
    config.n_threads = Some(if options.threads == 0 { DEFAULT_THREADS } else { options.threads });
    let session = Session::from_fd(adapter, connection, acl, config).map_err(|source| Error::Handshake { source })?;
    let teller = Teller::start(changes, notifications, &service, mountpoint.path());
    let teller = teller.map_err(|source| Error::Handshake { source })?;
    let ending = Ending::new(mountpoint.clone());
    start(session, sender, events, &service, ending.clone()).map_err(|source| Error::Handshake { source })?;
    Ok(Mount { ending, _teller: teller })
}

fn start(
    session: Session<Adapter>,
    sender: Sender<Event>,
    events: Receiver<Event>,
    service: &Arc<Service>,
    ending: Arc<Ending>,
) -> std::io::Result<()> {
    let mount = Arc::clone(&ending);
    // Whoever opens the store when the mount has ended must not find it held by this thread.
    let service = Arc::downgrade(service);
    let close_idle = move || {
        while !mount.wait_for(IDLE) {
            if let Some(service) = service.upgrade() {
                service.tree.close_idle();
            }
        }
    };
    thread::Builder::new().name("caskfs-idle".into()).spawn(close_idle)?;
    thread::Builder::new().name("caskfs-supervisor".into()).spawn(move || ending.supervise(&events))?;
    thread::Builder::new().name("caskfs-session".into()).spawn(move || {
        let result = session.run();
        // The supervisor is gone if it gave up on the loops.
        let _ = sender.send(Event::Finished(result));
    })?;
    Ok(())
}

fn not_ready(mountpoint: &Path, probe: Probe) -> Error {
    let reason = match probe {
        Probe::Failed(errno) => errno.desc().to_owned(),
        Probe::Dead => "its connection was cut".to_owned(),
        Probe::Alive | Probe::Silent => format!("nothing came within {} seconds", PATIENCE.as_secs()),
    };
    Error::NotReady { mountpoint: mountpoint.into(), reason }
}
