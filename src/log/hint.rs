//! A hint: what recovery needs of a sealed segment, without the bulk of its records.
//!
//! A hint is never needed: one that is missing, of another segment, cut off or damaged is not used, and the segment is
//! read instead. So it is written without a sync. Only a segment without damage has one.

use std::io;
use std::ops::Range;

use super::codec::{Decoder, Encoder, Truncated};
use super::files;
use super::format::FORMAT_VERSION;
use super::manifest::Sealed;
use super::record::{Header, Location};
use super::retry::{is_short_of_resources, retried};
use super::scan::{Found, Scanner};
use super::segment::{SEGMENT_HEADER_LEN, Segment};
use crate::medium::Medium;

const MAGIC: &[u8; 8] = b"CASKHNT\0";

/// Bytes before the entries.
const HEADER_LEN: usize = 48;
/// Where in them the header checksum of the segment's last record is: it stands for all that is in the segment.
const LAST_RECORD: Range<usize> = 20..24;
/// Bytes behind them.
const CHECKSUM_LEN: usize = 4;

/// A hint that agrees with its segment.
#[derive(Debug)]
pub(super) struct Hint {
    segment: u32,
    first_sequence: u64,
    bytes: Vec<u8>,
}

impl Hint {
    /// Reads the hint of a segment. `None` if there is none, or if it is not to be trusted.
    pub(super) fn read(medium: &dyn Medium, segment: &Segment, sealed: &Sealed) -> io::Result<Option<Hint>> {
        // A segment that is not whole is looked into.
        if segment.damaged || segment.file.len()? < sealed.end {
            return Ok(None);
        }
        let Some((hint, last)) = Hint::open(medium, segment, sealed)? else { return Ok(None) };
        let mut checksum = [0; CHECKSUM_LEN];
        match retried(|| segment.file.read_exact_at(&mut checksum, last)) {
            Ok(()) => Ok((hint.bytes.get(LAST_RECORD) == Some(&checksum)).then_some(hint)),
            // The hint is whole, and is of the file that has this header: it knows more than what is left of the segment.
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof && !is_short_of_resources(&error) => {
                Ok(Some(hint))
            }
            Err(error) => Err(error),
        }
    }

    /// Where the segment was sealed, by its hint, if that is whole. It is written after the seal is durable, and so proves
    /// it, whatever has become of the segment since.
    pub(super) fn seal(medium: &dyn Medium, segment: &Segment) -> io::Result<Option<Sealed>> {
        let Some(bytes) = files::found(files::read(medium, &files::hint(segment.id), HEADER_LEN as u64))? else {
            return Ok(None);
        };
        let mut decoder = Decoder::new(bytes.get(LAST_RECORD.end..).unwrap_or_default());
        let mut number = || decoder.u64().map_err(|_| io::ErrorKind::UnexpectedEof);
        let sealed = Sealed { end: number()?, first_sequence: number()?, last_sequence: number()? };
        Ok(Hint::open(medium, segment, &sealed)?.map(|_| sealed))
    }

    /// The hint of a segment, if that is whole, and where the last record begins (the segment's beginning if there is none).
    fn open(medium: &dyn Medium, segment: &Segment, sealed: &Sealed) -> io::Result<Option<(Hint, u64)>> {
        let open = retried(|| medium.open(&files::hint(segment.id), false));
        let Some(file) = files::found(open)? else { return Ok(None) };
        // A hint leaves out most of each record, and adds less.
        let Some(len) = usize::try_from(file.len()?).ok().filter(|len| *len as u64 <= sealed.end) else {
            return Ok(None);
        };
        let mut bytes = vec![0; len];
        retried(|| file.read_exact_at(&mut bytes, 0))?;
        let hint = Hint { segment: segment.id, first_sequence: sealed.first_sequence, bytes };
        Ok(hint.check(segment, sealed).map(|last| (hint, last)))
    }

    /// Shows the records of the segment, as reading it would.
    pub(super) fn visit(&self, visit: &mut dyn FnMut(&Header, Location, &[u8])) {
        // It was seen to be whole.
        let _ = self.entries(visit);
    }

    /// Checks that the hint is whole, and of this segment as far as it says. Returns where the last record begins (the
    /// segment's beginning if there is none).
    fn check(&self, segment: &Segment, sealed: &Sealed) -> Option<u64> {
        let (front, checksum) = self.bytes.split_last_chunk::<CHECKSUM_LEN>()?;
        let last_record = front.get(LAST_RECORD)?.try_into().ok()?;
        if crc32fast::hash(front) != u32::from_le_bytes(*checksum)
            || !(1..=FORMAT_VERSION).any(|version| front.starts_with(&header(version, segment, sealed, last_record)))
        {
            return None;
        }
        let (mut last, mut highest) = (0, 0);
        let end = self.entries(&mut |header, location, _| (last, highest) = (location.offset.into(), header.sequence));
        (end == Ok(sealed.end) && highest <= sealed.last_sequence).then_some(last)
    }

