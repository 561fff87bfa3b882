//! How a handler answers: it runs under the guard, and its result goes back at once or when it is durable.

use std::sync::Arc;

use fuser::{Errno, FileHandle, INodeNo, ReplyData, ReplyEmpty, ReplyEntry, ReplyXattr};

use super::adapter::Adapter;
use super::attributes::{GENERATION, kept, lifetime, wire};
use super::reply::{Operation, Refuse, errno, when_durable};
use crate::fs::{Error, Sequence, Tree};
use crate::store::{Stat, Wait};

/// What a handler that changes something returns: its answer, and what must be durable before the answer is given.
type Change<T> = Result<(T, Option<Sequence>), Error>;

impl Adapter {
    /// Answers at once with what `work` returns.
    pub(super) fn answer<R: Refuse, T>(
        &self,
        name: &'static str,
        id: INodeNo,
        reply: R,
        work: impl FnOnce(&Tree) -> Result<T, Error>,
        accept: impl FnOnce(R, T),
    ) {
        self.service.guard.run(name, reply, |reply| {
            let outcome = work(&self.service.tree);
            self.service.prepared(name);
            match outcome {
                Ok(value) => accept(reply, value),
                Err(error) => reply.refuse(errno(Operation { name, id: id.0 }, &error)),
            }
        });
    }

    /// Answers with what `work` returns once that is durable.
    pub(super) fn answer_durable<R: Refuse + Send + 'static, T: Send + 'static>(
        &self,
        name: &'static str,
        id: INodeNo,
        reply: R,
        work: impl FnOnce(&Tree) -> Change<T>,
        accept: impl FnOnce(R, T) + Send + 'static,
    ) {
        let (operation, tree) = (Operation { name, id: id.0 }, &self.service.tree);
        self.service.guard.run(name, reply, |reply| {
            let outcome = work(tree);
            self.service.prepared(name);
            settle(tree, operation, outcome, reply, accept);
        });
    }

