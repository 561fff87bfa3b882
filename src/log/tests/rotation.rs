//! Segments: how they follow one another, across restarts too.

use super::*;
use crate::log::manifest::Manifest;
use crate::medium::Medium;

#[test]
fn segments_are_sealed_at_their_size_and_read_in_order() {
    let disk = SimDisk::new();
    let (log, report, seen) = open(&disk, 300);
    assert_eq!((report, seen), (Report::default(), vec![]));
    let locations = fill(&log, 50);
    let (segments, bytes) = log.size();
    assert_eq!(segments, disk.paths().iter().filter(|path| path.starts_with("segments/")).count());
    assert!(segments > 10, "{segments}");
    let on_disk = |path: &String| disk.file(path).unwrap().len() as u64;
    let sum: u64 = disk.paths().iter().filter(|path| path.starts_with("segments/")).map(on_disk).sum();
    assert_eq!(bytes, sum);
    assert!(locations.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(disk.paths().iter().all(|path| on_disk(path) <= 300 || !path.ends_with(".log")));
    let (report, seen) = recovered(&disk);
    assert_eq!(seen, filled(1..=50));
    assert_eq!(report, Report { records: 50, ..Report::default() });
}

#[test]
fn every_restart_goes_on_where_the_last_one_ended() {
    let disk = SimDisk::new();
    for epoch in 1..20 {
        let (log, report, seen) = open(&disk, 500);
        assert_eq!(log.epoch(), epoch);
        assert_eq!(log.id(), ID);
        let last = 3 * (u64::from(epoch) - 1);
        assert_eq!(seen, filled(1..=last));
        assert_eq!((report.torn, report.damage), (vec![], vec![]));
        assert_eq!((log.written(), log.durable()), (last, last));
        fill(&log, 3);
    }
    // The records of several runs share a segment.
    assert!(disk.list("segments").unwrap().len() < 15, "{:?}", disk.paths());
}

#[test]
fn a_transaction_never_straddles_segments() {
    let disk = SimDisk::new();
    let log = open(&disk, 300).0;
    let large = vec![9; 5_000];
    for _ in 0..5 {
        let locations = append(&log, &[(1, b"small"), (2, &large), (3, b"small")]).unwrap();
        assert!(locations.iter().all(|location| location.segment == locations[0].segment));
        assert_eq!(locations[0].offset, 64, "one that is larger than a segment has its own");
    }
    log.sync(log.written()).unwrap();
    assert_eq!(recovered(&disk).1.len(), 15);
}

#[test]
fn a_segment_prepared_ahead_is_used_next() {
    let disk = SimDisk::new();
    let log = open(&disk, 300).0;
    fill(&log, 1);
    log.prepare().unwrap();
    log.prepare().unwrap();
    assert_eq!(log.size().0, 2, "one is enough");
    let before = disk.operations();
    let mut locations = Vec::new();
    while locations.last().is_none_or(|location: &Location| location.segment == 1) {
        locations.extend(fill(&log, 1));
    }
    assert_eq!(locations.last().unwrap().segment, 2);
    assert!(disk.operations() > before);
    let count = 1 + locations.len() as u64;
    // An empty one that is left over when the process ends is used by the next.
    log.prepare().unwrap();
    drop(log);
    let (log, report, seen) = open(&disk, 300);
    assert_eq!(seen, filled(1..=count));
    assert_eq!((report.torn, report.damage), (vec![], vec![]));
    let locations = fill(&log, 10);
    assert!(locations.iter().any(|location| location.segment == 3), "{locations:?}");
    assert_eq!(recovered(&disk).1, filled(1..=count + 10));
}

/// A record in a segment is acknowledged only after the manifest durably says that the one before is complete.
#[test]
fn a_sync_seals_the_segments_before() {
    let disk = SimDisk::new();
    let log = open(&disk, 300).0;
    for _ in 0..20 {
        let location = fill(&log, 1)[0];
        let image = disk.power_cut_images(0, 1).remove(0);
        let segments = Manifest::read(&image, ID).unwrap().segments;
        for (segment, sealed) in segments {
            assert_eq!(sealed.is_some(), segment < location.segment, "segment {segment} at {location}");
        }
    }
}

#[test]
fn a_reader_changes_nothing() {
    let disk = SimDisk::new();
    let log = open(&disk, 300).0;
    fill(&log, 20);
    append(&log, &[(21, &body(21))]).unwrap();
    let contents =
        |disk: &SimDisk| -> Vec<_> { disk.paths().into_iter().map(|path| (disk.file(&path), path)).collect() };
    let torn = with_file(&disk, FIRST, &disk.file(FIRST).unwrap());
    let before = contents(&torn);
    let (log, _, seen) = open_with(&torn, LogOptions { read_only: true, ..options(300) }).unwrap();
    assert_eq!(seen, filled(1..=21));
    assert!(matches!(append(&log, &[(1, b"x")]), Err(Error::ReadOnly)));
    assert!(matches!(log.prepare(), Err(Error::ReadOnly)));
    drop(log);
    assert_eq!(contents(&torn), before);
    assert_eq!(torn.operations(), 0);
}

#[test]
fn a_store_is_made_in_an_empty_place_only() {
    let disk = SimDisk::new();
    let result = open_with(&disk, LogOptions { create: false, ..options(300) });
    assert!(matches!(result, Err(Error::NotAStore)));
    let result = open_with(&disk, LogOptions { read_only: true, ..options(300) });
    assert!(matches!(result, Err(Error::NotAStore)));
    assert_eq!(disk.operations(), 0);
    disk.put_file("holiday.jpg", "of somebody else");
    assert!(matches!(open_with(&disk, options(300)), Err(Error::NotEmpty)));
    assert_eq!(disk.paths(), ["holiday.jpg"]);
    // What a creation that was cut short may have left is no hindrance.
    let disk = SimDisk::new();
    for name in ["manifest", "manifest.tmp", "format.tmp", "lock", "segments/00000001.log"] {
        disk.put_file(name, "half of it");
    }
    let log = open(&disk, 300).0;
    fill(&log, 2);
    assert_eq!(recovered(&disk).1, filled(1..=2));
    assert_eq!(disk.list("segments").unwrap(), ["00000001.log"]);
}
