//! What a put waits while all keys are listed, and what that takes of memory: `cargo run --release --example listing -- 3000000`.
//!
//! A writer sets keys that are there, first alone, then beside listings of everything, one after the other. Each listing must
//! have every key exactly once. The puts do not wait for the disk, so that what they wait for is the store.

#![expect(clippy::print_stdout, reason = "it is a program that says what it measured")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use caskfs::{Batch, Error, Options, Store};

/// How long the writer is looked at, each time.
const TIME: Duration = Duration::from_secs(10);

fn key(number: u64) -> String {
    format!("{:04}/{number:010}", number % 1000)
}

/// Puts until there are no more to be looked at; returns what each took.
fn puts(store: &Store, keys: u64, end: &dyn Fn() -> bool) -> Result<Vec<Duration>, Error> {
    let mut times = Vec::new();
    let mut number = 0u64;
    while !end() {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let key = key((number >> 20) % keys);
        let begun = Instant::now();
        store.put(key, [7; 100])?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times)
}

fn report(what: &str, times: &[Duration]) {
    let at = |part: f64| times.get((times.len() as f64 * part) as usize).copied().unwrap_or_default();
    let longest = times.last().copied().unwrap_or_default();
    println!(
        "{what}: {} puts, p50 {:?}, p99 {:?}, p99.9 {:?}, longest {longest:?}",
        times.len(),
        at(0.5),
        at(0.99),
        at(0.999)
    );
}

/// The most memory that the process has had, in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let keys: u64 = std::env::args().nth(1).map_or(Ok(3_000_000), |keys| keys.parse())?;
    let directory = tempfile::tempdir()?;
    let store = Store::open(directory.path(), Options { create: true, durable: false, ..Options::default() })?;
    for start in (0..keys).step_by(10_000) {
        let mut batch = Batch::new();
        for number in start..keys.min(start + 10_000) {
            batch.put(key(number), [1; 100]);
        }
        store.write(batch)?;
    }
    store.sync()?;
    let begun = Instant::now();
    let alone = puts(&store, keys, &|| begun.elapsed() > TIME)?;
    let before = peak();
    let done = AtomicBool::new(false);
    let beside = std::thread::scope(|scope| {
        let listing = scope.spawn(|| {
            let begun = Instant::now();
            while begun.elapsed() < TIME {
                let begun = Instant::now();
                let files = store
                    .scan("")
                    .try_fold(0u64, |files, listed| listed.map(|listed| files + u64::from(listed.key.len() > 5)));
                println!("listed {} of {keys} keys in {:?}", files.as_ref().unwrap_or(&0), begun.elapsed());
                assert_eq!(files.ok(), Some(keys), "each key once");
            }
            done.store(true, Ordering::Relaxed);
        });
        let beside = puts(&store, keys, &|| done.load(Ordering::Relaxed) || listing.is_finished());
        (beside, listing.join().is_ok())
    });
    report("alone", &alone);
    report("beside listings", &beside.0?);
    println!("peak memory: {before} MiB before, {} MiB after", peak());
    if beside.1 { Ok(()) } else { Err("a listing failed".into()) }
}
