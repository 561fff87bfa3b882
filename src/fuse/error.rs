//! What can go wrong with a mount, each told in one line to the person who must act.

use std::io;
use std::path::PathBuf;

/// Why a store could not be mounted or unmounted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `/dev/fuse` is not there, or may not be opened.
    #[error(
        "cannot open /dev/fuse ({source}): load the module with `modprobe fuse`, or start the container with \
         --device /dev/fuse"
    )]
    NoDevice {
        /// What open(2) said.
        source: io::Error,
    },
    /// An ordinary user mounts through fusermount3, and it is not installed.
    #[error("fusermount3 is not installed: install the package fuse3, or mount as root")]
    NoHelper,
    /// The CPUs cannot be kept awake.
    #[error(
        "cannot open /dev/cpu_dma_latency ({source}): only root can have the CPUs kept awake; mount without --low-latency"
    )]
    LowLatency {
        /// What open(2) said.
        source: io::Error,
    },
    /// fusermount3 has no word for it.
    #[error("{what} is for root: fusermount3 knows no such option")]
    RootOnly {
        /// What was asked for.
        what: &'static str,
    },
    /// fusermount3 said no.
    #[error("fusermount3 failed: {message}")]
    Helper {
        /// What it printed, or how it ended.
        message: String,
    },
    /// The mountpoint does not exist.
    #[error("the mountpoint {} does not exist: create the directory first", .mountpoint.display())]
    MountpointMissing {
        /// The mountpoint as it was given.
        mountpoint: PathBuf,
    },
    /// The mountpoint is a file.
    #[error("the mountpoint {} is not a directory", .mountpoint.display())]
    NotADirectory {
        /// The mountpoint.
        mountpoint: PathBuf,
    },
    /// The mountpoint holds files that the mount would hide.
    #[error("the mountpoint {} is not empty: a mount would hide what is in it; choose an empty directory", .mountpoint.display())]
    NotEmpty {
        /// The mountpoint.
        mountpoint: PathBuf,
    },
    /// The mountpoint is the store, or a directory in it.
    #[error("the mountpoint {} is inside the store {}: choose a directory elsewhere", .mountpoint.display(), .store.display())]
    InsideStore {
        /// The mountpoint.
        mountpoint: PathBuf,
        /// The store directory.
        store: PathBuf,
    },
    /// The store is below the mountpoint, so that the mount would hide it.
    #[error("the store {} is inside the mountpoint {}: the mount would hide it; choose a directory elsewhere", .store.display(), .mountpoint.display())]
    OverStore {
        /// The mountpoint.
        mountpoint: PathBuf,
        /// The store directory.
        store: PathBuf,
    },
    /// A living caskfs is mounted there.
    #[error("{} is already mounted there: {}; unmount it first, or choose another mountpoint", .source_name, .mountpoint.display())]
    AlreadyMounted {
        /// The mountpoint.
        mountpoint: PathBuf,
        /// The mounted store.
        source_name: String,
    },
    /// Something else is mounted there, and its daemon is dead.
    #[error("the daemon of the {kind} mount at {0} is dead: run `umount -l {0}` first", .mountpoint.display())]
    DeadForeign {
        /// The mountpoint.
        mountpoint: PathBuf,
        /// The filesystem's type.
        kind: String,
    },
    /// The name of the mount's source cannot be shown in the mount table.
    #[error("the name {name:?} cannot stand in the mount table: it is empty or holds a NUL byte")]
    BadSource {
        /// The name.
        name: String,
    },
    /// mount(2) was refused for lack of a privilege.
    #[error(
        "mounting on {} is not permitted: CAP_SYS_ADMIN is missing; start the container with --cap-add SYS_ADMIN \
         --device /dev/fuse", .mountpoint.display()
    )]
    NotPermitted {
        /// The mountpoint.
        mountpoint: PathBuf,
    },
    /// mount(2) failed.
    #[error("cannot mount on {}: {source}", .mountpoint.display())]
    Mount {
        /// The mountpoint.
        mountpoint: PathBuf,
        /// What mount(2) said.
        source: io::Error,
    },
    /// umount2(2) failed.
    #[error("cannot unmount {}: {source}", .mountpoint.display())]
    Unmount {
        /// The mountpoint.
        mountpoint: PathBuf,
        /// What umount2(2) said.
        source: io::Error,
    },
    /// Something else was mounted on top of the mount, and must go first.
    #[error("cannot unmount {0}: something else is mounted on top of it; run `umount {0}` for each", .mountpoint.display())]
    Covered {
        /// The mountpoint.
        mountpoint: PathBuf,
    },
    /// The unmount did not return: the daemon is to take what mappings hold, and does not answer.
    #[error("the unmount of {} waits for its daemon, which does not answer", .mountpoint.display())]
    Stuck {
        /// The mountpoint.
        mountpoint: PathBuf,
    },
    /// Kernel and daemon did not come to terms, or the event loops could not be started.
    #[error("the kernel's FUSE handshake failed: {source}")]
    Handshake {
        /// What went wrong.
        source: io::Error,
    },
    /// The mount is there but does not answer.
    #[error("the mount at {} does not answer: {reason}", .mountpoint.display())]
    NotReady {
        /// The mountpoint.
        mountpoint: PathBuf,
        /// What was seen.
        reason: String,
    },
    /// Another system call failed.
    #[error("cannot {action} {}: {source}", .path.display())]
    Io {
        /// What was tried: "read", "open", ...
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// The function that turns an I/O error met at `path` into an [`Error`]: for `map_err`.
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { action, path, source }
    }
}
