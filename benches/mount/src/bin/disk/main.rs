//! What the disk alone allows: one record after the other is written into a file that was filled with zeros before, and
//! each is synced. The file's size and blocks do not change, so that a sync carries no metadata.

use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use caskfs_bench_mount::Latencies;
use clap::Parser;

/// Measures pwrite + fdatasync of one record on a prepared file.
#[derive(Parser)]
struct Arguments {
    /// Where the file is made, and removed again.
    directory: PathBuf,
    /// Bytes of a record: a value of 1 KiB, and what caskfs writes around it.
    #[arg(long, default_value_t = 1152)]
    record: usize,
    /// How long to measure.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
}

/// Bytes of the file; the records begin again at its start.
const FILE: usize = 64 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let path = arguments.directory.join("disk.bench");
    let result = measure(&path, &arguments);
    std::fs::remove_file(&path)?;
    result
}

fn measure(path: &std::path::Path, arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
    let zeros = vec![0; 1 << 20];
    for _ in 0..FILE / zeros.len() {
        file.write_all(&zeros)?;
    }
    file.sync_all()?;
    let mut latencies = Latencies::default();
    let mut record = vec![1u8; arguments.record.clamp(8, FILE)];
    let (mut offset, mut number) = (0, 0u64);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs_f64(arguments.seconds) {
        number += 1;
        record[..8].copy_from_slice(&number.to_le_bytes());
        let one = Instant::now();
        file.write_all_at(&record, offset)?;
        file.sync_data()?;
        latencies.add(one.elapsed());
        offset += record.len() as u64;
        if offset + record.len() as u64 > FILE as u64 {
            offset = 0;
        }
    }
    latencies.measurement("fdatasync", 1, began.elapsed()).print()?;
    Ok(())
}
