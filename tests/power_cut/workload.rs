//! Which call comes next: by chance, among those that make sense.

use caskfs::fs::RenameMode;
use caskfs::store::Kind;
use rand::RngExt;
use rand::rngs::StdRng;

use crate::call::{Call, Change, Slot, join};
use crate::expiry::EXPIRES;
use crate::model::{Id, Model};

/// Files open at once.
pub(crate) const SLOTS: usize = 4;
/// More directories than this are not made.
const MAX_DIRECTORIES: usize = 4;

const FILES: [&str; 4] = ["k0", "k1", "k2", "k3"];
const DIRECTORIES: [&str; 3] = ["d0", "d1", "d2"];
/// Names that only links get, so that some file has more names than its node record holds.
const LINKS: [&str; 6] = ["l0", "l1", "l2", "l3", "l4", "l5"];
const SNAPSHOTS: [&str; 2] = ["s0", "s1"];
const XATTRS: [&str; 2] = ["user.a", "user.b"];

/// The next call. `step` is the number of the call: it stamps what is written. If `lazy`, what is due may be left to
/// whoever looks next.
pub(crate) fn next(model: &Model, random: &mut StdRng, step: u16, now: i64, lazy: bool) -> Call {
    loop {
        let call = Choice { model, random, stamp: step + 1, now, lazy }.call();
        if let Some(call) = call.filter(|call| model.clone().apply(call, now).is_some()) {
            return call;
        }
    }
}

struct Choice<'a> {
    model: &'a Model,
    random: &'a mut StdRng,
    stamp: u16,
    now: i64,
    lazy: bool,
}

