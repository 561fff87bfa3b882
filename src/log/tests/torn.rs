//! What a crash leaves at the end of the log, and only that, is cut off.

use super::*;
use crate::log::record::record_len;
use crate::medium::Medium;

/// A disk with three records that were synced and then a transaction of three that was not. Returns where that
/// begins in the first segment.
fn unsynced_transaction() -> (SimDisk, usize) {
    let disk = SimDisk::new();
    let log = open(&disk, 1 << 20).0;
    fill(&log, 3);
    let start = disk.file(FIRST).unwrap().len();
    append(&log, &[(4, &body(4)), (5, &body(5)), (6, &body(6))]).unwrap();
    // The log is dropped without a sync.
    (disk, start)
}

/// The log takes a record, and both are there at the next start, which finds nothing torn.
fn goes_on(disk: &SimDisk, records: u64) {
    let (log, _, seen) = open(disk, 1 << 20);
    assert_eq!(seen, filled(1..=records));
    fill(&log, 1);
    let (report, seen) = recovered(disk);
    assert_eq!(seen, filled(1..=records + 1));
    assert_eq!((report.torn, report.damage), (vec![], vec![]));
}

#[test]
fn a_transaction_is_there_with_its_last_byte_only() {
    let (disk, start) = unsynced_transaction();
    let bytes = disk.file(FIRST).unwrap();
    for len in start..=bytes.len() {
        let cut = with_file(&disk, FIRST, &bytes[..len]);
        let (report, seen) = recovered(&cut);
        assert_eq!(report.damage, vec![], "{len}");
        let whole = len == bytes.len();
        assert_eq!(seen, filled(1..=if whole { 6 } else { 3 }), "{len}");
        let torn: Vec<_> = report.torn.iter().map(|torn| (torn.location.offset as usize, torn.len as usize)).collect();
        let left = if whole || len == start { vec![] } else { vec![(start, len - start)] };
        assert_eq!(torn, left, "{len}");
        goes_on(&cut, if whole { 6 } else { 3 });
    }
}

#[test]
fn a_torn_transaction_leaves_nothing_of_itself() {
    let (disk, start) = unsynced_transaction();
    let whole = disk.file(FIRST).unwrap();
    for place in start..whole.len() {
        for xor in [1, 0x80, 0xff] {
            let disk = flipped(&disk, FIRST, place, xor);
            let (report, seen) = recovered(&disk);
            assert_eq!(report.damage, vec![], "{place}");
            // The bytes that fill a record up to its alignment mean nothing.
            let intact = seen.len() == 6 && report.torn.is_empty();
            assert_eq!(seen, filled(1..=if intact { 6 } else { 3 }), "{place}");
            assert!(intact || report.torn.len() == 1, "{place}: {report:?}");
        }
    }
    let stretches =
        [(start, whole.len()), (start, start + 40), (start + 60, start + 70), (whole.len() - 8, whole.len())];
    for (from, to) in stretches {
        let mut bytes = whole.clone();
        bytes[from..to].fill(0);
        goes_on(&with_file(&disk, FIRST, &bytes), 3);
    }
}

#[test]
fn a_tail_of_zeros_is_no_finding() {
    let (disk, start) = unsynced_transaction();
    let mut bytes = disk.file(FIRST).unwrap();
    bytes.truncate(start);
    for zeros in [1, 7, 8, 40, 4096, 2 << 20] {
        let mut longer = bytes.clone();
        longer.resize(start + zeros, 0);
        let disk = with_file(&disk, FIRST, &longer);
        let (log, report, seen) = open(&disk, 4 << 20);
        assert_eq!(seen, filled(1..=3));
        assert_eq!(report, Report { records: 3, ..Report::default() });
        assert_eq!(fill(&log, 1)[0].offset as usize, start, "the next record comes right behind the last");
        assert_eq!(recovered(&disk).1, filled(1..=4));
    }
}

