//! Clients that work at the same time.

use std::io;
use std::path::PathBuf;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use caskfs_bench_mount::{Latencies, Measurement};

use crate::operation::{Client, Kind, Write};
use crate::prepared::Prepared;
use crate::random::Random;

/// Measures `clients` threads for each kind, all of them at once.
pub(crate) fn measure(
    kinds: &[Kind],
    prepared: &Prepared,
    write: Write,
    clients: usize,
    seconds: f64,
) -> io::Result<Vec<Measurement>> {
    let targets: Vec<(Kind, Target)> = kinds
        .iter()
        .map(|kind| Ok((*kind, Target::prepare(*kind, prepared, write, clients)?)))
        .collect::<io::Result<_>>()?;
    let barrier = Barrier::new(clients * kinds.len());
    let limit = Duration::from_secs_f64(seconds);
    std::thread::scope(|scope| {
        let mut groups = Vec::new();
        for (kind, target) in &targets {
            let group: Vec<_> = (0..clients)
                .map(|number| {
                    let (barrier, client) = (&barrier, Client::new(number, &prepared.path(""), write));
                    scope.spawn(move || {
                        barrier.wait();
                        work(*kind, target, prepared, number, client, limit)
                    })
                })
                .collect();
            groups.push((*kind, group));
        }
        let mut measurements = Vec::new();
        for (kind, group) in groups {
            let mut all = Latencies::default();
            let mut span: Option<(Instant, Instant)> = None;
            for thread in group {
                let done = thread.join().unwrap_or_else(|_| Err(io::Error::other("a client panicked")))?;
                all.append(done.latencies);
                span =
                    Some(span.map_or((done.began, done.ended), |(first, last)| {
                        (first.min(done.began), last.max(done.ended))
                    }));
            }
            let elapsed = span.map_or(Duration::ZERO, |(first, last)| last - first);
            measurements.push(all.measurement(&kind.name(), clients, elapsed));
        }
        Ok(measurements)
    })
}

/// What one client did.
struct Done {
    latencies: Latencies,
    began: Instant,
    ended: Instant,
}

fn work(
    kind: Kind,
    target: &Target,
    prepared: &Prepared,
    number: usize,
    mut client: Client,
    limit: Duration,
) -> io::Result<Done> {
    let mut latencies = Latencies::default();
    let mut random = Random::new(number as u64);
    let began = Instant::now();
    for done in 0.. {
        let key = match target {
            Target::New(directory) => directory.join(format!("c{number:02}-{done:08}")),
            Target::Absent => prepared.absent(random.below(prepared.keys)),
            Target::Random => prepared.key(random.below(prepared.keys)),
            Target::EachOnce(next) => match next.fetch_add(1, Ordering::Relaxed) {
                key if key < prepared.keys => prepared.key(key),
                _ => break,
            },
        };
        let one = Instant::now();
        client.perform(kind, &key)?;
        let now = Instant::now();
        latencies.add(now - one);
        if now - began >= limit && !matches!(target, Target::EachOnce(_)) {
            break;
        }
    }
    Ok(Done { latencies, began, ended: Instant::now() })
}

/// Which keys an operation is for.
enum Target {
    /// New ones in this directory.
    New(PathBuf),
    /// Each of those that are there, once.
    EachOnce(AtomicU64),
    /// Any of those that are there.
    Random,
    /// Any of as many that are not.
    Absent,
}

impl Target {
    /// Makes what has to be there.
    fn prepare(kind: Kind, prepared: &Prepared, write: Write, clients: usize) -> io::Result<Target> {
        if kind == Kind::Put {
            let sync = if write.fsync { "fsync" } else { "close" };
            return Ok(Target::New(prepared.fresh(&format!("put-{clients}-{sync}"))?));
        }
        if kind != Kind::Negative {
            prepared.fill(write)?;
        }
        if matches!(kind, Kind::Get | Kind::Cat | Kind::Stat | Kind::Negative) {
            // Warm is what is measured.
            let mut client = Client::new(0, &prepared.path(""), write);
            for number in 0..prepared.keys {
                let key = if kind == Kind::Negative { prepared.absent(number) } else { prepared.key(number) };
                client.perform(kind, &key)?;
            }
        }
        Ok(match kind {
            Kind::Delete => Target::EachOnce(AtomicU64::new(0)),
            Kind::Negative => Target::Absent,
            _ => Target::Random,
        })
    }
}
