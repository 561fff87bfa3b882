//! What the bodies of the store's records say. `docs/FORMAT.md` draws them.

use super::attributes::{Attributes, EntryId, Kind, Time};
use super::extents::Extent;
use crate::log::{Decoder, Encoder, Location, MAX_BODY, MAX_ENTRY, Truncated};

/// The longest name, in bytes.
pub const MAX_NAME: usize = 255;
/// Bytes of value in one record; a longer value takes several.
pub const MAX_EXTENT: usize = 128 << 10;

pub(super) const NODE: u8 = 1;
pub(super) const DATA: u8 = 2;
pub(super) const HOLE: u8 = 3;
pub(super) const TOMBSTONE: u8 = 4;
/// The entry's value was damaged, and a repair has taken the damage away: what is older than this record is not whole.
pub(super) const LOSS: u8 = 5;
/// Bytes of a value that stand in another record, of whatever entry.
pub(super) const SHARE: u8 = 6;

/// A name of an entry, beside those in its node record; and that it is gone.
pub(super) const NAME: u8 = 7;
pub(super) const NAME_GONE: u8 = 8;

/// So many names of an entry are in its node record. What it gets beyond these is in records of their own: else each name
/// more would write all the others anew.
pub(super) const MAX_OWN_NAMES: usize = 4;

/// Which of the fields that most entries have not a node record has.
const FLAG_STAGE: u8 = 1;
const FLAG_XATTRS: u8 = 1 << 1;
const FLAG_TARGET: u8 = 1 << 2;
const FLAG_RDEV: u8 = 1 << 3;
const FLAG_EXPIRES: u8 = 1 << 4;
const FLAG_FURTHER: u8 = 1 << 5;

/// Length of a data record's front: what stands before the value's bytes.
pub(super) const DATA_PREFIX: usize = 16;

/// A name of an entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Link {
    pub(super) parent: EntryId,
    pub(super) name: Box<[u8]>,
}

/// Extended attributes: names and values.
pub(super) type Xattrs = Vec<(Box<[u8]>, Box<[u8]>)>;

/// The whole state of an entry, but for a value that is not inline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeState {
    pub(super) attributes: Attributes,
    pub(super) size: u64,
    /// The names in the node record.
    pub(super) links: Vec<Link>,
    /// How many names there are beside them, in records of their own.
    pub(super) further: u64,
    pub(super) xattrs: Xattrs,
    /// A symbolic link's target.
    pub(super) target: Box<[u8]>,
    /// When the key is gone by itself, in seconds since 1970.
    pub(super) expires: Option<i64>,
    /// Every data record of the entry with a lesser sequence number is dead: the value was replaced since. It never
    /// moves back.
    pub(super) value_start: u64,
}

impl NodeState {
    /// The second at which the entry goes by itself: only a file does, and only while it has a name.
    pub(super) fn due(&self) -> Option<i64> {
        self.expires.filter(|_| self.attributes.kind == Kind::File && self.has_name())
    }

    /// Number of names.
    pub(super) fn names(&self) -> u64 {
        self.links.len() as u64 + self.further
    }

    pub(super) fn has_name(&self) -> bool {
        !self.links.is_empty() || self.further > 0
    }
}

/// What of an entry makes its records long, the value left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Burden {
    pub(super) names: usize,
    /// Bytes of its own names, extended attributes and the target.
    pub(super) bytes: usize,
    /// Bytes of extended attributes and the target alone.
    pub(super) lasting: usize,
}

impl NodeState {
    /// What of it makes its records long.
    pub(super) fn burden(&self) -> Burden {
        let names: usize = self.links.iter().map(|link| link.name.len()).sum();
        let xattrs: usize = self.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        let lasting = xattrs + self.target.len();
        Burden { names: self.names() as usize, bytes: names + lasting, lasting }
    }
}

