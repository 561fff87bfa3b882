//! A segment: a header of 64 bytes, then records.

use std::io;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::bad_blocks::BadBlocks;
use super::codec::{Decoder, Encoder};
use super::error::{Context, Error, of_sync};
use super::files;
use super::format::{FORMAT_VERSION, StoreId};
use super::record::{ALIGNMENT, HEADER_LEN, Header, Location};
use super::retry::retried;
use super::scan::Scanner;
use super::segments::Trash;

use crate::medium::{File, Medium};

/// Bytes of a segment's header: where its first record begins.
pub(super) const SEGMENT_HEADER_LEN: u32 = 64;

const MAGIC: &[u8; 8] = b"CASKSEG\0";

/// The body of a record that was read. The header stands before it in memory, so that nothing was copied.
#[derive(Debug)]
pub struct Body(Vec<u8>);

impl Deref for Body {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.0.get(HEADER_LEN..).unwrap_or_default()
    }
}

/// Whether a reader waits for the medium, or takes only what the operating system has in memory: an event loop that waited
/// would serve nobody meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// It waits.
    Yes,
    /// It does not, and asks again from elsewhere.
    No,
}

/// What the header of a file says of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) version: u32,
    pub(super) segment: u32,
    pub(super) epoch: u32,
    pub(super) store: StoreId,
}

impl Claim {
    /// `None` if there is no header whose checksum is right.
    pub(super) fn read(file: &dyn File) -> io::Result<Option<Claim>> {
        let mut bytes = [0; SEGMENT_HEADER_LEN as usize];
        retried(|| file.read_exact_at(&mut bytes, 0))?;
        Ok(Claim::decode(&bytes))
    }

    fn decode(bytes: &[u8; SEGMENT_HEADER_LEN as usize]) -> Option<Claim> {
        let (front, crc) = bytes.split_last_chunk::<4>()?;
        let mut decoder = Decoder::new(front);
        if decoder.bytes(MAGIC.len()).ok()? != MAGIC || crc32fast::hash(front) != u32::from_le_bytes(*crc) {
            return None;
        }
        let (version, segment, epoch) = (decoder.u32().ok()?, decoder.u32().ok()?, decoder.u32().ok()?);
        let store = StoreId(decoder.bytes(16).ok()?.try_into().ok()?);
        Some(Claim { version, segment, epoch, store })
    }
}

/// An open segment.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) id: u32,
    pub(super) file: Arc<dyn File>,
    /// Checksum of the segment's header: mixed into the checksum of every record in it.
    pub(super) seed: u32,
    /// The header is not as it was written; its checksum was found by other means.
    pub(super) damaged: bool,
    /// The medium has failed to read the header, or what would have told it.
    pub(super) unread: bool,
    /// The header is damaged, and no record tells what it was: none can be read.
    pub(super) illegible: bool,
    /// Where its records end; 0 while it may be appended to.
    end: AtomicU64,
    /// Set once a merge has taken it away.
    doomed: OnceLock<Arc<Trash>>,
}

impl Drop for Segment {
    fn drop(&mut self) {
        if let Some(trash) = self.doomed.take() {
            trash.remove(self.id);
        }
    }
}

