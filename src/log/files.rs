//! Names of the files in a store, the one way to replace a small one, and copying one.

use std::io;
use std::sync::Arc;

use super::retry::retried;
use crate::medium::{File, Medium};

/// Bytes copied at once.
const CHUNK: usize = 1 << 20;

/// The highest number of a segment. A higher one is damage.
pub(super) const MAX_SEGMENT: u32 = (1 << 31) - 1;

/// The directory of the segments.
pub(super) const SEGMENTS: &str = "segments";
/// What the store is, and its version.
pub(super) const FORMAT: &str = "format";
/// Which segments there are.
pub(super) const MANIFEST: &str = "manifest";
/// Room that is given up when the disk is full.
pub(super) const RESERVE: &str = "reserve";
/// What was noted of the time.
pub(super) const CLOCK: &str = "clock";
/// The kernel lock is on this file.
pub(super) const LOCK: &str = "lock";

/// Which segment of a backup was read again last.
pub(super) const CHECKED: &str = "checked";

/// The directory of the snapshots: each a store in a directory of its own.
pub(super) const SNAPSHOTS: &str = "snapshots";
/// What is being made, or taken away, ends so. It does not exist.
pub(super) const TEMPORARY: &str = ".tmp";

/// The path of a segment.
pub(super) fn segment(id: u32) -> String {
    format!("{SEGMENTS}/{id:08}.log")
}

/// The path of a segment's hint.
pub(super) fn hint(id: u32) -> String {
    format!("{SEGMENTS}/{id:08}.hint")
}

/// The number of the segment whose hint has this name, also while it is written.
pub(super) fn hint_number(name: &str) -> Option<u32> {
    name.strip_suffix(".tmp").unwrap_or(name).strip_suffix(".hint")?.parse().ok()
}

/// The number of the segment in a file of this name.
pub(super) fn segment_number(name: &str) -> Option<u32> {
    let number = name.strip_suffix(".log")?.parse().ok().filter(|number| *number <= MAX_SEGMENT)?;
    segment(number).ends_with(&format!("/{name}")).then_some(number)
}

/// Writes a file crash-safely: temporary name, sync, rename, sync of the directory. Returns it open for writing.
pub(super) fn replace(medium: &dyn Medium, path: &str, bytes: &[u8]) -> io::Result<Arc<dyn File>> {
    let file = put_aside(medium, path, bytes)?;
    put_in_place(medium, path)?;
    medium.sync_dir("")?;
    Ok(file)
}

/// The first half of [`replace`]: a temporary file, which is durable but for its name.
pub(super) fn put_aside(medium: &dyn Medium, path: &str, bytes: &[u8]) -> io::Result<Arc<dyn File>> {
    let temporary = format!("{path}{TEMPORARY}");
    match medium.remove(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = medium.create(&temporary)?;
    file.write_all_at(bytes, 0)?;
    file.sync()?;
    Ok(file)
}

/// The second half: it takes its name. Durably only when the directory is synced.
pub(super) fn put_in_place(medium: &dyn Medium, path: &str) -> io::Result<()> {
    medium.rename(&format!("{path}{TEMPORARY}"), path)
}

/// The whole of a small file; no more than `limit` bytes of it.
pub(super) fn read(medium: &dyn Medium, path: &str, limit: u64) -> io::Result<Vec<u8>> {
    retried(|| {
        let file = medium.open(path, false)?;
        let mut bytes = vec![0; usize::try_from(file.len()?.min(limit)).unwrap_or(0)];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    })
}

/// Copies the first `end` bytes of a file into a new one, durable but for its name.
pub(super) fn copy(from: &dyn File, end: u64, directory: &dyn Medium, path: &str) -> io::Result<()> {
    let file = directory.create(path)?;
    let mut buffer = vec![0; usize::try_from(end).unwrap_or(CHUNK).min(CHUNK)];
    let mut offset = 0;
    while offset < end {
        let want = usize::try_from(end - offset).unwrap_or(CHUNK).min(CHUNK);
        let piece = buffer.get_mut(..want).unwrap_or_default();
        from.read_exact_at(piece, offset)?;
        file.write_all_at(piece, offset)?;
        offset += want as u64;
    }
    file.sync()
}

/// `None` for what is not there.
pub(super) fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
