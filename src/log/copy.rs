//! Copying a snapshot to another medium: a backup, or a store that is made from one.
//!
//! A backup is a snapshot elsewhere, and is renewed from a younger snapshot of the same store: segments that it has are
//! not copied again. At every step the medium holds the backup of before or the new one:
//! * A segment is copied under a temporary name and made durable before it gets its own.
//! * The manifest is replaced when all segments that it names are there; whatever it does not name goes last.
//! * What it has rots: so each time a part of that is read again, and what is damaged is copied anew from what is intact in
//!   the original. The file `checked` says how far that came; it is no part of the store, and may be missing or wrong.
//! * The first time there is no store until the format file is written, last of all; what a copy that was cut short
//!   has left is made use of.

use std::io;

use super::error::{Context, Error};
use super::files;
use super::format::{self, StoreId};
use super::manifest::{Contents, Frozen, Manifest, Sealed};
use super::recovery::check_vacant;
use super::scan::Scanner;
use super::segment::{SEGMENT_HEADER_LEN, Segment};
use super::{Damage, Location, Log};
use crate::medium::{Medium, Status};

/// Bytes before the end of a segment that are compared to tell whether two are the same. They hold the last record's
/// header or the end of its body.
const TAIL: u64 = 4096;

/// The part of a backup, in bytes, that each renewal reads again: one in so many.
const PARTS: u64 = 10;

/// How much of what a backup has already is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// A tenth, another one each time.
    Part,
    /// All.
    All,
}

/// What is made of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyKind {
    /// A backup: a snapshot like the original. One of the same store is renewed.
    Backup(Check),
    /// A store that can be written to, where there is none.
    Store,
}

/// How far a long work has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read or copied,
    pub done: u64,
    /// of so many.
    pub total: u64,
}

/// What was copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Segments that the copy has.
    pub segments: u64,
    /// Those of them that were not there before.
    pub copied: u64,
    /// Bytes in these.
    pub bytes: u64,
    /// Segments that were removed, because the copy does not need them any more.
    pub removed: u64,
    /// Segments that were there before, and were read again.
    pub checked: u64,
    /// Those of them that were damaged, and were copied anew.
    pub mended: u64,
    /// Stretches of what was copied or checked that are not as they were written: they are damaged in the original too.
    pub damage: Vec<Damage>,
}

/// Whether a store is a snapshot or a backup.
///
/// # Errors
/// If there is no store, or its manifest cannot be read.
pub fn is_frozen(medium: &dyn Medium) -> Result<bool, Error> {
    Ok(Manifest::read(medium, format::read(medium)?)?.frozen.is_some())
}

/// Copies a snapshot, or a backup, to another medium. Everything that is copied is verified.
///
/// # Errors
/// [`Error::NotFrozen`], [`Error::NotEmpty`], [`Error::Occupied`]; [`Error::Locked`] if either end is in use; those of
/// both media. After any of them the copy that was there is still whole, and a second attempt goes on from where the
/// first one stopped.
pub fn copy_snapshot(
    from: &dyn Medium,
    to: &dyn Medium,
    kind: CopyKind,
    progress: &mut dyn FnMut(Progress),
) -> Result<Copied, Error> {
    let id = format::read(from)?;
    // A backup that is being renewed is no source.
    let _reading = match from.lock(files::LOCK, true) {
        Ok(None) => return Err(Error::Locked),
        Ok(lock) => lock,
        // On a medium that cannot be written to, nobody writes.
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).context(|| "locking the original".into()),
    };
    let contents = Manifest::read(from, id)?;
    if contents.frozen.is_none() {
        return Err(Error::NotFrozen);
    }
    copy_contents(from, id, contents, to, kind, progress)
}

