//! Opening a log: reads every record in order of sequence number, tells a torn tail from damage, and leaves a log
//! that can be appended to.
//!
//! A *torn tail* is what a crash leaves: the last transactions, none of them acknowledged, lost or half there. It is
//! cut off. *Damage* is anything missing from a sealed segment, or of which a later record says that it was durable.
//! It is reported and stepped over; the records behind it survive.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::ballast::{self, Ballast};
use super::error::{Context, Error, is_no_space};
use super::files;
use super::format;
use super::load::read_sealed;
use super::lost_end::has_lost_end;
use super::manifest::{Contents, LOST_END, Manifest, SegmentList};
use super::record::{Header, Location};
use super::retry::retried;
use super::scan::Scanner;
use super::segment::{SEGMENT_HEADER_LEN, Segment};
use super::segments::SegmentMap;
use super::settle::{Tail, prove, settle};
use super::snapshot::Snapshots;
use super::spares::Spares;
use super::statistics::Counters;
use super::turn::Turn;
use super::writer::Writer;
use super::written::Written;
use super::{AtomicU64, AtomicUsize, BTreeMap, Log, LogOptions, Mutex, OnceLock, Unread};
use crate::medium::{Cached, Medium};

/// A record met during recovery.
#[derive(Debug)]
pub struct Visit<'a> {
    /// Its header. From a hint it has no checksum and no word of what was durable.
    pub header: &'a Header,
    /// Where it is.
    pub location: Location,
    /// The front of its body; `None` if the body is damaged, or could not be read.
    pub front: Option<&'a [u8]>,
    /// Whether the medium has failed to read something, of this record or before it: what is missing may be there yet.
    pub unread: bool,
    /// How many unreadable stretches, each of which may have held any number of records, came before it.
    pub unreadable: u32,
}

/// A stretch of a segment that is not as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where it begins.
    pub location: Location,
    /// Its length in bytes.
    pub len: u64,
}

/// What recovery found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Records read.
    pub records: u64,
    /// Segments that were not read, because their hints say what is in them.
    pub hints: Vec<u32>,
    /// Bytes of unacknowledged transactions that were cut off, and where.
    pub torn: Vec<Damage>,
    /// Damaged stretches: they were read, and are not as they were written.
    pub damage: Vec<Damage>,
    /// Stretches that the medium has failed to read. What is there may be as it was written, and be read another time.
    pub unread: Vec<Damage>,
    /// How many of both are such that nobody knows whose records were there.
    pub unreadable: u32,
}

impl Report {
    /// Notes a stretch of a segment that is not as it was written, or that the medium has `failed` to read.
    pub(super) fn miss(&mut self, failed: bool, location: Location, len: u64) {
        let list = if failed { &mut self.unread } else { &mut self.damage };
        list.push(Damage { location, len });
    }
}

pub(super) type Visitor<'v> = dyn FnMut(Visit<'_>) + 'v;

