//! A value as it was at one moment, to be read whenever one likes.
//!
//! Length, extents and segments are taken in one hold of the keydir's lock. From then on nothing is locked and nothing is
//! looked up again: whatever is put, renamed, removed or merged meanwhile, the view has the bytes of its moment. A segment
//! that is merged away stays on the disk for as long as a view has it.

use std::ops::Range;

use super::Store;
use super::attributes::EntryId;
use super::error::Error;
use super::extents::{Extent, Runs};
use super::keydir::Keydir;
use super::range_map::Piece;
use crate::log::{self, Segments, Wait};

/// A stretch of a value, or all of it.
#[derive(Debug)]
pub struct View {
    id: EntryId,
    size: u64,
    runs: Runs,
    segments: Segments,
}

impl Store {
    /// What there is of a value in `range`, and how long the whole of it is.
    ///
    /// # Errors
    /// [`Error::Stale`] if the entry is gone; [`Error::DamagedKey`] if a record of it is.
    pub fn view(&self, id: EntryId, range: Range<u64>) -> Result<View, Error> {
        let keydir = self.keydir.read();
        if let Some(what) = View::damage(&keydir, id) {
            drop(keydir);
            return Err(self.damaged(id, what));
        }
        let (size, runs) = keydir.value(id, range).ok_or(Error::Stale)?;
        // Under the same lock: every record that was found is in one of them.
        Ok(View { id, size, runs, segments: self.log.segments() })
    }

    /// A view of an entry without a value, for what is [staged](Store::read_staged) of it.
    pub fn view_of_nothing(&self, id: EntryId) -> View {
        View { id, size: 0, runs: Vec::new(), segments: self.log.segments() }
    }

    /// Fills `buffer` from `offset`, as far as the value goes and the view has it; the rest of it is zeros. Returns how many
    /// bytes the value has there. `None`: that takes a disk, and the caller does not [wait](Wait).
    ///
    /// # Errors
    /// [`Error::DamagedKey`] if the bytes are not those that were written.
    pub fn read_view(&self, view: &View, offset: u64, buffer: &mut [u8], wait: Wait) -> Result<Option<usize>, Error> {
        let len = usize::try_from(view.size.saturating_sub(offset)).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = buffer.get_mut(..len).unwrap_or_default();
        let wanted = offset..offset.saturating_add(len as u64);
        let first = view.runs.partition_point(|(range, _)| range.end <= wanted.start);
        let runs = view.runs.get(first..).unwrap_or_default();
        // Holes are zeros.
        if !runs.first().is_some_and(|(range, _)| range.start <= wanted.start && range.end >= wanted.end) {
            buffer.fill(0);
        }
        for (range, extent) in runs.iter().take_while(|(range, _)| range.start < wanted.end) {
            let clipped = range.start.max(wanted.start)..range.end.min(wanted.end);
            let mut extent = *extent;
            extent.advance(clipped.start - range.start);
            let place = (clipped.start - offset) as usize..(clipped.end - offset) as usize;
            let Some(part) = buffer.get_mut(place) else { continue };
            if !self.read_staged(view, &extent, part, wait)? {
                return Ok(None);
            }
        }
        Ok(Some(len))
    }

    /// Fills `out` from an extent that was there when the view was taken: of the value, or staged for it. `false`: that takes
    /// a disk, and the caller does not [wait](Wait).
    ///
    /// # Errors
    /// As [`Store::read_view`].
    pub fn read_staged(&self, view: &View, extent: &Extent, out: &mut [u8], wait: Wait) -> Result<bool, Error> {
        let read = view.segments.read(extent.location, extent.body_len, extent.source, wait);
        let Some(body) = read.map_err(|error| self.damaged(view.id, error))? else { return Ok(false) };
        let start = extent.skip as usize;
        match body.get(start..start.saturating_add(out.len())) {
            Some(bytes) => out.copy_from_slice(bytes),
            None => {
                let what = "it is shorter than the keydir says";
                return Err(self.damaged(view.id, log::Error::Damaged { location: extent.location, what }));
            }
        }
        Ok(true)
    }
}

impl View {
    pub(super) fn new(id: EntryId, size: u64, runs: Runs, segments: Segments) -> View {
        View { id, size, runs, segments }
    }

    /// What is known to be wrong with a value before it is read.
    pub(super) fn damage(keydir: &Keydir, id: EntryId) -> Option<log::Error> {
        if !keydir.is_damaged(id) {
            return None;
        }
        let what = match keydir.is_lost(id) {
            true => "a repair could not save it: set it anew, or remove it",
            false => "a record of this key could not be read at the last start",
        };
        Some(log::Error::DamagedFile { file: "log".into(), what })
    }

    /// Length of the whole value, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}
