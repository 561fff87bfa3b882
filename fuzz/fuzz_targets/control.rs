//! Messages of the control socket.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    caskfs_fuzz::measured(bytes.len(), 1 << 16, || caskfs::cli::fuzzing::message(bytes));
});
