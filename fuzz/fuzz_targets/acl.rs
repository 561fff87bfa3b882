//! Access control lists as values of extended attributes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    caskfs_fuzz::measured(bytes.len(), 4096, || caskfs::fs::fuzzing::acl(bytes));
});
