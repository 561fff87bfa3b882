//! Appending records to the log and applying them: the one way to change the store.

use std::borrow::Cow;

use parking_lot::RwLock;

use super::Update;
use super::attributes::EntryId;
use super::error::Error;
use super::extents::Extent;
use super::keydir::Keydir;
use super::record::{self, Link, MAX_EXTENT, NodeRecord, NodeState, Share};
use super::sealed::SealedChanges;
use crate::log::{Appender, Draft};

/// One record to be appended, and what it does to the keydir.
pub(super) enum Record<'b> {
    Data { entry: EntryId, offset: u64, bytes: Cow<'b, [u8]> },
    Hole { entry: EntryId, offset: u64, len: u64 },
    Share { entry: EntryId, offset: u64, len: u64, extent: Extent },
    Node { entry: EntryId, state: NodeState, stage: u64, inline: Option<Cow<'b, [u8]>> },
    Tombstone { entry: EntryId },
    Loss { entry: EntryId },
    Name { entry: EntryId, link: Link },
    NameGone { entry: EntryId, link: Link },
}

impl Record<'_> {
    fn kind(&self) -> u8 {
        match self {
            Record::Data { .. } => record::DATA,
            Record::Hole { .. } => record::HOLE,
            Record::Node { .. } => record::NODE,
            Record::Tombstone { .. } => record::TOMBSTONE,
            Record::Loss { .. } => record::LOSS,
            Record::Share { .. } => record::SHARE,
            Record::Name { .. } => record::NAME,
            Record::NameGone { .. } => record::NAME_GONE,
        }
    }

    fn entry(&self) -> EntryId {
        match self {
            Record::Data { entry, .. }
            | Record::Hole { entry, .. }
            | Record::Share { entry, .. }
            | Record::Node { entry, .. }
            | Record::Name { entry, .. }
            | Record::NameGone { entry, .. }
            | Record::Tombstone { entry }
            | Record::Loss { entry } => *entry,
        }
    }

    /// Appends to `out` the body up to the bytes of a value.
    fn put_front(&self, sequence: u64, stage: u64, out: &mut Vec<u8>) {
        match self {
            Record::Data { offset, .. } => out.extend_from_slice(&record::encode_data(stage, *offset)),
            Record::Hole { offset, len, .. } => out.extend(record::encode_hole(stage, *offset, *len)),
            Record::Share { offset, len, extent, .. } => {
                out.extend(record::encode_share(stage, *offset, *len, extent));
            }
            Record::Node { state, stage, .. } => record::put_node(state, sequence, *stage, out),
            Record::Name { link, .. } | Record::NameGone { link, .. } => {
                out.extend(record::encode_name(link.parent, &link.name));
            }
            Record::Tombstone { .. } | Record::Loss { .. } => {}
        }
    }

    /// The bytes of a value that end the body.
    fn bulk(&self) -> &[u8] {
        match self {
            Record::Data { bytes, .. } => bytes,
            Record::Node { inline: Some(bytes), .. } => bytes,
            _ => &[],
        }
    }

    /// About how many bytes of log it takes.
    pub(super) fn size(&self) -> u64 {
        let state = if let Record::Node { state, .. } = self { state.burden().bytes as u64 } else { 0 };
        256 + state + self.bulk().len() as u64
    }
}

