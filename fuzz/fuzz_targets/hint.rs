//! Hints, as they are and past their checks.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    caskfs_fuzz::measured(bytes.len(), 1 << 16, || caskfs::log::fuzzing::hint(bytes));
});
