//! How entries are shown: as text for people, as JSON for programs.

use std::borrow::Cow;
use std::time::SystemTime;

use serde_json::{Value, json};

use super::control::Entry;
use crate::store::Time;

/// One entry as `ls -l` has it: mode, links, owner, group, size, time, name. The name is told apart: it may be any bytes.
pub(super) fn long(entry: &Entry) -> String {
    let Entry { links, uid, gid, size, .. } = entry;
    format!("{} {links:>3} {uid:>5} {gid:>5} {size:>12} {}", permissions(entry), time(entry.mtime))
}

/// One entry as a JSON object. Bytes that are not UTF-8 appear as replacement characters in `key`, and whole as an
/// array of numbers in `key_bytes`.
pub(super) fn object(entry: &Entry) -> Value {
    let mut object = json!({
        "key": String::from_utf8_lossy(&entry.key),
        "kind": entry.kind,
        "inode": entry.inode,
        "mode": format!("{:04o}", entry.mode),
        "links": entry.links,
        "uid": entry.uid,
        "gid": entry.gid,
        "size": entry.size,
        "allocated": entry.allocated,
        "mtime_ns": entry.mtime,
        "ctime_ns": entry.ctime,
    });
    if let Some(fields) = object.as_object_mut() {
        if std::str::from_utf8(&entry.key).is_err() {
            fields.insert("key_bytes".into(), json!(entry.key));
        }
        if let Some(expires) = entry.expires {
            fields.insert("expires_ns".into(), json!(expires));
        }
        if let Some(target) = &entry.target {
            fields.insert("target".into(), json!(String::from_utf8_lossy(target)));
        }
    }
    object
}

/// A point in time, in UTC, to the second; the bare number of seconds before 1970.
pub(super) fn time(nanoseconds: i64) -> String {
    if nanoseconds < 0 {
        return Time(nanoseconds).seconds().to_string();
    }
    humantime::format_rfc3339_seconds(SystemTime::from(Time(nanoseconds))).to_string()
}

/// Mode bits in `ls`'s ten letters.
pub(super) fn permissions(entry: &Entry) -> String {
    let kind = match entry.kind.as_str() {
        "directory" => 'd',
        "symlink" => 'l',
        "fifo" => 'p',
        "socket" => 's',
        "character device" => 'c',
        "block device" => 'b',
        _ => '-',
    };
    let mode = entry.mode;
    let mut letters = String::from(kind);
    for (shift, special, set, unset) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')] {
        let bits = mode >> shift;
        letters.push(if bits & 4 != 0 { 'r' } else { '-' });
        letters.push(if bits & 2 != 0 { 'w' } else { '-' });
        letters.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => set,
            (true, false) => unset,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    letters
}

/// A key as text.
pub(super) fn text(key: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(key)
}

/// Bytes as people count them: powers of 1,024.
pub(super) fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}
