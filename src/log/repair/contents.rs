//! What a segment holds, found out from itself alone: for a manifest that is lost.

use std::io;

use crate::log::files;
use crate::log::hint::Hint;
use crate::log::manifest::Sealed;
use crate::log::scan::Scanner;
use crate::log::segment::Segment;
use crate::medium::{Medium, Status};

/// What a segment holds.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) id: u32,
    /// The sequence numbers of its records and where each record ends, in the order in which they stand there.
    pub(super) records: Vec<(u64, u64)>,
    /// Where the bytes end that are not zero.
    pub(super) filled: u64,
    /// Every record says of itself that it was durable when it was written: they are copies.
    pub(super) merged: bool,
    /// The highest sequence number that a record calls durable.
    pub(super) durable: u64,
    /// The first place where something is missing, and no record behind it says that this was durable: a torn tail that
    /// was cut off looks so, and damage to what was written last. The offset, and the sequence number that was due.
    pub(super) doubt: Option<(u64, u64)>,
    /// It has other names too, in snapshots: nothing may be appended to it.
    pub(super) linked: bool,
    /// The segment's hint tells where it was sealed.
    pub(super) sealed: Option<Sealed>,
}

impl Contents {
    pub(super) fn read(medium: &dyn Medium, segment: &Segment) -> io::Result<Contents> {
        let sealed = Hint::seal(medium, segment).ok().flatten();
        // What cannot be read counts as zeros.
        let mut scanner = Scanner::new(segment, Some(sealed.map_or(u64::MAX, |sealed| sealed.end)))?;
        let mut contents = Contents {
            id: segment.id,
            records: Vec::new(),
            filled: scanner.start(),
            merged: true,
            durable: 0,
            doubt: None,
            linked: matches!(medium.status(&files::segment(segment.id)), Ok(Status::File { links, .. }) if links > 1),
            sealed,
        };
        let mut gaps: Vec<Gap> = Vec::new();
        // Where the transaction begins that has not ended yet.
        let mut open: Option<(u64, u64)> = None;
        let mut offset = scanner.start();
        while offset < scanner.limit() {
            let due = contents.records.last().map_or(0, |(sequence, _)| sequence + 1);
            let found = scanner.record_at(offset)?.map(|found| (found.header, found.body.is_some()));
            let Some((header, intact)) = found else {
                let blank = scanner.blank_from(offset)?;
                if blank <= offset {
                    break;
                }
                gaps.push(Gap { offset, due, durable: 0 });
                contents.filled = scanner.search(offset)?.unwrap_or(blank);
                offset = contents.filled;
                continue;
            };
            contents.merged &= header.durable == header.sequence;
            if !contents.merged && due > 0 && header.sequence != due {
                gaps.push(Gap { offset, due, durable: 0 });
            }
            if !intact {
                gaps.push(Gap { offset, due: header.sequence, durable: 0 });
            }
            gaps.iter_mut().for_each(|gap| gap.durable = gap.durable.max(header.durable));
            contents.durable = contents.durable.max(header.durable);
            let begun = open.unwrap_or((offset, header.sequence));
            open = (!header.last).then_some(begun);
            offset += header.record_len();
            contents.filled = offset;
            contents.records.push((header.sequence, offset));
        }
        if let Some((offset, due)) = open {
            gaps.push(Gap { offset, due, durable: 0 });
        }
        if contents.sealed.is_none() && !contents.merged {
            let doubtful = gaps.into_iter().filter(|gap| gap.durable < gap.due).map(|gap| (gap.offset, gap.due));
            contents.doubt = doubtful.min();
        }
        contents.merged &= !contents.records.is_empty();
        Ok(contents)
    }

    pub(super) fn first(&self) -> Option<u64> {
        self.records.first().map(|(sequence, _)| *sequence)
    }

    pub(super) fn last(&self) -> Option<u64> {
        self.records.last().map(|(sequence, _)| *sequence)
    }

    /// Whether both hold records of the same stretch of sequence numbers.
    pub(super) fn overlaps(&self, other: &Contents) -> bool {
        let (Some(first), Some(last)) = (self.first(), self.last()) else { return false };
        let (Some(from), Some(to)) = (other.first(), other.last()) else { return false };
        // Pieces of one record may end one output of a merge and begin the next.
        let touch = last == from || first == to;
        first <= to && from <= last && !(touch && self.merged && other.merged)
    }

    /// Forgets what stands at or behind this offset.
    pub(super) fn cut(&mut self, offset: u64) {
        self.records.retain(|(_, end)| *end <= offset);
        self.filled = self.records.last().map_or(offset, |(_, end)| *end);
        self.doubt = None;
    }
}

/// A place where the next record is not the one that was due.
struct Gap {
    offset: u64,
    due: u64,
    /// The highest sequence number that a record behind it calls durable.
    durable: u64,
}
