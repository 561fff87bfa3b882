//! Keys as paths: the embedded store's everyday interface.
//!
//! It sees what was published: a file that is being written through a mount has its old value here until the writer
//! closes or syncs it. Symbolic links are not followed.

use std::io::Read;

use super::Store;
use super::attributes::{Attributes, EntryId, Kind, ROOT, Stat, Time};
use super::error::Error;
use super::keydir::Keydir;
use super::namespace::{RenameMode, Unlink, check_name};
use super::record::MAX_EXTENT;
use super::transaction::Transaction;
use super::value::Update;

/// A key's components, checked.
fn components(key: &[u8]) -> Result<impl Iterator<Item = &[u8]>, Error> {
    let names = || key.split(|&byte| byte == b'/');
    names().try_for_each(check_name)?;
    Ok(names())
}

/// The directory of a key, component by component, and its last name.
pub(super) fn parts(key: &[u8]) -> Result<(impl Iterator<Item = &[u8]>, &[u8]), Error> {
    let (above, name) = match key.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (key.get(..slash), key.get(slash + 1..).unwrap_or_default()),
        None => (None, key),
    };
    check_name(name)?;
    let above = above.map(components).transpose()?;
    Ok((above.into_iter().flatten(), name))
}

impl Store {
    /// Sets a key, making the directories above it, and waits until that is durable.
    ///
    /// # Errors
    /// [`Error::IsADirectory`] if the key is one; [`Error::NotADirectory`] if a part of its path is not; those of the
    /// log.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// let store = caskfs::Store::open(directory.path(), caskfs::Options { create: true, ..Default::default() })?;
    /// store.put("users/42", "Ada")?;
    /// assert_eq!(store.get("users/42")?.as_deref(), Some("Ada".as_bytes()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), Error> {
        self.put_until(key.as_ref(), value.as_ref(), None)
    }

    /// Sets a key to a value, and when it expires.
    pub(super) fn put_until(&self, key: &[u8], value: &[u8], expires: Option<Time>) -> Result<(), Error> {
        if value.len() > MAX_EXTENT {
            return self.put_reader_until(key, &mut &*value, expires);
        }
        let mut transaction = self.begin()?;
        transaction.put_until(key, Update::whole(value), expires)?;
        let sequence = transaction.commit()?;
        self.acknowledge(sequence)
    }

    /// Sets a key to all that a reader gives: any length, in bounded memory.
    ///
    /// # Errors
    /// As [`Store::put`], and those of the reader, after which the key has its old value.
    pub fn put_reader(&self, key: impl AsRef<[u8]>, value: &mut dyn Read) -> Result<(), Error> {
        self.put_reader_until(key.as_ref(), value, None)
    }

    pub(super) fn put_reader_until(
        &self,
        key: &[u8],
        value: &mut dyn Read,
        expires: Option<Time>,
    ) -> Result<(), Error> {
        components(key).map(drop)?;
        let mut update = Update { replace: true, ..Update::default() };
        // The bytes belong to nobody until the transaction is committed.
        let entry = self.resolve(key)?.map_or_else(|| self.spare_id(), |stat| Ok(stat.id))?;
        let published = self.stage_reader(entry, &mut update, value).and_then(|()| {
            let mut transaction = self.begin()?;
            transaction.put_staged(key, update.clone(), entry, expires)?;
            transaction.commit()
        });
        self.abandon(update.stage);
        self.acknowledge(published?)
    }

    /// Stages all that a reader gives; what is left over, less than an extent, stays in the update.
    fn stage_reader(&self, entry: EntryId, update: &mut Update<'_>, value: &mut dyn Read) -> Result<(), Error> {
        let mut buffer = Vec::new();
        loop {
            buffer.clear();
            let read = value.take(MAX_EXTENT as u64).read_to_end(&mut buffer);
            read.map_err(|source| crate::log::Error::Io { context: "reading the value".into(), source })?;
            if buffer.len() < MAX_EXTENT {
                break;
            }
            update.stage = self.stage(entry, update.stage, update.size, &buffer)?.stage;
            update.size += buffer.len() as u64;
        }
        let rest = update.size;
        update.size += buffer.len() as u64;
        if !buffer.is_empty() {
            update.bytes.push((rest, buffer.into()));
        }
        Ok(())
    }

    /// What stat shows of a key; `None` if there is no such key. The empty key is the root.
    ///
    /// # Errors
    /// [`Error::InvalidName`] and [`Error::NameTooLong`] for what cannot be a key.
    pub fn stat(&self, key: impl AsRef<[u8]>) -> Result<Option<Stat>, Error> {
        self.resolve(key.as_ref())
    }

    /// Removes a key or an empty directory; says whether it was there.
    ///
    /// # Errors
    /// [`Error::NotEmpty`]; those of the log.
    pub fn remove(&self, key: impl AsRef<[u8]>) -> Result<bool, Error> {
        let mut transaction = self.begin()?;
        let there = transaction.remove(key.as_ref())?;
        let sequence = transaction.commit()?;
        self.acknowledge(sequence)?;
        Ok(there)
    }

    /// Renames a key or a directory, replacing the target.
    ///
    /// # Errors
    /// As [`Transaction::rename`].
    pub fn rename(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) -> Result<(), Error> {
        let mut transaction = self.begin()?;
        transaction.rename_path(from.as_ref(), to.as_ref())?;
        let sequence = transaction.commit()?;
        self.acknowledge(sequence)
    }

    /// What stat shows of a key that a record speaks of.
    pub(super) fn resolve(&self, key: &[u8]) -> Result<Option<Stat>, Error> {
        self.remove_due();
        let horizon = self.horizon();
        let keydir = self.keydir.read();
        Ok(keydir.resolve(key)?.and_then(|id| keydir.published(id, horizon)))
    }
}

