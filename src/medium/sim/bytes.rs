//! The bytes of a file, and how a write to them tears.

use std::ops::Range;
use std::sync::Arc;

use super::journal::Replay;
use super::random::Random;

/// What a medium writes in one piece, in bytes: the least that any drive promises.
const SECTOR: usize = 512;

/// A file's bytes; images share them until one is written to.
#[derive(Clone, Default)]
pub(super) struct Bytes(Arc<Vec<u8>>);

impl Bytes {
    pub(super) fn new(bytes: Vec<u8>) -> Bytes {
        Bytes(Arc::new(bytes))
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Writes at `offset`; a gap before it reads as zeros.
    fn write(&mut self, data: &[u8], offset: usize) {
        let bytes = Arc::make_mut(&mut self.0);
        let end = offset + data.len();
        if bytes.len() < end {
            bytes.resize(end, 0);
        }
        if let Some(place) = bytes.get_mut(offset..end) {
            place.copy_from_slice(data);
        }
    }
}

/// A change to a file's bytes. Offsets and lengths are in bytes.
#[derive(Clone)]
pub(super) enum ByteChange {
    /// Bytes written at an offset.
    Write { offset: usize, data: Arc<[u8]> },
    /// A file cut, or extended with zeros.
    SetLen(usize),
    /// Bits of one byte flipped.
    Flip { offset: usize, xor: u8 },
}

impl Replay for Bytes {
    type Change = ByteChange;

    fn apply(&mut self, change: &ByteChange) {
        match change {
            ByteChange::Write { offset, data } => self.write(data, *offset),
            // Zeros that nobody has touched take no memory.
            ByteChange::SetLen(len) if self.0.is_empty() => self.0 = Arc::new(vec![0; *len]),
            ByteChange::SetLen(len) => Arc::make_mut(&mut self.0).resize(*len, 0),
            ByteChange::Flip { offset, xor } => {
                if let Some(byte) = Arc::make_mut(&mut self.0).get_mut(*offset) {
                    *byte ^= xor;
                }
            }
        }
    }

    /// A write keeps its first bytes, its first sectors, or any of its sectors; the file may have grown for all of it
    /// or only for what was kept. The other changes do not tear.
    fn apply_torn(&mut self, change: &ByteChange, random: &mut Random) {
        let ByteChange::Write { offset, data } = change else {
            return self.apply(change);
        };
        let sectors = sectors(*offset, data.len());
        match random.below(4) {
            0 | 1 => self.keep(data, *offset, 0..random.below(data.len() + 1)),
            2 => {
                let kept = random.below(sectors.len() + 1);
                for sector in sectors.into_iter().take(kept) {
                    self.keep(data, *offset, sector);
                }
            }
            _ => {
                for sector in sectors {
                    if random.one_in(2) {
                        self.keep(data, *offset, sector);
                    }
                }
            }
        }
        let end = offset + data.len();
        if self.len() < end && random.one_in(2) {
            Arc::make_mut(&mut self.0).resize(end, 0);
        }
    }
}

impl Bytes {
    /// Writes one piece of a write.
    fn keep(&mut self, data: &[u8], offset: usize, piece: Range<usize>) {
        let start = offset + piece.start;
        match data.get(piece) {
            Some(piece) if !piece.is_empty() => self.write(piece, start),
            _ => {}
        }
    }
}

/// The pieces of a write of `len` bytes at `offset` that lie each in one sector.
fn sectors(offset: usize, len: usize) -> Vec<Range<usize>> {
    let mut pieces = Vec::with_capacity(len / SECTOR + 2);
    let mut start = 0;
    while start < len {
        let room = SECTOR - (offset + start) % SECTOR;
        let end = len.min(start + room);
        pieces.push(start..end);
        start = end;
    }
    pieces
}
