//! `caskfs stat`: show what is known of a key.

use std::io::Write;

use super::arguments::StatArguments;
use super::control::{Reply, Request};
use super::exit::Failure;
use super::listing::{object, permissions, text, time};
use super::output::Output;
use super::store_access::{Access, ask, key};

pub(super) fn run(arguments: &StatArguments, output: &mut Output) -> Result<(), Failure> {
    let request = Request::Stat { key: key(&arguments.key) };
    let Reply::Entries(entries) = ask(&arguments.store, Access::Read, &request)? else { return Ok(()) };
    for entry in &entries {
        if arguments.json {
            writeln!(output, "{}", object(entry))?;
            continue;
        }
        writeln!(output, "key:       {}", text(&entry.key))?;
        writeln!(output, "kind:      {}", entry.kind)?;
        if let Some(target) = &entry.target {
            writeln!(output, "target:    {}", text(target))?;
        }
        writeln!(output, "size:      {} bytes ({} in the log)", entry.size, entry.allocated)?;
        writeln!(output, "mode:      {} ({:04o})", permissions(entry), entry.mode)?;
        writeln!(output, "owner:     {}:{}", entry.uid, entry.gid)?;
        writeln!(output, "links:     {}", entry.links)?;
        writeln!(output, "inode:     {}", entry.inode)?;
        writeln!(output, "modified:  {}", time(entry.mtime))?;
        writeln!(output, "changed:   {}", time(entry.ctime))?;
        if let Some(expires) = entry.expires {
            writeln!(output, "expires:   {}", time(expires))?;
        }
    }
    Ok(())
}
