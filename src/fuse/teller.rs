//! Changed behind the kernel's back: telling it.
//!
//! A change that comes through the mount the kernel makes itself. What comes through another door, the stream of changes says,
//! and one thread passes on. The rule: once the call that changed something has returned, no reader, appender, mapper or lister
//! of the mount is left with old names, sizes, bytes or permissions. It stands on these steps, in this order:
//! 1. The answers that were begun before the change are given: an old one must not come after the news ([`Answers`]).
//! 2. Names that mean something else are dropped. The kernel holds the directory's lock for that, and so no lookup or listing
//!    of it is half-way through.
//! 3. A value that has grown: its last byte is stored with the kernel, which takes its end from that. It never asks by itself
//!    where it reads from its pages (splice, sendfile, mappings). One that has become shorter it learns of from the first short
//!    answer to a read.
//! 4. Pages and attributes are dropped. That makes answers void which a client of the kernel has received and not taken in yet.
//! 5. An inode that the kernel does not know, and that was handed out to it, is one that it is about to know (or has just
//!    forgotten): steps 3 and 4 are done again until it does (or has said so).
//!
//! Where the kernel computes an offset from its idea of the end, an append, the daemon goes by its own: `fs` places it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use hashbrown::HashSet;
use nix::errno::Errno;

use super::answers::Answers;
use super::notifications::{NameNews, Notifications, Told};
use super::patience::within;
use super::service::Service;
use crate::store::{Change, Closer, Committed, EntryId, Kind, News, ROOT, Subscription};

/// How long older answers, and the kernel, are waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often the kernel is told again of an inode that it is about to know.
const AGAIN: Duration = Duration::from_micros(200);

/// Tells the kernel while it lives.
#[derive(Debug)]
pub(super) struct Teller {
    closer: Closer,
    thread: Option<JoinHandle<()>>,
}

/// What the thread needs.
struct Task {
    notifications: Notifications,
    answers: Arc<Answers>,
    /// Not to keep the store open when the mount has ended.
    service: Weak<Service>,
    mountpoint: PathBuf,
}

impl Teller {
    /// Begins to tell of `changes`.
    pub(super) fn start(
        changes: Subscription,
        notifications: Notifications,
        service: &Arc<Service>,
        mountpoint: &Path,
    ) -> std::io::Result<Teller> {
        let (closer, answers) = (changes.closer(), Arc::clone(&service.answers));
        let task = Task { notifications, answers, service: Arc::downgrade(service), mountpoint: mountpoint.into() };
        let run = move || {
            while let Some(news) = changes.next() {
                if task.tell(&news).is_err_and(|error| is_over(&error)) {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("caskfs-news".into()).spawn(run)?;
        Ok(Teller { closer, thread: Some(thread) })
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.closer.close();
        if let Some(thread) = self.thread.take() {
            // A panic in it was reported on standard error by the runtime.
            let _ = thread.join();
        }
    }
}

/// Whether the mount has ended.
fn is_over(error: &std::io::Error) -> bool {
    [Errno::ENODEV, Errno::ENOTCONN].iter().any(|errno| error.raw_os_error() == Some(*errno as i32))
}

impl Task {
    fn tell(&self, news: &News) -> std::io::Result<()> {
        let told = match news {
            News::Committed(committed) => self.tell_of(committed),
            News::Everything => self.tell_of_everything(),
        };
        told.inspect_err(|error| {
            if !is_over(error) {
                log::warn!("the kernel did not take the news of a change: {error}");
            }
        })
    }

    fn tell_of(&self, committed: &Committed) -> std::io::Result<()> {
        let changes = &committed.changes;
        let mut ids = HashSet::new();
        for change in changes {
            let names = change.gone.iter().chain(&change.came).chain(&change.stays);
            ids.extend(names.map(|(parent, _)| *parent).chain([change.entry]));
        }
        if !self.answers.wait(&ids, PATIENCE) {
            log::warn!("answers from before a change are still under way, and may bring back what was before it");
        }
        for change in changes {
            // A directory that was moved keeps what is mounted and open below it, if the kernel is led to its new name.
            let moved = change.kind == Kind::Directory && !change.gone.is_empty() && !change.came.is_empty();
            let news = if moved { NameNews::Expire } else { NameNews::Drop };
            for (parent, name) in &change.gone {
                self.notifications.entry(*parent, name, news)?;
            }
            for (parent, name) in &change.came {
                self.notifications.entry(*parent, name, NameNews::Drop)?;
            }
            // No name is called so; but the kernel takes the directory's lock to find that out, which whoever links or looks up
            // holds until it has taken in its answer.
            if let Some((parent, _)) = &change.stays {
                self.notifications.entry(*parent, b"/", NameNews::Expire)?;
            }
        }
        changes
            .iter()
            .try_for_each(|change| self.tell_of_inode(change.entry, change.value && change.size.1 > change.size.0))?;
        changes.iter().try_for_each(|change| self.lead_to(change))
    }

    /// Tells of one inode until the kernel knows it, or has forgotten it.
    fn tell_of_inode(&self, id: EntryId, grown: bool) -> std::io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let Some(service) = self.service.upgrade() else { return Ok(()) };
            let known = id == ROOT || service.tree.is_known(id);
            let end = grown.then(|| service.tree.last_byte(id)).flatten();
            drop(service);
            if !known {
                return Ok(());
            }
            if let Some((offset, byte)) = end {
                self.notifications.store(id, offset, &[byte])?;
            }
            if self.notifications.inode(id)? == Told::Heard || Instant::now() > deadline {
                return Ok(());
            }
            std::thread::sleep(AGAIN);
        }
    }

    /// Has the kernel find a directory under its new name. It then moves it there with all that it knows of it, so that working
    /// directories and mounts below stay; or, if it cannot, drops it.
    fn lead_to(&self, change: &Change) -> std::io::Result<()> {
        let [(_, _), ..] = change.came.as_slice() else { return Ok(()) };
        if change.kind != Kind::Directory || change.gone.is_empty() {
            return Ok(());
        }
        let Some(path) = self.service.upgrade().and_then(|service| service.tree.path(change.entry)) else {
            return Ok(());
        };
        let path = self.mountpoint.join(path);
        // On a thread of its own: what is above the mountpoint may be on a filesystem that does not answer.
        let found = within(PATIENCE, move || std::fs::symlink_metadata(path).is_ok());
        if found != Some(true) {
            for (parent, name) in &change.gone {
                self.notifications.entry(*parent, name, NameNews::Drop)?;
            }
        }
        Ok(())
    }

    /// Too much has changed to be told one by one.
    fn tell_of_everything(&self) -> std::io::Result<()> {
        let epoch = self.notifications.new_epoch();
        let Some(pinned) = self.service.upgrade().map(|service| service.tree.known()) else { return Ok(()) };
        self.answers.wait(&pinned.iter().copied().collect::<HashSet<_>>(), PATIENCE);
        pinned.into_iter().try_for_each(|id| self.tell_of_inode(id, true))?;
        // Once more: a name that was looked up before the first may have been kept since.
        epoch.and_then(|_| self.notifications.new_epoch()).map(drop)
    }
}