/// A node record's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeRecord {
    pub(super) state: NodeState,
    /// The data and hole records of this stage become part of the value; 0 for none.
    pub(super) stage: u64,
    /// Where in the body the inline value is, and its length: it is the body's bulk.
    pub(super) inline: Option<(u32, u32)>,
}

/// The front of a node record with this sequence number. The inline value, if there is one, is the bulk.
pub(super) fn encode_node(state: &NodeState, sequence: u64, stage: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_node(state, sequence, stage, &mut out);
    out
}

/// [`encode_node`] behind what is in `out`.
pub(super) fn put_node(state: &NodeState, sequence: u64, stage: u64, out: &mut Vec<u8>) {
    let NodeState { attributes, size, links, further, xattrs, target, expires, value_start } = state;
    let Attributes { kind, mode, uid, gid, rdev, atime, mtime, ctime } = *attributes;
    let names: usize = links.iter().map(|link| 11 + link.name.len()).sum();
    out.reserve(48 + names + target.len());
    let flags = [
        (FLAG_STAGE, stage != 0),
        (FLAG_XATTRS, !xattrs.is_empty()),
        (FLAG_TARGET, !target.is_empty()),
        (FLAG_RDEV, rdev != 0),
        (FLAG_EXPIRES, expires.is_some()),
        (FLAG_FURTHER, *further > 0),
    ];
    out.put_u8(kind as u8);
    out.put_u8(flags.iter().map(|(flag, set)| flag * u8::from(*set)).sum());
    out.put_varint(mode.into());
    out.put_varint(uid.into());
    out.put_varint(gid.into());
    out.put_i64(mtime.0);
    out.put_signed_varint(ctime.0.wrapping_sub(mtime.0));
    out.put_signed_varint(atime.0.wrapping_sub(mtime.0));
    out.put_varint(*size);
    // Mostly the record itself, or one not far before it.
    out.put_varint(sequence.wrapping_sub(*value_start));
    out.put_varint(links.len() as u64);
    links.iter().for_each(|link| put_link(link.parent, &link.name, out));
    if stage != 0 {
        out.put_varint(sequence.wrapping_sub(stage));
    }
    if !xattrs.is_empty() {
        out.put_varint(xattrs.len() as u64);
    }
    for (name, value) in xattrs {
        out.put_u8(name.len() as u8);
        out.put_varint(value.len() as u64);
        out.extend_from_slice(name);
        out.extend_from_slice(value);
    }
    if !target.is_empty() {
        out.put_varint(target.len() as u64);
        out.extend_from_slice(target);
    }
    if rdev != 0 {
        out.put_varint(rdev.into());
    }
    if let Some(expires) = expires {
        out.put_signed_varint(*expires);
    }
    if *further > 0 {
        out.put_varint(*further);
    }
}

fn put_link(parent: EntryId, name: &[u8], out: &mut Vec<u8>) {
    out.put_varint(parent);
    out.put_u8(name.len() as u8);
    out.extend_from_slice(name);
}

/// Reads the front of a node record with this sequence number, whose body has so much bulk behind it. `None` if it makes
/// no sense.
pub(super) fn decode_node(front: &[u8], sequence: u64, bulk_len: u32) -> Option<NodeRecord> {
    let mut decoder = Decoder::new(front);
    let begun = decode_front(&mut decoder, sequence).ok()?;
    let (state, stage) = decode_rest(begun, &mut decoder, sequence).ok()?;
    let inline = (bulk_len > 0).then_some((front.len() as u32, bulk_len));
    decoder.rest().is_empty().then_some(NodeRecord { state, stage, inline })
}

/// What stands before the names. (A device's number is not among it, nor when the entry expires.)
pub(super) struct Front {
    pub(super) attributes: Attributes,
    pub(super) size: u64,
    pub(super) value_start: u64,
    flags: u8,
}

impl Front {
    /// Whether it is a file, and nothing is to come but its names.
    pub(super) fn is_plain_file(&self) -> bool {
        self.attributes.kind == Kind::File && self.flags == 0
    }

