//! Snapshots: the log as it was at one moment, in a directory of its own, made of hard links.
//!
//! `snapshots/NAME` is a whole store: a format file, a manifest that names the sealed segments of that moment and says
//! that nobody may append, and links to these. It is made as `NAME.tmp` and renamed when everything in it is durable:
//! a snapshot exists if and only if its name does. What it relies on:
//! * A sealed segment is never written to, by whatever name it is reached. A merge takes away a name, not the bytes.
//! * No merge is *installed* between the moment and the links: what it leaves out may have died after the moment.
//!   One that is only copying is no harm: the segments that it reads are those that are linked.

use std::io;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::Log;
use super::error::{Context, Error};
use super::files::{self, SNAPSHOTS, TEMPORARY};
use super::format;
use super::manifest::{Contents, Frozen, Manifest};
use super::open_snapshots::OpenSnapshots;
use super::segment::Segment;
use super::snapshot_index::SnapshotIndex;
use crate::medium::{Medium, Status, Subdirectory, cannot_link};

/// Bytes of a name, so that the temporary one is a name too.
const MAX_NAME: usize = 255 - TEMPORARY.len();

/// Whether a snapshot can have this name: that of a file, without a NUL, and not one that means something else.
pub fn is_snapshot_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && name.len() <= MAX_NAME
        && !name.contains(['/', '\0'])
        && !name.ends_with(TEMPORARY)
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// When it was taken, in nanoseconds since 1970; `None` if its manifest cannot be read.
    pub taken: Option<i64>,
    /// The last sequence number in it.
    pub last_sequence: u64,
    /// Its segments.
    pub segments: u64,
    /// Bytes in them.
    pub bytes: u64,
}

/// What the snapshots of an open log need.
#[derive(Debug)]
pub(super) struct Snapshots {
    /// Held while one is made or removed. Whether it was said that they are copies.
    making: Mutex<bool>,
    /// Held while a merge is installed, and from the moment of a snapshot until its segments are linked.
    installing: Mutex<()>,
    /// The mark of this log, if it is a snapshot itself.
    frozen: Option<Frozen>,
    /// What is known of them, once somebody has asked.
    index: Mutex<Option<SnapshotIndex>>,
    pub(super) open: OpenSnapshots,
}

impl Snapshots {
    pub(super) fn new(frozen: Option<Frozen>) -> Snapshots {
        Snapshots {
            making: Mutex::new(false),
            installing: Mutex::new(()),
            frozen,
            index: Mutex::new(None),
            open: OpenSnapshots::default(),
        }
    }

    /// The right to change which sealed segments there are.
    pub(super) fn while_installing(&self) -> MutexGuard<'_, ()> {
        self.installing.lock()
    }
}

pub(super) fn path(name: &str) -> String {
    format!("{SNAPSHOTS}/{name}")
}

impl Log {
    /// Takes a snapshot of everything written so far. `taken` is the present, in nanoseconds since 1970.
    ///
    /// # Errors
    /// [`Error::SnapshotExists`]; those of the medium, after which there is no snapshot of this name, and nothing else
    /// has changed.
    pub fn snapshot(&self, name: &str, taken: i64) -> Result<Snapshot, Error> {
        self.check_no_writer()?;
        let mut told = self.snapshots.making.lock();
        self.check()?;
        let (place, temporary) = (path(name), path(name) + TEMPORARY);
        let context = || format!("making the snapshot {name}");
        if exists(&*self.medium, &place).context(context)? {
            return Err(Error::SnapshotExists(name.into()));
        }
        self.make_directories(&temporary).context(context)?;
        let made = self.fill(&temporary, taken, &mut told, &context).and_then(|contents| {
            self.medium.rename(&temporary, &place).context(context)?;
            Ok(contents)
        });
        let contents = made.inspect_err(|_| {
            // What stays of it does not exist, and is removed when the name is due, or by the next writer.
            let _ = remove_tree(&*self.medium, &temporary);
        })?;
        if let Err(error) = self.medium.sync_dir(SNAPSHOTS).context(context) {
            // Whoever is told that it failed must not find it. After a power cut it may yet be there, and whole: so
            // nothing of it is removed now.
            let _ = self.medium.rename(&place, &temporary);
            self.forget_snapshot(name);
            return Err(error);
        }
        let snapshot = describe(name, &contents);
        let mut index = self.snapshots.index.lock();
        if let Some(known) = &mut *index {
            let segments = contents.segments.keys().copied().collect();
            if known.add(&*self.medium, snapshot.clone(), segments, &|id| self.has_segment(id)).is_err() {
                // To be read anew, by somebody who can be told.
                *index = None;
            }
        }
        drop(index);
        Ok(snapshot)
    }

