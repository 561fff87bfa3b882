//! A directory of many names, as `ls -l` sees it.

use std::fs::{self, File};
use std::io;
use std::time::Instant;

use caskfs_bench_mount::{Latencies, Measurement};

use crate::prepared::{Prepared, each};

/// Listings; the latencies are theirs.
const ROUNDS: u32 = 5;

/// Makes the names if they are not there, and lists them.
pub(crate) fn measure(prepared: &Prepared, names: u64) -> io::Result<Measurement> {
    let directory = prepared.path("names");
    if fs::create_dir(&directory).is_ok() {
        each(names, |number| File::create(directory.join(format!("name-{number:08}"))).map(drop))?;
        prepared.settle()?;
    }
    let mut latencies = Latencies::default();
    let began = Instant::now();
    for _ in 0..ROUNDS {
        let one = Instant::now();
        let mut seen = 0;
        for entry in fs::read_dir(&directory)? {
            entry?.metadata()?;
            seen += 1;
        }
        latencies.add(one.elapsed());
        if seen != names {
            return Err(io::Error::other(format!("{seen} of {names} names were listed")));
        }
    }
    let mut measurement = latencies.measurement("list", 1, began.elapsed());
    measurement.count = names * u64::from(ROUNDS);
    measurement.per_second = names as f64 / (measurement.p50_us / 1e6);
    Ok(measurement)
}
