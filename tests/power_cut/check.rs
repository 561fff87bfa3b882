//! The judge: runs a workload, and recovers every disk that it may leave behind.
//!
//! What a disk may hold (the contract, lines 2 to 4):
//! * after a power cut, some state of the history, not older than the last acknowledged one, and at most the call that
//!   was under way ahead of the last one that returned;
//! * after the process was killed, the state at the last call that returned, or one of the call under way.
//!
//! States are whole trees, so a value that is empty, mixed or torn matches none.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use caskfs::medium::{Medium, SimDisk};
use caskfs::store::Error;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::call::Call;
use crate::driver::{Driver, Now, Setup, open};
use crate::expiry;
use crate::model::Model;
use crate::snapshots::{self, Snapshots};
use crate::tap::{Cut, Tap};
use crate::tree::Tree;
use crate::weather;
use crate::workload;

/// A run to be made.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) setup: Setup,
    /// Calls of the workload.
    pub(crate) calls: u16,
    /// Disks for each power cut.
    pub(crate) images: usize,
    /// How often a recovered disk is worked on and cut again.
    pub(crate) depth: u32,
}

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) calls: u64,
    pub(crate) cuts: u64,
    pub(crate) recoveries: u64,
    /// Runs that began on a disk which another run left behind.
    pub(crate) continued: u64,
    /// Disks that were opened at other times too.
    pub(crate) later: u64,
    /// Disks on which reads and opens failed for a while before.
    pub(crate) weathered: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Tally) {
        self.calls += other.calls;
        self.cuts += other.cuts;
        self.recoveries += other.recoveries;
        self.continued += other.continued;
        self.later += other.later;
        self.weathered += other.weathered;
    }
}

/// The contract was broken.
#[derive(Debug)]
pub(crate) struct Violation {
    pub(crate) plan: Option<Plan>,
    pub(crate) what: String,
}

impl Violation {
    pub(crate) fn new(what: impl Into<String>) -> Violation {
        Violation { plan: None, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(plan) = &self.plan {
            writeln!(formatter, "seed {}: {plan:?}", plan.seed)?;
        }
        formatter.write_str(&self.what)
    }
}

/// Which states of a history a disk may hold: from the first number to the second, both included.
#[derive(Clone, Copy, Debug)]
struct Range(usize, usize);

/// What a run begins with.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// The states of the store so far.
    pub(crate) history: Vec<Arc<Tree>>,
    /// The one that is known to be durable.
    pub(crate) acknowledged: usize,
    pub(crate) snapshots: Snapshots,
    /// What the clock shows.
    pub(crate) second: i64,
}

impl Default for Start {
    /// A new store.
    fn default() -> Start {
        Start {
            history: vec![Arc::new(Model::empty_tree())],
            acknowledged: 0,
            snapshots: Snapshots::default(),
            second: 0,
        }
    }
}

/// What a disk holds.
pub(crate) struct Found {
    pub(crate) tree: Tree,
    pub(crate) snapshots: BTreeMap<String, Tree>,
}

/// Runs a workload on a new store, or on what is on `disk`.
pub(crate) fn run(plan: &Plan, disk: SimDisk, start: Start) -> Result<Tally, Violation> {
    let tap = Tap::new(disk, plan.seed, plan.images);
    let now = Now::default();
    let mut random = StdRng::seed_from_u64(plan.seed);
    let mut model = Model::new(start.history, plan.setup.sync, workload::SLOTS);
    model.snapshots = start.snapshots;
    let Start { acknowledged, second, .. } = start;
    let (calls, tally) = Default::default();
    let mut run = Run { plan, model, acknowledged, second, moment: 0, calls, tally };
    let result = run.work(&tap, &now, &mut random);
    result.map(|()| run.tally).map_err(|violation| Violation {
        what: format!("{}\n  calls:\n{}", violation.what, run.calls.join("\n")),
        plan: Some(plan.clone()),
    })
}

struct Run<'p> {
    plan: &'p Plan,
    model: Model,
    /// The state known to be durable.
    acknowledged: usize,
    /// What the clock shows: the second, and the moment of the last call.
    second: i64,
    moment: i64,
    /// What was called so far, for the report.
    calls: Vec<String>,
    tally: Tally,
}

