//! Hints: read instead of their segments, and not trusted in anything.

use super::*;
use crate::medium::Medium;

const HINT: &str = "segments/00000001.hint";

/// A disk with 40 records in several sealed segments, each with a hint.
fn hinted() -> SimDisk {
    let disk = SimDisk::new();
    let log = open(&disk, 600).0;
    fill(&log, 40);
    while log.write_hint().unwrap() {}
    drop(log);
    disk.restart()
}

fn hints(disk: &SimDisk) -> Vec<String> {
    disk.paths().into_iter().filter(|path| path.ends_with(".hint")).collect()
}

#[test]
fn a_hint_shows_what_its_segment_would() {
    let disk = hinted();
    let written = hints(&disk).len();
    assert!(written > 3, "{written}");
    let (report, seen) = recovered(&disk);
    assert_eq!(seen, filled(1..=40));
    assert_eq!((report.hints.len(), report.records, report.damage), (written, 40, vec![]));
}

#[test]
fn a_hint_leaves_out_the_bulk() {
    let disk = SimDisk::new();
    let log = open(&disk, 1000).0;
    let drafts = [
        Draft { kind: 3, entry: 7, front: b"front", bulk: &[9; 500] },
        Draft { kind: 4, entry: 8, front: b"", bulk: b"" },
    ];
    log.begin().unwrap().append(&drafts).unwrap();
    log.begin().unwrap().append(&[Draft { kind: 1, entry: 9, front: &[1; 600], bulk: b"" }]).unwrap();
    log.sync(log.written()).unwrap();
    assert!(log.write_hint().unwrap());
    assert!(disk.file(HINT).unwrap().len() < 100);
    let mut headers = Vec::new();
    let read = |headers: &mut Vec<_>| {
        Log::open(Arc::new(disk.restart()), options(1000), &mut |visit| {
            let header = visit.header;
            let numbers = (header.kind, header.body_len, header.front_len, header.sequence, header.entry);
            headers.push((numbers, visit.location, visit.front.map(<[u8]>::to_vec)));
        })
        .unwrap()
        .1
    };
    assert_eq!(read(&mut headers).hints, [1]);
    let mut without = Vec::new();
    disk.remove(HINT).unwrap();
    assert_eq!(read(&mut without).hints, Vec::<u32>::new());
    assert_eq!(headers, without);
}

/// Whatever is in the hint's place, the outcome is that of reading the segment.
#[test]
fn a_hint_that_is_not_as_written_changes_nothing() {
    let disk = hinted();
    let hint = disk.file(HINT).unwrap();
    let others = hints(&disk).len() - 1;
    let same = |bytes: &[u8], what: &str| {
        let (report, seen) = recovered(&with_file(&disk, HINT, bytes));
        assert_eq!(seen, filled(1..=40), "{what}");
        assert_eq!((report.hints.len(), report.damage, report.torn), (others, vec![], vec![]), "{what}");
    };
    for place in 0..hint.len() {
        let mut bytes = hint.clone();
        bytes[place] ^= 0x04;
        same(&bytes, &format!("a bit of byte {place}"));
        same(&hint[..place], &format!("cut off at {place}"));
    }
    same(&vec![0; hint.len()], "zeros");
    same(&[&hint[..], b"more"].concat(), "too long");
    same(&disk.file("segments/00000002.hint").unwrap(), "another segment's");
}

/// A hint of a segment that had this number, this header and this length in another life of the store: somebody has
/// mixed the files of a store with those of its backup.
#[test]
fn a_stale_hint_is_not_trusted() {
    let disk = SimDisk::new();
    let log = open(&disk, 600).0;
    for entry in 1..=40 {
        append(&log, &[(entry + 100, &body(entry))]).unwrap();
    }
    log.sync(log.written()).unwrap();
    while log.write_hint().unwrap() {}
    let stale = disk.file(HINT).unwrap();
    let disk = hinted();
    assert_eq!(disk.file(HINT).unwrap().len(), stale.len());
    let (report, seen) = recovered(&with_file(&disk, HINT, &stale));
    assert_eq!(seen, filled(1..=40));
    assert!(!report.hints.contains(&1) && !report.hints.is_empty(), "{report:?}");
}

#[test]
fn a_hint_goes_with_its_segment() {
    let disk = hinted();
    let log = open(&disk, 600).0;
    let run = log.sealed()[..2].to_vec();
    let mut merge = log.merge_writer();
    for segment in &run {
        log.visit_sealed::<Error>(segment, &mut |header, _, body| {
            merge.append(header.kind, header.entry, header.sequence, body).map(drop)
        })
        .unwrap();
    }
    merge.install(&run).unwrap();
    let inputs: Vec<u32> = run.iter().map(|segment| segment.id).collect();
    log.drop_segments(&inputs);
    assert!(!hints(&disk).contains(&HINT.to_owned()));
    while log.write_hint().unwrap() {}
    drop(log);
    // What a power cut brought back is removed at the next start.
    disk.put_file(HINT, b"whatever");
    disk.put_file("segments/00000099.hint.tmp", b"whatever");
    let (report, seen) = recovered(&disk);
    assert_eq!(seen, filled(1..=40));
    assert_eq!(report.damage, vec![]);
    let disk = disk.restart();
    drop(open(&disk, 600));
    assert!(!hints(&disk).contains(&HINT.to_owned()));
    assert!(disk.paths().iter().all(|path| !path.ends_with(".tmp")), "{:?}", disk.paths());
}

#[test]
fn a_damaged_segment_is_looked_into_and_gets_no_hint() {
    let disk = hinted();
    let truncated = disk.restart();
    let segment = disk.file(FIRST).unwrap();
    truncated.put_file(FIRST, &segment[..segment.len() - 8]);
    let (report, seen) = recovered(&truncated);
    assert_eq!((report.damage.len(), seen.len()), (1, 39));
    // The hint tells what was there; the byte that is wrong is found when it is read.
    let spoiled = flipped(&disk, FIRST, segment.len() - 20, 1);
    assert_eq!(recovered(&spoiled).1, filled(1..=40));
    spoiled.remove(HINT).unwrap();
    let log = open(&spoiled, 600).0;
    while log.write_hint().unwrap() {}
    assert!(!hints(&spoiled).contains(&HINT.to_owned()));
}
