//! `caskfs import`: a plain tree into a store, without a mount.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};
use nix::unistd::{Whence, lseek};

use super::arguments::ImportArguments;
use super::backup::check_apart;
use super::exit::{Failure, INCOMPLETE, OCCUPIED};
use super::progress::Bar;
use super::store_access::{key, open_alone};
use super::walk::{Walk, by_descriptor, checked};
use crate::store::{Attributes, EntryId, Error, Import, Kind, MAX_EXTENT, Options, ROOT, Store, Time, XattrMode};

pub(super) fn run(arguments: &ImportArguments) -> Result<(), Failure> {
    let ImportArguments { directory, store, below, go_on } = arguments;
    check_apart(directory, store)?;
    // Before a store is made.
    let walk = Walk::begin(directory).and_then(|walk| fs::read_dir(by_descriptor(walk.here())).map(|_| walk));
    let walk = walk.map_err(|error| Failure::from(error).about(directory.display()))?;
    let options = Options { create: true, durable: false, ..Options::default() };
    let store = open_alone(store, &options)?;
    let (bar, linked) = (Bar::default(), HashMap::new());
    let mut import = Importer { store: &store, walk, go_on: *go_on, bar, bytes: 0, linked, left_out: 0 };
    let top = import.top(below.as_deref().map(key).unwrap_or_default().as_slice())?;
    import.tree(top)?;
    store.sync()?;
    match import.left_out {
        0 => Ok(()),
        count => {
            let what = if count == 1 { "1 thing is".to_owned() } else { format!("{count} things are") };
            let help = "--continue takes them in when they can be read";
            Err(Failure::new(INCOMPLETE, format!("{what} left out, as said above; all else is imported: {help}")))
        }
    }
}

/// Why something was not brought in.
enum Refusal {
    /// It cannot be read, or cannot be a key: the rest goes on.
    LeftOut(String),
    /// The store takes nothing more.
    Stop(Failure),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Refusal {
        Refusal::LeftOut(error.to_string())
    }
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Refusal {
        io::Error::from(errno).into()
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        match error {
            Error::NoSpace | Error::OutOfMemory | Error::ReadOnly | Error::Closing | Error::Log(_) => {
                Refusal::Stop(error.into())
            }
            error => Refusal::LeftOut(error.to_string()),
        }
    }
}

/// An import under way.
struct Importer<'a> {
    store: &'a Store,
    walk: Walk,
    /// What is there stays if it is equal, and is replaced if not.
    go_on: bool,
    bar: Bar,
    bytes: u64,
    /// Files with several names that are in the store already, by device and inode.
    linked: HashMap<(u64, u64), EntryId>,
    left_out: u64,
}

/// A directory that is being brought in: what is left of its names.
struct Level {
    id: EntryId,
    names: std::vec::IntoIter<OsString>,
}

