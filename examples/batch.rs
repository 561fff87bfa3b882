//! What a batch of many values takes: its time, and the memory at its peak over the batch's own size.
//!
//! `cargo run --release --example batch -- --keys N --len BYTES`

#![expect(clippy::unwrap_used, reason = "an example may panic")]

use std::time::Instant;

use caskfs::{Batch, Options, Store};

/// A line of proc_pid_status(5), in bytes.
fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

fn argument(name: &str, default: usize) -> usize {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).map_or(default, |value| value.parse().unwrap())
}

fn main() {
    let (keys, len) = (argument("--keys", 1_000_000), argument("--len", 100));
    let directory = std::env::temp_dir().join(format!("caskfs-batch-{}", std::process::id()));
    let store = Store::open(&directory, Options { create: true, ..Options::default() }).unwrap();
    let empty = status("VmRSS");
    let mut batch = Batch::new();
    for key in 0..keys {
        batch.put(format!("{:03}/{key:012}", key % 100), vec![key as u8; len]);
    }
    let size = batch.size() as u64;
    let began = Instant::now();
    store.write(batch).unwrap();
    let took = began.elapsed();
    let peak = status("VmHWM") - empty;
    let keydir = store.info().unwrap().keydir_bytes;
    println!("{keys} values of {len} bytes: a batch of {} MiB, {:.1} s", size >> 20, took.as_secs_f64());
    println!(
        "peak {} MiB, {:.2} times the batch; {} MiB of it are the keydir's",
        peak >> 20,
        peak as f64 / size as f64,
        keydir >> 20
    );
    drop(store);
    std::fs::remove_dir_all(directory).unwrap();
}
