//! Making what is borrowed the borrowers' own.
//!
//! Before segments go, the bytes that others have in records of them are appended to the log once more, as data records of
//! those who borrowed them: a stage of its own, and the node record as it is, which publishes it. So the share records are
//! overtaken like any bytes that are written over. An entry without a name gets its bytes as stage 0, and no node record: no
//! restart is to find it.

use std::ops::Range;

use hashbrown::HashSet;
use parking_lot::RwLock;

use crate::log::{Error as LogError, Log};
use crate::store::append::{Record, append};
use crate::store::extents::Extent;
use crate::store::keydir::Keydir;
use crate::store::record::MAX_EXTENT;
use crate::store::sealed::SealedChanges;
use crate::store::{EntryId, Error, ROOT};

/// Bytes that are made an entry's own in one transaction, and read while it holds back the others.
const PIECE: u64 = 1 << 20;

/// An entry whose borrowed bytes cannot be read, and the segment where they are.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Unreadable {
    pub(in crate::store) entry: EntryId,
    pub(in crate::store) segment: u32,
    /// What was read was not what was written; otherwise the medium has failed to read it.
    pub(in crate::store) is_damaged: bool,
}

/// Makes what is borrowed from these segments the borrowers' own, and says of whom it cannot be read. Nobody borrows from
/// them meanwhile. `spent` hears of every so many bytes that were written.
///
/// # Errors
/// Those of the log, and of `spent`. What was done before stays.
pub(in crate::store) fn make_own(
    log: &Log,
    keydir: &RwLock<Keydir>,
    segments: &[u32],
    spent: &mut dyn FnMut(u64) -> Result<(), Error>,
) -> Result<Vec<Unreadable>, Error> {
    let borrowers = keydir.read().borrowers(segments);
    let segments = segments.iter().copied().collect();
    let mut unreadable = Vec::new();
    for entry in borrowers {
        let owner = Owner { log, keydir, segments: &segments, entry };
        let mut place = 0;
        loop {
            match owner.make_piece_own(place)? {
                Piece::Last => break,
                Piece::Unreadable { segment, is_damaged } => {
                    unreadable.push(Unreadable { entry, segment, is_damaged });
                    break;
                }
                Piece::Done { end, bytes } => {
                    place = end;
                    spent(bytes)?;
                }
            }
        }
    }
    Ok(unreadable)
}

enum Piece {
    /// Nothing is borrowed from there on.
    Last,
    Unreadable {
        segment: u32,
        is_damaged: bool,
    },
    /// So many bytes are the entry's own, all of the value up to `end` among them.
    Done {
        end: u64,
        bytes: u64,
    },
}

/// An entry that is to have bytes of its own.
struct Owner<'a> {
    log: &'a Log,
    keydir: &'a RwLock<Keydir>,
    segments: &'a HashSet<u32>,
    entry: EntryId,
}

impl Owner<'_> {
    /// Goes on at `start`. What the entry is does not change meanwhile, since nobody else writes.
    fn make_piece_own(&self, start: u64) -> Result<Piece, Error> {
        let mut appender = self.log.begin()?;
        let (named, borrowed) = {
            let keydir = self.keydir.read();
            let Some(node) = keydir.get(self.entry) else { return Ok(Piece::Last) };
            let is_lent = |extent: &Extent| extent.is_borrowed() && self.segments.contains(&extent.location.segment);
            let is_named = self.entry == ROOT || node.state.has_name();
            (is_named.then(|| node.state.clone()), node.extents.some(start, PIECE, is_lent))
        };
        let Some((last, _)) = borrowed.last() else { return Ok(Piece::Last) };
        let end = last.end;
        let mut records = Vec::new();
        let mut bytes = 0;
        for (place, extent) in &borrowed {
            let value = match self.read(place, extent) {
                Ok(value) => value,
                Err(is_damaged) => return Ok(Piece::Unreadable { segment: extent.location.segment, is_damaged }),
            };
            bytes += value.len() as u64;
            for (offset, chunk) in (place.start..).step_by(MAX_EXTENT).zip(value.chunks(MAX_EXTENT)) {
                records.push(Record::Data { entry: self.entry, offset, bytes: chunk.to_vec().into() });
            }
        }
        let stage = if named.is_some() { appender.next_sequence() } else { 0 };
        records.extend(named.map(|state| Record::Node { entry: self.entry, state, stage, inline: None }));
        let stages = vec![stage; records.len()];
        append(&mut appender, self.keydir, &SealedChanges::default(), records, &stages)?;
        Ok(Piece::Done { end, bytes })
    }

    /// The bytes of an extent; otherwise whether they are not those that were written, or only cannot be read now.
    fn read(&self, place: &Range<u64>, extent: &Extent) -> Result<Vec<u8>, bool> {
        let body = match self.log.read(extent.location, extent.body_len, extent.source) {
            Ok(body) => body,
            Err(error) => {
                log::error!("what {} has borrowed cannot be read: {error}", self.keydir.read().path(self.entry));
                return Err(!matches!(error, LogError::Io { .. }));
            }
        };
        let start = extent.skip as usize;
        body.get(start..start.saturating_add((place.end - place.start) as usize)).map(<[u8]>::to_vec).ok_or(true)
    }
}
