//! What is not as it was written, where no crash explains it: found, told, and stepped over.

use super::*;
use crate::log::record::HEADER_LEN;

/// A disk with 40 records of one transaction each in several sealed segments, and where they are.
fn sealed() -> (SimDisk, Vec<Location>) {
    let disk = SimDisk::new();
    let log = open(&disk, 600).0;
    let locations = fill(&log, 40);
    (disk, locations)
}

fn path(location: Location) -> String {
    format!("segments/{:08}.log", location.segment)
}

/// The records that `fill` wrote but for one.
fn all_but(missing: u64, last: u64) -> Vec<Seen> {
    filled((1..=last).filter(|sequence| *sequence != missing))
}

#[test]
fn damage_in_a_sealed_segment_costs_one_record() {
    let (disk, locations) = sealed();
    let last = locations.last().unwrap().segment;
    for (sequence, &location) in (1..).zip(&locations).filter(|(_, location)| location.segment < last) {
        let body_len = body(sequence).len();
        for place in 0..HEADER_LEN + body_len {
            let (report, seen) = recovered(&flipped(&disk, &path(location), location.offset as usize + place, 0x10));
            let mut expected = all_but(sequence, 40);
            if place >= HEADER_LEN {
                // Its header says whose it is.
                expected.insert(sequence as usize - 1, (sequence, sequence, None));
            }
            assert_eq!(seen, expected, "record {sequence}, byte {place}");
            assert_eq!(report.torn, vec![]);
            assert_eq!(report.damage.len(), 1, "{report:?}");
            let damage = report.damage[0];
            assert_eq!(damage.location, location);
            assert_eq!(damage.len, (HEADER_LEN + body_len).next_multiple_of(8) as u64);
        }
    }
}

#[test]
fn damage_is_found_again_at_every_start_and_the_log_goes_on() {
    let (disk, locations) = sealed();
    let disk = flipped(&disk, FIRST, locations[0].offset as usize + 50, 1);
    let mut expected = filled(1..=40);
    expected[0].2 = None;
    for round in 1..5 {
        let (log, report, seen) = open(&disk, 600);
        assert_eq!(seen, expected);
        assert_eq!(report.damage.len(), 1);
        assert!(matches!(log.read(locations[0], body(1).len() as u32, 1), Err(Error::Damaged { .. })));
        fill(&log, 1);
        expected.extend(filled([40 + round]));
    }
}

#[test]
fn a_lost_stretch_of_a_sealed_segment_costs_what_was_in_it() {
    let (disk, locations) = sealed();
    let bytes = disk.file(FIRST).unwrap();
    let inside = locations.iter().filter(|location| location.segment == 1).count() as u64;
    assert!(inside > 4);
    let third = locations[2].offset as usize;
    // Two records overwritten by zeros, by noise, and by a copy of the two before them.
    let two = third - locations[0].offset as usize;
    for fill in [vec![0; two], vec![0xa5; two], bytes[locations[0].offset as usize..third].to_vec()] {
        let mut bytes = bytes.clone();
        bytes[third..third + two].copy_from_slice(&fill);
        let (report, seen) = recovered(&with_file(&disk, FIRST, &bytes));
        let lost = |sequence: &u64| {
            locations[*sequence as usize - 1].segment == 1 && {
                let offset = locations[*sequence as usize - 1].offset as usize;
                (third..third + two).contains(&offset)
            }
        };
        assert_eq!(seen, filled((1..=40).filter(|sequence| !lost(sequence))));
        assert_eq!(report.damage.len(), 1);
        assert_eq!(report.torn, vec![]);
    }
    // The file cut short: what was behind is gone, the other segments are not.
    for len in [64, 65, 120, third, bytes.len() - 1] {
        let (report, seen) = recovered(&with_file(&disk, FIRST, &bytes[..len]));
        let first = seen.iter().take_while(|(sequence, ..)| *sequence <= inside).count();
        assert_eq!(seen[first..], filled(inside + 1..=40));
        assert_eq!(seen[..first], filled(1..=first as u64));
        assert!(first < inside as usize);
        assert!(!report.damage.is_empty(), "{len}: {report:?}");
    }
}

