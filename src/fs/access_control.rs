//! Access control lists of entries: setting them, keeping the mode in step, handing them down.
//!
//! The kernel does the checking; what is kept here is what it checks. Invariants:
//! - An entry's access list and its permission bits say the same: [`Acl::mode`] is the lowest nine bits of its mode. A
//!   list that says no more than the mode does is not stored.
//! - Only directories have a default list, symbolic links have none at all.

use super::acl::Acl;
use super::{Filesystem, Sequence, XattrMode};
use crate::store::{Attributes, EntryId, Error, Kind, Transaction};

const S_ISGID: u16 = 0o2000;
const PERMISSIONS: u16 = 0o777;

/// Which of the two lists of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclKind {
    /// Who may do what with the entry.
    Access,
    /// What is made in a directory begins with this.
    Default,
}

impl AclKind {
    /// The list that an extended attribute holds; `None` for any other attribute.
    pub fn of(name: &[u8]) -> Option<AclKind> {
        [AclKind::Access, AclKind::Default].into_iter().find(|kind| kind.name() == name)
    }

    /// The extended attribute that holds it.
    pub fn name(self) -> &'static [u8] {
        match self {
            AclKind::Access => b"system.posix_acl_access",
            AclKind::Default => b"system.posix_acl_default",
        }
    }
}

/// The lists of a new entry.
#[derive(Debug, Default)]
pub(super) struct Lists(Vec<(AclKind, Vec<u8>)>);

impl Lists {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives the entry its lists.
    pub(super) fn give(&self, transaction: &mut Transaction<'_>, id: EntryId) -> Result<(), Error> {
        self.0.iter().try_for_each(|(kind, list)| transaction.set_xattr(id, kind.name(), list, XattrMode::Set))
    }
}

impl Filesystem {
    /// Whether there are access control lists. Not on a mount that shows other permissions than are stored: a list would
    /// allow what the mask takes away.
    pub fn has_acls(&self) -> bool {
        self.options.umask == 0
    }

    /// Sets a list. `keeps_setgid` is asked for a group, and says whether the caller may leave the set-group-ID bit on a
    /// file of that group: members may, and who has CAP_FSETID.
    ///
    /// # Errors
    /// [`Error::Invalid`] for bytes that are no list; [`Error::AccessDenied`] for a default list of anything but a
    /// directory; [`Error::NotSupported`] for a symbolic link.
    pub fn set_acl(
        &self,
        id: EntryId,
        which: AclKind,
        list: &[u8],
        keeps_setgid: &dyn Fn(u32) -> bool,
    ) -> Result<Option<Sequence>, Error> {
        if !self.has_acls() {
            return Err(Error::NotSupported("access control lists on a mount with a umask"));
        }
        let acl = Acl::decode(list)?;
        let mut transaction = self.begin()?;
        let old = transaction.attributes(id)?;
        match (which, old.kind) {
            (_, Kind::Symlink) => return Err(Error::NotSupported("access control lists of symbolic links")),
            (AclKind::Default, Kind::Directory) => {
                transaction.set_xattr(id, which.name(), &acl.encode(), XattrMode::Set)?;
            }
            (AclKind::Default, _) => return Err(Error::AccessDenied("only a directory has a default list")),
            (AclKind::Access, _) => {
                let mut mode = old.mode & !PERMISSIONS | acl.mode();
                if mode & S_ISGID != 0 && !keeps_setgid(old.gid) {
                    mode &= !S_ISGID;
                }
                transaction.set_attributes(id, Attributes { mode, ctime: transaction.now(), ..old })?;
                if !acl.is_equivalent_to_mode() {
                    transaction.set_xattr(id, which.name(), &acl.encode(), XattrMode::Set)?;
                } else if self.acl(id, which)?.is_some() {
                    transaction.remove_xattr(id, which.name())?;
                }
            }
        }
        Ok(transaction.commit_attributes(id)?.and_then(|sequence| self.awaited(sequence)))
    }

    /// Makes an access list agree with the mode that the same transaction gives its entry.
    pub(super) fn change_acl_mode(
        &self,
        transaction: &mut Transaction<'_>,
        id: EntryId,
        mode: u16,
    ) -> Result<(), Error> {
        let Some(mut acl) = self.acl(id, AclKind::Access)? else { return Ok(()) };
        acl.set_mode(mode);
        transaction.set_xattr(id, AclKind::Access.name(), &acl.encode(), XattrMode::Set)
    }

    /// The mode and the lists of what is made in `parent`: what its maker asks for, within what the directory's default
    /// list allows; or, where there is none, without the bits of `umask`.
    pub(super) fn inherited(&self, parent: EntryId, kind: Kind, mode: u16, umask: u16) -> Result<(u16, Lists), Error> {
        if kind == Kind::Symlink {
            return Ok((mode, Lists::default()));
        }
        let Some(default) = self.acl(parent, AclKind::Default)? else { return Ok((mode & !umask, Lists::default())) };
        let mut access = default.clone();
        access.restrict(mode);
        let mut lists = Lists::default();
        if !access.is_equivalent_to_mode() {
            lists.0.push((AclKind::Access, access.encode()));
        }
        if kind == Kind::Directory {
            lists.0.push((AclKind::Default, default.encode()));
        }
        Ok((mode & !PERMISSIONS | access.mode(), lists))
    }

    fn acl(&self, id: EntryId, which: AclKind) -> Result<Option<Acl>, Error> {
        if !self.store.has_xattrs(id) {
            return Ok(None);
        }
        match self.store.xattr(id, which.name()) {
            Ok(list) => Acl::decode(&list).map(Some),
            Err(Error::NoAttribute) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
