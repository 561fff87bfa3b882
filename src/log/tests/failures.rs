//! Failing media: a full disk is survived, anything else is final.

use super::*;
use crate::medium::{Fault, Medium};

#[test]
fn a_full_disk_leaves_the_log_as_it_was() {
    let disk = SimDisk::new();
    let log = open(&disk, 1 << 20).0;
    fill(&log, 3);
    let before = disk.file(FIRST).unwrap();
    let used = disk.space().unwrap().total - disk.space().unwrap().free;
    for room in [0, 1, 39, 40, 100, 199] {
        disk.set_capacity(Some(used + room));
        let result = append(&log, &[(4, &[4; 60]), (5, &[5; 60])]);
        assert!(matches!(result, Err(Error::NoSpace)), "{room}: {result:?}");
        assert_eq!(disk.file(FIRST).unwrap(), before, "what was half written is cut off");
        assert_eq!((log.written(), log.failure()), (3, None));
    }
    disk.set_capacity(None);
    fill(&log, 3);
    assert_eq!(recovered(&disk).1, filled(1..=6));
}

/// Every operation on the way to a new segment may find the disk full.
#[test]
fn a_full_disk_delays_the_next_segment() {
    for nth in 0..12 {
        let disk = SimDisk::new();
        let log = open(&disk, 300).0;
        fill(&log, 2);
        disk.fail_at(disk.operations() + nth, Fault::NoSpace);
        let mut full = 0;
        for entry in 3..=12 {
            while let Err(error) = append(&log, &[(entry, &body(entry))]) {
                assert!(matches!(error, Error::NoSpace | Error::Failed(_)), "{error}");
                full += 1;
                if log.failure().is_some() {
                    break;
                }
            }
        }
        // Only what a sync should have written is unknown after a failure.
        let written = log.written();
        assert!(full <= 1 || log.failure().is_some());
        assert!(log.failure().is_some() || written == 12);
        assert_eq!(recovered(&disk).1, filled(1..=written), "operation {nth}");
    }
}

#[test]
fn a_full_disk_delays_the_seal_of_a_segment() {
    let disk = SimDisk::new();
    let log = open(&disk, 300).0;
    for entry in 1..=20 {
        append(&log, &[(entry, &body(entry))]).unwrap();
    }
    // The manifest cannot grow by even one byte.
    let space = disk.space().unwrap();
    disk.set_capacity(Some(space.total - space.free));
    let result = log.sync(20);
    assert!(matches!(result, Err(Error::NotDurable)), "{result:?}");
    assert_eq!((log.durable(), log.failure()), (0, None));
    disk.set_capacity(None);
    fill(&log, 5);
    assert_eq!(log.durable(), 25);
    let image = disk.power_cut_images(0, 1).remove(0);
    let (report, seen) = recovered(&image);
    assert_eq!(seen, filled(1..=25));
    assert_eq!((report.torn, report.damage), (vec![], vec![]));
}

#[test]
fn a_failure_is_final() {
    for nth in 0..30 {
        let disk = SimDisk::new();
        let log = open(&disk, 300).0;
        fill(&log, 2);
        disk.fail_at(disk.operations() + nth, Fault::Io);
        let mut acknowledged = 2;
        let failed = (3..30).find_map(|entry| {
            let result = append(&log, &[(entry, &body(entry))]).and_then(|_| log.sync(entry));
            acknowledged = result.as_ref().copied().unwrap_or(acknowledged);
            result.err()
        });
        assert!(matches!(failed, Some(Error::Failed(_))), "{failed:?}");
        let reason = log.failure().unwrap().to_owned();
        assert!(reason.contains("error"), "{reason}");
        let operations = disk.operations();
        for _ in 0..3 {
            assert!(matches!(append(&log, &[(99, b"x")]), Err(Error::Failed(why)) if why == reason));
            assert!(matches!(log.sync(u64::MAX), Err(Error::Failed(why)) if why == reason));
            assert!(matches!(log.prepare(), Err(Error::Failed(_)) | Ok(())));
        }
        assert_eq!(log.durable(), acknowledged);
        assert_eq!(disk.operations(), operations, "no sync is tried again, and nothing else");
        for image in disk.power_cut_images(nth, 8).iter().chain([&disk.restart()]) {
            let (report, seen) = recovered(image);
            assert!(seen.len() as u64 >= acknowledged);
            assert_eq!(seen, filled(1..=seen.len() as u64));
            assert_eq!(report.damage, vec![]);
        }
    }
}

#[test]
fn a_segment_that_cannot_be_read_costs_what_is_in_it_until_it_can_be() {
    let disk = SimDisk::new();
    let log = open(&disk, 300).0;
    let locations = fill(&log, 20);
    disk.set_read_fault(FIRST, true);
    let result = log.read(locations[0], body(1).len() as u32, 1);
    assert!(matches!(result, Err(Error::Io { .. })), "{result:?}");
    assert!(log.read(locations[19], body(20).len() as u32, 20).is_ok());
    drop(log);
    let inside = locations.iter().filter(|location| location.segment == 1).count() as u64;
    assert!((2..20).contains(&inside));
    let (log, report, seen) = open(&disk, 300);
    assert_eq!(seen, filled(inside + 1..=20));
    let len = disk.file(FIRST).unwrap().len() as u64;
    assert!(report.unread.iter().all(|unread| unread.location.segment == 1), "{report:?}");
    assert_eq!(report.unread.iter().map(|unread| unread.len).sum::<u64>(), len);
    assert_eq!(report.damage, [], "nothing is proved");
    fill(&log, 5);
    disk.set_read_fault(FIRST, false);
    assert_eq!(recovered(&disk).1, filled(1..=25), "nothing was given up");
}

/// A stretch of a sealed segment that the medium does not give costs the records in it, wherever it is.
#[test]
fn bad_blocks_of_a_sealed_segment_cost_the_records_in_them() {
    let disk = SimDisk::new();
    let log = open(&disk, 100_000).0;
    let mut locations = Vec::new();
    for entry in 1..=60 {
        locations.extend(append(&log, &[(entry, &vec![entry as u8; 3000])]).unwrap());
    }
    log.sync(60).unwrap();
    drop(log);
    let record = 3000u64 + 40;
    // In blocks, as a disk has it.
    for bad in [0..1, 1..2, 5..8, 0..3, 12..25] {
        let (from, to) = (bad.start * 4096, bad.end * 4096);
        let disk = disk.restart();
        assert!(disk.set_bad(FIRST, from..to));
        let lost = |location: &Location| {
            let start = u64::from(location.offset);
            location.segment == 1 && start < to && from < start + record
        };
        let (_, report, seen) = open(&disk, 100_000);
        let shown: Vec<u64> = seen.iter().filter(|(.., body)| body.is_some()).map(|(sequence, ..)| *sequence).collect();
        let expected: Vec<u64> =
            (1..).zip(&locations).filter(|(_, location)| !lost(location)).map(|(sequence, _)| sequence).collect();
        assert_eq!(shown, expected, "{bad:?}");
        assert!(!report.unread.is_empty() && report.torn.is_empty() && report.damage.is_empty(), "{report:?}");
    }
    // Of the segment that is written to, what cannot be read may be what was acknowledged last.
    let last = format!("segments/{:08}.log", locations[59].segment);
    assert!(disk.set_bad(&last, 5000..5001));
    let error = open_with(&disk, options(100_000)).unwrap_err();
    assert!(matches!(&error, Error::Io { .. }), "{error}");
}
