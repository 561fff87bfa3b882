//! What a store costs under uniform overwrite: its size on the disk over its live data, and the bytes written over the
//! bytes put, merges included. Keys are overwritten by chance, each as often as any other, about 1 MiB in a batch that is
//! durable before the next one begins, while the store merges in the background.
//!
//! ```sh
//! cargo run --release --example steady_state -- --value 1024 --segment 8
//! ```
//!
//! | option | by default | |
//! |---|---|---|
//! | `--live MB` | 200 | megabytes (10^6 bytes) of values |
//! | `--value BYTES` | 1024 | length of each |
//! | `--segment MIB` | 64 | segment size |
//! | `--overwrites N` | 10 | how often all of it is overwritten |
//! | `--dir DIR` | a temporary one | where the store is made |
//!
//! Bytes written are those that the process handed to write(2) and its like (`wchar` in /proc/self/io): records, copies
//! by merges, manifests. The size on the disk is what the files of the store take there, at its greatest.

use std::error::Error;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use caskfs::{Batch, Options, Store};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

struct Arguments {
    live: u64,
    value: usize,
    segment: u32,
    overwrites: u64,
    directory: Option<PathBuf>,
}

fn arguments() -> Result<Arguments, Box<dyn Error>> {
    let mut arguments = Arguments { live: 200, value: 1024, segment: 64, overwrites: 10, directory: None };
    let mut words = std::env::args().skip(1);
    while let Some(name) = words.next() {
        let value = words.next().ok_or("a value is missing")?;
        match name.as_str() {
            "--live" => arguments.live = value.parse()?,
            "--value" => arguments.value = value.parse()?,
            "--segment" => arguments.segment = value.parse()?,
            "--overwrites" => arguments.overwrites = value.parse()?,
            "--dir" => arguments.directory = Some(value.into()),
            _ => return Err(format!("{name} is no option").into()),
        }
    }
    Ok(arguments)
}

/// Bytes that a directory takes on the disk.
fn on_disk(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    // A file that a merge takes away meanwhile has none.
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => on_disk(&entry.path()),
        // Room that the store keeps for a full disk.
        _ if entry.file_name() == "reserve" => 0,
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    };
    entries.map(size).sum()
}

/// Bytes that this process has written so far.
fn written() -> Result<u64, Box<dyn Error>> {
    let figures = fs::read_to_string("/proc/self/io")?;
    let figure = figures.lines().find_map(|line| line.strip_prefix("wchar: ")).ok_or("no wchar in /proc/self/io")?;
    Ok(figure.parse()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { live, value, segment, overwrites, directory } = arguments()?;
    let scratch = tempfile::tempdir()?;
    let directory = directory.unwrap_or_else(|| scratch.path().join("store"));
    let options = Options { create: true, segment_size: segment << 20, ..Options::default() };
    let store = Store::open(&directory, options)?;
    let keys = live * 1_000_000 / value as u64;
    let mut random = StdRng::seed_from_u64(1);
    let mut bytes = vec![0; value];
    let mut write = |keys: &[u64], random: &mut StdRng| {
        let mut batch = Batch::new();
        for key in keys {
            random.fill(&mut bytes[..]);
            batch.put(format!("{:03}/{key}", key / 1000), bytes.as_slice());
        }
        let begun = Instant::now();
        store.write(batch).map(|()| begun.elapsed())
    };
    let length = ((1 << 20) / value).clamp(1, 1000);
    let all: Vec<u64> = (0..keys).collect();
    for keys in all.chunks(length) {
        write(keys, &mut random)?;
    }
    let (before, begun) = (written()?, Instant::now());
    let puts = keys * overwrites;
    let mut done = 0;
    let (mut peak, mut sum, mut samples, mut pauses) = (0, 0, 0, Vec::new());
    while done < puts {
        let chosen: Vec<u64> = (0..length).map(|_| random.random_range(0..keys)).collect();
        pauses.push(write(&chosen, &mut random)?);
        done += length as u64;
        // From the moment that it has been overwritten twice on.
        if done >= puts / 5 {
            let size = on_disk(&directory);
            (peak, sum, samples) = (peak.max(size), sum + size, samples + 1);
        }
    }
    store.sync()?;
    let elapsed = begun.elapsed();
    let (put_bytes, live_bytes) = ((done * value as u64) as f64, (keys * value as u64) as f64);
    let written = (written()? - before) as f64;
    let merges = store.merge_statistics();
    let segments = f64::from(segment) * 2.0 * f64::from(1 << 20);
    println!("{keys} keys of {value} bytes, segments of {segment} MiB, {done} puts in {:.0} s", elapsed.as_secs_f64());
    println!(
        "disk:    {:.2} x live data on average, {:.2} x at most; without two segments {:.2} x at most (goal: 2)",
        sum as f64 / f64::from(samples) / live_bytes,
        peak as f64 / live_bytes,
        (peak as f64 - segments) / live_bytes,
    );
    println!(
        "written: {:.2} x bytes put (goal: 2.5); {} merges copied {:.2} x",
        written / put_bytes,
        merges.merges,
        merges.bytes_written as f64 / put_bytes,
    );
    pauses.sort_unstable();
    let pause = |part: usize| pauses[(pauses.len() - 1) * part / 1000].as_secs_f64() * 1000.0;
    println!(
        "batches: {:.1} ms each in the middle, {:.1} ms for one in a hundred, {:.1} ms the slowest",
        pause(500),
        pause(990),
        pause(1000)
    );
    drop(store);
    Ok(())
}
