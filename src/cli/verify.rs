//! `caskfs verify`: read everything that a store holds, and check it.

use std::io::Write;
use std::path::Path;

use super::arguments::VerifyArguments;
use super::control::{DamagedPart, Reply, Request, Verification};
use super::exit::{DAMAGED, Failure};
use super::listing::bytes;
use super::output::Output;
use super::store_access::{Access, ask};

pub(super) fn run(arguments: &VerifyArguments, output: &mut Output) -> Result<(), Failure> {
    let Reply::Verified(found) = ask(&arguments.store, Access::Read, &Request::Verify)? else { return Ok(()) };
    match arguments.json {
        true => writeln!(output, "{}", serde_json::to_string(&found).map_err(std::io::Error::from)?)?,
        false => show(&found, &arguments.store, output)?,
    }
    let (parts, keys) = (found.damage.len(), found.damaged_keys.len());
    if parts + keys == 0 {
        return Ok(());
    }
    let parts = if parts == 1 { "1 part of a file".to_owned() } else { format!("{parts} parts of files") };
    let keys = if keys == 1 { "1 key".to_owned() } else { format!("{keys} keys") };
    let help = "`caskfs repair --dry-run` says what can be saved";
    Err(Failure::new(DAMAGED, format!("{parts} and {keys} are damaged: {help}")).about(arguments.store.display()))
}

fn show(found: &Verification, store: &Path, output: &mut Output) -> std::io::Result<()> {
    for DamagedPart { file, offset, length, what, key } in &found.damage {
        let place = match length {
            0 => String::new(),
            length => format!(" from {offset} to {}", offset + length),
        };
        let key = key.as_ref().map_or_else(String::new, |key| format!(" (once written for {key})"));
        writeln!(output, "damage:  {file}{place}: {what}{key}")?;
    }
    for hint in &found.useless_hints {
        writeln!(output, "hint:    {hint} is not used: a mounted store makes it anew")?;
    }
    for key in &found.damaged_keys {
        writeln!(output, "damaged: {key}")?;
    }
    for key in &found.lost_keys {
        writeln!(output, "lost:    {key} (a repair could not save its value; set it anew, or remove it)")?;
    }
    if found.snapshots > 0 {
        let place = store.join("snapshots/NAME");
        writeln!(output, "left:    what only snapshots hold ({}): caskfs verify {}", found.snapshots, place.display())?;
    }
    writeln!(output, "read:    {} records, {} in {} segments", found.records, bytes(found.bytes), found.segments)?;
    Ok(())
}
