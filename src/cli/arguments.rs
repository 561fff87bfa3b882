//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::merge_arguments::MergeArguments;
use super::mount_flags::FlagArguments;
use super::values::{octal, segment_size, size};
use crate::fs::{AccessTimes, SyncMode};

/// A durable key-value store that you mount: each key is a file, each close is an fsync.
#[derive(Debug, Parser)]
#[command(name = "caskfs", version, arg_required_else_help = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    Mount(MountArguments),
    Umount(UmountArguments),
    Get(KeyArguments),
    Put(PutArguments),
    Rm(RmArguments),
    Mv(MvArguments),
    Ls(LsArguments),
    Stat(StatArguments),
    Info(InfoArguments),
    Compact(CompactArguments),
    Snapshot(SnapshotArguments),
    Backup(BackupArguments),
    Restore(RestoreArguments),
    Export(ExportArguments),
    Import(ImportArguments),
    Verify(VerifyArguments),
    Repair(RepairArguments),
}

/// Mount a store; one that does not exist is created. Returns when the mount answers.
#[derive(Debug, Args)]
pub(super) struct MountArguments {
    /// The store directory.
    pub(super) store: PathBuf,
    /// An empty directory outside of the store.
    pub(super) mountpoint: PathBuf,
    /// What waits for the disk: `close` and fsync; `always` rename, unlink, mkdir and so on too; or at an `interval`
    /// of a second everything but fsync.
    #[arg(long, value_enum, default_value = "close")]
    pub(super) sync: Sync,
    /// Refuse all changes.
    #[arg(long)]
    pub(super) read_only: bool,
    /// Refuse a store in which the start meets damage. Without this the damaged keys alone cannot be read.
    #[arg(long)]
    pub(super) strict: bool,
    /// Let other users in; permissions decide what they may do.
    #[arg(long)]
    pub(super) allow_other: bool,
    /// Show every key as owned by this user.
    #[arg(long, value_name = "ID")]
    pub(super) uid: Option<u32>,
    /// Show every key as owned by this group.
    #[arg(long, value_name = "ID")]
    pub(super) gid: Option<u32>,
    /// Take these permission bits from every key shown (octal).
    #[arg(long, value_name = "MODE", value_parser = octal)]
    pub(super) umask: Option<u16>,
    /// When reading changes the time of last access: if that is older than the last change or than a day; always; or
    /// never. As in mount(8).
    #[arg(long, value_enum, value_name = "WHEN", default_value = "relatime")]
    pub(super) atime: Atime,
    /// Leave the times of access of directories alone.
    #[arg(long)]
    pub(super) nodiratime: bool,
    /// The name shown as the mount's source; the store's path by default.
    #[arg(long, value_name = "NAME")]
    pub(super) fsname: Option<String>,
    /// Bytes after which a segment of the log is sealed: 4K to 1G. Small ones are merged often.
    #[arg(long, value_name = "SIZE", value_parser = segment_size, default_value = "64M")]
    pub(super) segment_size: u32,
    /// Bytes of memory that the keys may take: 500M, 4G. At the limit new keys get ENOSPC, and all else goes on. No limit by
    /// default.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(super) memory_limit: Option<u64>,
    /// Keep the CPUs awake while requests come, and a tenth of a second after: one client's requests are answered sooner, and
    /// the machine takes more power. Needs root.
    #[arg(long)]
    pub(super) low_latency: bool,
    /// Stay in front instead of becoming a daemon.
    #[arg(long, short)]
    pub(super) foreground: bool,
    /// Where the daemon writes its log; `daemon.log` in the store by default.
    #[arg(long, value_name = "FILE")]
    pub(super) log_file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) merge: MergeArguments,
    #[command(flatten)]
    pub(super) flags: FlagArguments,
    /// Say on standard output when the mount answers: how the daemon tells the command that started it.
    #[arg(long, hide = true)]
    pub(super) announce: bool,
}

/// What waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Sync {
    Close,
    Always,
    Interval,
}

impl From<Sync> for SyncMode {
    fn from(sync: Sync) -> SyncMode {
        match sync {
            Sync::Close => SyncMode::Close,
            Sync::Always => SyncMode::Always,
            Sync::Interval => SyncMode::Interval,
        }
    }
}

