//! Joining what small overwrites have left of a value.
//!
//! Each extent takes memory, and a merge copies it as it is. So neighbours that are small are appended to the log once more,
//! as one record: a stage of its own, and the node record as it is, which publishes it, as in `own.rs`. Their old records
//! are dead then, and the next merge takes them away. To put them together while a merge copies them would not do: the
//! neighbours of a piece are mostly in other segments than it, and a record stands for one sequence number.
//!
//! The bytes are read with no lock held. When the log's writer is taken, the value must still be where it was read; if
//! not, nothing is written, and these pieces are left as they are.

use std::ops::Range;

use super::{Error, Merger, Throttle};
use crate::store::EntryId;
use crate::store::append::{Record, append};
use crate::store::extents::{Extent, Runs};
use crate::store::sealed::SealedChanges;

/// Which extents are worth joining.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Crumbs {
    /// Values with so many extents,
    pub(super) of_value: usize,
    /// so many of which become one,
    pub(super) together: usize,
    /// and whose last change has this sequence number or an older one.
    pub(super) rested: u64,
}

impl Crumbs {
    /// When an operator asks for it: the fewest that are worth a record.
    pub(in crate::store) const ASKED: Crumbs = Crumbs { of_value: 4, together: 4, rested: u64::MAX };

    /// What a store joins by itself, of values that nobody has changed since this sequence number: what takes much memory,
    /// so that a few overwrites do not have all their neighbours written anew.
    pub(super) fn at_rest(rested: u64) -> Crumbs {
        Crumbs { of_value: 1024, together: 16, rested }
    }
}

impl Merger {
    /// Joins small extents, and returns how many bytes that wrote: they are durable, so that the old ones can be merged away.
    /// It ends early where there is no room, and when it is not wanted any more, which is asked after each piece.
    pub(in crate::store) fn join(
        &self,
        crumbs: &Crumbs,
        throttle: &mut Throttle,
        wanted: &mut dyn FnMut() -> bool,
    ) -> Result<u64, Error> {
        let _alone = self.running.lock();
        let entries = self.keydir.read().crumbled(crumbs.of_value, crumbs.rested);
        let mut written = 0;
        for entry in entries {
            written += self.join_value(entry, crumbs, throttle, wanted)?;
        }
        if written > 0 {
            self.commits.wait(self.log.written())?;
        }
        Ok(written)
    }

    fn join_value(
        &self,
        entry: EntryId,
        crumbs: &Crumbs,
        throttle: &mut Throttle,
        wanted: &mut dyn FnMut() -> bool,
    ) -> Result<u64, Error> {
        let (mut place, mut written) = (0, 0);
        while let Some((group, next)) = self.next_group(entry, place, crumbs) {
            place = next;
            let bytes = length(&group);
            if bytes == 0 {
                continue;
            }
            // What joining takes comes back with the next merge, but not before.
            if !wanted() || self.room()? < self.reserve + 2 * bytes {
                break;
            }
            match self.join_group(entry, &group) {
                Err(Error::NoSpace) => break,
                joined => written += if joined? { bytes } else { 0 },
            }
            self.rest(bytes, throttle)?;
        }
        Ok(written)
    }

    /// The next pieces that are worth it, and where to go on; there may be none before that.
    fn next_group(&self, entry: EntryId, start: u64, crumbs: &Crumbs) -> Option<(Runs, u64)> {
        self.keydir.read().extents(entry, |extents| extents.crumbs(start, crumbs.together))?
    }

    /// Writes pieces that follow one another as one. False if they are not what they were, or cannot be read: whoever wants
    /// them will tell.
    fn join_group(&self, entry: EntryId, group: &[(Range<u64>, Extent)]) -> Result<bool, Error> {
        let (Some((first, _)), Some((last, _))) = (group.first(), group.last()) else { return Ok(false) };
        let mut bytes = Vec::with_capacity((last.end - first.start) as usize);
        for (place, extent) in group {
            let Ok(body) = self.log.read(extent.location, extent.body_len, extent.source) else { return Ok(false) };
            let start = extent.skip as usize;
            let Some(piece) = body.get(start..start + (place.end - place.start) as usize) else { return Ok(false) };
            bytes.extend_from_slice(piece);
        }
        let mut appender = self.log.begin()?;
        let state = {
            let keydir = self.keydir.read();
            let Some(node) = keydir.get(entry) else { return Ok(false) };
            let same = node.extents.within(first.start..last.end) == group;
            let joinable = node.state.has_name() && !keydir.is_damaged(entry);
            // What is staged for it would have to be staged anew.
            if !same || !joinable || keydir.is_staged(entry) {
                return Ok(false);
            }
            node.state.clone()
        };
        let stage = appender.next_sequence();
        let data = Record::Data { entry, offset: first.start, bytes: bytes.into() };
        let node = Record::Node { entry, state, stage, inline: None };
        append(&mut appender, &self.keydir, &SealedChanges::default(), vec![data, node], &[stage; 2])?;
        Ok(true)
    }
}

fn length(group: &[(Range<u64>, Extent)]) -> u64 {
    group.iter().map(|(place, _)| place.end - place.start).sum()
}
