//! The one writer: appends transactions to the active segment.
//!
//! A small transaction that makes the segment longer writes zeros behind itself. The next ones then only overwrite: an
//! fsync that has no new length or blocks to make durable costs the file system no commit of its own. Recovery
//! takes zeros for what they are, nothing; they are cut off when the segment is sealed.

use std::io;
use std::sync::Arc;

use parking_lot::MutexGuard;

use super::error::{Error, is_no_space};
use super::manifest::Change;
use super::record::{ALIGNMENT, Header, Location, MAX_BODY, MAX_SEQUENCE, record_len};
use super::segment::{SEGMENT_HEADER_LEN, Segment};
use super::{Log, Ordering};

/// Zeros written ahead, in bytes: enough for a thousand small transactions.
pub const WRITE_AHEAD: u32 = 1 << 20;

/// Where the first record of a segment begins.
const FIRST_RECORD: u64 = SEGMENT_HEADER_LEN as u64;

/// So many segments may wait to be sealed, each with its file open. Then the writer waits for a sync: the disk is slower than
/// it.
const MOST_RETIRED: usize = 16;

/// Transactions of more bytes write no zeros: writing twice would cost them more than it saves.
const SMALL: u64 = 64 << 10;

/// A transaction of more bytes is written in pieces of about so many.
const PIECE: usize = 1 << 20;

/// A record to be appended: the log adds the sequence number and the checksums.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// What the body is; not 0.
    pub kind: u8,
    /// The entry that the record is about.
    pub entry: u64,
    /// What recovery will need of the body,
    pub front: &'a [u8],
    /// and what follows it.
    pub bulk: &'a [u8],
}

impl<'a> Draft<'a> {
    fn body(&self) -> [&'a [u8]; 2] {
        [self.front, self.bulk]
    }

    fn body_len(&self) -> usize {
        self.front.len() + self.bulk.len()
    }
}

/// The segment that is written to.
#[derive(Debug)]
struct Active {
    segment: Arc<Segment>,
    offset: u64,
    /// How far the file is written: records up to `offset`, then zeros.
    written: u64,
    first_sequence: u64,
}

impl Active {
    /// Writes records behind those that are there, and `ahead` zeros behind them if they make the file longer and there is room.
    fn write(&mut self, records: &mut Vec<u8>, ahead: u64) -> io::Result<()> {
        let len = records.len();
        let end = self.offset + len as u64;
        if end > self.written {
            records.resize(len + ahead as usize, 0);
        }
        let file = &self.segment.file;
        let mut written = file.write_all_at(records, self.offset);
        if written.as_ref().is_err_and(|error| records.len() > len && is_no_space(error)) {
            // For the records alone there may be room.
            records.truncate(len);
            self.written = self.offset;
            written = file.set_len(self.offset).and_then(|()| file.write_all_at(records, self.offset));
        }
        if let Err(error) = written {
            // The caller cuts it off.
            self.written = self.offset;
            return Err(error);
        }
        self.written = self.written.max(self.offset + records.len() as u64);
        self.offset = end;
        Ok(())
    }
}

/// A segment that is full, but not yet synced and sealed.
#[derive(Clone, Debug)]
pub(super) struct Retired {
    pub(super) segment: Arc<Segment>,
    end: u64,
    /// How far the file is written.
    written: u64,
    first_sequence: u64,
    last_sequence: u64,
}

impl Retired {
    /// Makes its records durable, and cuts off the zeros behind them.
    pub(super) fn sync(&self) -> io::Result<()> {
        if self.written > self.end {
            // Zeros that stay take room until the segment is merged, and are no other harm.
            let _ = self.segment.file.set_len(self.end);
        }
        self.segment.file.sync()
    }

    /// It is sealed: it need not stay open.
    pub(super) fn release(&self) {
        self.segment.file.release();
    }

    /// The manifest's entry for it, once it is synced.
    pub(super) fn seal(&self) -> Change {
        Change::Seal {
            segment: self.segment.id,
            end: self.end,
            first_sequence: self.first_sequence,
            last_sequence: self.last_sequence,
        }
    }
}

