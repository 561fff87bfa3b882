//! The judge of faults: one operation of the medium fails, and the workload goes on as far as it may.
//!
//! * A short write is nobody's business.
//! * On a full disk a call fails with `ENOSPC`, and works once there is room (line 6). A *sync* that fails is final all
//!   the same: nothing is known of what it should have written.
//! * Any other failure is final (line 7): the call and all later writes get `EIO`, the reason is shown, and the next
//!   start finds what the contract promises after a crash.

use std::sync::Arc;

use caskfs::medium::{Fault, Medium, SimDisk};
use caskfs::store::Error;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::call::Call;
use crate::check::{Found, Plan, Start, Tally, Violation, recover, run};
use crate::driver::{Driver, Now, open};
use crate::expiry;
use crate::model::Model;
use crate::snapshots::Snapshots;
use crate::tap::Tap;
use crate::tree::Tree;
use crate::workload::{self, SLOTS};

/// What goes wrong in a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Trouble {
    Nothing,
    /// An operation of the medium fails; whether it is a sync.
    Fault {
        operation: u64,
        fault: Fault,
        sync: bool,
    },
    /// From this call on the disk has room for so many bytes more, until one does not fit.
    Full {
        call: u16,
        room: u64,
    },
}

/// The names of the operations of a run without faults.
pub(crate) fn operations(plan: &Plan) -> Result<Vec<String>, Violation> {
    let tap = Tap::new(SimDisk::new(), 0, 0);
    let mut faulty = Faulty::new(plan, Trouble::Nothing);
    faulty.work(&tap.disk().clone(), Arc::new(tap.clone()))?;
    Ok(tap.take_cuts().into_iter().map(|cut| cut.name).collect())
}

/// Runs a workload with some trouble.
pub(crate) fn run_with(plan: &Plan, trouble: Trouble) -> Result<Tally, Violation> {
    let disk = SimDisk::new();
    if let Trouble::Fault { operation, fault, .. } = trouble {
        disk.fail_at(operation, fault);
    }
    let mut faulty = Faulty::new(plan, trouble);
    faulty.work(&disk, Arc::new(disk.clone())).map(|()| faulty.tally).map_err(|violation| Violation {
        what: format!("{trouble:?}: {}\n  calls:\n{}", violation.what, faulty.calls.join("\n")),
        plan: Some(plan.clone()),
    })
}

struct Faulty<'p> {
    plan: &'p Plan,
    trouble: Trouble,
    model: Model,
    acknowledged: usize,
    calls: Vec<String>,
    tally: Tally,
}

