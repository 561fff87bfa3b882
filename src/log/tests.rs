//! The log against a simulated disk: what it writes it reads, and of what the disk makes of it, it tells the torn from
//! the damaged.

mod damage;
mod decoders;
mod failures;
mod hints;
mod manifest;
mod passing;
mod records;
mod rotation;
mod segments;
mod torn;
mod versions;

use std::sync::Arc;

use super::{Draft, Error, Location, Log, LogOptions, Report, StoreId};
use crate::medium::SimDisk;

const ID: StoreId = StoreId([7; 16]);
const FIRST: &str = "segments/00000001.log";

/// A record as it was shown by recovery: sequence number, entry, body.
type Seen = (u64, u64, Option<Vec<u8>>);

fn options(segment_size: u32) -> LogOptions {
    LogOptions { segment_size, write_ahead: 0, create: true, new_id: ID, ..LogOptions::default() }
}

fn open_with(disk: &SimDisk, options: LogOptions) -> Result<(Log, Report, Vec<Seen>), Error> {
    let mut seen = Vec::new();
    let (log, report) = Log::open(Arc::new(disk.clone()), options, &mut |visit| {
        seen.push((visit.header.sequence, visit.header.entry, visit.front.map(<[u8]>::to_vec)));
    })?;
    Ok((log, report, seen))
}

fn open(disk: &SimDisk, segment_size: u32) -> (Log, Report, Vec<Seen>) {
    open_with(disk, options(segment_size)).unwrap()
}

/// What recovery makes of a disk, which stays as it is.
fn recovered(disk: &SimDisk) -> (Report, Vec<Seen>) {
    let (_, report, seen) = open(&disk.restart(), 1 << 20);
    (report, seen)
}

/// Appends a transaction of records of these entries and bodies.
fn append(log: &Log, records: &[(u64, &[u8])]) -> Result<Vec<Location>, Error> {
    let drafts: Vec<Draft<'_>> =
        records.iter().map(|&(entry, front)| Draft { kind: 1, entry, front, bulk: &[] }).collect();
    log.begin()?.append(&drafts)
}

/// Appends `count` transactions of one record each, whose entries are their sequence numbers, and syncs.
fn fill(log: &Log, count: u64) -> Vec<Location> {
    let mut locations = Vec::new();
    for _ in 0..count {
        let entry = log.written() + 1;
        locations.extend(append(log, &[(entry, &body(entry))]).unwrap());
    }
    log.sync(log.written()).unwrap();
    locations
}

/// A body of 20 to 39 bytes that belongs to one entry.
fn body(entry: u64) -> Vec<u8> {
    vec![entry as u8; 20 + entry as usize % 20]
}

/// The records that `fill` wrote, with these sequence numbers.
fn filled(sequences: impl IntoIterator<Item = u64>) -> Vec<Seen> {
    sequences.into_iter().map(|sequence| (sequence, sequence, Some(body(sequence)))).collect()
}

/// The disk with another file at a path.
fn with_file(disk: &SimDisk, path: &str, bytes: &[u8]) -> SimDisk {
    let disk = disk.restart();
    disk.put_file(path, bytes);
    disk
}

/// The disk with bits of a byte flipped.
fn flipped(disk: &SimDisk, path: &str, offset: usize, xor: u8) -> SimDisk {
    let disk = disk.restart();
    assert!(disk.corrupt(path, offset as u64, xor), "{path} has no byte {offset}");
    disk
}
