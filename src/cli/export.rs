//! `caskfs export`: a store as a plain tree, without a mount.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, mknod, utimensat};
use nix::sys::time::TimeSpec;

use super::arguments::ExportArguments;
use super::backup::check_apart;
use super::control::{Connection, Request};
use super::exit::{DAMAGED, Failure, OCCUPIED, OTHER};
use super::progress::Bar;
use super::store_access::{Access, Opened, ask, open};
use crate::store::{EntryId, Error, Kind, MAX_EXTENT, Options, ROOT, Stat, Store, backup_name};

pub(super) fn run(arguments: &ExportArguments) -> Result<(), Failure> {
    let ExportArguments { store, directory } = arguments;
    check_apart(store, directory)?;
    let name = backup_name();
    let request = Request::Snapshot { name: name.clone() };
    let call = |connection: Connection| connection.call(&request, &mut io::empty(), &mut io::sink());
    match open(store, &Access::Read.options(), call)? {
        Opened::Store(store) => export(&store, directory),
        // One moment of a store that is in use.
        Opened::Asked(_) => {
            let options = Options { read_only: true, ..Options::default() };
            let snapshot = Store::open(store.join("snapshots").join(&name), options);
            let exported = snapshot.map_err(Failure::from).and_then(|snapshot| export(&snapshot, directory));
            let removed = ask(store, Access::Write, &Request::RemoveSnapshot { name });
            exported.and(removed.map(drop))
        }
    }
}

fn export(store: &Store, directory: &Path) -> Result<(), Failure> {
    let about = |failure: Failure| failure.about(directory.display());
    // Closed to others until everything in it has its own mode.
    match DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::read_dir(directory).map_err(|error| about(error.into()))?.next().is_some() {
                return Err(about(Failure::new(OCCUPIED, "there is something in it already, and nothing is replaced")));
            }
        }
        other => other.map_err(|error| about(error.into()))?,
    }
    let mut export =
        Export { store, bar: Bar::default(), bytes: 0, linked: HashMap::new(), damaged: 0, lost: Vec::new() };
    export.tree(directory)?;
    let Export { bar, damaged, lost, .. } = export;
    drop(bar);
    match (damaged, lost.is_empty()) {
        (0, true) => Ok(()),
        (0, false) => Err(Failure::new(OTHER, format!("all values are exported, but not {}", lost.join(", ")))),
        (damaged, _) => Err(Failure::new(DAMAGED, format!("{damaged} keys are damaged; all others are exported"))),
    }
}

/// An export under way.
struct Export<'a> {
    store: &'a Store,
    bar: Bar,
    bytes: u64,
    /// Where the first name of an entry with several of them went.
    linked: HashMap<EntryId, PathBuf>,
    /// Keys whose value could not be read.
    damaged: u64,
    /// What the target does not take.
    lost: Vec<&'static str>,
}

impl Export<'_> {
    fn tree(&mut self, top: &Path) -> Result<(), Failure> {
        let mut pending = vec![(top.to_owned(), ROOT)];
        // Directories get their attributes last: what is made in them changes their times.
        let mut made = Vec::new();
        while let Some((path, id)) = pending.pop() {
            for child in self.store.children(id, 0, usize::MAX)? {
                let path = path.join(std::ffi::OsStr::from_bytes(&child.name));
                let exported = self.entry(&path, &child.stat);
                exported.map_err(|failure| failure.about(path.display()))?;
                if child.stat.attributes.kind == Kind::Directory {
                    pending.push((path, child.stat.id));
                }
            }
            made.push((path, id));
        }
        for (path, id) in made.iter().rev() {
            let stat = self.store.entry(*id)?;
            self.attributes(path, &stat).map_err(|failure| failure.about(path.display()))?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, stat: &Stat) -> Result<(), Failure> {
        let attributes = stat.attributes;
        if attributes.kind != Kind::Directory && stat.links > 1 {
            if let Some(first) = self.linked.get(&stat.id) {
                return Ok(fs::hard_link(first, path)?);
            }
            self.linked.insert(stat.id, path.to_owned());
        }
        match attributes.kind {
            Kind::Directory => return Ok(DirBuilder::new().mode(0o700).create(path)?),
            Kind::File => self.value(path, stat)?,
            Kind::Symlink => symlink(std::ffi::OsStr::from_bytes(&self.store.target(stat.id)?), path)?,
            kind => {
                let kind = match kind {
                    Kind::Fifo => SFlag::S_IFIFO,
                    Kind::Socket => SFlag::S_IFSOCK,
                    Kind::CharDevice => SFlag::S_IFCHR,
                    _ => SFlag::S_IFBLK,
                };
                if let Err(error) = mknod(path, kind, Mode::from_bits_truncate(0o600), attributes.rdev.into()) {
                    self.lose("devices", path, &error.into());
                    return Ok(());
                }
            }
        }
        self.attributes(path, stat)
    }

    /// Holes stay holes.
    fn value(&mut self, path: &Path, stat: &Stat) -> Result<(), Failure> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
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
                        log::error!("{error}");
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
    fn attributes(&mut self, path: &Path, stat: &Stat) -> Result<(), Failure> {
        let attributes = stat.attributes;
        if let Err(error) = std::os::unix::fs::lchown(path, Some(attributes.uid), Some(attributes.gid)) {
            self.lose("owners", path, &error);
        }
        if attributes.kind != Kind::Symlink {
            fs::set_permissions(path, Permissions::from_mode(attributes.mode.into()))?;
        }
        for name in self.store.xattr_names(stat.id)? {
            let value = self.store.xattr(stat.id, &name)?;
            if let Err(error) = xattr::set(path, std::ffi::OsStr::from_bytes(&name), &value) {
                self.lose("extended attributes", path, &error);
            }
        }
        let time = |time: crate::store::Time| TimeSpec::new(time.seconds(), time.nanoseconds().into());
        let (atime, mtime) = (time(attributes.atime), time(attributes.mtime));
        utimensat(AT_FDCWD, path, &atime, &mtime, UtimensatFlags::NoFollowSymlink).map_err(io::Error::from)?;
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
