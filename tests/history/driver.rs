//! Doing random things through doors, and noting what was answered.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::check::{Call, Done, KEYS, State, check};
use crate::doors::Door;

/// Calls of each thread in a round. Then all wait for one another, so that a history is short enough to be searched.
const CALLS: usize = 6;

/// A run.
pub(crate) struct Run<'a> {
    /// One for each thread.
    pub(crate) doors: &'a [&'a dyn Door],
    /// No value is longer.
    pub(crate) longest: usize,
    /// Whether keys are renamed to one another. A program that has opened a file of the mount reads that file under any
    /// name: what it reads may then never have been the value of the key by which it was opened.
    pub(crate) renames: bool,
    pub(crate) rounds: u64,
}

impl Run<'_> {
    /// The length of a value: no two that are near have the same.
    fn len(&self, value: u32) -> usize {
        8 + value as usize * 7_919 % (self.longest / 8) * 8
    }

    /// Each word of a value says which one it is.
    fn bytes(&self, value: u32) -> Vec<u8> {
        value.to_le_bytes().repeat(self.len(value) / 4)
    }

    /// Which value these bytes are.
    fn value_of(&self, bytes: &[u8]) -> Result<u32, String> {
        let words: Vec<u32> = bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect();
        let first = words.first().copied().ok_or("a value of no bytes, which nobody has put")?;
        let same = words.iter().take_while(|word| **word == first).count();
        match (same == words.len(), self.len(first)) {
            (true, whole) if whole == bytes.len() => Ok(first),
            (true, whole) => Err(format!("{} bytes of value #{first}, which has {whole}", bytes.len())),
            (false, _) => Err(format!("{} bytes: {} of value #{first}, then #{}", bytes.len(), same * 4, words[same])),
        }
    }
}

/// Does what the seed says, and panics if the answers do not fit.
pub(crate) fn run(run: &Run<'_>) {
    let from_environment = |name: &str| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    let seed = from_environment("CASKFS_HISTORY_SEED").unwrap_or_else(rand::random);
    let rounds = from_environment("CASKFS_HISTORY_ROUNDS").unwrap_or(run.rounds);
    eprintln!("CASKFS_HISTORY_SEED={seed}");
    let begun = Instant::now();
    let next_value = AtomicU32::new(1);
    let mut states: Vec<State> = vec![[0; KEYS]];
    // There is a directory before anybody looks for one.
    run.doors.iter().for_each(|door| {
        let value = next_value.fetch_add(1, Ordering::Relaxed);
        door.put(0, &run.bytes(value));
        states = vec![[value, 0, 0, 0]];
    });
    for round in 0..rounds {
        let calls = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for (thread, door) in run.doors.iter().enumerate() {
                let (calls, next_value) = (&calls, &next_value);
                let mut random = StdRng::seed_from_u64(seed ^ (round << 8 | thread as u64).wrapping_mul(0x9e37_79b9));
                scope.spawn(move || {
                    for _ in 0..CALLS {
                        let start = begun.elapsed().as_nanos();
                        let done = one(&mut random, *door, next_value, run);
                        let end = begun.elapsed().as_nanos();
                        let done = done.unwrap_or_else(|what| {
                            panic!("seed {seed}, round {round}, by {}: {what}", door.name());
                        });
                        calls.lock().unwrap().push(Call { door: door.name(), start, end, done });
                    }
                });
            }
        });
        let mut calls = calls.into_inner().unwrap();
        calls.sort_by_key(|call| call.start);
        let after = check(&calls, &states, &|value| run.len(value) as u64);
        assert!(!after.is_empty(), "seed {seed}, round {round}: no order of these fits\n{}", told(&calls, &states));
        states = after;
    }
}

/// One call.
fn one(random: &mut StdRng, door: &dyn Door, next_value: &AtomicU32, run: &Run<'_>) -> Result<Done, String> {
    let key = random.random_range(0..KEYS);
    Ok(match random.random_range(0..10) {
        0..3 => {
            let value = next_value.fetch_add(1, Ordering::Relaxed);
            door.put(key, &run.bytes(value));
            Done::Put(key, value)
        }
        3 if run.renames => {
            let to = (key + random.random_range(1..KEYS)) % KEYS;
            Done::Rename(key, to, door.rename(key, to))
        }
        4 => Done::Remove(key, door.remove(key)),
        5 => match door.list() {
            Some(lengths) => Done::List(lengths),
            None => get(door, key, run)?,
        },
        _ => get(door, key, run)?,
    })
}

fn get(door: &dyn Door, key: usize, run: &Run<'_>) -> Result<Done, String> {
    let found = door.get(key).map(|bytes| run.value_of(&bytes));
    let value = found.transpose().map_err(|what| format!("get of k{key}: {what}"))?;
    Ok(Done::Get(key, value.unwrap_or(0)))
}

/// A history for whoever looks for the fault.
fn told(calls: &[Call], states: &[State]) -> String {
    let line = |Call { door, start, end, done }: &Call| format!("{start:>14} {end:>14} {door:<18} {done:?}\n");
    let calls: String = calls.iter().map(line).collect();
    format!("before: {states:?}\n{calls}")
}