impl Run<'_> {
    fn work(&mut self, tap: &Tap, now: &Now, random: &mut StdRng) -> Result<(), Violation> {
        let present = self.model.present();
        self.moment = expiry::moment(self.second, 0, self.plan.depth) - 1;
        // Of a store that is still empty the root may not have been durable: this start makes it anew, as the history has it.
        let empty = self.model.history().last().is_some_and(|tree| **tree == Model::empty_tree());
        now.set(if self.second == 0 || empty { 0 } else { self.moment });
        let store = open(Arc::new(tap.clone()), &self.plan.setup, now);
        let snapshots = self.model.snapshots.clone();
        self.judge(tap.take_cuts(), Range(present, present), &snapshots, random)?;
        // What a start has shown it keeps, whatever happens next.
        self.acknowledged = present;
        self.model.snapshots.settle();
        let store = store.map_err(|error| failed("open", &error))?;
        let answered = {
            let tap = tap.clone();
            move || tap.answered(true)
        };
        let mut driver = Driver::new(store, &self.plan.setup, answered);
        check_report(driver.store())?;
        for step in 0..self.plan.calls {
            let moment = expiry::moment(self.second, step, self.plan.depth);
            let call = workload::next(&self.model, random, step, moment, true);
            self.second += call.seconds();
            let moment = expiry::moment(self.second, step, self.plan.depth);
            self.moment = moment;
            self.calls.push(format!("    {step}: {call:?}"));
            now.set(moment);
            let (before, snapshots) = (self.model.present(), self.model.snapshots.clone());
            tap.answered(false);
            let result = driver.call(&call);
            let expected = self.model.apply(&call, moment).unwrap_or_default();
            self.tally.calls += 1;
            let snapshots = snapshots.during(&self.model.snapshots);
            self.judge(tap.take_cuts(), Range(before, self.model.present()), &snapshots, random)?;
            let acknowledges = result.map_err(|error| failed(&format!("{call:?}"), &error))?;
            if acknowledges != expected {
                return Err(Violation::new(format!("{call:?}: acknowledged {acknowledges}, expected {expected}")));
            }
            if acknowledges {
                self.acknowledged = self.model.present();
            }
            self.acknowledged = self.acknowledged.max(self.model.kept);
            check_read(&self.model, &driver, &call)?;
        }
        tap.answered(false);
        tap.cut("the end");
        let (present, snapshots) = (self.model.present(), self.model.snapshots.clone());
        drop(driver);
        self.judge(tap.take_cuts(), Range(present, present), &snapshots, random)?;
        // Closing the store made everything durable.
        self.acknowledged = present;
        tap.cut("after the end");
        self.judge(tap.take_cuts(), Range(present, present), &snapshots, random)
    }

    /// Recovers all disks of some cuts. `running` is what a killed process may leave.
    fn judge(
        &mut self,
        cuts: Vec<Cut>,
        running: Range,
        snapshots: &Snapshots,
        random: &mut StdRng,
    ) -> Result<(), Violation> {
        for cut in cuts {
            self.tally.cuts += 1;
            let Cut { operation, name, answered, unpowered, killed } = cut;
            let durable = Range(if answered { running.1 } else { self.acknowledged }, running.1);
            for (index, disk) in unpowered.into_iter().enumerate() {
                let place = || format!("power cut before operation {operation} ({name}), image {index}");
                self.judge_disk(&disk, durable, snapshots, random, true)
                    .map_err(|what| Violation::new(format!("{}: {what}", place())))?;
            }
            for (index, disk) in killed.into_iter().enumerate() {
                let place = || format!("killed at operation {operation} ({name}), {}", ["before it", "halfway"][index]);
                self.judge_disk(&disk, running, snapshots, random, false)
                    .map_err(|what| Violation::new(format!("{}: {what}", place())))?;
            }
        }
        Ok(())
    }

    fn judge_disk(
        &mut self,
        disk: &SimDisk,
        range: Range,
        snapshots: &Snapshots,
        random: &mut StdRng,
        settled: bool,
    ) -> Result<(), String> {
        self.tally.recoveries += 1;
        let history = self.model.history();
        let copy = disk.restart();
        if random.random_range(0..100) == 0 {
            self.tally.weathered += 1;
            weather::endure(&copy, &self.plan.setup, random)?;
        }
        let Found { tree: found, snapshots: found_snapshots } = recover(&copy, &self.plan.setup)?;
        snapshots.check(&found_snapshots)?;
        let state = find(history, &found, range, self.acknowledged)?;
        if random.random_range(0..8) == 0 {
            self.tally.recoveries += 2;
            recover_again(&copy, &self.plan.setup, &found)?;
        }
        // Whoever comes later finds less.
        if random.random_range(0..10) == 0
            && let Some(now) = found.time_to_look(self.moment, random)
        {
            self.tally.recoveries += 4;
            self.tally.later += 1;
            expiry::check_at(&disk.restart(), &self.plan.setup, now, &found, snapshots, random)?;
        }
        if self.plan.depth > 0 && random.random_range(0..300) == 0 {
            self.tally.continued += 1;
            let plan = Plan { seed: random.random(), calls: 8, depth: self.plan.depth - 1, ..self.plan.clone() };
            let mut history: Vec<Arc<Tree>> = history.iter().take(state).cloned().collect();
            history.push(Arc::new(found));
            let acknowledged = if settled { state } else { self.acknowledged.min(state) };
            let snapshots = Snapshots::found(found_snapshots, snapshots);
            // The clock goes on, or is set back.
            let second = if random.random() { self.second } else { 0 };
            let start = Start { history, acknowledged, snapshots, second };
            let tally = run(&plan, disk.restart(), start).map_err(|violation| format!("then {violation}"))?;
            self.tally.add(tally);
        }
        Ok(())
    }
}

