//! `caskfs export`: a store as a plain tree, without a mount.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, mkdirat, mknodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat, linkat, symlinkat};

use super::arguments::ExportArguments;
use super::backup::{check_apart, with_snapshot};
use super::control::Connection;
use super::exit::{DAMAGED, Failure, OCCUPIED, OTHER};
use super::progress::Bar;
use super::store_access::{Access, Opened, open};
use super::walk::{Walk, by_descriptor, checked, reach};
use crate::store::{Child, EntryId, Error, Kind, MAX_EXTENT, Options, ROOT, Stat, Store};

/// Children of a directory that are looked at together.
const PIECE: usize = 1_000;

pub(super) fn run(arguments: &ExportArguments) -> Result<(), Failure> {
    let ExportArguments { store, directory } = arguments;
    check_apart(store, directory)?;
    match open(store, &Access::Read.options(), Connection::hold_snapshot)? {
        Opened::Store(store) => export(&store, directory),
        // One moment of a store that is in use.
        Opened::Asked(held) => with_snapshot(store, held, |snapshot| {
            let options = Options { read_only: true, ..Options::default() };
            export(&Store::open(snapshot, options)?, directory)
        }),
    }
}

fn export(store: &Store, directory: &Path) -> Result<(), Failure> {
    let about = |error: io::Error| Failure::from(error).about(directory.display());
    // Closed to others until everything in it has its own mode.
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other.map_err(about)?,
    }
    let walk = Walk::begin(directory).map_err(about)?;
    if fs::read_dir(by_descriptor(walk.here())).map_err(about)?.next().is_some() {
        let failure = Failure::new(OCCUPIED, "there is something in it already, and nothing is replaced");
        return Err(failure.about(directory.display()));
    }
    let top = walk.here().try_clone()?;
    let (bar, linked) = (Bar::default(), HashMap::new());
    let mut export = Export { store, walk, top, bar, bytes: 0, linked, damaged: 0, lost: Vec::new() };
    export.tree()?;
    let Export { bar, damaged, lost, .. } = export;
    drop(bar);
    match (damaged, lost.is_empty()) {
        (0, true) if store.recovery_report().is_clean() => Ok(()),
        (0, true) => {
            let reason = "all keys that were found are exported; what could not be read at the start may be missing";
            Err(Failure::new(DAMAGED, reason))
        }
        (0, false) => Err(Failure::new(OTHER, format!("all values are exported, but not {}", lost.join(", ")))),
        (damaged, _) => Err(Failure::new(DAMAGED, format!("{damaged} keys are damaged; all others are exported"))),
    }
}

/// An export under way.
struct Export<'a> {
    store: &'a Store,
    walk: Walk,
    top: OwnedFd,
    bar: Bar,
    bytes: u64,
    /// Where the first name of an entry with several of them went: names from the top.
    linked: HashMap<EntryId, PathBuf>,
    /// Keys whose value could not be read, or whose name is none.
    damaged: u64,
    /// What the target does not take.
    lost: Vec<&'static str>,
}

/// A directory that is being exported: what is left of its children.
struct Level {
    id: EntryId,
    cookie: u64,
    children: std::vec::IntoIter<Child>,
}

impl Level {
    fn new(id: EntryId) -> Level {
        Level { id, cookie: 0, children: Vec::new().into_iter() }
    }

    fn next(&mut self, store: &Store) -> Result<Option<Child>, Error> {
        if self.children.len() == 0 {
            self.children = store.children(self.id, self.cookie, PIECE)?.into_iter();
        }
        let child = self.children.next();
        self.cookie = child.as_ref().map_or(self.cookie, |child| child.cookie);
        Ok(child)
    }
}