/// Where the log is written.
#[derive(Debug)]
pub(super) struct Writer {
    active: Option<Active>,
    next_sequence: u64,
    buffer: Vec<u8>,
}

impl Writer {
    /// A writer that goes on with `next_sequence`, in no segment yet.
    pub(super) fn new(next_sequence: u64) -> Writer {
        Writer { active: None, next_sequence, buffer: Vec::new() }
    }

    /// Goes on in a segment whose records end at `offset`, with nothing but zeros behind them in the file, which is as long as
    /// `written`.
    pub(super) fn resume(&mut self, segment: Arc<Segment>, offset: u64, written: u64, first_sequence: u64) {
        self.active = Some(Active { segment, offset, written, first_sequence });
    }

    /// The active segment and where its records end.
    pub(super) fn active(&self) -> Option<(Arc<Segment>, u64)> {
        self.active.as_ref().map(|active| (Arc::clone(&active.segment), active.offset))
    }

    /// Leaves the active segment for another one.
    fn rotate(&mut self, segment: Arc<Segment>) -> Option<Retired> {
        let retired = self.active.take().map(|Active { segment, offset, written, first_sequence }| {
            segment.close(offset);
            let last_sequence = self.next_sequence - 1;
            Retired { segment, end: offset, written, first_sequence, last_sequence }
        });
        self.resume(segment, FIRST_RECORD, FIRST_RECORD, self.next_sequence);
        retired
    }
}

/// What a thread is known by, among those that are there.
pub(super) fn this_thread() -> usize {
    thread_local!(static PLACE: u8 = const { 0 });
    PLACE.with(|place| std::ptr::from_ref(place) as usize)
}

/// The right to append, held by one thread at a time.
#[derive(Debug)]
pub struct Appender<'a> {
    log: &'a Log,
    writer: MutexGuard<'a, Writer>,
    /// What is appended frees space: for its sake the reserve file is given up.
    frees: bool,
}

