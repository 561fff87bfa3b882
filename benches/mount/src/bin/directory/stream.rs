//! One large file from its beginning to its end.

use std::fs::File;
use std::io::{self, Read, Write};
use std::time::Instant;

use caskfs_bench_mount::{Latencies, Measurement};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use crate::prepared::Prepared;

/// Bytes of one call.
const PIECE: usize = 1 << 20;

/// Whether the kernel's pages of the file are dropped first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cache {
    Warm,
    Dropped,
}

/// Writes `bytes` and syncs them.
pub(crate) fn write(prepared: &Prepared, bytes: u64) -> io::Result<Measurement> {
    let piece: Vec<u8> = (0..PIECE).map(|byte| (byte ^ byte >> 8) as u8).collect();
    let path = prepared.path("stream");
    if std::fs::remove_file(&path).is_ok() {
        prepared.settle()?;
    }
    let mut latencies = Latencies::default();
    let began = Instant::now();
    let mut file = File::create(path)?;
    for _ in 0..bytes / PIECE as u64 {
        let one = Instant::now();
        file.write_all(&piece)?;
        latencies.add(one.elapsed());
    }
    file.sync_all()?;
    nix::unistd::close(file)?;
    Ok(in_bytes(latencies.measurement("stream-write", 1, began.elapsed())))
}

/// Reads it all.
pub(crate) fn read(prepared: &Prepared, cache: Cache) -> io::Result<Measurement> {
    let mut piece = vec![0; PIECE];
    let mut file = File::open(prepared.path("stream"))?;
    if cache == Cache::Dropped {
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    } else {
        // Once unmeasured, so that it is warm.
        while file.read(&mut piece)? > 0 {}
        file = File::open(prepared.path("stream"))?;
    }
    let expected = file.metadata()?.len();
    let (mut latencies, mut total) = (Latencies::default(), 0);
    let began = Instant::now();
    loop {
        let one = Instant::now();
        let read = file.read(&mut piece)?;
        if read == 0 {
            break;
        }
        latencies.add(one.elapsed());
        total += read as u64;
    }
    let elapsed = began.elapsed();
    if total != expected {
        return Err(io::Error::other(format!("{total} of {expected} bytes were read")));
    }
    let name = if cache == Cache::Warm { "stream-read-warm" } else { "stream-read" };
    let mut measurement = latencies.measurement(name, 1, elapsed);
    measurement.count = total;
    measurement.per_second = total as f64 / measurement.seconds;
    Ok(measurement)
}

/// Counts bytes, not calls.
fn in_bytes(mut measurement: Measurement) -> Measurement {
    measurement.count *= PIECE as u64;
    measurement.per_second = measurement.count as f64 / measurement.seconds;
    measurement
}
