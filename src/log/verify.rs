//! Reading a log again, against every checksum, beside the one that writes it.
//!
//! Each segment is read up to where its records ended when that was asked. What has been appended never changes, and
//! an open file stays readable when a merge takes its name away, so no lock is held while the medium reads.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::error::Error;
use super::hint::Hint;
use super::manifest::{Manifest, Sealed};
use super::record::{ALIGNMENT, HEADER_LEN, Header, Location};
use super::retry::retried;
use super::scan::Scanner;
use super::segment::{SEGMENT_HEADER_LEN, Segment};
use super::{Log, files, format};

/// What a medium that fails to read is asked for next: so many bytes on.
const SECTOR: u64 = 4096;

/// A part of a file that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// The file's path in the store.
    pub file: String,
    /// The segment's number, if it is one.
    pub segment: Option<u32>,
    /// Where the part begins, in bytes.
    pub offset: u64,
    /// Its length in bytes; 0 for the whole of a file.
    pub len: u64,
    /// What is wrong with it.
    pub what: String,
    /// Whether the medium has failed to read it, so that it may be as it was written.
    pub unread: bool,
    /// The entry that the record in it is about, if there is one and its header tells.
    pub entry: Option<u64>,
}

/// What is met in a segment.
#[derive(Debug)]
pub enum Seen<'a> {
    /// A record, as it was written.
    Record {
        /// Its header.
        header: &'a Header,
        /// Where it is.
        location: Location,
        /// The front of its body.
        front: &'a [u8],
    },
    /// A part that is not.
    Defect(Defect),
}

/// A segment and where its records end.
#[derive(Clone, Debug)]
pub struct Span {
    segment: Arc<Segment>,
    /// Where its records end, in bytes.
    pub end: u64,
}

impl Span {
    /// The segment's number.
    pub fn id(&self) -> u32 {
        self.segment.id
    }

    fn defect(&self, offset: u64, len: u64, what: impl Into<String>) -> Defect {
        let segment = self.segment.id;
        Defect {
            file: files::segment(segment),
            segment: Some(segment),
            offset,
            len,
            what: what.into(),
            unread: false,
            entry: None,
        }
    }
}

type Watcher<'w> = dyn FnMut(Seen<'_>) -> ControlFlow<()> + 'w;

impl Log {
    /// Every segment that there is, with where its records end now.
    pub fn spans(&self) -> Vec<Span> {
        let active = self.written.position();
        let segments = self.segments();
        segments.all().map(|segment| Span { segment: Arc::clone(segment), end: segment.end(active) }).collect()
    }

    /// Checks the format file and the manifest.
    pub fn verify_files(&self) -> Vec<Defect> {
        let whole = |file: &str, (what, unread): (String, bool)| Defect {
            file: file.into(),
            segment: None,
            offset: 0,
            len: 0,
            what,
            unread,
            entry: None,
        };
        let format = match format::read(&*self.medium) {
            Ok(id) if id == self.id => None,
            Ok(_) => Some(("it has the identity of another store".to_owned(), false)),
            Err(error) => Some(reason(error)),
        };
        let format = format.map(|what| whole(files::FORMAT, what));
        let manifest = self.verify_manifest().map(|what| whole(files::MANIFEST, what));
        format.into_iter().chain(manifest).collect()
    }

    /// The hints that are there and of no use: the next start reads the segments in their stead.
    pub fn useless_hints(&self) -> Vec<String> {
        let sealed = self.manifest.lock().segments.clone();
        let segment = |id: &u32| self.segments.get(*id);
        let useless = |(id, sealed): (&u32, &Option<Sealed>)| {
            let (segment, path) = (segment(id)?, files::hint(*id));
            let used = || matches!(Hint::read(&*self.medium, &segment, sealed.as_ref()?), Ok(Some(_))).then_some(());
            // Looked for last: a hint is replaced by a whole one, and goes with its segment.
            let useless = used().is_none() && self.medium.open(&path, false).is_ok() && used().is_none();
            useless.then_some(path)
        };
        sealed.iter().filter_map(useless).collect()
    }

