//! What is known of the snapshots, so that nobody asks the medium for it again and again: there may be hundreds, with a
//! thousand files each.
//!
//! It is read when it is first wanted, and kept up by whoever makes or removes a snapshot: nobody else does while the
//! store is open. What is done to their directories by hand is seen at the next start.

use std::collections::BTreeMap;
use std::io;

use super::files::{self, SNAPSHOTS};
use super::snapshot::Snapshot;
use crate::medium::{Medium, Status};

/// The snapshots by name, and the files that they share with the store or with one another.
#[derive(Debug, Default)]
pub(super) struct SnapshotIndex {
    snapshots: BTreeMap<String, Entry>,
    /// Segments by number.
    linked: BTreeMap<u32, Linked>,
}

#[derive(Debug)]
struct Entry {
    snapshot: Snapshot,
    files: Files,
}

/// Where a snapshot's bytes are.
#[derive(Debug)]
enum Files {
    /// In links of these segments, in order of number.
    Links(Vec<u32>),
    /// In copies, of so many bytes.
    Copies(u64),
}

/// A segment of which snapshots have links.
#[derive(Debug, Default)]
struct Linked {
    snapshots: usize,
    segment: u64,
    hint: u64,
}

impl SnapshotIndex {
    /// Takes in a snapshot that is there. `segments` are its own, in order of number; `live` says which are the store's too.
    pub(super) fn add(
        &mut self,
        medium: &dyn Medium,
        snapshot: Snapshot,
        segments: Vec<u32>,
        live: &dyn Fn(u32) -> bool,
    ) -> io::Result<()> {
        self.remove(&snapshot.name);
        let place = |path: &str| format!("{SNAPSHOTS}/{}/{path}", snapshot.name);
        let status = |path: &str| match files::found(medium.status(&place(path)))? {
            Some(Status::File { len, links }) => Ok::<_, io::Error>((len, links)),
            _ => Ok((0, 0)),
        };
        // All of them are links, or the file system has none: one that others have too tells.
        let copies = match segments.iter().find(|segment| live(**segment) || self.linked.contains_key(segment)) {
            Some(shared) => status(&files::segment(*shared))?.1 <= 1,
            None => false,
        };
        let files = if copies {
            let lengths = segments
                .iter()
                .map(|segment| Ok(status(&files::segment(*segment))?.0 + status(&files::hint(*segment))?.0));
            Files::Copies(lengths.sum::<io::Result<u64>>()?)
        } else {
            for segment in &segments {
                let linked = self.linked.entry(*segment).or_default();
                linked.snapshots += 1;
                if linked.segment == 0 {
                    linked.segment = status(&files::segment(*segment))?.0;
                }
                // It may have got one since the last snapshot.
                if linked.hint == 0 {
                    linked.hint = status(&files::hint(*segment))?.0;
                }
            }
            Files::Links(segments)
        };
        self.snapshots.insert(snapshot.name.clone(), Entry { snapshot, files });
        Ok(())
    }

    /// Forgets a snapshot, if there is one of this name.
    pub(super) fn remove(&mut self, name: &str) {
        let Some(Entry { files: Files::Links(segments), .. }) = self.snapshots.remove(name) else { return };
        for segment in segments {
            let Some(linked) = self.linked.get_mut(&segment) else { continue };
            linked.snapshots = linked.snapshots.saturating_sub(1);
            if linked.snapshots == 0 {
                self.linked.remove(&segment);
            }
        }
    }

    /// All of them, in order of name.
    pub(super) fn all(&self) -> impl Iterator<Item = &Snapshot> {
        self.snapshots.values().map(|entry| &entry.snapshot)
    }

    /// The one of this name.
    pub(super) fn get(&self, name: &str) -> Option<&Snapshot> {
        self.snapshots.get(name).map(|entry| &entry.snapshot)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.snapshots.len()
    }

    /// Bytes that they alone keep, when the store has the segments that are `live`.
    pub(super) fn bytes(&self, live: &dyn Fn(u32) -> bool) -> u64 {
        let shared = self.linked.iter().filter(|(number, _)| !live(**number));
        let copied = self.snapshots.values().map(|entry| match entry.files {
            Files::Links(_) => 0,
            Files::Copies(bytes) => bytes,
        });
        shared.map(|(_, linked)| linked.segment + linked.hint).chain(copied).sum()
    }
}
