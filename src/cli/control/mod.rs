//! How a command reaches the daemon: a Unix socket in the store directory.
//!
//! One request a connection: a line of JSON. The daemon takes it on with one byte. Then, for `put`, the value comes until
//! the sender shuts its side down. The answer is a line of JSON too, and for `get` the value's bytes after it. `execute`
//! does what a request says; the daemon and a command that opens the store itself both run it, so that both give the
//! same answers.
//!
//! A daemon that ends finishes what it has taken on, and takes on nothing more: a command that is turned away so knows
//! that nothing was done, and asks again, or opens the store itself.

mod client;
mod execute;
mod message;
mod requests;
mod server;
mod statistics;
mod verify;

pub(super) use client::{Connection, Held, TakeName};
pub(super) use execute::{Answer, copy_value, execute};
pub(super) use message::{
    DamagedPart, Entry, Merge, Name, Recovery, Reply, Request, Snapshot, StoreInfo, Verification,
};
pub(super) use server::Server;
pub(super) use statistics::Statistics;
pub(super) use verify::verify;

/// The socket's name in the store directory.
const SOCKET: &str = "control";

/// The byte with which the daemon takes a request on.
const TAKEN: u8 = b'+';

/// The longest line of JSON, in bytes.
const MAX_LINE: u64 = 1 << 20;

/// The socket's path by way of an open directory: a store's own path may be longer than a socket's may be.
fn socket_path(directory: &std::fs::File) -> String {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd())
}
