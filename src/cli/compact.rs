//! `caskfs compact`: give the space of dead values back now.

use super::arguments::CompactArguments;
use super::control::{Reply, Request};
use super::exit::Failure;
use super::listing::bytes;
use super::store_access::{Access, ask};

pub(super) fn run(arguments: &CompactArguments) -> Result<(), Failure> {
    let size = || match ask(&arguments.store, Access::Read, &Request::Info)? {
        Reply::Info(info) => Ok::<u64, Failure>(info.log_bytes),
        _ => Ok(0),
    };
    let before = size()?;
    ask(&arguments.store, Access::Write, &Request::Compact)?;
    println!("the log had {} and has {}", bytes(before), bytes(size()?));
    Ok(())
}