impl Log {
    /// Copies what a log that is only read holds to a backup: what lies on a medium that takes no snapshot. `taken` is the
    /// present. The caller has the store's lock.
    ///
    /// # Errors
    /// As [`copy_snapshot`].
    pub fn copy_as_read(
        &self,
        taken: i64,
        to: &dyn Medium,
        check: Check,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Copied, Error> {
        let mut segments = self.manifest.lock().segments.clone();
        for (id, sealed) in &mut segments {
            *sealed = sealed.or(self.unsealed.get(id).copied().flatten());
        }
        segments.retain(|_, sealed| sealed.is_some_and(|sealed| sealed.first_sequence <= sealed.last_sequence));
        let last_sequence = segments.values().flatten().map(|sealed| sealed.last_sequence).max().unwrap_or(0);
        let frozen = Frozen { taken, segments: segments.len() as u64, last_sequence };
        let contents = Contents { epoch: self.epoch(), segments, frozen: Some(frozen), durable: 0 };
        copy_contents(&**self.medium(), self.id(), contents, to, CopyKind::Backup(check), progress)
    }
}

fn copy_contents(
    from: &dyn Medium,
    id: StoreId,
    contents: Contents,
    to: &dyn Medium,
    kind: CopyKind,
    progress: &mut dyn FnMut(Progress),
) -> Result<Copied, Error> {
    let check = || check_target(to, id, kind);
    // Before the lock, whose file would be the first change.
    check()?;
    let lock = to.lock(files::LOCK, false).context(|| "locking the copy".into())?;
    let _alone = lock.ok_or(Error::Locked)?;
    let present = check()?;
    let mut copy = Copy { from, to, id, contents, copied: Copied::default(), last_checked: None };
    copy.prepare().context(|| "preparing the copy".into())?;
    copy.segments(&present, kind, progress)?;
    copy.complete(kind).context(|| "completing the copy".into())?;
    Ok(copy.copied)
}

/// Whether a copy may go there; what the backup there has.
fn check_target(to: &dyn Medium, id: StoreId, kind: CopyKind) -> Result<Contents, Error> {
    let found = match format::read(to) {
        Err(Error::NotAStore) => return check_vacant(to).map(|()| Contents::default()),
        other => other?,
    };
    if kind == CopyKind::Store {
        return Err(Error::Occupied("there is a store already, and it is not replaced"));
    }
    if found != id {
        return Err(Error::Occupied("there is a backup of another store"));
    }
    let contents = Manifest::read(to, id)?;
    match contents.frozen {
        Some(_) => Ok(contents),
        None => Err(Error::Occupied("there is a store that is written to, and no backup")),
    }
}

/// Whether a segment was appended to since it was copied: one that was the last of a store that was only read. What the
/// backup has is the beginning of what it is now.
fn has_grown(known: &Sealed, sealed: &Sealed, last: u64) -> bool {
    known.last_sequence == last
        && known.first_sequence == sealed.first_sequence
        && known.end <= sealed.end
        && known.last_sequence <= sealed.last_sequence
}

/// A copy being made.
struct Copy<'a> {
    from: &'a dyn Medium,
    to: &'a dyn Medium,
    id: StoreId,
    /// What it is to have.
    contents: Contents,
    copied: Copied,
    last_checked: Option<u32>,
}