impl Log {
    /// Opens the log on a medium, or creates it if the medium is empty and the options say so, and shows every record
    /// to `visit` in order of sequence number. The caller holds the store's lock.
    ///
    /// # Errors
    /// If there is no store, one of the future, or one that cannot be read. Damage inside segments is no error.
    pub fn open(medium: Arc<dyn Medium>, options: LogOptions, visit: &mut Visitor<'_>) -> Result<(Log, Report), Error> {
        let id = match format::read(&*medium) {
            Err(Error::NotAStore) if options.create && !options.read_only => create(&*medium, options.new_id)?,
            other => other?,
        };
        let Contents { epoch, segments: mut list, frozen, durable } = Manifest::read(&*medium, id)?;
        if frozen.is_some() && !options.read_only {
            return Err(Error::Frozen);
        }
        // What is beside a snapshot's segments is what a backup was copying when it was cut short.
        if frozen.is_none() && !options.lenient {
            let mut unread = Vec::new();
            if has_lost_end(&*medium, &list, epoch, id, &mut unread)? {
                return Err(Error::DamagedFile { file: files::MANIFEST.into(), what: LOST_END });
            }
            if !unread.is_empty() {
                // It would be cleared away, and may be what was acknowledged last.
                return Err(Error::Unread(unread));
            }
        }
        let mut report = Report::default();
        let mut segments = BTreeMap::new();
        let cached = Cached::new(Arc::clone(&medium));
        for (&number, sealed) in &list {
            let write = !options.read_only && sealed.is_none();
            let segment = match Segment::open(&cached, number, epoch, id, write) {
                Err(Error::DamagedFile { .. }) if options.lenient => continue,
                Ok(segment) if options.lenient && segment.illegible => {
                    if segment.unread {
                        report.miss(true, place(number, 0), 0);
                    }
                    continue;
                }
                other => other?,
            };
            if segment.damaged || segment.unread {
                report.miss(segment.unread, place(number, 0), u64::from(SEGMENT_HEADER_LEN));
            }
            segments.insert(number, Arc::new(segment));
        }
        let highest = list.keys().next_back().copied().unwrap_or(0);
        forget_empty(&mut list, &mut segments)?;
        let mut last_sequence = read_sealed(&*medium, &segments, &list, visit, &mut report)?;
        let unsealed = list.iter().filter(|(_, sealed)| sealed.is_none());
        let unsealed = Unsealed {
            segments: unsealed.map(|(id, _)| segments.get(id).cloned()).collect(),
            durable,
            salvage: options.lenient,
        };
        let tail = read_tail(&unsealed, &mut last_sequence, visit, &mut report)?;

        if options.strict && !(report.damage.is_empty() && report.unread.is_empty()) {
            return Err(Error::DamageMet(Box::new(report)));
        }
        if options.lenient && !options.give_up_unread && !report.unread.is_empty() {
            return Err(Error::Unread(report.unread.iter().map(Unread::from).collect()));
        }
        let manifest = match options.read_only {
            true => Manifest::read_only(epoch, list),
            false => {
                let settle = || settle(&*medium, id, epoch + 1, list.clone(), &tail, last_sequence);
                let settled = match settle() {
                    // A store on a full disk must open, or nothing in it can be deleted.
                    Err(error) if is_no_space(&error) && ballast::give_up(&*medium) => settle(),
                    other => other,
                };
                let settled = match settled {
                    Err(error) if is_no_space(&error) && give_up_zeros(&tail) => settle(),
                    other => other,
                };
                settled.context(|| "settling the log".into())?
            }
        };
        if !options.read_only {
            // Not before the new manifest is durable: the one that was read may have been in the kernel's memory only.
            remove_strangers(&*medium, &manifest.segments).context(|| "clearing away what no manifest names".into())?;
        }
        let mut writer = Writer::new(last_sequence + 1);
        let mut spares = VecDeque::new();
        // Records go on where the last one ended; an empty segment behind that one is spare.
        for tail in tail.iter().rev().take_while(|tail| tail.clean) {
            let segment = Arc::clone(&tail.segment);
            if tail.has_records() {
                let written = segment.file.len().context(|| format!("reading segment {}", segment.id))?;
                writer.resume(segment, tail.end, written, tail.first_sequence);
                break;
            }
            spares.push_front(segment);
        }
        if options.read_only {
            let active = writer.active().map_or(0, |(segment, _)| segment.id);
            let ended = tail.iter().filter(|tail| tail.segment.id != active);
            ended.for_each(|tail| tail.segment.close(tail.end));
        }
        let log = Log {
            id,
            segments: SegmentMap::new(segments, Arc::clone(&medium)),
            manifest: Mutex::new(manifest),
            written: Written::new(last_sequence, writer.active()),
            writer: Mutex::new(writer),
            holder: AtomicUsize::new(0),
            spares: Spares::new(spares, highest.saturating_add(1)),
            syncing: Turn::default(),
            unsealed: tail.iter().map(|tail| (tail.segment.id, Some(tail.sealed()))).collect(),
            snapshots: Snapshots::new(frozen),
            durable: AtomicU64::new(last_sequence),
            failure: OnceLock::new(),
            hinted: Mutex::new(report.hints.iter().copied().collect()),
            counters: Counters::default(),
            ballast: Ballast::default(),
            options,
            medium,
            cached,
        };
        if !log.options.read_only {
            log.settle_snapshots().context(|| "clearing away unfinished snapshots".into())?;
        }
        Ok((log, report))
    }
}

impl Log {
    /// Whether a store is here, or one could be created; changes nothing.
    ///
    /// # Errors
    /// As [`Log::open`] for what is not a store.
    pub fn probe(medium: &dyn Medium, create: bool) -> Result<(), Error> {
        match format::read(medium) {
            Err(Error::NotAStore) if create => check_vacant(medium),
            other => other.map(drop),
        }
    }
}

/// Whether there is nothing here but what a creation that was cut short may have left.
pub(super) fn check_vacant(medium: &dyn Medium) -> Result<(), Error> {
    let ours = [files::LOCK, files::MANIFEST, files::SEGMENTS, "lost+found"];
    let names = medium.list("").context(|| "listing the store directory".into())?;
    match names.iter().all(|name| ours.contains(&name.as_str()) || name.ends_with(".tmp")) {
        true => Ok(()),
        false => Err(Error::NotEmpty),
    }
}

