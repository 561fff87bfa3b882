//! The commonest record there is: a file with one name, no further attributes, and all of its value behind the front.
//!
//! A start meets millions of them, so they are packed where they are read, without an allocation for each.

use std::ops::Range;

use crate::log::{Decoder, HEADER_LEN, Header, Location};
use crate::store::attributes::EntryId;
use crate::store::directory;
use crate::store::record;

use super::Keydir;
use super::node::Meta;
use super::packed;

/// A plain file, packed. Its bytes are in a buffer that it shares with others.
#[derive(Clone, Debug)]
pub(in crate::store) struct Plain {
    pub(super) id: EntryId,
    pub(super) location: Location,
    /// Bytes of the record, the value left out.
    pub(super) len: u64,
    pub(super) size: u64,
    pub(super) parent: EntryId,
    pub(super) first_place: u64,
    packed: Range<usize>,
    front_len: usize,
    name_len: usize,
}

impl Plain {
    /// Packs the file that a node record describes to the end of `out`, if it is a plain one.
    pub(in crate::store) fn new(header: &Header, location: Location, front: &[u8], out: &mut Vec<u8>) -> Option<Plain> {
        let sequence = header.sequence;
        let mut decoder = Decoder::new(front);
        let begun = record::decode_front(&mut decoder, sequence).ok()?;
        let names = decoder.varint().ok()?;
        let size = begun.size;
        if !begun.is_plain_file() || names != 1 || u64::from(header.bulk_len()) != size {
            return None;
        }
        // The name is the end of it.
        let (parent, name) = record::decode_link(&mut decoder).ok().filter(|_| decoder.rest().is_empty())?;
        let id = header.entry;
        let len = (HEADER_LEN + front.len()) as u64;
        let value_sequence = if size > 0 || begun.value_start > 0 { sequence } else { 0 };
        let start = out.len();
        packed::pack_file(id, Meta { location, sequence, len }, value_sequence, size, front, out);
        let first_place = directory::first_place(name);
        let packed = start..out.len();
        Some(Plain {
            id,
            location,
            len,
            size,
            parent,
            first_place,
            packed,
            front_len: front.len(),
            name_len: name.len(),
        })
    }

    /// The packed file.
    pub(super) fn packed<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        bytes.get(self.packed.clone()).unwrap_or_default()
    }

    /// The front of the node record.
    pub(in crate::store) fn front<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        bytes.get(self.packed.end.saturating_sub(self.front_len)..self.packed.end).unwrap_or_default()
    }

    /// The file's name.
    pub(super) fn name<'b>(&self, bytes: &'b [u8]) -> &'b [u8] {
        bytes.get(self.packed.end.saturating_sub(self.name_len)..self.packed.end).unwrap_or_default()
    }
}

impl Keydir {
    /// Applies a node record with this front. `scratch` is used again from call to call.
    pub(in crate::store) fn apply_front(
        &mut self,
        (entry, sequence, at): (EntryId, u64, Location),
        (front, bulk_len): (&[u8], u32),
        scratch: &mut Vec<u8>,
    ) {
        scratch.clear();
        let (front_len, kind) = (front.len() as u32, record::NODE);
        let body_len = front_len + bulk_len;
        let header = Header { kind, last: false, body_len, front_len, body_crc: 0, sequence, entry, durable: 0 };
        let plain = Plain::new(&header, at, front, scratch);
        if plain.is_some_and(|plain| self.apply_plain(&plain, scratch)) {
            return;
        }
        if let Some(node) = record::decode_node(front, sequence, bulk_len) {
            self.apply_node(entry, sequence, at, body_len, node);
        }
    }
}
