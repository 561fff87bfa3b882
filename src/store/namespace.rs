//! Names: making, taking away and moving them. The tree stays a tree.

use super::Store;
use super::attributes::{Attributes, EntryId, Kind, ROOT, Stat};
use super::error::Error;
use super::record::{MAX_NAME, is_name};
use super::reserve::Claim;
use super::transaction::Transaction;

/// The most names of one entry, as on ext4.
const MAX_LINKS: u64 = 65_000;

/// Names that no key in the root can have: a mount shows files of its own there.
pub const RESERVED: [&[u8]; 2] = [b".caskfs", b".snapshots"];

/// How rename treats an existing target, as renameat2(2) has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RenameMode {
    /// Replace it.
    #[default]
    Replace,
    /// Fail if there is one.
    NoReplace,
    /// Swap the two.
    Exchange,
}

/// What [`Transaction::unlink`] may take away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unlink {
    /// Anything but a directory: unlink(2).
    File,
    /// An empty directory: rmdir(2).
    Directory,
}

/// Checks a name.
///
/// # Errors
/// [`Error::NameTooLong`] above 255 bytes; [`Error::InvalidName`] for an empty one, `.`, `..`, or a `/` or NUL in it.
pub fn check_name(name: &[u8]) -> Result<(), Error> {
    if name.len() > MAX_NAME {
        return Err(Error::NameTooLong);
    }
    if is_name(name) { Ok(()) } else { Err(Error::InvalidName) }
}

/// Refuses to give out a name that the root reserves.
pub(super) fn check_reserved(parent: EntryId, name: &[u8]) -> Result<(), Error> {
    match parent == ROOT && RESERVED.contains(&name) {
        true => Err(Error::NotPermitted("the names .caskfs and .snapshots in the root are reserved")),
        false => Ok(()),
    }
}

impl Store {
    /// Makes a file that is in the tree, but in no record until its first transaction: a crash leaves nothing of it.
    /// It is pinned once.
    ///
    /// # Errors
    /// As [`Transaction::create`].
    pub fn create_provisional(&self, parent: EntryId, name: &[u8], attributes: Attributes) -> Result<Stat, Error> {
        let mut transaction = self.begin()?;
        self.reserve.take(&**self.log.medium(), Claim::Growth, 512)?;
        let id = transaction.create(parent, name, attributes, b"")?;
        let state = transaction.view(id, Clone::clone)?;
        let mut keydir = self.keydir.write();
        if !keydir.has_room(2, true) {
            return Err(Error::TableFull);
        }
        keydir.insert_provisional(id, state, transaction.now());
        keydir.pin(id);
        keydir.stat(id).ok_or(Error::Stale)
    }
}

