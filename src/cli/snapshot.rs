//! `caskfs snapshot`: keep a store as it is at this moment.

use std::io::Write;

use serde_json::json;

use super::arguments::{SnapshotArguments, SnapshotCommand, SnapshotList};
use super::control::{Reply, Request, Snapshot};
use super::exit::{Failure, OTHER};
use super::listing::{bytes, time};
use super::output::Output;
use super::store_access::{Access, ask};
use crate::store::is_backup_name;

pub(super) fn run(arguments: &SnapshotArguments, output: &mut Output) -> Result<(), Failure> {
    match &arguments.command {
        SnapshotCommand::Create(create) if is_backup_name(&create.name) => {
            Err(Failure::new(OTHER, "a name that begins so belongs to a backup under way").about(&create.name))
        }
        SnapshotCommand::Create(create) => {
            ask(&create.store, Access::Write, &Request::Snapshot { name: create.name.clone() }).map(drop)
        }
        SnapshotCommand::Remove(remove) => {
            ask(&remove.store, Access::Write, &Request::RemoveSnapshot { name: remove.name.clone() }).map(drop)
        }
        SnapshotCommand::List(list) => show_all(list, output),
    }
}

fn show_all(arguments: &SnapshotList, output: &mut Output) -> Result<(), Failure> {
    let Reply::Snapshots(snapshots) = ask(&arguments.store, Access::Read, &Request::Snapshots)? else { return Ok(()) };
    for Snapshot { name, taken, sequence, segments, bytes: size } in &snapshots {
        if arguments.json {
            let object = json!({
                "name": name, "taken_ns": taken, "sequence": sequence, "segments": segments, "bytes": size,
            });
            writeln!(output, "{object}")?;
            continue;
        }
        let taken = taken.map_or_else(|| "damaged".into(), time);
        writeln!(output, "{taken:<20} {:>10} {name}", bytes(*size))?;
    }
    Ok(())
}
