//! Batches: changes that are made together.

use super::Store;
use super::attributes::Time;
use super::error::Error;
use super::value::Update;
use crate::log::{Decoder, Encoder, Truncated};

const PUT: u8 = 0;
const PUT_EXPIRING: u8 = 1;
const REMOVE: u8 = 2;
const RENAME: u8 = 3;

/// Changes that are made together: all or none survive a crash.
///
/// It takes little more memory than its keys and values; writing it takes about as much again, and what the keydir grows by:
/// see [`Options::batch_limit`](super::Options::batch_limit).
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The changes, one behind the other: what it is, then keys and values, each with its length before it.
    bytes: Vec<u8>,
}

/// A change, as it is read out of a batch.
enum Change<'b> {
    Put(&'b [u8], &'b [u8], Option<Time>),
    Remove(&'b [u8]),
    Rename(&'b [u8], &'b [u8]),
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Sets a key.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> &mut Batch {
        self.push(PUT, &[key.as_ref(), value.as_ref()])
    }

    /// Sets a key that is gone by itself at a time, rounded up to a whole second.
    pub fn put_expiring(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, at: impl Into<Time>) -> &mut Batch {
        self.push(PUT_EXPIRING, &[key.as_ref(), value.as_ref()]);
        self.bytes.put_i64(at.into().0);
        self
    }

    /// Removes a key; that it is missing is no error.
    pub fn remove(&mut self, key: impl AsRef<[u8]>) -> &mut Batch {
        self.push(REMOVE, &[key.as_ref()])
    }

    /// Renames a key, replacing the target.
    pub fn rename(&mut self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> &mut Batch {
        self.push(RENAME, &[from.as_ref(), to.as_ref()])
    }

    /// Bytes of memory that it takes.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    fn push(&mut self, what: u8, parts: &[&[u8]]) -> &mut Batch {
        self.bytes.put_u8(what);
        for part in parts {
            self.bytes.put_varint(part.len() as u64);
            self.bytes.extend_from_slice(part);
        }
        self
    }
}

/// Reads the next change.
fn next<'b>(decoder: &mut Decoder<'b>) -> Result<Change<'b>, Truncated> {
    let what = decoder.u8()?;
    let key = part(decoder)?;
    Ok(match what {
        PUT => Change::Put(key, part(decoder)?, None),
        PUT_EXPIRING => {
            let value = part(decoder)?;
            Change::Put(key, value, Some(Time(decoder.i64()?)))
        }
        REMOVE => Change::Remove(key),
        _ => Change::Rename(key, part(decoder)?),
    })
}

fn part<'b>(decoder: &mut Decoder<'b>) -> Result<&'b [u8], Truncated> {
    let len = decoder.length()?;
    decoder.bytes(len)
}

impl Store {
    /// Makes all changes of a batch, or none of them.
    ///
    /// # Errors
    /// That of the first change that cannot be made; [`Error::BatchTooLarge`] if it takes more memory than it may, and
    /// [`Error::TooLarge`] if it takes more than about 4 GiB of the log.
    pub fn write(&self, batch: Batch) -> Result<(), Error> {
        let mut transaction = self.begin()?;
        transaction.hold(batch.bytes.len() as u64)?;
        let mut decoder = Decoder::new(&batch.bytes);
        while !decoder.rest().is_empty() {
            // It was encoded above.
            match next(&mut decoder).map_err(|_| Error::Invalid("the batch is not whole"))? {
                Change::Put(key, value, expires) => transaction.put_until(key, Update::whole(value), expires)?,
                Change::Remove(key) => transaction.remove(key).map(drop)?,
                Change::Rename(from, to) => transaction.rename_path(from, to)?,
            }
            transaction.seal_some()?;
        }
        let sequence = transaction.commit()?;
        self.acknowledge(sequence)
    }
}
