//! A record: a header of 40 bytes with a checksum of its own, and a body.

use std::fmt;

use super::codec::{Decoder, Encoder};

/// Bytes of a record's header.
pub const HEADER_LEN: usize = 40;

/// Records begin at multiples of this, so that a search behind damage has few places to look.
pub(super) const ALIGNMENT: usize = 8;

/// The longest body, in bytes. A length beyond it is damage.
pub const MAX_BODY: usize = 1 << 24;

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
        out.put_u64(self.durable);
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
        let header = Header {
            kind,
            last: flags & FLAG_LAST != 0,
            body_len,
            body_crc,
            sequence: decoder.u64().ok()?,
            entry: decoder.u64().ok()?,
            durable: decoder.u64().ok()?,
        };
        (kind != 0 && body_len as usize <= MAX_BODY && header.sequence != 0).then_some(header)
    }
}

/// Bytes that a record with a body of this length takes: header, body and padding.
pub(super) fn record_len(body_len: usize) -> u64 {
    (HEADER_LEN + body_len).next_multiple_of(ALIGNMENT) as u64
}

/// The seed (a checksum of the segment's own header) and the offset are mixed in, so that a stale record of another
/// segment, or a copy of a segment that somebody stored as a value, never passes.
fn header_crc(seed: u32, offset: u32, rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(&offset.to_le_bytes());
    hasher.update(rest);
    hasher.finalize()
}
