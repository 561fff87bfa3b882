//! The snapshots that a disk must hold, and those that it may hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use caskfs::Store;

use crate::tree::Tree;

/// What is known of a snapshot.
#[derive(Clone, Debug)]
struct Expected {
    /// The store as it was.
    tree: Arc<Tree>,
    /// It was acknowledged, and nobody has begun to remove it.
    certain: bool,
    /// It was not there when it was looked for, but its removal may not be durable.
    gone: bool,
}

/// The snapshots of a store, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshots(BTreeMap<String, Expected>);

impl Snapshots {
    /// Those that were found on a disk: durable once a writer has opened it, if they were not before.
    pub(crate) fn found(found: BTreeMap<String, Tree>, known: &Snapshots) -> Snapshots {
        let certain = |name: &str| known.0.get(name).is_some_and(|known| known.certain);
        let expect = |(name, tree): (String, Tree)| {
            let certain = certain(&name);
            (name, Expected { tree: Arc::new(tree), certain, gone: false })
        };
        let mut all: BTreeMap<String, Expected> = found.into_iter().map(expect).collect();
        for (name, expected) in &known.0 {
            all.entry(name.clone()).or_insert_with(|| Expected { certain: false, gone: true, ..expected.clone() });
        }
        Snapshots(all)
    }

    /// A snapshot is taken of this state; false if there may be one of the name.
    pub(crate) fn create(&mut self, name: &str, tree: Arc<Tree>) -> bool {
        let free = !self.0.contains_key(name);
        if free {
            self.0.insert(name.into(), Expected { tree, certain: true, gone: false });
        }
        free
    }

    /// A snapshot is removed; false if there is none for certain.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let there = self.0.get(name).is_some_and(|expected| expected.certain);
        if there {
            self.0.remove(name);
        }
        there
    }

    /// All that there are will stay, and the others will not come back.
    pub(crate) fn settle(&mut self) {
        self.0.retain(|_, expected| !expected.gone);
        self.0.values_mut().for_each(|expected| expected.certain = true);
    }

    /// What there may be while a call leads from these to those: what the call makes or removes is whole or absent.
    pub(crate) fn during(&self, after: &Snapshots) -> Snapshots {
        let mut all = after.clone();
        for (name, expected) in &mut all.0 {
            expected.certain &= self.0.contains_key(name);
        }
        for (name, expected) in &self.0 {
            let removed = Expected { certain: false, ..expected.clone() };
            all.0.entry(name.clone()).or_insert(removed);
        }
        all
    }

    /// Compares with what a disk holds.
    pub(crate) fn check(&self, found: &BTreeMap<String, Tree>) -> Result<(), String> {
        for (name, tree) in found {
            match self.0.get(name) {
                Some(expected) if *expected.tree == *tree => {}
                Some(expected) => {
                    let differences = tree.differences(&expected.tree);
                    return Err(format!("the snapshot {name} is not what it was:\n{differences}"));
                }
                None => return Err(format!("there is a snapshot {name} that nobody took, or that was removed")),
            }
        }
        match self.0.iter().find(|(name, expected)| expected.certain && !found.contains_key(*name)) {
            Some((name, _)) => Err(format!("the snapshot {name} is lost")),
            None => Ok(()),
        }
    }
}

/// All snapshots of a store, each opened as a store of its own.
pub(crate) fn read(store: &Store) -> Result<BTreeMap<String, Tree>, String> {
    let mut found = BTreeMap::new();
    for snapshot in store.snapshots().map_err(|error| error.to_string())? {
        let name = snapshot.name;
        let failed = |error: caskfs::Error| format!("the snapshot {name}: {error}");
        let opened = store.open_snapshot(&name).map_err(failed)?;
        let report = opened.recovery_report();
        if !report.torn.is_empty() || !report.damage.is_empty() {
            return Err(format!("the snapshot {name} is torn or damaged: {report:?}"));
        }
        let tree = Tree::read(&opened).map_err(failed)?;
        found.insert(name, tree);
    }
    Ok(found)
}
