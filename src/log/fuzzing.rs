//! Ways in for the fuzz targets. No part of the API.
//!
//! Checksums keep all but a few inputs from what is behind them, so that each decoder is run twice: on the bytes as they
//! are, and with the checksums put right.

use std::sync::Arc;

use super::files::{FORMAT, MANIFEST, SEGMENTS};
use super::hint::{self, Hint};
use super::manifest::{Manifest, Sealed, SegmentList, entry_crc};
use super::record::{ALIGNMENT, HEADER_LEN, header_crc};
use super::segment::{SEGMENT_HEADER_LEN, Segment};
use super::{Error, Log, LogOptions, StoreId, files, format};
use crate::medium::SimDisk;

const ID: StoreId = StoreId([7; 16]);
/// Bytes of the manifest's header and of each of its entries.
const ENTRY_LEN: usize = 40;

fn options() -> LogOptions {
    LogOptions { segment_size: 1 << 20, write_ahead: 0, create: true, new_id: ID, ..LogOptions::default() }
}

/// Reads a manifest.
pub fn manifest(bytes: &[u8]) {
    let disk = SimDisk::new();
    let mut right = bytes.to_vec();
    put_right(MANIFEST, &mut right);
    for bytes in [bytes, &right] {
        disk.put_file(MANIFEST, bytes);
        let _ = Manifest::read(&disk, ID);
    }
}

/// Reads a format file.
pub fn format(bytes: &[u8]) {
    let disk = SimDisk::new();
    let mut right = bytes.to_vec();
    put_right(FORMAT, &mut right);
    for bytes in [bytes, &right] {
        disk.put_file(FORMAT, bytes);
        let _ = format::read(&disk);
    }
}

/// Reads a hint, as it stands beside its segment and past its checks.
pub fn hint(bytes: &[u8]) {
    let disk = SimDisk::new();
    let Ok(segment) = Segment::create(&disk, 1, 1, ID) else { return };
    disk.put_file(&files::hint(1), bytes);
    let sealed = Sealed { end: SEGMENT_HEADER_LEN.into(), first_sequence: 1, last_sequence: 0 };
    let _ = Hint::read(&disk, &segment, &sealed);
    hint::go_through(bytes.to_vec());
}

/// Opens a log with a segment of these records: the one that is written to, and a sealed one.
pub fn segment(bytes: &[u8]) {
    for (right, sealed) in [(false, false), (true, false), (true, true)] {
        let _ = open_with(bytes, right, sealed);
    }
}

fn open_with(bytes: &[u8], right: bool, sealed: bool) -> Option<()> {
    let disk = SimDisk::new();
    Log::open(Arc::new(disk.clone()), options(), &mut |_| {}).ok()?;
    let path = files::segment(1);
    let mut file = disk.file(&path)?;
    file.truncate(SEGMENT_HEADER_LEN as usize);
    file.extend_from_slice(bytes);
    if right {
        put_right(&path, &mut file);
    }
    let end = file.len() as u64;
    disk.put_file(&path, file);
    if sealed {
        let seal = Sealed { end, first_sequence: 1, last_sequence: 1 << 20 };
        Manifest::write(&disk, ID, 1, &SegmentList::from([(1, Some(seal))]), 0).ok()?;
    }
    let (log, _) = Log::open(Arc::new(disk.clone()), options(), &mut |_| {}).ok()?;
    for segment in log.sealed() {
        let _ = log.visit_sealed::<Error>(&segment, &mut |_, _, _| Ok(()));
    }
    log.sync(log.written()).ok().map(drop)
}

/// The fronts of all records of a store.
pub fn fronts(disk: &SimDisk) -> Vec<Vec<u8>> {
    let mut fronts = Vec::new();
    let _ = Log::open(Arc::new(disk.restart()), options(), &mut |visit| {
        fronts.extend(visit.front.map(<[u8]>::to_vec));
    });
    fronts
}

/// Puts the checksums of a store's file right, whatever they are to cover.
pub fn put_right(path: &str, file: &mut Vec<u8>) {
    match path {
        FORMAT => {
            let checksum = b"checksum ";
            let end = file.windows(checksum.len()).rposition(|window| window == checksum);
            file.truncate(end.unwrap_or(file.len()));
            let crc = crc32fast::hash(file);
            file.extend_from_slice(format!("checksum {crc:08x}\n").as_bytes());
        }
        MANIFEST => {
            let Some((header, entries)) = file.split_at_mut_checked(ENTRY_LEN) else { return };
            let seed = put_crc(header, ENTRY_LEN - 4, crc32fast::hash);
            for (index, entry) in (0u32..).zip(entries.chunks_exact_mut(ENTRY_LEN)) {
                let Some((crc, rest)) = entry.split_first_chunk_mut::<4>() else { return };
                *crc = entry_crc(seed, index, rest).to_le_bytes();
            }
        }
        _ if path.starts_with(SEGMENTS) => put_segment_right(file),
        _ => {}
    }
}

/// Puts the checksum of what stands before an offset there, and returns it.
fn put_crc(bytes: &mut [u8], offset: usize, crc: impl FnOnce(&[u8]) -> u32) -> u32 {
    let Some((front, back)) = bytes.split_at_mut_checked(offset) else { return 0 };
    let crc = crc(front);
    if let Some(place) = back.first_chunk_mut::<4>() {
        *place = crc.to_le_bytes();
    }
    crc
}

fn put_segment_right(file: &mut [u8]) {
    let Some((header, records)) = file.split_at_mut_checked(SEGMENT_HEADER_LEN as usize) else { return };
    let seed = put_crc(header, SEGMENT_HEADER_LEN as usize - 4, crc32fast::hash);
    let mut offset = 0;
    while let Some(record) = records.get_mut(offset..).filter(|record| record.len() >= HEADER_LEN) {
        let (header, behind) = record.split_at_mut(HEADER_LEN);
        let stated = header.get(8..12).and_then(|bytes| bytes.first_chunk::<4>()).copied().unwrap_or_default();
        // A length that cannot be true is left so, and the search goes on behind the header.
        let body = behind.get(..u32::from_le_bytes(stated) as usize).unwrap_or_default();
        let len = (HEADER_LEN + body.len()).next_multiple_of(ALIGNMENT);
        let body_crc = crc32fast::hash(body);
        if let Some((crc, rest)) = header.split_first_chunk_mut::<4>() {
            if let Some(place) = rest.first_chunk_mut::<4>() {
                *place = body_crc.to_le_bytes();
            }
            let place = SEGMENT_HEADER_LEN + offset as u32;
            *crc = header_crc(seed, place, rest).to_le_bytes();
        }
        offset += len;
    }
}
