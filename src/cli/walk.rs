//! A way through a tree of directories that no name leads out of.
//!
//! Each step is taken from the descriptor of a directory, follows no symbolic link, and has one name: so what others do to
//! the tree meanwhile leads nowhere else, and a path may be longer than the kernel takes at once. The nearest directories
//! above are kept open; one that is further up is found again by its `..`, and is the one that it was or the walk ends.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, fstat};

use crate::store::check_name;

/// Directories above that are kept open.
const NEAR: usize = 32;

/// How a directory is opened.
const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// Where somebody is in a tree.
pub(super) struct Walk {
    here: OwnedFd,
    /// The nearest directories above, the nearest last.
    near: VecDeque<OwnedFd>,
    /// Device and inode of all directories above.
    above: Vec<(u64, u64)>,
    /// For messages, and for [`reach`] without the top.
    names: PathBuf,
    top: PathBuf,
}

impl Walk {
    /// Begins at the top, whose own path may lead through symbolic links: whoever gave it may mean one.
    pub(super) fn begin(top: &Path) -> io::Result<Walk> {
        let here = open(top, DIRECTORY, Mode::empty())?;
        Ok(Walk { here, near: VecDeque::new(), above: Vec::new(), names: PathBuf::new(), top: top.to_owned() })
    }

    /// The directory.
    pub(super) fn here(&self) -> &OwnedFd {
        &self.here
    }

    /// Its names from the top.
    pub(super) fn names(&self) -> &Path {
        &self.names
    }

    /// What a name in it is called, for messages.
    pub(super) fn shown(&self, name: &[u8]) -> PathBuf {
        self.top.join(&self.names).join(OsStr::from_bytes(name))
    }

    /// Goes into a directory.
    pub(super) fn enter(&mut self, name: &[u8]) -> io::Result<()> {
        let below = open_directory(&self.here, name)?;
        self.above.push(place(&self.here)?);
        self.near.push_back(std::mem::replace(&mut self.here, below));
        if self.near.len() > NEAR {
            self.near.pop_front();
        }
        self.names.push(OsStr::from_bytes(name));
        Ok(())
    }

    /// Goes back to the directory above, and gives the one that was left; at the top, that.
    pub(super) fn leave(&mut self) -> io::Result<OwnedFd> {
        let Some(wanted) = self.above.pop() else { return self.here.try_clone() };
        let above = match self.near.pop_back() {
            Some(above) => above,
            None => openat(&self.here, "..", DIRECTORY, Mode::empty())?,
        };
        if place(&above)? != wanted {
            return Err(io::Error::other("the directory was moved meanwhile"));
        }
        self.names.pop();
        Ok(std::mem::replace(&mut self.here, above))
    }
}

/// Opens a directory in another one.
fn open_directory(parent: &OwnedFd, name: &[u8]) -> io::Result<OwnedFd> {
    let name = checked(name)?;
    Ok(openat(parent, name, DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty())?)
}

/// The directory that these names lead to.
pub(super) fn reach(top: &OwnedFd, names: &Path) -> io::Result<OwnedFd> {
    let mut here = top.try_clone()?;
    for name in names {
        here = open_directory(&here, name.as_bytes())?;
    }
    Ok(here)
}

/// A name that is one.
pub(super) fn checked(name: &[u8]) -> io::Result<&OsStr> {
    match check_name(name) {
        Ok(()) => Ok(OsStr::from_bytes(name)),
        Err(error) => Err(io::Error::new(ErrorKind::InvalidInput, error.to_string())),
    }
}

/// A path to what is open: for calls that take no descriptor.
pub(super) fn by_descriptor(open: &impl AsRawFd) -> PathBuf {
    format!("/proc/self/fd/{}", open.as_raw_fd()).into()
}

fn place(directory: &OwnedFd) -> io::Result<(u64, u64)> {
    let found = fstat(directory)?;
    Ok((found.st_dev, found.st_ino))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn it_goes_deeper_than_a_path_may_be_long_and_back() {
        let top = tempfile::tempdir().unwrap();
        let mut walk = Walk::begin(top.path()).unwrap();
        let name = [b'n'; 200];
        for _ in 0..100 {
            nix::sys::stat::mkdirat(walk.here(), checked(&name).unwrap(), Mode::S_IRWXU).unwrap();
            walk.enter(&name).unwrap();
        }
        assert!(walk.near.len() <= NEAR);
        let deepest = place(walk.here()).unwrap();
        let names = walk.names().to_owned();
        assert_eq!(names.iter().count(), 100);
        assert_eq!(
            place(&reach(&open(top.path(), DIRECTORY, Mode::empty()).unwrap(), &names).unwrap()).unwrap(),
            deepest
        );
        for _ in 0..100 {
            let left = walk.leave().unwrap();
            assert_ne!(place(&left).unwrap(), place(walk.here()).unwrap());
        }
        assert_eq!(walk.names(), Path::new(""));
        assert_eq!(place(walk.here()).unwrap(), place(&walk.leave().unwrap()).unwrap());
    }

    #[test]
    fn no_name_leads_out() {
        let (top, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        symlink(outside.path(), top.path().join("link")).unwrap();
        fs::create_dir_all(top.path().join("d/e")).unwrap();
        let mut walk = Walk::begin(top.path()).unwrap();
        let outside = outside.path().as_os_str().as_bytes();
        for name in [b"..".as_slice(), b".", b"link", b"d/e", outside, b"", b"d\0"] {
            assert!(walk.enter(name).is_err(), "{name:?}");
        }
        assert!(reach(walk.here(), Path::new("d/e")).is_ok());
        for names in ["..", "link", "d/../..", "link/x"] {
            assert!(reach(walk.here(), Path::new(names)).is_err(), "{names}");
        }
    }

    /// Somebody moves a directory away while the walk is below it, further down than what is kept open.
    #[test]
    fn a_directory_that_was_moved_is_noticed() {
        let top = tempfile::tempdir().unwrap();
        let mut walk = Walk::begin(top.path()).unwrap();
        for _ in 0..NEAR + 4 {
            nix::sys::stat::mkdirat(walk.here(), "d", Mode::S_IRWXU).unwrap();
            walk.enter(b"d").unwrap();
        }
        fs::create_dir(top.path().join("elsewhere")).unwrap();
        fs::rename(top.path().join("d/d/d"), top.path().join("elsewhere/d")).unwrap();
        let left: Vec<_> = (0..NEAR + 4).map_while(|_| walk.leave().ok()).collect();
        assert_eq!(left.len(), NEAR + 1);
    }
}
