//! `caskfs mv`: rename a key or a directory.

use super::arguments::MvArguments;
use super::control::Request;
use super::exit::Failure;
use super::store_access::{Access, ask, key};

pub(super) fn run(arguments: &MvArguments) -> Result<(), Failure> {
    let request = Request::Rename { from: key(&arguments.from), to: key(&arguments.to) };
    ask(&arguments.store, Access::Write, &request).map(drop)
}
