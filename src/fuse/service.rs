//! What every handler needs, and the thread that it runs on.
//!
//! Event loops wait for no disk: what may have to goes to one of two pools. Opening a snapshot takes as long as a start, so
//! that it has threads of its own; reads of the store do not wait behind it.

use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock};

use fuser::INodeNo;

use super::Invalidator;
use super::awake::Awake;
use super::guard::Guard;
use super::pool::Pool;
use super::reply::Refuse;
use super::supervisor::Event;
use crate::fs::Tree;

/// Requests of snapshots that are served at a time. Each may be opening one.
const SNAPSHOT_THREADS: usize = 4;

/// Requests that wait for the disk at a time. A disk is given many to be quick.
const DISK_THREADS: usize = 32;

/// What is served, and what keeps a fault from spreading.
pub(super) struct Service {
    pub(super) tree: Tree,
    pub(super) guard: Guard,
    snapshots: Pool,
    disk: Pool,
    /// Set when the session has begun.
    invalidator: OnceLock<Invalidator>,
}

impl Service {
    /// Serves `tree`, and reports its own faults to `events`.
    pub(super) fn new(tree: Tree, events: Sender<Event>, awake: Option<Awake>) -> Arc<Service> {
        Arc::new(Service {
            tree,
            guard: Guard::new(events, awake),
            snapshots: Pool::new("caskfs-snapshot", SNAPSHOT_THREADS),
            disk: Pool::new("caskfs-disk", DISK_THREADS),
            invalidator: OnceLock::new(),
        })
    }

    /// The session has begun: what tells the kernel of changes.
    pub(super) fn begin(&self, invalidator: &Invalidator) {
        // There is one session.
        let _ = self.invalidator.set(invalidator.clone());
    }

    /// Makes the kernel ask for the attributes of `id` anew, after a request that changes more of them than it knows.
    pub(super) fn drop_attributes(&self, id: INodeNo) {
        let dropped = self.invalidator.get().map(|invalidator| invalidator.attributes(id.0));
        if let Some(Err(error)) = dropped {
            log::warn!("inode {id} may be shown with the mode that it had: {error}");
        }
    }

    /// Runs a handler: here; or on a thread of the pool, if it may have to open a snapshot. An event loop that did that
    /// would serve nobody else for as long.
    pub(super) fn run<R: Refuse + Send + 'static>(
        self: &Arc<Self>,
        name: &'static str,
        id: INodeNo,
        reply: R,
        handler: impl FnOnce(&Tree, R) + Send + 'static,
    ) {
        if !self.tree.takes_long(id.0) {
            return self.guard.run(name, reply, |reply| handler(&self.tree, reply));
        }
        let service = Arc::clone(self);
        self.snapshots.run(move || service.guard.run_apart(name, reply, |reply| handler(&service.tree, reply)));
    }

    /// Runs a handler on a thread that may wait for the disk.
    pub(super) fn run_waiting<R: Refuse + Send + 'static>(
        self: &Arc<Self>,
        name: &'static str,
        reply: R,
        handler: impl FnOnce(&Tree, R) + Send + 'static,
    ) {
        let service = Arc::clone(self);
        self.disk.run(move || service.guard.run_apart(name, reply, |reply| handler(&service.tree, reply)));
    }
}
