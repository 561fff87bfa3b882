//! What the disk alone allows: one record after the other, each synced.

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use caskfs_bench_mount::{Latencies, RecordFile};
use clap::Parser;

/// Measures pwrite + fdatasync of one record on a prepared file.
#[derive(Parser)]
struct Arguments {
    /// Where the file is made, and removed again.
    directory: PathBuf,
    /// Bytes of a record.
    #[arg(long, default_value_t = RecordFile::RECORD)]
    record: usize,
    /// How long to measure.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let mut file = RecordFile::create(&arguments.directory, arguments.record)?;
    let mut latencies = Latencies::default();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs_f64(arguments.seconds) {
        let one = Instant::now();
        file.append()?;
        latencies.add(one.elapsed());
    }
    latencies.measurement("fdatasync", 1, began.elapsed()).print()?;
    Ok(())
}
