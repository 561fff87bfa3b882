//! `caskfs get`: print a key's value.

use super::arguments::KeyArguments;
use super::control::Request;
use super::exit::Failure;
use super::store_access::{Access, call, key};

pub(super) fn run(arguments: &KeyArguments) -> Result<(), Failure> {
    let request = Request::Get { key: key(&arguments.key) };
    let mut output = std::io::stdout().lock();
    call(&arguments.store, Access::Read, &request, &mut std::io::empty(), &mut output).map(drop)
}
