//! `caskfs ls`: list keys.

use std::io::Write;

use super::arguments::LsArguments;
use super::control::{Reply, Request};
use super::exit::Failure;
use super::listing::{long, object};
use super::output::Output;
use super::store_access::{Access, ask, key};

pub(super) fn run(arguments: &LsArguments, output: &mut Output) -> Result<(), Failure> {
    let prefix = arguments.prefix.as_deref().map(key).unwrap_or_default();
    let request = Request::List { prefix, recursive: arguments.recursive };
    let Reply::Entries(entries) = ask(&arguments.store, Access::Read, &request)? else { return Ok(()) };
    for entry in &entries {
        if arguments.json {
            writeln!(output, "{}", object(entry))?;
            continue;
        }
        if arguments.long {
            write!(output, "{} ", long(entry))?;
        }
        // Raw: a name may be any bytes, and the next program in the pipe wants those.
        output.write_all(&entry.key)?;
        if entry.kind == "directory" {
            output.write_all(b"/")?;
        }
        if let Some(target) = entry.target.as_ref().filter(|_| arguments.long) {
            output.write_all(b" -> ")?;
            output.write_all(target)?;
        }
        output.write_all(b"\n")?;
    }
    Ok(())
}
