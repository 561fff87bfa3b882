//! The manifest: which segments there are. A header and entries of 40 bytes, appended; rewritten at every start.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::codec::{Decoder, Encoder};
use super::error::{Context, Error};
use super::files;
use super::format::{FORMAT_VERSION, StoreId};
use super::record::MAX_SEQUENCE;
use crate::medium::{File, Medium};

const MAGIC: &[u8; 8] = b"CASKMAN\0";
const ENTRY_LEN: usize = 40;
/// Flag in the header: the store is a snapshot.
const FROZEN: u32 = 1;
/// What is said of one whose last entries are damaged.
pub(super) const LOST_END: &str = "its end is missing";
/// A manifest holds a few entries a segment; one longer than this is damage.
const MAX_LEN: u64 = 1 << 30;
/// It is made anew when it has more entries than so many a segment,
const WASTE: u32 = 4;
/// and so many more.
const FEW: u32 = 32;

/// One entry of the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// The segment exists, empty.
    Open { segment: u32 },
    /// The segment is complete and on the medium: its records end at `end`.
    Seal { segment: u32, end: u64, first_sequence: u64, last_sequence: u64 },
    /// The segment is gone: what was live in it is in others.
    Remove { segment: u32 },
    /// All records up to this sequence number are on the medium.
    Durable { sequence: u64 },
    /// The store is a snapshot, or a copy of one: nobody may write to it.
    Freeze(Frozen),
}

/// The mark of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frozen {
    /// When it was taken, in nanoseconds since 1970. It decides nothing.
    pub(super) taken: i64,
    /// How many segments it has.
    pub(super) segments: u64,
    /// The last sequence number in it.
    pub(super) last_sequence: u64,
}

/// What the manifest knows of a sealed segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sealed {
    pub(super) end: u64,
    /// Sequence numbers of its records; `last` is less than `first` if it has none.
    pub(super) first_sequence: u64,
    pub(super) last_sequence: u64,
}

/// Every segment that exists, with where it ends if it is sealed.
pub(super) type SegmentList = BTreeMap<u32, Option<Sealed>>;

/// What a manifest says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Contents {
    /// How often the store was opened for writing.
    pub(super) epoch: u32,
    /// Every segment that exists.
    pub(super) segments: SegmentList,
    /// Whether the store is a snapshot.
    pub(super) frozen: Option<Frozen>,
    /// The highest sequence number that is known to have been on the medium.
    pub(super) durable: u64,
}

impl Contents {
    /// The manifest's bytes, and the seed and number of its entries. The header of a snapshot's says that the first
    /// entry is its mark, so that no damage makes it one that is written to.
    fn encode(&self, store: StoreId) -> (Vec<u8>, u32, u32) {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(MAGIC);
        bytes.put_u32(FORMAT_VERSION);
        bytes.put_u32(self.epoch);
        bytes.extend_from_slice(&store.0);
        bytes.put_u32(u32::from(self.frozen.is_some()) * FROZEN);
        let seed = crc32fast::hash(&bytes);
        bytes.put_u32(seed);
        let segments = self.segments.iter().map(|(&segment, sealed)| match *sealed {
            None => Change::Open { segment },
            Some(Sealed { end, first_sequence, last_sequence }) => {
                Change::Seal { segment, end, first_sequence, last_sequence }
            }
        });
        // The last one, by which a manifest is known to be there to its end. A snapshot's is counted instead.
        let durable = self.frozen.is_none().then_some(Change::Durable { sequence: self.durable });
        let mut entries = 0;
        for change in self.frozen.map(Change::Freeze).into_iter().chain(segments).chain(durable) {
            encode(change, seed, entries, entries, false, &mut bytes);
            entries += 1;
        }
        (bytes, seed, entries)
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Freeze(frozen) => self.frozen = Some(frozen),
            change => apply(change, &mut self.segments, &mut self.durable),
        }
    }
}

