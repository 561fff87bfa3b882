//! A store of many segments, and few descriptors.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use caskfs::{Options, Store};

use crate::command::text;

const SEGMENTS: usize = 20_000;

/// `caskfs` in a process that may have so many files open.
fn limited(limit: u32, arguments: &[&str]) -> Output {
    let script = format!("ulimit -n {limit} && exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_caskfs")]).args(arguments).stdin(Stdio::null());
    command.output().unwrap()
}

/// On a file system in memory: there are 20,000 files to be synced.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::tempdir_in(place).unwrap()
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn any_number_of_segments_takes_few_descriptors() {
    let directory = scratch();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (store, backup) = (path("store"), path("backup"));
    {
        let options =
            Options { create: true, segment_size: 4096, durable: false, background: false, ..Options::default() };
        let store = Store::open(&store, options).unwrap();
        let before = open_files();
        for key in 0..SEGMENTS {
            store.put(format!("{:03}/{key}", key / 100), vec![key as u8; 4000]).unwrap();
        }
        // The cache's bound, and what waits to be sealed.
        assert!(open_files() - before < 1024 + 64, "{} files are open", open_files());
        assert!(store.info().unwrap().segments as usize >= SEGMENTS);
    }
    let run = |arguments: &[&str]| text(limited(256, arguments));
    assert_eq!(run(&["ls", &store]).lines().count(), SEGMENTS / 100);
    assert_eq!(run(&["get", &store, "199/19999"]).len(), 4000);
    assert!(limited(256, &["put", &store, "new", "value"]).status.success());
    assert_eq!(run(&["get", &store, "new"]), "value");
    assert!(limited(256, &["rm", &store, "new"]).status.success());
    assert!(limited(256, &["verify", &store]).status.success());
    assert!(limited(256, &["repair", "--dry-run", &store]).status.success());
    assert!(limited(256, &["backup", &store, &backup]).status.success());
    assert_eq!(run(&["ls", &backup]).lines().count(), SEGMENTS / 100);
    assert!(limited(256, &["snapshot", "create", &store, "one"]).status.success());
}