impl Segment {
    /// Creates an empty segment and makes it and its name durable.
    pub(super) fn create(medium: &dyn Medium, id: u32, epoch: u32, store: StoreId) -> io::Result<Segment> {
        if id > files::MAX_SEGMENT {
            return Err(io::Error::other("the numbers of segments are used up"));
        }
        let path = files::segment(id);
        let file = match medium.create(&path) {
            // Left by a creation that the manifest never heard of: it does not exist.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                medium.remove(&path)?;
                medium.create(&path)?
            }
            other => other?,
        };
        let (bytes, seed) = encode_header(FORMAT_VERSION, id, epoch, store);
        let written = file.write_all_at(&bytes, 0).and_then(|()| file.sync());
        // The names that others have made there are lost with it.
        let made = written.and_then(|()| medium.sync_dir(files::SEGMENTS).map_err(of_sync));
        made.inspect_err(|_| {
            // No manifest names it. It would only take room.
            let _ = medium.remove(&path);
        })?;
        Ok(Segment {
            id,
            file,
            seed,
            damaged: false,
            unread: false,
            illegible: false,
            end: AtomicU64::new(0),
            doomed: OnceLock::new(),
        })
    }

    /// Opens a segment that the manifest names; `epoch` is the manifest's.
    pub(super) fn open(
        medium: &dyn Medium,
        id: u32,
        epoch: u32,
        store: StoreId,
        write: bool,
    ) -> Result<Segment, Error> {
        let path = files::segment(id);
        let mut bytes = [0; SEGMENT_HEADER_LEN as usize];
        let damaged = |what| Error::DamagedFile { file: path.clone(), what };
        let file = match retried(|| medium.open(&path, write)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged("it is missing")),
            other => other.context(|| format!("opening {path}"))?,
        };
        if file.len().context(|| format!("reading {path}"))? < u64::from(SEGMENT_HEADER_LEN) {
            return Err(damaged("it is too short"));
        }
        let mut bad = BadBlocks::default();
        bad.read(&*file, &mut bytes, 0).context(|| format!("reading {path}"))?;
        let unread = bad.touches(&(0..bytes.len() as u64));
        let (seed, damaged) = match decode_header(&bytes, id, store) {
            Ok(seed) => (Some(seed), false),
            Err(Unreadable::Future(found)) => return Err(Error::FutureVersion { found, known: FORMAT_VERSION }),
            Err(Unreadable::Foreign(what)) => return Err(damaged(what)),
            Err(Unreadable::Damaged) => {
                let found = find_seed(&*file, &mut bad, &bytes, id, epoch, store);
                (found.context(|| format!("reading {path}"))?, true)
            }
        };
        // What could not be read may be what tells.
        let unread = unread || (seed.is_none() && bad.end() > 0);
        let (illegible, seed) = (seed.is_none(), seed.unwrap_or(0));
        let (end, doomed) = (AtomicU64::new(0), OnceLock::new());
        Ok(Segment { id, file, seed, damaged, unread, illegible, end, doomed })
    }

    /// Whether it was made by the writer of this epoch.
    pub(super) fn is_of_epoch(&self, epoch: u32, store: StoreId) -> bool {
        seeds(self.id, epoch, store).any(|seed| seed == self.seed)
    }

    /// Whether there is nothing but zeros behind the header.
    pub(super) fn is_blank(&self) -> Result<bool, Error> {
        let context = || format!("reading segment {}", self.id);
        Scanner::new(self, None).and_then(|mut scanner| scanner.is_blank(scanner.start())).context(context)
    }

    /// That its header cannot be done without.
    pub(super) fn refused(&self) -> Error {
        Error::DamagedFile { file: files::segment(self.id), what: "its header is not as written" }
    }

    /// Declares where the records end: nothing is appended any more.
    pub(super) fn close(&self, end: u64) {
        self.end.store(end, Ordering::Release);
    }

    /// Has the file removed when nobody holds the segment any more.
    pub(super) fn doom(&self, trash: Arc<Trash>) {
        // It can be taken away only once.
        let _ = self.doomed.set(trash);
    }

    /// Whether nothing is appended any more.
    pub(super) fn is_ended(&self) -> bool {
        self.end.load(Ordering::Acquire) != 0
    }

    /// Where the records end, given the active segment's number and end.
    pub(super) fn end(&self, (active, position): (u32, u64)) -> u64 {
        match self.end.load(Ordering::Acquire) {
            0 if self.id == active => position,
            0 => u64::from(SEGMENT_HEADER_LEN),
            end => end,
        }
    }

    /// Whether the header on the medium is as it was written.
    pub(super) fn read_header(&self, store: StoreId) -> io::Result<bool> {
        let mut bytes = [0; SEGMENT_HEADER_LEN as usize];
        self.file.read_exact_at(&mut bytes, 0)?;
        Ok(decode_header(&bytes, self.id, store).is_ok_and(|seed| seed == self.seed))
    }

    /// A record, checked. `None`: that takes the medium, and the caller does not wait.
    pub(super) fn read(&self, location: Location, body_len: u32, wait: Wait) -> Result<Option<(Header, Body)>, Error> {
        let damaged = |what| Error::Damaged { location, what };
        let mut bytes = vec![0; HEADER_LEN + body_len as usize];
        let offset = u64::from(location.offset);
        let read = match wait {
            Wait::Yes => self.file.read_exact_at(&mut bytes, offset).map(|()| true),
            Wait::No => self.file.read_cached_at(&mut bytes, offset),
        };
        match read {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(damaged("the segment is cut off"));
            }
            Ok(false) => return Ok(None),
            other => other.context(|| format!("reading the record at {location}"))?,
        };
        let header =
            Header::decode(&bytes, self.seed, location.offset).ok_or(damaged("its header is not as written"))?;
        let body = Body(bytes);
        if header.body_len != body_len || header.body_crc != crc32fast::hash(&body) {
            return Err(damaged("its body is not as written"));
        }
        Ok(Some((header, body)))
    }
}

