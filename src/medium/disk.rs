//! The real medium: a directory of a mounted file system.
//!
//! Every descriptor is closed on exec, so no child keeps a segment or the lock open. No call is repeated after an
//! error, above all no fsync: the kernel marks the pages clean when one fails, and a second one would succeed without
//! having written anything (Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020).

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, IoSliceMut};
use std::mem;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once, OnceLock};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, Flock, FlockArg, PosixFadviseAdvice, fallocate, posix_fadvise};
use nix::sys::statfs::{FsType, TMPFS_MAGIC, fstatfs};
use nix::sys::statvfs::statvfs;
use rustix::io::{ReadWriteFlags, preadv2};

use super::open_files::close_some;
use super::{File, Lock, Medium, Space, Status};

/// A store directory on a real file system.
///
/// ```
/// use caskfs::medium::{Disk, Medium};
///
/// let directory = tempfile::tempdir()?;
/// let disk = Disk::new(directory.path());
/// let file = disk.create("note")?;
/// file.write_all_at(b"hello", 0)?;
/// file.sync()?; // the bytes are durable,
/// disk.sync_dir("")?; // and now the name is too
/// assert_eq!(disk.list("")?, ["note"]);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Disk {
    root: PathBuf,
    /// The directory, once it was there: from then on it is that one, whatever it is called by now and whatever has its name.
    directory: Arc<OnceLock<(fs::File, PathBuf)>>,
    /// It was said that the file system does not tell its size.
    sizeless: Arc<Once>,
}

/// The room on a file system that tells no size at all: what is missing there the write itself will tell.
const WITHOUT_LIMIT: Space = Space { total: 1 << 60, free: 1 << 60, available: 1 << 60 };

impl Disk {
    /// The medium whose root is the directory `root`. Touches nothing: a directory that is missing fails the first
    /// call that needs it.
    pub fn new(root: impl Into<PathBuf>) -> Disk {
        Disk { root: root.into(), directory: Arc::default(), sizeless: Arc::new(Once::new()) }
    }

    /// Makes the store directory if it is missing, and durable its name; an empty one that is there is closed to
    /// others (mode 0700). One that holds anything is left alone.
    ///
    /// # Errors
    /// Those of mkdir(2) and chmod(2).
    pub fn create_root(&self) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.root) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if fs::read_dir(&self.root)?.next().is_some() {
                    return Ok(());
                }
                fs::set_permissions(&self.root, fs::Permissions::from_mode(0o700))?;
            }
            other => other?,
        }
        // Also of one that is there: whoever made it may not have.
        let parent = self.root.parent().filter(|parent| !parent.as_os_str().is_empty());
        fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }

    /// The store directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where `path` is on the file system; never outside of the root.
    fn resolve(&self, path: &str) -> io::Result<PathBuf> {
        check(path)?;
        let root = self.found()?;
        Ok(match path {
            "" => root,
            path => root.join(path),
        })
    }

    /// The root by its descriptor. By its path where there is no /proc.
    fn found(&self) -> io::Result<PathBuf> {
        if let Some((_, place)) = self.directory.get() {
            return Ok(place.clone());
        }
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
        let directory = OpenOptions::new().read(true).custom_flags(flags).open(&self.root)?;
        let place = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
        let place = if place.try_exists().unwrap_or(false) { place } else { self.root.clone() };
        Ok(self.directory.get_or_init(|| (directory, place)).1.clone())
    }
}

