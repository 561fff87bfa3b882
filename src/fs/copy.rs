//! copy_file_range(2): copying between open files within the daemon.
//!
//! The bytes are copied, and not shared: an extent in the log belongs to one entry, which is what lets a merge, and the
//! recovery, say from a record alone whether it is live. Holes stay holes.

use std::ops::Range;

use super::inode::State;
use super::staged::Staged;
use super::{Caller, Filesystem, HandleId};
use crate::store::{EntryId, Error, Kind, MAX_EXTENT};

/// The most bytes that one call copies. The kernel asks again for the rest; meanwhile others have their turn.
const AT_ONCE: u64 = 8 << 20;

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

impl Filesystem {
    /// Copies up to `length` bytes from one open file to another, or within one, and says how many: fewer at the end of
    /// the value, and at most 8 MiB at once.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the ranges overlap in one file, or one of the files has no value; [`Error::TooLarge`],
    /// [`Error::NoSpace`] and [`Error::DamagedKey`], if nothing could be copied before that.
    pub fn copy_file_range(&self, caller: &Caller, from: CopyEnd, to: CopyEnd, length: u64) -> Result<u64, Error> {
        let state = &mut *self.state.lock();
        for end in [from, to] {
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
            return Ok(0);
        }
        self.drop_privileges(&self.store.entry(to.id)?, caller.uid != 0)?;
        let end = from.offset + length;
        let data = self.data_ranges(state, from.id, from.offset..end)?;
        let cut = |data: Range<u64>| {
            let starts = data.clone().step_by(MAX_EXTENT);
            starts.map(move |start| start..data.end.min(start + MAX_EXTENT as u64))
        };
        let destination = |place: u64| place - from.offset + to.offset;
        let mut position = from.offset;
        // Behind the last of them there may be a hole.
        for piece in data.into_iter().flat_map(cut).chain(std::iter::once(end..end)) {
            if position == end {
                break;
            }
            let hole = destination(position)..destination(piece.start);
            let read = self.read_shown(state, from.id, piece.clone());
            match read.and_then(|bytes| self.put(state, to, hole, &bytes)) {
                Ok(()) => position = piece.end,
                Err(error) if position == from.offset => return Err(error),
                Err(_) => break,
            }
        }
        Ok(position - from.offset)
    }

    /// Makes a stretch zeros, and puts bytes behind it.
    fn put(&self, state: &mut State, to: CopyEnd, hole: Range<u64>, bytes: &[u8]) -> Result<(), Error> {
        self.spill(state, to.id)?;
        self.store.check_space(bytes.len() as u64)?;
        let now = self.store.now();
        let published = self.store.entry(to.id)?.size;
        let mut staged = state.take_staged(to.id).unwrap_or_else(|| Staged::new(published, now));
        let size = staged.size;
        if hole.start < hole.end.min(size) {
            staged.punch(hole.start..hole.end.min(size), now);
        }
        if !bytes.is_empty() {
            staged.write(hole.end, bytes, now);
        } else if hole.end > size {
            staged.resize(hole.end, now);
        }
        state.put_staged(to.id, staged);
        state.handle(to.id, to.handle)?.wrote = true;
        Ok(())
    }
}
