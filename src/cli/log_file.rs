//! The file that the daemon's messages go to: by default `daemon.log` in the store.
//!
//! Its directory is looked up once. When the file has [`LIMIT`] bytes it becomes `daemon.log.1`, in place of the one
//! before, and a new one is begun; so the two never take more than twice that, by more than a message. Who moves it away
//! by himself (logrotate) sends SIGHUP, and the daemon begins a new one.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, openat, renameat};
use nix::sys::stat::Mode;
use parking_lot::Mutex;

use super::exit::{Failure, OTHER};

/// Its name in the store directory.
const NAME: &str = "daemon.log";

/// How many bytes it gets.
const LIMIT: u64 = 16 << 20;

/// Where messages go.
pub(super) struct LogFile {
    directory: OwnedFd,
    name: OsString,
    /// The file is the store's, where a link would lead its daemon astray.
    own: bool,
    file: Mutex<File>,
    attached: AtomicBool,
    size: AtomicU64,
    limit: u64,
}

impl LogFile {
    /// The log of a store, in its directory. `None`, with a word to who mounts, if it cannot be written.
    ///
    /// # Errors
    /// If something else is in its place: a symbolic link, a file with another name, a pipe.
    pub(super) fn in_store(store: &Path) -> Result<Option<LogFile>, Failure> {
        LogFile::open(store, OsStr::new(NAME), true)
    }

    /// The log where it was asked to be.
    ///
    /// # Errors
    /// As [`in_store`](Self::in_store).
    pub(super) fn at(path: &Path) -> Result<Option<LogFile>, Failure> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = path.file_name().ok_or_else(|| Failure::new(OTHER, format!("{}: no file", path.display())))?;
        LogFile::open(directory, name, false)
    }

    fn open(directory: &Path, name: &OsStr, own: bool) -> Result<Option<LogFile>, Failure> {
        let path = directory.join(name);
        let none = |error: &dyn std::fmt::Display| {
            log::warn!("there will be no log: {}: {error}", path.display());
        };
        let directory = match open(directory, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()) {
            Ok(directory) => directory,
            Err(error) => {
                none(&error.desc());
                return Ok(None);
            }
        };
        match open_in(&directory, name, own) {
            Ok(file) => {
                let size = AtomicU64::new(file.metadata()?.len());
                let (file, attached, name) = (Mutex::new(file), AtomicBool::new(false), name.into());
                Ok(Some(LogFile { directory, name, own, file, attached, size, limit: LIMIT }))
            }
            Err(Errno::ELOOP | Errno::EMLINK | Errno::ENXIO) => Err(Failure::new(
                OTHER,
                format!("{} is no plain file of its own: remove it, or name another with --log-file", path.display()),
            )),
            Err(error) => {
                none(&error.desc());
                Ok(None)
            }
        }
    }

    /// Makes it this process's standard error.
    pub(super) fn attach(&self) -> io::Result<()> {
        let file = self.file.lock();
        nix::unistd::dup2_stderr(&*file)?;
        self.attached.store(true, Ordering::Release);
        Ok(())
    }

    /// Opens what has its name now, and goes on there.
    pub(super) fn reopen(&self) -> io::Result<()> {
        let mut file = self.file.lock();
        self.replace(&mut file)
    }

    fn replace(&self, file: &mut File) -> io::Result<()> {
        let new = open_in(&self.directory, &self.name, self.own)?;
        if self.attached.load(Ordering::Acquire) {
            nix::unistd::dup2_stderr(&new)?;
        }
        self.size.store(new.metadata()?.len(), Ordering::Release);
        *file = new;
        Ok(())
    }

    /// So many bytes were written to standard error. Never logs: it is called by who does.
    pub(super) fn written(&self, bytes: u64) {
        if self.attached.load(Ordering::Acquire) {
            self.count(bytes);
        }
    }

    fn count(&self, bytes: u64) {
        if self.size.fetch_add(bytes, Ordering::AcqRel) + bytes < self.limit {
            return;
        }
        let mut file = self.file.lock();
        if self.size.load(Ordering::Acquire) < self.limit {
            // Another thread has just done it.
            return;
        }
        let is_plain = file.metadata().is_ok_and(|metadata| metadata.file_type().is_file());
        let mut before = self.name.clone();
        before.push(".1");
        let directory = &self.directory;
        let moved = is_plain && renameat(directory, self.name.as_os_str(), directory, before.as_os_str()).is_ok();
        if !moved || self.replace(&mut file).is_err() {
            // Tried again when as much has come once more.
            self.size.store(0, Ordering::Release);
        }
    }
}

/// Opens the log for appending. The store's own is no symbolic link (`ELOOP`), and a file with one name (`EMLINK`): root's
/// daemon would write to whatever the owner of the store directory has put there.
fn open_in(directory: &OwnedFd, name: &OsStr, own: bool) -> Result<File, Errno> {
    // A pipe that nobody reads is refused (`ENXIO`), not waited for.
    let mut flags =
        OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CREAT | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    if own {
        flags |= OFlag::O_NOFOLLOW;
    }
    let file = File::from(openat(directory, name, flags, Mode::from_bits_truncate(0o600))?);
    let metadata = file.metadata().map_err(|_| Errno::EIO)?;
    let kind = metadata.file_type();
    match own {
        true if !kind.is_file() || metadata.nlink() > 1 => Err(Errno::EMLINK),
        false if kind.is_block_device() => Err(Errno::ENXIO),
        _ => Ok(file),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_log_has_a_bound() {
        let directory = tempfile::tempdir().unwrap();
        let mut log_file = LogFile::in_store(directory.path()).unwrap().unwrap();
        log_file.limit = 100;
        for message in 0..1000 {
            let message = format!("message {message}\n");
            log_file.file.lock().write_all(message.as_bytes()).unwrap();
            log_file.count(message.len() as u64);
        }
        let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
        let (now, before) = (read(NAME), read("daemon.log.1"));
        assert!(now.len() < 100 && before.len() < 120, "{now}{before}");
        assert!((before + &now).ends_with("message 997\nmessage 998\nmessage 999\n"), "{now}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_is_no_plain_file_of_the_store_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join(NAME), directory.path().join("other"));
        std::fs::write(&other, "untouched").unwrap();
        let refused =
            || LogFile::in_store(directory.path()).is_err_and(|failure| failure.message.contains("plain file"));
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert!(refused());
        std::fs::remove_file(&path).unwrap();
        std::fs::hard_link(&other, &path).unwrap();
        assert!(refused());
        std::fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o600)).unwrap();
        assert!(refused());
        std::fs::remove_file(&path).unwrap();
        assert!(!refused());
        assert_eq!(std::fs::read(&other).unwrap(), b"untouched");
        // Where it was asked for, a link is what was meant.
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert!(LogFile::at(&path).unwrap().is_some());
    }
}
