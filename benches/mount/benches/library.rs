//! The library's own times, one thread and no peers: `cargo bench --manifest-path benches/mount/Cargo.toml`.
//!
//! The store is where TMPDIR says; a durable put takes what that disk takes.

use std::error::Error;
use std::hint::black_box;

use caskfs::{Batch, Options, Store};
use criterion::{BatchSize, Criterion, Throughput};

/// Keys in the store, a thousand to a directory.
const KEYS: u64 = 100_000;
const DIRECTORY: u64 = 1000;
const VALUE: [u8; 1024] = [7; 1024];

fn name(key: u64) -> String {
    format!("{:03}/user-{key:06}", key / DIRECTORY)
}

fn filled(durable: bool) -> Result<(tempfile::TempDir, Store), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let store = Store::open(directory.path().join("store"), Options { create: true, durable, ..Options::default() })?;
    for first in (0..KEYS).step_by(DIRECTORY as usize) {
        let mut batch = Batch::new();
        for key in first..first + DIRECTORY {
            batch.put(name(key), VALUE);
        }
        store.write(batch)?;
    }
    store.sync()?;
    Ok((directory, store))
}

/// A key that is not near the last one.
fn next(key: &mut u64) -> String {
    *key = (*key + 61_803) % KEYS;
    name(*key)
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut criterion = Criterion::default().configure_from_args();
    for (how, durable) in [("durable", true), ("not durable", false)] {
        let (_directory, store) = filled(durable)?;
        let mut key = 0;
        let mut group = criterion.benchmark_group("put");
        group.throughput(Throughput::Elements(1));
        // What fails is fast, and no measurement.
        let mut failed = false;
        group.bench_function(how, |bencher| {
            let put = |name| failed |= store.put(name, VALUE).is_err();
            bencher.iter_batched(|| next(&mut key), put, BatchSize::SmallInput);
        });
        group.finish();
        if failed {
            return Err("a put failed".into());
        }
        if durable {
            continue;
        }
        let mut group = criterion.benchmark_group("read");
        group.throughput(Throughput::Elements(1));
        group.bench_function("get", |bencher| {
            let get = |name| failed |= !matches!(black_box(store.get(name)), Ok(Some(_)));
            bencher.iter_batched(|| next(&mut key), get, BatchSize::SmallInput);
        });
        group.bench_function("stat", |bencher| {
            let stat = |name| failed |= !matches!(black_box(store.stat(name)), Ok(Some(_)));
            bencher.iter_batched(|| next(&mut key), stat, BatchSize::SmallInput);
        });
        group.throughput(Throughput::Elements(DIRECTORY));
        group.bench_function("scan", |bencher| {
            bencher.iter(|| failed |= black_box(store.scan("042/")).count() as u64 != DIRECTORY);
        });
        group.bench_function("list", |bencher| bencher.iter(|| failed |= black_box(store.list("042")).is_err()));
        group.finish();
        if failed {
            return Err("a read failed".into());
        }
        store.close()?;
    }
    criterion.final_summary();
    Ok(())
}