impl Importer<'_> {
    /// The directory that the tree goes into: an empty one, or one that is made.
    fn top(&mut self, below: &[u8]) -> Result<EntryId, Failure> {
        let mut id = ROOT;
        for name in below.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            let mut transaction = self.store.begin()?;
            id = match transaction.lookup(id, name) {
                Some(found) => found,
                None => {
                    let now = transaction.now();
                    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
                    let directory = Kind::Directory;
                    let attributes = Attributes {
                        kind: directory,
                        mode: 0o755,
                        uid,
                        gid,
                        rdev: 0,
                        atime: now,
                        mtime: now,
                        ctime: now,
                    };
                    let made = transaction.create(id, name, attributes, b"")?;
                    transaction.commit()?;
                    made
                }
            };
        }
        match self.store.children(id, 0, 1) {
            Ok(children) if self.go_on || children.is_empty() => Ok(id),
            Ok(_) => {
                let what = "there are keys already, and nothing is replaced: choose another place with --below, or go on \
                            with an import that was cut short with --continue";
                Err(Failure::new(OCCUPIED, what).about(format!("/{}", String::from_utf8_lossy(below))))
            }
            Err(error) => Err(Failure::from(error).about(format!("/{}", String::from_utf8_lossy(below)))),
        }
    }

    fn tree(&mut self, top: EntryId) -> Result<(), Failure> {
        let mut levels = vec![self.level(top)];
        while let Some(level) = levels.last_mut() {
            let id = level.id;
            let Some(name) = level.names.next() else {
                levels.pop();
                let shown = self.walk.shown(b"");
                // Whoever loses the way knows nothing of where it is.
                let left = self.walk.leave().map_err(|error| Failure::from(error).about(shown.display()))?;
                // Last: what is made in a directory changes its times.
                let set = self.directory(&File::from(left), id);
                self.note(set, &shown)?;
                continue;
            };
            let entered = self.entry(id, name.as_bytes());
            let shown = self.walk.shown(name.as_bytes());
            if let Some(Some(below)) = self.note(entered, &shown)? {
                levels.push(self.level(below));
            }
        }
        Ok(())
    }

    /// Says and counts what is left out.
    fn note<T>(&mut self, result: Result<T, Refusal>, shown: &Path) -> Result<Option<T>, Failure> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(Refusal::Stop(failure)) => Err(failure.about(shown.display())),
            Err(Refusal::LeftOut(why)) => {
                self.bar.say(format_args!("{}: {why}: left out", shown.display()));
                self.left_out += 1;
                Ok(None)
            }
        }
    }

    /// The names in the directory where the walk is. Those that cannot be read are left out.
    fn level(&mut self, id: EntryId) -> Level {
        let mut names = Vec::new();
        match fs::read_dir(by_descriptor(self.walk.here())) {
            Ok(entries) => {
                for entry in entries {
                    match entry {
                        Ok(entry) => names.push(entry.file_name()),
                        Err(error) => self.left_out_of_here(&error),
                    }
                }
            }
            Err(error) => self.left_out_of_here(&error),
        }
        names.sort();
        Level { id, names: names.into_iter() }
    }

    fn left_out_of_here(&mut self, error: &io::Error) {
        self.bar.say(format_args!("{}: {error}: what is in it is left out", self.walk.shown(b"").display()));
        self.left_out += 1;
    }

    /// Brings one name in, and goes in if that is a directory: then what it is in the store.
    fn entry(&mut self, parent: EntryId, name: &[u8]) -> Result<Option<EntryId>, Refusal> {
        let os_name = checked(name)?;
        let found = fstatat(self.walk.here(), os_name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        let several = kind(&found) != Kind::Directory && found.st_nlink > 1;
        let place = (found.st_dev, found.st_ino);
        if let Some(&id) = self.linked.get(&place).filter(|_| several) {
            self.link(id, parent, name, attributes(&found))?;
            return Ok(None);
        }
        let id = match kind(&found) {
            Kind::Directory => {
                self.walk.enter(name)?;
                let made = self.make_directory(parent, name);
                if made.is_err() {
                    self.walk.leave()?;
                }
                return made.map(Some);
            }
            Kind::File => self.file(parent, name)?,
            Kind::Symlink => {
                let target = readlinkat(self.walk.here(), os_name)?;
                let xattrs = xattrs(&by_descriptor(self.walk.here()).join(os_name), false)?;
                self.bring(parent, name, attributes(&found), target.as_bytes(), &xattrs)?
            }
            _ => {
                let xattrs = xattrs(&by_descriptor(self.walk.here()).join(os_name), false)?;
                self.bring(parent, name, attributes(&found), b"", &xattrs)?
            }
        };
        if several {
            self.linked.insert(place, id);
        }
        Ok(None)
    }

    /// One more name of what is in the store.
    fn link(&self, id: EntryId, parent: EntryId, name: &[u8], attributes: Attributes) -> Result<(), Refusal> {
        let mut transaction = self.store.begin()?;
        if self.go_on {
            if transaction.lookup(parent, name) == Some(id) {
                return Ok(());
            }
            transaction.vacate(parent, name)?;
        }
        transaction.link(id, parent, name)?;
        // A new name is a change, but not one that the original saw.
        transaction.set_attributes(id, attributes)?;
        transaction.commit()?;
        Ok(())
    }

    /// The directory where the walk is; one that is there is taken as it is.
    fn make_directory(&self, parent: EntryId, name: &[u8]) -> Result<EntryId, Refusal> {
        if self.go_on {
            let transaction = self.store.begin()?;
            if let Some(there) = transaction.lookup(parent, name)
                && transaction.is_directory(there)?
            {
                return Ok(there);
            }
        }
        let xattrs = xattrs(&by_descriptor(self.walk.here()), true)?;
        self.bring(parent, name, attributes(&fstat(self.walk.here())?), b"", &xattrs)
    }

    /// Brings in what has no value.
    fn bring(
        &self,
        parent: EntryId,
        name: &[u8],
        attributes: Attributes,
        target: &[u8],
        xattrs: &[(Vec<u8>, Vec<u8>)],
    ) -> Result<EntryId, Refusal> {
        let new = Import { parent, name, attributes, target, xattrs, size: 0, replace: self.go_on };
        if let Some(there) = self.equal(&new)? {
            return Ok(there);
        }
        Ok(self.store.import(&new, &mut || Ok(None))?)
    }

    fn file(&mut self, parent: EntryId, name: &[u8]) -> Result<EntryId, Refusal> {
        // Should it have become a fifo meanwhile, its writer is not waited for.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = File::from(openat(self.walk.here(), checked(name)?, flags, Mode::empty())?);
        let found = fstat(&file)?;
        if kind(&found) != Kind::File {
            return Err(io::Error::other("it became something else meanwhile").into());
        }
        let (attributes, xattrs) = (attributes(&found), xattrs(&by_descriptor(&file), true)?);
        let size = u64::try_from(found.st_size).unwrap_or(0);
        let new = Import { parent, name, attributes, target: b"", xattrs: &xattrs, size, replace: self.go_on };
        if let Some(there) = self.equal(&new)? {
            return Ok(there);
        }
        let (mut offset, bar, bytes, mut unread) = (0, &mut self.bar, &mut self.bytes, None);
        let imported = self.store.import(&new, &mut || {
            let piece = next_piece(&file, &mut offset).inspect_err(|error| unread = Some(error.to_string()))?;
            *bytes += piece.as_ref().map_or(0, |(_, piece)| piece.len() as u64);
            bar.show(*bytes, None);
            Ok(piece)
        });
        match unread {
            Some(why) => Err(Refusal::LeftOut(why)),
            None => Ok(imported?),
        }
    }

    /// What is there already with everything that it should have, if an import goes on. A value is equal if its length and
    /// the time of its last change are: each was brought in wholly, or not at all.
    fn equal(&self, new: &Import<'_>) -> Result<Option<EntryId>, Refusal> {
        if !self.go_on {
            return Ok(None);
        }
        let Some(there) = self.store.begin()?.lookup(new.parent, new.name) else { return Ok(None) };
        let stat = self.store.entry(there)?;
        let same = |attributes: Attributes| {
            let Attributes { kind, mode, uid, gid, rdev, mtime, .. } = attributes;
            (kind, mode, uid, gid, rdev, mtime)
        };
        if same(stat.attributes) != same(new.attributes) || (new.attributes.kind == Kind::File && stat.size != new.size)
        {
            return Ok(None);
        }
        if new.attributes.kind == Kind::Symlink && *self.store.target(there)? != *new.target {
            return Ok(None);
        }
        let mut xattrs = Vec::new();
        for name in self.store.xattr_names(there)? {
            let value = self.store.xattr(there, &name)?;
            xattrs.push((name.to_vec(), value.to_vec()));
        }
        xattrs.sort();
        let mut wanted = new.xattrs.to_vec();
        wanted.sort();
        Ok((xattrs == wanted).then_some(there))
    }

    /// Gives a directory the times that it had before it was filled. The topmost gets all of its attributes here.
    fn directory(&self, directory: &File, id: EntryId) -> Result<(), Refusal> {
        let (attributes, xattrs) = (attributes(&fstat(directory)?), xattrs(&by_descriptor(directory), true)?);
        let mut transaction = self.store.begin()?;
        for (name, value) in &xattrs {
            transaction.set_xattr(id, name, value, XattrMode::Set)?;
        }
        transaction.set_attributes(id, attributes)?;
        transaction.commit()?;
        Ok(())
    }
}

