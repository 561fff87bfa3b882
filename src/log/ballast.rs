//! The reserve file: room on the disk that the store holds on to. Other programs may fill the disk to its last byte;
//! then what gives space back (a deletion, a merge, the manifest's entry for either) finds no room for its own record. So
//! the file is given up first, and made again when there is room.
//!
//! Its bytes mean nothing, and no reader looks at them. A power cut may take the file or leave part of it: the next start
//! of a writer sees to it.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::error::{Error, is_no_space};
use super::{Log, files};
use crate::medium::Medium;

/// The file is this long (half a segment of the usual size: so any of which half is dead can be merged), or a segment, or
/// this part of the disk, whichever is least.
const LONGEST: u64 = 32 << 20;
const PART: u64 = 32;
/// Written at once where room cannot be set aside otherwise.
const CHUNK: u64 = 1 << 20;

/// What is known of the file.
#[derive(Debug, Default)]
pub(super) struct Ballast {
    state: Mutex<State>,
    /// How often it was given up.
    given_up: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// The file is there, as long as it should be.
    kept: bool,
    /// Something about it was reported.
    told: bool,
}

impl Log {
    /// Makes the reserve file if it is missing and there is room for it. That it cannot be made is no error: then a disk
    /// that others fill is not so easily emptied.
    pub fn keep_reserve(&self) {
        if self.check().is_err() || self.ballast.state.lock().kept {
            return;
        }
        let Ok(space) = self.medium.space() else { return };
        let len = LONGEST.min(u64::from(self.options.segment_size)).min(space.total / PART);
        let there = self.medium.open(files::RESERVE, false).and_then(|file| file.len()).unwrap_or(0);
        // As much again stays free: it is not made of the last room that there is.
        if len == 0 || space.available.saturating_add(there) < 2 * len {
            return;
        }
        let mut state = self.ballast.state.lock();
        match make(&*self.medium, len, &mut state.told) {
            Ok(()) => state.kept = true,
            // Somebody has filled the disk meanwhile.
            Err(error) if is_no_space(&error) => {}
            Err(error) if !state.told => {
                log::warn!("the reserve file cannot be made, so a disk that others fill may refuse deletions: {error}");
                state.told = true;
            }
            Err(_) => {}
        }
    }

    /// Gives the reserve file up, if it is there. True if there is room now that there was not before.
    pub fn give_up_reserve(&self) -> bool {
        self.give_up_since(self.ballast.given_up.load(Ordering::Acquire))
    }

    /// Does something that frees space, or that everybody waits for; if there is no room for it, once more without the
    /// reserve file.
    pub(super) fn with_reserve<T>(&self, mut attempt: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
        let before = self.ballast.given_up.load(Ordering::Acquire);
        match attempt() {
            Err(Error::NoSpace) if self.give_up_since(before) => attempt(),
            other => other,
        }
    }

    /// As [`Log::give_up_reserve`]; also true if another thread has done so since it was `before` times.
    fn give_up_since(&self, before: u64) -> bool {
        let mut state = self.ballast.state.lock();
        if self.ballast.given_up.load(Ordering::Acquire) != before {
            return true;
        }
        state.kept = false;
        let freed = self.check().is_ok() && give_up(&*self.medium);
        self.ballast.given_up.fetch_add(u64::from(freed), Ordering::AcqRel);
        freed
    }
}

/// Removes the reserve file, or else the hints, so that their room is free when this returns. False if there are none.
pub(super) fn give_up(medium: &dyn Medium) -> bool {
    match medium.remove(files::RESERVE) {
        Ok(()) => {
            log::warn!("the disk is full: the reserve is given up, so that deletions and merges go on");
            // Some file systems give blocks away again only when the removal is durable. If it fails, so will what
            // comes next.
            let _ = medium.sync_dir("");
            true
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => give_up_hints(medium),
        Err(error) => {
            log::warn!("the disk is full, and the reserve cannot be given up: {error}");
            false
        }
    }
}

/// Removes all hints: without them the next start takes longer, and that is all. False if there are none.
fn give_up_hints(medium: &dyn Medium) -> bool {
    let names = medium.list(files::SEGMENTS).unwrap_or_default();
    let hints = names.iter().filter(|name| files::hint_number(name).is_some());
    let removed = hints.filter(|name| medium.remove(&format!("{}/{name}", files::SEGMENTS)).is_ok()).count();
    if removed > 0 {
        log::warn!(
            "the disk is full, and the reserve is used up: {removed} hints are given up, and the next start takes longer"
        );
        let _ = medium.sync_dir(files::SEGMENTS);
    }
    removed > 0
}

/// Sees to it that the file is there, and its room set aside.
fn make(medium: &dyn Medium, len: u64, told: &mut bool) -> io::Result<()> {
    let made = fill(medium, len, told);
    if made.is_err() {
        // Half of it is room that is missing elsewhere.
        let _ = medium.remove(files::RESERVE);
    }
    made
}

fn fill(medium: &dyn Medium, len: u64, told: &mut bool) -> io::Result<()> {
    let file = match medium.open(files::RESERVE, true) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => medium.create(files::RESERVE)?,
        other => other?,
    };
    if file.len()? > len {
        file.set_len(len)?;
    }
    match file.allocate(len) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            if !std::mem::replace(told, true) {
                log::warn!("this file system cannot set room aside (fallocate): the reserve is written as zeros");
            }
            let zeros = vec![0; CHUNK.min(len) as usize];
            let mut offset = file.len()?;
            while offset < len {
                let piece = zeros.get(..(len - offset).min(CHUNK) as usize).unwrap_or_default();
                file.write_all_at(piece, offset)?;
                offset += piece.len() as u64;
            }
        }
        other => other?,
    }
    // Where blocks are given out late, this is when it turns out that there are none.
    file.sync()
}