impl Export<'_> {
    fn tree(&mut self) -> Result<(), Failure> {
        let mut levels = vec![Level::new(ROOT)];
        while let Some(level) = levels.last_mut() {
            let Some(child) = level.next(self.store)? else {
                // Last: what is made in a directory changes its times.
                let (id, shown) = (level.id, self.walk.shown(b""));
                let left = self.walk.leave().map_err(Failure::from);
                let stat = self.store.entry(id)?;
                let set = left.and_then(|left| self.attributes(&left, &stat));
                set.map_err(|failure| failure.about(shown.display()))?;
                levels.pop();
                continue;
            };
            if let Err(error) = checked(&child.name) {
                // Damage, or somebody's malice: it would lead out of the target.
                log::error!("{}: {error}: it is not exported", self.walk.shown(b"").display());
                self.damaged += 1;
                continue;
            }
            let exported = self.entry(&child.name, &child.stat);
            exported.map_err(|failure| failure.about(self.walk.shown(&child.name).display()))?;
            if child.stat.attributes.kind == Kind::Directory {
                levels.push(Level::new(child.stat.id));
            }
        }
        Ok(())
    }

    /// Makes what a name leads to, and goes in if that is a directory.
    fn entry(&mut self, name: &[u8], stat: &Stat) -> Result<(), Failure> {
        let attributes = stat.attributes;
        let os_name = checked(name)?;
        if attributes.kind != Kind::Directory && stat.links > 1 {
            if let Some(first) = self.linked.get(&stat.id) {
                let (above, first) = (first.parent().unwrap_or(Path::new("")), first.file_name().unwrap_or_default());
                let directory = reach(&self.top, above)?;
                return Ok(
                    linkat(&directory, first, self.walk.here(), os_name, AtFlags::empty()).map_err(io::Error::from)?
                );
            }
            self.linked.insert(stat.id, self.walk.names().join(os_name));
        }
        let here = self.walk.here();
        let made = match attributes.kind {
            Kind::Directory => {
                mkdirat(here, os_name, Mode::S_IRWXU).map_err(io::Error::from)?;
                return Ok(self.walk.enter(name)?);
            }
            Kind::File => {
                let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
                let file = openat(here, os_name, flags, Mode::S_IRUSR | Mode::S_IWUSR).map_err(io::Error::from)?;
                let file = File::from(file);
                self.value(&file, name, stat)?;
                file.into()
            }
            Kind::Symlink => {
                let target = self.store.target(stat.id)?;
                symlinkat(std::ffi::OsStr::from_bytes(&target), here, os_name).map_err(io::Error::from)?;
                self.look_at(name)?
            }
            kind => {
                let kind = match kind {
                    Kind::Fifo => SFlag::S_IFIFO,
                    Kind::Socket => SFlag::S_IFSOCK,
                    Kind::CharDevice => SFlag::S_IFCHR,
                    _ => SFlag::S_IFBLK,
                };
                let mode = Mode::S_IRUSR | Mode::S_IWUSR;
                if let Err(error) = mknodat(here, os_name, kind, mode, attributes.rdev.into()) {
                    self.lose("devices", &self.walk.shown(name), &error.into());
                    self.linked.remove(&stat.id);
                    return Ok(());
                }
                self.look_at(name)?
            }
        };
        self.attributes(&made, stat)
    }

    /// What was made just now, whatever it is: to change it, and not what has its name by then.
    fn look_at(&self, name: &[u8]) -> io::Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(openat(self.walk.here(), checked(name)?, flags, Mode::empty())?)
    }

    /// Holes stay holes.
    fn value(&mut self, file: &File, name: &[u8], stat: &Stat) -> Result<(), Failure> {
        file.set_len(stat.size)?;
        let mut buffer = vec![0; MAX_EXTENT];
        for range in self.store.data_ranges(stat.id, 0..stat.size)? {
            let mut offset = range.start;
            while offset < range.end {
                let want = usize::try_from(range.end - offset).unwrap_or(MAX_EXTENT).min(MAX_EXTENT);
                let piece = buffer.get_mut(..want).unwrap_or_default();
                let read = match self.store.read(stat.id, offset, piece) {
                    Ok(0) => break,
                    Ok(read) => read,
                    Err(error @ Error::DamagedKey { .. }) => {
                        log::error!("{}: {error}", self.walk.shown(name).display());
                        self.damaged += 1;
                        return Ok(());
                    }
                    Err(error) => return Err(error.into()),
                };
                file.write_all_at(piece.get(..read).unwrap_or_default(), offset)?;
                offset += read as u64;
                self.bytes += read as u64;
                self.bar.show(self.bytes, None);
            }
        }
        Ok(())
    }

    /// In this order: a change of owner takes capabilities and suid bits away, and any change sets the times.
    fn attributes(&mut self, made: &OwnedFd, stat: &Stat) -> Result<(), Failure> {
        let (attributes, path) = (stat.attributes, by_descriptor(made));
        let owners = (Some(Uid::from_raw(attributes.uid)), Some(Gid::from_raw(attributes.gid)));
        if let Err(error) = fchownat(made, "", owners.0, owners.1, AtFlags::AT_EMPTY_PATH) {
            self.lose("owners", &shown(&path), &error.into());
        }
        if attributes.kind != Kind::Symlink {
            fs::set_permissions(&path, Permissions::from_mode(attributes.mode.into()))?;
        }
        for name in self.store.xattr_names(stat.id)? {
            let value = self.store.xattr(stat.id, &name)?;
            if let Err(error) = xattr::set_deref(&path, std::ffi::OsStr::from_bytes(&name), &value) {
                self.lose("extended attributes", &shown(&path), &error);
            }
        }
        let time = |time: crate::store::Time| TimeSpec::new(time.seconds(), time.nanoseconds().into());
        let (atime, mtime) = (time(attributes.atime), time(attributes.mtime));
        utimensat(AT_FDCWD, &path, &atime, &mtime, UtimensatFlags::FollowSymlink).map_err(io::Error::from)?;
        Ok(())
    }

    /// Something that this user may not do, or this file system does not have: told once, and the rest goes on.
    fn lose(&mut self, what: &'static str, path: &Path, error: &io::Error) {
        if !self.lost.contains(&what) {
            log::warn!("{}: {error}: {what} are not exported everywhere", path.display());
            self.lost.push(what);
        }
    }
}

/// What is open there, for messages.
fn shown(descriptor: &Path) -> PathBuf {
    fs::read_link(descriptor).unwrap_or_else(|_| descriptor.to_owned())
}
