//! Extended attributes: which namespaces there are. An access control list can be read and removed as an attribute;
//! setting one is [`Filesystem::set_acl`], since the mode goes with it.

use super::{AclKind, Caller, Filesystem, Sequence, XattrMode};
use crate::store::{EXPIRES, EntryId, Error, Transaction};

/// The kernel itself decides who may touch `trusted` and `security`.
const NAMESPACES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];

/// The label of SELinux, which keeps those of a mount itself.
const LABEL: &[u8] = b"security.selinux";

fn check(name: &[u8]) -> Result<(), Error> {
    match NAMESPACES.iter().any(|space| name.len() > space.len() && name.starts_with(space)) {
        true => Ok(()),
        false => Err(Error::NotSupported("extended attributes other than user, trusted and security")),
    }
}

impl Filesystem {
    /// An extended attribute's value.
    ///
    /// # Errors
    /// [`Error::NoAttribute`]; [`Error::NotSupported`] for a namespace that there is not.
    pub fn getxattr(&self, id: EntryId, name: &[u8]) -> Result<Vec<u8>, Error> {
        self.check_readable(name)?;
        self.store.xattr(id, name)
    }

    /// Whether programs may be told that there is no such attribute here at all, so that they ask no further file for it.
    /// So they are of what is asked of every file and set on few: access control lists and labels.
    pub fn lacks_xattr(&self, name: &[u8]) -> bool {
        (name == LABEL || AclKind::of(name).is_some()) && !self.store.knows_xattr(name)
    }

    /// The names of all extended attributes, each with a NUL behind it.
    ///
    /// # Errors
    /// [`Error::Stale`]
    pub fn listxattr(&self, id: EntryId) -> Result<Vec<u8>, Error> {
        let mut list = Vec::new();
        let names = self.store.xattr_names(id)?.into_iter();
        for name in names.filter(|name| self.has_acls() || AclKind::of(name).is_none()) {
            list.extend_from_slice(&name);
            list.push(0);
        }
        Ok(list)
    }

    /// Sets an extended attribute.
    ///
    /// # Errors
    /// As `mode` says; [`Error::AttributeTooLong`], [`Error::TooManyAttributes`]; [`Error::NotSupported`];
    /// [`Error::NotPermitted`] for when a file expires, unless its owner or root asks.
    pub fn setxattr(
        &self,
        caller: &Caller,
        id: EntryId,
        name: &[u8],
        value: &[u8],
        mode: XattrMode,
    ) -> Result<Option<Sequence>, Error> {
        check(name)?;
        let mut transaction = self.begin()?;
        self.check_owner(&transaction, caller, id, name)?;
        transaction.made_by(caller.uid);
        transaction.set_xattr(id, name, value, mode)?;
        Ok(transaction.commit_attributes(id)?.and_then(|sequence| self.awaited(sequence)))
    }

    /// When a file expires it loses all its names, in whatever directories. The kernel asks for no more than the permission to
    /// write to the file, as for any attribute of a user's.
    fn check_owner(
        &self,
        transaction: &Transaction<'_>,
        caller: &Caller,
        id: EntryId,
        name: &[u8],
    ) -> Result<(), Error> {
        let owner = self.options.uid.unwrap_or(transaction.attributes(id)?.uid);
        match name == EXPIRES && caller.uid != 0 && caller.uid != owner {
            true => Err(Error::NotPermitted("when a file expires is for its owner and root to say")),
            false => Ok(()),
        }
    }

    fn check_readable(&self, name: &[u8]) -> Result<(), Error> {
        if self.has_acls() && AclKind::of(name).is_some() { Ok(()) } else { check(name) }
    }

    /// Removes an extended attribute. That there is no access control list to be removed is no error, as on ext4.
    ///
    /// # Errors
    /// [`Error::NoAttribute`]; [`Error::NotSupported`]; [`Error::NotPermitted`] as [`Filesystem::setxattr`].
    pub fn removexattr(&self, caller: &Caller, id: EntryId, name: &[u8]) -> Result<Option<Sequence>, Error> {
        self.check_readable(name)?;
        let mut transaction = self.begin()?;
        self.check_owner(&transaction, caller, id, name)?;
        transaction.made_by(caller.uid);
        match transaction.remove_xattr(id, name) {
            Err(Error::NoAttribute) if AclKind::of(name).is_some() => return Ok(None),
            result => result?,
        }
        Ok(transaction.commit_attributes(id)?.and_then(|sequence| self.awaited(sequence)))
    }
}
