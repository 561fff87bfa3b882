//! `caskfs backup`: copy a store as it is at this moment.
//!
//! The copy is made from a snapshot, by this process: a daemon only takes the snapshot, and removes it in the end.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::arguments::BackupArguments;
use super::control::Request;
use super::exit::{DAMAGED, Failure, NESTED};
use super::listing::bytes;
use super::output::Output;
use super::progress::Bar;
use super::store_access::{Access, Opened, ask, open};
use crate::log;
use crate::medium::Disk;
use crate::store::{Copied, Progress, backup_name, copy_backup};

pub(super) fn run(arguments: &BackupArguments, output: &mut Output) -> Result<(), Failure> {
    let BackupArguments { store, backup, json } = arguments;
    check_apart(store, backup)?;
    let about = |failure: Failure| failure.about(backup.display());
    let mut bar = Bar::default();
    let mut progress = |Progress { done, total }: Progress| bar.show(done, Some(total));
    let copied = if log::is_frozen(&Disk::new(store)).map_err(|error| failed(store, error.into()))? {
        copy_backup(store, backup, &mut progress).map_err(|error| about(error.into()))
    } else {
        let name = backup_name();
        let request = Request::Snapshot { name: name.clone() };
        let call = |connection: super::control::Connection| {
            connection.call(&request, &mut std::io::empty(), &mut std::io::sink())
        };
        match open(store, &Access::Write.options(), call)? {
            Opened::Store(store) => store.backup(backup, &mut progress).map_err(|error| about(error.into())),
            Opened::Asked(_) => {
                let copied = copy_backup(store.join("snapshots").join(&name), backup, &mut progress);
                let removed = ask(store, Access::Write, &Request::RemoveSnapshot { name });
                copied.map_err(|error| about(error.into())).and_then(|copied| removed.map(|_| copied))
            }
        }
    }?;
    drop(bar);
    show("backup", &copied, *json, output)?;
    complain(&copied, "the backup is complete, but the store is damaged, and so is its copy")
}

/// Says what was copied.
pub(super) fn show(what: &str, copied: &Copied, json: bool, output: &mut Output) -> std::io::Result<()> {
    let Copied { segments, copied: fresh, bytes: size, removed, damage } = copied;
    if json {
        let damaged: u64 = damage.iter().map(|damage| damage.len).sum();
        let object = json!({
            "segments": segments, "copied": fresh, "bytes": size, "removed": removed, "damaged_bytes": damaged,
        });
        writeln!(output, "{object}")?;
    } else {
        writeln!(output, "{what}: {segments} segments, {fresh} of them new ({}), {removed} removed", bytes(*size))?;
    }
    Ok(())
}

/// Fails if something that was copied is damaged.
pub(super) fn complain(copied: &Copied, what: &str) -> Result<(), Failure> {
    let places: Vec<String> =
        copied.damage.iter().map(|damage| format!("{} bytes at {}", damage.len, damage.location)).collect();
    match places.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(DAMAGED, format!("{what}: {}", places.join(", ")))),
    }
}

/// Refuses a copy that would be inside of what is copied, or the other way round.
pub(super) fn check_apart(one: &Path, other: &Path) -> Result<(), Failure> {
    let (one, other) = (place(one), place(other));
    match one.starts_with(&other) || other.starts_with(&one) {
        true => {
            Err(Failure::new(NESTED, format!("{} and {} lie one within the other", one.display(), other.display())))
        }
        false => Ok(()),
    }
}

/// Where a path leads, or would lead once it is made.
fn place(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if parent.as_os_str().is_empty() => place(Path::new(".")).join(name),
        (Some(parent), Some(name)) => place(parent).join(name),
        _ => path.to_owned(),
    })
}

fn failed(path: &Path, error: crate::store::Error) -> Failure {
    Failure::from(error).about(path.display())
}
