//! The kernel's table of mounts, `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`).
//!
//! Its fields are separated by spaces; a space, tab, newline or backslash in a field is written as a backslash and three
//! octal digits. A line that cannot be read is left out: an unknown line must not keep a store from being mounted.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::Error;

/// Where the table is.
const TABLE: &str = "/proc/self/mountinfo";

/// One mount that this process sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MountEntry {
    /// The mount's id; used again after it is gone.
    pub id: u64,
    /// The mount beneath this one.
    pub parent: u64,
    /// Major and minor number of its files' device: `st_dev`.
    pub device: (u32, u32),
    /// Where it is.
    pub mountpoint: PathBuf,
    /// The filesystem's type with its subtype: `fuse.caskfs`.
    pub fstype: String,
    /// What is mounted.
    pub source: OsString,
    /// The options of the mount, and then those of the filesystem.
    pub options: Vec<String>,
}

/// The mounts as they stand.
pub(super) fn read() -> Result<Vec<MountEntry>, Error> {
    Ok(parse(&std::fs::read(TABLE).map_err(Error::io("read", TABLE))?))
}

/// The mounts in a table's text.
pub(super) fn parse(text: &[u8]) -> Vec<MountEntry> {
    text.split(|&byte| byte == b'\n').filter_map(parse_line).collect()
}

/// The mount that a path lookup of `path` ends in: the topmost of those stacked there.
pub(super) fn topmost<'a>(table: &'a [MountEntry], path: &Path) -> Option<&'a MountEntry> {
    let here = || table.iter().filter(|entry| entry.mountpoint == path);
    here().find(|entry| !here().any(|above| above.parent == entry.id && above.id != entry.id))
}

fn parse_line(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|&byte| byte == b' ');
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let (major, minor) = std::str::from_utf8(fields.next()?).ok()?.split_once(':')?;
    let device = (major.parse().ok()?, minor.parse().ok()?);
    let mountpoint = PathBuf::from(unescape(fields.nth(1)?));
    let mut options = split(fields.next()?);
    // Any number of optional fields stands before the separator.
    fields.by_ref().find(|&field| field == b"-")?;
    let fstype = unescape(fields.next()?).into_string().ok()?;
    let source = unescape(fields.next()?);
    options.extend(split(fields.next().unwrap_or_default()));
    Some(MountEntry { id, parent, device, mountpoint, fstype, source, options })
}

fn split(options: &[u8]) -> Vec<String> {
    options.split(|&byte| byte == b',').map(|option| String::from_utf8_lossy(option).into_owned()).collect()
}

fn number(field: &[u8]) -> Option<u64> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn unescape(field: &[u8]) -> OsString {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = if byte == b'\\' { octal(after) } else { None };
        plain.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { after.get(3..).unwrap_or_default() } else { after };
    }
    OsString::from_vec(plain)
}

/// The byte that the first three octal digits stand for.
fn octal(digits: &[u8]) -> Option<u8> {
    let digits = digits.get(..3)?;
    digits.iter().all(|digit| (b'0'..=b'7').contains(digit)).then_some(())?;
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok()
}
