//! `caskfs compact`: give the space of dead values back now, or say how much that would be.

use std::io::Write;

use super::arguments::CompactArguments;
use super::control::{Reply, Request};
use super::exit::Failure;
use super::listing::bytes;
use super::output::Output;
use super::store_access::{Access, ask};

pub(super) fn run(arguments: &CompactArguments, output: &mut Output) -> Result<(), Failure> {
    if arguments.dry_run {
        return dry_run(arguments, output);
    }
    let size = || match ask(&arguments.store, Access::Read, &Request::Info)? {
        Reply::Info(info) => Ok::<u64, Failure>(info.log_bytes),
        _ => Ok(0),
    };
    let before = size()?;
    ask(&arguments.store, Access::Write, &Request::Compact { rate: arguments.rate })?;
    writeln!(output, "the log had {} and has {}", bytes(before), bytes(size()?))?;
    Ok(())
}

fn dry_run(arguments: &CompactArguments, output: &mut Output) -> Result<(), Failure> {
    let Reply::Merges(merges) = ask(&arguments.store, Access::Read, &Request::PlanCompaction)? else { return Ok(()) };
    let (mut copied, mut freed) = (0, 0);
    for merge in &merges {
        let back = merge.bytes.saturating_sub(merge.copied);
        (copied, freed) = (copied + merge.copied, freed + back);
        let segments: Vec<String> = merge.segments.iter().map(u32::to_string).collect();
        let segments = if segments.is_empty() { "outputs of these".to_owned() } else { segments.join(" ") };
        writeln!(output, "would merge {segments}: copy {} of {}", bytes(merge.copied), bytes(merge.bytes))?;
    }
    writeln!(output, "{} merges would copy {} and give {} back", merges.len(), bytes(copied), bytes(freed))?;
    Ok(())
}
