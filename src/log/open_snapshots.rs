//! Snapshots that somebody has open, so that one can be removed and still be read: not all of its segments are open at any
//! moment.
//!
//! It is renamed when it is removed, and with it the place that its readers go by; its files go when nobody reads it any
//! more, or at the next start.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};

use super::Log;
use super::files::{SNAPSHOTS, TEMPORARY};
use super::snapshot::{path, remove_tree};
use crate::medium::{Place, Subdirectory};

/// The place of a snapshot, for as long as somebody has it open.
type Watched = Weak<RwLock<String>>;

/// A snapshot that has lost its name.
pub(super) struct Removed {
    directory: String,
    readers: Watched,
}

/// The snapshots of a log that somebody has open.
#[derive(Debug, Default)]
pub(super) struct OpenSnapshots {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By name.
    open: BTreeMap<String, Watched>,
    /// By the directory that they are in until nobody reads them.
    removed: BTreeMap<String, Watched>,
    /// How many were removed while they were open.
    count: u64,
}

impl Log {
    /// The directory of a snapshot that is there, for a reader.
    pub(super) fn watch_snapshot(&self, name: &str) -> Subdirectory {
        let mut state = self.snapshots.open.state.lock();
        state.open.retain(|_, place| place.strong_count() > 0);
        let known = state.open.get(name).and_then(Weak::upgrade);
        let place: Place = known.unwrap_or_else(|| Arc::new(RwLock::new(path(name))));
        state.open.insert(name.to_owned(), Arc::downgrade(&place));
        Subdirectory::at(Arc::clone(&self.medium), place)
    }

    /// Takes the name of a snapshot away. Returns where its files are now, and who may be reading them.
    pub(super) fn rename_removed(&self, name: &str) -> io::Result<Removed> {
        let mut state = self.snapshots.open.state.lock();
        let Some(place) = state.open.remove(name).and_then(|place| place.upgrade()) else {
            let temporary = path(name) + TEMPORARY;
            self.medium.rename(&path(name), &temporary)?;
            return Ok(Removed { directory: temporary, readers: Watched::new() });
        };
        // No snapshot is called so, and of no other the files are there.
        let directory = format!("{SNAPSHOTS}/removed.{}{TEMPORARY}", state.count);
        state.count += 1;
        {
            let mut place = place.write();
            self.medium.rename(&place, &directory)?;
            place.clone_from(&directory);
        }
        Ok(Removed { directory, readers: Arc::downgrade(&place) })
    }

    /// Removes the files of a snapshot, now or when nobody reads them any more. It is durable that it is none.
    pub(super) fn remove_files(&self, removed: Removed) {
        self.snapshots.open.state.lock().removed.insert(removed.directory, removed.readers);
        self.clear_removed_snapshots();
    }

    /// Removes the files of snapshots that were removed while they were read, as soon as nobody reads them any more.
    pub fn clear_removed_snapshots(&self) {
        let gone: Vec<String> = {
            let mut state = self.snapshots.open.state.lock();
            let gone = state.removed.iter().filter(|(_, place)| place.strong_count() == 0);
            let gone = gone.map(|(directory, _)| directory.clone()).collect();
            state.removed.retain(|_, place| place.strong_count() > 0);
            gone
        };
        for directory in gone {
            if let Err(error) = remove_tree(&*self.medium, &directory) {
                log::warn!("a snapshot is removed, but some of its files stay until the next start: {error}");
            }
        }
    }
}