/// What the header of a manifest says.
#[derive(Clone, Copy, Debug)]
pub(super) struct ManifestHeader {
    pub(super) store: StoreId,
    pub(super) epoch: u32,
    pub(super) frozen: bool,
}

/// The manifest, open for appending.
#[derive(Debug)]
pub(super) struct Manifest {
    /// How often the store was opened for writing.
    pub(super) epoch: u32,
    /// Every segment that exists.
    pub(super) segments: SegmentList,
    /// The highest sequence number that it calls durable.
    pub(super) durable: u64,
    file: Option<Arc<dyn File>>,
    seed: u32,
    entries: u32,
    synced: u32,
    /// It is not made anew before it has so many entries.
    enough: u32,
}

impl Manifest {
    /// Replaces the manifest by one with these segments, and the sequence number up to which their records are durable.
    pub(super) fn write(
        medium: &dyn Medium,
        store: StoreId,
        epoch: u32,
        segments: &SegmentList,
        durable: u64,
    ) -> io::Result<Manifest> {
        let contents = Contents { epoch, segments: segments.clone(), frozen: None, durable };
        let (bytes, seed, entries) = contents.encode(store);
        let file = files::replace(medium, files::MANIFEST, &bytes)?;
        Ok(Manifest {
            epoch,
            segments: contents.segments,
            durable,
            file: Some(file),
            seed,
            entries,
            synced: entries,
            enough: 0,
        })
    }

    /// Replaces the manifest by one that is never appended to.
    pub(super) fn write_frozen(medium: &dyn Medium, store: StoreId, contents: &Contents) -> io::Result<()> {
        files::replace(medium, files::MANIFEST, &contents.encode(store).0).map(drop)
    }

    /// A manifest that is only looked at.
    pub(super) fn read_only(epoch: u32, segments: SegmentList) -> Manifest {
        Manifest { epoch, segments, durable: 0, file: None, seed: 0, entries: 0, synced: 0, enough: 0 }
    }

