//! A record: a header of 40 bytes with a checksum of its own, and a body.
//!
//! The body has two parts: the *front*, which recovery needs and hints repeat, and the *bulk* behind it, which nobody
//! looks at before somebody asks for it.

use std::fmt;

use super::codec::{Decoder, Encoder};
use super::files;

/// Bytes of a record's header.
pub const HEADER_LEN: usize = 40;

/// Records begin at multiples of this, so that a search behind damage has few places to look.
pub(super) const ALIGNMENT: usize = 8;

/// The longest body, in bytes. A length beyond it is damage.
pub const MAX_BODY: usize = 1 << 24;

/// The highest sequence number, so that sums with one never overflow. A higher one is damage.
pub(super) const MAX_SEQUENCE: u64 = (1 << 62) - 1;

/// The highest number of an entry: who numbers them may have a use for the 16 bits above. A higher one is damage.
pub const MAX_ENTRY: u64 = (1 << 48) - 1;

/// This record ends its transaction.
const FLAG_LAST: u8 = 1;

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The segment's number.
    pub segment: u32,
    /// Offset of the record's header in the segment, in bytes.
    pub offset: u32,
}

impl Location {
    /// The path of the segment's file in the store.
    pub fn file(&self) -> String {
        files::segment(self.segment)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "segment {} offset {}", self.segment, self.offset)
    }
}

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the body is; never 0. The log does not look into it.
    pub kind: u8,
    /// Whether the record ends its transaction.
    pub last: bool,
    /// Length of the body in bytes.
    pub body_len: u32,
    /// Length of the body's front.
    pub front_len: u32,
    /// Checksum of the body.
    pub body_crc: u32,
    /// Sequence number.
    pub sequence: u64,
    /// The entry that the record is about.
    pub entry: u64,
    /// The highest sequence number that was durable when this record was written. What recovery misses at or below
    /// it was acknowledged, so it is damage and no torn tail.
    pub durable: u64,
}

impl Header {
    /// Length of the body's bulk.
    pub fn bulk_len(&self) -> u32 {
        self.body_len.saturating_sub(self.front_len)
    }

    /// Bytes that the record takes in its segment: header, body and padding.
    pub fn record_len(&self) -> u64 {
        record_len(self.body_len as usize)
    }

    /// Appends the header to `out`. `seed` is the segment's, `offset` the record's place in it.
    pub(super) fn encode(&self, seed: u32, offset: u32, out: &mut Vec<u8>) {
        let start = out.len();
        out.put_u32(0);
        out.put_u32(self.body_crc);
        out.put_u32(self.body_len);
        out.put_u8(self.kind);
        out.put_u8(if self.last { FLAG_LAST } else { 0 });
        out.put_u16(0);
        out.put_u64(self.sequence);
        out.put_u64(self.entry);
        out.put_u32(self.front_len);
        // One that is farther away is called farther away than it is, never nearer.
        out.put_u32(u32::try_from(self.sequence.saturating_sub(self.durable)).unwrap_or(u32::MAX));
        let crc = header_crc(seed, offset, out.get(start + 4..).unwrap_or_default());
        if let Some(place) = out.get_mut(start..start + 4) {
            place.copy_from_slice(&crc.to_le_bytes());
        }
    }

    /// The header at the front of `bytes`, if its checksum holds and it makes sense.
    pub(super) fn decode(bytes: &[u8], seed: u32, offset: u32) -> Option<Header> {
        let bytes = bytes.get(..HEADER_LEN)?;
        let mut decoder = Decoder::new(bytes);
        let crc = decoder.u32().ok()?;
        if header_crc(seed, offset, decoder.rest()) != crc {
            return None;
        }
        let body_crc = decoder.u32().ok()?;
        let body_len = decoder.u32().ok()?;
        let kind = decoder.u8().ok()?;
        let flags = decoder.u8().ok()?;
        let _reserved = decoder.u16().ok()?;
        let (sequence, entry) = (decoder.u64().ok()?, decoder.u64().ok()?);
        let (front_len, distance) = (decoder.u32().ok()?, decoder.u32().ok()?);
        let last = flags & FLAG_LAST != 0;
        let durable = match distance {
            u32::MAX => 0,
            distance => sequence.saturating_sub(distance.into()),
        };
        let header = Header { kind, last, body_len, front_len, body_crc, sequence, entry, durable };
        header.is_sound().then_some(header)
    }

    /// Whether its numbers are within their limits.
    pub(super) fn is_sound(&self) -> bool {
        let lengths = self.body_len as usize <= MAX_BODY && self.front_len <= self.body_len;
        let numbers = (1..=MAX_SEQUENCE).contains(&self.sequence) && self.entry <= MAX_ENTRY;
        self.kind != 0 && lengths && numbers
    }
}

/// Bytes that a record with a body of this length takes: header, body and padding.
pub(super) fn record_len(body_len: usize) -> u64 {
    (HEADER_LEN + body_len).next_multiple_of(ALIGNMENT) as u64
}

/// The seed (a checksum of the segment's own header) and the offset are mixed in, so that a stale record of another
/// segment, or a copy of a segment that somebody stored as a value, never passes.
pub(super) fn header_crc(seed: u32, offset: u32, rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(&offset.to_le_bytes());
    hasher.update(rest);
    hasher.finalize()
}
