//! What every handler needs, and the thread that it runs on.
//!
//! Event loops wait for no disk: what may have to goes to one of two pools. Opening a snapshot takes as long as a start, so
//! that it has threads of its own; reads of the store do not wait behind it.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use fuser::INodeNo;

use super::answers::{Answer, Answers};
use super::awake::Awake;
use super::guard::Guard;
use super::notifications::Notifications;
use super::pool::Pool;
use super::reply::Refuse;
use super::supervisor::Event;
use crate::fs::{Tree, Written};

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
    pub(super) answers: Arc<Answers>,
    notifications: Notifications,
    /// Where a test holds an answer back.
    #[cfg(test)]
    pub(super) hold: super::tests::hold::Hold,
}

impl Service {
    /// Serves `tree`, and reports its own faults to `events`.
    pub(super) fn new(
        tree: Tree,
        events: Sender<Event>,
        awake: Option<Awake>,
        notifications: Notifications,
    ) -> Arc<Service> {
        Arc::new(Service {
            tree,
            guard: Guard::new(events, awake),
            snapshots: Pool::new("caskfs-snapshot", SNAPSHOT_THREADS),
            disk: Pool::new("caskfs-disk", DISK_THREADS),
            answers: Arc::default(),
            notifications,
            #[cfg(test)]
            hold: super::tests::hold::Hold::take(),
        })
    }

    /// An answer is known, and not given yet.
    #[cfg_attr(not(test), expect(clippy::unused_self, reason = "tests hold answers back here"))]
    pub(super) fn prepared(&self, _name: &'static str) {
        #[cfg(test)]
        self.hold.wait(_name);
    }

    /// A request begins to be answered that says something of `id`: until what is returned is dropped.
    pub(super) fn begin_answer(&self, id: INodeNo) -> Answer {
        self.answers.begin(id.0)
    }

    /// Makes the kernel ask for the attributes of `id` anew, after a request that changes more of them than it knows.
    pub(super) fn drop_attributes(&self, id: INodeNo) {
        if let Err(error) = self.notifications.attributes(id.0) {
            log::warn!("inode {id} may be shown with the mode that it had: {error}");
        }
    }

    /// A change of the value has taken permission bits away, which the kernel does not know of.
    pub(super) fn stripped(&self, id: INodeNo, written: Written) {
        if written.stripped {
            self.drop_attributes(id);
        }
    }

    /// Makes the kernel read `id` anew, whose end is not where it took it to be. From a thread that serves no requests: the kernel
    /// may hold locks until this one is answered.
    pub(super) fn drop_pages(self: &Arc<Self>, id: INodeNo) {
        let service = Arc::clone(self);
        self.snapshots.run(move || {
            let end = service.tree.last_byte(id.0);
            let stored =
                end.map_or(Ok(()), |(offset, byte)| service.notifications.store(id.0, offset, &[byte]).map(drop));
            if let Err(error) = stored.and_then(|()| service.notifications.inode(id.0)) {
                log::warn!("inode {id} may be shown as it was: {error}");
            }
        });
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