    /// Reads the manifest. A torn end is ignored: nothing relied on it. But what it was replaced with as a whole has none,
    /// nor has a snapshot's, which was never appended to.
    pub(super) fn read(medium: &dyn Medium, store: StoreId) -> Result<Contents, Error> {
        let damaged = |what| Error::DamagedFile { file: files::MANIFEST.into(), what };
        let bytes = match files::read(medium, files::MANIFEST, MAX_LEN) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged("it is missing")),
            other => other.context(|| "reading the manifest".into())?,
        };
        if bytes.len() as u64 >= MAX_LEN {
            // What is behind that was not read.
            return Err(damaged("it is too long"));
        }
        let (header, entries) = bytes.split_at_checked(ENTRY_LEN).ok_or_else(|| damaged("it is too short"))?;
        let (front, crc) = header.split_last_chunk::<4>().ok_or_else(|| damaged("it is too short"))?;
        let seed = u32::from_le_bytes(*crc);
        let mut decoder = Decoder::new(front);
        let cut = |_| damaged("its header is cut off");
        if decoder.bytes(MAGIC.len()).map_err(cut)? != MAGIC || crc32fast::hash(front) != seed {
            return Err(damaged("its header is not as written"));
        }
        let version = decoder.u32().map_err(cut)?;
        if version > FORMAT_VERSION {
            return Err(Error::FutureVersion { found: version, known: FORMAT_VERSION });
        }
        let epoch = decoder.u32().map_err(cut)?;
        if decoder.bytes(16).map_err(cut)? != store.0 {
            return Err(damaged("it belongs to another store"));
        }
        let flags = decoder.u32().map_err(cut)?;
        let mut contents = Contents { epoch, ..Contents::default() };
        let mut missing = None;
        let mut begun = false;
        // Changes that belong to the next entry: all of them count, or none.
        let mut group = Vec::new();
        for (index, entry) in (0..).zip(entries.chunks_exact(ENTRY_LEN)) {
            match (decode(entry, seed, index), missing) {
                (None, _) => missing = missing.or(Some(index)),
                // An entry that was written when the missing one was already durable.
                (Some((.., synced)), Some(hole)) if synced > hole => return Err(damaged("an entry is not as written")),
                (Some(_), Some(_)) => {}
                (Some((change, more, _)), None) => {
                    begun |= matches!(change, Change::Durable { .. });
                    group.push(change);
                    if !more {
                        group.drain(..).for_each(|change| contents.apply(change));
                    }
                }
            }
        }
        let count = contents.frozen.map(|frozen| frozen.segments);
        match flags & FROZEN != 0 {
            true if count == Some(contents.segments.len() as u64) => Ok(contents),
            false if begun => Ok(contents),
            _ => Err(damaged(LOST_END)),
        }
    }

    /// What the header alone says, if that is as it was written.
    pub(super) fn header(medium: &dyn Medium) -> Option<ManifestHeader> {
        let bytes = files::read(medium, files::MANIFEST, ENTRY_LEN as u64).ok()?;
        let (front, crc) = bytes.split_last_chunk::<4>()?;
        let mut decoder = Decoder::new(front);
        if decoder.bytes(MAGIC.len()).ok()? != MAGIC || crc32fast::hash(front) != u32::from_le_bytes(*crc) {
            return None;
        }
        let _version = decoder.u32().ok()?;
        let epoch = decoder.u32().ok()?;
        let store = StoreId(decoder.bytes(16).ok()?.try_into().ok()?);
        Some(ManifestHeader { store, epoch, frozen: decoder.u32().ok()? & FROZEN != 0 })
    }

    /// How many entries it has.
    pub(super) fn len(&self) -> u32 {
        self.entries
    }

    /// Whether it is much longer than what it has to say.
    pub(super) fn is_wasteful(&self) -> bool {
        let needed = u32::try_from(self.segments.len()).unwrap_or(u32::MAX);
        self.entries >= self.enough && self.entries > needed.saturating_mul(WASTE).saturating_add(FEW)
    }

    /// An attempt to make it anew begins: the next one, if this fails, comes when it has grown by half.
    pub(super) fn put_off(&mut self) {
        self.enough = self.entries.saturating_add(self.entries / 2);
    }

    /// The bytes of one that says the same in as few entries as can be, and their number.
    pub(super) fn encode(&self, store: StoreId) -> (Vec<u8>, u32) {
        let contents =
            Contents { epoch: self.epoch, segments: self.segments.clone(), frozen: None, durable: self.durable };
        let (bytes, _, entries) = contents.encode(store);
        (bytes, entries)
    }

    /// It is in this file now, which has just what [`Manifest::encode`] said, durably.
    pub(super) fn replaced(&mut self, file: Arc<dyn File>, entries: u32) {
        (self.file, self.entries, self.synced, self.enough) = (Some(file), entries, entries, 0);
    }

    /// Whether all that was appended is durable.
    pub(super) fn is_synced(&self) -> bool {
        self.synced == self.entries
    }

    /// Appends an entry. Not durable before [`Manifest::sync`].
    pub(super) fn append(&mut self, change: &Change) -> io::Result<()> {
        self.append_all(std::slice::from_ref(change))
    }

    /// Appends entries of which all survive a crash, or none. Not durable before [`Manifest::sync`].
    pub(super) fn append_all(&mut self, changes: &[Change]) -> io::Result<()> {
        let file = self.file.as_ref().ok_or(io::ErrorKind::ReadOnlyFilesystem)?;
        let mut bytes = Vec::with_capacity(ENTRY_LEN * changes.len());
        for (index, change) in (0..).zip(changes) {
            let more = index as usize + 1 < changes.len();
            encode(*change, self.seed, self.entries + index, self.synced, more, &mut bytes);
        }
        let end = ENTRY_LEN as u64 * (1 + u64::from(self.entries));
        if let Err(error) = file.write_all_at(&bytes, end) {
            // Nothing half-written is left for a later entry to be read along with. If it is, that is final.
            let cut = file.set_len(end);
            cut.map_err(|error| io::Error::other(format!("cutting off half an entry: {error}")))?;
            return Err(error);
        }
        self.entries += changes.len() as u32;
        changes.iter().for_each(|change| apply(*change, &mut self.segments, &mut self.durable));
        Ok(())
    }

    /// Makes what was appended durable.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.as_ref().ok_or(io::ErrorKind::ReadOnlyFilesystem)?.sync()?;
        self.synced = self.entries;
        Ok(())
    }
}