    /// The snapshots, sorted by name. One whose manifest cannot be read is reported in the log.
    ///
    /// # Errors
    /// Those of the medium.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>, Error> {
        self.with_snapshots(|known| known.all().cloned().collect())
    }

    /// The snapshot of this name.
    ///
    /// # Errors
    /// Those of the medium.
    pub fn find_snapshot(&self, name: &str) -> Result<Option<Snapshot>, Error> {
        self.with_snapshots(|known| known.get(name).cloned())
    }

    /// How many snapshots there are, and the bytes that they alone keep: what would be free without them.
    ///
    /// # Errors
    /// Those of the medium.
    pub fn snapshot_usage(&self) -> Result<(usize, u64), Error> {
        self.with_snapshots(|known| (known.len(), known.bytes(&|id| self.has_segment(id))))
    }

    fn with_snapshots<R>(&self, look: impl FnOnce(&SnapshotIndex) -> R) -> Result<R, Error> {
        self.clear_removed_snapshots();
        let mut index = self.snapshots.index.lock();
        let known = match &mut *index {
            Some(known) => known,
            None => index.insert(self.read_snapshots()?),
        };
        Ok(look(known))
    }

    /// Reads what there is to be known of the snapshots.
    fn read_snapshots(&self) -> Result<SnapshotIndex, Error> {
        let mut known = SnapshotIndex::default();
        for name in self.snapshot_names()? {
            let (snapshot, segments) = match self.contents_of(&name) {
                Ok(contents) => (describe(&name, &contents), contents.segments.into_keys().collect()),
                // Removed meanwhile.
                Err(_) if !exists(&*self.medium, &path(&name)).unwrap_or(true) => continue,
                Err(error) => {
                    log::error!("the snapshot {name}: {error}");
                    let files =
                        self.medium.list(&format!("{SNAPSHOTS}/{name}/{}", files::SEGMENTS)).unwrap_or_default();
                    let mut segments: Vec<u32> = files.iter().filter_map(|name| files::segment_number(name)).collect();
                    segments.sort_unstable();
                    (Snapshot { name, taken: None, last_sequence: 0, segments: 0, bytes: 0 }, segments)
                }
            };
            let added = known.add(&*self.medium, snapshot, segments, &|id| self.has_segment(id));
            added.context(|| "looking at the snapshots".into())?;
        }
        Ok(known)
    }

    /// A snapshot is not there any more.
    fn forget_snapshot(&self, name: &str) {
        if let Some(known) = &mut *self.snapshots.index.lock() {
            known.remove(name);
        }
    }

    fn has_segment(&self, id: u32) -> bool {
        self.segments.contains(id)
    }

    /// Removes a snapshot. When this returns it is gone for good; what it alone held is free as soon as nobody reads it.
    ///
    /// # Errors
    /// [`Error::NoSnapshot`]; those of the medium.
    pub fn remove_snapshot(&self, name: &str) -> Result<(), Error> {
        let _alone = self.snapshots.making.lock();
        self.check()?;
        let (place, temporary) = (path(name), path(name) + TEMPORARY);
        let context = || format!("removing the snapshot {name}");
        if !exists(&*self.medium, &place).context(context)? {
            self.forget_snapshot(name);
            return Err(Error::NoSnapshot(name.into()));
        }
        self.clear_removed_snapshots();
        self.clear(&temporary).context(context)?;
        let removed = self.rename_removed(name).context(context)?;
        self.forget_snapshot(name);
        self.medium.sync_dir(SNAPSHOTS).context(context)?;
        self.remove_files(removed);
        Ok(())
    }

    /// A snapshot's directory, as a medium of its own.
    ///
    /// # Errors
    /// [`Error::NoSnapshot`]; those of the medium.
    pub fn snapshot_medium(&self, name: &str) -> Result<Subdirectory, Error> {
        let place = path(name);
        match exists(&*self.medium, &place).context(|| format!("opening the snapshot {name}"))? {
            true => Ok(self.watch_snapshot(name)),
            false => Err(Error::NoSnapshot(name.into())),
        }
    }

    /// When this log was taken as a snapshot, if it is one: in nanoseconds since 1970.
    pub fn frozen(&self) -> Option<i64> {
        self.snapshots.frozen.map(|frozen| frozen.taken)
    }

    /// Removes what snapshots that were not finished, or not wholly removed, have left, and makes durable which there
    /// are.
    pub(super) fn settle_snapshots(&self) -> io::Result<()> {
        let Some(names) = files::found(self.medium.list(SNAPSHOTS))? else { return Ok(()) };
        self.medium.sync_dir(SNAPSHOTS)?;
        names
            .iter()
            .filter(|name| name.ends_with(TEMPORARY))
            .try_for_each(|name| remove_tree(&*self.medium, &path(name)))
    }

    /// Removes what is left of a snapshot; not before it is durable that it is none.
    fn clear(&self, temporary: &str) -> io::Result<()> {
        if exists(&*self.medium, temporary)? {
            self.medium.sync_dir(SNAPSHOTS)?;
            remove_tree(&*self.medium, temporary)?;
        }
        Ok(())
    }

    fn snapshot_names(&self) -> Result<Vec<String>, Error> {
        let context = || "listing the snapshots".to_owned();
        let mut names = files::found(self.medium.list(SNAPSHOTS)).context(context)?.unwrap_or_default();
        names.retain(|name| is_snapshot_name(name) && matches!(self.medium.status(&path(name)), Ok(Status::Directory)));
        Ok(names)
    }

    fn contents_of(&self, name: &str) -> Result<Contents, Error> {
        let directory = Subdirectory::new(Arc::clone(&self.medium), path(name));
        Manifest::read(&directory, format::read(&directory)?)
    }

    /// Makes the directories for a snapshot.
    fn make_directories(&self, temporary: &str) -> io::Result<()> {
        // An empty directory of snapshots may be one whose name could not be made durable, and a second sync would
        // write nothing: so it is made anew. With anything in it, it is durable.
        if files::found(self.medium.list(SNAPSHOTS))?.is_none_or(|names| names.is_empty()) {
            files::found(self.medium.remove_dir(SNAPSHOTS))?;
            self.medium.create_dir(SNAPSHOTS)?;
            self.medium.sync_dir("")?;
        }
        self.clear(temporary)?;
        self.medium.create_dir(temporary)?;
        self.medium.create_dir(&format!("{temporary}/{}", files::SEGMENTS))
    }

    /// Fills the directory of a snapshot, and makes durable what is in it.
    fn fill(
        &self,
        temporary: &str,
        taken: i64,
        told: &mut bool,
        context: &dyn Fn() -> String,
    ) -> Result<Contents, Error> {
        // So that no writer waits while one is made. If there is no room, the writer's lock tells.
        let _ = self.prepare();
        let (contents, unlinked) = {
            let _still = self.snapshots.installing.lock();
            let contents = self.freeze(taken)?;
            let unlinked = self.link(temporary, &contents).context(context)?;
            (contents, unlinked)
        };
        if !unlinked.is_empty() && !std::mem::replace(told, true) {
            log::warn!("the file system gives files no second names: snapshots are copies, and take time and room");
        }
        let directory = Subdirectory::new(Arc::clone(&self.medium), temporary);
        for (segment, end) in unlinked {
            files::copy(&*segment.file, end, &directory, &files::segment(segment.id)).context(context)?;
        }
        self.complete(&directory, &contents).context(context)?;
        Ok(contents)
    }

    /// Ends the active segment, and says which segments hold everything up to there, durably.
    fn freeze(&self, taken: i64) -> Result<Contents, Error> {
        let last_sequence = self.begin()?.leave_active()?;
        if let Some(turn) = self.syncing.take(|| false) {
            self.sync_written(&turn).map_err(|error| match error {
                // Of a snapshot nothing is there.
                Error::NotDurable => Error::NoSpace,
                other => other,
            })?;
        }
        let manifest = self.manifest.lock();
        let mut segments = manifest.segments.clone();
        // What was sealed since is younger; and an empty segment is none.
        segments.retain(|_, sealed| {
            sealed.is_some_and(|sealed| {
                sealed.first_sequence <= sealed.last_sequence && sealed.last_sequence <= last_sequence
            })
        });
        let frozen = Frozen { taken, segments: segments.len() as u64, last_sequence };
        Ok(Contents { epoch: manifest.epoch, segments, frozen: Some(frozen), durable: 0 })
    }

    /// Links the segments, and hands back those that cannot be linked, with where they end.
    fn link(&self, temporary: &str, contents: &Contents) -> io::Result<Vec<(Arc<Segment>, u64)>> {
        let mut unlinked = Vec::new();
        for (&id, sealed) in &contents.segments {
            let segment = files::segment(id);
            match self.medium.hard_link(&segment, &format!("{temporary}/{segment}")) {
                Err(error) if cannot_link(&error) => {
                    let open = self.segments.get(id);
                    let open = open.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
                    unlinked.push((open, sealed.map_or(0, |sealed| sealed.end)));
                    continue;
                }
                other => other?,
            }
            // Whoever has no hint reads the segment.
            let hint = files::hint(id);
            match self.medium.hard_link(&hint, &format!("{temporary}/{hint}")) {
                Err(error) if error.kind() != io::ErrorKind::NotFound && !cannot_link(&error) => return Err(error),
                _ => {}
            }
        }
        Ok(unlinked)
    }

    /// The files beside the segments. The manifest comes last, and makes its directory durable.
    fn complete(&self, directory: &Subdirectory, contents: &Contents) -> io::Result<()> {
        directory.sync_dir(files::SEGMENTS)?;
        let format = self.medium.open(files::FORMAT, false)?;
        files::copy(&*format, format.len()?, directory, files::FORMAT)?;
        // A reader that finds one makes none: a snapshot is not changed by looking at it.
        directory.create(files::LOCK)?;
        Manifest::write_frozen(directory, self.id, contents)
    }
}

fn describe(name: &str, contents: &Contents) -> Snapshot {
    Snapshot {
        name: name.into(),
        taken: contents.frozen.map(|frozen| frozen.taken),
        last_sequence: contents.frozen.map_or(0, |frozen| frozen.last_sequence),
        segments: contents.segments.len() as u64,
        bytes: contents.segments.values().flatten().map(|sealed| sealed.end).sum(),
    }
}

/// Removes a directory with all that is in it; there may be none.
pub(super) fn remove_tree(medium: &dyn Medium, path: &str) -> io::Result<()> {
    let Some(names) = files::found(medium.list(path))? else { return Ok(()) };
    for name in names {
        let below = format!("{path}/{name}");
        match medium.status(&below)? {
            Status::Directory => remove_tree(medium, &below)?,
            Status::File { .. } => medium.remove(&below)?,
        }
    }
    medium.remove_dir(path)
}

fn exists(medium: &dyn Medium, path: &str) -> io::Result<bool> {
    Ok(files::found(medium.status(path))?.is_some())
}
