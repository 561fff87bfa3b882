//! copy_file_range(2): copying between open files within the daemon.
//!
//! Bytes that are in the log are not copied, but shared: the target has them from where they are. The others are, and so
//! are small pieces, which would take as much to share. Holes stay holes.

use std::ops::Range;

use super::inode::State;
use super::staged::{BLOCK, Fragment};
use super::{Caller, Filesystem, HandleId, Written};
use crate::store::{EntryId, Error, Extent, Kind, Lender, Loan, MAX_EXTENT, Piece, RangeMap, StagedRun};

/// The most bytes that one call copies. The kernel asks again for the rest; meanwhile others have their turn.
const AT_ONCE: u64 = 8 << 20;
/// The most of them that go through memory.
const IN_MEMORY: u64 = 1 << 20;

/// One end of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyEnd {
    /// The file.
    pub id: EntryId,
    /// What it is open as.
    pub handle: HandleId,
    /// Where in the value, in bytes.
    pub offset: u64,
}

/// Where bytes of a file are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    Memory,
    Published,
    Staged(Extent),
}

impl Piece for Source {
    fn advance(&mut self, bytes: u64) {
        if let Source::Staged(extent) = self {
            extent.advance(bytes);
        }
    }

    fn truncate(&mut self, _bytes: u64) {}
}

/// What is put into a stretch of the target.
#[derive(Debug)]
enum Part {
    Hole,
    Bytes(Vec<u8>),
    Shared,
}

/// What is to be put into the target: stretches of it, one behind the other.
#[derive(Debug, Default)]
struct Copy {
    parts: Vec<(Range<u64>, Part)>,
    /// What is to be shared of them, in order.
    loans: Vec<Loan>,
}

impl Filesystem {
    /// Copies up to `length` bytes from one open file to another, or within one, and says how many: fewer at the end of
    /// the value, and at most 8 MiB at once, or 1 MiB of what cannot be shared.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the ranges overlap in one file, or one of the files has no value; [`Error::TooLarge`],
    /// [`Error::NoSpace`] and [`Error::DamagedKey`], if nothing could be copied before that.
    pub fn copy_file_range(&self, caller: &Caller, from: CopyEnd, to: CopyEnd, length: u64) -> Result<Written, Error> {
        let state = &mut *self.state.lock();
        for end in [from, to] {
            self.settle_overtaken(state, end.id);
            state.handle(end.id, end.handle)?;
            if self.store.entry(end.id)?.attributes.kind != Kind::File {
                return Err(Error::Invalid("it has no value"));
            }
        }
        self.store.check_writable()?;
        let size = self.shown(state, self.store.entry(from.id)?).size;
        let length = length.min(size.saturating_sub(from.offset));
        let overlap = from.offset < to.offset.saturating_add(length) && to.offset < from.offset.saturating_add(length);
        if from.id == to.id && overlap {
            return Err(Error::Invalid("the ranges overlap"));
        }
        let length = length.min(AT_ONCE);
        super::io::check_end(to.offset, length)?;
        if length == 0 {
            return Ok(Written::default());
        }
        let stripped = self.drop_privileges(&self.store.entry(to.id)?, caller.without_rights())?;
        // Before any of the new bytes is taken.
        self.make_room(state, to.id, length.min(IN_MEMORY) as usize)?;
        let bytes = match self.copy_some(state, from, to, length, true)? {
            // What comes first cannot be shared just now.
            0 => self.copy_some(state, from, to, length, false)?,
            copied => copied,
        };
        Ok(Written { bytes, stripped, moved: false })
    }

