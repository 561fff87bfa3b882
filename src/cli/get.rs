//! `caskfs get`: print a key's value.

use super::arguments::KeyArguments;
use super::control::Request;
use super::exit::Failure;
use super::output::Output;
use super::store_access::{fetch, key};

pub(super) fn run(arguments: &KeyArguments, output: &mut Output) -> Result<(), Failure> {
    fetch(&arguments.store, &Request::Get { key: key(&arguments.key) }, output)
}