/// The next stretch of a file that is no hole, of at most one record's length.
fn next_piece(file: &File, offset: &mut u64) -> io::Result<Option<(u64, Vec<u8>)>> {
    let seek = |offset: u64, whence: Whence| -> io::Result<Option<u64>> {
        match lseek(file, i64::try_from(offset).unwrap_or(i64::MAX), whence) {
            Ok(found) => Ok(u64::try_from(found).ok()),
            // Nothing but a hole is left.
            Err(Errno::ENXIO) => Ok(None),
            Err(error) => Err(error.into()),
        }
    };
    let Some(start) = seek(*offset, Whence::SeekData)? else { return Ok(None) };
    let end = seek(start, Whence::SeekHole)?.unwrap_or(start);
    let mut bytes = vec![0; usize::try_from(end.saturating_sub(start)).unwrap_or(MAX_EXTENT).min(MAX_EXTENT)];
    let read = file.read_at(&mut bytes, start)?;
    bytes.truncate(read);
    *offset = start + read as u64;
    Ok((read > 0).then_some((start, bytes)))
}

fn kind(found: &FileStat) -> Kind {
    match SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFDIR => Kind::Directory,
        SFlag::S_IFLNK => Kind::Symlink,
        SFlag::S_IFIFO => Kind::Fifo,
        SFlag::S_IFSOCK => Kind::Socket,
        SFlag::S_IFCHR => Kind::CharDevice,
        SFlag::S_IFBLK => Kind::BlockDevice,
        _ => Kind::File,
    }
}

fn attributes(found: &FileStat) -> Attributes {
    let kind = kind(found);
    let time = |seconds, nanoseconds: i64| Time::new(seconds, u32::try_from(nanoseconds).unwrap_or(0));
    let device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
    Attributes {
        kind,
        mode: (found.st_mode & 0o7777) as u16,
        uid: found.st_uid,
        gid: found.st_gid,
        rdev: if device { u32::try_from(found.st_rdev).unwrap_or(0) } else { 0 },
        atime: time(found.st_atime, found.st_atime_nsec),
        mtime: time(found.st_mtime, found.st_mtime_nsec),
        ctime: time(found.st_ctime, found.st_ctime_nsec),
    }
}

/// Names and values.
type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// The extended attributes of what is at a path: of a descriptor's link, which is followed, or of a name below one.
fn xattrs(path: &Path, follow: bool) -> io::Result<Xattrs> {
    let mut found = Vec::new();
    let names = if follow { xattr::list_deref(path) } else { xattr::list(path) };
    let names = match names {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(found),
        other => other?,
    };
    for name in names {
        let value = if follow { xattr::get_deref(path, &name) } else { xattr::get(path, &name) };
        if let Some(value) = value? {
            found.push((name.into_vec(), value));
        }
    }
    Ok(found)
}
