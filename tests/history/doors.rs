//! The ways to the keys.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::sync::atomic::{AtomicU64, Ordering};

use caskfs::{Error, Store};

use crate::check::KEYS;
use crate::command::{caskfs_fed, printed};
use crate::sandbox::Sandbox;

/// The directory that the keys are in.
pub(crate) const DIRECTORY: &str = "d";

/// A key's name.
pub(crate) fn name(key: usize) -> String {
    format!("k{key}")
}

fn path(key: usize) -> String {
    format!("{DIRECTORY}/{}", name(key))
}

/// A way to the keys. What it answers is what a user was told.
pub(crate) trait Door: Sync {
    /// What it is called in a report.
    fn name(&self) -> &'static str;
    fn put(&self, key: usize, value: &[u8]);
    fn get(&self, key: usize) -> Option<Vec<u8>>;
    /// Whether there was such a key.
    fn rename(&self, from: usize, to: usize) -> bool;
    /// Whether there was such a key.
    fn remove(&self, key: usize) -> bool;
    /// The lengths of the values, if this door promises that a listing is of one moment.
    fn list(&self) -> Option<[Option<u64>; KEYS]>;
}

/// The keys among the names of a listing.
fn lengths(names: impl Iterator<Item = (String, u64)>) -> [Option<u64>; KEYS] {
    let mut lengths = [None; KEYS];
    for (listed, len) in names {
        if let Some(key) = (0..KEYS).find(|key| path(*key) == listed) {
            assert_eq!(lengths[key].replace(len), None, "{listed} is listed twice");
        }
    }
    lengths
}

/// The crate.
pub(crate) struct Library<'a>(pub(crate) &'a Store);

impl Door for Library<'_> {
    fn name(&self) -> &'static str {
        "library"
    }

    fn put(&self, key: usize, value: &[u8]) {
        self.0.put(path(key), value).unwrap();
    }

    fn get(&self, key: usize) -> Option<Vec<u8>> {
        self.0.get(path(key)).unwrap_or_else(|error| panic!("get of {}: {error}", path(key)))
    }

    fn rename(&self, from: usize, to: usize) -> bool {
        match self.0.rename(path(from), path(to)) {
            Err(Error::NotFound) => false,
            other => {
                other.unwrap();
                true
            }
        }
    }

    fn remove(&self, key: usize) -> bool {
        self.0.remove(path(key)).unwrap()
    }

    fn list(&self) -> Option<[Option<u64>; KEYS]> {
        match self.0.list(DIRECTORY) {
            Err(Error::NotFound) => Some([None; KEYS]),
            listed => {
                let named = |listed: caskfs::store::Listed| (String::from_utf8(listed.key).unwrap(), listed.stat.size);
                Some(lengths(listed.unwrap().into_iter().map(named)))
            }
        }
    }
}

/// The crate, by those who read and list piece by piece, and give way between two of them.
pub(crate) struct Parts<'a>(pub(crate) &'a Store);

impl Door for Parts<'_> {
    fn name(&self) -> &'static str {
        "library, in parts"
    }

    fn put(&self, key: usize, value: &[u8]) {
        let mut input = value
            .chunks(10_000)
            .fold(Box::new(std::io::empty()) as Box<dyn Read>, |before, chunk| Box::new(before.chain(chunk)));
        self.0.put_reader(path(key), &mut input).unwrap();
    }

    fn get(&self, key: usize) -> Option<Vec<u8>> {
        let value = self.0.open_value(path(key)).unwrap()?;
        let (mut bytes, mut piece) = (Vec::new(), [0; 7_000]);
        loop {
            match value.read_at(bytes.len() as u64, &mut piece).unwrap() {
                0 => return Some(bytes),
                len => bytes.extend_from_slice(&piece[..len]),
            }
            std::thread::yield_now();
        }
    }

    fn rename(&self, from: usize, to: usize) -> bool {
        Library(self.0).rename(from, to)
    }

    fn remove(&self, key: usize) -> bool {
        Library(self.0).remove(key)
    }

    fn list(&self) -> Option<[Option<u64>; KEYS]> {
        let named = |listed: caskfs::store::Listed| {
            std::thread::yield_now();
            (String::from_utf8(listed.key).unwrap(), listed.stat.size)
        };
        Some(lengths(self.0.scan(format!("{DIRECTORY}/")).map(|listed| named(listed.unwrap()))))
    }
}

