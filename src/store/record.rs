//! What the bodies of the store's records say. `docs/FORMAT.md` draws them.

use super::attributes::{Attributes, EntryId, Kind, Time};
use crate::log::{Decoder, Encoder, Truncated};

/// The longest name, in bytes.
pub const MAX_NAME: usize = 255;
/// Bytes of value in one record; a longer value takes several.
pub const MAX_EXTENT: usize = 128 << 10;

pub(super) const NODE: u8 = 1;
pub(super) const DATA: u8 = 2;
pub(super) const HOLE: u8 = 3;
pub(super) const TOMBSTONE: u8 = 4;

/// The node's value stands at the end of its record.
const FLAG_INLINE: u8 = 1;

/// Bytes of a data record's body before the value's bytes.
pub(super) const DATA_PREFIX: usize = 16;

/// A name of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) parent: EntryId,
    /// The name's place in its directory: greater than that of every name made before.
    pub(super) cookie: u64,
    pub(super) name: Box<[u8]>,
}

/// Extended attributes: names and values.
pub(super) type Xattrs = Vec<(Box<[u8]>, Box<[u8]>)>;

/// The whole state of an entry, but for a value that is not inline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeState {
    pub(super) attributes: Attributes,
    pub(super) size: u64,
    pub(super) links: Vec<Link>,
    pub(super) xattrs: Xattrs,
    /// A symbolic link's target.
    pub(super) target: Box<[u8]>,
    /// Every data record of the entry with a lesser sequence number is dead: the value was replaced since. It never
    /// moves back.
    pub(super) value_start: u64,
}

/// A node record's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeRecord {
    pub(super) state: NodeState,
    /// The data and hole records of this stage become part of the value; 0 for none.
    pub(super) stage: u64,
    /// Where in the body the inline value is, and its length.
    pub(super) inline: Option<(u32, u32)>,
}

/// The body of a node record up to the inline value, which follows it if `inline`.
pub(super) fn encode_node(state: &NodeState, stage: u64, inline: bool) -> Vec<u8> {
    let names: usize = state.links.iter().map(|link| 18 + link.name.len()).sum();
    let mut out = Vec::with_capacity(80 + names + state.target.len());
    let Attributes { kind, mode, uid, gid, rdev, atime, mtime, ctime } = state.attributes;
    out.put_u8(kind as u8);
    out.put_u8(if inline { FLAG_INLINE } else { 0 });
    out.put_u16(mode);
    out.put_u32(uid);
    out.put_u32(gid);
    out.put_u32(rdev);
    [atime, mtime, ctime].into_iter().for_each(|time| out.put_i64(time.0));
    [state.size, state.value_start, stage].into_iter().for_each(|number| out.put_u64(number));
    out.put_u32(state.links.len() as u32);
    out.put_u16(state.xattrs.len() as u16);
    out.put_u16(state.target.len() as u16);
    for link in &state.links {
        out.put_u64(link.parent);
        out.put_u64(link.cookie);
        out.put_u16(link.name.len() as u16);
        out.extend_from_slice(&link.name);
    }
    for (name, value) in &state.xattrs {
        out.put_u16(name.len() as u16);
        out.put_u32(value.len() as u32);
        out.extend_from_slice(name);
        out.extend_from_slice(value);
    }
    out.extend_from_slice(&state.target);
    out
}

/// Reads a node record's body. `None` if it makes no sense.
pub(super) fn decode_node(body: &[u8]) -> Option<NodeRecord> {
    decode(body).ok().flatten()
}

fn decode(body: &[u8]) -> Result<Option<NodeRecord>, Truncated> {
    let mut decoder = Decoder::new(body);
    let Some(kind) = Kind::from_number(decoder.u8()?) else { return Ok(None) };
    let flags = decoder.u8()?;
    let attributes = Attributes {
        kind,
        mode: decoder.u16()? & 0o7777,
        uid: decoder.u32()?,
        gid: decoder.u32()?,
        rdev: decoder.u32()?,
        atime: Time(decoder.i64()?),
        mtime: Time(decoder.i64()?),
        ctime: Time(decoder.i64()?),
    };
    let (size, value_start, stage) = (decoder.u64()?, decoder.u64()?, decoder.u64()?);
    let (link_count, xattr_count, target_len) = (decoder.u32()?, decoder.u16()?, decoder.u16()?);
    // Nothing is reserved by these counts: each element must be there before it takes memory.
    let mut links = Vec::new();
    for _ in 0..link_count {
        let (parent, cookie, len) = (decoder.u64()?, decoder.u64()?, decoder.u16()?);
        links.push(Link { parent, cookie, name: decoder.bytes(len.into())?.into() });
    }
    let mut xattrs = Vec::new();
    for _ in 0..xattr_count {
        let (name_len, value_len) = (decoder.u16()?, decoder.u32()?);
        xattrs.push((decoder.bytes(name_len.into())?.into(), decoder.bytes(value_len as usize)?.into()));
    }
    let target = decoder.bytes(target_len.into())?.into();
    let value = decoder.rest().len();
    let inline = (flags & FLAG_INLINE != 0).then_some(((body.len() - value) as u32, value as u32));
    let state = NodeState { attributes, size, links, xattrs, target, value_start };
    Ok(Some(NodeRecord { state, stage, inline }))
}

/// The front of a data record's body: its stage, and where in the value its bytes go. The bytes follow.
pub(super) fn encode_data(stage: u64, offset: u64) -> [u8; DATA_PREFIX] {
    let mut out = [0; DATA_PREFIX];
    let (front, back) = out.split_at_mut(8);
    front.copy_from_slice(&stage.to_le_bytes());
    back.copy_from_slice(&offset.to_le_bytes());
    out
}

/// A data record's stage, offset and number of bytes.
pub(super) fn decode_data(body: &[u8]) -> Option<(u64, u64, u64)> {
    let mut decoder = Decoder::new(body);
    let (stage, offset) = (decoder.u64().ok()?, decoder.u64().ok()?);
    let len = decoder.rest().len() as u64;
    offset.checked_add(len).map(|_| (stage, offset, len))
}

/// A hole record's body: its stage, and the stretch of the value that becomes zeros.
pub(super) fn encode_hole(stage: u64, offset: u64, len: u64) -> Vec<u8> {
    let mut out = encode_data(stage, offset).to_vec();
    out.put_u64(len);
    out
}

/// A hole record's stage, offset and length.
pub(super) fn decode_hole(body: &[u8]) -> Option<(u64, u64, u64)> {
    let mut decoder = Decoder::new(body);
    let (stage, offset, len) = (decoder.u64().ok()?, decoder.u64().ok()?, decoder.u64().ok()?);
    offset.checked_add(len).map(|_| (stage, offset, len))
}
