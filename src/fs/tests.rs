//! The rules of `docs/SEMANTICS.md`, one test each.

mod access_time;
mod acl;
mod commit;
mod copy;
mod directory;
mod doors;
mod expiry;
mod frozen;
mod names;
mod privileges;
mod prometheus;
mod share;
mod space;
mod special;
mod spill;
mod sync;
mod threads;
mod unlinked;
mod values;

use std::ops::Deref;
use std::sync::Arc;

use super::{Caller, Filesystem, FilesystemOptions, HandleId, OpenFlags, SetAttributes, Writing};
use crate::medium::SimDisk;
use crate::store::{EntryId, Error, Options, ROOT, Stat, Store};

const ROOT_USER: Caller = Caller { uid: 0, gid: 0, umask: 0 };
const USER: Caller = Caller { uid: 1000, gid: 100, umask: 0 };
/// By a member of the group of [`USER`]'s files.
const KILL: Writing<'static> = Writing { kill: Some(&USER), append: false };
const WRITE: OpenFlags = OpenFlags { write: true };
const READ: OpenFlags = OpenFlags { write: false };

/// A filesystem on a disk in memory.
struct Mount {
    disk: SimDisk,
    options: FilesystemOptions,
    filesystem: Arc<Filesystem>,
}

impl Deref for Mount {
    type Target = Filesystem;

    fn deref(&self) -> &Filesystem {
        &self.filesystem
    }
}

impl Mount {
    fn new() -> Mount {
        Mount::on(SimDisk::new(), FilesystemOptions::default())
    }

    fn on(disk: SimDisk, options: FilesystemOptions) -> Mount {
        let store = Options { create: true, segment_size: 1 << 16, background: false, ..Options::default() };
        let store = Store::open_on(Arc::new(disk.clone()), store).unwrap();
        Mount { disk, filesystem: Filesystem::new(Arc::new(store), options.clone()), options }
    }

    /// What the next daemon finds after this one was killed.
    fn crash(&self) -> Mount {
        Mount::on(self.disk.restart(), self.options.clone())
    }

    fn create(&self, name: &str) -> (EntryId, HandleId) {
        let (stat, handle) = self.filesystem.create(&USER, ROOT, name.as_bytes(), 0o644, WRITE).unwrap();
        (stat.id, handle)
    }

    fn mkdir(&self, name: &str) -> EntryId {
        self.filesystem.mkdir(&USER, ROOT, name.as_bytes(), 0o755).unwrap().0.id
    }

    fn open(&self, id: EntryId, flags: OpenFlags) -> HandleId {
        self.filesystem.open(id, flags).unwrap()
    }

    /// open(2) with O_TRUNC, as the kernel has it done.
    fn open_truncated(&self, caller: &Caller, id: EntryId, flags: OpenFlags) -> HandleId {
        let handle = self.open(id, flags);
        assert_eq!(self.setattr(caller, id, resize(0)).size, 0);
        handle
    }

    fn write(&self, (id, handle): (EntryId, HandleId), offset: u64, bytes: &[u8]) {
        assert_eq!(
            self.filesystem.write(id, handle, offset, bytes, Writing::default()).unwrap().bytes,
            bytes.len() as u64
        );
    }

    /// Closes a descriptor that has no copies. Says whether the caller waits for the medium.
    fn close(&self, (id, handle): (EntryId, HandleId)) -> bool {
        let sequence = self.flush(id, handle).unwrap();
        self.release(id, handle).unwrap();
        sequence.is_some()
    }

    /// A file with this value, committed and closed.
    fn file(&self, name: &str, bytes: &[u8]) -> EntryId {
        let open = self.create(name);
        self.write(open, 0, bytes);
        self.close(open);
        open.0
    }

    /// What stat shows of a path.
    fn stat(&self, path: &str) -> Option<Stat> {
        let mut found = Some(self.getattr(ROOT).unwrap());
        for name in path.split('/') {
            found = self.lookup(found?.id, name.as_bytes()).unwrap();
            found.iter().for_each(|stat| self.forget(stat.id, 1));
        }
        found
    }

    /// A file's value as the mount shows it.
    fn value(&self, path: &str) -> Option<Vec<u8>> {
        self.stat(path).map(|stat| self.read(stat.id, 0, usize::MAX).unwrap())
    }

    /// A key's value as a crash would leave it now.
    fn saved(&self, path: &str) -> Option<Vec<u8>> {
        let saved = self.crash().value(path);
        assert!(saved == self.store().get(path).unwrap(), "what is published is what a crash leaves");
        saved
    }

    fn setattr(&self, caller: &Caller, id: EntryId, change: SetAttributes) -> Stat {
        self.filesystem.setattr(caller, id, None, change).unwrap().0
    }

    fn chmod(&self, id: EntryId, mode: u16) -> Stat {
        self.setattr(&USER, id, SetAttributes { mode: Some(mode), ..Default::default() })
    }
}

fn resize(size: u64) -> SetAttributes {
    SetAttributes { size: Some(size), ..Default::default() }
}

/// The errno of what must fail.
fn errno<T>(result: Result<T, Error>) -> i32 {
    result.err().map_or(0, |error| error.errno())
}

/// Bytes that differ from place to place, none of them zero.
fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| ((at * 31 + at / 4096 + seed) % 255) as u8 + 1).collect()
}
