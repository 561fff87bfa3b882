//! The manifest and the format file: torn, damaged, missing.

use super::*;
use crate::log::manifest::{Change, Manifest, SegmentList};
use crate::medium::{Fault, Medium};

/// A disk with 40 records in several segments.
fn filled_disk() -> SimDisk {
    let disk = SimDisk::new();
    let log = open(&disk, 600).0;
    fill(&log, 40);
    disk
}

#[test]
fn a_torn_entry_is_ignored() {
    let disk = SimDisk::new();
    let written = Manifest::write(&disk, ID, 3, &SegmentList::from([(1, None)]), 0);
    let mut manifest = written.unwrap();
    let start = disk.file("manifest").unwrap().len();
    manifest.append(&Change::Open { segment: 2 }).unwrap();
    let whole = disk.file("manifest").unwrap();
    for len in start..whole.len() {
        let list = Manifest::read(&with_file(&disk, "manifest", &whole[..len]), ID).unwrap();
        let list = (list.epoch, list.segments);
        assert_eq!(list, (3, SegmentList::from([(1, None)])), "{len}");
    }
    for place in start..whole.len() {
        let list = Manifest::read(&flipped(&disk, "manifest", place, 1), ID).unwrap();
        let list = (list.epoch, list.segments);
        assert_eq!(list, (3, SegmentList::from([(1, None)])), "{place}");
    }
    let seal = Change::Seal { segment: 1, end: 99, first_sequence: 1, last_sequence: 5 };
    manifest.append(&seal).unwrap();
    manifest.sync().unwrap();
    let list = Manifest::read(&disk, ID).unwrap().segments;
    assert_eq!(list.keys().copied().collect::<Vec<_>>(), [1, 2]);
    assert_eq!(list[&1].unwrap().end, 99);
    assert_eq!(list[&2], None);
    // Torn out of the middle, unsynced: what follows waits for no sync and is ignored too.
    let hole = flipped(&disk, "manifest", start, 1);
    assert_eq!(Manifest::read(&hole, ID).unwrap().segments, SegmentList::from([(1, None)]));
    // But not if what follows says that it was durable.
    manifest.append(&Change::Open { segment: 3 }).unwrap();
    let result = Manifest::read(&flipped(&disk, "manifest", start, 1), ID);
    assert!(matches!(result, Err(Error::DamagedFile { .. })), "{result:?}");
}

/// Whatever byte of it is wrong: the store opens with all that it holds, or it does not open.
#[test]
fn a_damaged_manifest_hides_nothing() {
    for restarts in 0..3 {
        let disk = filled_disk();
        (0..restarts).for_each(|_| drop(open(&disk, 600)));
        let bytes = disk.file("manifest").unwrap();
        let mut opened = 0;
        for place in 0..bytes.len() {
            let disk = flipped(&disk, "manifest", place, 0x20);
            match open_with(&disk, options(600)) {
                Ok((log, report, seen)) => {
                    assert_eq!(seen, filled(1..=40), "byte {place} of {}: {report:?}", bytes.len());
                    assert_eq!(report.torn, vec![], "byte {place}");
                    fill(&log, 5);
                    assert_eq!(recovered(&disk).1, filled(1..=45));
                    opened += 1;
                }
                Err(Error::DamagedFile { file, .. }) => assert_eq!(file, "manifest"),
                Err(error) => panic!("byte {place}: {error}"),
            }
        }
        // A seal entry, the last one, can be done without; of what a start has written nothing can be.
        assert_eq!(opened > 0, restarts == 0, "{opened} after {restarts} restarts");
    }
}

#[test]
fn a_manifest_cut_short_hides_nothing() {
    let disk = filled_disk();
    let bytes = disk.file("manifest").unwrap();
    for len in 0..bytes.len() {
        match open_with(&with_file(&disk, "manifest", &bytes[..len]), options(600)) {
            Ok((_, report, seen)) => assert_eq!(seen, filled(1..=40), "{len}: {report:?}"),
            Err(Error::DamagedFile { file, .. }) => assert_eq!(file, "manifest"),
            Err(error) => panic!("{len}: {error}"),
        }
    }
}

