//! Snapshots: each is compared with what the reference had committed, whatever happened since.

use std::collections::BTreeMap;
use std::sync::Arc;

use caskfs::fs::Filesystem;

use super::harness::{Difference, World};
use super::reference::{Reference, Tree};

fn name(number: u8) -> String {
    format!("s{}", number % 3)
}

impl World {
    /// Takes a snapshot; one of the same name is compared and removed first.
    pub(crate) fn snapshot(&mut self, number: u8) -> Result<(), Difference> {
        let name = name(number);
        if self.snapshots.contains_key(&name) {
            self.compare_snapshot(&name)?;
            self.snapshots.remove(&name);
            let removed = self.filesystem.store().remove_snapshot(&name);
            removed.map_err(|error| format!("removing the snapshot {name}: {error}"))?;
        }
        let taken = self.filesystem.store().snapshot(&name);
        taken.map_err(|error| format!("taking the snapshot {name}: {error}"))?;
        let mut committed = self.reference.clone();
        committed.crash();
        self.snapshots.insert(name, committed.now);
        Ok(())
    }

    /// Compares every snapshot with what it should be.
    pub(crate) fn compare_snapshots(&self) -> Result<(), Difference> {
        let listed = self.filesystem.store().snapshots().map_err(|error| format!("listing snapshots: {error}"))?;
        let listed: Vec<&String> = listed.iter().map(|snapshot| &snapshot.name).collect();
        if !listed.iter().copied().eq(self.snapshots.keys()) {
            return Err(format!("the snapshots are {listed:?}"));
        }
        self.snapshots.keys().try_for_each(|name| self.compare_snapshot(name))
    }

    fn compare_snapshot(&self, name: &str) -> Result<(), Difference> {
        let opened = self.filesystem.store().open_snapshot(name);
        let store = opened.map_err(|error| format!("opening the snapshot {name}: {error}"))?;
        let tree: Tree = self.snapshots.get(name).cloned().unwrap_or_default();
        let world = World {
            setup: self.setup,
            disk: self.disk.clone(),
            clock: Arc::clone(&self.clock),
            filesystem: Filesystem::new(Arc::new(store), Default::default()),
            reference: Reference { now: tree, ..Reference::default() },
            held: BTreeMap::new(),
            slots: [None; 4],
            snapshots: BTreeMap::new(),
        };
        world.compare().map_err(|what| format!("in the snapshot {name}: {what}"))
    }
}