/// When reading changes the time of last access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Atime {
    Relatime,
    Strictatime,
    Noatime,
}

impl From<Atime> for AccessTimes {
    fn from(atime: Atime) -> AccessTimes {
        match atime {
            Atime::Relatime => AccessTimes::Relative,
            Atime::Strictatime => AccessTimes::Strict,
            Atime::Noatime => AccessTimes::Never,
        }
    }
}

/// Unmount, and wait until the daemon has ended and the store is free. A dead mount is cleared away.
#[derive(Debug, Args)]
pub(super) struct UmountArguments {
    /// Where the store is mounted.
    pub(super) mountpoint: PathBuf,
    /// Take the mount away from those who use it.
    #[arg(long, short)]
    pub(super) lazy: bool,
}

/// Print a key's value.
///
/// Keys that begin with a dash stand behind `--`: `caskfs get STORE -- -key`.
#[derive(Debug, Args)]
pub(super) struct KeyArguments {
    /// The store directory.
    pub(super) store: PathBuf,
    /// The key: a path from the store's root.
    pub(super) key: OsString,
}

/// Set a key, and return when that is on the disk. Directories above it are made.
#[derive(Debug, Args)]
pub(super) struct PutArguments {
    /// The store directory; one that does not exist is created.
    pub(super) store: PathBuf,
    /// The key: a path from the store's root.
    pub(super) key: OsString,
    /// The value; standard input if it is missing or `-`. It may begin with a dash.
    #[arg(allow_hyphen_values = true)]
    pub(super) value: Option<OsString>,
    /// How long the key is to live: `90s`, `15m`, `1h 30min`, `7days`. Without it, it stays, whatever was said before.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(super) ttl: Option<Duration>,
}

/// Remove keys.
#[derive(Debug, Args)]
pub(super) struct RmArguments {
    /// The store directory.
    pub(super) store: PathBuf,
    /// The keys.
    #[arg(required = true)]
    pub(super) keys: Vec<OsString>,
    /// Remove directories with all keys below them.
    #[arg(long, short)]
    pub(super) recursive: bool,
    /// Say nothing of keys that do not exist.
    #[arg(long, short)]
    pub(super) force: bool,
}

/// Rename a key or a directory, replacing the target.
#[derive(Debug, Args)]
pub(super) struct MvArguments {
    /// The store directory.
    pub(super) store: PathBuf,
    /// The key.
    pub(super) from: OsString,
    /// Its new name: a path from the store's root.
    pub(super) to: OsString,
}

/// List keys: those in a directory, or all that begin with a prefix.
#[derive(Debug, Args)]
pub(super) struct LsArguments {
    /// The store directory.
    pub(super) store: PathBuf,
    /// A directory, or the beginning of keys; the root by default.
    pub(super) prefix: Option<OsString>,
    /// Show mode, links, owner, group, size and time too.
    #[arg(long, short)]
    pub(super) long: bool,
    /// List what is below the directories too.
    #[arg(long, short)]
    pub(super) recursive: bool,
    /// Print names as they come, in no order: nothing of a large store is kept in memory.
    #[arg(long, short = 'U')]
    pub(super) unsorted: bool,
    /// Print a JSON object a line.
    #[arg(long)]
    pub(super) json: bool,
}

/// Show what is known of a key.
#[derive(Debug, Args)]
pub(super) struct StatArguments {
    /// The store directory.
    pub(super) store: PathBuf,
    /// The key: a path from the store's root.
    pub(super) key: OsString,
    /// Print a JSON object.
    #[arg(long)]
    pub(super) json: bool,
}

/// Show what a store holds, and how it is.
#[derive(Debug, Args)]
pub(super) struct InfoArguments {
    /// The store directory.
    pub(super) store: PathBuf,
    /// Print a JSON object.
    #[arg(long)]
    pub(super) json: bool,
}

/// Give the space of overwritten and deleted values back now, as far as more than a tenth of a segment is dead; a mounted
/// store does so by itself when more than half is.
#[derive(Debug, Args)]
pub(super) struct CompactArguments {
    /// The store directory.
    pub(super) store: PathBuf,
    /// Change nothing; print what would be merged, and how many bytes would come back.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Read at most so many bytes a second: 500K, 20M, 1G.
    #[arg(long, value_name = "BYTES/S", value_parser = size)]
    pub(super) rate: Option<u64>,
}

