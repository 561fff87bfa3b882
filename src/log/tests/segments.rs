//! Readers that hold on to segments while merges take them away.

use super::*;
use crate::log::Wait;

/// Copies the sealed segments into new ones, which take their place.
fn merge(log: &Log) -> Vec<u32> {
    let run = log.sealed();
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
    inputs
}

fn is_there(disk: &SimDisk, id: u32) -> bool {
    disk.file(&crate::log::files::segment(id)).is_some()
}

#[test]
fn who_holds_the_segments_reads_them_after_a_merge_and_their_files_go_with_the_last_reader() {
    let disk = SimDisk::new();
    let log = open(&disk, 300).0;
    let locations = fill(&log, 30);
    let (held, also) = (log.segments(), log.segments());
    let taken = merge(&log);
    assert!(taken.len() > 5);
    for (sequence, location) in (1..).zip(&locations) {
        let expected = body(sequence);
        assert_eq!(*held.read(*location, expected.len() as u32, sequence, Wait::Yes).unwrap().unwrap(), *expected);
        assert!(log.segments().read(*location, 1, sequence, Wait::Yes).is_err());
    }
    // What is not named any more does not count, though it is there.
    assert!(taken.iter().all(|id| is_there(&disk, *id)));
    assert_eq!(recovered(&disk).1, filled(1..=30));
    drop(held);
    assert!(taken.iter().all(|id| is_there(&disk, *id)));
    drop(also);
    assert!(taken.iter().all(|id| !is_there(&disk, *id)));
    assert_eq!(recovered(&disk).1, filled(1..=30));
}

/// The next writer may give the number of a segment that was taken away to another one.
#[test]
fn a_reader_that_outlives_the_log_removes_nothing() {
    let disk = SimDisk::new();
    let log = open(&disk, 300).0;
    fill(&log, 30);
    let held = log.segments();
    let taken = merge(&log);
    drop(log);
    assert!(taken.iter().all(|id| is_there(&disk, *id)), "what is left is for the next start");
    drop(open(&disk, 300));
    assert!(taken.iter().all(|id| !is_there(&disk, *id)));
    for id in &taken {
        disk.put_file(&crate::log::files::segment(*id), b"another one");
    }
    drop(held);
    assert!(taken.iter().all(|id| is_there(&disk, *id)));
}
