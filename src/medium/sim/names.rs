//! The names in a directory.

use std::collections::BTreeMap;

use super::journal::Replay;
use super::random::Random;

/// What a name stands for, by the number that the disk gave it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    File(u64),
    Dir(u64),
}

/// The names in a directory.
#[derive(Clone, Default)]
pub(super) struct Names(BTreeMap<String, Node>);

impl Names {
    pub(super) fn get(&self, name: &str) -> Option<Node> {
        self.0.get(name).copied()
    }

    /// Names and what they stand for, sorted by name.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Node)> {
        self.0.iter().map(|(name, node)| (name.as_str(), *node))
    }
}

/// A change to a directory. None of them tears.
#[derive(Clone)]
pub(super) enum NameChange {
    /// A name for something new; there must be none yet.
    Create { name: String, node: Node },
    /// A name for something, whatever stood there: the target of a rename out of another directory.
    Replace { name: String, node: Node },
    /// A name taken away from `node`.
    Remove { name: String, node: Node },
    /// `node` renamed within the directory, whatever stood at the target.
    Rename { from: String, to: String, node: Node },
}

impl Replay for Names {
    type Change = NameChange;

    fn apply(&mut self, change: &NameChange) {
        match change {
            NameChange::Create { name, node } => {
                self.0.entry(name.clone()).or_insert(*node);
            }
            NameChange::Replace { name, node } => {
                self.0.insert(name.clone(), *node);
            }
            NameChange::Remove { name, node } => {
                if self.get(name) == Some(*node) {
                    self.0.remove(name);
                }
            }
            NameChange::Rename { from, to, node } => {
                if self.get(from) == Some(*node) {
                    self.0.remove(from);
                    self.0.insert(to.clone(), *node);
                }
            }
        }
    }

    fn apply_torn(&mut self, change: &NameChange, _: &mut Random) {
        self.apply(change);
    }
}
