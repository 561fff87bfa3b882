//! RocksDB: a write is durable with `sync`. Its threads share a sync as ours do.

use std::path::Path;

use rocksdb::{DB, Options, WriteBatch, WriteOptions};

use super::{Engine, Failure, Pairs};

pub(crate) struct Rocksdb(DB);

impl Rocksdb {
    pub(crate) fn open(directory: &Path) -> Result<Rocksdb, Failure> {
        let mut options = Options::default();
        options.create_if_missing(true);
        Ok(Rocksdb(DB::open(&options, directory)?))
    }
}

impl Engine for Rocksdb {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        Ok(self.0.put_opt(key, value, &options)?)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.0.get(key)?)
    }

    fn load(&self, pairs: &Pairs) -> Result<(), Failure> {
        let mut batch = WriteBatch::default();
        for (key, value) in pairs {
            batch.put(key, value);
        }
        Ok(self.0.write(batch)?)
    }

    fn sync(&self) -> Result<(), Failure> {
        Ok(self.0.flush_wal(true)?)
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        Ok(())
    }
}
