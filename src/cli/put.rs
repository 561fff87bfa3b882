//! `caskfs put`: set a key.

use std::os::unix::ffi::OsStrExt;

use super::arguments::PutArguments;
use super::control::Request;
use super::exit::Failure;
use super::spool::Value;
use super::store_access::{key, send};

pub(super) fn run(arguments: &PutArguments) -> Result<(), Failure> {
    let key = key(&arguments.key);
    let put = |len| Request::Put { key, ttl: arguments.ttl, len: Some(len) };
    // Before all of the value is read, which may take long.
    put.clone()(0).check()?;
    let mut value = match arguments.value.as_deref().filter(|value| *value != "-") {
        Some(value) => Value::given(value.as_bytes()),
        None => Value::from_input()?,
    };
    send(&arguments.store, &put(value.len), &mut value.bytes)
}