    /// Whether something is to come behind the names that stat shows: a device's number, when the entry expires, or how
    /// many names there are elsewhere.
    pub(super) fn is_incomplete(&self) -> bool {
        self.flags & (FLAG_RDEV | FLAG_EXPIRES | FLAG_FURTHER) != 0
    }
}

/// Reads the front of a node record with this sequence number up to the number of names.
pub(super) fn decode_front(decoder: &mut Decoder<'_>, sequence: u64) -> Result<Front, Truncated> {
    let kind = Kind::from_number(decoder.u8()?).ok_or(Truncated)?;
    let flags = decoder.u8()?;
    let mode = decoder.varint()? as u16 & 0o7777;
    let (uid, gid) = (decoder.varint()? as u32, decoder.varint()? as u32);
    let mtime = decoder.i64()?;
    let (ctime, atime) = (decoder.signed_varint()?, decoder.signed_varint()?);
    let [atime, mtime, ctime] = [mtime.wrapping_add(atime), mtime, mtime.wrapping_add(ctime)].map(Time);
    let size = decoder.varint()?;
    let value_start = sequence.wrapping_sub(decoder.varint()?);
    let attributes = Attributes { kind, mode, uid, gid, rdev: 0, atime, mtime, ctime };
    Ok(Front { attributes, size, value_start, flags })
}

/// Whether an entry can have this name: whoever makes a path of it stays below the root.
pub(super) fn is_name(name: &[u8]) -> bool {
    let special = name.is_empty() || name == b"." || name == b"..";
    !special && name.len() <= MAX_NAME && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
}

/// Reads one name: the parent's id, and the name in it. A name that no entry can have is damage.
pub(super) fn decode_link<'b>(decoder: &mut Decoder<'b>) -> Result<(EntryId, &'b [u8]), Truncated> {
    let (parent, name) = decode_checked_link(decoder)?;
    match parent <= MAX_ENTRY && is_name(name) {
        true => Ok((parent, name)),
        false => Err(Truncated),
    }
}

/// The same, of a record that was decoded before.
pub(super) fn decode_checked_link<'b>(decoder: &mut Decoder<'b>) -> Result<(EntryId, &'b [u8]), Truncated> {
    let (parent, len) = (decoder.varint()?, decoder.u8()?);
    Ok((parent, decoder.bytes(len.into())?))
}

/// Reads what follows [`decode_front`]: the whole state, and the stage.
pub(super) fn decode_rest(
    front: Front,
    decoder: &mut Decoder<'_>,
    sequence: u64,
) -> Result<(NodeState, u64), Truncated> {
    let Front { mut attributes, size, value_start, flags } = front;
    // Nothing is reserved by these counts: each element must be there before it takes memory.
    let mut links = Vec::new();
    for _ in 0..decoder.varint()? {
        let (parent, name) = decode_link(decoder)?;
        links.push(Link { parent, name: name.into() });
    }
    let stage = if flags & FLAG_STAGE != 0 { sequence.wrapping_sub(decoder.varint()?) } else { 0 };
    let mut xattrs = Vec::new();
    let xattr_count = if flags & FLAG_XATTRS != 0 { decoder.varint()? } else { 0 };
    for _ in 0..xattr_count {
        let (name_len, value_len) = (decoder.u8()?, decoder.length()?);
        xattrs.push((decoder.bytes(name_len.into())?.into(), decoder.bytes(value_len)?.into()));
    }
    let target_len = if flags & FLAG_TARGET != 0 { decoder.length()? } else { 0 };
    let target = decoder.bytes(target_len)?.into();
    attributes.rdev = if flags & FLAG_RDEV != 0 { decoder.varint()? as u32 } else { 0 };
    let expires = if flags & FLAG_EXPIRES != 0 { Some(decoder.signed_varint()?) } else { None };
    let further = if flags & FLAG_FURTHER != 0 { decoder.varint()? } else { 0 };
    // More than this no entry has; sums with it never overflow.
    if further > u32::MAX.into() {
        return Err(Truncated);
    }
    Ok((NodeState { attributes, size, links, further, xattrs, target, expires, value_start }, stage))
}

