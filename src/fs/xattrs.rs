//! Extended attributes: which namespaces there are.

use super::{Filesystem, Sequence, XattrMode};
use crate::store::{EntryId, Error};

/// The kernel itself decides who may touch `trusted` and `security`.
const NAMESPACES: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];

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
        check(name)?;
        self.store.xattr(id, name)
    }

    /// The names of all extended attributes, each with a NUL behind it.
    ///
    /// # Errors
    /// [`Error::Stale`]
    pub fn listxattr(&self, id: EntryId) -> Result<Vec<u8>, Error> {
        let mut list = Vec::new();
        for name in self.store.xattr_names(id)? {
            list.extend_from_slice(&name);
            list.push(0);
        }
        Ok(list)
    }

    /// Sets an extended attribute.
    ///
    /// # Errors
    /// As `mode` says; [`Error::AttributeTooLong`]; [`Error::NotSupported`].
    pub fn setxattr(&self, id: EntryId, name: &[u8], value: &[u8], mode: XattrMode) -> Result<Option<Sequence>, Error> {
        check(name)?;
        let mut transaction = self.store.begin()?;
        transaction.set_xattr(id, name, value, mode)?;
        Ok(transaction.commit_attributes(id)?.and_then(|sequence| self.awaited(sequence)))
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// [`Error::NoAttribute`]; [`Error::NotSupported`].
    pub fn removexattr(&self, id: EntryId, name: &[u8]) -> Result<Option<Sequence>, Error> {
        check(name)?;
        let mut transaction = self.store.begin()?;
        transaction.remove_xattr(id, name)?;
        Ok(transaction.commit_attributes(id)?.and_then(|sequence| self.awaited(sequence)))
    }
}