impl Transaction<'_> {
    /// Makes an entry; `target` is a symbolic link's.
    ///
    /// # Errors
    /// [`Error::Exists`] if the name is taken; those of [`check_name`]; [`Error::NotADirectory`] of the parent.
    pub fn create(
        &mut self,
        parent: EntryId,
        name: &[u8],
        attributes: Attributes,
        target: &[u8],
    ) -> Result<EntryId, Error> {
        self.check_vacant(parent, name)?;
        let id = self.make(attributes, target)?;
        self.attach(id, parent, name)?;
        Ok(id)
    }

    /// Gives an entry one more name.
    ///
    /// # Errors
    /// As [`Transaction::create`]; [`Error::NotPermitted`] for a directory; [`Error::NotFound`] for one without a name.
    pub fn link(&mut self, id: EntryId, parent: EntryId, name: &[u8]) -> Result<(), Error> {
        self.check_vacant(parent, name)?;
        match self.view(id, |state| (state.attributes.kind, state.names()))? {
            (Kind::Directory, _) => Err(Error::NotPermitted("a directory has one name")),
            (_, 0) => Err(Error::NotFound),
            (_, MAX_LINKS..) => Err(Error::TooManyLinks),
            _ => self.attach(id, parent, name),
        }
    }

    /// Takes a name away, and the entry with its last one. Returns the entry.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::IsADirectory`], [`Error::NotADirectory`] if it is the other kind;
    /// [`Error::NotEmpty`].
    pub fn unlink(&mut self, parent: EntryId, name: &[u8], what: Unlink) -> Result<EntryId, Error> {
        let id = self.find(parent, name)?;
        if what == Unlink::Directory {
            self.clear_hidden(id)?;
        }
        match (self.is_directory(id)?, what) {
            (true, Unlink::File) => return Err(Error::IsADirectory),
            (false, Unlink::Directory) => return Err(Error::NotADirectory),
            (true, Unlink::Directory) if self.population(id) > 0 => return Err(Error::NotEmpty),
            _ => {}
        }
        self.take_name(id, parent, name)?;
        Ok(id)
    }

    /// Moves a name. Returns the moved entry, and the one that was replaced or swapped.
    ///
    /// # Errors
    /// As rename(2): [`Error::NotFound`], [`Error::Exists`], [`Error::NotEmpty`], [`Error::IsADirectory`],
    /// [`Error::NotADirectory`], and [`Error::Invalid`] for a directory into itself.
    pub fn rename(
        &mut self,
        (parent, name): (EntryId, &[u8]),
        (new_parent, new_name): (EntryId, &[u8]),
        mode: RenameMode,
    ) -> Result<(EntryId, Option<EntryId>), Error> {
        check_name(new_name)?;
        let id = self.find(parent, name)?;
        self.check_directory(new_parent)?;
        let target = self.lookup(new_parent, new_name);
        let is_directory = self.is_directory(id)?;
        if is_directory && self.is_within(new_parent, id)? {
            return Err(Error::Invalid("a directory cannot be moved into itself"));
        }
        match (target, mode) {
            (Some(_), RenameMode::NoReplace) => Err(Error::Exists),
            (None, RenameMode::Exchange) => Err(Error::NotFound),
            (Some(target), _) if target == id => Ok((id, None)),
            (Some(target), RenameMode::Exchange) => {
                if self.is_directory(target)? && self.is_within(parent, target)? {
                    return Err(Error::Invalid("a directory cannot be moved into itself"));
                }
                self.detach(id, parent, name)?;
                self.detach(target, new_parent, new_name)?;
                self.attach(id, new_parent, new_name)?;
                self.attach(target, parent, name)?;
                Ok((id, Some(target)))
            }
            (target, RenameMode::Replace | RenameMode::NoReplace) => {
                if let Some(target) = target {
                    self.clear_hidden(target)?;
                    match (is_directory, self.is_directory(target)?) {
                        (true, false) => return Err(Error::NotADirectory),
                        (false, true) => return Err(Error::IsADirectory),
                        (true, true) if self.population(target) > 0 => return Err(Error::NotEmpty),
                        _ => self.take_name(target, new_parent, new_name)?,
                    }
                }
                self.detach(id, parent, name)?;
                self.attach(id, new_parent, new_name)?;
                Ok((id, target))
            }
        }
    }

    /// The entry of this name.
    pub(super) fn find(&self, parent: EntryId, name: &[u8]) -> Result<EntryId, Error> {
        check_name(name)?;
        self.check_directory(parent)?;
        self.lookup(parent, name).ok_or(Error::NotFound)
    }

    /// Whether the entry is a directory.
    ///
    /// # Errors
    /// [`Error::Stale`] if it is gone.
    pub fn is_directory(&self, id: EntryId) -> Result<bool, Error> {
        Ok(self.attributes(id)?.kind == Kind::Directory)
    }

    pub(super) fn take_name(&mut self, id: EntryId, parent: EntryId, name: &[u8]) -> Result<(), Error> {
        let left = self.detach(id, parent, name)?;
        let change = self.edit(id)?;
        change.removed = !left;
        if !left {
            // Whoever still has it open: it was removed, and did not expire.
            change.state.expires = None;
        }
        Ok(())
    }

    pub(super) fn check_vacant(&self, parent: EntryId, name: &[u8]) -> Result<(), Error> {
        check_name(name)?;
        self.check_directory(parent)?;
        match self.lookup(parent, name) {
            Some(_) => Err(Error::Exists),
            None => Ok(()),
        }
    }

    /// A directory that was removed, but is still somebody's working directory, takes no new names.
    fn check_directory(&self, id: EntryId) -> Result<(), Error> {
        let (kind, gone) = self.view(id, |state| (state.attributes.kind, !state.has_name() && id != ROOT))?;
        match kind {
            Kind::Directory if gone => Err(Error::NotFound),
            Kind::Directory => Ok(()),
            _ => Err(Error::NotADirectory),
        }
    }

    /// Whether `id` is `ancestor`, or somewhere below it.
    fn is_within(&self, mut id: EntryId, ancestor: EntryId) -> Result<bool, Error> {
        while id != ancestor {
            let parent = self.view(id, |state| state.links.first().map(|link| link.parent))?;
            match parent {
                Some(parent) if id != ROOT => id = parent,
                _ => return Ok(false),
            }
        }
        Ok(true)
    }
}
