//! A segment's records, as they are and with the checksums put right, sealed and not.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // A window of a segment is 1 MiB.
    caskfs_fuzz::measured(bytes.len(), 4 << 20, || caskfs::log::fuzzing::segment(bytes));
});
