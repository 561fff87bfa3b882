//! Copying what is live of a segment.

use std::ops::Range;

use hashbrown::HashMap;

use crate::log::{HEADER_LEN, Header, Location, MergeWriter, SealedSegment};
use crate::store::extents::Extent;
use crate::store::keydir::{Keydir, NameRecord};
use crate::store::range_map::Piece;
use crate::store::record::{self, DATA_PREFIX, NodeRecord, Share};
use crate::store::{EntryId, Error};

use super::{Merger, Residue};

/// Changes applied to the keydir under one lock.
const CHUNK: usize = 1000;

/// The front and the bulk of a record's body.
type Body<'b> = [&'b [u8]; 2];

/// Where something is now.
enum Move {
    Meta { id: EntryId, sequence: u64, to: Location, len: u64 },
    Extent { id: EntryId, range: Range<u64>, from: Location, to: Extent },
    Name { id: EntryId, parent: EntryId, name: Box<[u8]>, to: NameRecord },
}

/// Copies live records and remembers where they went.
pub(super) struct Copier<'a> {
    merger: &'a Merger,
    writer: MergeWriter<'a>,
    /// Nothing older than the run is left.
    oldest: bool,
    /// The first sequence number of the run.
    first_sequence: u64,
    moves: Vec<Move>,
    /// By output: bytes that nobody will point to.
    residues: HashMap<u32, Residue>,
}

