//! Which extended attributes there are at all.
//!
//! Programs ask every file for attributes that hardly any store has (`ls -l` for a list and a label), and stop after one
//! answer that says so.

use std::collections::BTreeSet;

use crate::store::record::NodeState;

/// With more names than this each is taken for known.
const MOST: usize = 64;

/// The names that some entry has, or had.
#[derive(Debug, Default)]
pub(super) struct KnownXattrs(BTreeSet<Box<[u8]>>);

impl KnownXattrs {
    pub(super) fn note(&mut self, state: &NodeState) {
        for (name, _) in &state.xattrs {
            if self.0.len() < MOST && !self.0.contains(name) {
                self.0.insert(name.clone());
            }
        }
    }

    pub(super) fn contains(&self, name: &[u8]) -> bool {
        self.0.len() >= MOST || self.0.contains(name)
    }
}