impl<'p> Faulty<'p> {
    fn new(plan: &'p Plan, trouble: Trouble) -> Faulty<'p> {
        let model = Model::new(vec![Arc::new(Model::empty_tree())], plan.setup.sync, SLOTS);
        Faulty { plan, trouble, model, acknowledged: 0, calls: Vec::new(), tally: Tally::default() }
    }

    fn work(&mut self, disk: &SimDisk, medium: Arc<dyn Medium>) -> Result<(), Violation> {
        let now = Now::default();
        let mut random = StdRng::seed_from_u64(self.plan.seed);
        let store = match open(Arc::clone(&medium), &self.plan.setup, &now) {
            Ok(store) => store,
            Err(error) if self.may_fail() => {
                // It can be made anew, in what the first attempt left. (Where a medium has failed to sync the name of
                // the directory of segments, no later sync is told of it. There is nothing in that store to lose.)
                self.calls.push(format!("    open: {error}"));
                return self.judge(disk, 0, false);
            }
            Err(error) => return Err(Violation::new(format!("open: {error}"))),
        };
        let mut driver = Driver::new(store, &self.plan.setup, || {});
        let mut second = 0;
        for step in 0..self.plan.calls {
            // What is due is removed at once, where a failure is told: who looks must not find out that it failed.
            let moment = expiry::moment(second, step, 0);
            let call = workload::next(&self.model, &mut random, step, moment, false);
            second += call.seconds();
            let moment = expiry::moment(second, step, 0);
            self.calls.push(format!("    {step}: {call:?}"));
            now.set(moment);
            if let Trouble::Full { call, room } = self.trouble
                && call == step
            {
                disk.set_capacity(disk.space().ok().map(|space| space.total - space.free + room));
            }
            let (before, snapshots) = (self.model.present(), self.model.snapshots.clone());
            let mut result = driver.call(&call);
            let expected = self.model.apply(&call, moment).unwrap_or_default();
            self.tally.calls += 1;
            if let Err(error) = &result {
                self.calls.push(format!("       {error}"));
                if let Some(reason) = failure(&driver) {
                    self.model.snapshots = snapshots.during(&self.model.snapshots);
                    self.check_final(&driver, error, &reason)?;
                    return self.judge(disk, before, true);
                }
                // A merge that fails before its manifest entry leaves everything as it was, and so does a snapshot; but
                // who knows whether its name is durable.
                if matches!(call, Call::Merge { .. } | Call::Snapshot { .. } | Call::RemoveSnapshot { .. }) {
                    self.model.snapshots = snapshots.during(&self.model.snapshots);
                    continue;
                }
                if !self.may_run_full() || error.errno() != libc::ENOSPC {
                    return Err(Violation::new(format!("{call:?}: {error}")));
                }
                // A sync of everything goes on behind the file that did not fit: until it is repeated, no prefix.
                if !matches!(call, Call::SyncAll) {
                    self.judge(disk, before, step % 8 == 0)?;
                }
                disk.set_capacity(None);
                result = driver.retry(&call);
            }
            match result {
                Ok(acknowledges) if acknowledges == expected => {}
                other => return Err(Violation::new(format!("{call:?}: {other:?}, expected {expected}"))),
            }
            if expected {
                self.acknowledged = self.model.present();
            }
            self.acknowledged = self.acknowledged.max(self.model.kept);
        }
        self.judge(disk, self.model.present(), false)?;
        disk.set_capacity(None);
        drop(driver);
        match open(Arc::new(disk.restart()), &self.plan.setup, &now) {
            Ok(store) if store.recovery_report().torn.is_empty() => Ok(()),
            Ok(store) => Err(Violation::new(format!("closed cleanly, and torn: {:?}", store.recovery_report()))),
            Err(error) => Err(Violation::new(format!("open: {error}"))),
        }
    }

    fn may_fail(&self) -> bool {
        matches!(self.trouble, Trouble::Fault { fault: Fault::Io | Fault::NoSpace, .. })
    }

    fn may_run_full(&self) -> bool {
        matches!(self.trouble, Trouble::Fault { fault: Fault::NoSpace, .. } | Trouble::Full { .. })
    }

    /// The store has given up: with reason, and for good.
    fn check_final(&self, driver: &Driver, error: &Error, reason: &str) -> Result<(), Violation> {
        match self.trouble {
            Trouble::Fault { fault: Fault::Io, .. } | Trouble::Fault { fault: Fault::NoSpace, sync: true, .. } => {}
            _ => return Err(Violation::new(format!("a fault that is not final made the store give up: {reason}"))),
        }
        let mut wrong = Vec::new();
        let mut expect_eio = |what: &str, result: Result<(), Error>| match result {
            Err(error) if error.errno() == libc::EIO => {}
            other => wrong.push(format!("{what} got {other:?}")),
        };
        if error.errno() != libc::EIO {
            expect_eio("the call itself", Ok(()));
        }
        expect_eio("put", driver.store().put("probe", "value"));
        expect_eio("remove", driver.store().remove("probe").map(drop));
        expect_eio("sync", driver.store().sync().and_then(|()| driver.store().wait(u64::MAX)));
        for slot in 0..SLOTS {
            match driver.write_probe(slot) {
                // Nothing is open there, or no longer.
                None | Some(Err(Error::Stale)) => {}
                Some(result) => expect_eio("write", result),
            }
        }
        if let Err(error) = Tree::read(driver.store()) {
            wrong.push(format!("reading got {error}"));
        }
        match wrong.is_empty() {
            true => Ok(()),
            false => Err(Violation::new(format!("after a final failure {}", wrong.join(", ")))),
        }
    }

    /// What the next process finds, and what is left after a power cut; `running` is the state that the last call
    /// began with, `goes_on` whether the next process works on.
    fn judge(&mut self, disk: &SimDisk, running: usize, goes_on: bool) -> Result<(), Violation> {
        let present = self.model.present();
        let killed = [disk.restart()];
        let unpowered = disk.power_cut_images(self.plan.seed, self.plan.images);
        self.tally.cuts += 1;
        for (index, disk) in killed.iter().chain(&unpowered).enumerate() {
            // Opening a store takes some room: for a new manifest.
            disk.set_capacity(None);
            let from = if index == 0 { running } else { self.acknowledged };
            let place = if index == 0 { "restarted".into() } else { format!("power cut, image {}", index - 1) };
            self.judge_disk(disk, from, present, goes_on && index == 0)
                .map_err(|what| Violation::new(format!("{place}: {what}")))?;
        }
        Ok(())
    }

    fn judge_disk(&mut self, disk: &SimDisk, from: usize, to: usize, goes_on: bool) -> Result<(), String> {
        self.tally.recoveries += 1;
        let history = self.model.history();
        let Found { tree: found, snapshots } = recover(&disk.restart(), &self.plan.setup)?;
        self.model.snapshots.check(&snapshots)?;
        let state = (from..=to).rev().find(|state| *history[*state] == found).ok_or_else(|| {
            let against = |state: usize| format!("\n  against state {state}:\n{}", found.differences(&history[state]));
            format!("none of the states {from} to {to}{}{}", against(from), against(to))
        })?;
        if goes_on {
            // The next process works on what this one left, and what it shows is kept whatever happens next: above
            // all what a failed sync has lost, though it can still be read.
            self.tally.continued += 1;
            let plan = Plan { calls: 3, images: 3, depth: 0, ..self.plan.clone() };
            let mut history = history[..state].to_vec();
            history.push(Arc::new(found));
            let acknowledged = self.acknowledged.min(state);
            let snapshots = Snapshots::found(snapshots, &self.model.snapshots);
            let start = Start { history, acknowledged, snapshots, second: 0 };
            let tally = run(&plan, disk.restart(), start).map_err(|violation| format!("then {violation}"))?;
            self.tally.add(tally);
        }
        Ok(())
    }
}

fn failure(driver: &Driver) -> Option<String> {
    driver.store().info().ok()?.failure
}
