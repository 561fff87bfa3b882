//! Values: reading them by their keys, and describing a change of one.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read};
use std::ops::Range;

use super::Store;
use super::attributes::{EntryId, Kind, Stat};
use super::error::Error;
use super::extents::{Extent, Extents};
use super::record::MAX_EXTENT;
use super::view::View;
use crate::log::{Segments, Wait};

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

/// A key's value as it was when [`Store::open_value`] looked it up: what is changed, renamed, removed or merged later does
/// not show in it. It holds no lock. What a merge takes away meanwhile stays on the medium until it is dropped.
pub struct Value<'a> {
    store: &'a Store,
    stat: Stat,
    extents: Extents,
    segments: Segments,
    /// Where [`Read`] goes on.
    position: u64,
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Value")
            .field("stat", &self.stat)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl Value<'_> {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.stat.size
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What stat showed of the key.
    pub fn stat(&self) -> &Stat {
        &self.stat
    }

    /// Reads from `offset` into `buffer`; returns how many bytes there were: fewer only at the end.
    ///
    /// # Errors
    /// [`Error::DamagedKey`] if the bytes are not those that were written.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        let end = offset.saturating_add(buffer.len() as u64).min(self.len());
        let runs = self.extents.within(offset..end);
        let view = View::new(self.stat.id, self.len(), runs, self.segments.clone());
        Ok(self.store.read_view(&view, offset, buffer, Wait::Yes)?.unwrap_or(0))
    }

    /// The next stretch at or behind `offset` that is in no hole: what lies between those are zeros.
    pub fn next_data(&self, offset: u64) -> Option<Range<u64>> {
        let start = self.extents.first_data(offset).filter(|start| *start < self.len())?;
        Some(start..self.extents.first_hole(start).min(self.len()))
    }

    /// All of it.
    ///
    /// # Errors
    /// As [`Value::read_at`]; [`Error::TooLarge`] for what no memory can hold.
    pub fn to_vec(&self) -> Result<Vec<u8>, Error> {
        let size = usize::try_from(self.len()).map_err(|_| Error::TooLarge)?;
        // A sparse value may be larger than any memory.
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(size).map_err(|_| Error::TooLarge)?;
        bytes.resize(size, 0);
        self.read_at(0, &mut bytes)?;
        Ok(bytes)
    }
}

impl Read for Value<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.read_at(self.position, buffer).map_err(io::Error::other)?;
        self.position += read as u64;
        Ok(read)
    }
}

const NOT_A_FILE: Error = Error::Invalid("it is not a file");

impl Store {
    /// A key's value, to be read in parts; `None` if there is no such key. All that is read of it is of one moment.
    ///
    /// # Errors
    /// [`Error::IsADirectory`]; [`Error::DamagedKey`] if it is known that the bytes are not those that were written.
    ///
    /// ```
    /// use std::io::Read;
    ///
    /// # let directory = tempfile::tempdir()?;
    /// let store = caskfs::Store::open(directory.path(), caskfs::Options { create: true, ..Default::default() })?;
    /// store.put("users/42", "Ada")?;
    /// let mut value = store.open_value("users/42")?.ok_or(caskfs::Error::NotFound)?;
    /// store.put("users/42", "Grace")?;
    /// let mut text = String::new();
    /// value.read_to_string(&mut text)?;
    /// assert_eq!(text, "Ada");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_value(&self, key: impl AsRef<[u8]>) -> Result<Option<Value<'_>>, Error> {
        self.remove_due();
        let horizon = self.horizon();
        let keydir = self.keydir.read();
        let found = keydir.resolve(key.as_ref())?.and_then(|id| keydir.published(id, horizon));
        let Some(stat) = found else { return Ok(None) };
        match stat.attributes.kind {
            Kind::File => {}
            Kind::Directory => return Err(Error::IsADirectory),
            _ => return Err(NOT_A_FILE),
        }
        if let Some(what) = View::damage(&keydir, stat.id) {
            drop(keydir);
            return Err(self.damaged(stat.id, what));
        }
        let extents = keydir.extents(stat.id, Clone::clone).unwrap_or_default();
        // Under the lock under which it was looked up where the bytes are.
        let segments = self.log.segments();
        Ok(Some(Value { store: self, stat, extents, segments, position: 0 }))
    }

    /// The value of a key; `None` if there is no such key.
    ///
    /// # Errors
    /// [`Error::IsADirectory`]; [`Error::DamagedKey`] if the bytes are not those that were written.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>, Error> {
        self.open_value(key)?.map(|value| value.to_vec()).transpose()
    }

    /// Reads the published value of an entry from `offset` into `buffer`; returns how many bytes there were.
    ///
    /// # Errors
    /// [`Error::DamagedKey`] if the bytes are not those that were written; [`Error::Stale`] if the entry is gone.
    #[cfg(any(test, feature = "cli"))]
    pub(crate) fn read(&self, id: EntryId, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        let view = self.view(id, offset..offset.saturating_add(buffer.len() as u64))?;
        Ok(self.read_view(&view, offset, buffer, Wait::Yes)?.unwrap_or(0))
    }

    /// The bytes of a staged or published extent.
    ///
    /// # Errors
    /// [`Error::DamagedKey`] if they are not those that were written.
    pub(crate) fn read_extent(&self, id: EntryId, extent: &Extent, range: Range<usize>) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; range.len()];
        let mut extent = *extent;
        super::range_map::Piece::advance(&mut extent, range.start as u64);
        self.read_staged(&self.view_of_nothing(id), &extent, &mut bytes, Wait::Yes)?;
        Ok(bytes)
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
    pub(crate) fn data_ranges(&self, id: EntryId, range: Range<u64>) -> Result<Vec<Range<u64>>, Error> {
        let keydir = self.keydir.read();
        let node = keydir.get(id).ok_or(Error::Stale)?;
        Ok(node.extents.within(range).into_iter().map(|(range, _)| range).collect())
    }

    /// The first byte of the published value at or behind `offset` that is in no hole, if there is one. Takes logarithmic
    /// time, however many extents there are; so does [`Store::first_hole`].
    ///
    /// # Errors
    /// [`Error::Stale`] if the entry is gone.
    pub(crate) fn first_data(&self, id: EntryId, offset: u64) -> Result<Option<u64>, Error> {
        self.keydir.read().extents(id, |extents| extents.first_data(offset)).ok_or(Error::Stale)
    }

    /// The first byte of the published value at or behind `offset` that is in a hole, or behind all that was written.
    ///
    /// # Errors
    /// [`Error::Stale`] if the entry is gone.
    pub(crate) fn first_hole(&self, id: EntryId, offset: u64) -> Result<u64, Error> {
        self.keydir.read().extents(id, |extents| extents.first_hole(offset)).ok_or(Error::Stale)
    }
}
