//! Keys of a store that was filled before it was mounted, so that the kernel has not seen one of them yet: each is asked
//! for once, and the daemon answers.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

use caskfs_bench_mount::{Latencies, Measurement};

use crate::operation::{Client, Kind, Write};
use crate::prepared::Prepared;
use crate::random::Random;

/// Keys of a directory, as `peers` loads them.
const DIRECTORY: u64 = 1000;
/// Directories that are looked into. As many with any number of keys: their own lookups are not measured.
const DIRECTORIES: u64 = 5;

/// Measures `kind` on keys of some directories of a store with `keys` in all.
pub(crate) fn measure(kind: Kind, prepared: &Prepared, write: Write, keys: u64) -> io::Result<Measurement> {
    let mut random = Random::new(keys);
    let all = (keys / DIRECTORY).max(1);
    let first = random.below(all);
    // Different ones for each kind: what was asked for once is in the kernel's cache.
    let offset = if kind == Kind::ColdGet { DIRECTORIES } else { 0 };
    let mut paths: Vec<PathBuf> = Vec::new();
    for number in offset..offset + DIRECTORIES {
        let directory = (first + number * (all / (2 * DIRECTORIES)).max(1)) % all;
        let path = prepared.path(&format!("{directory:05}"));
        fs::symlink_metadata(&path)?;
        paths.extend((0..DIRECTORY).map(|key| path.join(format!("user-{:010}", directory * DIRECTORY + key))));
    }
    for last in (1..paths.len()).rev() {
        paths.swap(last, random.below(last as u64 + 1) as usize);
    }
    let plain = if kind == Kind::ColdGet { Kind::Cat } else { Kind::Stat };
    let mut client = Client::new(0, &prepared.path(""), write);
    let mut latencies = Latencies::default();
    let began = Instant::now();
    for path in paths {
        let one = Instant::now();
        client.perform(plain, &path)?;
        latencies.add(one.elapsed());
    }
    Ok(latencies.measurement(&kind.name(), 1, began.elapsed()))
}
