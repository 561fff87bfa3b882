//! Reads the records of one segment from front to back, through a window of the file.

use std::io;
use std::ops::Range;

use super::bad_blocks::BadBlocks;
use super::record::{ALIGNMENT, HEADER_LEN, Header, Location};
use super::retry::retried;
use super::segment::{SEGMENT_HEADER_LEN, Segment};

/// Bytes read at once.
const WINDOW: usize = 1 << 20;

/// A record as found: its header is right; its body is `None` if that is not as written.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) header: Header,
    pub(super) location: Location,
    pub(super) body: Option<&'a [u8]>,
}

impl<'a> Found<'a> {
    /// The front of its body.
    pub(super) fn front(&self) -> Option<&'a [u8]> {
        self.parts().map(|(front, _)| front)
    }

    /// The front and the bulk of its body.
    pub(super) fn parts(&self) -> Option<(&'a [u8], &'a [u8])> {
        self.body?.split_at_checked(self.header.front_len as usize)
    }
}

/// Reads the records of one segment.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    segment: &'a Segment,
    limit: u64,
    /// What the medium has failed to read. `None`: it must not fail, since what cannot be read would look like the log's end.
    bad: Option<BadBlocks>,
    window: Vec<u8>,
    window_start: u64,
}

impl<'a> Scanner<'a> {
    /// Reads up to `end`, or to the end of the file. A sealed segment, which has an end, is read as far as it can be:
    /// what the medium fails to read is zeros, and no record.
    pub(super) fn new(segment: &'a Segment, end: Option<u64>) -> io::Result<Scanner<'a>> {
        let len = segment.file.len()?.min(u64::from(u32::MAX));
        let limit = end.map_or(len, |end| end.min(len));
        Ok(Scanner { segment, limit, bad: end.map(|_| BadBlocks::default()), window: Vec::new(), window_start: 0 })
    }

    /// Where the first record begins.
    pub(super) fn start(&self) -> u64 {
        u64::from(SEGMENT_HEADER_LEN)
    }

    /// Where reading ends.
    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// The record that begins at `offset`, if a whole one with a right header does.
    pub(super) fn record_at(&mut self, offset: u64) -> io::Result<Option<Found<'_>>> {
        let (segment, seed) = (self.segment.id, self.segment.seed);
        let Ok(place) = u32::try_from(offset) else { return Ok(None) };
        let Some(header) = Header::decode(self.bytes(offset, HEADER_LEN)?, seed, place) else { return Ok(None) };
        if header.record_len() > self.limit.saturating_sub(offset) {
            return Ok(None);
        }
        let body_len = header.body_len as usize;
        let body = self.bytes(offset + HEADER_LEN as u64, body_len)?;
        let intact = body.len() == body_len && crc32fast::hash(body) == header.body_crc;
        let location = Location { segment, offset: place };
        Ok(Some(Found { header, location, body: intact.then_some(body) }))
    }

    /// Where the next record with a right header begins, at or behind `offset`.
    pub(super) fn search(&mut self, mut offset: u64) -> io::Result<Option<u64>> {
        while offset + HEADER_LEN as u64 <= self.limit {
            if self.record_at(offset)?.is_some() {
                return Ok(Some(offset));
            }
            offset += ALIGNMENT as u64;
        }
        Ok(None)
    }

    /// Where the zeros begin that reach from somewhere behind `offset` to the limit, rounded up to where a record may begin.
    pub(super) fn blank_from(&mut self, offset: u64) -> io::Result<u64> {
        let (mut place, mut end) = (offset, offset);
        while place < self.limit {
            let bytes = self.bytes(place, WINDOW)?;
            if let Some(last) = bytes.iter().rposition(|&byte| byte != 0) {
                end = place + last as u64 + 1;
            }
            place += (bytes.len() as u64).max(1);
        }
        Ok(end.next_multiple_of(ALIGNMENT as u64).min(self.limit))
    }

    /// Whether there is nothing but zeros from `offset` on.
    pub(super) fn is_blank(&mut self, offset: u64) -> io::Result<bool> {
        Ok(self.blank_from(offset)? <= offset)
    }

    /// Whether the medium has failed to read any of these bytes; of those that were asked for.
    pub(super) fn failed_at(&self, bytes: Range<u64>) -> bool {
        self.bad.as_ref().is_some_and(|bad| bad.touches(&bytes))
    }

    /// Where the last block ends that the medium has failed to read, if there is one.
    pub(super) fn failed_until(&self) -> u64 {
        self.bad.as_ref().map_or(0, BadBlocks::end).min(self.limit)
    }

    /// What of the segment the medium has failed to read; of that which was asked for.
    pub(super) fn failed(&self) -> Vec<Range<u64>> {
        let stretches = self.bad.as_ref().map(BadBlocks::stretches).unwrap_or_default();
        let within = |stretch: Range<u64>| stretch.start..stretch.end.min(self.limit);
        stretches.into_iter().map(within).filter(|stretch| !stretch.is_empty()).collect()
    }

    /// Up to `len` bytes at `offset`, fewer at the limit.
    fn bytes(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let len = self.limit.saturating_sub(offset).min(len as u64) as usize;
        let inside = offset >= self.window_start && offset + len as u64 <= self.window_start + self.window.len() as u64;
        if !inside {
            let want = self.limit.saturating_sub(offset).min(len.max(WINDOW) as u64) as usize;
            self.window.resize(want, 0);
            self.window_start = offset;
            let file = &*self.segment.file;
            let read = match &mut self.bad {
                Some(bad) => bad.read(file, &mut self.window, offset),
                None => retried(|| file.read_exact_at(&mut self.window, offset)),
            };
            if let Err(error) = read {
                self.window.clear();
                return Err(error);
            }
        }
        let start = (offset - self.window_start) as usize;
        Ok(self.window.get(start..start + len).unwrap_or_default())
    }
}