impl<'a> Copier<'a> {
    pub(super) fn new(merger: &'a Merger, run: &[SealedSegment], oldest: bool) -> Copier<'a> {
        let first_sequence = run.first().map_or(0, |segment| segment.first_sequence);
        let writer = merger.log.merge_writer();
        Copier { merger, writer, oldest, first_sequence, moves: Vec::new(), residues: HashMap::new() }
    }

    /// Copies a record, as far as it is live.
    pub(super) fn record(&mut self, header: &Header, from: Location, body: Body<'_>) -> Result<(), Error> {
        match header.kind {
            record::NODE => self.node(header, from, body),
            record::DATA => self.data(header, from, body),
            record::HOLE => self.hole(header, body),
            record::SHARE => self.share(header, body),
            record::NAME => self.name(header, from, body),
            record::TOMBSTONE | record::NAME_GONE if self.oldest => Ok(()),
            record::LOSS if self.is_over(header) => Ok(()),
            _ => self.hold(header, body),
        }
    }

    /// Whether the value that was lost has been replaced since, or its entry is gone.
    fn is_over(&self, header: &Header) -> bool {
        let keydir = self.merger.keydir.read();
        keydir.get(header.entry).is_none_or(|node| node.state.value_start > header.sequence)
    }

    fn node(&mut self, header: &Header, from: Location, body: Body<'_>) -> Result<(), Error> {
        let (id, sequence) = (header.entry, header.sequence);
        let [front, bulk] = body;
        let Some(NodeRecord { state, stage, inline }) = record::decode_node(front, sequence, header.bulk_len()) else {
            return self.hold(header, body);
        };
        let value = inline.map_or(0..0, |(_, len)| 0..u64::from(len));
        // What keeps its stage waits for this record to be published at the next start.
        let publishes = self.kept(stage) != 0;
        let (is_meta, current, live) = self.looked_up(|keydir| {
            let node = keydir.get(id)?;
            // Of a file that is open without a name only the bytes are needed, and not after a crash.
            let named = id == super::super::ROOT || node.state.has_name();
            let is_meta = named && node.meta.is_some_and(|meta| meta.sequence == sequence);
            let current = named && node.state.value_start <= sequence;
            Some((is_meta, current, live_parts(keydir, id, value.clone(), Some(from), sequence)))
        });
        if publishes && current {
            if !is_meta {
                return self.hold(header, body);
            }
            let len = (HEADER_LEN + front.len() + bulk.len()) as u64;
            let to = self.append(header.kind, header, body, len)?;
            self.moves.push(Move::Meta { id, sequence, to, len });
            return Ok(());
        }
        // Every part of its stage is in the run too, or was merged before, and says itself that it is published.
        let whole = live.iter().map(|(range, _)| range.end - range.start).sum::<u64>() == value.end && value.end > 0;
        if is_meta {
            let front = record::encode_node(&state, sequence, 0);
            let bytes = if whole { bulk } else { &[] };
            let len = (HEADER_LEN + front.len()) as u64;
            let to = self.append(header.kind, header, [&front, bytes], len + bytes.len() as u64)?;
            self.moves.push(Move::Meta { id, sequence, to, len });
            if whole {
                let body_len = (front.len() + bytes.len()) as u32;
                let extent = Extent::own(to, body_len, front.len() as u32, sequence);
                self.moves.push(Move::Extent { id, range: value, from, to: extent });
                return Ok(());
            }
        }
        self.pieces(header, 0, from, body, live)
    }

    /// Copies the record of a name, if it is the last that gave the entry this name.
    fn name(&mut self, header: &Header, from: Location, body: Body<'_>) -> Result<(), Error> {
        let (id, sequence) = (header.entry, header.sequence);
        let Some((parent, name)) = record::decode_name(body[0]) else { return self.hold(header, body) };
        let record = NameRecord { location: from, sequence };
        if !self.looked_up(|keydir| Some(keydir.name_record(id, parent, name) == Some(record))) {
            return Ok(());
        }
        let location = self.append(header.kind, header, body, (HEADER_LEN + body[0].len()) as u64)?;
        self.moves.push(Move::Name { id, parent, name: name.into(), to: NameRecord { location, sequence } });
        Ok(())
    }

    fn data(&mut self, header: &Header, from: Location, body: Body<'_>) -> Result<(), Error> {
        let Some((stage, offset, len)) = record::decode_data(body[0], header.bulk_len()) else {
            return self.hold(header, body);
        };
        let (id, sequence) = (header.entry, header.sequence);
        let range = offset..offset + len;
        let live = self.looked_up(|keydir| Some(live_parts(keydir, id, range, Some(from), sequence)));
        self.pieces(header, self.kept(stage), from, body, live)
    }

    fn hole(&mut self, header: &Header, body: Body<'_>) -> Result<(), Error> {
        let Some((stage, offset, len)) = record::decode_hole(body[0]) else {
            return self.hold(header, body);
        };
        let counts = {
            let keydir = self.merger.keydir.read();
            let current = keydir.get(header.entry).is_some_and(|node| header.sequence >= node.state.value_start);
            current && keydir.is_published(stage)
        };
        match counts && !self.oldest {
            true => self.hold(header, [&record::encode_hole(self.kept(stage), offset, len), &[]]),
            false => Ok(()),
        }
    }

    /// Copies a share record as far as its stretch is still part of the value. Nobody points to it. Of what is borrowed from
    /// the run itself nothing is left.
    fn share(&mut self, header: &Header, body: Body<'_>) -> Result<(), Error> {
        let (id, sequence) = (header.entry, header.sequence);
        let Some(Share { stage, offset, len, .. }) = record::decode_share(body[0], sequence) else {
            return self.hold(header, body);
        };
        let live = self.looked_up(|keydir| {
            let named = keydir.get(id).is_some_and(|node| node.state.has_name());
            named.then(|| live_parts(keydir, id, offset..offset + len, None, sequence))
        });
        for (range, extent) in live {
            let len = range.end - range.start;
            let share = record::encode_share(self.kept(stage), range.start, len, &extent);
            self.append(record::SHARE, header, [&share, &[]], 0)?;
        }
        Ok(())
    }

    /// The stage of a copy: none, unless a part of the stage may lie before the run. The parts of a stage are published
    /// in order, and what comes later must not be overwritten by what waits for the node record.
    fn kept(&self, stage: u64) -> u64 {
        if stage < self.first_sequence { stage } else { 0 }
    }

    /// Copies parts of a value, each as a data record of its own.
    fn pieces(
        &mut self,
        header: &Header,
        stage: u64,
        from: Location,
        [front, bulk]: Body<'_>,
        live: Vec<(Range<u64>, Extent)>,
    ) -> Result<(), Error> {
        for (range, extent) in live {
            let len = (range.end - range.start) as usize;
            let start = (extent.skip as usize).saturating_sub(front.len());
            let Some(bytes) = bulk.get(start..start + len) else { continue };
            let data = record::encode_data(stage, range.start);
            let location = self.append(record::DATA, header, [&data, bytes], bytes.len() as u64)?;
            let body_len = (DATA_PREFIX + len) as u32;
            let to = Extent::own(location, body_len, DATA_PREFIX as u32, header.sequence);
            self.moves.push(Move::Extent { id: header.entry, range, from, to });
        }
        Ok(())
    }

    /// Copies a record that counts as long as something older may be left, and to which nobody points.
    fn hold(&mut self, header: &Header, body: Body<'_>) -> Result<(), Error> {
        let (location, len) = self.write(header.kind, header, body)?;
        self.residues.entry(location.segment).or_default().held += len;
        Ok(())
    }

    /// Copies a record of which so many bytes are live.
    fn append(&mut self, kind: u8, header: &Header, body: Body<'_>, live: u64) -> Result<Location, Error> {
        let (location, len) = self.write(kind, header, body)?;
        self.residues.entry(location.segment).or_default().stuck += len.saturating_sub(live);
        Ok(location)
    }

    /// Returns also how many bytes it took, the header of a new output among them.
    fn write(&mut self, kind: u8, header: &Header, body: Body<'_>) -> Result<(Location, u64), Error> {
        let before = self.writer.written();
        let location = self.writer.append(kind, header.entry, header.sequence, body)?;
        Ok((location, self.writer.written() - before))
    }

    /// What the keydir says of an entry that may be gone.
    fn looked_up<R: Default>(&self, look: impl FnOnce(&Keydir) -> Option<R>) -> R {
        look(&self.merger.keydir.read()).unwrap_or_default()
    }

    /// Removes what was written.
    pub(super) fn give_up(self) {
        self.writer.give_up();
    }

    /// Puts the copies in the place of the originals, first in the manifest, then in the keydir. Returns the outputs.
    pub(super) fn install(self, run: &[SealedSegment]) -> Result<Vec<(SealedSegment, Residue)>, Error> {
        let outputs = self.writer.install(run)?;
        for moves in self.moves.chunks(CHUNK) {
            let mut keydir = self.merger.keydir.write();
            for moved in moves {
                match moved {
                    Move::Meta { id, sequence, to, len } => keydir.move_meta(*id, *sequence, *to, *len),
                    Move::Name { id, parent, name, to } => keydir.move_name(*id, *parent, name, *to),
                    Move::Extent { id, range, from, to } => keydir.move_extent(*id, range.clone(), *from, *to),
                }
            }
        }
        let residue = |id| self.residues.get(&id).copied().unwrap_or_default();
        Ok(outputs.into_iter().map(|output| (output, residue(output.id))).collect())
    }
}

/// The parts of a value within `range` that the record with this sequence number brought, those that are in the record at
/// `from` if it is given, joined where they follow one another.
fn live_parts(
    keydir: &Keydir,
    id: EntryId,
    range: Range<u64>,
    from: Option<Location>,
    sequence: u64,
) -> Vec<(Range<u64>, Extent)> {
    let Some(node) = keydir.get(id) else { return Vec::new() };
    let mut parts: Vec<(Range<u64>, Extent)> = Vec::new();
    for (place, extent) in node.extents.of_record(range, sequence) {
        if from.is_some_and(|from| extent.location != from) {
            continue;
        }
        if let Some((last, before)) = parts.last_mut() {
            let mut next = *before;
            next.advance(last.end - last.start);
            if last.end == place.start && next == extent {
                last.end = place.end;
                continue;
            }
        }
        parts.push((place, extent));
    }
    parts
}
