//! Bad weather: reads and opens that fail for a while and then succeed, at a start on what a crash has left, in merges, in
//! verifying and in a repair. Whatever comes of these: the next start, on a disk that is well again, has what was acknowledged.

use std::ops::ControlFlow;
use std::sync::Arc;

use caskfs::Store;
use caskfs::medium::{Medium, SimDisk};
use caskfs::store::{Error, RepairMode};
use rand::RngExt;
use rand::rngs::StdRng;

use crate::driver::{Now, Setup, open, options};

/// Has a store opened, merged, verified and closed, and perhaps repaired, while a few accesses in many fail. Says what was lost
/// or given up that should not be.
pub(crate) fn endure(disk: &SimDisk, setup: &Setup, random: &mut StdRng) -> Result<(), String> {
    disk.set_weather(random.random(), [2, 5, 20, 80][random.random_range(0..4)]);
    let repair = random.random_range(0..4) == 0;
    let outcome = if repair { repaired(disk, setup) } else { used(disk, setup, random) };
    disk.clear_faults();
    outcome
}

fn used(disk: &SimDisk, setup: &Setup, random: &mut StdRng) -> Result<(), String> {
    let medium: Arc<dyn Medium> = Arc::new(disk.clone());
    // A start may refuse what it cannot read.
    let Ok(store) = open(medium, setup, &Now::default()) else { return Ok(()) };
    let report = store.recovery_report();
    // What was read is as it was written: whatever is missing could not be read.
    if !report.damage.is_empty() || !report.damaged_keys.is_empty() {
        return Err(format!("in bad weather recovery reports damage: {report:?}"));
    }
    let merges_before = store.merge_statistics().merges;
    for _ in 0..6 {
        // A merge that cannot read is not done.
        let _ = store.merge_run(random.random_range(0..6), random.random_range(1..4));
        let _ = store.write_hints();
    }
    let _ = store.compact();
    if !report.unread.is_empty() && store.merge_statistics().merges > merges_before {
        return Err(format!("merged although something is unread: {report:?}"));
    }
    let _ = store.verify(&mut |_| ControlFlow::Continue(()));
    match store.info() {
        Ok(info) => {
            info.failure.map_or(Ok(()), |reason| Err(format!("what passes has made the store give up: {reason}")))
        }
        Err(_) => Ok(()),
    }
}

fn repaired(disk: &SimDisk, setup: &Setup) -> Result<(), String> {
    let options = options(setup, &Now::default());
    match Store::repair_on(Arc::new(disk.clone()), options, RepairMode::default(), &mut |_| {}) {
        Ok(report) if !report.lost_keys.is_empty() => Err(format!("a repair has given up what passes: {report:?}")),
        Ok(_) | Err(Error::Log(_)) => Ok(()),
        Err(error) => Err(format!("a repair in bad weather: {error}")),
    }
}
