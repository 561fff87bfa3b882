//! Backups: a snapshot of the store on another medium.

use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::{Error, LOCK, Store, io_error};
use crate::log::{self, CopyKind, Progress};
use crate::medium::{Disk, Medium};

pub use crate::log::Copied;

/// Snapshots of this name are backups under way, each of the process whose number follows.
const PREFIX: &str = ".backup.";

/// The name of the snapshot that this process makes a backup from.
pub fn backup_name() -> String {
    format!("{PREFIX}{}", std::process::id())
}

/// Whether a snapshot of this name belongs to a backup.
pub fn is_backup_name(name: &str) -> bool {
    name.starts_with(PREFIX)
}

impl Store {
    /// Copies the store as it is now to another directory: a backup, which is a snapshot elsewhere. A backup of the same
    /// store that is there is renewed: what it has is not copied again. Writers go on meanwhile.
    ///
    /// # Errors
    /// Those of [`copy_snapshot`](crate::log::copy_snapshot).
    pub fn backup(&self, to: impl AsRef<Path>, progress: &mut dyn FnMut(Progress)) -> Result<Copied, Error> {
        let disk = Disk::new(to.as_ref());
        disk.create_root().map_err(|source| io_error("creating the directory of the backup", source))?;
        self.backup_on(&disk, progress)
    }

    /// [`Store::backup`] to any medium.
    ///
    /// # Errors
    /// As there.
    pub fn backup_on(&self, to: &dyn Medium, progress: &mut dyn FnMut(Progress)) -> Result<Copied, Error> {
        if self.taken().is_some() {
            return Ok(log::copy_snapshot(&**self.log.medium(), to, CopyKind::Backup, progress)?);
        }
        let name = backup_name();
        self.clear_backups()?;
        self.snapshot(&name)?;
        let from = self.log.snapshot_medium(&name)?;
        let copied = log::copy_snapshot(&from, to, CopyKind::Backup, progress);
        drop(from);
        let removed = self.remove_snapshot(&name);
        let copied = copied?;
        removed.map(|()| copied)
    }

    /// Removes the snapshots of backups whose process died.
    ///
    /// # Errors
    /// Those of the medium.
    pub fn clear_backups(&self) -> Result<(), Error> {
        for snapshot in self.snapshots()? {
            let Some(process) = snapshot.name.strip_prefix(PREFIX) else { continue };
            let gone = process.parse().is_ok_and(|process| kill(Pid::from_raw(process), None) == Err(Errno::ESRCH));
            // The process may be one that cannot be seen from here, as in a container: while it copies, it holds this.
            let free = self.log.snapshot_medium(&snapshot.name)?.lock(LOCK, false).is_ok_and(|lock| lock.is_some());
            if gone && free {
                self.remove_snapshot(&snapshot.name)?;
            }
        }
        Ok(())
    }
}

/// Copies a snapshot or a backup, which nobody need have open, to another directory.
///
/// # Errors
/// Those of [`copy_snapshot`](crate::log::copy_snapshot).
pub fn copy_backup(
    from: impl AsRef<Path>,
    to: impl AsRef<Path>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Copied, Error> {
    copy(from.as_ref(), to.as_ref(), CopyKind::Backup, progress)
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
