//! `.caskfs`: a directory of texts, each made when it is looked at. Who has one open goes on reading the text of that
//! moment.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::place::{Node, TEXTS, Text};
use super::{metrics, report};
use crate::fs::{DirectoryEntry, Filesystem, HandleId, SyncMode};
use crate::log::FORMAT_VERSION;
use crate::store::{Attributes, Error, Kind, ROOT, Stat, Time};

/// Its name in the root.
pub(super) const NAME: &[u8] = b".caskfs";

/// The promises, in short.
const CONTRACT: &str = include_str!("contract.txt");

/// The directory and who has which text open.
#[derive(Debug)]
pub(super) struct OwnFiles {
    filesystem: Arc<Filesystem>,
    /// When the mount began: the time that all of it has, but for what changes.
    began: Time,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    texts: HashMap<HandleId, Arc<[u8]>>,
    last: HandleId,
}

impl OwnFiles {
    pub(super) fn new(filesystem: Arc<Filesystem>) -> OwnFiles {
        let began = filesystem.store().now();
        OwnFiles { filesystem, began, open: Mutex::default() }
    }

    /// What a file says now.
    fn text(&self, text: Text) -> Result<String, Error> {
        let store = self.filesystem.store();
        Ok(match text {
            Text::Stats => metrics::text(&self.filesystem)?,
            Text::Recovery => report::text(store.recovery_report()),
            Text::Contract => {
                let waits = match self.filesystem.options.sync {
                    SyncMode::Close => "close: close and fsync wait for the disk",
                    SyncMode::Always => {
                        "always: close, fsync and every change of names and attributes wait for the disk"
                    }
                    SyncMode::Interval => {
                        "interval: fsync waits for the disk; a power cut may take the last second of all else"
                    }
                };
                format!("{CONTRACT}\nThis mount's mode is {waits}.\n")
            }
            Text::Version => format!("caskfs {}\nformat {FORMAT_VERSION}\n", env!("CARGO_PKG_VERSION")),
        })
    }

    /// The file of this name.
    pub(super) fn find(name: &[u8]) -> Option<Node> {
        TEXTS.iter().find(|(each, _)| each.as_bytes() == name).map(|(_, text)| Node::File(*text))
    }

    /// Its owner is the root's. What may name keys is for the owner alone.
    pub(super) fn stat(&self, node: Node) -> Result<Stat, Error> {
        let root = self.filesystem.getattr(ROOT)?.attributes;
        let (kind, mode, size, links) = match node {
            Node::Directory => (Kind::Directory, 0o555, 4096, 2),
            // Its owner may make and remove snapshots. How many directories are in it takes a look at the disk: 1 says
            // that nobody knows.
            Node::Snapshots => (Kind::Directory, 0o755, 4096, 1),
            Node::File(Text::Recovery) => (Kind::File, 0o400, self.text(Text::Recovery)?.len(), 1),
            Node::File(text) => (Kind::File, 0o444, self.text(text)?.len(), 1),
        };
        let time = if node == Node::File(Text::Stats) { self.filesystem.store().now() } else { self.began };
        let (uid, gid) = (root.uid, root.gid);
        let mode = mode & !self.filesystem.options.umask;
        let attributes = Attributes { kind, mode, uid, gid, rdev: 0, atime: time, mtime: time, ctime: time };
        let allocated = if kind == Kind::Directory { 0 } else { size as u64 };
        Ok(Stat { id: node.id(), attributes, size: size as u64, allocated, links, expires: None })
    }

    /// Lists `.caskfs`, as [`Filesystem::readdir`].
    pub(super) fn list(&self, cookie: u64, entry: &mut dyn FnMut(&DirectoryEntry, &Stat) -> bool) -> Result<(), Error> {
        let mut all = vec![(".", self.stat(Node::Directory)?), ("..", self.filesystem.getattr(ROOT)?)];
        for (name, text) in TEXTS {
            all.push((name, self.stat(Node::File(text))?));
        }
        for (own, (name, stat)) in (1..).zip(all).filter(|(own, _)| *own > cookie) {
            let kind = stat.attributes.kind;
            if !entry(&DirectoryEntry { cookie: own, id: stat.id, kind, name: name.into() }, &stat) {
                break;
            }
        }
        Ok(())
    }

    /// Opens a file: its text is made now.
    pub(super) fn open(&self, node: Node) -> Result<HandleId, Error> {
        let Node::File(text) = node else { return Err(Error::IsADirectory) };
        let text = self.text(text)?;
        let mut open = self.open.lock();
        open.last += 1;
        let handle = open.last;
        open.texts.insert(handle, text.into_bytes().into());
        Ok(handle)
    }

    /// The text of an open file.
    pub(super) fn opened(&self, handle: HandleId) -> Result<Arc<[u8]>, Error> {
        self.open.lock().texts.get(&handle).cloned().ok_or(Error::Stale)
    }

    pub(super) fn close(&self, handle: HandleId) {
        self.open.lock().texts.remove(&handle);
    }
}
