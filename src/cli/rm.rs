//! `caskfs rm`: remove keys.

use super::arguments::RmArguments;
use super::control::Request;
use super::exit::{Failure, NO_KEY};
use super::store_access::{Access, ask, key};

pub(super) fn run(arguments: &RmArguments) -> Result<(), Failure> {
    let mut result = Ok(());
    for argument in &arguments.keys {
        let request = Request::Remove { key: key(argument), recursive: arguments.recursive };
        match ask(&arguments.store, Access::Write, &request) {
            Ok(_) => {}
            Err(failure) if failure.code == NO_KEY && arguments.force => {}
            // The others are removed all the same.
            Err(failure) if failure.code == NO_KEY => result = result.and(Err(failure)),
            Err(failure) => return Err(failure),
        }
    }
    result
}