/// Makes the files of a new store; the format file comes last, so that a creation cut short is begun anew.
fn create(medium: &dyn Medium, id: super::StoreId) -> Result<super::StoreId, Error> {
    check_vacant(medium)?;
    let make = || -> io::Result<()> {
        match medium.create_dir(files::SEGMENTS) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
        Segment::create(medium, 1, 0, id)?;
        Manifest::write(medium, id, 0, &SegmentList::from([(1, None)]), 0)?;
        medium.sync_dir("")?;
        format::write(medium, id)
    };
    make().context(|| "creating the store".into())?;
    Ok(id)
}

/// Takes away the segments of which nothing but the header is damaged, because there is nothing else in them.
///
/// # Errors
/// For an unsealed one that is not blank: what is in it may be what was acknowledged last. Of a sealed one it is known
/// how much that is: all of it is damage.
fn forget_empty(list: &mut SegmentList, segments: &mut BTreeMap<u32, Arc<Segment>>) -> Result<(), Error> {
    for (number, segment) in segments.iter().filter(|(_, segment)| segment.illegible) {
        let empty = match list.get(number) {
            Some(Some(sealed)) => sealed.last_sequence < sealed.first_sequence,
            _ if !segment.is_blank()? => return Err(segment.refused()),
            _ => true,
        };
        if empty {
            list.remove(number);
        }
    }
    segments.retain(|number, _| list.contains_key(number));
    Ok(())
}

/// Cuts off half of the zeros that were written ahead: the other half is for the removals that make room again. False if
/// there are none.
fn give_up_zeros(tails: &[Tail]) -> bool {
    tails.iter().any(|tail| {
        let zeros = tail.segment.file.len().unwrap_or(0).saturating_sub(tail.end);
        tail.clean && zeros > 1 && tail.segment.file.set_len(tail.end + zeros / 2).is_ok()
    })
}

/// Removes segments that the manifest does not name: inputs of a merge that was completed, or outputs of one that was
/// not. What they hold is elsewhere.
fn remove_strangers(medium: &dyn Medium, list: &SegmentList) -> io::Result<()> {
    for name in retried(|| medium.list(files::SEGMENTS))? {
        let number = files::segment_number(&name).or_else(|| files::hint_number(&name));
        if number.is_some_and(|number| !list.contains_key(&number)) || name.ends_with(".hint.tmp") {
            medium.remove(&format!("{}/{name}", files::SEGMENTS))?;
        }
    }
    Ok(())
}

/// The segments that are not sealed, in order of number.
struct Unsealed {
    /// `None` for one that could not be opened.
    segments: Vec<Option<Arc<Segment>>>,
    /// The manifest calls all records up to here durable.
    durable: u64,
    /// What the medium fails to read is damage, and does not end the log: for a repair.
    salvage: bool,
}

impl Unsealed {
    fn scanner<'s>(&self, segment: &'s Segment) -> io::Result<Scanner<'s>> {
        Scanner::new(segment, self.salvage.then_some(u64::MAX))
    }
}

