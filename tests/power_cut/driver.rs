//! Makes the calls of a workload on a real filesystem, as the kernel would: by inode number and handle.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc;

use caskfs::fs::{
    AccessTimes, Caller, CopyEnd, Filesystem, FilesystemOptions, HandleId, OpenFlags, Sequence, SetAttributes, SetTime,
    SyncMode, Writing, XattrMode,
};
use caskfs::log::StoreId;
use caskfs::medium::Medium;
use caskfs::store::{Clock, EntryId, Error, Kind, ROOT, Time};
use caskfs::{Batch, Options, Store};

use crate::call::{Call, Change, Slot, split};
use crate::workload::SLOTS;

/// Root: nobody else may keep suid, and permission is not what is tested here.
const CALLER: Caller = Caller { uid: 0, gid: 0, umask: 0 };

/// How a run is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) segment_size: u32,
    pub(crate) dirty_limit: usize,
    pub(crate) sync: SyncMode,
    /// Whether the store's own calls wait for the medium; otherwise the driver does, and may do so again.
    pub(crate) durable: bool,
}

/// What the store's clock shows. Each call happens at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Now(Arc<AtomicI64>);

impl Now {
    pub(crate) fn at(now: i64) -> Now {
        Now(Arc::new(AtomicI64::new(now)))
    }

    pub(crate) fn set(&self, now: i64) {
        self.0.store(now, Ordering::Relaxed);
    }
}

/// Opens the store of a workload.
pub(crate) fn open(medium: Arc<dyn Medium>, setup: &Setup, now: &Now) -> Result<Store, Error> {
    Store::open_on(medium, options(setup, now))
}

/// How it is opened.
pub(crate) fn options(setup: &Setup, now: &Now) -> Options {
    let now = now.clone();
    Options {
        create: true,
        segment_size: setup.segment_size,
        background: false,
        durable: setup.durable,
        clock: Clock::new(move || Time(now.0.load(Ordering::Relaxed))),
        id: Some(StoreId([7; 16])),
        ..Options::default()
    }
}

/// A filesystem, and the files that the workload has open.
pub(crate) struct Driver {
    pub(crate) fs: Arc<Filesystem>,
    slots: Vec<Option<(EntryId, HandleId)>>,
    durable: bool,
    /// What [`Call::Read`] read last.
    pub(crate) read: Vec<u8>,
    /// Called the moment that a call is answered.
    answered: Arc<dyn Fn() + Send + Sync>,
    /// Where the last call stopped, if it failed behind the point of no return.
    stopped: Stopped,
}

impl Driver {
    pub(crate) fn new(store: Store, setup: &Setup, answered: impl Fn() + Send + Sync + 'static) -> Driver {
        let options = FilesystemOptions {
            sync: setup.sync,
            dirty_limit: setup.dirty_limit,
            access_times: AccessTimes::Never,
            ..Default::default()
        };
        let fs = Filesystem::new(Arc::new(store), options);
        let (slots, durable) = (vec![None; SLOTS], setup.durable);
        Driver { fs, slots, durable, read: Vec::new(), answered: Arc::new(answered), stopped: Stopped::Before }
    }

    pub(crate) fn store(&self) -> &Store {
        self.fs.store()
    }

    /// Makes a call, and waits as the adapter to the kernel does. True if that made everything so far durable.
    pub(crate) fn call(&mut self, call: &Call) -> Result<bool, Error> {
        match self.begin(call)? {
            Acknowledged::By(Some(sequence)) => self.wait(sequence),
            Acknowledged::By(None) => Ok(false),
            Acknowledged::Earlier(sequence) => self.wait_for_earlier(sequence),
            Acknowledged::Already => Ok(true),
        }
    }

    /// Makes a call that failed once more, from where it stopped.
    pub(crate) fn retry(&mut self, call: &Call) -> Result<bool, Error> {
        match std::mem::replace(&mut self.stopped, Stopped::Before) {
            Stopped::Before => self.call(call),
            Stopped::Waiting(sequence) => self.wait(sequence),
            Stopped::WaitingForEarlier(sequence) => self.wait_for_earlier(sequence),
            // The handle is closed; what it left behind is committed by whoever comes next.
            Stopped::Released(slot, id) => {
                let handle = self.fs.open(id, OpenFlags { write: true })?;
                self.fs.fsync(id, handle)?;
                self.fs.release(id, handle)?;
                self.fs.forget(id, 1);
                self.slots[slot] = None;
                Ok(false)
            }
        }
    }

