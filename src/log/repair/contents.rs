//! What a segment holds, found out from itself alone: for a manifest that is lost.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

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
    /// The sequence numbers of its records, in the order in which they stand there: the first and last of each row without
    /// a gap. A segment that was written one after the other is one row, however many records it has.
    pub(super) rows: Vec<(u64, u64)>,
    /// Where the last record ends.
    pub(super) end: u64,
    /// Where the bytes end that are not zero.
    pub(super) filled: u64,
    /// Every record says of itself that it was durable when it was written: they are copies.
    pub(super) merged: bool,
    /// The highest sequence number that a record calls durable.
    pub(super) durable: u64,
    /// The first place where something is missing, and no record behind it says that this was durable: a torn tail that
    /// was cut off looks so, and damage to what was written last.
    pub(super) doubt: Option<Gap>,
    /// It has other names too, in snapshots: nothing may be appended to it.
    pub(super) linked: bool,
    /// The segment's hint tells where it was sealed.
    pub(super) sealed: Option<Sealed>,
}

impl Contents {
    /// Reads a segment. Says also what of it, or of its hint, could not be read: that counts as zeros.
    pub(super) fn read(medium: &dyn Medium, segment: &Segment) -> io::Result<(Contents, Vec<Range<u64>>)> {
        let sealed = Hint::seal(medium, segment).ok().flatten();
        // What cannot be read counts as zeros.
        let mut scanner = Scanner::new(segment, Some(sealed.map_or(u64::MAX, |sealed| sealed.end)))?;
        let mut contents = Contents {
            id: segment.id,
            rows: Vec::new(),
            end: scanner.start(),
            filled: scanner.start(),
            merged: true,
            durable: 0,
            doubt: None,
            linked: matches!(medium.status(&files::segment(segment.id)), Ok(Status::File { links, .. }) if links > 1),
            sealed,
        };
        // Of which no record so far says that they were durable, by the sequence numbers that were due.
        let mut gaps: BTreeMap<u64, Gap> = BTreeMap::new();
        // Where the transaction begins that has not ended yet.
        let mut open: Option<Gap> = None;
        let mut offset = scanner.start();
        while offset < scanner.limit() {
            let (rows, last, end) = (contents.rows.len(), contents.last(), contents.end);
            let due = last.map_or(0, |sequence| sequence + 1);
            let gap = |due| Gap { offset, due, rows, last, end };
            let found = scanner.record_at(offset)?.map(|found| (found.header, found.body.is_some()));
            let Some((header, intact)) = found else {
                let blank = scanner.blank_from(offset)?;
                if blank <= offset {
                    break;
                }
                gaps.entry(due).or_insert(gap(due));
                contents.filled = scanner.search(offset)?.unwrap_or(blank);
                offset = contents.filled;
                continue;
            };
            contents.merged &= header.durable == header.sequence;
            if !contents.merged && due > 0 && header.sequence != due {
                gaps.entry(due).or_insert(gap(due));
            }
            if !intact {
                gaps.entry(header.sequence).or_insert(gap(header.sequence));
            }
            gaps = gaps.split_off(&(header.durable + 1));
            contents.durable = contents.durable.max(header.durable);
            let begun = open.unwrap_or(gap(header.sequence));
            open = (!header.last).then_some(begun);
            offset += header.record_len();
            contents.note(header.sequence, offset);
        }
        if let Some(gap) = open {
            gaps.insert(gap.due, gap);
        }
        if contents.sealed.is_none() && !contents.merged {
            contents.doubt = gaps.into_values().filter(|gap| gap.due > 0).min_by_key(|gap| (gap.offset, gap.due));
        }
        contents.merged &= !contents.rows.is_empty();
        Ok((contents, scanner.failed()))
    }

    /// Notes a record, and where it ends.
    fn note(&mut self, sequence: u64, end: u64) {
        match self.rows.last_mut() {
            // Pieces of one record have its number each.
            Some((_, last)) if sequence == *last || sequence == *last + 1 => *last = sequence,
            _ => self.rows.push((sequence, sequence)),
        }
        (self.end, self.filled) = (end, end);
    }

    pub(super) fn first(&self) -> Option<u64> {
        self.rows.first().map(|(first, _)| *first)
    }

    pub(super) fn last(&self) -> Option<u64> {
        self.rows.last().map(|(_, last)| *last)
    }

    /// Whether both hold records of the same stretch of sequence numbers.
    pub(super) fn overlaps(&self, other: &Contents) -> bool {
        let (Some(first), Some(last)) = (self.first(), self.last()) else { return false };
        let (Some(from), Some(to)) = (other.first(), other.last()) else { return false };
        // Pieces of one record may end one output of a merge and begin the next.
        let touch = last == from || first == to;
        first <= to && from <= last && !(touch && self.merged && other.merged)
    }

    /// Forgets what stands at this gap or behind it.
    pub(super) fn cut(&mut self, gap: Gap) {
        self.rows.truncate(gap.rows);
        if let (Some(row), Some(last)) = (self.rows.last_mut(), gap.last) {
            row.1 = last;
        }
        (self.end, self.filled) = (gap.end, if gap.last.is_some() { gap.end } else { gap.offset });
        self.doubt = None;
    }
}

/// A place where the next record is not the one that was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    offset: u64,
    pub(super) due: u64,
    /// How many rows there were before it, the sequence number of the record before it, and where that ends.
    rows: usize,
    last: Option<u64>,
    end: u64,
}
