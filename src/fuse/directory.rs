//! READDIR and READDIRPLUS: filling a reply until the next entry does not fit.
//!
//! An entry that READDIRPLUS hands out is a lookup of it, to be forgotten later; "." and ".." are not, and neither is one
//! that did not fit. So the lookups are counted after the listing, when it is known which entries the reply holds.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use fuser::{INodeNo, ReplyDirectory, ReplyDirectoryPlus};

use super::attributes::{GENERATION, kept, lifetime, wire, wire_kind};
use crate::fs::{DirectoryEntry, Error, Tree};
use crate::store::EntryId;

/// Adds the names after `cookie` to `reply`.
pub(super) fn list(tree: &Tree, id: EntryId, cookie: u64, reply: &mut ReplyDirectory) -> Result<(), Error> {
    tree.readdir(id, cookie, &mut |entry, _| {
        let full = reply.add(INodeNo(entry.id), entry.cookie, wire_kind(entry.kind), OsStr::from_bytes(&entry.name));
        !full
    })
}

/// Adds the entries after `cookie` with their attributes to `reply`.
pub(super) fn list_with_attributes(
    tree: &Tree,
    id: EntryId,
    cookie: u64,
    reply: &mut ReplyDirectoryPlus,
) -> Result<(), Error> {
    let mut handed_out = Vec::new();
    // What is shown of a name is no surer than that it is there.
    let directory = lifetime(id);
    tree.readdir(id, cookie, &mut |entry, stat| {
        let name = OsStr::from_bytes(&entry.name);
        let kept = directory.min(kept(stat));
        let full = reply.add(INodeNo(entry.id), entry.cookie, name, &kept, &wire(stat), GENERATION);
        if !full && !is_dot(entry) {
            handed_out.push(entry.id);
        }
        !full
    })?;
    for id in handed_out {
        tree.remember(id);
    }
    Ok(())
}

fn is_dot(entry: &DirectoryEntry) -> bool {
    entry.name == b"." || entry.name == b".."
}
