//! Values: reading them, and describing a change of one.

use std::borrow::Cow;
use std::ops::Range;

use super::Store;
use super::attributes::EntryId;
use super::error::Error;
use super::extents::Extent;
use super::record::MAX_EXTENT;
use crate::log::Wait;

/// A change of a value. `size` is the value's length after it.
#[derive(Clone, Debug, Default)]
pub struct Update<'b> {
    /// Nothing of the earlier value remains.
    pub replace: bool,
    /// What was staged before and becomes part of the value; 0 for nothing.
    pub stage: u64,
    /// Stretches that become zeros: offset and length.
    pub holes: Vec<(u64, u64)>,
    /// Bytes and their offsets. They overlap neither each other nor the holes.
    pub bytes: Vec<(u64, Cow<'b, [u8]>)>,
    /// Length of the value in bytes.
    pub size: u64,
}

impl<'b> Update<'b> {
    /// A whole new value.
    pub fn whole(value: impl Into<Cow<'b, [u8]>>) -> Update<'b> {
        let value = value.into();
        let size = value.len() as u64;
        let bytes = if value.is_empty() { Vec::new() } else { vec![(0, value)] };
        Update { replace: true, size, bytes, ..Update::default() }
    }

    /// Whether it is a whole value that fits into the node's record.
    pub(super) fn is_inline(&self) -> bool {
        let whole = match self.bytes.as_slice() {
            [] => self.size == 0,
            [(0, bytes)] => bytes.len() as u64 == self.size && bytes.len() <= MAX_EXTENT,
            _ => false,
        };
        self.replace && self.stage == 0 && self.holes.is_empty() && whole
    }

    /// The whole value, if it fits into the node's record.
    pub(super) fn into_inline(mut self) -> Result<Cow<'b, [u8]>, Update<'b>> {
        if !self.is_inline() {
            return Err(self);
        }
        Ok(self.bytes.pop().map(|(_, bytes)| bytes).unwrap_or_default())
    }
}

impl Store {
    /// Reads the published value of an entry from `offset` into `buffer`; returns how many bytes there were.
    ///
    /// # Errors
    /// [`Error::DamagedKey`] if the bytes are not those that were written; [`Error::Stale`] if the entry is gone.
    pub fn read(&self, id: EntryId, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        let view = self.view(id, offset..offset.saturating_add(buffer.len() as u64))?;
        Ok(self.read_view(&view, offset, buffer, Wait::Yes)?.unwrap_or(0))
    }

    /// The bytes of a staged or published extent.
    ///
    /// # Errors
    /// [`Error::DamagedKey`] if they are not those that were written.
    pub fn read_extent(&self, id: EntryId, extent: &Extent, range: Range<usize>) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; range.len()];
        let mut extent = *extent;
        super::range_map::Piece::advance(&mut extent, range.start as u64);
        self.read_into(id, &extent, &mut bytes)?;
        Ok(bytes)
    }

    fn read_into(&self, id: EntryId, extent: &Extent, out: &mut [u8]) -> Result<(), Error> {
        let body = self.log.read(extent.location, extent.body_len, extent.source);
        let body = body.map_err(|error| self.damaged(id, error))?;
        let start = extent.skip as usize;
        match body.get(start..start + out.len()) {
            Some(bytes) => out.copy_from_slice(bytes),
            None => {
                let what = "it is shorter than the keydir says";
                return Err(self.damaged(id, crate::log::Error::Damaged { location: extent.location, what }));
            }
        }
        Ok(())
    }

    pub(super) fn damaged(&self, id: EntryId, source: crate::log::Error) -> Error {
        let key = self.keydir.read().path(id);
        log::error!("the value of {key} cannot be read: {source}");
        Error::DamagedKey { key, source }
    }

    /// The stretches of the published value that are no holes, within `range`.
    ///
    /// # Errors
    /// [`Error::Stale`] if the entry is gone.
    pub fn data_ranges(&self, id: EntryId, range: Range<u64>) -> Result<Vec<Range<u64>>, Error> {
        let keydir = self.keydir.read();
        let node = keydir.get(id).ok_or(Error::Stale)?;
        Ok(node.extents.within(range).into_iter().map(|(range, _)| range).collect())
    }

    /// The first byte of the published value at or behind `offset` that is in no hole, if there is one. Takes logarithmic
    /// time, however many extents there are; so does [`Store::first_hole`].
    ///
    /// # Errors
    /// [`Error::Stale`] if the entry is gone.
    pub fn first_data(&self, id: EntryId, offset: u64) -> Result<Option<u64>, Error> {
        self.keydir.read().extents(id, |extents| extents.first_data(offset)).ok_or(Error::Stale)
    }

    /// The first byte of the published value at or behind `offset` that is in a hole, or behind all that was written.
    ///
    /// # Errors
    /// [`Error::Stale`] if the entry is gone.
    pub fn first_hole(&self, id: EntryId, offset: u64) -> Result<u64, Error> {
        self.keydir.read().extents(id, |extents| extents.first_hole(offset)).ok_or(Error::Stale)
    }
}
