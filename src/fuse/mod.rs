//! The mount: what stands between the kernel's FUSE protocol and [`fs`](crate::fs).
//!
//! Wire types come in, wire types go out; every decision about files is made in `fs`. What is decided here is the mount
//! itself: where it may be, what the kernel may cache, and how it ends.
//!
//! Invariants:
//! - An event-loop thread never waits for the disk's sync: an answer that must wait is parked until the store calls back.
//! - A mount ends in one way only, whoever ends it: the event loops stop, the mountpoint is free, [`Mount::wait`] returns.
//! - Nothing is ever unmounted but this process's own mount, or a dead one of an earlier daemon.

mod adapter;
mod answer;
mod answers;
mod attributes;
mod awake;
mod capabilities;
mod directory;
mod error;
mod existing;
mod found;
mod fusermount;
mod groups;
mod guard;
mod kernel_mount;
mod mount_options;
mod mount_table;
mod mountpoint;
mod mountpoint_check;
mod notifications;
mod patience;
mod pool;
mod probe;
mod readahead;
mod received_fd;
mod reply;
mod service;
mod session;
mod supervisor;
mod teller;
#[cfg(test)]
mod tests;

pub use error::Error;
pub use existing::{MountState, Mounted, check, mounted_at};
pub use mount_options::{Context, FSTYPE, MountFlags, MountOptions};
pub use mountpoint_check::CheckedMountpoint;
pub use session::Mount;
pub use supervisor::{Ended, Unmounter};
