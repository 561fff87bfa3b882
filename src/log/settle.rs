//! The last step of opening a log: what was recovered is made durable, and then the manifest says so.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::format::StoreId;
use super::manifest::{Manifest, Sealed, SegmentList};
use super::record::Header;
use super::segment::Segment;
use crate::medium::Medium;

/// Bytes rewritten at once.
const CHUNK: u64 = 1 << 20;

/// An unsealed segment after recovery.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) segment: Arc<Segment>,
    pub(super) end: u64,
    pub(super) first_sequence: u64,
    pub(super) last_sequence: u64,
    /// Nothing but zeros behind `end`.
    pub(super) clean: bool,
    /// The highest sequence number that a record in it calls durable.
    pub(super) durable: u64,
    /// Sequence numbers and offsets of the records that no later one calls durable.
    pub(super) unproven: VecDeque<(u64, u32)>,
}

impl Tail {
    pub(super) fn has_records(&self) -> bool {
        self.last_sequence >= self.first_sequence
    }

    /// Notes a record, and what it says of those before it.
    pub(super) fn note(&mut self, header: &Header, offset: u32) {
        self.unproven.push_back((header.sequence, offset));
        self.forget(header.durable);
    }

    fn forget(&mut self, durable: u64) {
        self.durable = self.durable.max(durable);
        while self.unproven.front().is_some_and(|(sequence, _)| *sequence <= self.durable) {
            self.unproven.pop_front();
        }
    }

    pub(super) fn sealed(&self) -> Sealed {
        Sealed { end: self.end, first_sequence: self.first_sequence, last_sequence: self.last_sequence }
    }

    /// Writes the records anew that nothing proves to be on the medium.
    ///
    /// The process before may have died of a failed fsync. What that should have written is still read from the
    /// kernel's memory, but the pages count as clean, and no later fsync writes them: it would succeed, and a power
    /// cut would take what this process built upon. A crash on the way tears nothing that was acknowledged: the same
    /// bytes go to the same place.
    fn rewrite(&self) -> io::Result<()> {
        let Some(&(_, offset)) = self.unproven.front() else { return Ok(()) };
        let mut offset = u64::from(offset);
        let mut bytes = Vec::new();
        while offset < self.end {
            let len = (self.end - offset).min(CHUNK);
            bytes.resize(len as usize, 0);
            self.segment.file.read_exact_at(&mut bytes, offset)?;
            self.segment.file.write_all_at(&bytes, offset)?;
            offset += len;
        }
        Ok(())
    }
}

/// Tells each tail what the records of all of them prove.
pub(super) fn prove(tails: &mut [Tail]) {
    let durable = tails.iter().map(|tail| tail.durable).max().unwrap_or(0);
    tails.iter_mut().for_each(|tail| tail.forget(durable));
}

/// Makes what recovery kept durable and writes it into a new manifest: the last clean segment with records stays
/// open, and so do the empty ones behind it; every other one is sealed where its records end.
pub(super) fn settle(
    medium: &dyn Medium,
    id: StoreId,
    epoch: u32,
    mut list: SegmentList,
    tails: &[Tail],
    last_sequence: u64,
) -> io::Result<Manifest> {
    let mut open = true;
    for tail in tails.iter().rev() {
        tail.rewrite()?;
        // The bytes may have been written by a process that died before it synced them.
        tail.segment.file.sync()?;
        open &= tail.clean;
        if !open {
            list.insert(tail.segment.id, Some(tail.sealed()));
            tail.segment.close(tail.end);
        }
        open &= !tail.has_records();
    }
    let manifest = Manifest::write(medium, id, epoch, &list, last_sequence)?;
    tails.iter().filter(|tail| tail.segment.is_ended()).for_each(|tail| tail.segment.file.release());
    Ok(manifest)
}
