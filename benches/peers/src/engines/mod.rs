//! The engines behind one interface.

mod caskfs;
mod fjall;
mod lmdb;
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
mod sled;

use std::error::Error;
use std::path::Path;

use clap::ValueEnum;

/// Whatever an engine reports.
pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// Keys and their values.
pub(crate) type Pairs = [(String, Vec<u8>)];

/// Which one.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Name {
    Caskfs,
    Fjall,
    Lmdb,
    Redb,
    #[cfg(feature = "rocksdb")]
    Rocksdb,
    Sled,
}

/// What a store is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Each put is durable when it returns.
    Use,
    /// Batches are durable at the next sync.
    Load,
}

/// A store that is open.
pub(crate) trait Engine: Send + Sync {
    /// Durable when it returns.
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Failure>;

    /// A copy of the value: what is handed out has to outlive what the engine holds for it.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Failure>;

    /// All of them in one batch, durable at the next sync.
    fn load(&self, pairs: &Pairs) -> Result<(), Failure>;

    /// Makes durable what was loaded.
    fn sync(&self) -> Result<(), Failure>;

    /// Ends its use in order.
    fn close(self: Box<Self>) -> Result<(), Failure>;
}

/// Opens a store, or makes it.
pub(crate) fn open(name: Name, directory: &Path, purpose: Purpose) -> Result<Box<dyn Engine>, Failure> {
    std::fs::create_dir_all(directory)?;
    Ok(match name {
        Name::Caskfs => Box::new(caskfs::Caskfs::open(directory, purpose)?),
        Name::Fjall => Box::new(fjall::Fjall::open(directory)?),
        Name::Lmdb => Box::new(lmdb::Lmdb::open(directory, purpose)?),
        Name::Redb => Box::new(redb::Redb::open(directory)?),
        #[cfg(feature = "rocksdb")]
        Name::Rocksdb => Box::new(rocksdb::Rocksdb::open(directory)?),
        Name::Sled => Box::new(sled::Sled::open(directory)?),
    })
}
