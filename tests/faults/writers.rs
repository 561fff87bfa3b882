//! Eight writers that log what was acknowledged to them, until the ground goes from under them; and the check that all
//! of it is there.
//!
//! Those that write to a mount are a process of their own, which starts no other: a process that forks has its open
//! files closed once more, and a close commits what was written so far.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
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

/// Where the process of writers is told its mount, whether it syncs the directory, and its log.
const VARIABLES: [&str; 3] = ["CASKFS_WRITERS_MOUNT", "CASKFS_WRITERS_BARRIER", "CASKFS_WRITERS_LOG"];

impl Writers {
    /// Lets them write to a mount, in a process of their own, until they cannot any more; `meanwhile` makes that so.
    /// With a `barrier` changes of names are synced too.
    ///
    /// What `meanwhile` is handed ends the time in which an acknowledgement counts: after a power cut nobody is there
    /// to be told anything, but after a filesystem's shutdown somebody may be told what is not true any more.
    pub(crate) fn write_to(&self, mount: &Path, barrier: bool, meanwhile: impl FnOnce(&dyn Fn())) {
        let log = tempfile::NamedTempFile::new().unwrap();
        for (key, history) in self.histories.lock().iter() {
            writeln!(&log, "{key} {} {}", history.tried, history.acknowledged).unwrap();
        }
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "writers::write_until_it_fails"]).stdout(Stdio::null());
        let values = [mount.as_os_str(), if barrier { "yes" } else { "no" }.as_ref(), log.path().as_os_str()];
        let mut child = command.envs(VARIABLES.into_iter().zip(values)).spawn().unwrap();
        let at_the_cut = Mutex::new(None);
        meanwhile(&|| *at_the_cut.lock() = Some(read_log(log.path())));
        assert!(child.wait().unwrap().success(), "the writers");
        let mut histories = read_log(log.path());
        if let Some(before) = at_the_cut.into_inner() {
            let acknowledged = |key: &String| before.get(key).map_or(0, |history| history.acknowledged);
            histories.iter_mut().for_each(|(key, history)| history.acknowledged = acknowledged(key));
        }
        *self.histories.lock() = histories;
    }

    /// The same with anything that sets a key, each writer until that fails for it.
    pub(crate) fn write(&self, set: impl Fn(&str, u32) -> io::Result<()> + Sync, meanwhile: impl FnOnce(&dyn Fn())) {
        let counts = AtomicBool::new(true);
        let end = || {
            // Whoever notes an acknowledgement has the lock.
            let _histories = self.histories.lock();
            counts.store(false, Ordering::Relaxed);
        };
        self.run(&set, &|_, _| counts.load(Ordering::Relaxed), || meanwhile(&end));
    }

    /// `note` is told of every change, and says whether it counts.
    fn run(
        &self,
        set: &(impl Fn(&str, u32) -> io::Result<()> + Sync),
        note: &(impl Fn(&str, History) -> bool + Sync),
        meanwhile: impl FnOnce(),
    ) {
        let tries = |key: &str| {
            let mut histories = self.histories.lock();
            let history = histories.entry(key.to_owned()).or_default();
            history.tried += 1;
            note(key, *history);
            history.tried
        };
        let has = |key: &str, acknowledged: u32| {
            let mut histories = self.histories.lock();
            let history = histories.entry(key.to_owned()).or_default();
            let changed = History { acknowledged, ..*history };
            if note(key, changed) {
                *history = changed;
            }
        };
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                scope.spawn(move || {
                    for number in 0.. {
                        // A directory for each, since a sync of it commits what others have begun in it.
                        let key = format!("w{writer}/{}", number % KEYS);
                        let version = tries(&key);
                        if set(&key, version).is_err() {
                            break;
                        }
                        has(&key, version);
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
                let start: String = text.chars().take(40).collect();
                panic!("{when}: {key} is {start:?}... of {} bytes, {history:?}", text.len());
            });
        }
    }

    /// How many values were acknowledged.
    pub(crate) fn total(&self) -> u32 {
        self.histories.lock().values().map(|history| history.acknowledged).sum()
    }
}

/// The process of writers, if this was started as one.
#[test]
fn write_until_it_fails() {
    let [Some(mount), Some(barrier), Some(log)] = VARIABLES.map(std::env::var_os) else { return };
    let (mount, barrier) = (Path::new(&mount), barrier == "yes");
    let writers = Writers { histories: Mutex::new(read_log(log.as_ref())) };
    let log = File::options().append(true).open(log).unwrap();
    let note = |key: &str, History { tried, acknowledged }| {
        (&log).write_all(format!("{key} {tried} {acknowledged}\n").as_bytes()).unwrap();
        true
    };
    writers.run(&|key, version| set(mount, key, version, barrier), &note, || {});
}

/// A line for each change of a key's history; the last one counts.
fn read_log(path: &Path) -> HashMap<String, History> {
    let text = fs::read_to_string(path).unwrap();
    let parse = |line: &str| {
        let mut words = line.split(' ');
        let key = words.next()?.to_owned();
        Some((key, History { tried: words.next()?.parse().ok()?, acknowledged: words.next()?.parse().ok()? }))
    };
    text.lines().map(|line| parse(line).unwrap()).collect()
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
fn set(mount: &Path, key: &str, version: u32, barrier: bool) -> io::Result<()> {
    let path = mount.join(key);
    let directory = path.parent().unwrap_or(mount);
    fs::create_dir_all(directory)?;
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
                fs::rename(temporary, &path)?;
            }
        }
    }
    // A change of names is not waited for.
    if barrier { File::open(directory)?.sync_all() } else { Ok(()) }
}

/// A key's value on a mount.
pub(crate) fn get(mount: &Path, key: &str) -> Option<Vec<u8>> {
    match fs::read(mount.join(key)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        found => Some(found.unwrap_or_else(|error| panic!("{key}: {error}"))),
    }
}
