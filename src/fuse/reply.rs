//! How a request is answered: at once, with an error, or when its change is durable.
//!
//! Every reply answers exactly once; one that is dropped unanswered answers `EIO`.

use fuser::{
    Errno, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLseek,
    ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr,
};

use crate::fs::{Error, Sequence, Tree};
use crate::store::EntryId;

/// A reply that can say no.
pub(super) trait Refuse {
    /// Answers with an error.
    fn refuse(self, errno: Errno);
}

macro_rules! refuse {
    ($($reply:ty),*) => { $(impl Refuse for $reply {
        fn refuse(self, errno: Errno) {
            self.error(errno);
        }
    })* };
}

refuse!(
    ReplyAttr,
    ReplyCreate,
    ReplyData,
    ReplyDirectory,
    ReplyDirectoryPlus,
    ReplyEmpty,
    ReplyEntry,
    ReplyLseek,
    ReplyOpen,
    ReplyStatfs,
    ReplyWrite,
    ReplyXattr
);

/// FORGET has no answer.
impl Refuse for () {
    fn refuse(self, _errno: Errno) {}
}

/// What a request was, for the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operation {
    /// Its name.
    pub name: &'static str,
    /// The inode that it names: of the directory, where there is a directory and a name.
    pub id: EntryId,
}

/// The number that stands for an error on the wire. `EIO` is said in the log as well, since a program shows no more of it
/// than "Input/output error", but not again and again; all else is how files ordinarily fail.
pub(super) fn errno(operation: Operation, error: &Error) -> Errno {
    let Operation { name, id } = operation;
    let errno = Errno::from_i32(error.errno());
    if errno == Errno::EIO {
        log::error!("{name} of inode {id}: {error}");
    } else {
        log::debug!("{name} of inode {id}: {error}");
    }
    errno
}

/// Answers with `accept` once everything up to `sequence` is durable, from whichever thread learns of it, and with an
/// error if it never will be. `None`: there is nothing to wait for.
pub(super) fn when_durable<R: Refuse + Send + 'static>(
    tree: &Tree,
    operation: Operation,
    sequence: Option<Sequence>,
    reply: R,
    accept: impl FnOnce(R) + Send + 'static,
) {
    match sequence {
        None => accept(reply),
        Some(sequence) => tree.when_durable(
            sequence,
            Box::new(move |outcome| match outcome {
                Ok(()) => accept(reply),
                Err(error) => reply.refuse(errno(operation, &error)),
            }),
        ),
    }
}
