//! Sharing: bytes that are in the log become part of another value, or of another place of the same one, without being
//! written again.

use super::Store;
use super::append::Record;
use super::attributes::EntryId;
use super::error::Error;
use super::extents::Extent;
use super::keydir::Keydir;
use super::reserve::Claim;
use super::transaction::{StagedRun, Transaction};

/// Whose bytes are lent.
#[derive(Clone, Copy, Debug)]
pub enum Lender {
    /// Those of an entry's published value, from this offset on.
    Value(EntryId, u64),
    /// Those of an extent that was staged and is not abandoned, from its beginning on.
    Staged(Extent),
}

/// A stretch of a value that is to have bytes which are in the log.
#[derive(Clone, Copy, Debug)]
pub struct Loan {
    /// Where in the value that borrows, in bytes.
    pub offset: u64,
    /// How many bytes.
    pub len: u64,
    /// Whose.
    pub from: Lender,
}

impl Loan {
    /// Where its bytes are, each run with its length; `None` if they may not be lent, or are not all there.
    fn extents(&self, keydir: &Keydir) -> Option<Vec<(u64, Extent)>> {
        let extents = match self.from {
            Lender::Staged(extent) => vec![(self.len, extent)],
            Lender::Value(entry, _) if keydir.is_damaged(entry) => return None,
            Lender::Value(entry, offset) => {
                let (_, runs) = keydir.value(entry, offset..offset.checked_add(self.len)?)?;
                runs.into_iter().map(|(place, extent)| (place.end - place.start, extent)).collect()
            }
        };
        let all = extents.iter().map(|(len, _)| len).sum::<u64>() == self.len;
        let lendable = extents.iter().all(|(_, extent)| keydir.is_lendable(extent.location.segment));
        (all && lendable).then_some(extents)
    }
}

impl Store {
    /// As [`Store::stage`], with bytes that are in the log already. Stages these loans, in order, up to the first that is
    /// not to be had: because a merge is about to take the bytes away, or they are not what they were. Nothing is
    /// read.
    ///
    /// # Errors
    /// [`Error::NoSpace`] and others of the log; then nothing was staged.
    pub fn stage_shares(&self, entry: EntryId, stage: u64, loans: &[Loan]) -> Result<StagedRun, Error> {
        let transaction = self.begin()?;
        let run = transaction.stage_shares(entry, stage, loans)?;
        self.counters.put(run.extents.iter().map(|(_, len, _)| len).sum());
        Ok(run)
    }
}

impl Transaction<'_> {
    fn stage_shares(mut self, entry: EntryId, stage: u64, loans: &[Loan]) -> Result<StagedRun, Error> {
        let first = self.appender.next_sequence();
        let mut staged = StagedRun { stage, extents: Vec::new() };
        {
            let keydir = self.store.keydir.read();
            for (loan, extents) in loans.iter().map_while(|loan| Some((loan, loan.extents(&keydir)?))) {
                let mut offset = loan.offset;
                for (len, extent) in extents {
                    let sequence = first + staged.extents.len() as u64;
                    staged.extents.push((offset, len, Extent { sequence, ..extent }));
                    offset += len;
                }
            }
        }
        if staged.extents.is_empty() {
            return Ok(staged);
        }
        let share = |&(offset, len, extent): &(u64, u64, Extent)| Record::Share { entry, offset, len, extent };
        let records: Vec<Record<'_>> = staged.extents.iter().map(share).collect();
        let bytes = records.iter().map(Record::size).sum();
        self.store.reserve.take(&**self.store.log.medium(), Claim::Growth, bytes)?;
        staged.stage = if stage == 0 { first } else { stage };
        self.append(records, staged.stage)?;
        Ok(staged)
    }
}