/// Refuses what could lead out of the store: absolute paths, `..`, and components that are empty, `.` or hold a NUL.
pub(super) fn check(path: &str) -> io::Result<()> {
    let bad = |component: &str| matches!(component, "" | "." | "..") || component.contains('\0');
    if !path.is_empty() && path.split('/').any(bad) {
        let message = format!("{path:?} is not a path inside the store directory");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(())
}

impl Medium for Disk {
    fn create(&self, path: &str) -> io::Result<Arc<dyn File>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600).custom_flags(libc::O_CLOEXEC);
        let path = self.resolve(path)?;
        let file = with_descriptor(|| options.open(&path))?;
        Ok(Arc::new(DiskFile::new(file)))
    }

    fn open(&self, path: &str, write: bool) -> io::Result<Arc<dyn File>> {
        let mut options = OpenOptions::new();
        options.read(true).write(write).custom_flags(libc::O_CLOEXEC);
        let path = self.resolve(path)?;
        let file = with_descriptor(|| options.open(&path))?;
        Ok(Arc::new(DiskFile::new(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.resolve(from)?, self.resolve(to)?)
    }

    fn hard_link(&self, from: &str, to: &str) -> io::Result<()> {
        fs::hard_link(self.resolve(from)?, self.resolve(to)?)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.resolve(path)?)
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(self.resolve(path)?)
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        fs::remove_dir(self.resolve(path)?)
    }

    fn status(&self, path: &str) -> io::Result<Status> {
        let found = fs::symlink_metadata(self.resolve(path)?)?;
        Ok(match found.is_dir() {
            true => Status::Directory,
            false => Status::File { len: found.len(), links: found.nlink() },
        })
    }

    /// A name that is not UTF-8 is somebody else's: it is listed with U+FFFD in it, and so matches no name of a store.
    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        let path = self.resolve(path)?;
        for entry in with_descriptor(|| fs::read_dir(&path))? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_CLOEXEC | libc::O_DIRECTORY);
        let path = self.resolve(path)?;
        with_descriptor(|| options.open(&path))?.sync_all()
    }

    fn space(&self) -> io::Result<Space> {
        let figures = statvfs(&self.found()?)?;
        if figures.blocks() == 0 {
            let root = self.root.display();
            self.sizeless.call_once(|| {
                log::warn!(
                    "the file system of {root} tells no size: no room is kept free on it for deletes and merges"
                );
            });
            return Ok(WITHOUT_LIMIT);
        }
        // Some file systems leave f_frsize at 0 (statvfs(3) counts blocks in it); counts of "no limit" would overflow.
        let unit = match figures.fragment_size() {
            0 => figures.block_size(),
            size => size,
        };
        let free = figures.blocks_free().saturating_mul(unit);
        Ok(Space {
            total: figures.blocks().saturating_mul(unit),
            free,
            available: figures.blocks_available().saturating_mul(unit).min(free),
        })
    }

    fn lock(&self, path: &str, shared: bool) -> io::Result<Option<Box<dyn Lock>>> {
        let path = self.resolve(path)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_CLOEXEC);
        let mut file = with_descriptor(|| options.open(&path));
        // A reader may lock what it cannot write: flock(2) asks for no permission but to open.
        if shared && file.as_ref().is_err_and(is_read_only) {
            file = OpenOptions::new().read(true).custom_flags(libc::O_CLOEXEC).open(&path);
        }
        let how = if shared { FlockArg::LockSharedNonblock } else { FlockArg::LockExclusiveNonblock };
        match Flock::lock(file?, how) {
            Ok(flock) => Ok(Some(Box::new(DiskLock(Some(flock))))),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(errno.into()),
        }
    }
}

/// Opens something; if there is no descriptor left, once more without some of the segments that are open.
fn with_descriptor<T>(mut open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    match open() {
        Err(error) if close_some(&error) => open(),
        other => other,
    }
}

/// Whether an open failed because this process may not, or nobody can, write there.
fn is_read_only(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EROFS | libc::EACCES | libc::EPERM))
}

/// An open file of a [`Disk`]. Every call names its offset (pread(2), pwrite(2)), so threads share no position.
#[derive(Debug)]
struct DiskFile {
    file: fs::File,
    /// The file system keeps everything in memory, and so does not know [`ReadWriteFlags::NOWAIT`].
    in_memory: AtomicBool,
}

impl DiskFile {
    fn new(file: fs::File) -> DiskFile {
        DiskFile { file, in_memory: AtomicBool::new(false) }
    }
}

/// statfs(2)'s word for ramfs.
const RAMFS_MAGIC: FsType = FsType(0x8584_58f6);

/// Whether a file is on a file system that has no medium.
fn is_in_memory(file: &fs::File) -> bool {
    fstatfs(file).is_ok_and(|figures| matches!(figures.filesystem_type(), TMPFS_MAGIC | RAMFS_MAGIC))
}

impl File for DiskFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn read_cached_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
        if self.in_memory.load(Ordering::Relaxed) {
            return self.read_exact_at(buffer, offset).map(|()| true);
        }
        let (mut rest, mut offset) = (buffer, offset);
        while !rest.is_empty() {
            match preadv2(&self.file, &mut [IoSliceMut::new(rest)], offset, ReadWriteFlags::NOWAIT) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    rest = rest.get_mut(count..).unwrap_or_default();
                    offset += count as u64;
                }
                Err(rustix::io::Errno::AGAIN) => return Ok(false),
                Err(rustix::io::Errno::INTR) => {}
                // The file system does not know the flag.
                Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS | rustix::io::Errno::INVAL) => {
                    if !is_in_memory(&self.file) {
                        return Ok(false);
                    }
                    self.in_memory.store(true, Ordering::Relaxed);
                    return self.read_exact_at(rest, offset).map(|()| true);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(data, offset)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let len = i64::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
        match fallocate(&self.file, FallocateFlags::empty(), 0, len) {
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Err(io::ErrorKind::Unsupported.into()),
            other => Ok(other?),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn drop_cache(&self) {
        // Advice: a file system that does not take it is read all the same.
        let _ = posix_fadvise(&self.file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    }
}

/// A held flock(2). `None` only while it is dropped.
#[derive(Debug)]
struct DiskLock(Option<Flock<fs::File>>);

impl Lock for DiskLock {}

impl Drop for DiskLock {
    /// `Flock` panics when the kernel does not unlock. Better to keep the descriptor, and with it the lock, until the
    /// process ends.
    fn drop(&mut self) {
        if let Some(Err((flock, _))) = self.0.take().map(Flock::unlock) {
            mem::forget(flock);
        }
    }
}
