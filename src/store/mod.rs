//! The Bitcask: keydir, transactions, group commit, recovery.
//!
//! Locks, in the order in which they are taken: the log's writer (a [`Transaction`] holds it from beginning to end, so
//! there is one at a time), then the keydir. Only the holder of the first changes what the keydir says, so what a
//! transaction has read stays true until it commits; a merge changes where in the log it is. No lock is held while the
//! medium syncs.

mod append;
mod attributes;
mod backup;
mod batch;
mod change;
mod changes;
mod clock;
mod directory;
mod error;
mod expiry;
mod extents;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod group_commit;
pub(crate) mod heap;
mod held;
mod import;
mod keydir;
mod memory;
mod merge;
mod namespace;
mod options;
mod paths;
mod range_map;
mod record;
mod recovery;
mod remove_tree;
mod repair;
mod reserve;
mod scan;
mod sealed;
mod share;
mod snapshots;
mod statistics;
mod transaction;
mod usage;
mod value;
mod verify;
mod view;
mod xattrs;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use parking_lot::{Mutex, RwLock};

pub use crate::log::Wait;
pub use attributes::{Attributes, EntryId, Kind, ROOT, Stat, Time};
pub use backup::{Check, Copied, Source, copy_backup, is_backup_name, restore};
pub use batch::Batch;
pub use changes::{Change, Closer, Committed, Door, Name, News, Subscription};
pub use clock::Clock;
pub use error::{Error, Refusal};
pub use expiry::XATTR as EXPIRES;
pub use extents::Extent;
pub use group_commit::Callback;
pub use import::{Import, Pieces};
pub use memory::{Charge, KeydirMemory, MemoryUse};
pub use merge::{DeadSpace, MergePolicy, MergeStatistics, MergeWindow, PlannedMerge};
pub use namespace::{RESERVED, RenameMode, Unlink, check_name};
pub use options::Options;
pub use range_map::{Piece, RangeMap};
pub use record::{MAX_EXTENT, MAX_NAME};
pub use recovery::{RecoveryReport, UNREAD_ADVICE};
pub use remove_tree::Removed;
pub use repair::{RepairMode, RepairReport};
#[cfg(feature = "cli")]
pub(crate) use scan::KeyPath;
pub use scan::{Listed, Met, Scan};
pub use share::{Lender, Loan};
pub use snapshots::{Snapshot, check_snapshot_name};
pub use statistics::Statistics;
pub use transaction::{StagedRun, Transaction};
pub use value::{Update, Value};
pub use verify::VerifyReport;
pub use view::View;
pub use xattrs::XattrMode;

pub use crate::log::{MAX_ENTRY, Progress};

use crate::log::{Log, LogOptions, StoreId, WRITE_AHEAD};
use crate::medium::{Disk, Lock, Medium, Space};
use clock::Believed;
use group_commit::GroupCommit;
use keydir::Keydir;
use memory::Account;
use reserve::{Claim, Reserve};

/// The file with the kernel lock.
const LOCK: &str = "lock";

/// A durable key-value store in a directory.
pub struct Store {
    /// First, so that it ends first.
    _merging: merge::Background,
    merger: Arc<merge::Merger>,
    commits: Arc<GroupCommit>,
    log: Arc<Log>,
    keydir: Arc<RwLock<Keydir>>,
    /// The second at which the next file expires; `i64::MAX` if none does.
    next_due: Arc<AtomicI64>,
    watch: expiry::Watch,
    /// Held while a backup begins.
    backups: Mutex<()>,
    changes: Arc<changes::Changes>,
    reserve: Reserve,
    memory: Arc<Account>,
    /// How far the clock is believed.
    believed: Believed,
    counters: statistics::Counters,
    options: Options,
    /// The user and the group that opened it.
    owner: (u32, u32),
    report: RecoveryReport,
    /// The kernel lock; absent only where a reader found no lock file.
    _lock: Option<Box<dyn Lock>>,
}

impl fmt::Debug for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Store").field("log", &self.log).finish_non_exhaustive()
    }
}

/// What a store says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// The store's identity.
    pub id: StoreId,
    /// How often it was opened for writing.
    pub epoch: u32,
    /// Entries: files, directories and all others.
    pub keys: u64,
    /// Segments of the log.
    pub segments: u64,
    /// Bytes in them.
    pub log_bytes: u64,
    /// Bytes in them that are live, which a merge would copy. Shared ones count for each value that has them.
    pub live_bytes: u64,
    /// Bytes of memory that the keydir takes, about.
    pub keydir_bytes: u64,
    /// Merges since the store was opened.
    pub merges: u64,
    /// Snapshots that there are.
    pub snapshots: u64,
    /// Bytes on the medium that only snapshots keep there.
    pub snapshot_bytes: u64,
    /// The highest sequence number that was given out.
    pub written: u64,
    /// The highest sequence number that is known to be on the medium.
    pub durable: u64,
    /// Why the store refuses writes, if a write or sync has failed.
    pub failure: Option<String>,
    /// What of the work in the background (merging, hints) fails, and is tried again later.
    pub background_trouble: Option<String>,
    /// Room on the medium.
    pub space: Space,
}

