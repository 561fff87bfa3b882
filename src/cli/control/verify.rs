//! Verifying an open store, for whoever asked.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::{DamagedPart, Reply, Verification};
use crate::cli::exit::{Failure, OTHER};
use crate::log::Defect;
use crate::store::{Progress, Store};

/// How often it is told how far it has come.
const INTERVAL: Duration = Duration::from_millis(100);

/// Reads and checks everything; `tell` hears how far it has come, and fails when nobody listens any more.
pub(in crate::cli) fn verify(store: &Store, tell: &mut dyn FnMut(u64, u64) -> std::io::Result<()>) -> Reply {
    let mut last = Instant::now();
    let report = store.verify(&mut |Progress { done, total }| {
        if last.elapsed() < INTERVAL {
            return ControlFlow::Continue(());
        }
        last = Instant::now();
        match tell(done, total) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    });
    let snapshots = match store.snapshots() {
        Ok(snapshots) => snapshots.len() as u64,
        Err(error) => return Reply::Failed(error.into()),
    };
    let Some(report) = report else { return Reply::Failed(Failure::new(OTHER, "verifying was stopped")) };
    let part = |Defect { file, offset, len, what, entry, .. }: Defect| {
        let key = entry.filter(|id| store.entry(*id).is_ok()).map(|id| store.path(id));
        DamagedPart { file, offset, length: len, what, key }
    };
    Reply::Verified(Box::new(Verification {
        segments: report.segments,
        records: report.records,
        bytes: report.bytes,
        damage: report.defects.into_iter().map(part).collect(),
        useless_hints: report.useless_hints,
        damaged_keys: report.damaged_keys,
        lost_keys: report.lost_keys,
        snapshots,
    }))
}
