//! What a transaction makes of one entry: a copy of its state, to be changed, and the names that it gets or loses.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::Update;
use super::record::{Burden, Link, MAX_OWN_NAMES, NodeState};
use super::sealed::is_plain;

/// What a transaction makes of one entry.
#[derive(Debug)]
pub(super) struct Change<'b> {
    pub(super) state: NodeState,
    /// Made by this transaction.
    pub(super) fresh: bool,
    /// In no record before this transaction.
    pub(super) provisional: bool,
    /// It loses its last name.
    pub(super) removed: bool,
    pub(super) update: Option<Update<'b>>,
    /// What its record had to hold before.
    pub(super) before: Burden,
    /// Names in records of their own that it gets (true) or loses.
    pub(super) names: BTreeMap<Link, bool>,
}

impl Change<'_> {
    /// Whether one record says all of it, and holds it as it was given.
    pub(super) fn can_be_sealed(&self) -> bool {
        let is_borrowed = |update: &Update<'_>| !update.bytes.iter().any(|(_, bytes)| matches!(bytes, Cow::Owned(_)));
        let is_whole = |update: &Update<'_>| update.is_inline() && is_borrowed(update);
        let is_done = self.removed || (is_plain(&self.state) && self.names.is_empty() && !self.state.links.is_empty());
        is_done && !self.provisional && self.update.as_ref().is_none_or(is_whole)
    }

    pub(super) fn new(state: NodeState, fresh: bool, provisional: bool) -> Self {
        let before = if fresh || provisional { Burden::default() } else { state.burden() };
        Change { state, fresh, provisional, removed: false, update: None, before, names: BTreeMap::new() }
    }

    /// Gives the entry a name.
    pub(super) fn give(&mut self, link: Link) {
        if self.names.get(&link) == Some(&false) {
            // Its record is still there.
            self.names.remove(&link);
            self.state.further += 1;
        } else if self.state.links.len() < MAX_OWN_NAMES {
            self.state.links.push(link);
        } else {
            self.names.insert(link, true);
            self.state.further += 1;
        }
    }

    /// Takes a name from the entry, which has it.
    pub(super) fn take(&mut self, link: Link) {
        let own = self.state.links.len();
        self.state.links.retain(|known| *known != link);
        if self.state.links.len() < own {
            return;
        }
        self.state.further = self.state.further.saturating_sub(1);
        if self.names.get(&link) == Some(&true) {
            self.names.remove(&link);
        } else {
            self.names.insert(link, false);
        }
    }

    /// Gives names records of their own that are too many for the node record, as older programs have left them.
    pub(super) fn shed_names(&mut self) {
        let shed = self.state.links.drain(MAX_OWN_NAMES.min(self.state.links.len())..);
        for link in shed {
            self.names.insert(link, true);
            self.state.further += 1;
        }
    }
}