impl Choice<'_> {
    fn call(&mut self) -> Option<Call> {
        Some(match self.random.random_range(0..144) {
            0..8 => Call::Create { slot: self.free_slot()?, path: self.name(&FILES), mode: self.mode() },
            8..15 => {
                let (slot, path) = (self.free_slot()?, self.path(Kind::File)?);
                Call::Open { slot, path, write: true, truncate: self.random.random_bool(0.6) }
            }
            15..16 => {
                Call::Open { slot: self.free_slot()?, path: self.path(Kind::File)?, write: false, truncate: false }
            }
            16..34 => {
                let slot = self.busy_slot()?;
                Call::Write { slot, offset: self.offset(slot), len: self.len().max(1), stamp: self.stamp }
            }
            34..36 => Call::Read { slot: self.busy_slot()? },
            36..37 => {
                let slot = self.busy_slot()?;
                Call::Punch { slot, offset: self.offset(slot), len: self.len().max(1) as u64 }
            }
            37..38 => Call::Resize { slot: self.busy_slot()?, size: self.len() as u64 },
            38..47 => Call::Flush { slot: self.busy_slot()? },
            47..51 => Call::Fsync { slot: self.busy_slot()? },
            51..58 => Call::Release { slot: self.busy_slot()? },
            58..60 => Call::Truncate { path: self.path(Kind::File)?, size: self.len() as u64 },
            60..62 => Call::Chmod { path: self.any_path(), mode: self.mode() },
            62..64 => {
                let (atime, mtime) = (self.random.random_range(-9..0), self.random.random_range(-99..-9));
                Call::Utimens { path: self.any_path(), atime, mtime }
            }
            64..66 => {
                let value = format!("#{}", self.stamp).into_bytes();
                Call::SetXattr { path: self.any_path(), name: self.one_of(&XATTRS), value }
            }
            66..67 => Call::RemoveXattr { path: self.any_path(), name: self.one_of(&XATTRS) },
            67..70 if self.paths(|kind| kind == Kind::Directory).len() < MAX_DIRECTORIES => {
                Call::Mkdir { path: self.name(&DIRECTORIES), mode: self.mode() }
            }
            70..71 => Call::Mkfifo { path: self.name(&FILES) },
            71..72 => Call::Symlink { path: self.name(&FILES), target: format!("t{}", self.stamp) },
            72..75 => Call::Unlink { path: self.any_path() },
            75..76 => Call::Rmdir { path: self.path(Kind::Directory)? },
            76..82 => Call::Rename { from: self.any_path(), to: self.name(&FILES), mode: RenameMode::Replace },
            82..84 => Call::Rename { from: self.any_path(), to: self.name(&DIRECTORIES), mode: RenameMode::NoReplace },
            84..86 => Call::Rename { from: self.any_path(), to: self.any_path(), mode: RenameMode::Exchange },
            86..88 => Call::Link { from: self.path(Kind::File)?, to: self.name(&FILES) },
            88..90 => Call::FsyncDir { path: self.path(Kind::Directory)? },
            90..91 => Call::SyncAll,
            91..94 => Call::Put { path: self.name(&FILES), len: self.len(), stamp: self.stamp, expires: None },
            94..95 => {
                let expires = self.random.random::<bool>().then(|| self.time());
                Call::Put { path: self.emptied_path()?, len: self.len(), stamp: self.stamp, expires }
            }
            95..97 => {
                let count = self.random.random_range(1..5);
                Call::Batch((0..count).map(|_| self.change()).collect())
            }
            97..100 => {
                let run = (self.random.random_range(0..8), self.random.random_range(1..4));
                Call::Merge { run: self.random.random_bool(0.6).then_some(run) }
            }
            100..103 => Call::Snapshot { name: self.one_of(&SNAPSHOTS) },
            103..104 => Call::RemoveSnapshot { name: self.one_of(&SNAPSHOTS) },
            104..109 => {
                let expires = Some(self.time());
                Call::Put { path: self.name(&FILES), len: self.len(), stamp: self.stamp, expires }
            }
            109..112 => {
                let value = match self.random.random::<bool>() {
                    true => format!("+{}", self.random.random_range(0..3)),
                    false => (self.time() / 1_000_000_000 + 1).to_string(),
                };
                Call::SetXattr { path: self.path(Kind::File)?, name: EXPIRES, value: value.into_bytes() }
            }
            112..113 => Call::RemoveXattr { path: self.expiring_path()?, name: EXPIRES },
            113..117 => {
                let remove = !self.lazy || self.random.random();
                Call::Wait { seconds: self.random.random_range(1..3), remove }
            }
            // What is to go goes elsewhere before, or gets another value, another name.
            117..118 => {
                let to = self.name(&FILES);
                Call::Rename { from: self.expiring_path()?, to, mode: RenameMode::Replace }
            }
            118..119 => Call::Put { path: self.expiring_path()?, len: self.len(), stamp: self.stamp, expires: None },
            119..120 => Call::Unlink { path: self.expiring_path()? },
            120..121 => Call::Link { from: self.expiring_path()?, to: self.name(&FILES) },
            121..131 => self.copy()?,
            131..136 => Call::Merge { run: Some((self.random.random_range(0..20), 1)) },
            136..144 => Call::Link { from: self.most_linked()?, to: self.name(&LINKS) },
            _ => return None,
        })
    }

    /// Of a file that has enough to be shared, if there is one: often all of it.
    fn copy(&mut self) -> Option<Call> {
        let size = |slot: &Slot| self.value_len(*slot) as u64;
        let (longest, to) = ((0..SLOTS).max_by_key(size)?, self.busy_slot()?);
        let from = if self.random.random_bool(0.7) { longest } else { self.busy_slot()? };
        let size = self.value_len(from) as u64;
        let from_offset = match self.random.random_range(0..3) {
            0 => self.random.random_range(0..=size / 2),
            _ => 0,
        };
        let to_offset = if self.random.random() { 0 } else { self.offset(to) };
        let rest = size - from_offset;
        let len = if self.random.random_bool(0.7) { rest } else { self.random.random_range(0..=rest) };
        Some(Call::Copy { from, to, from_offset, to_offset, len })
    }

    fn change(&mut self) -> Change {
        match self.random.random_range(0..4) {
            0 => Change::Remove { path: self.any_path() },
            1 => Change::Rename { from: self.any_path(), to: self.name(&FILES) },
            _ => {
                let expires = self.random.random_bool(0.3).then(|| self.time());
                Change::Put { path: self.name(&FILES), len: self.len(), stamp: self.stamp, expires }
            }
        }
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.random.random_range(0..choices.len())]
    }

    fn free_slot(&mut self) -> Option<Slot> {
        self.model.slots.iter().position(Option::is_none)
    }

    fn busy_slot(&mut self) -> Option<Slot> {
        let busy: Vec<Slot> = (0..SLOTS).filter(|slot| self.model.slots[*slot].is_some()).collect();
        (!busy.is_empty()).then(|| self.one_of(&busy))
    }

    fn paths(&self, wanted: impl Fn(Kind) -> bool) -> Vec<String> {
        let wanted = |(path, id): (String, Id)| wanted(self.model.nodes[id].now.kind).then_some(path);
        self.model.paths().into_iter().filter_map(wanted).collect()
    }

    fn path(&mut self, kind: Kind) -> Option<String> {
        let paths = self.paths(|found| found == kind);
        (!paths.is_empty()).then(|| paths[self.random.random_range(0..paths.len())].clone())
    }

    /// A file that somebody has emptied and writes anew.
    fn emptied_path(&mut self) -> Option<String> {
        let emptied = |id: &Id| self.model.nodes[*id].staged.as_ref().is_some_and(|staged| staged.emptied);
        self.model.paths().into_iter().find(|(_, id)| emptied(id)).map(|(path, _)| path)
    }

    /// The file with the most names.
    fn most_linked(&mut self) -> Option<String> {
        let names = |path: &String| self.model.find(path).map_or(0, |id| self.model.nodes[id].now.links.len());
        self.paths(|kind| kind == Kind::File).into_iter().max_by_key(names)
    }

    fn expiring_path(&mut self) -> Option<String> {
        let mut paths = self.model.paths();
        paths.retain(|(_, id)| self.model.nodes[*id].now.expires().is_some());
        (!paths.is_empty()).then(|| paths[self.random.random_range(0..paths.len())].0.clone())
    }

    /// A time at which a file may expire: soon, or just now.
    fn time(&mut self) -> i64 {
        let earliest = if self.lazy { -500_000_000 } else { 1 };
        // At 0 nothing is due: that is when a disk is judged.
        (self.now + self.random.random_range(earliest..3_000_000_000)).max(1)
    }

    fn any_path(&mut self) -> String {
        let paths = self.paths(|_| true);
        paths[self.random.random_range(0..paths.len())].clone()
    }

    /// A name in some directory, there or not.
    fn name(&mut self, names: &[&str]) -> String {
        let directory = self.path(Kind::Directory).unwrap_or_default();
        join(&directory, self.one_of(names))
    }

    fn mode(&mut self) -> u16 {
        self.one_of(&[0o600, 0o644, 0o700, 0o755, 0o1777])
    }

    /// A number of bytes: mostly few, sometimes more than one record holds.
    fn len(&mut self) -> usize {
        let limit = match self.random.random_range(0..200) {
            0..20 => 1,
            20..90 => 80,
            90..150 => 2_000,
            150..190 => 9_000,
            190..198 => 40_000,
            _ => 300_000,
        };
        self.random.random_range(0..limit)
    }

    /// The length of what is open there.
    fn value_len(&self, slot: Slot) -> usize {
        let node = self.model.slots[slot].as_ref().map(|handle| &self.model.nodes[handle.id]);
        node.map_or(0, |node| node.staged.as_ref().map_or(node.now.value.len(), |staged| staged.bytes.len()))
    }

    fn offset(&mut self, slot: Slot) -> u64 {
        let len = self.value_len(slot);
        match self.random.random_range(0..20) {
            0..10 => len as u64,
            10..14 => 0,
            14..19 => self.random.random_range(0..=len) as u64,
            _ => (len + self.len()).min(400_000) as u64,
        }
    }
}