    /// Goes through the entries; returns where the last record ends.
    fn entries(&self, visit: &mut dyn FnMut(&Header, Location, &[u8])) -> Result<u64, Truncated> {
        let entries = HEADER_LEN..self.bytes.len().saturating_sub(CHECKSUM_LEN);
        let mut decoder = Decoder::new(self.bytes.get(entries).ok_or(Truncated)?);
        let mut offset = u64::from(SEGMENT_HEADER_LEN);
        let mut sequence = self.first_sequence;
        while !decoder.rest().is_empty() {
            let kind = decoder.u8()?;
            sequence = sequence.checked_add(decoder.varint()?).ok_or(Truncated)?;
            let (entry, front_len, bulk_len) = (decoder.varint()?, decoder.length()?, decoder.length()?);
            let front = decoder.bytes(front_len)?;
            let body_len = front_len.saturating_add(bulk_len);
            let (front_len, body_len) = (front_len as u32, u32::try_from(body_len).map_err(|_| Truncated)?);
            let header = Header { kind, last: true, body_len, front_len, body_crc: 0, sequence, entry, durable: 0 };
            if !header.is_sound() {
                return Err(Truncated);
            }
            let place = u32::try_from(offset).map_err(|_| Truncated)?;
            visit(&header, Location { segment: self.segment, offset: place }, front);
            offset += header.record_len();
        }
        Ok(offset)
    }
}

/// Goes through entries that nobody has checked.
#[cfg(feature = "fuzzing")]
pub(super) fn go_through(bytes: Vec<u8>) {
    Hint { segment: 1, first_sequence: 1, bytes }.visit(&mut |_, _, _| {});
}

/// Writes the hint of a segment. Does nothing if the segment is damaged.
pub(super) fn write(medium: &dyn Medium, segment: &Segment, sealed: &Sealed) -> io::Result<()> {
    let Some(bytes) = build(segment, sealed)? else { return Ok(()) };
    let path = files::hint(segment.id);
    let temporary = format!("{path}.tmp");
    match medium.remove(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = medium.create(&temporary).and_then(|file| file.write_all_at(&bytes, 0));
    let renamed = written.and_then(|()| medium.rename(&temporary, &path));
    renamed.inspect_err(|_| {
        // A hint more or less is no matter; half of one would only take room.
        let _ = medium.remove(&temporary);
    })
}

/// The bytes of a hint, made from the segment. `None` if that is damaged.
fn build(segment: &Segment, sealed: &Sealed) -> io::Result<Option<Vec<u8>>> {
    let Some((mut bytes, last)) = collect(segment, sealed)? else { return Ok(None) };
    if let Some(checksum) = bytes.get_mut(LAST_RECORD) {
        segment.file.read_exact_at(checksum, last)?;
    }
    bytes.put_u32(crc32fast::hash(&bytes));
    Ok(Some(bytes))
}

/// What a hint of this segment would say. `None` if something of the segment is missing.
pub(super) fn of_segment(segment: &Segment, sealed: &Sealed) -> io::Result<Option<Hint>> {
    if segment.damaged || segment.unread {
        return Ok(None);
    }
    let Some((mut bytes, _)) = collect(segment, sealed)? else { return Ok(None) };
    // Nobody checks it who has made it.
    bytes.put_u32(0);
    Ok(Some(Hint { segment: segment.id, first_sequence: sealed.first_sequence, bytes }))
}

/// The bytes of a hint up to its checksum, and where the last record begins.
fn collect(segment: &Segment, sealed: &Sealed) -> io::Result<Option<(Vec<u8>, u64)>> {
    let mut bytes = header(FORMAT_VERSION, segment, sealed, [0; CHECKSUM_LEN]);
    let mut last = 0;
    let mut scanner = Scanner::new(segment, Some(sealed.end))?;
    let mut offset = scanner.start();
    let mut sequence = sealed.first_sequence;
    while offset < sealed.end {
        let Some(Found { header, body: Some(body), .. }) = scanner.record_at(offset)? else { return Ok(None) };
        let Some(step) = header.sequence.checked_sub(sequence) else { return Ok(None) };
        bytes.put_u8(header.kind);
        bytes.put_varint(step);
        bytes.put_varint(header.entry);
        bytes.put_varint(header.front_len.into());
        bytes.put_varint(header.bulk_len().into());
        bytes.extend_from_slice(body.get(..header.front_len as usize).unwrap_or_default());
        (sequence, last) = (header.sequence, offset);
        offset += header.record_len();
    }
    Ok(Some((bytes, last)))
}

fn header(version: u32, segment: &Segment, sealed: &Sealed, last_record: [u8; CHECKSUM_LEN]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_LEN);
    bytes.extend_from_slice(MAGIC);
    bytes.put_u32(version);
    bytes.put_u32(segment.id);
    // The checksum of the segment's own header: of this file, and of no other that has its number.
    bytes.put_u32(segment.seed);
    bytes.extend_from_slice(&last_record);
    bytes.put_u64(sealed.end);
    bytes.put_u64(sealed.first_sequence);
    bytes.put_u64(sealed.last_sequence);
    bytes
}
