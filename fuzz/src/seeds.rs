//! Writes a corpus to begin with below the directory `corpus`: files and records of a real store.

// Compiled with the fuzzer's counters, it is to be linked with the fuzzer.
extern crate libfuzzer_sys as _;

use std::fs;
use std::path::Path;

use caskfs::medium::SimDisk;
use caskfs_fuzz::sample;

fn main() {
    let disk = sample();
    let file = |path: &str| disk.file(path).expect("a file of the store");
    write("format", 0, &file("format"));
    write("manifest", 0, &file("manifest"));
    for (number, path) in segments(&disk).iter().enumerate() {
        // The header belongs to the one segment that it was made for.
        write("segment", number, file(path).get(64..).unwrap_or_default());
    }
    let hints = disk.paths().into_iter().filter(|path| path.ends_with(".hint"));
    hints.enumerate().for_each(|(number, path)| write("hint", number, &file(&path)));
    let fronts = caskfs::log::fuzzing::fronts(&disk);
    let odd = caskfs::store::fuzzing::odd_names();
    fronts.iter().chain(&odd).enumerate().for_each(|(number, front)| write("node", number, front));
    for (number, line) in caskfs::cli::fuzzing::samples().iter().enumerate() {
        write("control", number, line.as_bytes());
    }
    write("acl", 0, &caskfs::fs::fuzzing::sample_acl());
    // Changes of the store: file, offset, length and bytes of each.
    write("store", 0, b"");
    write("store", 1, &[2, 100, 0, 0, 4, 255, 255, 255, 255]);
    write("store", 2, &[1, 45, 0, 1, 2, 0, 9, 3, 200, 1, 1, 3, 7, 7, 7]);
}

fn segments(disk: &SimDisk) -> Vec<String> {
    disk.paths().into_iter().filter(|path| path.ends_with(".log")).collect()
}

fn write(target: &str, number: usize, bytes: &[u8]) {
    let directory = Path::new("corpus").join(target);
    fs::create_dir_all(&directory).expect("a directory for the corpus");
    fs::write(directory.join(format!("seed-{number}")), bytes).expect("room for the corpus");
}