/// Appends what is sealed and then records, each of the stage given for it, as one transaction, and applies them. Returns
/// the sequence number of the last.
///
/// # Errors
/// Those of the log; then nothing has changed.
pub(super) fn append(
    appender: &mut Appender<'_>,
    keydir: &RwLock<Keydir>,
    sealed: &SealedChanges<'_>,
    records: Vec<Record<'_>>,
    stages: &[u64],
) -> Result<u64, Error> {
    let start = appender.next_sequence();
    if records.is_empty() && sealed.len() == 0 {
        return Ok(start - 1);
    }
    let first = start + sealed.len() as u64;
    // All fronts, one behind the other, and the length of each.
    let (mut fronts, mut lengths) = (Vec::new(), Vec::with_capacity(records.len()));
    for (sequence, (record, stage)) in (first..).zip(records.iter().zip(stages)) {
        let start = fronts.len();
        record.put_front(sequence, *stage, &mut fronts);
        lengths.push(fronts.len() - start);
    }
    let mut rest = fronts.as_slice();
    let mut drafts = Vec::with_capacity(records.len());
    for (record, length) in records.iter().zip(&lengths) {
        let (front, behind) = rest.split_at_checked(*length).unwrap_or_default();
        rest = behind;
        drafts.push(Draft { kind: record.kind(), entry: record.entry(), front, bulk: record.bulk() });
    }
    // Most transactions have nothing sealed, and need not go around.
    let locations = match sealed.len() {
        0 => appender.append(&drafts)?,
        _ => appender.append_each(sealed.drafts().chain(drafts.iter().copied()))?,
    };
    let mut locations = locations.into_iter();
    let mut keydir = keydir.write();
    let mut scratch = Vec::new();
    for ((draft, sequence), location) in sealed.drafts().zip(start..).zip(locations.by_ref()) {
        match draft.kind {
            record::TOMBSTONE => keydir.apply_tombstone(draft.entry),
            _ => {
                let body = (draft.front, draft.bulk.len() as u32);
                keydir.apply_front((draft.entry, sequence, location), body, &mut scratch);
            }
        }
    }
    let places = (first..).zip(locations).zip(lengths);
    for ((record, ((sequence, location), front_len)), stage) in records.into_iter().zip(places).zip(stages) {
        let body_len = (front_len + record.bulk().len()) as u32;
        let extent = Extent::own(location, body_len, 0, sequence);
        match record {
            Record::Data { entry, offset, bytes } => {
                keydir.apply_data(entry, *stage, offset, bytes.len() as u64, extent);
            }
            Record::Hole { entry, offset, len } => keydir.apply_hole(entry, *stage, offset, len),
            Record::Share { entry, offset, len, extent } => {
                let share = Share { stage: *stage, offset, len, extent: Extent { sequence, ..extent } };
                keydir.apply_share(entry, location.segment, share);
            }
            Record::Node { entry, state, stage, inline } => {
                let inline = inline.map(|bytes| (front_len as u32, bytes.len() as u32));
                keydir.apply_node(entry, sequence, location, body_len, NodeRecord { state, stage, inline });
            }
            Record::Tombstone { entry } => keydir.apply_tombstone(entry),
            Record::Loss { entry } => keydir.apply_loss(entry, sequence),
            Record::Name { entry, link } => drop(keydir.apply_name(entry, sequence, location, &link)),
            Record::NameGone { entry, link } => keydir.apply_name_gone(entry, &link),
        }
    }
    Ok(appender.next_sequence() - 1)
}

/// The records of a value that does not fit into its node record.
pub(super) fn push_value<'b>(entry: EntryId, update: Update<'b>, records: &mut Vec<Record<'b>>) {
    for (offset, len) in update.holes {
        records.push(Record::Hole { entry, offset, len });
    }
    for (offset, bytes) in update.bytes {
        if (1..=MAX_EXTENT).contains(&bytes.len()) {
            records.push(Record::Data { entry, offset, bytes });
            continue;
        }
        let mut at = offset;
        let mut chunk = |chunk: Cow<'b, [u8]>| {
            let offset = at;
            at += chunk.len() as u64;
            records.push(Record::Data { entry, offset, bytes: chunk });
        };
        match bytes {
            Cow::Borrowed(bytes) => bytes.chunks(MAX_EXTENT).for_each(|bytes| chunk(bytes.into())),
            Cow::Owned(bytes) => bytes.chunks(MAX_EXTENT).for_each(|bytes| chunk(bytes.to_vec().into())),
        }
    }
}
