//! `caskfs import`: a plain tree into a store, without a mount.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

use super::arguments::ImportArguments;
use super::backup::check_apart;
use super::exit::{Failure, OCCUPIED};
use super::progress::Bar;
use super::store_access::{key, open_alone};
use crate::store::{Attributes, EntryId, Import, Kind, MAX_EXTENT, Options, ROOT, Store, Time, XattrMode};

pub(super) fn run(arguments: &ImportArguments) -> Result<(), Failure> {
    let ImportArguments { directory, store, below } = arguments;
    check_apart(directory, store)?;
    let about = |error: io::Error| Failure::from(error).about(directory.display());
    // Before a store is made.
    fs::read_dir(directory).map_err(about)?;
    let options = Options { create: true, durable: false, ..Options::default() };
    let store = open_alone(store, &options)?;
    let mut import = Importer { store: &store, bar: Bar::default(), bytes: 0, linked: HashMap::new() };
    let top = import.top(below.as_deref().map(key).unwrap_or_default().as_slice())?;
    import.tree(directory, top)?;
    store.sync()?;
    Ok(())
}

/// An import under way.
struct Importer<'a> {
    store: &'a Store,
    bar: Bar,
    bytes: u64,
    /// Files with several names that are in the store already, by device and inode.
    linked: HashMap<(u64, u64), EntryId>,
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
            Ok(children) if children.is_empty() => Ok(id),
            Ok(_) => {
                let what = "there are keys already, and nothing is replaced: choose another place with --below";
                Err(Failure::new(OCCUPIED, what).about(format!("/{}", String::from_utf8_lossy(below))))
            }
            Err(error) => Err(Failure::from(error).about(format!("/{}", String::from_utf8_lossy(below)))),
        }
    }

    fn tree(&mut self, from: &Path, top: EntryId) -> Result<(), Failure> {
        let mut pending = vec![(from.to_owned(), top)];
        // Directories get their attributes last: what is made in them changes their times.
        let mut made = Vec::new();
        while let Some((path, id)) = pending.pop() {
            let about = |failure: Failure| failure.about(path.display());
            let mut names = Vec::new();
            for entry in fs::read_dir(&path).map_err(|error| about(error.into()))? {
                names.push(entry.map_err(|error| about(error.into()))?.file_name());
            }
            names.sort();
            for name in names {
                let path = path.join(&name);
                let entered = self.entry(&path, id, name.as_bytes());
                let directory = entered.map_err(|failure| failure.about(path.display()))?;
                pending.extend(directory.map(|id| (path, id)));
            }
            made.push((path, id));
        }
        for (path, id) in made.iter().rev() {
            self.directory(path, *id).map_err(|failure| failure.about(path.display()))?;
        }
        Ok(())
    }

    /// Brings one name in; returns what it leads to if that is a directory.
    fn entry(&mut self, path: &Path, parent: EntryId, name: &[u8]) -> Result<Option<EntryId>, Failure> {
        let metadata = fs::symlink_metadata(path)?;
        let attributes = attributes(&metadata);
        let several = attributes.kind != Kind::Directory && metadata.nlink() > 1;
        let place = (metadata.dev(), metadata.ino());
        if let Some(&id) = self.linked.get(&place).filter(|_| several) {
            let mut transaction = self.store.begin()?;
            transaction.link(id, parent, name)?;
            // A new name is a change, but not one that the original saw.
            transaction.set_attributes(id, attributes)?;
            transaction.commit()?;
            return Ok(None);
        }
        let target = match attributes.kind {
            Kind::Symlink => fs::read_link(path)?.into_os_string(),
            _ => Default::default(),
        };
        let (size, xattrs) = (if attributes.kind == Kind::File { metadata.len() } else { 0 }, xattrs(path)?);
        let new = Import { parent, name, attributes, target: target.as_bytes(), xattrs: &xattrs, size };
        let id = match attributes.kind {
            Kind::File => {
                let file = File::open(path)?;
                let (mut offset, bar, bytes) = (0, &mut self.bar, &mut self.bytes);
                self.store.import(&new, &mut || {
                    let piece = next_piece(&file, &mut offset)?;
                    *bytes += piece.as_ref().map_or(0, |(_, piece)| piece.len() as u64);
                    bar.show(*bytes, None);
                    Ok(piece)
                })?
            }
            _ => self.store.import(&new, &mut || Ok(None))?,
        };
        if several {
            self.linked.insert(place, id);
        }
        Ok((attributes.kind == Kind::Directory).then_some(id))
    }

    /// Gives a directory the times that it had before it was filled. The topmost gets all of its attributes here.
    fn directory(&self, path: &Path, id: EntryId) -> Result<(), Failure> {
        let (attributes, xattrs) = (attributes(&fs::symlink_metadata(path)?), xattrs(path)?);
        let mut transaction = self.store.begin()?;
        for (name, value) in &xattrs {
            transaction.set_xattr(id, name, value, XattrMode::Set)?;
        }
        if attributes.kind == Kind::Directory {
            transaction.set_attributes(id, attributes)?;
        }
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
    let mut bytes = vec![0; usize::try_from(end - start).unwrap_or(MAX_EXTENT).min(MAX_EXTENT)];
    let read = file.read_at(&mut bytes, start)?;
    bytes.truncate(read);
    *offset = start + read as u64;
    Ok((read > 0).then_some((start, bytes)))
}

fn attributes(metadata: &Metadata) -> Attributes {
    let kind = metadata.file_type();
    let kind = match () {
        () if kind.is_dir() => Kind::Directory,
        () if kind.is_symlink() => Kind::Symlink,
        () if kind.is_fifo() => Kind::Fifo,
        () if kind.is_socket() => Kind::Socket,
        () if kind.is_char_device() => Kind::CharDevice,
        () if kind.is_block_device() => Kind::BlockDevice,
        () => Kind::File,
    };
    let time = |seconds, nanoseconds: i64| Time::new(seconds, u32::try_from(nanoseconds).unwrap_or(0));
    let device = matches!(kind, Kind::CharDevice | Kind::BlockDevice);
    Attributes {
        kind,
        mode: (metadata.mode() & 0o7777) as u16,
        uid: metadata.uid(),
        gid: metadata.gid(),
        rdev: if device { u32::try_from(metadata.rdev()).unwrap_or(0) } else { 0 },
        atime: time(metadata.atime(), metadata.atime_nsec()),
        mtime: time(metadata.mtime(), metadata.mtime_nsec()),
        ctime: time(metadata.ctime(), metadata.ctime_nsec()),
    }
}

/// Names and values.
type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// The extended attributes of a path, which is not followed.
fn xattrs(path: &Path) -> Result<Xattrs, Failure> {
    let mut found = Vec::new();
    let names = match xattr::list(path) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(found),
        other => other?,
    };
    for name in names {
        if let Some(value) = xattr::get(path, &name)? {
            found.push((name.as_bytes().to_vec(), value));
        }
    }
    Ok(found)
}
