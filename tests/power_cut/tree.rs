//! What a store shows: every key, with all that the contract promises to keep of it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use caskfs::Store;
use caskfs::store::{EntryId, Error, Kind, ROOT, Stat};

/// A key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    pub(crate) mode: u16,
    /// Last access, last change of the value, last change of anything.
    pub(crate) times: [i64; 3],
    /// Number of names; of a directory, 2 and one for each directory in it.
    pub(crate) links: u32,
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// A symbolic link's.
    pub(crate) target: Vec<u8>,
    pub(crate) value: Arc<Vec<u8>>,
    /// The first path of the same entry: what tells hard links from copies.
    pub(crate) first: String,
    /// The names in a directory that readdir shows, sorted.
    pub(crate) children: Vec<String>,
}

/// Every key by its path; the root's is empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    pub(crate) entries: BTreeMap<String, Entry>,
    /// The store's ids, where the tree was read from one. They are no part of what is compared.
    pub(crate) ids: BTreeMap<String, EntryId>,
}

impl PartialEq for Tree {
    fn eq(&self, other: &Tree) -> bool {
        self.entries == other.entries
    }
}

impl Tree {
    /// Everything that a store has.
    pub(crate) fn read(store: &Store) -> Result<Tree, Error> {
        let mut tree = Tree::default();
        let mut first: BTreeMap<EntryId, String> = BTreeMap::new();
        let scanned = store.scan("").map(|listed| listed.map(|key| (text(&key.key), key.stat)));
        let mut listed = scanned.collect::<Result<Vec<(String, Stat)>, Error>>()?;
        // The scan has removed what is due, the directories have its time.
        listed.push((String::new(), store.entry(ROOT)?));
        listed.sort_by(|(path, _), (other, _)| path.cmp(other));
        for (path, stat) in listed {
            let first = first.entry(stat.id).or_insert_with(|| path.clone()).clone();
            tree.ids.insert(path.clone(), stat.id);
            let entry = read_entry(store, &path, &stat, first)?;
            tree.entries.insert(path, entry);
        }
        Ok(tree)
    }

    /// Where two trees differ, in a few lines; `self` is what was found.
    pub(crate) fn differences(&self, expected: &Tree) -> String {
        let mut out = String::new();
        let mut paths: Vec<&String> = self.entries.keys().chain(expected.entries.keys()).collect();
        paths.sort();
        paths.dedup();
        for path in paths {
            let (found, expected) = (self.entries.get(path), expected.entries.get(path));
            if found != expected {
                let _ = writeln!(out, "    /{path}: found {}, expected {}", describe(found), describe(expected));
            }
        }
        out
    }
}

fn read_entry(store: &Store, path: &str, stat: &Stat, first: String) -> Result<Entry, Error> {
    let attributes = stat.attributes;
    let mut xattrs = BTreeMap::new();
    for name in store.xattr_names(stat.id)? {
        let value = store.xattr(stat.id, &name)?;
        xattrs.insert(name, value);
    }
    let mut value = Vec::new();
    if attributes.kind == Kind::File {
        value = store.get(path)?.ok_or(Error::NotFound)?;
    }
    let target = if attributes.kind == Kind::Symlink { store.target(stat.id)? } else { Vec::new() };
    let children = match attributes.kind {
        Kind::Directory => store.list(path)?,
        _ => Vec::new(),
    };
    let name = |key: &[u8]| text(key.rsplit(|&byte| byte == b'/').next().unwrap_or_default());
    let names: Vec<String> = children.iter().map(|child| name(&child.key)).collect();
    Ok(Entry {
        kind: attributes.kind,
        mode: attributes.mode,
        times: [attributes.atime.0, attributes.mtime.0, attributes.ctime.0],
        links: stat.links,
        xattrs,
        target,
        value: Arc::new(value),
        first,
        children: names,
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn describe(entry: Option<&Entry>) -> String {
    let Some(entry) = entry else { return "nothing".into() };
    let Entry { kind, mode, times, links, xattrs, target, value, first, children } = entry;
    let mut out = format!("{kind:?} {mode:04o} times {times:?} links {links}");
    if *kind == Kind::File {
        let _ = write!(out, " [{}]", runs(value));
    }
    for (name, value) in xattrs {
        let _ = write!(out, " {}={}", text(name), text(value));
    }
    if !target.is_empty() || !children.is_empty() {
        let _ = write!(out, " -> {:?} {children:?}", text(target));
    }
    let _ = write!(out, " first /{first}");
    out
}

/// The bytes that one write puts at `offset`: each word holds the write's stamp and its own place, so that a mix of
/// two values, or a piece in the wrong place, is recognised. A stamp is not 0.
pub(crate) fn stamped(stamp: u16, offset: u64, len: usize) -> Vec<u8> {
    let byte = |place: u64| {
        let word = place / 4;
        let [stamp_low, stamp_high] = stamp.to_le_bytes();
        [stamp_low, stamp_high, word as u8, (word >> 8) as u8][(place % 4) as usize]
    };
    (offset..offset + len as u64).map(byte).collect()
}

/// A value's runs of stamps.
fn runs(value: &[u8]) -> String {
    let stamp = |word: &[u8]| word.iter().take(2).rev().fold(0u16, |stamp, &byte| stamp << 8 | u16::from(byte));
    let mut runs: Vec<(u16, usize)> = Vec::new();
    for word in value.chunks(4) {
        match runs.last_mut() {
            Some((last, len)) if *last == stamp(word) => *len += word.len(),
            _ => runs.push((stamp(word), word.len())),
        }
    }
    let runs: Vec<String> = runs.iter().take(12).map(|(stamp, len)| format!("{len} of #{stamp}")).collect();
    format!("{} bytes: {}", value.len(), runs.join(", "))
}