/// `caskfs`, beside the mount.
pub(crate) struct Commands<'a>(pub(crate) &'a Sandbox);

/// The exit code if there is no such key.
const NO_KEY: i32 = 1;

impl Commands<'_> {
    /// What it printed; `None` if there was no such key.
    fn run(&self, command: &str, arguments: &[&str]) -> Option<Vec<u8>> {
        let output = self.0.caskfs(command, arguments);
        (output.status.code() != Some(NO_KEY)).then(|| printed(output))
    }
}

impl Door for Commands<'_> {
    fn name(&self) -> &'static str {
        "command"
    }

    fn put(&self, key: usize, value: &[u8]) {
        printed(caskfs_fed(["put".into(), self.0.store().into_os_string(), path(key).into()], value));
    }

    fn get(&self, key: usize) -> Option<Vec<u8>> {
        self.run("get", &[&path(key)])
    }

    fn rename(&self, from: usize, to: usize) -> bool {
        self.run("mv", &[&path(from), &path(to)]).is_some()
    }

    fn remove(&self, key: usize) -> bool {
        self.run("rm", &[&path(key)]).is_some()
    }

    fn list(&self) -> Option<[Option<u64>; KEYS]> {
        let listed = String::from_utf8(self.run("ls", &["-l", DIRECTORY])?).unwrap();
        let fields = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<String>>();
        let named = |fields: Vec<String>| (fields[6].clone(), fields[4].parse().unwrap());
        Some(lengths(listed.lines().map(|line| named(fields(line)))))
    }
}

/// The mount, by programs that replace a file by another one.
pub(crate) struct Mount<'a> {
    sandbox: &'a Sandbox,
    temporary: AtomicU64,
}

impl Mount<'_> {
    pub(crate) fn new(sandbox: &Sandbox) -> Mount<'_> {
        fs::create_dir_all(sandbox.at(DIRECTORY)).unwrap();
        Mount { sandbox, temporary: AtomicU64::new(0) }
    }
}

/// Whether there was such a file.
fn found(result: std::io::Result<()>) -> bool {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        other => {
            other.unwrap();
            true
        }
    }
}

impl Door for Mount<'_> {
    fn name(&self) -> &'static str {
        "mount"
    }

    fn put(&self, key: usize, value: &[u8]) {
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = self.sandbox.at(format!("{DIRECTORY}/.new{number}"));
        fs::write(&temporary, value).unwrap();
        fs::rename(&temporary, self.sandbox.at(path(key))).unwrap();
    }

    fn get(&self, key: usize) -> Option<Vec<u8>> {
        let mut file = match File::open(self.sandbox.at(path(key))) {
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            other => other.unwrap(),
        };
        // One call: of two each may find another value.
        let mut buffer = vec![0; 1 << 16];
        let len = file.read(&mut buffer).unwrap_or_else(|error| panic!("read of {}: {error}", path(key)));
        buffer.truncate(len);
        Some(buffer)
    }

    fn rename(&self, from: usize, to: usize) -> bool {
        found(fs::rename(self.sandbox.at(path(from)), self.sandbox.at(path(to))))
    }

    fn remove(&self, key: usize) -> bool {
        found(fs::remove_file(self.sandbox.at(path(key))))
    }

    /// readdir(3) promises no moment.
    fn list(&self) -> Option<[Option<u64>; KEYS]> {
        None
    }
}
