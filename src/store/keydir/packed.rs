//! An entry in as few bytes as it takes: where its records are, and the front of its node record as it is on disk.

use crate::log::{Decoder, Encoder, HEADER_LEN, Location, Truncated};
use crate::store::attributes::{EntryId, Stat};
use crate::store::extents::{Extent, Extents};
use crate::store::record::{self, Front};

use super::node::{Meta, Node};

/// Where the value is.
const NOWHERE: u8 = 0;
/// In the node record, behind the front.
const INLINE: u8 = 1;
const ELSEWHERE: u8 = 2;

/// What stands before the front.
struct Head {
    id: EntryId,
    meta: Meta,
    value_sequence: u64,
    /// The value's length in its one record, and the place.
    value: Option<(u64, Extent)>,
}

/// Packs an entry into `out`. False if it is not of the kind that can be: it is a directory, has bytes in several
/// records or in one that was lent, or is in no record yet.
pub(super) fn pack(id: EntryId, node: &Node, out: &mut Vec<u8>) -> bool {
    out.clear();
    let Some(Meta { location, sequence, len }) = node.meta else { return false };
    if node.directory.is_some() || node.provisional {
        return false;
    }
    out.put_varint(id);
    out.put_varint(sequence);
    put_location(location, out);
    out.put_varint(len);
    out.put_varint(sequence.wrapping_sub(node.value_sequence));
    match &node.extents {
        Extents::None => out.put_u8(NOWHERE),
        Extents::One(_, extent) if extent.is_borrowed() => return false,
        Extents::One(value_len, extent) => {
            let behind = extent.location == location && extent.sequence == sequence;
            let behind = behind && u64::from(extent.skip) + HEADER_LEN as u64 == len;
            out.put_u8(if behind { INLINE } else { ELSEWHERE });
            out.put_varint(node.state.size.wrapping_sub(*value_len));
            // What the record has behind the value's end: mostly nothing.
            out.put_varint(u64::from(extent.body_len).wrapping_sub(extent.skip.into()).wrapping_sub(*value_len));
            if !behind {
                put_location(extent.location, out);
                out.put_varint(extent.skip.into());
                out.put_varint(sequence.wrapping_sub(extent.sequence));
            }
        }
        Extents::Many(_) => return false,
    }
    record::put_node(&node.state, sequence, 0, out);
    true
}

/// Packs a file of which nothing is known but the front of a node record, which is its first and brings all of its value.
pub(super) fn pack_file(id: EntryId, meta: Meta, value_sequence: u64, size: u64, front: &[u8], out: &mut Vec<u8>) {
    out.put_varint(id);
    out.put_varint(meta.sequence);
    put_location(meta.location, out);
    out.put_varint(meta.len);
    out.put_varint(meta.sequence.wrapping_sub(value_sequence));
    match size {
        0 => out.put_u8(NOWHERE),
        _ => out.extend_from_slice(&[INLINE, 0, 0]),
    }
    out.extend_from_slice(front);
}

fn put_location(location: Location, out: &mut Vec<u8>) {
    out.put_varint(location.segment.into());
    // Records begin at multiples of 8, but nothing depends on it here.
    out.put_varint(location.offset.rotate_right(3).into());
}

fn location(decoder: &mut Decoder<'_>) -> Result<Location, Truncated> {
    Ok(Location { segment: decoder.varint()? as u32, offset: (decoder.varint()? as u32).rotate_left(3) })
}

/// The id of a packed entry.
pub(super) fn id(bytes: &[u8]) -> Option<EntryId> {
    Decoder::new(bytes).varint().ok()
}

/// Reads what stands before the front, and the front's beginning, and leaves the decoder at the names.
fn head(decoder: &mut Decoder<'_>) -> Result<(Head, Front), Truncated> {
    let (id, sequence) = (decoder.varint()?, decoder.varint()?);
    let at = location(decoder)?;
    let len = decoder.varint()?;
    let value_sequence = sequence.wrapping_sub(decoder.varint()?);
    let meta = Meta { location: at, sequence, len };
    let shape = decoder.u8()?;
    let mut value = None;
    if shape != NOWHERE {
        let (less, rest) = (decoder.varint()?, decoder.varint()?);
        let (location, skip, before) = match shape {
            INLINE => (at, len.saturating_sub(HEADER_LEN as u64), 0),
            _ => (location(decoder)?, decoder.varint()?, decoder.varint()?),
        };
        value = Some((less, rest, location, skip, sequence.wrapping_sub(before)));
    }
    let front = record::decode_front(decoder, sequence)?;
    let value = value.map(|(less, rest, location, skip, sequence)| {
        let len = front.size.wrapping_sub(less);
        let body_len = skip.wrapping_add(len).wrapping_add(rest) as u32;
        (len, Extent::own(location, body_len, skip as u32, sequence))
    });
    Ok((Head { id, meta, value_sequence, value }, front))
}

/// The entry.
pub(super) fn unpack(bytes: &[u8]) -> Option<Node> {
    let mut decoder = Decoder::new(bytes);
    let (head, front) = head(&mut decoder).ok()?;
    let (state, _) = record::decode_rest(front, &mut decoder, head.meta.sequence).ok()?;
    let extents = head.value.map_or(Extents::None, |(len, extent)| Extents::One(len, extent));
    let (meta, value_sequence) = (Some(head.meta), head.value_sequence);
    Some(Node { extents, meta, value_sequence, ..Node::new(state) })
}

/// What stat shows of the entry.
pub(super) fn stat(bytes: &[u8]) -> Option<Stat> {
    let mut decoder = Decoder::new(bytes);
    let (head, front) = head(&mut decoder).ok()?;
    if front.is_incomplete() {
        return unpack(bytes).map(|node| node.stat(head.id));
    }
    let Front { attributes, size, .. } = front;
    let allocated = head.value.map_or(0, |(len, _)| len);
    Some(Stat { id: head.id, attributes, size, allocated, links: decoder.varint().ok()? as u32, expires: None })
}

/// The value's length, and where it is, if it has any bytes.
pub(super) fn value(bytes: &[u8]) -> Option<(u64, Option<(u64, Extent)>)> {
    let (head, front) = head(&mut Decoder::new(bytes)).ok()?;
    Some((front.size, head.value))
}

/// The first of the entry's names for which `is_it` says yes, given parent and name.
pub(super) fn find_name(bytes: &[u8], mut is_it: impl FnMut(EntryId, &[u8]) -> bool) -> Option<&[u8]> {
    let mut decoder = Decoder::new(bytes);
    head(&mut decoder).ok()?;
    for _ in 0..decoder.varint().ok()? {
        let (parent, name) = record::decode_checked_link(&mut decoder).ok()?;
        if is_it(parent, name) {
            return Some(name);
        }
    }
    None
}
