//! The mount as its users have it: the real command, the real kernel, everyday programs, and a daemon that is killed.
//!
//! Needs `/dev/fuse`, and what `scripts/install-dependencies --tests` installs. A few tests need root, and say so when
//! they are not run.

#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "mount/access_times.rs"]
mod access_times;
#[path = "mount/acl.rs"]
mod acl;
#[path = "cli/command.rs"]
mod command;
#[path = "mount/commands.rs"]
mod commands;
#[path = "mount/crashes.rs"]
mod crashes;
#[path = "mount/daemon.rs"]
mod daemon;
#[path = "mount/directories.rs"]
mod directories;
#[path = "mount/expiry.rs"]
mod expiry;
#[path = "mount/export.rs"]
mod export;
#[path = "mount/files.rs"]
mod files;
#[path = "mount/frozen.rs"]
mod frozen;
#[path = "mount/git.rs"]
mod git;
#[path = "mount/lifecycle.rs"]
mod lifecycle;
#[path = "mount/low_latency.rs"]
mod low_latency;
#[path = "mount/mapping.rs"]
mod mapping;
#[path = "mount/merges.rs"]
mod merges;
#[path = "mount/neighbours.rs"]
mod neighbours;
#[path = "mount/options.rs"]
mod options;
#[path = "mount/own_files.rs"]
mod own_files;
#[path = "mount/rsync.rs"]
mod rsync;
#[path = "mount/sandbox.rs"]
mod sandbox;
#[path = "mount/shell.rs"]
mod shell;
#[path = "mount/snapshots.rs"]
mod snapshots;
#[path = "mount/sqlite.rs"]
mod sqlite;
#[path = "mount/takeover.rs"]
mod takeover;
#[path = "mount/tree.rs"]
mod tree;
#[path = "mount/unmount.rs"]
mod unmount;
#[path = "mount/users.rs"]
mod users;
