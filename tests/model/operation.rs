//! What may happen. Files, directories and handles are chosen by numbers that are taken modulo what there is, so that
//! any part of a sequence is a sequence, and shrinking works.

use caskfs::fs::{RenameMode, SyncMode, XattrMode};
use caskfs::store::Kind;
use proptest::collection::vec;
use proptest::prelude::*;

/// A name in a directory.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// There or not.
    Any { directory: u8, name: u8 },
    /// One of those that there are.
    Taken(u8),
}

/// An entry that there is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// By one of all names; the root is the last.
    Name(u8),
    /// By one of the names of files.
    File(u8),
    /// Through an open handle: perhaps without a name.
    Slot(u8),
}

#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Create {
        at: Place,
        mode: u16,
        write: bool,
        root: bool,
    },
    Open {
        file: u8,
        write: bool,
        truncate: bool,
        root: bool,
    },
    Write {
        slot: u8,
        offset: u64,
        len: usize,
        fill: u8,
        kill: bool,
    },
    Read {
        slot: u8,
        offset: u64,
        len: usize,
    },
    Truncate {
        target: Target,
        by_handle: bool,
        size: u64,
        root: bool,
    },
    Fallocate {
        slot: u8,
        mode: i32,
        offset: u64,
        len: u64,
    },
    Copy {
        from: u8,
        to: u8,
        from_offset: u64,
        to_offset: u64,
        len: u64,
    },
    Flush(u8),
    Fsync(u8),
    Release(u8),
    FsyncDirectory(Place),
    Chmod {
        target: Target,
        mode: u16,
    },
    Chown {
        target: Target,
        uid: Option<u32>,
        gid: Option<u32>,
    },
    Utimens {
        target: Target,
        atime: Option<i64>,
        mtime: Option<i64>,
    },
    SetXattr {
        target: Target,
        name: u8,
        len: usize,
        mode: XattrMode,
    },
    RemoveXattr {
        target: Target,
        name: u8,
    },
    /// Sets when a file expires: so many seconds from now on, perhaps at once.
    Expire {
        target: Target,
        ahead: i64,
        mode: XattrMode,
    },
    /// Looks at everything while the clock is set back.
    LookBack,
    Mknod {
        at: Place,
        kind: Kind,
    },
    Symlink {
        at: Place,
        len: usize,
    },
    Mkdir {
        at: Place,
        mode: u16,
    },
    Rmdir(Place),
    Link {
        target: Target,
        at: Place,
    },
    Unlink(Place),
    Rename {
        from: Place,
        to: Place,
        mode: RenameMode,
    },
    Forget,
    Put {
        at: Place,
        below: Option<u8>,
        len: usize,
        fill: u8,
    },
    Remove(Place),
    /// A merge of so many segments from the first on.
    Merge {
        first: usize,
        count: usize,
    },
    Compact,
    Snapshot(u8),
    Reopen,
    Crash,
}

/// What stays the same throughout a case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) segment_size: u32,
    pub(crate) dirty_limit: usize,
    pub(crate) sync: SyncMode,
}

pub(crate) fn setup() -> impl Strategy<Value = Setup> {
    let segment_size = prop_oneof![Just(300u32), Just(2000), Just(9000), Just(65536)];
    let dirty_limit = prop_oneof![Just(4096usize), Just(20_000), Just(1 << 20)];
    let sync = prop_oneof![3 => Just(SyncMode::Close), 1 => Just(SyncMode::Always), 1 => Just(SyncMode::Interval)];
    (segment_size, dirty_limit, sync).prop_map(|(segment_size, dirty_limit, sync)| Setup {
        segment_size,
        dirty_limit,
        sync,
    })
}

pub(crate) fn operations() -> impl Strategy<Value = Vec<Operation>> {
    vec(prop_oneof![6 => files(), 4 => handles(), 3 => attributes(), 4 => names(), 2 => rare()], 1..150)
}

fn place() -> impl Strategy<Value = Place> {
    (0..6u8, 0..5u8).prop_map(|(directory, name)| Place::Any { directory, name })
}

fn taken() -> impl Strategy<Value = Place> {
    prop_oneof![1 => place(), 5 => any::<u8>().prop_map(Place::Taken)]
}

fn target() -> impl Strategy<Value = Target> {
    let file = any::<u8>().prop_map(Target::File);
    prop_oneof![2 => any::<u8>().prop_map(Target::Name), 2 => file, 2 => (0..4u8).prop_map(Target::Slot)]
}

/// Mostly within the first blocks, some at their edges, a few far out.
fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![
        2 => 0..10_000u64,
        6 => 0..40 * 1024u64,
        2 => (0..10u64, -2..3i64).prop_map(|(block, edge)| (block * 4096).saturating_add_signed(edge)),
        1 => 0..400 * 1024u64,
    ]
}

/// Where a copy begins: often where there is something behind it.
fn start() -> impl Strategy<Value = u64> {
    prop_oneof![2 => Just(0), 1 => 0..5000u64, 2 => offset()]
}

fn length() -> impl Strategy<Value = usize> {
    prop_oneof![8 => 0..9000usize, 2 => 0..100usize, 2 => (0..4usize).prop_map(|n| n * 4096), 1 => 10_000..60_000usize, 1 => 100_000..200_000usize]
}

fn mode() -> impl Strategy<Value = u16> {
    prop_oneof![Just(0o644), Just(0o755), Just(0o4755), Just(0o2755), Just(0o2644), Just(0o6777), Just(0o1777)]
}

