//! The power-cut test: random workloads, cut at every operation of the medium, must leave what the contract promises
//! (`docs/SEMANTICS.md`, lines 2, 3, 4, 6 and 7).
//!
//! `CASKFS_POWER_CUT_SEED` sets the seed of the first workload, `CASKFS_POWER_CUT_ROUNDS` how many there are. A failure
//! prints the seed of its own workload, the operation, how what was found differs from what is allowed, and the calls
//! so far.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "power_cut/call.rs"]
mod call;
#[path = "power_cut/check.rs"]
mod check;
#[path = "power_cut/driver.rs"]
mod driver;
#[path = "power_cut/expiry.rs"]
mod expiry;
#[path = "power_cut/faults.rs"]
mod faults;
#[path = "power_cut/model.rs"]
mod model;
#[path = "power_cut/rules.rs"]
mod rules;
#[path = "power_cut/snapshots.rs"]
mod snapshots;
#[path = "power_cut/tap.rs"]
mod tap;
#[path = "power_cut/tree.rs"]
mod tree;
#[path = "power_cut/weather.rs"]
mod weather;
#[path = "power_cut/workload.rs"]
mod workload;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use caskfs::fs::SyncMode;
use caskfs::medium::{Fault, SimDisk};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use check::{Plan, Start, Tally, Violation, run};
use driver::Setup;
use faults::Trouble;

/// The seed of the first round, unless the environment says otherwise.
const SEED: u64 = 20_250_101;
/// How many workloads are run.
const ROUNDS: u64 = 100;
/// How many of them are run with each fault.
const FAULT_ROUNDS: u64 = 8;

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// The `seed`-th round: its sizes are by chance too.
fn plan(seed: u64) -> Plan {
    let mut random = StdRng::seed_from_u64(seed);
    let mut one_of = |choices: [usize; 4]| choices[random.random_range(0..4)];
    let setup = Setup {
        segment_size: one_of([300, 700, 2_000, 8_000]) as u32,
        dirty_limit: one_of([0, 1, 4 << 10, 4 << 10]),
        sync: [SyncMode::Close, SyncMode::Always, SyncMode::Interval, SyncMode::Close][one_of([0, 1, 2, 3])],
        durable: true,
    };
    let calls = one_of([30, 60, 60, 120]) as u16;
    Plan { seed, setup, calls, images: 4, depth: 1 }
}

/// Runs rounds on all processors until they are done or one fails.
fn rounds(first: u64, count: u64, prepare: impl Fn(&SimDisk, &Plan) + Sync) -> Result<Tally, Violation> {
    let next = AtomicU64::new(first);
    let worker = || {
        let mut tally = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                return Ok(tally);
            }
            let disk = SimDisk::new();
            let plan = plan(seed);
            prepare(&disk, &plan);
            match run(&plan, disk, Start::default()) {
                Ok(done) => tally.add(done),
                Err(violation) => {
                    next.store(first + count, Ordering::Relaxed);
                    return Err(violation);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let workers: Vec<_> = (0..count).map(|_| scope.spawn(worker)).collect();
        let mut tally = Tally::default();
        for worker in workers {
            tally.add(worker.join().map_err(|_| Violation::new("a worker panicked"))??);
        }
        Ok(tally)
    })
}

#[test]
fn a_power_cut_leaves_a_prefix_of_the_acknowledged_history() {
    let (seed, count) = (variable("CASKFS_POWER_CUT_SEED", SEED), variable("CASKFS_POWER_CUT_ROUNDS", ROUNDS));
    let result = rounds(seed, count, |_, _| {});
    match result {
        Ok(tally) => println!("seeds {seed} to {}: {tally:?}", seed + count - 1),
        Err(violation) => panic!("CASKFS_POWER_CUT_SEED={seed}: {violation}"),
    }
}

/// The judge is awake: on a disk that skips some of the syncs of a store, in the usual number of rounds, it finds what
/// is lost. The store is there before, for its creation is not what is tested here.
fn check_sabotage(what: &str, sabotage: impl Fn(&SimDisk) + Sync) {
    let prepare = |disk: &SimDisk, plan: &Plan| {
        drop(driver::open(Arc::new(disk.clone()), &plan.setup, &driver::Now::default()).unwrap());
        sabotage(disk);
    };
    let seed = variable("CASKFS_POWER_CUT_SEED", SEED);
    match rounds(seed, ROUNDS, prepare) {
        Ok(tally) => panic!("CASKFS_POWER_CUT_SEED={seed}: nobody noticed that {what}: {tally:?}"),
        Err(violation) => println!("when {what}: {violation}"),
    }
}

#[test]
fn a_segment_that_is_not_synced_is_noticed() {
    check_sabotage("segments are not synced", |disk| disk.ignore_syncs("segments/"));
}

#[test]
fn a_manifest_that_is_not_synced_is_noticed() {
    check_sabotage("the manifest is not synced", |disk| disk.ignore_syncs("manifest"));
}

#[test]
fn a_segment_whose_name_is_not_synced_is_noticed() {
    check_sabotage("the names of segments are not synced", |disk| disk.ignore_dir_syncs("segments"));
}

#[test]
fn a_manifest_whose_name_is_not_synced_is_noticed() {
    check_sabotage("the name of the manifest is not synced", |disk| disk.ignore_dir_syncs(""));
}

#[test]
fn a_snapshot_whose_name_is_not_synced_is_noticed() {
    check_sabotage("the names of snapshots are not synced", |disk| disk.ignore_dir_syncs("snapshots"));
}

#[test]
fn a_snapshot_whose_files_are_not_synced_is_noticed() {
    check_sabotage("what is in a snapshot is not synced", |disk| disk.ignore_syncs("snapshots/"));
}

/// Runs some workloads once with each trouble that they may meet.
fn check_trouble(what: &str, troubles: impl Fn(&Plan, &[String]) -> Vec<Trouble>) {
    let seed = variable("CASKFS_POWER_CUT_SEED", SEED);
    for seed in seed..seed + variable("CASKFS_POWER_CUT_ROUNDS", FAULT_ROUNDS) {
        let mut plan = plan(seed);
        plan.setup.durable = false;
        (plan.calls, plan.images, plan.depth) = (30, 4, 0);
        let names = faults::operations(&plan).unwrap_or_else(|violation| panic!("{violation}"));
        let mut tally = Tally::default();
        for trouble in troubles(&plan, &names) {
            match faults::run_with(&plan, trouble) {
                Ok(done) => tally.add(done),
                Err(violation) => panic!("CASKFS_POWER_CUT_SEED={seed}: {violation}"),
            }
        }
        println!("{what}, seed {seed}, {} operations: {tally:?}", names.len());
    }
}

/// Each operation fails once.
fn check_fault(fault: Fault) {
    let fault_at = |(operation, name): (u64, &String)| {
        let sync = name.starts_with("sync");
        Trouble::Fault { operation, fault, sync }
    };
    check_trouble(&format!("{fault:?}"), |_, names| (0..).zip(names).map(fault_at).collect());
}

#[test]
fn a_failed_operation_is_final_and_loses_nothing() {
    check_fault(Fault::Io);
}

#[test]
fn an_operation_that_finds_no_room_loses_nothing() {
    check_fault(Fault::NoSpace);
}

#[test]
fn a_full_disk_loses_nothing() {
    let rooms = [0, 40, 150, 1_000];
    let full_at = |call| rooms.map(|room| Trouble::Full { call, room });
    check_trouble("full", |plan, _| (0..plan.calls).flat_map(full_at).collect());
}

#[test]
fn a_short_write_is_completed() {
    check_fault(Fault::Short);
}
