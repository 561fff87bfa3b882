//! Telling the kernel that what it keeps is no longer so.
//!
//! Changes that come through the mount need none of this: the kernel made them itself. A change that the daemon makes on
//! its own (an expiry, a restore, another front door) is invisible in the mount until it is told here.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use fuser::{INodeNo, Notifier};

use crate::store::EntryId;

/// Drops names, attributes and data from the kernel's caches. Cheap to clone.
///
/// **Never call it from a thread that serves requests, nor with a lock held that a request may need**: the kernel takes
/// the inode's lock while it carries this out, and whoever holds that lock may be waiting for the very thread that calls.
/// For the same reason call it after the change was made.
#[derive(Clone, Debug)]
pub struct Invalidator(Notifier);

impl Invalidator {
    pub(super) fn new(notifier: Notifier) -> Invalidator {
        Invalidator(notifier)
    }

    /// `name` in the directory `parent` came, went, or means another entry now. The directory's own listing and
    /// attributes are dropped along with it.
    ///
    /// # Errors
    /// If the kernel refuses; not if it did not have the name.
    pub fn entry(&self, parent: EntryId, name: &[u8]) -> io::Result<()> {
        self.0.inval_entry(INodeNo(parent), OsStr::from_bytes(name))?;
        self.inode(parent)
    }

    /// The value or the attributes of `id` changed, or, of a directory, its listing.
    ///
    /// # Errors
    /// If the kernel refuses; not if it did not have the inode.
    pub fn inode(&self, id: EntryId) -> io::Result<()> {
        // Offset 0 and length 0: the data from the start to the end, and the attributes.
        self.0.inval_inode(INodeNo(id), 0, 0)
    }

    /// The attributes of `id` changed, and nothing else. This alone takes no lock, and may be called by whoever serves a request.
    pub(super) fn attributes(&self, id: EntryId) -> io::Result<()> {
        // From before the data on.
        self.0.inval_inode(INodeNo(id), -1, 0)
    }
}
