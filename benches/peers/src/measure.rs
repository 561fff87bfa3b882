//! The same operations on any engine.

use std::path::Path;
use std::time::{Duration, Instant};

use caskfs_bench_mount::{Latencies, Measurement};

use crate::engines::{self, Engine, Failure, Name, Purpose};

/// Pairs of a batch.
const BATCH: u64 = 1000;

/// A key that is loaded. A thousand share a prefix, and with caskfs a directory.
fn loaded(number: u64) -> String {
    format!("{:05}/user-{number:010}", number / BATCH)
}

/// Durable puts of new keys.
pub(crate) fn put(engine: &dyn Engine, size: usize, threads: usize, limit: Duration) -> Result<Measurement, Failure> {
    let value = vec![7; size];
    run("put", threads, limit, &|thread, number| {
        engine.put(format!("put-{threads}/{thread:02}-{number:010}").as_bytes(), &value)
    })
}

/// Gets of random keys.
pub(crate) fn get(engine: &dyn Engine, keys: u64, threads: usize, limit: Duration) -> Result<Measurement, Failure> {
    run("get", threads, limit, &|thread, number| {
        let key = loaded(scattered(number ^ (thread as u64) << 32) % keys);
        match engine.get(key.as_bytes())? {
            Some(value) if !value.is_empty() => Ok(()),
            _ => Err(format!("{key} is not there").into()),
        }
    })
}

/// Everything in batches, and one sync.
pub(crate) fn load(engine: &dyn Engine, keys: u64, size: usize) -> Result<Measurement, Failure> {
    let mut latencies = Latencies::default();
    let began = Instant::now();
    for first in (0..keys).step_by(BATCH as usize) {
        let one = Instant::now();
        let value = |number: u64| number.to_le_bytes().repeat(size.div_ceil(8));
        let pairs: Vec<_> = (first..keys.min(first + BATCH)).map(|number| (loaded(number), value(number))).collect();
        engine.load(&pairs)?;
        latencies.add(one.elapsed());
    }
    engine.sync()?;
    let mut measurement = latencies.measurement("load", 1, began.elapsed());
    measurement.count = keys;
    measurement.per_second = keys as f64 / measurement.seconds;
    Ok(measurement)
}

/// From the call to the first value.
pub(crate) fn open(name: Name, directory: &Path, keys: u64) -> Result<Measurement, Failure> {
    let mut latencies = Latencies::default();
    let began = Instant::now();
    let engine = engines::open(name, directory, Purpose::Use)?;
    let key = loaded(keys / 2);
    if engine.get(key.as_bytes())?.is_none() {
        return Err(format!("{key} is not there").into());
    }
    latencies.add(began.elapsed());
    let measurement = latencies.measurement("open", 1, began.elapsed());
    engine.close()?;
    Ok(measurement)
}

/// Splitmix64: the same keys in each run, and near none that came before.
fn scattered(number: u64) -> u64 {
    let mut bits = number.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ bits >> 31
}

fn run(
    operation: &str,
    threads: usize,
    limit: Duration,
    one: &(dyn Fn(usize, u64) -> Result<(), Failure> + Sync),
) -> Result<Measurement, Failure> {
    let barrier = std::sync::Barrier::new(threads);
    let client = |thread: usize| -> Result<(Latencies, Instant, Instant), Failure> {
        let mut latencies = Latencies::default();
        barrier.wait();
        let began = Instant::now();
        for number in 0.. {
            let before = Instant::now();
            one(thread, number)?;
            let now = Instant::now();
            latencies.add(now - before);
            if now - began >= limit {
                return Ok((latencies, began, now));
            }
        }
        Ok((latencies, began, Instant::now()))
    };
    let mut all = Latencies::default();
    let mut span: Option<(Instant, Instant)> = None;
    std::thread::scope(|scope| -> Result<(), Failure> {
        let client = &client;
        let started: Vec<_> = (0..threads).map(|thread| scope.spawn(move || client(thread))).collect();
        for thread in started {
            let (latencies, began, ended) = thread.join().unwrap_or_else(|_| Err("a thread panicked".into()))?;
            all.append(latencies);
            span = Some(span.map_or((began, ended), |(first, last)| (first.min(began), last.max(ended))));
        }
        Ok(())
    })?;
    let elapsed = span.map_or(Duration::ZERO, |(first, last)| last - first);
    Ok(all.measurement(operation, threads, elapsed))
}
