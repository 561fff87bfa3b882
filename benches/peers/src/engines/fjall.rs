//! fjall: a write is durable once the journal was persisted.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{Engine, Failure, Pairs};

pub(crate) struct Fjall {
    database: Database,
    keys: Keyspace,
}

impl Fjall {
    pub(crate) fn open(directory: &Path) -> Result<Fjall, Failure> {
        let database = Database::builder(directory).open()?;
        let keys = database.keyspace("keys", KeyspaceCreateOptions::default)?;
        Ok(Fjall { database, keys })
    }
}

impl Engine for Fjall {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        self.keys.insert(key, value)?;
        Ok(self.database.persist(PersistMode::SyncData)?)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.keys.get(key)?.map(|value| value.to_vec()))
    }

    fn load(&self, pairs: &Pairs) -> Result<(), Failure> {
        let mut batch = self.database.batch();
        for (key, value) in pairs {
            batch.insert(&self.keys, key.as_bytes(), value.as_slice());
        }
        Ok(batch.commit()?)
    }

    fn sync(&self) -> Result<(), Failure> {
        Ok(self.database.persist(PersistMode::SyncAll)?)
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        Ok(())
    }
}
