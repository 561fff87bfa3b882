//! `caskfs backup`: copy a store as it is at this moment.
//!
//! The copy is made from a snapshot, by this process: a daemon only takes the snapshot, and removes it in the end.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use nix::unistd::AccessFlags;
use serde_json::json;

use super::arguments::BackupArguments;
use super::control::{Connection, Held, Request};
use super::exit::{DAMAGED, Failure, NESTED, NO_KEY};
use super::listing::bytes;
use super::output::Output;
use super::progress::Bar;
use super::store_access::{Access, Opened, ask, open};
use super::walk::by_descriptor;
use crate::log;
use crate::medium::Disk;
use crate::store::{Check, Copied, Progress, copy_backup};

pub(super) fn run(arguments: &BackupArguments, output: &mut Output) -> Result<(), Failure> {
    let BackupArguments { store, backup, verify, json } = arguments;
    check_apart(store, backup)?;
    let about = |failure: Failure| failure.about(backup.display());
    let check = if *verify { Check::All } else { Check::Part };
    let mut bar = Bar::default();
    let mut progress = |Progress { done, total }: Progress| bar.show(done, Some(total));
    let copied = if log::is_frozen(&Disk::new(store)).map_err(|error| failed(store, error.into()))? {
        copy_backup(store, backup, check, &mut progress).map_err(|error| about(error.into()))
    } else {
        // One that lies on a medium that is read only takes no snapshot, and needs none.
        let writable = nix::unistd::access(store, AccessFlags::W_OK).is_ok();
        let access = if writable { Access::Write } else { Access::Read };
        match open(store, &access.options(), Connection::hold_snapshot)? {
            Opened::Store(store) => store.backup(backup, check, &mut progress).map_err(|error| about(error.into())),
            Opened::Asked(held) => with_snapshot(store, held, |snapshot| {
                copy_backup(snapshot, backup, check, &mut progress).map_err(|error| about(error.into()))
            }),
        }
    }?;
    drop(bar);
    show("backup", &copied, *json, output)?;
    complain(&copied, "the backup is complete, but the store is damaged, and so is its copy")
}

/// Does something with the snapshot that a daemon keeps for this command, and has it removed.
pub(super) fn with_snapshot<T>(
    store: &Path,
    held: Held,
    work: impl FnOnce(&Path) -> Result<T, Failure>,
) -> Result<T, Failure> {
    // By its descriptor: the directory may be renamed meanwhile.
    let directory = File::open(store).map_err(|error| Failure::from(error).about(store.display()))?;
    let name = held.name.clone();
    let done = work(&by_descriptor(&directory).join("snapshots").join(&name));
    let removed = match held.end() {
        Ok(true) => Ok(()),
        // The daemon has ended.
        Ok(false) => match ask(store, Access::Write, &Request::RemoveSnapshot { name }) {
            Err(failure) if failure.code != NO_KEY => Err(failure),
            _ => Ok(()),
        },
        Err(failure) => Err(failure),
    };
    done.and_then(|done| removed.map(|()| done))
}

/// Says what was copied.
pub(super) fn show(what: &str, copied: &Copied, json: bool, output: &mut Output) -> std::io::Result<()> {
    let Copied { segments, copied: fresh, bytes: size, removed, checked, mended, damage } = copied;
    if json {
        let damaged: u64 = damage.iter().map(|damage| damage.len).sum();
        let object = json!({
            "segments": segments, "copied": fresh, "bytes": size, "removed": removed, "checked": checked,
            "mended": mended, "damaged_bytes": damaged,
        });
        writeln!(output, "{object}")?;
    } else {
        writeln!(output, "{what}: {segments} segments, {fresh} of them new ({}), {removed} removed", bytes(*size))?;
        if *checked > 0 {
            writeln!(output, "checked: {checked} of those that were there, {mended} of them damaged and copied anew")?;
        }
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