/// Keep a store as it is now: at once, and without copying. A snapshot is read as `STORE/snapshots/NAME`, with `ls`, `get`
/// or `mount --read-only`.
#[derive(Debug, Args)]
pub(super) struct SnapshotArguments {
    #[command(subcommand)]
    pub(super) command: SnapshotCommand,
}

#[derive(Debug, Subcommand)]
pub(super) enum SnapshotCommand {
    /// Take a snapshot of all that is committed.
    Create(SnapshotName),
    /// List the snapshots.
    List(SnapshotList),
    /// Remove a snapshot, and give back the space that it alone takes.
    Remove(SnapshotName),
}

#[derive(Debug, Args)]
pub(super) struct SnapshotName {
    /// The store directory.
    pub(super) store: PathBuf,
    /// The snapshot's name: that of its directory.
    pub(super) name: String,
}

#[derive(Debug, Args)]
pub(super) struct SnapshotList {
    /// The store directory.
    pub(super) store: PathBuf,
    /// Print a JSON object a line.
    #[arg(long)]
    pub(super) json: bool,
}

/// Read everything that a store holds, and check it; mounted or not.
#[derive(Debug, Args)]
pub(super) struct VerifyArguments {
    /// The store directory.
    pub(super) store: PathBuf,
    /// Print a JSON object.
    #[arg(long)]
    pub(super) json: bool,
}

/// Copy a store as it is now, mounted or not, to a directory. The same directory again takes only what is new.
#[derive(Debug, Args)]
pub(super) struct BackupArguments {
    /// The store directory, or a snapshot's.
    pub(super) store: PathBuf,
    /// The directory of the backup; one that does not exist is created.
    pub(super) backup: PathBuf,
    /// Read all that the backup has already, and copy anew what is damaged; a tenth of it without this, another one each time.
    #[arg(long)]
    pub(super) verify: bool,
    /// Print a JSON object.
    #[arg(long)]
    pub(super) json: bool,
}

/// Make a store from a backup or a snapshot, and verify it.
#[derive(Debug, Args)]
pub(super) struct RestoreArguments {
    /// The directory of the backup, or of a snapshot.
    pub(super) backup: PathBuf,
    /// The store directory: an empty one, or one that does not exist.
    pub(super) store: PathBuf,
    /// Print a JSON object.
    #[arg(long)]
    pub(super) json: bool,
}

/// Write all keys of a store, mounted or not, into a directory as plain files, with everything that they have.
#[derive(Debug, Args)]
pub(super) struct ExportArguments {
    /// The store directory, or a snapshot's, or a backup's.
    pub(super) store: PathBuf,
    /// An empty directory, or one that does not exist.
    pub(super) directory: PathBuf,
}

/// Take a tree of plain files into a store that is not mounted, with everything that they have.
///
/// What cannot be read is named, left out, and told by exit code 19 in the end.
#[derive(Debug, Args)]
pub(super) struct ImportArguments {
    /// The directory.
    pub(super) directory: PathBuf,
    /// The store directory; one that does not exist is created.
    pub(super) store: PathBuf,
    /// Where the tree goes: a directory without keys, made if it is not there; the root by default.
    #[arg(long, value_name = "KEY")]
    pub(super) below: Option<OsString>,
    /// Go on with an import that did not come to its end: take what is not there yet or has changed since. What the tree
    /// does not have stays.
    #[arg(long = "continue")]
    pub(super) go_on: bool,
}

/// Make a damaged store, which must not be mounted, whole again as far as it can be, and say what is lost. Nothing is
/// deleted: what is taken out is kept in STORE/quarantine.
#[derive(Debug, Args)]
pub(super) struct RepairArguments {
    /// The store directory.
    pub(super) store: PathBuf,
    /// Change nothing; print what would be done.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Count as lost what the disk fails to read; without it, such a store is not repaired.
    #[arg(long)]
    pub(super) give_up_unread: bool,
    /// Print a JSON object.
    #[arg(long)]
    pub(super) json: bool,
}
