//! Telling the kernel that what it keeps is no longer so.
//!
//! fuser's notifier does not say whether the kernel knew what it was told of, and has no way to let a name expire. So the
//! messages are made here: `struct fuse_out_header` with the kind in the place of an error, and the body, as in linux/fuse.h.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nix::errno::Errno;

use crate::store::EntryId;

const INVALIDATE_INODE: i32 = 2;
const INVALIDATE_ENTRY: i32 = 3;
const STORE: i32 = 4;
const NEW_EPOCH: i32 = 8;

/// Of a name: it is to be looked up again before it is used, and what is mounted or open below it stays. Linux 6.2.
const EXPIRE_ONLY: u32 = 1;

/// What the kernel made of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// It took it.
    Heard,
    /// It does not know the inode or the name.
    Unknown,
}

/// What becomes of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameNews {
    /// It is dropped, with what is mounted on it or below it.
    Drop,
    /// It is looked up again before it is used.
    Expire,
}

/// Sends messages to the kernel.
///
/// **Never from a thread that serves requests, nor with a lock held that a request may need**, but for
/// [`attributes`](Notifications::attributes): the kernel takes locks of the inode and its pages while it carries a message
/// out, and who holds those may be waiting for the very thread that calls.
#[derive(Clone, Debug)]
pub(super) struct Notifications(Arc<File>);

impl Notifications {
    /// Over a connection to the kernel.
    pub(super) fn new(connection: OwnedFd) -> Notifications {
        Notifications(Arc::new(File::from(connection)))
    }

    /// Drops the attributes and all pages of an inode; of a directory, its listing. What it is about to answer to requests that
    /// came before says nothing any more.
    pub(super) fn inode(&self, id: EntryId) -> io::Result<Told> {
        self.invalidate(id, 0)
    }

    /// Drops the attributes alone. This takes no lock.
    pub(super) fn attributes(&self, id: EntryId) -> io::Result<Told> {
        // From before the data on.
        self.invalidate(id, -1)
    }

    fn invalidate(&self, id: EntryId, offset: i64) -> io::Result<Told> {
        self.send(INVALIDATE_INODE, &[&id.to_ne_bytes(), &offset.to_ne_bytes(), &0_i64.to_ne_bytes()])
    }

    /// A name in a directory means something else now, or nothing.
    pub(super) fn entry(&self, parent: EntryId, name: &[u8], news: NameNews) -> io::Result<Told> {
        let flags = if news == NameNews::Expire { EXPIRE_ONLY } else { 0 };
        let length = name.len() as u32;
        self.send(INVALIDATE_ENTRY, &[&parent.to_ne_bytes(), &length.to_ne_bytes(), &flags.to_ne_bytes(), name, &[0]])
    }

    /// Bytes of a value at `offset`. If they end behind what the kernel takes for the end, that is the end from now on: the one
    /// way to make it learn that a value has grown, without it asking.
    pub(super) fn store(&self, id: EntryId, offset: u64, bytes: &[u8]) -> io::Result<Told> {
        let (length, padding) = (bytes.len() as u32, 0_u32);
        let front =
            [&id.to_ne_bytes()[..], &offset.to_ne_bytes(), &length.to_ne_bytes(), &padding.to_ne_bytes()].concat();
        self.send(STORE, &[&front, bytes])
    }

    /// Every name is looked up again before it is used. Linux 6.16.
    pub(super) fn new_epoch(&self) -> io::Result<Told> {
        self.send(NEW_EPOCH, &[])
    }

    /// The message in one write, as the kernel wants it.
    fn send(&self, kind: i32, body: &[&[u8]]) -> io::Result<Told> {
        const HEADER: usize = 16;
        let length = HEADER + body.iter().map(|part| part.len()).sum::<usize>();
        let mut message = Vec::with_capacity(length);
        message.extend_from_slice(&(length as u32).to_ne_bytes());
        message.extend_from_slice(&kind.to_ne_bytes());
        // Of no request.
        message.extend_from_slice(&0_u64.to_ne_bytes());
        body.iter().for_each(|part| message.extend_from_slice(part));
        match (&*self.0).write(&message) {
            Ok(_) => Ok(Told::Heard),
            Err(error) if error.raw_os_error() == Some(Errno::ENOENT as i32) => Ok(Told::Unknown),
            Err(error) => Err(error),
        }
    }
}