#[test]
fn a_damaged_segment_header_costs_no_record() {
    let (disk, locations) = sealed();
    for segment in [1, 2, locations[39].segment] {
        let path = format!("segments/{segment:08}.log");
        for place in 0..64 {
            let (report, seen) = recovered(&flipped(&disk, &path, place, 0x04));
            assert_eq!(seen, filled(1..=40), "segment {segment} byte {place}");
            assert_eq!(report.torn, vec![]);
            let location = Location { segment, offset: 0 };
            assert!(report.damage.iter().any(|damage| damage.location == location), "{report:?}");
        }
        let mut bytes = disk.file(&path).unwrap();
        bytes[..64].fill(0);
        assert_eq!(recovered(&with_file(&disk, &path, &bytes)).1, filled(1..=40), "all of it");
    }
}

/// A segment that was prepared holds nothing that could be lost.
#[test]
fn a_damaged_header_of_an_empty_segment_is_no_loss() {
    let disk = SimDisk::new();
    let log = open(&disk, 600).0;
    fill(&log, 3);
    log.prepare().unwrap();
    drop(log);
    let spare = "segments/00000002.log";
    assert_eq!(disk.file(spare).unwrap().len(), 64);
    for place in 0..64 {
        let disk = flipped(&disk, spare, place, 0x20);
        let (log, report, seen) = open(&disk, 600);
        assert_eq!(seen, filled(1..=3), "{place}");
        assert_eq!((report.torn.len(), report.damage.len()), (0, 1), "{report:?}");
        fill(&log, 40);
        let (report, seen) = recovered(&disk);
        assert_eq!(seen, filled(1..=43), "{place}");
        assert_eq!(report.damage, vec![], "it is gone");
    }
    // Something is in it, and nobody knows what.
    let mut bytes = disk.file(spare).unwrap();
    bytes[20] ^= 1;
    bytes.extend([7; 100]);
    let error = open_with(&with_file(&disk, spare, &bytes), options(600)).unwrap_err();
    assert!(error.to_string().contains(spare), "{error}");
}

/// A log that was closed says where it ends: damage to its last records is none that a crash leaves.
#[test]
fn damage_to_the_end_of_a_closed_log_is_told_from_a_crash() {
    let disk = SimDisk::new();
    let log = open(&disk, 1 << 20).0;
    let locations = fill(&log, 8);
    let crashed = disk.restart();
    log.note_end().unwrap();
    drop(log);
    let last = locations[7].offset as usize;
    let end = disk.file(FIRST).unwrap().len();
    assert_eq!(recovered(&disk), (Report { records: 8, ..Report::default() }, filled(1..=8)));
    for place in last..last + HEADER_LEN + body(8).len() {
        let (report, seen) = recovered(&flipped(&disk, FIRST, place, 2));
        assert_eq!(seen.iter().filter(|(.., body)| body.is_some()).count(), 7, "{place}");
        assert_eq!((report.torn.len(), report.damage.len()), (0, 1), "{place}: {report:?}");
        let (report, _) = recovered(&flipped(&crashed, FIRST, place, 2));
        assert_eq!((report.torn.len(), report.damage.len()), (1, 0), "{place}: {report:?}");
    }
    let bytes = disk.file(FIRST).unwrap();
    for len in [last, last + 1, last + HEADER_LEN, end - 1] {
        let cut = with_file(&disk, FIRST, &bytes[..len]);
        let (log, report, seen) = open(&cut, 1 << 20);
        assert_eq!(seen, filled(1..=7), "{len}");
        assert_eq!((report.torn.len(), report.damage.len()), (0, 1), "{len}: {report:?}");
        // What was recovered is what the log ends with from now on.
        fill(&log, 3);
        assert_eq!(recovered(&cut).1, filled(1..=10), "{len}");
    }
    // Recovery leaves the same word.
    let disk = crashed.restart();
    drop(open(&disk, 1 << 20));
    let (report, _) = recovered(&flipped(&disk, FIRST, last + 50, 2));
    assert_eq!((report.torn.len(), report.damage.len()), (0, 1), "{report:?}");
}