    fn wait(&mut self, sequence: Sequence) -> Result<bool, Error> {
        let (done, answer) = mpsc::channel();
        let answered = Arc::clone(&self.answered);
        let answer_with = move |result: Result<(), Error>| {
            if result.is_ok() {
                answered();
            }
            // The receiver outlives the call.
            done.send(result).unwrap_or_default();
        };
        self.fs.when_durable(sequence, Box::new(answer_with));
        let answer = answer.recv().unwrap_or(Err(Error::Stale));
        if answer.is_err() {
            self.stopped = Stopped::Waiting(sequence);
        }
        answer.map(|()| true)
    }

    /// Waits for something that is in the log already, which says nothing of what came after it.
    fn wait_for_earlier(&mut self, sequence: Sequence) -> Result<bool, Error> {
        self.store().wait(sequence).inspect_err(|_| self.stopped = Stopped::WaitingForEarlier(sequence))?;
        Ok(false)
    }

    fn begin(&mut self, call: &Call) -> Result<Acknowledged, Error> {
        let fs = Arc::clone(&self.fs);
        let sequence = match call {
            Call::Create { slot, path, mode } => {
                let (parent, name) = self.place(path)?;
                let (stat, handle) = fs.create(&CALLER, parent, name, *mode, OpenFlags { write: true })?;
                self.slots[*slot] = Some((stat.id, handle));
                None
            }
            Call::Open { slot, path, write, truncate } => {
                let id = self.find(path)?;
                fs.remember(id);
                self.slots[*slot] = Some((id, fs.open(id, OpenFlags { write: *write })?));
                match truncate {
                    true => fs.setattr(&CALLER, id, None, SetAttributes { size: Some(0), ..Default::default() })?.1,
                    false => None,
                }
            }
            Call::Write { slot, offset, len, stamp } => {
                let (id, handle) = self.slot(*slot)?;
                let bytes = crate::tree::stamped(*stamp, *offset, *len);
                fs.write(id, handle, *offset, &bytes, Writing::default())?;
                None
            }
            Call::Copy { from, to, from_offset, to_offset, len } => {
                let end = |slot: Slot, offset| {
                    let (id, handle) = self.slot(slot)?;
                    Ok::<_, Error>(CopyEnd { id, handle, offset })
                };
                let mut copied = 0;
                while copied < *len {
                    let (from, to) = (end(*from, from_offset + copied)?, end(*to, to_offset + copied)?);
                    copied += fs.copy_file_range(&CALLER, from, to, len - copied)?.bytes;
                }
                None
            }
            Call::Merge { run } => {
                match *run {
                    Some((first, count)) => fs.store().merge_run(first, count).map(drop)?,
                    None => fs.store().compact()?,
                }
                // Without its hints the store is as good.
                let _ = fs.store().write_hints();
                None
            }
            Call::Snapshot { name } => {
                self.store().snapshot(name)?;
                return Ok(Acknowledged::Already);
            }
            Call::RemoveSnapshot { name } => {
                self.store().remove_snapshot(name)?;
                None
            }
            Call::Read { slot } => {
                self.read = fs.read(self.slot(*slot)?.0, 0, 1 << 20)?;
                None
            }
            Call::Punch { slot, offset, len } => {
                let (id, handle) = self.slot(*slot)?;
                let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
                fs.fallocate(&CALLER, id, handle, mode, *offset, *len)?;
                None
            }
            Call::Resize { slot, size } => {
                let (id, handle) = self.slot(*slot)?;
                let change = SetAttributes { size: Some(*size), ..Default::default() };
                fs.setattr(&CALLER, id, Some(handle), change)?.1
            }
            Call::Flush { slot } => {
                let (id, handle) = self.slot(*slot)?;
                let written = self.store().written();
                match fs.flush(id, handle)? {
                    Some(sequence) if sequence <= written => return Ok(Acknowledged::Earlier(sequence)),
                    sequence => sequence,
                }
            }
            Call::Fsync { slot } => {
                let (id, handle) = self.slot(*slot)?;
                fs.fsync(id, handle)?
            }
            Call::Release { slot } => {
                let (id, handle) = self.slot(*slot)?;
                fs.release(id, handle).inspect_err(|_| self.stopped = Stopped::Released(*slot, id))?;
                fs.forget(id, 1);
                self.slots[*slot] = None;
                None
            }
            Call::Truncate { path, size } => {
                self.set(path, SetAttributes { size: Some(*size), ..Default::default() })?
            }
            Call::Chmod { path, mode } => self.set(path, SetAttributes { mode: Some(*mode), ..Default::default() })?,
            Call::Utimens { path, atime, mtime } => {
                let at = |time: &i64| Some(SetTime::At(Time(*time)));
                self.set(path, SetAttributes { atime: at(atime), mtime: at(mtime), ..Default::default() })?
            }
            Call::SetXattr { path, name, value } => {
                fs.setxattr(&CALLER, self.find(path)?, name.as_bytes(), value, XattrMode::Set)?
            }
            Call::RemoveXattr { path, name } => fs.removexattr(&CALLER, self.find(path)?, name.as_bytes())?,
            Call::Mkdir { path, mode } => {
                let (parent, name) = self.place(path)?;
                self.made(fs.mkdir(&CALLER, parent, name, *mode)?)
            }
            Call::Mkfifo { path } => {
                let (parent, name) = self.place(path)?;
                self.made(fs.mknod(&CALLER, parent, name, Kind::Fifo, 0o600, 0)?)
            }
            Call::Symlink { path, target } => {
                let (parent, name) = self.place(path)?;
                self.made(fs.symlink(&CALLER, parent, name, target.as_bytes())?)
            }
            Call::Unlink { path } => {
                let (parent, name) = self.place(path)?;
                fs.unlink(parent, name)?
            }
            Call::Rmdir { path } => {
                let (parent, name) = self.place(path)?;
                fs.rmdir(parent, name)?
            }
            Call::Rename { from, to, mode } => {
                let ((parent, name), (new_parent, new_name)) = (self.place(from)?, self.place(to)?);
                fs.rename(parent, name, new_parent, new_name, *mode)?
            }
            Call::Link { from, to } => {
                let (id, (parent, name)) = (self.find(from)?, self.place(to)?);
                self.made(fs.link(id, parent, name)?)
            }
            Call::FsyncDir { path } => fs.fsyncdir(self.find(path)?)?,
            Call::SyncAll => {
                fs.sync_all()?;
                return Ok(Acknowledged::Already);
            }
            Call::Wait { remove, .. } => {
                if *remove {
                    self.store().expire_due()?;
                }
                None
            }
            Call::Put { path, len, stamp, expires } => {
                let value = crate::tree::stamped(*stamp, 0, *len);
                match expires {
                    Some(at) => self.store().put_expiring(path, value, Time(*at))?,
                    None => self.store().put(path, value)?,
                }
                return Ok(self.acknowledged());
            }
            Call::Batch(changes) => {
                self.store().write(batch(changes))?;
                return Ok(self.acknowledged());
            }
        };
        Ok(Acknowledged::By(sequence))
    }

