//! Eight writers that log what was acknowledged to them, until the ground goes from under them; and the check that all
//! of it is there.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::path::Path;
use std::thread;

use nix::unistd::close;
use parking_lot::Mutex;

const WRITERS: u32 = 8;
const KEYS: u32 = 12;

/// What was tried last and what was acknowledged last of each key: its versions, from 1. Outside of the store, as a
/// client's memory is.
#[derive(Clone, Copy, Debug, Default)]
struct History {
    tried: u32,
    acknowledged: u32,
}

/// What all writers know.
#[derive(Debug, Default)]
pub(crate) struct Writers {
    histories: Mutex<HashMap<String, History>>,
}

impl Writers {
    /// Lets them write, each on from where it was, until `set` fails for it. `meanwhile` is what makes that so.
    pub(crate) fn write(&self, set: impl Fn(&str, u32) -> io::Result<()> + Sync, meanwhile: impl FnOnce()) {
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                let set = &set;
                scope.spawn(move || {
                    for number in 0.. {
                        let key = format!("w{writer}-{}", number % KEYS);
                        let version = {
                            let mut histories = self.histories.lock();
                            let history = histories.entry(key.clone()).or_default();
                            history.tried += 1;
                            history.tried
                        };
                        if set(&key, version).is_err() {
                            break;
                        }
                        self.histories.lock().entry(key).or_default().acknowledged = version;
                    }
                });
            }
            meanwhile();
        });
    }

    /// Asserts that each key has a version that was acknowledged, or tried since, and wholly. What it has counts from
    /// now on.
    #[track_caller]
    pub(crate) fn check(&self, when: &str, get: impl Fn(&str) -> Option<Vec<u8>>) {
        for (key, history) in self.histories.lock().iter_mut() {
            let allowed = history.acknowledged..=history.tried;
            let found = get(key);
            let version = version(key, found.as_deref(), allowed.clone());
            let text = String::from_utf8_lossy(found.as_deref().unwrap_or(b"nothing")).into_owned();
            history.acknowledged = version.unwrap_or_else(|| {
                panic!("{when}: {key} is {text:.40?} of {} bytes, {history:?}", text.len());
            });
        }
    }

    /// How many values were acknowledged.
    pub(crate) fn total(&self) -> u32 {
        self.histories.lock().values().map(|history| history.acknowledged).sum()
    }
}

/// The newest of the allowed versions that a key with these bytes may have.
fn version(key: &str, found: Option<&[u8]>, allowed: RangeInclusive<u32>) -> Option<u32> {
    let fits = |version: &u32| match found {
        None => *version == 0 || is_removal(*version),
        Some(found) => *version > 0 && !is_removal(*version) && found == value(key, *version),
    };
    allowed.rev().find(fits)
}

/// Some versions are that the key is gone.
fn is_removal(version: u32) -> bool {
    version % 7 == 6
}

/// A key's value in its n-th version: told from every other, whole or not, at a glance.
pub(crate) fn value(key: &str, version: u32) -> Vec<u8> {
    let line = format!("{key} {version}\n").into_bytes();
    let lines = match version % 8 {
        0 => 20_000,
        1..4 => 300,
        _ => 1,
    };
    line.repeat(lines)
}

/// Brings a key into a version in one of the ways in which programs do, and returns when that is acknowledged; when it
/// is durable too, if `barrier`.
pub(crate) fn set(mount: &Path, key: &str, version: u32, barrier: bool) -> io::Result<()> {
    let path = mount.join(key);
    if is_removal(version) {
        match fs::remove_file(&path) {
            // The version before may be one that was tried in vain.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    } else {
        let bytes = value(key, version);
        match version % 3 {
            // close() tells of errors, and std's does not.
            0 => {
                let mut file = File::create(&path)?;
                file.write_all(&bytes)?;
                return Ok(close(file)?);
            }
            1 => {
                let mut file = File::create(&path)?;
                bytes.chunks(10_000).try_for_each(|chunk| file.write_all(chunk))?;
                return file.sync_data();
            }
            _ => {
                let temporary = mount.join(format!("{key}.tmp"));
                let mut file = File::create(&temporary)?;
                file.write_all(&bytes)?;
                close(file)?;
                fs::rename(temporary, path)?;
            }
        }
    }
    // A change of names is not waited for.
    if barrier { File::open(mount)?.sync_all() } else { Ok(()) }
}

/// A key's value on a mount.
pub(crate) fn get(mount: &Path, key: &str) -> Option<Vec<u8>> {
    match fs::read(mount.join(key)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        found => Some(found.unwrap_or_else(|error| panic!("{key}: {error}"))),
    }
}