fn apply(change: Change, segments: &mut SegmentList, durable: &mut u64) {
    match change {
        Change::Open { segment } => drop(segments.insert(segment, None)),
        Change::Seal { segment, end, first_sequence, last_sequence } => {
            segments.insert(segment, Some(Sealed { end, first_sequence, last_sequence }));
        }
        Change::Remove { segment } => drop(segments.remove(&segment)),
        Change::Durable { sequence } => *durable = sequence,
        Change::Freeze(_) => {}
    }
}

/// Checksum (4), kind (1), whether the next entry belongs to it (1), zeros (2), segment (4), entries known durable (4), end (8), first and last sequence (16).
fn encode(change: Change, seed: u32, index: u32, synced: u32, more: bool, out: &mut Vec<u8>) {
    let (kind, segment, numbers) = match change {
        Change::Open { segment } => (1, segment, [0; 3]),
        Change::Seal { segment, end, first_sequence, last_sequence } => {
            (2, segment, [end, first_sequence, last_sequence])
        }
        Change::Remove { segment } => (3, segment, [0; 3]),
        Change::Durable { sequence } => (5, 0, [0, 0, sequence]),
        Change::Freeze(Frozen { taken, segments, last_sequence }) => (4, 0, [taken as u64, segments, last_sequence]),
    };
    let mut rest = Vec::with_capacity(ENTRY_LEN);
    rest.put_u8(kind);
    rest.put_u8(u8::from(more));
    rest.put_u16(0);
    rest.put_u32(segment);
    rest.put_u32(synced);
    numbers.into_iter().for_each(|number| rest.put_u64(number));
    out.put_u32(entry_crc(seed, index, &rest));
    out.extend_from_slice(&rest);
}

fn decode(bytes: &[u8], seed: u32, index: u32) -> Option<(Change, bool, u32)> {
    let mut decoder = Decoder::new(bytes);
    let crc = decoder.u32().ok()?;
    if entry_crc(seed, index, decoder.rest()) != crc {
        return None;
    }
    let kind = decoder.u8().ok()?;
    let more = decoder.u8().ok()? != 0;
    decoder.u16().ok()?;
    let segment = decoder.u32().ok()?;
    let synced = decoder.u32().ok()?;
    let (end, first_sequence, last_sequence) = (decoder.u64().ok()?, decoder.u64().ok()?, decoder.u64().ok()?);
    if segment > files::MAX_SEGMENT || last_sequence > MAX_SEQUENCE || (kind != 4 && first_sequence > MAX_SEQUENCE) {
        return None;
    }
    let change = match kind {
        1 => Change::Open { segment },
        2 if end <= u32::MAX.into() => Change::Seal { segment, end, first_sequence, last_sequence },
        3 => Change::Remove { segment },
        5 => Change::Durable { sequence: last_sequence },
        4 => Change::Freeze(Frozen { taken: end as i64, segments: first_sequence, last_sequence }),
        _ => return None,
    };
    Some((change, more, synced))
}

pub(super) fn entry_crc(seed: u32, index: u32, rest: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(&index.to_le_bytes());
    hasher.update(rest);
    hasher.finalize()
}