    /// [`answer`](Self::answer) for what may be asked of a snapshot, which may have to be opened.
    pub(super) fn answer_apart<R: Refuse + Send + 'static, T>(
        &self,
        name: &'static str,
        id: INodeNo,
        reply: R,
        work: impl FnOnce(&Tree) -> Result<T, Error> + Send + 'static,
        accept: impl FnOnce(R, T) + Send + 'static,
    ) {
        let service = Arc::clone(&self.service);
        self.service.run(name, id, reply, move |tree, reply| {
            let outcome = work(tree);
            service.prepared(name);
            match outcome {
                Ok(value) => accept(reply, value),
                Err(error) => reply.refuse(errno(Operation { name, id: id.0 }, &error)),
            }
        });
    }

    /// [`answer_durable`](Self::answer_durable) for what may have to read before it changes something. `warm` reads that,
    /// and says no if it takes a disk and it was not to wait: then all of it runs on a thread that may.
    pub(super) fn answer_warm<R: Refuse + Send + 'static, T: Send + 'static>(
        &self,
        name: &'static str,
        id: INodeNo,
        reply: R,
        warm: impl Fn(&Tree, Wait) -> bool + Send + 'static,
        work: impl FnOnce(&Tree) -> Change<T> + Send + 'static,
        accept: impl FnOnce(R, T) + Send + 'static,
    ) {
        if warm(&self.service.tree, Wait::No) {
            return self.answer_durable(name, id, reply, work, accept);
        }
        let operation = Operation { name, id: id.0 };
        self.service.run_waiting(name, reply, move |tree, reply| {
            warm(tree, Wait::Yes);
            settle(tree, operation, work(tree), reply, accept);
        });
    }

    /// Answers a READ: here, if what is wanted is in memory, and else from a thread that may wait for the disk.
    pub(super) fn answer_read(&self, id: INodeNo, handle: FileHandle, offset: u64, size: usize, reply: ReplyData) {
        let (name, operation) = ("read", Operation { name: "read", id: id.0 });
        let service = Arc::clone(&self.service);
        self.service.run(name, id, reply, move |tree, reply| match tree.read_cached(id.0, handle.0, offset, size) {
            Ok(Some(data)) => {
                service.prepared(name);
                reply.data(&data);
            }
            Ok(None) => {
                service.run_waiting(name, reply, move |tree, reply| match tree.read(id.0, handle.0, offset, size) {
                    Ok(data) => reply.data(&data),
                    Err(error) => reply.refuse(errno(operation, &error)),
                })
            }
            Err(error) => reply.refuse(errno(operation, &error)),
        });
    }

    /// [`answer_durable`](Self::answer_durable) for what may make or remove a snapshot.
    pub(super) fn answer_durable_apart<R: Refuse + Send + 'static, T: Send + 'static>(
        &self,
        name: &'static str,
        id: INodeNo,
        reply: R,
        work: impl FnOnce(&Tree) -> Change<T> + Send + 'static,
        accept: impl FnOnce(R, T) + Send + 'static,
    ) {
        let operation = Operation { name, id: id.0 };
        self.service.run(name, id, reply, move |tree, reply| settle(tree, operation, work(tree), reply, accept));
    }

    /// [`answer_durable`](Self::answer_durable) for what makes a new name.
    pub(super) fn answer_entry(
        &self,
        name: &'static str,
        id: INodeNo,
        reply: ReplyEntry,
        work: impl FnOnce(&Tree) -> Change<Stat>,
    ) {
        let answer = self.service.begin_answer(id);
        self.answer_durable(name, id, reply, work, move |reply, stat| {
            let _answer = answer;
            made(reply, id, &stat);
        });
    }

    /// [`answer_durable`](Self::answer_durable) for what has nothing to tell.
    pub(super) fn answer_done(
        &self,
        name: &'static str,
        id: INodeNo,
        reply: ReplyEmpty,
        work: impl FnOnce(&Tree) -> Result<Option<Sequence>, Error>,
    ) {
        let change = |tree: &Tree| work(tree).map(nothing_but);
        self.answer_durable(name, id, reply, change, |reply, ()| reply.ok());
    }

    /// Answers with an extended attribute's value or the list of their names, in the way that getxattr(2) wants it: the
    /// length alone if `size` is 0, and `ERANGE` if it does not fit.
    pub(super) fn answer_bytes(
        &self,
        name: &'static str,
        id: INodeNo,
        size: u32,
        reply: ReplyXattr,
        work: impl FnOnce(&Tree) -> Result<Vec<u8>, Error> + Send + 'static,
    ) {
        self.answer_apart(name, id, reply, work, move |reply, bytes| match u32::try_from(bytes.len()) {
            Ok(length) if size == 0 => reply.size(length),
            Ok(length) if length <= size => reply.data(&bytes),
            _ => reply.error(Errno::ERANGE),
        });
    }
}

/// The answer of what has nothing to tell.
pub(super) fn nothing_but(sequence: Option<Sequence>) -> ((), Option<Sequence>) {
    ((), sequence)
}

/// Answers with a new entry in the directory `parent`.
pub(super) fn made(reply: ReplyEntry, parent: INodeNo, stat: &Stat) {
    reply.entry(&lifetime(parent.0).min(kept(stat)), &wire(stat), GENERATION);
}

/// Answers with the outcome of a change once that is durable.
fn settle<R: Refuse + Send + 'static, T: Send + 'static>(
    tree: &Tree,
    operation: Operation,
    outcome: Change<T>,
    reply: R,
    accept: impl FnOnce(R, T) + Send + 'static,
) {
    match outcome {
        Ok((value, sequence)) => when_durable(tree, operation, sequence, reply, move |reply| accept(reply, value)),
        Err(error) => reply.refuse(errno(operation, &error)),
    }
}
