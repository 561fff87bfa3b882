//! Extended attributes: small values beside a key's, in the same record as its name. One of them is a view: when a file
//! expires.

use super::Store;
use super::attributes::EntryId;
use super::error::Error;
use super::expiry;
use super::transaction::Transaction;

/// The longest value of an attribute, as Linux has it.
const MAX_VALUE: usize = 64 << 10;
/// The most bytes that the attributes of one entry may take together: all of them stand in each of its records.
const MAX_TOTAL: usize = 256 << 10;
/// The most bytes that their names may take, each with a NUL behind it: Linux lists no more (XATTR_LIST_MAX). The name that
/// shows when a file expires has its room set aside.
const MAX_NAMES: usize = (64 << 10) - expiry::XATTR.len() - 1;

/// How an existing attribute is treated, as setxattr(2) has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum XattrMode {
    /// Create or replace.
    #[default]
    Set,
    /// Fail if it is there.
    Create,
    /// Fail if it is not.
    Replace,
}

impl Store {
    /// An extended attribute's value.
    ///
    /// # Errors
    /// [`Error::NoAttribute`], [`Error::Stale`].
    pub fn xattr(&self, id: EntryId, name: &[u8]) -> Result<Vec<u8>, Error> {
        if name == expiry::XATTR {
            return self.entry(id)?.expires.map(expiry::text).ok_or(Error::NoAttribute);
        }
        let keydir = self.keydir.read();
        let xattrs = &keydir.get(id).ok_or(Error::Stale)?.state.xattrs;
        let found = xattrs.iter().find(|(known, _)| **known == *name);
        found.map(|(_, value)| value.to_vec()).ok_or(Error::NoAttribute)
    }

    /// Whether any entry may have an attribute of this name. It is never denied of one that has.
    pub fn knows_xattr(&self, name: &[u8]) -> bool {
        name == expiry::XATTR || self.keydir.read().knows_xattr(name)
    }

    /// Whether the entry has any.
    pub fn has_xattrs(&self, id: EntryId) -> bool {
        self.keydir.read().get(id).is_some_and(|node| !node.state.xattrs.is_empty())
    }

    /// The names of all extended attributes.
    ///
    /// # Errors
    /// [`Error::Stale`]
    pub fn xattr_names(&self, id: EntryId) -> Result<Vec<Vec<u8>>, Error> {
        let keydir = self.keydir.read();
        let xattrs = &keydir.get(id).ok_or(Error::Stale)?.state.xattrs;
        let view = keydir.stat(id).and_then(|stat| stat.expires).map(|_| expiry::XATTR.to_vec());
        Ok(xattrs.iter().map(|(name, _)| name.to_vec()).chain(view).collect())
    }
}

impl Transaction<'_> {
    /// Sets an extended attribute.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::NoAttribute`] as `mode` says; [`Error::AttributeTooLong`],
    /// [`Error::TooManyAttributes`]; [`Error::Stale`].
    pub fn set_xattr(&mut self, id: EntryId, name: &[u8], value: &[u8], mode: XattrMode) -> Result<(), Error> {
        if name.is_empty() || name.len() > super::MAX_NAME || name.contains(&0) {
            return Err(Error::AttributeTooLong("a name has 1 to 255 bytes and no NUL"));
        }
        if name == expiry::XATTR {
            let there = self.view(id, |state| state.expires.is_some())?;
            return match (mode, there) {
                (XattrMode::Create, true) => Err(Error::Exists),
                (XattrMode::Replace, false) => Err(Error::NoAttribute),
                _ => self.set_expiry(id, Some(expiry::parse(value, self.now)?)),
            };
        }
        if value.len() > MAX_VALUE {
            return Err(Error::AttributeTooLong("a value has at most 64 KiB"));
        }
        let (there, others) = self.view(id, |state| {
            let there = state.xattrs.iter().any(|(known, _)| **known == *name);
            let others = state.xattrs.iter().filter(|(known, _)| **known != *name);
            let sum = |(total, names): (usize, usize), (name, value): &(Box<[u8]>, Box<[u8]>)| {
                (total + name.len() + value.len(), names + name.len() + 1)
            };
            (there, others.fold((0, 0), sum))
        })?;
        let (total, names) = (others.0 + name.len() + value.len(), others.1 + name.len() + 1);
        match (mode, there) {
            (XattrMode::Create, true) => return Err(Error::Exists),
            (XattrMode::Replace, false) => return Err(Error::NoAttribute),
            // Where there were more names already, a value may still change.
            _ if total > MAX_TOTAL || (names > MAX_NAMES && !there) => return Err(Error::TooManyAttributes),
            _ => {}
        }
        let now = self.now;
        let state = &mut self.edit(id)?.state;
        match state.xattrs.iter_mut().find(|(known, _)| **known == *name) {
            Some((_, old)) => *old = value.into(),
            None => state.xattrs.push((name.into(), value.into())),
        }
        state.attributes.ctime = now;
        Ok(())
    }

    /// Removes an extended attribute.
    ///
    /// # Errors
    /// [`Error::NoAttribute`], [`Error::Stale`].
    pub fn remove_xattr(&mut self, id: EntryId, name: &[u8]) -> Result<(), Error> {
        if name == expiry::XATTR {
            return match self.view(id, |state| state.expires.is_some())? {
                true => self.set_expiry(id, None),
                false => Err(Error::NoAttribute),
            };
        }
        if !self.view(id, |state| state.xattrs.iter().any(|(known, _)| **known == *name))? {
            return Err(Error::NoAttribute);
        }
        let now = self.now;
        let state = &mut self.edit(id)?.state;
        state.xattrs.retain(|(known, _)| **known != *name);
        state.attributes.ctime = now;
        Ok(())
    }
}
