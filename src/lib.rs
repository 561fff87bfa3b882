//! caskfs: a durable key-value store that can be mounted.
//!
//! A key is a path, its value is a file's bytes. Beneath is a Bitcask: an append-only segment log, an index of every
//! key in memory (the keydir), and one fsync shared by all who wait (group commit). See `docs/DESIGN.md` for the
//! layers, `docs/FORMAT.md` for every byte on disk and `docs/SEMANTICS.md` for the contract.
//!
//! The layers, each importing only from those below it:
//!
//! | layer | what it is |
//! |---|---|
//! | `cli` | the `caskfs` command (feature `cli`) |
//! | [`fuse`] | the adapter to the kernel (feature `fuse`) |
//! | [`fs`] | files: inodes, handles, dirty data, commit rules |
//! | [`store`] | the Bitcask: keydir, transactions, group commit, recovery |
//! | [`log`] | bytes: records, segments, the manifest |
//! | [`medium`] | the only code that touches the disk |

#[cfg(feature = "cli")]
pub mod cli;
pub mod fs;
#[cfg(feature = "fuse")]
pub mod fuse;
pub mod log;
pub mod medium;
pub mod store;

pub use store::{Batch, Error, Options, Store};
