//! Bodies of the store's records: what is decoded is encoded again to the same meaning.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    caskfs_fuzz::measured(bytes.len(), 4096, || caskfs::store::fuzzing::bodies(bytes));
});