/// One name in a directory, with what stat shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// The name's place: greater than that of every name made before it in this directory.
    pub cookie: u64,
    /// The name.
    pub name: Box<[u8]>,
    /// The entry.
    pub stat: Stat,
}

impl Store {
    /// Opens the store in a directory on disk.
    ///
    /// # Errors
    /// [`log::Error`](crate::log::Error) within [`Error::Log`]: no store, one of the future, in use, damaged.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Store, Error> {
        let disk = Disk::new(path.as_ref());
        if options.create && !options.read_only {
            disk.create_root().map_err(|source| io_error("creating the store directory", source))?;
        }
        // The process may change its working directory later.
        let absolute = path.as_ref().canonicalize().map_err(|source| io_error("finding the store", source))?;
        Store::open_on(Arc::new(Disk::new(absolute)), options)
    }

    /// Opens the store on a medium.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_on(medium: Arc<dyn Medium>, options: Options) -> Result<Store, Error> {
        let create = options.create && !options.read_only;
        // Before the lock, whose file would be the first change to a directory that is none of ours.
        Log::probe(&*medium, create)?;
        let lock = take_lock(&*medium, options.read_only)?;
        Store::open_locked(medium, options, lock, None)
    }

    /// Opens a store whose lock is held; for a repair, what there is of it.
    fn open_locked(
        medium: Arc<dyn Medium>,
        options: Options,
        lock: Option<Box<dyn Lock>>,
        repair: Option<RepairMode>,
    ) -> Result<Store, Error> {
        let mut loader = recovery::Loader::new();
        let log_options = LogOptions {
            write_ahead: WRITE_AHEAD,
            segment_size: options.segment_size,
            read_only: options.read_only,
            create: options.create && !options.read_only,
            strict: options.strict,
            lenient: repair.is_some(),
            give_up_unread: repair.is_some_and(|mode| mode.dry_run || mode.give_up_unread),
            new_id: options.id.unwrap_or_else(options::random_id),
        };
        let opened = Log::open(Arc::clone(&medium), log_options, &mut |visit| loader.push(&visit));
        let (mut keydir, findings) = loader.finish();
        if keydir.overflowed() {
            return Err(Error::TableFull);
        }
        let (log, report) = match opened {
            Err(crate::log::Error::DamageMet(report)) => (None, *report),
            other => other.map(|(log, report)| (Some(log), report))?,
        };
        let may_hold = |location, len| log.as_ref().is_none_or(|log: &Log| log.may_hold(location, len));
        let report = recovery::report(&mut keydir, report, findings, &may_hold);
        let log = match log {
            Some(log) if !options.strict || report.is_clean() => log,
            _ => return Err(Error::Strict(Box::new(Refusal(report)))),
        };
        report.tell();
        let log = Arc::new(log);
        let background = options.background && !options.read_only;
        log.keep_reserve();
        let commits = GroupCommit::new(Arc::clone(&log), background)
            .map_err(|source| io_error("starting the sync thread", source))?;
        let total = medium.space().map_or(0, |space| space.total);
        let reserve = Reserve::new((2 * u64::from(options.segment_size)).min(total / 20));
        let next_due = keydir.due.next();
        let watch = expiry::Watch::default();
        let (keydir, commits) = (Arc::new(RwLock::new(keydir)), Arc::new(commits));
        let merger = merge::Merger::new(
            Arc::clone(&log),
            Arc::clone(&keydir),
            Arc::clone(&commits),
            options.clone(),
            reserve.bytes(),
            &report,
        );
        let merger = Arc::new(merger);
        let merging = merge::Background::new(Arc::clone(&merger), background)
            .map_err(|source| io_error("starting the merge thread", source))?;
        let counters = statistics::Counters::default();
        let believed = Believed::new(&options.clock, &log, log.written() == 0);
        let memory = Arc::new(Account::new(options.memory_limit, options.batch_limit));
        let store = Store {
            _merging: merging,
            merger,
            commits,
            log,
            keydir,
            next_due,
            watch,
            backups: Mutex::new(()),
            changes: Arc::default(),
            reserve,
            memory,
            believed,
            counters,
            options,
            owner: (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()),
            report,
            _lock: lock,
        };
        if store.log.written() == 0 && !store.options.read_only {
            store.found()?;
        }
        Ok(store)
    }

    /// Gives a new store's root its owner and its time.
    fn found(&self) -> Result<(), Error> {
        let mut transaction = self.begin()?;
        let root = transaction.new_attributes(Kind::Directory, 0o755);
        transaction.set_attributes(ROOT, root)?;
        transaction.commit().map(drop)
    }

    /// Makes everything durable and closes the store. Dropping it does the same, but cannot report a failure.
    ///
    /// # Errors
    /// Those of the log.
    pub fn close(self) -> Result<(), Error> {
        self.sync()
    }

    /// Writes the hints that sealed segments lack, so that the next start is fast.
    ///
    /// # Errors
    /// Those of the medium. They do the store no harm.
    pub fn write_hints(&self) -> Result<(), Error> {
        while self.log.write_hint()? {}
        Ok(())
    }

    /// Waits until everything that was acknowledged is durable.
    ///
    /// # Errors
    /// Those of the log.
    pub fn sync(&self) -> Result<(), Error> {
        if self.options.read_only {
            return Ok(());
        }
        self.commits.wait(self.log.written())
    }

    /// Waits until `sequence` is durable.
    ///
    /// # Errors
    /// Those of the log.
    pub fn wait(&self, sequence: u64) -> Result<(), Error> {
        self.commits.wait(sequence)
    }

    /// Calls `done` once `sequence` is durable: now, on this thread, if it is already.
    pub fn when_durable(&self, sequence: u64, done: Callback) {
        self.commits.when_durable(sequence, done);
    }

    /// The highest sequence number that was given out: what a sync must reach to cover everything so far.
    pub fn written(&self) -> u64 {
        self.log.written()
    }

    /// Whether the store refuses writes: opened so, or since a write failed.
    pub fn is_read_only(&self) -> bool {
        self.options.read_only || self.log.failure().is_some()
    }

    /// What the last start found.
    pub fn recovery_report(&self) -> &RecoveryReport {
        &self.report
    }

    /// What the store says of itself.
    ///
    /// # Errors
    /// If the medium does not tell its free space.
    pub fn info(&self) -> Result<Info, Error> {
        let (segments, log_bytes) = self.log.size();
        let (keys, live_bytes, keydir_bytes) = {
            let keydir = self.keydir.read();
            (keydir.len() as u64, keydir.usage.total(), keydir.memory().total())
        };
        let (snapshots, snapshot_bytes) = self.log.snapshot_usage()?;
        Ok(Info {
            id: self.log.id(),
            epoch: self.log.epoch(),
            keys,
            segments: segments as u64,
            log_bytes,
            live_bytes,
            keydir_bytes,
            merges: self.merge_statistics().merges,
            snapshots: snapshots as u64,
            snapshot_bytes,
            written: self.log.written(),
            durable: self.log.durable(),
            failure: self.log.failure().map(str::to_owned),
            background_trouble: self.background_trouble(),
            space: self.space()?,
        })
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> u64 {
        self.keydir.read().len() as u64
    }

    /// Room on the medium, without the reserve.
    pub(crate) fn space(&self) -> Result<Space, Error> {
        self.log.medium().space().map_err(|source| io_error("asking the medium for its free space", source))
    }

    /// Begins a transaction. There is one at a time: the calling thread waits for the one before, and must not begin
    /// a second. It finds nothing that has expired.
    ///
    /// # Errors
    /// [`Error::ReadOnly`], or the failure that made the store refuse writes; [`log::Error::InTransaction`](crate::log::Error)
    /// within [`Error::Log`] if the calling thread has one open.
    pub fn begin(&self) -> Result<Transaction<'_>, Error> {
        self.begin_through(Door::API)
    }

    /// [`Store::begin`] for changes that come through another door, so that subscribers can tell them.
    ///
    /// # Errors
    /// As there.
    pub fn begin_through(&self, door: Door) -> Result<Transaction<'_>, Error> {
        self.check_writable()?;
        loop {
            let transaction = Transaction::new(self, door)?;
            if !self.may_expire(transaction.now()) {
                return Ok(transaction);
            }
            transaction.expire()?;
        }
    }

    /// Whether writes are taken.
    ///
    /// # Errors
    /// As [`Store::begin`].
    pub fn check_writable(&self) -> Result<(), Error> {
        match self.log.failure() {
            _ if self.options.read_only => Err(Error::ReadOnly),
            Some(reason) => Err(crate::log::Error::Failed(reason.to_owned()).into()),
            None => Ok(()),
        }
    }

    /// Appends bytes of a value that nobody sees until an [`Update`] names their stage; a stage of 0 begins one.
    ///
    /// # Errors
    /// [`Error::NoSpace`] and others of the log.
    pub fn stage(&self, entry: EntryId, stage: u64, offset: u64, bytes: &[u8]) -> Result<StagedRun, Error> {
        let transaction = self.begin()?;
        self.reserve.take(&**self.log.medium(), Claim::Growth, bytes.len() as u64 + 256)?;
        self.grow_staged(entry, stage, bytes.len())?;
        let run = transaction.stage(entry, stage, offset, bytes)?;
        self.counters.put(bytes.len() as u64);
        Ok(run)
    }

    /// Forgets a stage: its bytes will not be published.
    pub fn abandon(&self, stage: u64) {
        self.keydir.write().drop_stage(stage);
    }

    /// An id for an entry that is made later.
    fn spare_id(&self) -> Result<EntryId, Error> {
        let _writer = self.begin()?;
        let mut keydir = self.keydir.write();
        keydir.next_id += 1;
        Ok(keydir.next_id - 1)
    }

    /// What stat shows of an entry.
    ///
    /// # Errors
    /// [`Error::Stale`] if it is gone.
    pub fn entry(&self, id: EntryId) -> Result<Stat, Error> {
        self.keydir.read().stat(id).ok_or(Error::Stale)
    }

    /// An entry's path, for messages.
    pub fn path(&self, id: EntryId) -> String {
        self.keydir.read().path(id)
    }

    /// A symbolic link's target.
    ///
    /// # Errors
    /// [`Error::Stale`] if it is gone, [`Error::Invalid`] if it is none.
    pub fn target(&self, id: EntryId) -> Result<Vec<u8>, Error> {
        let keydir = self.keydir.read();
        let node = keydir.get(id).ok_or(Error::Stale)?;
        match node.state.attributes.kind {
            Kind::Symlink => Ok(node.state.target.to_vec()),
            _ => Err(Error::Invalid("not a symbolic link")),
        }
    }

    /// The children of a directory whose cookies are greater than `cookie`, at most `limit` of them.
    ///
    /// # Errors
    /// [`Error::Stale`], [`Error::NotADirectory`].
    pub(crate) fn children(&self, directory: EntryId, cookie: u64, limit: usize) -> Result<Vec<Child>, Error> {
        self.remove_due();
        let horizon = self.horizon();
        let keydir = self.keydir.read();
        let node = keydir.get(directory).ok_or(Error::Stale)?;
        let names = node.directory.as_ref().ok_or(Error::NotADirectory)?;
        let child = |(cookie, id): (u64, EntryId)| {
            let name = keydir.name_at(directory, cookie, id)?.into();
            let stat = keydir.stat(id)?;
            let shown = stat.expires.is_none_or(|at| at.seconds() > horizon);
            shown.then_some(Child { cookie, name, stat })
        };
        Ok(names.after_cookie(cookie).filter_map(child).take(limit).collect())
    }

    /// The directory that an entry is in; the root is in itself.
    pub fn parent(&self, id: EntryId) -> Option<EntryId> {
        let keydir = self.keydir.read();
        let parent = keydir.first_name(id).map_or(ROOT, |(parent, _)| parent);
        keydir.contains(id).then_some(parent)
    }

    /// Whether no record speaks of the entry yet, and whether it has a name.
    pub fn standing(&self, id: EntryId) -> Result<Standing, Error> {
        self.keydir.read().standing(id).ok_or(Error::Stale)
    }

    /// The present, by the store's clock.
    pub fn now(&self) -> Time {
        self.options.clock.now()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.merger.stop();
        if self.expires() && self.check_writable().is_ok() {
            self.believed.note(&self.log);
        }
        let ended = self.sync().and_then(|()| match self.log.note_end() {
            // What it notes is of use only after another misfortune.
            Err(crate::log::Error::NoSpace | crate::log::Error::ReadOnly) => Ok(()),
            other => Ok(other?),
        });
        if let Err(error) = ended {
            log::error!("closing the store: {error}");
        }
    }
}

/// Whether an entry would be found after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is in the log.
    Recorded,
    /// It was created, but is in no record yet.
    Provisional,
    /// It has lost its last name.
    Unlinked,
}

/// Takes the kernel lock of a store, for a writer or for readers.
fn take_lock(medium: &dyn Medium, shared: bool) -> Result<Option<Box<dyn Lock>>, Error> {
    match medium.lock(LOCK, shared) {
        Ok(Some(lock)) => Ok(Some(lock)),
        Ok(None) => Err(crate::log::Error::Locked.into()),
        // A copy on a read-only medium: no writer can be there.
        Err(error) if shared && error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error("locking the store", error)),
    }
}

fn io_error(context: &str, source: std::io::Error) -> Error {
    crate::log::Error::Io { context: context.into(), source }.into()
}
