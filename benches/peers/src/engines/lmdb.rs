//! LMDB through heed: each transaction is durable by default. What is loaded goes into one transaction a batch, and
//! waits for the sync with `NO_SYNC`.

use std::path::Path;

use heed::types::Bytes;
use heed::{Database, Env, EnvFlags, EnvOpenOptions};

use super::{Engine, Failure, Pairs, Purpose};

/// Bytes of address space; the file is as large as its content.
const MAP: usize = 64 << 30;

pub(crate) struct Lmdb {
    environment: Env,
    keys: Database<Bytes, Bytes>,
}

impl Lmdb {
    #[expect(unsafe_code, reason = "the file is mapped, and nobody else writes to it")]
    pub(crate) fn open(directory: &Path, purpose: Purpose) -> Result<Lmdb, Failure> {
        let flags = if purpose == Purpose::Load { EnvFlags::NO_SYNC } else { EnvFlags::empty() };
        // SAFETY: the directory belongs to this benchmark alone, so that the mapped file changes through LMDB only. And a load
        // that does not come to its sync is thrown away.
        let environment = unsafe { EnvOpenOptions::new().map_size(MAP).flags(flags).open(directory)? };
        let mut transaction = environment.write_txn()?;
        let keys = environment.create_database(&mut transaction, None)?;
        transaction.commit()?;
        Ok(Lmdb { environment, keys })
    }
}

impl Engine for Lmdb {
    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        let mut transaction = self.environment.write_txn()?;
        self.keys.put(&mut transaction, key, value)?;
        Ok(transaction.commit()?)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        let transaction = self.environment.read_txn()?;
        Ok(self.keys.get(&transaction, key)?.map(<[u8]>::to_vec))
    }

    fn load(&self, pairs: &Pairs) -> Result<(), Failure> {
        let mut transaction = self.environment.write_txn()?;
        for (key, value) in pairs {
            self.keys.put(&mut transaction, key.as_bytes(), value)?;
        }
        Ok(transaction.commit()?)
    }

    fn sync(&self) -> Result<(), Failure> {
        Ok(self.environment.force_sync()?)
    }

    fn close(self: Box<Self>) -> Result<(), Failure> {
        Ok(())
    }
}
