//! `caskfs repair`: make a damaged store whole again, as far as it can be.

use std::io::Write;

use serde_json::json;

use super::arguments::RepairArguments;
use super::exit::{DAMAGED, Failure, REPAIRABLE};
use super::output::Output;
use super::progress::Bar;
use crate::store::{Options, Progress, RepairMode, RepairReport, Store};

pub(super) fn run(arguments: &RepairArguments, output: &mut Output) -> Result<(), Failure> {
    let RepairArguments { store, dry_run, give_up_unread, json } = arguments;
    let mode = RepairMode { dry_run: *dry_run, give_up_unread: *give_up_unread };
    let mut bar = Bar::default();
    let mut progress = |Progress { done, total }: Progress| bar.show(done, Some(total));
    let repaired = Store::repair(store, Options::default(), mode, &mut progress);
    drop(bar);
    let report = repaired.map_err(|error| Failure::from(error).about(store.display()))?;
    let RepairReport { steps, lost_keys, lost_directories, quarantine, .. } = &report;
    let quarantine = quarantine.as_ref().map(|quarantine| store.join(quarantine));
    if *json {
        let object = json!({
            "dry_run": dry_run, "steps": steps, "lost_keys": lost_keys, "lost_directories": lost_directories,
            "quarantine": quarantine,
        });
        writeln!(output, "{object}")?;
    } else {
        write!(output, "{report}")?;
        match quarantine {
            Some(quarantine) => {
                writeln!(output, "kept:    what was taken out, and this report, in {}", quarantine.display())?
            }
            None if steps.is_empty() => writeln!(output, "there is nothing to repair")?,
            None => {}
        }
    }
    match (dry_run, lost_keys.len()) {
        (true, _) if !steps.is_empty() => {
            let found = "there is something to repair; nothing was changed: run it without --dry-run";
            Err(Failure::new(REPAIRABLE, found).about(store.display()))
        }
        (_, 0) => Ok(()),
        (_, keys) => {
            let keys =
                if keys == 1 { "the value of 1 key is".to_owned() } else { format!("the values of {keys} keys are") };
            Err(Failure::new(DAMAGED, format!("the store is whole again, but {keys} lost")).about(store.display()))
        }
    }
}
