//! Short of descriptors or memory for a moment: nothing is lost, and nothing is final.

use super::*;
use crate::medium::Fault;

const PASSING: [i32; 5] = [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::EINTR, libc::EAGAIN];

/// Rotations, seals, a merge's output: every operation meets it once.
#[test]
fn what_passes_is_final_of_an_fsync_alone() {
    for errno in PASSING {
        for nth in 0..60 {
            let disk = SimDisk::new();
            let log = open(&disk, 300).0;
            fill(&log, 2);
            disk.fail_at(disk.operations() + nth, Fault::Errno(errno));
            while log.durable() < 20 {
                let entry = log.written() + 1;
                let appended = if entry <= 20 { append(&log, &[(entry, &body(entry))]).map(drop) } else { Ok(()) };
                let synced = appended.and_then(|()| log.sync(log.written()));
                if let Some(reason) = log.failure() {
                    assert!(reason.contains("fsync"), "{errno} at {nth}: {reason}");
                    assert!(synced.is_err());
                    break;
                }
                assert!(synced.as_ref().err().is_none_or(|error| error.passing() == Some(errno)), "{synced:?}");
            }
            let durable = log.durable();
            assert!(log.failure().is_some() || durable == 20);
            let image = disk.power_cut_images(0, 1).remove(0);
            let seen = recovered(&image).1;
            assert!(seen.len() as u64 >= durable, "{errno} at {nth}");
            assert_eq!(seen, filled(1..=seen.len() as u64));
        }
    }
}

/// As long as it lasts it is said, and then the log goes on.
#[test]
fn what_does_not_pass_soon_is_reported_and_then_forgotten() {
    for errno in PASSING {
        for skipped in 0..3 {
            let disk = SimDisk::new();
            let log = open(&disk, 300).0;
            let mut entry = 0;
            let mut reported = 0;
            while entry < 40 {
                if entry == 6 + skipped && reported == 0 {
                    (0..7).for_each(|more| disk.fail_at(disk.operations() + more, Fault::Errno(errno)));
                }
                match append(&log, &[(entry + 1, &body(entry + 1))]) {
                    Ok(_) => entry += 1,
                    Err(error) => {
                        assert_eq!(error.passing(), Some(errno), "{error}");
                        reported += 1;
                    }
                }
                assert_eq!(log.failure(), None);
                assert_eq!(log.written(), entry);
            }
            assert_eq!(reported, 1, "{errno} after {skipped}");
            log.sync(40).unwrap();
            let (report, seen) = recovered(&disk.power_cut_images(0, 1).remove(0));
            assert_eq!(seen, filled(1..=40));
            assert_eq!((report.torn, report.damage), (vec![], vec![]));
        }
    }
}

/// What is not known any more of the names in the directory concerns all that others have made there.
#[test]
fn an_fsync_of_the_directory_that_fails_is_final_whatever_it_says() {
    let mut met = 0;
    for nth in 0..20 {
        let disk = SimDisk::new();
        let log = open(&disk, 300).0;
        fill(&log, 2);
        disk.fail_at(disk.operations() + nth, Fault::Errno(libc::ENOMEM));
        let error = (3..=12).find_map(|entry| append(&log, &[(entry, &body(entry))]).err());
        let final_one = log.failure().is_some_and(|reason| reason.starts_with("creating a segment"));
        met += u32::from(final_one && matches!(error, Some(Error::Failed(_))));
    }
    assert!(met > 0);
}
