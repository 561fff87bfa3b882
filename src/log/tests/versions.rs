//! What a newer program wrote is refused, and left alone.

use super::*;
use crate::log::FORMAT_VERSION;

fn filled_disk() -> SimDisk {
    let disk = SimDisk::new();
    let log = open(&disk, 600).0;
    fill(&log, 20);
    disk
}

fn refused(disk: &SimDisk) -> Error {
    let contents = |disk: &SimDisk| -> Vec<_> { disk.paths().into_iter().map(|path| disk.file(&path)).collect() };
    let before = contents(disk);
    let error = open_with(disk, options(600)).unwrap_err();
    assert_eq!(contents(disk), before);
    error
}

/// A file whose version, four bytes at `place`, is one too high, and whose checksum, four bytes at `crc`, is right.
fn future(disk: &SimDisk, path: &str, place: usize, crc: usize) -> SimDisk {
    let mut bytes = disk.file(path).unwrap();
    bytes[place..place + 4].copy_from_slice(&(FORMAT_VERSION + 1).to_le_bytes());
    let sum = crc32fast::hash(&bytes[..crc]);
    bytes[crc..crc + 4].copy_from_slice(&sum.to_le_bytes());
    with_file(disk, path, &bytes)
}

#[test]
fn a_format_of_the_future_is_refused() {
    let disk = filled_disk();
    let text = String::from_utf8(disk.file("format").unwrap()).unwrap();
    let version = format!("version {FORMAT_VERSION}");
    assert!(text.starts_with("caskfs store\n") && text.contains(&version), "{text}");
    // Whatever else is in it by then.
    for future in [text.replace(&version, "version 99"), "caskfs store\nversion 99\n".into()] {
        let error = refused(&with_file(&disk, "format", future.as_bytes()));
        assert!(matches!(error, Error::FutureVersion { found: 99, known: FORMAT_VERSION }), "{error}");
        assert!(error.to_string().contains("use a newer caskfs"), "{error}");
    }
}

#[test]
fn a_manifest_of_the_future_is_refused() {
    let error = refused(&future(&filled_disk(), "manifest", 8, 36));
    assert!(matches!(error, Error::FutureVersion { .. }), "{error}");
}

#[test]
fn a_segment_of_the_future_is_refused() {
    let error = refused(&future(&filled_disk(), FIRST, 8, 60));
    assert!(matches!(error, Error::FutureVersion { .. }), "{error}");
}
