//! Fills a store with many keys in directories of a thousand, and says how long it takes to open and how much memory
//! a key takes.
//!
//! `cargo run --release --example many_keys -- STORE [KEYS]`; an existing store is only opened.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use caskfs::{Batch, Options, Store};

/// Keys in a directory, and in a batch.
const DIRECTORY: u64 = 1000;
/// Bytes of a value.
const VALUE: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("which store?")?;
    let keys: u64 = arguments.next().map_or(Ok(1_000_000), |keys| keys.parse())?;
    if !Path::new(&path).join("format").exists() {
        let began = Instant::now();
        let store = Store::open(&path, Options { durable: false, create: true, ..Options::default() })?;
        for first in (0..keys).step_by(DIRECTORY as usize) {
            let mut batch = Batch::new();
            for key in first..keys.min(first + DIRECTORY) {
                let value = key.to_le_bytes().repeat(VALUE / 8);
                batch.put(format!("{:05}/user-{key:010}", first / DIRECTORY), value);
            }
            store.write(batch)?;
        }
        store.sync()?;
        println!("put {keys} keys in {:.1} s", began.elapsed().as_secs_f64());
        let began = Instant::now();
        store.write_hints()?;
        println!("wrote the hints in {:.1} s", began.elapsed().as_secs_f64());
        store.close()?;
        println!("resident: {} MiB; run again to open it", resident()? >> 20);
        return Ok(());
    }
    let before = resident()?;
    let began = Instant::now();
    let store = Store::open(&path, Options { background: false, ..Options::default() })?;
    let seconds = began.elapsed().as_secs_f64();
    let info = store.info()?;
    let memory = resident()?.saturating_sub(before);
    let report = store.recovery_report();
    println!("opened {} keys in {seconds:.2} s: {:.2} million a second", info.keys, info.keys as f64 / seconds / 1e6);
    println!("{} segments, {} of them by their hints", info.segments, report.hints);
    println!(
        "memory: {} bytes a key with its name resident, {} by the store's own count",
        memory / info.keys.max(1),
        info.keydir_bytes / info.keys.max(1)
    );
    Ok(())
}

/// Resident memory of this process in bytes.
fn resident() -> Result<u64, Box<dyn Error>> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = statm.split(' ').nth(1).ok_or("no resident set in statm")?.parse()?;
    Ok(pages * 4096)
}