#[test]
fn zeros_are_written_ahead_once_and_cut_off_in_the_end() {
    let disk = SimDisk::new();
    let log = open_with(&disk, LogOptions { write_ahead: 1000, ..options(2000) }).unwrap().0;
    let len = || disk.file(FIRST).unwrap().len();
    let end = |location: &Location| location.offset as usize + record_len(body(1).len()) as usize;
    let first = fill(&log, 1);
    assert_eq!(len(), end(&first[0]) + 1000);
    while fill(&log, 1).iter().all(|location| location.offset < 1000) {
        assert_eq!(len(), end(&first[0]) + 1000, "nothing but what is there already is written to");
    }
    // A process that dies leaves the zeros; the next one goes on in them.
    let written = log.written();
    goes_on(&disk.restart(), written);
    assert_eq!(recovered(&disk).0, Report { records: written, ..Report::default() });
    drop(log);
    let log = open_with(&disk, LogOptions { write_ahead: 1000, ..options(2000) }).unwrap().0;
    let before = len();
    fill(&log, 1);
    assert_eq!(len(), before);
    // No more than a segment is written, and of a sealed one nothing is left behind its records.
    let mut last = 0;
    while let Location { segment: 1, offset } = fill(&log, 1)[0] {
        last = offset as usize + record_len(body(log.written()).len()) as usize;
        assert!((last..=2000).contains(&len()));
    }
    assert_eq!(len(), last);
}

/// Zeros are written while there is room for them.
#[test]
fn a_disk_with_no_room_for_zeros_takes_records() {
    let disk = SimDisk::new();
    let log = open_with(&disk, LogOptions { write_ahead: 1000, ..options(1 << 20) }).unwrap().0;
    let space = disk.space().unwrap();
    disk.set_capacity(Some(space.total - space.free + 300));
    let mut whole = 0;
    while append(&log, &[(log.written() + 1, &body(log.written() + 1))]).is_ok() {
        whole += 1;
    }
    assert!((3..=5).contains(&whole), "{whole}");
    assert_eq!(log.failure(), None);
    disk.set_capacity(None);
    fill(&log, 1);
    assert_eq!(recovered(&disk).1, filled(1..=whole + 1));
}

#[test]
fn a_torn_tail_is_never_read_again() {
    let (disk, start) = unsynced_transaction();
    let mut bytes = disk.file(FIRST).unwrap();
    // The first of the three is lost, the others are whole: only the sequence number tells that they are stale.
    bytes[start..start + 8].fill(0);
    let disk = with_file(&disk, FIRST, &bytes);
    let (log, report, seen) = open(&disk, 1 << 20);
    assert_eq!(seen, filled(1..=3));
    assert_eq!(report.torn.len(), 1);
    // As many as were cut off, so that the sequence numbers fit again.
    let locations = fill(&log, 3);
    assert!(locations.iter().all(|location| location.segment == 2), "{locations:?}");
    assert_eq!(disk.file(FIRST).unwrap(), bytes, "nothing is written behind a torn tail");
    let (report, seen) = recovered(&disk);
    assert_eq!(seen, filled(1..=6));
    assert_eq!((report.torn, report.damage), (vec![], vec![]));
}

#[test]
fn what_follows_a_torn_segment_is_cut_off_with_it() {
    let disk = SimDisk::new();
    let log = open(&disk, 300).0;
    let synced = fill(&log, 2);
    // Several segments that nobody has synced.
    let unsynced: Vec<_> = (3..=20).flat_map(|entry| append(&log, &[(entry, &body(entry))]).unwrap()).collect();
    assert_eq!(synced[0].segment, 1);
    assert!(unsynced.last().unwrap().segment > 4);
    for (index, location) in unsynced.iter().enumerate() {
        let path = format!("segments/{:08}.log", location.segment);
        let disk = flipped(&disk, &path, location.offset as usize + 9, 1);
        let (report, seen) = recovered(&disk);
        assert_eq!(seen, filled(1..=2 + index as u64));
        assert_eq!(report.damage, vec![]);
        assert!(!report.torn.is_empty());
        goes_on(&disk, 2 + index as u64);
    }
}

/// Recovery reads unsynced bytes from the kernel's memory. What it has shown, and what is built on that, stays.
#[test]
fn what_recovery_has_shown_survives_a_power_cut() {
    let (disk, _) = unsynced_transaction();
    let (log, _, seen) = open(&disk, 1 << 20);
    assert_eq!(seen, filled(1..=6));
    for image in disk.power_cut_images(1, 20) {
        assert_eq!(recovered(&image).1, filled(1..=6));
    }
    fill(&log, 1);
    for image in disk.power_cut_images(1, 20) {
        assert_eq!(recovered(&image).1, filled(1..=7));
    }
}