/// The body of a record of one name, all of it front; of one that says that it is gone too.
pub(super) fn encode_name(parent: EntryId, name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(11 + name.len());
    put_link(parent, name, &mut out);
    out
}

/// Reads such a body: the parent's id, and the name in it.
pub(super) fn decode_name(body: &[u8]) -> Option<(EntryId, &[u8])> {
    let mut decoder = Decoder::new(body);
    let link = decode_link(&mut decoder).ok()?;
    decoder.rest().is_empty().then_some(link)
}

/// The front of a data record's body: its stage, and where in the value its bytes go. The bytes follow.
pub(super) fn encode_data(stage: u64, offset: u64) -> [u8; DATA_PREFIX] {
    let mut out = [0; DATA_PREFIX];
    let (front, back) = out.split_at_mut(8);
    front.copy_from_slice(&stage.to_le_bytes());
    back.copy_from_slice(&offset.to_le_bytes());
    out
}

/// The stage, offset and number of bytes of a data record with this front and so much bulk.
pub(super) fn decode_data(front: &[u8], bulk_len: u32) -> Option<(u64, u64, u64)> {
    let mut decoder = Decoder::new(front);
    let (stage, offset) = (decoder.u64().ok()?, decoder.u64().ok()?);
    let fits = decoder.rest().is_empty() && offset.checked_add(bulk_len.into()).is_some();
    fits.then_some((stage, offset, bulk_len.into()))
}

/// A hole record's body, all of it front: its stage, and the stretch of the value that becomes zeros.
pub(super) fn encode_hole(stage: u64, offset: u64, len: u64) -> Vec<u8> {
    let mut out = encode_data(stage, offset).to_vec();
    out.put_u64(len);
    out
}

/// A hole record's stage, offset and length.
pub(super) fn decode_hole(body: &[u8]) -> Option<(u64, u64, u64)> {
    let mut decoder = Decoder::new(body);
    let (stage, offset, len) = (decoder.u64().ok()?, decoder.u64().ok()?, decoder.u64().ok()?);
    (decoder.rest().is_empty() && offset.checked_add(len).is_some()).then_some((stage, offset, len))
}

/// What a share record says: a stretch of a value, and where its bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) stage: u64,
    pub(super) offset: u64,
    pub(super) len: u64,
    pub(super) extent: Extent,
}

/// A share record's body, all of it front. What it does not say of the extent is its own sequence number.
pub(super) fn encode_share(stage: u64, offset: u64, len: u64, extent: &Extent) -> Vec<u8> {
    let Extent { location, body_len, skip, source, .. } = *extent;
    let mut out = encode_hole(stage, offset, len);
    [location.segment, location.offset, body_len, skip].into_iter().for_each(|number| out.put_u32(number));
    out.put_u64(source);
    out
}

/// Reads the body of a share record with this sequence number. `None` if it makes no sense.
pub(super) fn decode_share(body: &[u8], sequence: u64) -> Option<Share> {
    let mut decoder = Decoder::new(body);
    let (stage, offset, len) = (decoder.u64().ok()?, decoder.u64().ok()?, decoder.u64().ok()?);
    let location = Location { segment: decoder.u32().ok()?, offset: decoder.u32().ok()? };
    let (body_len, skip, source) = (decoder.u32().ok()?, decoder.u32().ok()?, decoder.u64().ok()?);
    let extent = Extent { location, body_len, skip, sequence, source };
    let is_stretch = len > 0 && offset.checked_add(len).is_some();
    let is_in_body = body_len as usize <= MAX_BODY && u64::from(skip).checked_add(len)? <= body_len.into();
    let is_older = location.segment > 0 && (1..sequence).contains(&source);
    let makes_sense = decoder.rest().is_empty() && is_stretch && is_in_body && is_older;
    makes_sense.then_some(Share { stage, offset, len, extent })
}
