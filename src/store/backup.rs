//! Backups: a snapshot of the store on another medium.
//!
//! A store that can be written to is copied from a snapshot that is there for that alone. Whoever makes a backup holds the
//! lock of its snapshot: one that can be locked is left from a backup that was killed, and the next one removes it. (The number of
//! a process would not tell: in a container each has the same.)

use std::path::Path;

use super::{Error, LOCK, Store, io_error};
use crate::log::{self, CopyKind, Progress};
use crate::medium::{Disk, Lock, Medium};

pub use crate::log::{Check, Copied};

/// Snapshots of this name are backups under way, or left from them.
const PREFIX: &str = ".backup.";

/// Whether a snapshot of this name belongs to a backup.
pub fn is_backup_name(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// A snapshot that a copy is made from. While this is there nobody takes it for a leftover.
#[derive(Debug)]
pub struct Source {
    /// The snapshot's name.
    pub name: String,
    _lock: Box<dyn Lock>,
}

impl Store {
    /// Copies the store as it is now to another directory: a backup, which is a snapshot elsewhere. A backup of the same
    /// store that is there is renewed: what it has is not copied again, and so much of it as `check` says is read again.
    /// Writers go on meanwhile.
    ///
    /// # Errors
    /// Those of [`copy_snapshot`](crate::log::copy_snapshot).
    pub fn backup(
        &self,
        to: impl AsRef<Path>,
        check: Check,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Copied, Error> {
        let disk = Disk::new(to.as_ref());
        disk.create_root().map_err(|source| io_error("creating the directory of the backup", source))?;
        self.backup_on(&disk, check, progress)
    }

    /// [`Store::backup`] to any medium.
    ///
    /// # Errors
    /// As there.
    pub fn backup_on(
        &self,
        to: &dyn Medium,
        check: Check,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Copied, Error> {
        if self.taken().is_some() {
            return Ok(log::copy_snapshot(&**self.log.medium(), to, CopyKind::Backup(check), progress)?);
        }
        if self.options.read_only {
            // Nobody changes it while this store has its lock.
            return Ok(self.log.copy_as_read(self.now().0, to, check, progress)?);
        }
        let source = self.begin_backup()?;
        let from = self.log.snapshot_medium(&source.name)?;
        let copied = log::copy_snapshot(&from, to, CopyKind::Backup(check), progress);
        drop(from);
        let removed = self.end_backup(source);
        let copied = copied?;
        removed.map(|()| copied)
    }

    /// Takes a snapshot to copy from, and removes what backups that were killed have left.
    ///
    /// # Errors
    /// As [`Store::snapshot`].
    pub fn begin_backup(&self) -> Result<Source, Error> {
        // Between its beginning and its lock a snapshot would look like a leftover.
        let _alone = self.backups.lock();
        let mut number = 1;
        for snapshot in self.snapshots()? {
            let given = snapshot.name.strip_prefix(PREFIX).and_then(|number| number.parse::<u64>().ok());
            let Some(given) = given else { continue };
            let lock = self.log.snapshot_medium(&snapshot.name)?.lock(LOCK, false);
            match lock.map_err(|source| io_error("locking what a backup may have left", source))? {
                Some(_) => self.remove_snapshot(&snapshot.name)?,
                None => number = number.max(given.saturating_add(1)),
            }
        }
        let name = format!("{PREFIX}{number}");
        self.take_snapshot(&name)?;
        let lock = self.log.snapshot_medium(&name)?.lock(LOCK, true);
        match lock.map_err(|source| io_error("locking the snapshot of a backup", source))? {
            Some(lock) => Ok(Source { name, _lock: lock }),
            None => Err(log::Error::Locked.into()),
        }
    }

    /// Removes the snapshot again.
    ///
    /// # Errors
    /// As [`Store::remove_snapshot`].
    pub fn end_backup(&self, source: Source) -> Result<(), Error> {
        self.remove_snapshot(&source.name)
    }
}

/// Copies a snapshot or a backup, which nobody need have open, to another directory.
///
/// # Errors
/// Those of [`copy_snapshot`](crate::log::copy_snapshot).
pub fn copy_backup(
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
    check: Check,
    progress: &mut dyn FnMut(Progress),
) -> Result<Copied, Error> {
    copy(from.as_ref(), to.as_ref(), CopyKind::Backup(check), progress)
}

/// Makes a store that can be written to from a snapshot or a backup. What is copied is verified; what of it is damaged
/// is reported, and the store can be opened all the same.
///
/// # Errors
/// Those of [`copy_snapshot`](crate::log::copy_snapshot).
pub fn restore(
    backup: impl AsRef<Path>,
    store: impl AsRef<Path>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Copied, Error> {
    copy(backup.as_ref(), store.as_ref(), CopyKind::Store, progress)
}

fn copy(from: &Path, to: &Path, kind: CopyKind, progress: &mut dyn FnMut(Progress)) -> Result<Copied, Error> {
    let (from, to) = (Disk::new(from), Disk::new(to));
    // Before anything is made.
    if !log::is_frozen(&from)? {
        return Err(log::Error::NotFrozen.into());
    }
    to.create_root().map_err(|source| io_error("creating the directory of the copy", source))?;
    Ok(log::copy_snapshot(&from, &to, kind, progress)?)
}
