//! The command without a mount: keys, listings, and every refusal with its exit code.

#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "cli/backup.rs"]
mod backup;
#[path = "cli/command.rs"]
mod command;
#[path = "cli/descriptors.rs"]
mod descriptors;
#[path = "cli/exit_codes.rs"]
mod exit_codes;
#[path = "cli/keys.rs"]
mod keys;
#[path = "cli/listings.rs"]
mod listings;
#[path = "cli/older.rs"]
mod older;
#[path = "cli/pipes.rs"]
mod pipes;
#[path = "cli/refusals.rs"]
mod refusals;
#[path = "cli/repair.rs"]
mod repair;
#[path = "cli/snapshots.rs"]
mod snapshots;
#[path = "cli/trees.rs"]
mod trees;
#[path = "cli/verify.rs"]
mod verify;