impl Copy<'_> {
    fn prepare(&self) -> io::Result<()> {
        match self.to.create_dir(files::SEGMENTS) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
        for name in self.to.list(files::SEGMENTS)?.iter().filter(|name| name.ends_with(files::TEMPORARY)) {
            self.to.remove(&format!("{}/{name}", files::SEGMENTS))?;
        }
        Ok(())
    }

    /// Copies what is missing, and looks at a part of what is not.
    fn segments(
        &mut self,
        present: &Contents,
        kind: CopyKind,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), Error> {
        let sealed: Vec<(u32, Sealed)> =
            self.contents.segments.iter().filter_map(|(&id, sealed)| Some((id, (*sealed)?))).collect();
        let last = |contents: &Contents| contents.frozen.map_or(0, |frozen| frozen.last_sequence);
        if last(present) > last(&self.contents) {
            return Err(Error::Occupied("there is a backup of a later state: use another place"));
        }
        let (mut missing, mut there) = (Vec::new(), Vec::new());
        for &(id, sealed) in &sealed {
            let known = present.segments.get(&id).copied().flatten();
            if known.is_some_and(|known| known != sealed && !has_grown(&known, &sealed, last(present))) {
                return Err(Error::Occupied("there is a backup of what the store became elsewhere: use another place"));
            }
            match self.has(id, sealed.end).context(|| format!("comparing segment {id}"))? {
                true => there.push((id, sealed)),
                false => missing.push((id, sealed)),
            }
        }
        if let CopyKind::Backup(check) = kind {
            there = self.due(there, check);
        }
        let checked: u64 = if kind == CopyKind::Store { 0 } else { there.iter().map(|(_, sealed)| sealed.end).sum() };
        let total = checked + missing.iter().map(|(_, sealed)| sealed.end).sum::<u64>();
        for &(id, sealed) in &missing {
            progress(Progress { done: self.copied.bytes, total });
            self.copy(&files::segment(id), Some(sealed.end)).context(|| format!("copying segment {id}"))?;
            self.copied.bytes += sealed.end;
            self.copied.copied += 1;
        }
        self.copied.segments = sealed.len() as u64;
        for (id, sealed) in if kind == CopyKind::Store { sealed } else { missing } {
            let damage = self.damage(self.to, id, sealed.end)?;
            self.copied.damage.extend(damage);
            self.copy_hint(id).context(|| format!("copying the hint of segment {id}"))?;
        }
        if kind != CopyKind::Store {
            let mut done = self.copied.bytes;
            for (id, sealed) in there {
                progress(Progress { done, total });
                self.check(id, sealed.end)?;
                done += sealed.end;
            }
        }
        progress(Progress { done: total, total });
        Ok(())
    }

    /// Which of the segments that are there are to be read again: those behind the last one that was, and then from the
    /// front.
    fn due(&self, mut there: Vec<(u32, Sealed)>, check: Check) -> Vec<(u32, Sealed)> {
        if check == Check::All {
            return there;
        }
        let last = files::read(self.to, files::CHECKED, 16).ok();
        let last: u32 = last.and_then(|text| std::str::from_utf8(&text).ok()?.trim().parse().ok()).unwrap_or(0);
        let behind = there.partition_point(|(id, _)| *id <= last);
        there.rotate_left(behind);
        let enough = there.iter().map(|(_, sealed)| sealed.end).sum::<u64>().div_ceil(PARTS);
        let mut bytes = 0;
        let wanted = there.iter().take_while(|(_, sealed)| {
            let wanted = bytes < enough;
            bytes += sealed.end;
            wanted
        });
        let count = wanted.count();
        there.truncate(count);
        there
    }

    /// Reads a segment of the backup again. One that is damaged is copied anew, if the original is intact.
    fn check(&mut self, id: u32, end: u64) -> Result<(), Error> {
        self.copied.checked += 1;
        self.last_checked = Some(id);
        let damage = match self.damage(self.to, id, end) {
            Ok(damage) if damage.is_empty() => return Ok(()),
            Ok(damage) => damage,
            // Whatever it is that cannot be read here: what counts is whether the original can be.
            Err(error) => {
                log::warn!("segment {id} of the backup: {error}");
                vec![Damage { location: Location { segment: id, offset: 0 }, len: end }]
            }
        };
        if !self.damage(self.from, id, end)?.is_empty() {
            self.copied.damage.extend(damage);
            return Ok(());
        }
        log::warn!("segment {id} of the backup is damaged, and is copied anew: see to the disk that it is on");
        self.copy(&files::segment(id), Some(end)).context(|| format!("copying segment {id}"))?;
        self.copied.mended += 1;
        let damage = self.damage(self.to, id, end)?;
        self.copied.damage.extend(damage);
        Ok(())
    }

    /// Whether the copy has a segment: the same header, which its number, its store and its writer are in, the length
    /// that it should have, and the same last records.
    fn has(&self, id: u32, end: u64) -> io::Result<bool> {
        let path = files::segment(id);
        match files::found(self.to.status(&path))? {
            Some(Status::File { len, .. }) if len >= end => {}
            _ => return Ok(false),
        }
        let header = u64::from(SEGMENT_HEADER_LEN).min(end);
        let tail = TAIL.min(end);
        let read = |medium: &dyn Medium| -> io::Result<Vec<u8>> {
            let file = medium.open(&path, false)?;
            let mut bytes = vec![0; (header + tail) as usize];
            let (front, back) = bytes.split_at_mut(header as usize);
            file.read_exact_at(front, 0)?;
            file.read_exact_at(back, end - tail)?;
            Ok(bytes)
        };
        let original = read(self.from)?;
        // One that cannot be read is copied again.
        Ok(read(self.to).is_ok_and(|copy| copy == original))
    }

    /// Copies a file, or the first `end` bytes of it: under its own name it is whole and durable.
    fn copy(&self, path: &str, end: Option<u64>) -> io::Result<()> {
        let temporary = format!("{path}{}", files::TEMPORARY);
        let file = self.from.open(path, false)?;
        let end = match end {
            Some(end) => end,
            None => file.len()?,
        };
        files::copy(&*file, end, self.to, &temporary)?;
        self.to.rename(&temporary, path)
    }

    /// A hint makes a start faster, and is never needed.
    fn copy_hint(&self, id: u32) -> io::Result<()> {
        let hint = files::hint(id);
        match files::found(self.from.status(&hint))? {
            Some(_) => self.copy(&hint, None),
            None => Ok(()),
        }
    }

    /// Reads a segment of either end from its medium, and finds what of it is damaged.
    fn damage(&self, medium: &dyn Medium, id: u32, end: u64) -> Result<Vec<Damage>, Error> {
        let segment = Segment::open(medium, id, self.contents.epoch, self.id, false)?;
        segment.file.drop_cache();
        let place = |offset: u64| Location { segment: id, offset: u32::try_from(offset).unwrap_or(u32::MAX) };
        let context = || format!("reading segment {id}");
        let mut damage = Vec::new();
        if segment.damaged {
            damage.push(Damage { location: place(0), len: u64::from(SEGMENT_HEADER_LEN) });
        }
        let mut scanner = Scanner::new(&segment, Some(end)).context(context)?;
        let mut offset = scanner.start();
        while offset < end {
            if let Some(found) = scanner.record_at(offset).context(context)? {
                let len = found.header.record_len();
                if found.body.is_none() {
                    damage.push(Damage { location: found.location, len });
                }
                offset += len;
            } else {
                let next = scanner.search(offset).context(context)?.unwrap_or(end);
                damage.push(Damage { location: place(offset), len: next - offset });
                offset = next;
            }
        }
        Ok(damage)
    }

    /// Makes a store of what was copied, and removes what it does not need.
    fn complete(&mut self, kind: CopyKind) -> io::Result<()> {
        self.to.sync_dir(files::SEGMENTS)?;
        match kind {
            CopyKind::Backup(_) => Manifest::write_frozen(self.to, self.id, &self.contents)?,
            CopyKind::Store => {
                let segments = &self.contents.segments;
                let durable = segments.values().flatten().map(|sealed| sealed.last_sequence).max().unwrap_or(0);
                Manifest::write(self.to, self.id, self.contents.epoch, segments, durable)?;
            }
        }
        if files::found(self.to.status(files::FORMAT))?.is_none() {
            format::write(self.to, self.id)?;
        }
        if let Some(last) = self.last_checked {
            files::replace(self.to, files::CHECKED, format!("{last}\n").as_bytes())?;
        }
        for name in self.to.list(files::SEGMENTS)? {
            let segment = files::segment_number(&name);
            let number = segment.or_else(|| files::hint_number(&name));
            if number.is_some_and(|number| !self.contents.segments.contains_key(&number)) {
                self.to.remove(&format!("{}/{name}", files::SEGMENTS))?;
                self.copied.removed += u64::from(segment.is_some());
            }
        }
        Ok(())
    }
}