    /// Writes a byte to a file that is open for writing.
    pub(crate) fn write_probe(&self, slot: Slot) -> Option<Result<(), Error>> {
        let (id, handle) = self.slots[slot]?;
        Some(self.fs.write(id, handle, 0, b"x", Writing::default()).map(drop))
    }

    /// How a call of the store itself is made durable.
    fn acknowledged(&self) -> Acknowledged {
        if self.durable { Acknowledged::Already } else { Acknowledged::By(Some(self.store().written())) }
    }

    fn slot(&self, slot: Slot) -> Result<(EntryId, HandleId), Error> {
        self.slots[slot].ok_or(Error::Stale)
    }

    fn set(&self, path: &str, change: SetAttributes) -> Result<Option<Sequence>, Error> {
        Ok(self.fs.setattr(&CALLER, self.find(path)?, None, change)?.1)
    }

    /// The kernel's lookup count of something new goes back at once.
    fn made(&self, (stat, sequence): (caskfs::store::Stat, Option<Sequence>)) -> Option<Sequence> {
        self.fs.forget(stat.id, 1);
        sequence
    }

    fn place<'p>(&self, path: &'p str) -> Result<(EntryId, &'p [u8]), Error> {
        let (directory, name) = split(path);
        Ok((self.find(directory)?, name.as_bytes()))
    }

    fn find(&self, path: &str) -> Result<EntryId, Error> {
        let mut id = ROOT;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            id = self.fs.lookup(id, name.as_bytes())?.ok_or(Error::NotFound)?.id;
            self.fs.forget(id, 1);
        }
        Ok(id)
    }
}

/// What makes a change durable.
enum Acknowledged {
    /// Waiting for this sequence number.
    By(Option<Sequence>),
    /// Waiting for this one, which was given out before the call.
    Earlier(Sequence),
    Already,
}

/// Where a call stopped.
enum Stopped {
    /// Before anything was changed, or where beginning again does no harm.
    Before,
    /// Waiting for this sequence number.
    Waiting(Sequence),
    /// The same, of a number that was given out before.
    WaitingForEarlier(Sequence),
    /// Committing a file whose handle was closed already.
    Released(Slot, EntryId),
}

fn batch(changes: &[Change]) -> Batch {
    let mut batch = Batch::new();
    for change in changes {
        match change {
            Change::Put { path, len, stamp, expires } => {
                let value = crate::tree::stamped(*stamp, 0, *len);
                match expires {
                    Some(at) => batch.put_expiring(path, value, Time(*at)),
                    None => batch.put(path, value),
                }
            }
            Change::Remove { path } => batch.remove(path),
            Change::Rename { from, to } => batch.rename(from, to),
        };
    }
    batch
}