impl Keydir {
    /// The entry that a key leads to; the empty key is the root's.
    pub(super) fn resolve(&self, key: &[u8]) -> Result<Option<EntryId>, Error> {
        if key.is_empty() {
            return Ok(Some(ROOT));
        }
        let mut id = ROOT;
        for name in components(key)? {
            match self.lookup(id, name) {
                Some(child) => id = child,
                None => return Ok(None),
            }
        }
        Ok(Some(id))
    }
}

const NOT_A_FILE: Error = Error::Invalid("it is not a file");

impl<'a> Transaction<'a> {
    /// Attributes of an entry that a key makes: it belongs to whoever opened the store.
    pub(super) fn new_attributes(&self, kind: Kind, mode: u16) -> Attributes {
        let ((uid, gid), now) = (self.store.owner, self.now);
        Attributes { kind, mode, uid, gid, rdev: 0, atime: now, mtime: now, ctime: now }
    }

    /// Sets the value of a key, keeping the entry and its attributes if it is there.
    pub(super) fn put(&mut self, key: &[u8], update: Update<'a>) -> Result<EntryId, Error> {
        let (parent, name) = self.make_parents(key)?;
        let id = match self.lookup(parent, name) {
            Some(id) => {
                let mut attributes = self.file_attributes(id)?;
                (attributes.mtime, attributes.ctime) = (self.now, self.now);
                self.set_attributes(id, attributes)?;
                id
            }
            None => self.create(parent, name, self.new_attributes(Kind::File, 0o644), b"")?,
        };
        self.set_value(id, update)?;
        Ok(id)
    }

    /// The attributes of an entry that has a value.
    fn file_attributes(&self, id: EntryId) -> Result<Attributes, Error> {
        let attributes = self.attributes(id)?;
        match attributes.kind {
            Kind::File => Ok(attributes),
            Kind::Directory => Err(Error::IsADirectory),
            _ => Err(NOT_A_FILE),
        }
    }

    /// Sets a key to a value that is staged for `entry`: the key's own, or one that is to be made.
    fn put_staged(
        &mut self,
        key: &[u8],
        update: Update<'a>,
        entry: EntryId,
        expires: Option<Time>,
    ) -> Result<(), Error> {
        let (parent, name) = self.make_parents(key)?;
        if self.lookup(parent, name).is_none() && self.view(entry, |_| ()).is_err() {
            self.check_vacant(parent, name)?;
            self.make_as(entry, self.new_attributes(Kind::File, 0o644), b"")?;
            self.attach(entry, parent, name)?;
        }
        self.put_until(key, update, expires)
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Result<bool, Error> {
        let Some((parent, name)) = self.walk(key)? else { return Ok(false) };
        let Some(id) = self.lookup(parent, name) else { return Ok(false) };
        let what = if self.is_directory(id)? { Unlink::Directory } else { Unlink::File };
        self.unlink(parent, name, what)?;
        Ok(true)
    }

    pub(super) fn rename_path(&mut self, from: &[u8], to: &[u8]) -> Result<(), Error> {
        let from = self.walk(from)?.ok_or(Error::NotFound)?;
        self.find(from.0, from.1)?;
        let to = self.make_parents(to)?;
        self.rename(from, to, RenameMode::Replace).map(drop)
    }

    /// The directory and last name of a key; `None` if there is no such directory.
    fn walk<'k>(&self, key: &'k [u8]) -> Result<Option<(EntryId, &'k [u8])>, Error> {
        let (above, last) = parts(key)?;
        let mut id = ROOT;
        for name in above {
            match self.lookup(id, name) {
                Some(child) => id = child,
                None => return Ok(None),
            }
        }
        Ok(Some((id, last)))
    }

    /// The directory and last name of a key; directories that are missing are made.
    fn make_parents<'k>(&mut self, key: &'k [u8]) -> Result<(EntryId, &'k [u8]), Error> {
        let (above, last) = parts(key)?;
        let mut id = ROOT;
        for name in above {
            id = match self.lookup(id, name) {
                Some(child) => child,
                None => self.create(id, name, self.new_attributes(Kind::Directory, 0o755), b"")?,
            };
        }
        Ok((id, last))
    }
}