fn files() -> impl Strategy<Value = Operation> {
    let keep = libc::FALLOC_FL_KEEP_SIZE;
    let fallocate = prop_oneof![
        Just(0),
        Just(keep),
        Just(keep | libc::FALLOC_FL_PUNCH_HOLE),
        Just(libc::FALLOC_FL_ZERO_RANGE),
        Just(keep | libc::FALLOC_FL_ZERO_RANGE),
        Just(libc::FALLOC_FL_COLLAPSE_RANGE),
    ];
    prop_oneof![
        8 => (0..4u8, offset(), length(), any::<u8>(), any::<bool>())
            .prop_map(|(slot, offset, len, fill, kill)| Operation::Write { slot, offset, len, fill, kill }),
        2 => (0..4u8, offset(), length())
            .prop_map(|(slot, offset, len)| Operation::Read { slot, offset, len }),
        3 => (target(), any::<bool>(), prop_oneof![1 => Just(0), 4 => offset()], any::<bool>())
            .prop_map(|(target, by_handle, size, root)| Operation::Truncate { target, by_handle, size, root }),
        2 => (0..4u8, fallocate, offset(), length())
            .prop_map(|(slot, mode, offset, len)| Operation::Fallocate { slot, mode, offset, len: len as u64 }),
        4 => (0..4u8, 0..4u8, start(), start(), length()).prop_map(|(from, to, from_offset, to_offset, len)| {
            Operation::Copy { from, to, from_offset, to_offset, len: len as u64 }
        }),
        // All of a file, so that there is something to be shared.
        4 => (0..4u8, 0..4u8).prop_map(|(from, to)| {
            Operation::Copy { from, to, from_offset: 0, to_offset: 0, len: 1 << 20 }
        }),
    ]
}

fn handles() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (place(), mode(), prop::bool::weighted(0.9), any::<bool>())
            .prop_map(|(at, mode, write, root)| Operation::Create { at, mode, write, root }),
        5 => (any::<u8>(), prop::bool::weighted(0.7), prop::bool::weighted(0.3), any::<bool>())
            .prop_map(|(file, write, truncate, root)| Operation::Open { file, write, truncate, root }),
        2 => (0..4u8).prop_map(Operation::Flush),
        1 => (0..4u8).prop_map(Operation::Fsync),
        3 => (0..4u8).prop_map(Operation::Release),
        1 => place().prop_map(Operation::FsyncDirectory),
    ]
}

fn attributes() -> impl Strategy<Value = Operation> {
    let xattr_name = || prop_oneof![8 => 0..3u8, 1 => Just(3u8)];
    let removed = prop_oneof![xattr_name(), Just(4u8)];
    let xattr_mode =
        || prop_oneof![2 => Just(XattrMode::Set), 1 => Just(XattrMode::Create), 1 => Just(XattrMode::Replace)];
    let time = || prop::option::of(prop_oneof![Just(-1i64), 0..2_000_000_000_000_000_000i64]);
    prop_oneof![
        2 => (target(), mode()).prop_map(|(target, mode)| Operation::Chmod { target, mode }),
        1 => (target(), prop::option::of(0..3u32), prop::option::of(0..3u32))
            .prop_map(|(target, uid, gid)| Operation::Chown { target, uid, gid }),
        2 => (target(), time(), time())
            .prop_map(|(target, atime, mtime)| Operation::Utimens { target, atime, mtime }),
        2 => (target(), xattr_name(), 0..300usize, xattr_mode())
            .prop_map(|(target, name, len, mode)| Operation::SetXattr { target, name, len, mode }),
        1 => (target(), removed).prop_map(|(target, name)| Operation::RemoveXattr { target, name }),
        2 => (target(), -1..12i64, xattr_mode())
            .prop_map(|(target, ahead, mode)| Operation::Expire { target, ahead, mode }),
    ]
}

fn names() -> impl Strategy<Value = Operation> {
    let kind = prop_oneof![Just(Kind::File), Just(Kind::Fifo), Just(Kind::CharDevice)];
    let rename =
        prop_oneof![3 => Just(RenameMode::Replace), 1 => Just(RenameMode::NoReplace), 2 => Just(RenameMode::Exchange)];
    prop_oneof![
        1 => (place(), kind).prop_map(|(at, kind)| Operation::Mknod { at, kind }),
        1 => (place(), 1..200usize).prop_map(|(at, len)| Operation::Symlink { at, len }),
        3 => (place(), mode()).prop_map(|(at, mode)| Operation::Mkdir { at, mode }),
        2 => taken().prop_map(Operation::Rmdir),
        3 => (target(), place()).prop_map(|(target, at)| Operation::Link { target, at }),
        4 => taken().prop_map(Operation::Unlink),
        6 => (taken(), prop_oneof![place(), taken()], rename).prop_map(|(from, to, mode)| Operation::Rename { from, to, mode }),
    ]
}

fn rare() -> impl Strategy<Value = Operation> {
    prop_oneof![
        2 => Just(Operation::Forget),
        3 => (prop_oneof![place(), taken()], prop::option::weighted(0.3, 0..5u8), length(), any::<u8>())
            .prop_map(|(at, below, len, fill)| Operation::Put { at, below, len, fill }),
        1 => taken().prop_map(Operation::Remove),
        3 => (0..12usize, 1..8usize).prop_map(|(first, count)| Operation::Merge { first, count }),
        6 => (0..40usize).prop_map(|first| Operation::Merge { first, count: 1 }),
        1 => Just(Operation::Compact),
        1 => any::<u8>().prop_map(Operation::Snapshot),
        1 => Just(Operation::LookBack),
        1 => Just(Operation::Reopen),
        2 => Just(Operation::Crash),
    ]
}