impl<'a> Appender<'a> {
    pub(super) fn new(log: &'a Log, writer: MutexGuard<'a, Writer>) -> Appender<'a> {
        log.holder.store(this_thread(), Ordering::Relaxed);
        Appender { log, writer, frees: false }
    }

    /// The sequence number that the next record will have.
    pub fn next_sequence(&self) -> u64 {
        self.writer.next_sequence
    }

    /// Says that what is appended from now on frees space: if there is no room for it, the reserve file is given up.
    pub fn frees_space(&mut self) {
        self.frees = true;
    }

    /// Appends one transaction and hands it to the operating system. Returns where each record is.
    ///
    /// # Errors
    /// [`Error::NoSpace`] leaves the log as it was; any other failure of the medium is final.
    pub fn append(&mut self, drafts: &[Draft<'_>]) -> Result<Vec<Location>, Error> {
        self.append_each(drafts.iter().copied())
    }

    /// [`Appender::append`] of records that are not in one slice. They are written in pieces, so that a large transaction
    /// is not in memory once more.
    ///
    /// # Errors
    /// As there.
    pub fn append_each<'d>(&mut self, drafts: impl Iterator<Item = Draft<'d>> + Clone) -> Result<Vec<Location>, Error> {
        let log = self.log;
        match self.frees {
            true => log.with_reserve(|| self.try_append(drafts.clone())),
            false => self.try_append(drafts),
        }
    }

    fn try_append<'d>(&mut self, drafts: impl Iterator<Item = Draft<'d>> + Clone) -> Result<Vec<Location>, Error> {
        // Checked with the lock held: a sync may have failed since the caller began.
        self.log.check()?;
        let (mut count, mut total, mut too_large) = (0, 0u64, false);
        for draft in drafts.clone() {
            count += 1;
            total += record_len(draft.body_len());
            too_large |= draft.body_len() > MAX_BODY;
        }
        if too_large || total + u64::from(SEGMENT_HEADER_LEN) > u64::from(u32::MAX) {
            return Err(Error::TooLarge(total));
        }
        if self.writer.next_sequence + count as u64 > MAX_SEQUENCE {
            return Err(self.log.fail("numbering records", &io::Error::other("sequence numbers are used up")));
        }
        let limit = u64::from(self.log.options.segment_size).max(u64::from(SEGMENT_HEADER_LEN) + total);
        if self.writer.active.as_ref().is_none_or(|active| active.offset + total > limit) {
            self.rotate()?;
        }
        let writer = &mut *self.writer;
        let Some(active) = &mut writer.active else { return Err(Error::NoSpace) };
        let start = active.offset;
        writer.buffer.clear();
        let mut locations = Vec::with_capacity(count);
        let mut written = Ok(());
        for (index, draft) in drafts.enumerate() {
            let offset = u32::try_from(active.offset + writer.buffer.len() as u64).unwrap_or(u32::MAX);
            let mut body_crc = crc32fast::Hasher::new();
            draft.body().into_iter().for_each(|part| body_crc.update(part));
            let header = Header {
                kind: draft.kind,
                last: index + 1 == count,
                body_len: draft.body_len() as u32,
                front_len: draft.front.len() as u32,
                body_crc: body_crc.finalize(),
                sequence: writer.next_sequence + index as u64,
                entry: draft.entry,
                durable: self.log.durable.load(Ordering::Acquire),
            };
            header.encode(active.segment.seed, offset, &mut writer.buffer);
            draft.body().into_iter().for_each(|part| writer.buffer.extend_from_slice(part));
            writer.buffer.resize(writer.buffer.len().next_multiple_of(ALIGNMENT), 0);
            locations.push(Location { segment: active.segment.id, offset });
            if writer.buffer.len() >= PIECE && index + 1 < count {
                written = active.write(&mut writer.buffer, 0);
                writer.buffer.clear();
                if written.is_err() {
                    break;
                }
            }
        }
        let ahead = if total <= SMALL { self.log.options.write_ahead.into() } else { 0 };
        let ahead = limit.saturating_sub(start + total).min(ahead);
        if let Err(error) = written.and_then(|()| active.write(&mut writer.buffer, ahead)) {
            // Pieces of it that were written are cut off too.
            (active.offset, active.written) = (start, start);
            return Err(self.log.append_failed(error, &active.segment, start));
        }
        self.log.counters.appended(total);
        writer.next_sequence += count as u64;
        self.log.written.appended(writer.next_sequence - 1, active.offset);
        if writer.buffer.capacity() > 4 << 20 {
            writer.buffer = Vec::new();
        }
        Ok(locations)
    }

    /// Leaves the active segment if there is anything in it, so that every record so far is in a segment that takes no
    /// more. Returns the last one's sequence number.
    ///
    /// # Errors
    /// As [`Appender::append`].
    pub(super) fn leave_active(&mut self) -> Result<u64, Error> {
        self.log.check()?;
        if self.writer.active.as_ref().is_some_and(|active| active.offset > u64::from(SEGMENT_HEADER_LEN)) {
            self.rotate()?;
        }
        Ok(self.writer.next_sequence - 1)
    }

    fn rotate(&mut self) -> Result<(), Error> {
        let segment = self.log.next_segment()?;
        let retired = self.writer.rotate(Arc::clone(&segment));
        let waiting = self.log.written.rotated(retired, segment, FIRST_RECORD);
        self.log.tell_rotated();
        if waiting > MOST_RETIRED {
            // That they cannot be sealed is heard by who waits for it.
            let _ = self.log.sync(self.writer.next_sequence - 1);
            self.log.check()?;
        }
        Ok(())
    }
}

impl Drop for Appender<'_> {
    fn drop(&mut self) {
        self.log.holder.store(0, Ordering::Relaxed);
    }
}

impl Log {
    /// A full disk, or one for which the kernel has no memory, is survived by cutting off what was half written; anything
    /// else is final.
    fn append_failed(&self, error: io::Error, segment: &Segment, end: u64) -> Error {
        let survived = self.failed("writing to the log", error);
        if self.failure().is_some() {
            return survived;
        }
        // Durably: the next transaction has the same sequence numbers, and nothing of this one may ever join it.
        match segment.file.set_len(end).and_then(|()| segment.file.sync()) {
            Ok(()) => survived,
            Err(error) => self.fail("cutting off a half-written transaction", &error),
        }
    }
}