#[test]
fn a_segment_that_is_not_there_is_refused_by_name() {
    let (disk, _) = sealed();
    let disk = disk.restart();
    crate::medium::Medium::remove(&disk, FIRST).unwrap();
    let error = open_with(&disk, options(600)).unwrap_err();
    assert!(error.to_string().contains(FIRST), "{error}");
}

/// In the segment that is still written to, a record that a later one calls durable cannot be a torn tail.
#[test]
fn what_was_durable_is_damage_in_the_open_segment_too() {
    damage_in_the_open_segment(0);
    damage_in_the_open_segment(5000);
}

fn damage_in_the_open_segment(write_ahead: u32) {
    let disk = SimDisk::new();
    let log = open_with(&disk, LogOptions { write_ahead, ..options(1 << 20) }).unwrap().0;
    let mut locations = Vec::new();
    for _ in 0..8 {
        locations.extend(fill(&log, 1));
    }
    for (sequence, &location) in (1..=7).zip(&locations) {
        for place in 0..HEADER_LEN + body(sequence).len() {
            let disk = flipped(&disk, FIRST, location.offset as usize + place, 2);
            let (report, seen) = recovered(&disk);
            let mut expected = all_but(sequence, 8);
            if place >= HEADER_LEN {
                expected.insert(sequence as usize - 1, (sequence, sequence, None));
            }
            assert_eq!(seen, expected, "record {sequence}, byte {place}");
            assert_eq!(report.torn, vec![]);
            assert_eq!(report.damage.iter().map(|damage| damage.location).collect::<Vec<_>>(), [location]);
            // Once more with a log that has gone on since.
            let log = open(&disk, 1 << 20).0;
            fill(&log, 1);
            expected.extend(filled([9]));
            let (report, seen) = recovered(&disk);
            assert_eq!(seen, expected);
            assert_eq!((report.damage.len(), report.torn.len()), (1, 0));
        }
    }
    // Of the last one nobody knows.
    let (report, seen) = recovered(&flipped(&disk, FIRST, locations[7].offset as usize + 50, 2));
    assert_eq!(seen, filled(1..=7));
    assert_eq!((report.torn.len(), report.damage.len()), (1, 0));
}

#[test]
fn a_segment_that_was_cut_short_is_damage_if_the_next_one_says_so() {
    let disk = SimDisk::new();
    let log = open(&disk, 400).0;
    fill(&log, 4);
    let before = log.size().0;
    while log.size().0 < before + 1 {
        fill(&log, 1);
    }
    // A record of the second segment says what a sync has covered.
    fill(&log, 1);
    let last = log.written();
    let segment = before as u32;
    let path = format!("segments/{segment:08}.log");
    let bytes = disk.file(&path).unwrap();
    let disk = with_file(&disk, &path, &bytes[..bytes.len() - 30]);
    // As if no seal had been written.
    let manifest = disk.file("manifest").unwrap();
    let (report, seen) = recovered(&with_file(&disk, "manifest", &manifest[..manifest.len() - 40]));
    assert!(!report.damage.is_empty(), "{report:?}");
    assert!(report.torn.is_empty(), "{report:?}");
    assert_eq!(seen.len() as u64, last - 1);
    assert_eq!(seen.last().unwrap().0, last);
}

#[test]
fn a_value_that_looks_like_records_is_none() {
    let (disk, locations) = sealed();
    let copy = disk.file(FIRST).unwrap();
    let log = open(&disk, 1 << 20).0;
    let place = append(&log, &[(41, &copy)]).unwrap()[0];
    let log_end = append(&log, &[(42, b"behind")]).unwrap()[0];
    log.sync(log.written()).unwrap();
    append(&log, &[(43, b"proof")]).unwrap();
    assert!(locations.iter().all(|location| location.segment < log_end.segment) || log_end.segment == place.segment);
    drop(log);
    // Its header is damaged, so that what follows is searched for the next record.
    let (report, seen) = recovered(&flipped(&disk, &path(place), place.offset as usize, 1));
    let entries: Vec<u64> = seen.iter().skip(40).map(|(_, entry, _)| *entry).collect();
    assert_eq!(entries, [42, 43]);
    assert_eq!(report.damage.len(), 1);
}
