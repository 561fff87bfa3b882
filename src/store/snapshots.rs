//! Snapshots: the store as it was at one moment, kept until it is removed.
//!
//! What is in one is what a power cut would leave right after a sync at that moment: everything that is committed.
//! What is staged in open files is not.

use std::sync::Arc;

use super::attributes::Time;
use super::{Error, Options, Store, is_backup_name};
use crate::log::{self, is_snapshot_name};

/// A snapshot of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Its name.
    pub name: String,
    /// When it was taken; `None` if it is damaged.
    pub taken: Option<Time>,
    /// The last sequence number in it.
    pub sequence: u64,
    /// Segments of the log that it holds.
    pub segments: u64,
    /// Bytes in them. Most of them are shared with the store and with other snapshots.
    pub bytes: u64,
}

impl From<log::Snapshot> for Snapshot {
    fn from(snapshot: log::Snapshot) -> Snapshot {
        let log::Snapshot { name, taken, last_sequence, segments, bytes } = snapshot;
        Snapshot { name, taken: taken.map(Time), sequence: last_sequence, segments, bytes }
    }
}

impl Store {
    /// Takes a snapshot of all that is committed, and returns when it is durable. It takes no longer for a large store
    /// than for a small one, and shares its bytes: what is changed or removed later stays on the disk for it.
    ///
    /// ```
    /// use caskfs::{Options, Store};
    ///
    /// let directory = tempfile::tempdir()?;
    /// let store = Store::open(directory.path(), Options { create: true, ..Options::default() })?;
    /// store.put("key", "old")?;
    /// store.snapshot("before")?;
    /// store.put("key", "new")?;
    /// let before = store.open_snapshot("before")?;
    /// assert_eq!(before.get("key")?.as_deref(), Some(b"old".as_slice()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidSnapshotName`]; [`Error::NotPermitted`] for a name of a backup's; [`log::Error::SnapshotExists`] within [`Error::Log`]; [`Error::NoSpace`] and
    /// others of the log. After any of them there is no such snapshot.
    pub fn snapshot(&self, name: &str) -> Result<Snapshot, Error> {
        // The next backup would remove it.
        if is_backup_name(name) {
            return Err(Error::NotPermitted("a name that begins so belongs to a backup under way"));
        }
        self.take_snapshot(name)
    }

    pub(super) fn take_snapshot(&self, name: &str) -> Result<Snapshot, Error> {
        check_snapshot_name(name)?;
        self.check_writable()?;
        self.remove_due();
        Ok(self.log.snapshot(name, self.now().0)?.into())
    }

    /// The snapshots, sorted by name. They are looked for once while the store is open: what is done to their directories
    /// other than by this store is not seen before the next start.
    ///
    /// # Errors
    /// Those of the medium.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>, Error> {
        Ok(self.log.snapshots()?.into_iter().map(Snapshot::from).collect())
    }

    /// The snapshot of this name.
    ///
    /// # Errors
    /// Those of the medium.
    pub fn find_snapshot(&self, name: &str) -> Result<Option<Snapshot>, Error> {
        Ok(self.log.find_snapshot(name)?.map(Snapshot::from))
    }

    /// Removes a snapshot, and returns when that is durable. Whoever has it open can go on reading it.
    ///
    /// # Errors
    /// [`log::Error::NoSnapshot`] within [`Error::Log`]; [`Error::ReadOnly`]; those of the medium.
    pub fn remove_snapshot(&self, name: &str) -> Result<(), Error> {
        check_snapshot_name(name)?;
        self.check_writable()?;
        Ok(self.log.remove_snapshot(name)?)
    }

    /// Opens a snapshot for reading. It is a store like any other, with a keydir of its own.
    ///
    /// # Errors
    /// [`log::Error::NoSnapshot`] within [`Error::Log`], and as [`Store::open`].
    pub fn open_snapshot(&self, name: &str) -> Result<Store, Error> {
        check_snapshot_name(name)?;
        let medium = Arc::new(self.log.snapshot_medium(name)?);
        let options = Options { read_only: true, create: false, background: false, ..self.options.clone() };
        Store::open_on(medium, options)
    }

    /// Whether no key has expired at `moment`, and none would be hidden then.
    pub(crate) fn hides_nothing(&self, moment: Option<Time>) -> bool {
        moment.is_some_and(|moment| !self.is_due(moment))
    }

    /// Bytes of memory that the keydir takes.
    pub(crate) fn keydir_bytes(&self) -> u64 {
        self.keydir.read().memory().total()
    }

    /// When this store was taken as a snapshot, if it is one, or a copy of one: it takes no writes.
    pub fn taken(&self) -> Option<Time> {
        self.log.frozen().map(Time)
    }
}

/// Checks that a snapshot can have this name.
///
/// # Errors
/// [`Error::InvalidSnapshotName`].
pub fn check_snapshot_name(name: &str) -> Result<(), Error> {
    match is_snapshot_name(name) {
        true => Ok(()),
        false => Err(Error::InvalidSnapshotName),
    }
}