/// The seeds that a segment may have which was made in this epoch: by a program of this version or an older one.
fn seeds(id: u32, epoch: u32, store: StoreId) -> impl Iterator<Item = u32> {
    (1..=FORMAT_VERSION).rev().map(move |version| encode_header(version, id, epoch, store).1)
}

fn encode_header(version: u32, id: u32, epoch: u32, store: StoreId) -> (Vec<u8>, u32) {
    let mut bytes = Vec::with_capacity(SEGMENT_HEADER_LEN as usize);
    bytes.extend_from_slice(MAGIC);
    bytes.put_u32(version);
    bytes.put_u32(id);
    bytes.put_u32(epoch);
    bytes.extend_from_slice(&store.0);
    bytes.resize(SEGMENT_HEADER_LEN as usize - 4, 0);
    let crc = crc32fast::hash(&bytes);
    bytes.put_u32(crc);
    (bytes, crc)
}

/// Why a segment's header is not what it should be.
#[derive(Debug)]
enum Unreadable {
    /// The checksum is wrong.
    Damaged,
    /// The checksum is right, and it is of this version, which the program does not know.
    Future(u32),
    /// The checksum is right, and it says that this is something else.
    Foreign(&'static str),
}

fn decode_header(bytes: &[u8; SEGMENT_HEADER_LEN as usize], id: u32, store: StoreId) -> Result<u32, Unreadable> {
    let (front, crc) = bytes.split_last_chunk::<4>().ok_or(Unreadable::Damaged)?;
    let crc = u32::from_le_bytes(*crc);
    let mut decoder = Decoder::new(front);
    let cut = |_| Unreadable::Damaged;
    if decoder.bytes(MAGIC.len()).map_err(cut)? != MAGIC || crc32fast::hash(front) != crc {
        return Err(Unreadable::Damaged);
    }
    let version = decoder.u32().map_err(cut)?;
    if version > FORMAT_VERSION {
        return Err(Unreadable::Future(version));
    }
    if decoder.u32().map_err(cut)? != id {
        return Err(Unreadable::Foreign("it is another segment's file"));
    }
    let _epoch = decoder.u32().map_err(cut)?;
    match decoder.bytes(16).map_err(cut)? == store.0 {
        true => Ok(crc),
        false => Err(Unreadable::Foreign("it belongs to another store")),
    }
}

/// The seed of a segment whose header is damaged: the checksum that stands there, that of what stands there, or that
/// of the header of one of the last epochs, whichever a record near the front agrees with. So damage to the header costs no
/// key.
fn find_seed(
    file: &dyn File,
    bad: &mut BadBlocks,
    header: &[u8; SEGMENT_HEADER_LEN as usize],
    id: u32,
    epoch: u32,
    store: StoreId,
) -> io::Result<Option<u32>> {
    /// How far records are looked for, and how many bytes at a time: none is longer but for those of large xattrs.
    const NEAR: u64 = 1 << 20;
    const PIECE: u64 = 8192;
    /// How many epochs are tried: with each more of them the search takes longer.
    const EPOCHS: u32 = 1024;
    let stored = header.split_last_chunk::<4>().map(|(front, crc)| [u32::from_le_bytes(*crc), crc32fast::hash(front)]);
    let written = (epoch.saturating_sub(EPOCHS)..=epoch).flat_map(|epoch| seeds(id, epoch, store));
    let seeds: Vec<u32> = stored.into_iter().flatten().chain(written).collect();
    let end = file.len()?.min(NEAR);
    let mut start = u64::from(SEGMENT_HEADER_LEN);
    while start < end {
        // The last header may reach into the next piece.
        let mut piece = vec![0; (end - start).min(PIECE + HEADER_LEN as u64) as usize];
        bad.read(file, &mut piece, start)?;
        let agrees = |seed: &u32| {
            let mut places =
                (0..PIECE as usize).step_by(ALIGNMENT).filter_map(|place| Some((place, piece.get(place..)?)));
            places.any(|(place, bytes)| Header::decode(bytes, *seed, start as u32 + place as u32).is_some())
        };
        if let Some(seed) = seeds.iter().copied().find(agrees) {
            return Ok(Some(seed));
        }
        start += PIECE;
    }
    Ok(None)
}