#[test]
fn without_a_manifest_there_is_no_log() {
    let disk = filled_disk();
    let kept: Vec<_> = disk.paths().into_iter().filter(|path| path.ends_with(".log")).collect();
    disk.remove("manifest").unwrap();
    let error = open_with(&disk, options(600)).unwrap_err();
    assert_eq!(error.to_string(), "manifest is damaged: it is missing");
    assert!(kept.iter().all(|path| disk.file(path).is_some()), "nothing was made anew");
}

#[test]
fn another_stores_files_are_refused() {
    let (disk, other) = (filled_disk(), SimDisk::new());
    let id = StoreId([8; 16]);
    let log = open_with(&other, LogOptions { new_id: id, ..options(600) }).unwrap().0;
    fill(&log, 40);
    for path in ["manifest", FIRST] {
        let disk = with_file(&disk, path, &other.file(path).unwrap());
        let error = open_with(&disk, options(600)).unwrap_err();
        assert!(matches!(&error, Error::DamagedFile { file, .. } if file == path), "{error}");
        assert!(error.to_string().contains("another store"), "{error}");
    }
    let second = disk.file("segments/00000002.log").unwrap();
    let error = open_with(&with_file(&disk, FIRST, &second), options(600)).unwrap_err();
    assert!(error.to_string().contains("another segment"), "{error}");
}

#[test]
fn a_damaged_format_file_is_no_other_store() {
    let disk = filled_disk();
    let bytes = disk.file("format").unwrap();
    for place in 0..bytes.len() {
        let disk = flipped(&disk, "format", place, 1);
        let before = disk.paths();
        let error = open_with(&disk, options(600)).err();
        // The line breaks at the very end are not looked at.
        assert!(error.is_some() || place + 1 == bytes.len(), "{place}");
        if error.is_some() {
            assert_eq!(disk.paths(), before, "{place}");
        }
    }
    for len in 0..bytes.len() - 1 {
        let error = open_with(&with_file(&disk, "format", &bytes[..len]), options(600)).unwrap_err();
        assert!(matches!(error, Error::NotAStore | Error::NotEmpty | Error::DamagedFile { .. }), "{len}: {error}");
    }
}

/// A store that is open for years would have one that grows for ever.
#[test]
fn a_manifest_is_made_anew_while_the_log_is_open() {
    let disk = SimDisk::new();
    let log = open(&disk, 300).0;
    let len = || disk.file("manifest").unwrap().len() as u64;
    let mut longest = 0;
    for round in 0..60u64 {
        fill(&log, 10);
        // All but the newest go.
        let run = log.sealed();
        log.merge_writer().install(&run).unwrap();
        log.drop_segments(&run.iter().map(|segment| segment.id).collect::<Vec<_>>());
        longest = longest.max(len());
        let list = Manifest::read(&disk, ID).unwrap().segments;
        assert_eq!(list.len(), log.size().0, "{round}");
        if round % 10 == 0 {
            // With every power cut, before and after.
            for image in disk.power_cut_images(round, 6) {
                assert_eq!(Manifest::read(&image, ID).unwrap().epoch, 1);
                open(&image, 300);
            }
        }
    }
    let segments = log.size().0 as u64;
    assert!(log.written() == 600 && segments < 10);
    assert!(longest < 40 * (4 * 12 + 32 + 20), "{longest} bytes for {segments} segments");
}

#[test]
fn a_manifest_that_cannot_be_made_anew_goes_on_as_it_is() {
    for fault in [Fault::NoSpace, Fault::Io, Fault::Errno(libc::ENOMEM)] {
        for nth in 0..400 {
            let disk = SimDisk::new();
            let log = open(&disk, 300).0;
            fill(&log, 60);
            disk.fail_at(disk.operations() + nth, fault);
            let mut entry = log.written();
            while entry < 110 && log.failure().is_none() {
                if append(&log, &[(entry + 1, &body(entry + 1))]).is_ok() {
                    entry += 1;
                }
                let _ = log.sync(entry);
                if log.sealed().len() > 8 {
                    let run = log.sealed();
                    if log.merge_writer().install(&run).is_ok() {
                        log.drop_segments(&run.iter().map(|segment| segment.id).collect::<Vec<_>>());
                    }
                }
            }
            let durable = log.durable();
            let image = disk.power_cut_images(nth, 1).remove(0);
            let (report, seen) = recovered(&image);
            assert_eq!(report.damage, vec![], "{fault:?} at {nth}");
            assert!(seen.last().map_or(0, |(sequence, ..)| *sequence) >= durable, "{fault:?} at {nth}");
        }
    }
}