/// What a disk holds.
pub(crate) fn recover(disk: &SimDisk, setup: &Setup) -> Result<Found, String> {
    // Nothing is due, and all that was not removed is seen.
    recover_at(disk, setup, 0)
}

/// What a disk shows at some time.
pub(crate) fn recover_at(disk: &SimDisk, setup: &Setup, now: i64) -> Result<Found, String> {
    let medium: Arc<dyn Medium> = Arc::new(disk.clone());
    let store = open(medium, setup, &Now::at(now)).map_err(|error| format!("the store does not open: {error}"))?;
    check_report(&store).map_err(|violation| violation.what)?;
    let tree = Tree::read(&store).map_err(|error| format!("a key cannot be read: {error}"))?;
    match disk.paths().into_iter().find(|path| path.contains(".tmp/")) {
        None => Ok(Found { tree, snapshots: snapshots::read(&store)? }),
        Some(path) => Err(format!("{path} was left of a snapshot")),
    }
}

/// A disk that was recovered is recovered once more, takes a new key, and loses nothing.
fn recover_again(disk: &SimDisk, setup: &Setup, expected: &Tree) -> Result<(), String> {
    let medium: Arc<dyn Medium> = Arc::new(disk.clone());
    let written = {
        let store = open(Arc::clone(&medium), setup, &Now::default()).map_err(|error| error.to_string())?;
        let torn = &store.recovery_report().torn;
        if !torn.is_empty() {
            return Err(format!("a recovered store has a torn tail: {torn:?}"));
        }
        let found = Tree::read(&store).map_err(|error| error.to_string())?;
        if found != *expected {
            return Err(format!("the second recovery differs:\n{}", found.differences(expected)));
        }
        store.put("new", "value").map_err(|error| error.to_string())?;
        Tree::read(&store).map_err(|error| error.to_string())?
    };
    // Nothing unsynced survives, and the key was acknowledged.
    for disk in disk.power_cut_images(0, 1) {
        let found = recover(&disk, setup)?.tree;
        if found != written || !found.entries.contains_key("new") {
            return Err(format!("a key put after recovery is lost:\n{}", found.differences(&written)));
        }
    }
    Ok(())
}

/// A cut leaves no damage, however torn the tail is.
pub(crate) fn check_report(store: &caskfs::Store) -> Result<(), Violation> {
    let report = store.recovery_report();
    match report.damage.is_empty() && report.damaged_keys.is_empty() && report.lost_directories.is_empty() {
        true => Ok(()),
        false => Err(Violation::new(format!("recovery reports damage: {report:?}"))),
    }
}

/// The newest state that a tree is, if that is one of those allowed.
fn find(history: &[Arc<Tree>], found: &Tree, Range(from, to): Range, acknowledged: usize) -> Result<usize, String> {
    let state = (from..=to).rev().find(|state| history.get(*state).is_some_and(|tree| **tree == *found));
    state.ok_or_else(|| {
        let older = history.iter().rposition(|tree| **tree == *found);
        let what = match older {
            Some(state) if state < acknowledged => format!("acknowledged changes are lost: this is state {state}"),
            Some(state) => format!("this is state {state}"),
            None => "this is no state that there ever was".into(),
        };
        let mut out = format!("{what}; allowed are {from} to {to}, acknowledged is {acknowledged}");
        for state in [from, to] {
            let differences = history.get(state).map(|tree| found.differences(tree)).unwrap_or_default();
            out.push_str(&format!("\n  against state {state}:\n{differences}"));
        }
        out
    })
}

fn check_read(model: &Model, driver: &Driver, call: &Call) -> Result<(), Violation> {
    let Call::Read { slot } = call else { return Ok(()) };
    let node = model.slots[*slot].as_ref().map(|handle| &model.nodes[handle.id]);
    let expected = node.map(|node| node.staged.as_ref().map_or(node.now.value.as_slice(), |staged| &staged.bytes));
    match expected == Some(driver.read.as_slice()) {
        true => Ok(()),
        false => Err(Violation::new(format!("{call:?}: what was read is not what was written"))),
    }
}

fn failed(call: &str, error: &Error) -> Violation {
    Violation::new(format!("{call} failed: {error}"))
}
