//! caskfs: a put waits for the disk by default, and so does a batch; a store is opened otherwise to be loaded.

use std::path::Path;

use caskfs::{Batch, Options, Store};

use super::{Engine, Failure, Pairs, Purpose};

pub(crate) struct Caskfs(Store);

impl Caskfs {
    pub(crate) fn open(directory: &Path, purpose: Purpose) -> Result<Caskfs, Failure> {
        let options = Options { create: true, durable: purpose == Purpose::Use, ..Options::default() };
        Ok(Caskfs(Store::open(directory, options)?))
    }
}

impl Engine for Caskfs {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        Ok(self.0.put(key, value)?)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.0.get(key)?)
    }

    fn load(&self, pairs: &Pairs) -> Result<(), Failure> {
        let mut batch = Batch::new();
        for (key, value) in pairs {
            batch.put(key, value.as_slice());
        }
        Ok(self.0.write(batch)?)
    }

    fn sync(&self) -> Result<(), Failure> {
        Ok(self.0.sync()?)
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        self.0.write_hints()?;
        Ok(self.0.close()?)
    }
}
