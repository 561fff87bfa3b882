//! What may happen to a store on a real machine: filesystems that lack this and that, a full disk, a power cut, a
//! daemon that is killed.
//!
//! The filesystems are made for the tests, in image files and in memory, which takes root, loop devices and what
//! `scripts/install-dependencies --tests` installs. A test that cannot have its filesystem says so.
//!
//! `CASKFS_KILL_ROUNDS` and `CASKFS_CUT_ROUNDS` set how often the daemon is killed and the power cut,
//! `CASKFS_FAULTS_SEED` when.

#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "faults/base.rs"]
mod base;
#[path = "cli/command.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod command;
#[path = "faults/filesystems.rs"]
mod filesystems;
#[path = "faults/full_disk.rs"]
mod full_disk;
#[path = "faults/kills.rs"]
mod kills;
#[path = "faults/power.rs"]
mod power;
#[path = "mount/sandbox.rs"]
#[expect(dead_code, reason = "other tests need more of it")]
mod sandbox;
#[path = "faults/writers.rs"]
mod writers;

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// `caskfs umount`, of a daemon too whose end that does not wait for: one that only reads, or has no socket.
#[track_caller]
fn unmount(sandbox: &sandbox::Sandbox) {
    command::printed(command::caskfs(["umount".as_ref(), sandbox.mountpoint().as_os_str()]));
    sandbox.wait_for_end();
}
