//! Running `caskfs`, and looking at what it left on the disk.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// `caskfs` with these arguments.
pub(crate) fn caskfs<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_caskfs"));
    command.args(arguments).stdin(Stdio::null());
    command.output().unwrap()
}

/// The same, with something on its standard input.
pub(crate) fn caskfs_fed<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>, input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_caskfs"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that refuses need not read all of it.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// What a command that succeeded printed.
#[track_caller]
pub(crate) fn printed(output: Output) -> Vec<u8> {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    output.stdout
}

/// The same, as text.
#[track_caller]
pub(crate) fn text(output: Output) -> String {
    String::from_utf8(printed(output)).unwrap()
}

/// Asserts that a command failed with this code, and told why in one line that has this text in it.
#[track_caller]
pub(crate) fn assert_refused(output: &Output, code: i32, text: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 1, "one line is wanted:\n{said}");
    assert!(lines[0].starts_with("caskfs: ") && lines[0].contains(text), "{text:?} is wanted: {said}");
}

/// Everything below a directory: of each name its kind, mode, owner, size, time of change and contents.
pub(crate) fn snapshot(directory: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(path) = pending.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let contents = match metadata.file_type() {
            kind if kind.is_dir() => {
                pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                String::new()
            }
            kind if kind.is_file() => {
                let bytes = fs::read(&path).unwrap();
                format!("{} bytes with the checksum {:08x}", bytes.len(), crc32fast::hash(&bytes))
            }
            _ => String::new(),
        };
        let (mode, ids) = (metadata.mode(), (metadata.uid(), metadata.gid()));
        let time = (metadata.mtime(), metadata.mtime_nsec());
        found.insert(path, format!("{mode:o} {ids:?} {} {time:?} {contents}", metadata.len()));
    }
    found
}