/// Shows the records of the unsealed segments up to the torn tail, if there is one.
fn read_tail(
    unsealed: &Unsealed,
    last_sequence: &mut u64,
    visit: &mut Visitor<'_>,
    report: &mut Report,
) -> Result<Vec<Tail>, Error> {
    let mut proof = Proof { unsealed, highest: None };
    let missed_before = report.damage.len() + report.unread.len();
    let mut torn = false;
    // What comes next is missing, and the medium has failed to read it: whoever wrote it may have been told that it was
    // durable.
    let mut lost = false;
    let mut tails = Vec::new();
    for segment in &unsealed.segments {
        let Some(segment) = segment else {
            report.unreadable += 1;
            lost = true;
            continue;
        };
        let context = || format!("reading segment {}", segment.id);
        let mut scanner = unsealed.scanner(segment).context(context)?;
        let mut tail = Tail {
            segment: Arc::clone(segment),
            end: scanner.start(),
            first_sequence: *last_sequence + 1,
            last_sequence: *last_sequence,
            clean: true,
            durable: 0,
            unproven: VecDeque::new(),
        };
        // Nothing is added to a file that is damaged.
        let mut damaged = segment.damaged;
        let (records, unreadable) = (Cell::new(0), Cell::new(report.unreadable));
        let unread = Cell::new(!report.unread.is_empty());
        // Records of a transaction whose end was not met yet.
        let mut open: Vec<(Header, Location, Option<Vec<u8>>)> = Vec::new();
        let mut show = |open: &mut Vec<(Header, Location, Option<Vec<u8>>)>, tail: &mut Tail, end: u64| {
            for (header, location, front) in open.drain(..) {
                records.set(records.get() + 1);
                tail.last_sequence = header.sequence;
                tail.note(&header, location.offset);
                let (unread, unreadable) = (unread.get(), unreadable.get());
                visit(Visit { header: &header, location, front: front.as_deref(), unread, unreadable });
            }
            tail.end = end;
        };
        let mut expected = *last_sequence + 1;
        let mut offset = tail.end;
        loop {
            if torn {
                break;
            }
            let found = scanner.record_at(offset).context(context)?;
            let found = found.map(|found| (found.header, found.location, found.front().map(<[u8]>::to_vec)));
            match found {
                Some((header, location, front))
                    if header.sequence == expected
                        && (front.is_some()
                            || scanner.failed_at(offset..offset + header.record_len())
                            || proof.covers(expected)?) =>
                {
                    if front.is_none() {
                        damaged = true;
                        let failed = scanner.failed_at(offset..offset + header.record_len());
                        report.miss(failed, location, header.record_len());
                        unread.set(unread.get() || failed);
                    }
                    offset += header.record_len();
                    expected += 1;
                    lost = false;
                    open.push((header, location, front));
                    if header.last {
                        show(&mut open, &mut tail, offset);
                    }
                }
                _ => {
                    let end = scanner.blank_from(offset).context(context)?.max(scanner.failed_until());
                    let ended = open.is_empty() && end <= offset;
                    let next =
                        if ended { None } else { next_newer(&mut scanner, offset, expected).context(context)? };
                    let next_offset = next.map_or(end, |(next, _)| next);
                    let failed = scanner.failed_at(offset..next_offset);
                    if ended || !(lost || failed || proof.covers(expected)?) {
                        break;
                    }
                    // What is missing here was durable once: damage. Go on with the next newer record.
                    damaged = true;
                    show(&mut open, &mut tail, offset);
                    report.miss(failed, place(segment.id, offset), next_offset - offset);
                    unread.set(unread.get() || failed);
                    unreadable.set(unreadable.get() + 1);
                    let Some((next, sequence)) = next else {
                        tail.end = end;
                        lost |= failed;
                        break;
                    };
                    (offset, expected) = (next, sequence);
                }
            }
        }
        (report.records, report.unreadable) = (report.records + records.get(), unreadable.get());
        *last_sequence = tail.last_sequence;
        if scanner.failed_until() > 0 {
            // It is not to be read once more. What is intact of it is copied by the repair.
            tail.unproven.clear();
        }
        let end = scanner.blank_from(tail.end).context(context)?;
        tail.clean = !damaged && end <= tail.end;
        if end > tail.end {
            report.torn.push(Damage { location: place(segment.id, tail.end), len: end - tail.end });
            torn = true;
        }
        tails.push(tail);
    }
    prove(&mut tails);
    if *last_sequence < unsealed.durable && report.damage.len() + report.unread.len() == missed_before {
        // Cut off where a record ended, the log looks whole.
        let end = tails.iter().rev().find(|tail| tail.has_records()).or(tails.first());
        let location = end.map_or(place(0, 0), |tail| place(tail.segment.id, tail.end));
        report.damage.push(Damage { location, len: 0 });
        report.unreadable += 1;
    }
    Ok(tails)
}

/// What manifest and records say about older records of the tail. Those are looked into only when something is missing.
struct Proof<'a> {
    unsealed: &'a Unsealed,
    highest: Option<u64>,
}

impl Proof<'_> {
    /// Whether the manifest, or some record, says that this sequence number was durable when it was written.
    fn covers(&mut self, sequence: u64) -> Result<bool, Error> {
        if sequence <= self.unsealed.durable {
            return Ok(true);
        }
        let highest = match self.highest {
            Some(highest) => highest,
            None => *self.highest.insert(self.unsealed.proven_durable()?),
        };
        Ok(sequence <= highest)
    }
}

impl Unsealed {
    /// The highest sequence number that any record calls durable.
    fn proven_durable(&self) -> Result<u64, Error> {
        let mut proven = 0;
        for segment in self.segments.iter().flatten() {
            let context = || format!("reading segment {}", segment.id);
            let mut scanner = self.scanner(segment).context(context)?;
            let mut offset = scanner.start();
            while let Some(next) = scanner.search(offset).context(context)? {
                let Some(found) = scanner.record_at(next).context(context)? else { break };
                proven = proven.max(found.header.durable);
                offset = next + found.header.record_len();
            }
        }
        Ok(proven)
    }
}

/// Where the next record with at least this sequence number is, and its number.
fn next_newer(scanner: &mut Scanner<'_>, offset: u64, sequence: u64) -> io::Result<Option<(u64, u64)>> {
    let mut offset = offset;
    while let Some(next) = scanner.search(offset)? {
        let Some(found) = scanner.record_at(next)? else { break };
        if found.header.sequence >= sequence {
            return Ok(Some((next, found.header.sequence)));
        }
        offset = next + found.header.record_len();
    }
    Ok(None)
}

pub(super) fn place(segment: u32, offset: u64) -> Location {
    Location { segment, offset: u32::try_from(offset).unwrap_or(u32::MAX) }
}