    /// Copies the first of so many bytes, as many as it may. It does so or fails, and changes nothing then.
    fn copy_some(
        &self,
        state: &mut State,
        from: CopyEnd,
        to: CopyEnd,
        length: u64,
        shares: bool,
    ) -> Result<u64, Error> {
        let Copy { mut parts, loans } = self.read_copy(state, from, to.offset, length, shares)?;
        let memory =
            |(_, part): &(Range<u64>, Part)| if let Part::Bytes(bytes) = part { bytes.len() as u64 } else { 0 };
        self.store.check_space(parts.iter().map(memory).sum())?;
        let stage = state.staged(to.id).map_or(0, |staged| staged.stage);
        let run = match loans.is_empty() {
            true => StagedRun { stage, extents: Vec::new() },
            false => self.store.stage_shares(to.id, stage, &loans)?,
        };
        let lent = run.extents.last().map_or(0, |(offset, len, _)| offset + len);
        let refused = |(place, part): &(Range<u64>, Part)| matches!(part, Part::Shared) && place.end > lent;
        parts.truncate(parts.iter().position(refused).unwrap_or(parts.len()));
        let Some((last, _)) = parts.last() else { return Ok(0) };
        let copied = last.end - to.offset;
        let now = self.store.now();
        let mut staged = self.stage(state, to.id)?;
        staged.stage = run.stage;
        for (place, part) in parts {
            match part {
                Part::Bytes(bytes) => staged.write(place.start, &bytes, now),
                Part::Hole => {
                    let size = staged.size;
                    if place.start < size {
                        staged.punch(place.start..place.end.min(size), now);
                    }
                    if place.end > size {
                        staged.resize(place.end, now);
                    }
                }
                Part::Shared => {
                    let inside = run.extents.iter().filter(|(offset, ..)| place.contains(offset));
                    inside.for_each(|(offset, len, extent)| staged.lay(*offset..offset + len, *extent, now));
                }
            }
        }
        state.put_staged(to.id, staged);
        state.wrote(to.id, to.handle)?;
        Ok(copied)
    }

    /// Reads what must be read of so many bytes, for a target that begins at `target`; or of the first of them.
    fn read_copy(&self, state: &State, from: CopyEnd, target: u64, length: u64, shares: bool) -> Result<Copy, Error> {
        let mut copy = Copy::default();
        let (mut position, end) = (from.offset, from.offset + length);
        let destination = |place: Range<u64>| place.start - from.offset + target..place.end - from.offset + target;
        let mut in_memory = 0;
        for (place, source) in self.sources(state, from.id, from.offset..end)?.iter() {
            if place.start > position {
                copy.parts.push((destination(position..place.start), Part::Hole));
            }
            position = place.start;
            let len = place.end - place.start;
            let lender = match source {
                Source::Published => Some(Lender::Value(from.id, place.start)),
                Source::Staged(extent) => Some(Lender::Staged(*extent)),
                Source::Memory => None,
            };
            if let Some(from) = lender.filter(|_| shares && len >= BLOCK) {
                let stretch = destination(place.clone());
                copy.loans.push(Loan { offset: stretch.start, len, from });
                copy.parts.push((stretch, Part::Shared));
                position = place.end;
            }
            while position < place.end {
                let piece = position..place.end.min(position + MAX_EXTENT as u64);
                if in_memory >= IN_MEMORY {
                    return Ok(copy);
                }
                match self.read_shown(state, from.id, piece.clone()) {
                    Ok(mut bytes) => {
                        // Another door may have made the value shorter.
                        bytes.resize((piece.end - piece.start) as usize, 0);
                        copy.parts.push((destination(piece.clone()), Part::Bytes(bytes)));
                    }
                    Err(error) if copy.parts.is_empty() => return Err(error),
                    Err(_) => return Ok(copy),
                }
                in_memory += piece.end - piece.start;
                position = piece.end;
            }
        }
        if position < end {
            copy.parts.push((destination(position..end), Part::Hole));
        }
        Ok(copy)
    }

    /// Where the bytes of a stretch are; what is in none of it is a hole.
    pub(super) fn sources(&self, state: &State, id: EntryId, range: Range<u64>) -> Result<RangeMap<Source>, Error> {
        let staged = state.staged(id);
        let mut sources = RangeMap::default();
        if staged.is_none_or(|staged| !staged.emptied) {
            let published = self.store.data_ranges(id, range.clone())?;
            published.into_iter().for_each(|place| sources.insert(place, Source::Published));
        }
        for (place, fragment) in staged.into_iter().flat_map(|staged| staged.fragments.overlapping(range.clone())) {
            let clipped = place.start.max(range.start)..place.end.min(range.end);
            match fragment {
                Fragment::Hole => sources.remove(clipped),
                Fragment::Memory(_) => sources.insert(clipped, Source::Memory),
                Fragment::Logged(extent) => {
                    let mut extent = *extent;
                    extent.advance(clipped.start - place.start);
                    sources.insert(clipped, Source::Staged(extent));
                }
            }
        }
        Ok(sources)
    }
}