    /// What is wrong with the manifest on the medium.
    fn verify_manifest(&self) -> Option<(String, bool)> {
        /// Each time an entry must have been added meanwhile.
        const ATTEMPTS: usize = 100;
        let known = || {
            let manifest = self.manifest.lock();
            (manifest.epoch, manifest.segments.clone())
        };
        for _ in 0..ATTEMPTS {
            let before = known();
            let read = Manifest::read(&*self.medium, self.id);
            if known() != before {
                continue;
            }
            return match read {
                Ok(read) if (read.epoch, &read.segments) == (before.0, &before.1) => None,
                Ok(_) => Some(("it does not say which segments there are".into(), false)),
                Err(error) => Some(reason(error)),
            };
        }
        None
    }

    /// Shows every record of a segment to `watch`, and every part of it that is none, until that says to stop.
    pub fn verify_span(&self, span: &Span, watch: &mut Watcher<'_>) -> ControlFlow<()> {
        let segment = &*span.segment;
        if let Err(error) = retried(|| self.medium.open(&files::segment(segment.id), false))
            && self.segments.contains(segment.id)
        {
            let missing = error.kind() == io::ErrorKind::NotFound;
            let defect = span.defect(0, 0, format!("it cannot be opened: {error}"));
            watch(Seen::Defect(Defect { unread: !missing, ..defect }))?;
        }
        // From the medium, and not from the kernel's memory.
        segment.file.drop_cache();
        if let Some((what, unread)) = segment.verify_header(self.id) {
            watch(Seen::Defect(Defect { unread, ..span.defect(0, u64::from(SEGMENT_HEADER_LEN), what) }))?;
        }
        let mut scanner = match Scanner::new(segment, Some(span.end)) {
            Ok(scanner) => scanner,
            Err(error) => {
                return watch(Seen::Defect(Defect { unread: true, ..span.defect(0, 0, error.to_string()) }));
            }
        };
        let mut offset = scanner.start();
        while offset < scanner.limit() {
            let found = scanner.record_at(offset);
            let short = found.as_ref().is_err();
            if let Ok(Some(found)) = found {
                let (header, location) = (found.header, found.location);
                if let Some(front) = found.front() {
                    watch(Seen::Record { header: &header, location, front })?;
                } else {
                    let unread = scanner.failed_at(offset..offset + header.record_len());
                    let what = if unread {
                        "the body of a record cannot be read"
                    } else {
                        "the body of a record is not as written"
                    };
                    let defect = span.defect(offset, header.record_len(), what);
                    watch(Seen::Defect(Defect { entry: Some(header.entry), unread, ..defect }))?;
                }
                offset += header.record_len();
                continue;
            }
            let next = next_record(&mut scanner, offset);
            let unread = short || scanner.failed_at(offset..next);
            let what = if unread { "it cannot be read" } else { "there is no record where one should begin" };
            watch(Seen::Defect(Defect { unread, ..span.defect(offset, next - offset, what) }))?;
            offset = next;
        }
        if offset < span.end {
            watch(Seen::Defect(span.defect(offset, span.end - offset, "the file is cut off")))?;
        }
        ControlFlow::Continue(())
    }
}

/// Where the next record behind this place begins, or the end. What cannot be read is stepped over.
fn next_record(scanner: &mut Scanner<'_>, offset: u64) -> u64 {
    let mut next = offset + ALIGNMENT as u64;
    while next + HEADER_LEN as u64 <= scanner.limit() {
        match scanner.record_at(next) {
            Ok(Some(_)) => return next,
            Ok(None) => next += ALIGNMENT as u64,
            Err(_) => next = (next + 1).next_multiple_of(SECTOR),
        }
    }
    scanner.limit()
}

/// What is wrong with a file, without its name, and whether it is that it cannot be read.
fn reason(error: Error) -> (String, bool) {
    match error {
        Error::DamagedFile { what, .. } => (what.into(), false),
        Error::NotAStore => ("it is missing, or begins with another line".into(), false),
        Error::Io { source, .. } => (format!("it cannot be read: {source}"), true),
        other => (other.to_string(), false),
    }
}

impl Segment {
    /// What is wrong with the header on the medium, and whether it is that it cannot be read.
    fn verify_header(&self, store: super::StoreId) -> Option<(String, bool)> {
        match retried(|| self.read_header(store)) {
            Ok(true) => None,
            Ok(false) => Some(("the header is not as written".into(), false)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Some(("the file is cut off".into(), false)),
            Err(error) => Some((format!("the header cannot be read: {error}"), true)),
        }
    }
}
