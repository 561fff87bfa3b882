//! `caskfs put`: set a key.

use std::os::unix::ffi::OsStrExt;

use super::arguments::PutArguments;
use super::control::Request;
use super::exit::Failure;
use super::store_access::{Access, call, key};

pub(super) fn run(arguments: &PutArguments) -> Result<(), Failure> {
    let request = Request::Put { key: key(&arguments.key), ttl: arguments.ttl };
    let mut output = std::io::sink();
    match arguments.value.as_deref().filter(|value| *value != "-") {
        Some(value) => call(&arguments.store, Access::Create, &request, &mut value.as_bytes(), &mut output),
        None => call(&arguments.store, Access::Create, &request, &mut std::io::stdin().lock(), &mut output),
    }
    .map(drop)
}
