//! Files that expire: what the model makes of them, and what a disk shows to whoever opens it at some time.
//!
//! * A removal by expiry is a change like any other: a state of the history, made by the first call that looks. So it
//!   is judged with the clock at 0, where nothing is due: what was durably removed is gone, and what was not removed is
//!   there, with its time.
//! * Whoever opens that disk later sees the same without what is due, and durably so.
//! * A snapshot is the same at any time.

use std::collections::BTreeSet;
use std::sync::Arc;

use caskfs::medium::SimDisk;
use caskfs::store::Kind;
use rand::RngExt;
use rand::rngs::StdRng;

use crate::call::{Call, split};
use crate::check::{check_report, recover_at};
use crate::driver::{Now, Setup, open};
use crate::model::{Id, Model, State};
use crate::snapshots::{self, Snapshots};
use crate::tree::{Entry, Tree};

/// The extended attribute that says when a file expires: seconds, as text.
pub(crate) const EXPIRES: &str = "user.caskfs.expires";

const SECOND: i64 = 1_000_000_000;

/// The moment of a call, which is no whole second.
pub(crate) fn moment(second: i64, step: u16, depth: u32) -> i64 {
    second * SECOND + i64::from(step + 1) * 1000 + i64::from(depth)
}

fn is_due(second: Option<i64>, now: i64) -> bool {
    second.is_some_and(|second| second.saturating_mul(SECOND) <= now)
}

fn second(text: Option<&Vec<u8>>) -> Option<i64> {
    std::str::from_utf8(text?).ok()?.parse().ok()
}

impl State {
    pub(crate) fn expires(&self) -> Option<i64> {
        second(self.xattrs.get(EXPIRES.as_bytes()))
    }

    /// Sets when it expires, rounded up to a whole second, or that it stays.
    pub(crate) fn set_expiry(&mut self, at: Option<i64>) {
        self.xattrs.remove(EXPIRES.as_bytes());
        if let Some(at) = at {
            let second = at.div_euclid(SECOND) + i64::from(at.rem_euclid(SECOND) > 0);
            self.xattrs.insert(EXPIRES.into(), second.to_string().into_bytes());
        }
    }
}

impl Model {
    fn due(&self, now: i64) -> Vec<Id> {
        let due = |id: &Id| !self.nodes[*id].now.links.is_empty() && is_due(self.nodes[*id].now.expires(), now);
        (0..self.nodes.len()).filter(due).collect()
    }

    /// What happens before a call: if it looks, all that is due goes in one transaction. `None` if something is due, and
    /// it is nobody's promise whether this call looks.
    pub(crate) fn expire_before(&mut self, call: &Call, now: i64) -> Option<()> {
        let due = self.due(now);
        if due.is_empty() {
            return Some(());
        }
        match call {
            Call::Merge { .. } | Call::RemoveSnapshot { .. } | Call::Wait { remove: false, .. } => Some(()),
            Call::Write { .. } | Call::Copy { .. } | Call::Read { .. } => None,
            Call::Punch { .. } | Call::Resize { .. } => None,
            Call::Flush { .. } | Call::Release { .. } | Call::FsyncDir { .. } | Call::SyncAll => None,
            _ => self.expire(due, now),
        }
    }

    fn expire(&mut self, due: Vec<Id>, now: i64) -> Option<()> {
        let mut touched = BTreeSet::new();
        for id in due {
            for link in self.nodes[id].now.links.clone() {
                let (path, _) = self.paths().into_iter().find(|(path, found)| {
                    let (directory, name) = split(path);
                    *found == id && name == link.name && self.find(directory) == Some(link.parent)
                })?;
                self.take_name(id, &path, now, &mut touched)?;
            }
        }
        self.record(touched);
        Some(())
    }

    /// What the attribute says of a file when it was set to `text`: a second, or how many seconds from now on.
    pub(crate) fn expiry_text(&self, path: &str, text: &[u8], now: i64) -> Option<Vec<u8>> {
        self.find(path).filter(|id| self.nodes[*id].now.kind == Kind::File)?;
        let text = std::str::from_utf8(text).ok()?;
        let second = match text.strip_prefix('+') {
            Some(ahead) => now / SECOND + 1 + ahead.parse::<i64>().ok()?,
            None => text.parse().ok()?,
        };
        Some(second.to_string().into_bytes())
    }
}

impl Entry {
    fn expires(&self) -> Option<i64> {
        second(self.xattrs.get(EXPIRES.as_bytes()))
    }
}

impl Tree {
    /// The tree after somebody has looked at it at this time.
    fn at(&self, now: i64) -> Tree {
        let mut tree = self.clone();
        for (path, _) in self.entries.iter().filter(|(_, entry)| is_due(entry.expires(), now)) {
            tree.entries.remove(path);
            let (directory, name) = split(path);
            if let Some(directory) = tree.entries.get_mut(directory) {
                directory.children.retain(|child| child != name);
                (directory.times[1], directory.times[2]) = (now, now);
            }
        }
        tree
    }

    /// A time to look at it again: now, or just before or at the second of one of its files. `None` if none expires.
    pub(crate) fn time_to_look(&self, now: i64, random: &mut StdRng) -> Option<i64> {
        let seconds: Vec<i64> = self.entries.values().filter_map(Entry::expires).collect();
        let at = seconds.get(random.random_range(0..seconds.len().max(1)))?.saturating_mul(SECOND);
        Some([now, at - 1, at, at.max(now)][random.random_range(0..4)])
    }
}

/// Opens a disk at some time. `found` is what it holds.
pub(crate) fn check_at(
    disk: &SimDisk,
    setup: &Setup,
    now: i64,
    found: &Tree,
    snapshots: &Snapshots,
    random: &mut StdRng,
) -> Result<(), String> {
    let expected = found.at(now);
    let differs = |what: &str, found: &Tree| match *found == expected {
        true => Ok(()),
        false => Err(format!("{what}, opened at {now}:\n{}", found.differences(&expected))),
    };
    let failed = |error: caskfs::Error| format!("opened at {now}: {error}");
    let (unsynced, synced) = {
        let store = open(Arc::new(disk.clone()), setup, &Now::at(now)).map_err(failed)?;
        check_report(&store).map_err(|violation| violation.what)?;
        differs("what is due", &Tree::read(&store).map_err(failed)?)?;
        snapshots.check(&snapshots::read(&store)?)?;
        let unsynced = disk.power_cut_images(random.random(), 1);
        store.sync().map_err(failed)?;
        (unsynced, disk.power_cut_images(random.random(), 1))
    };
    // Until it is durable a power cut may take the removal, and the clock is asked again; but the whole of it.
    for image in unsynced {
        let left = recover_at(&image, setup, 0)?.tree;
        if left != *found {
            differs("the removal is cut short", &left)?;
        }
    }
    // Then it stays gone, though the clock is set back.
    for image in synced.into_iter().chain([disk.restart()]) {
        differs("what had expired is back", &recover_at(&image, setup, 0)?.tree)?;
    }
    Ok(())
}
