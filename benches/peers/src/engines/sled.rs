//! sled: a write is durable after a flush.

use std::path::Path;

use super::{Engine, Failure, Pairs};

pub(crate) struct Sled(sled::Db);

impl Sled {
    pub(crate) fn open(directory: &Path) -> Result<Sled, Failure> {
        Ok(Sled(sled::open(directory)?))
    }
}

impl Engine for Sled {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        self.0.insert(key, value)?;
        self.0.flush()?;
        Ok(())
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.0.get(key)?.map(|value| value.to_vec()))
    }

    fn load(&self, pairs: &Pairs) -> Result<(), Failure> {
        let mut batch = sled::Batch::default();
        for (key, value) in pairs {
            batch.insert(key.as_bytes(), value.as_slice());
        }
        Ok(self.0.apply_batch(batch)?)
    }

    fn sync(&self) -> Result<(), Failure> {
        self.0.flush()?;
        Ok(())
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        Ok(())
    }
}
