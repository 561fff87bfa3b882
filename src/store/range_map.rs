//! A map from stretches of a value to what is there. Stretches never overlap; a new one replaces what it covers.

use std::collections::BTreeMap;
use std::ops::Range;

/// What can be in a stretch.
pub trait Piece: Clone {
    /// Drops the first `bytes` bytes.
    fn advance(&mut self, bytes: u64);

    /// Keeps only the first `bytes` bytes.
    fn truncate(&mut self, bytes: u64);
}

/// A map from stretches of a value to pieces.
#[derive(Clone, Debug)]
pub struct RangeMap<P> {
    /// By the offset where each begins: its length, and what is there.
    pieces: BTreeMap<u64, (u64, P)>,
    /// Bytes in all pieces together.
    total: u64,
}

impl<P> Default for RangeMap<P> {
    fn default() -> Self {
        RangeMap { pieces: BTreeMap::new(), total: 0 }
    }
}

impl<P: Piece> RangeMap<P> {
    /// Whether there is nothing anywhere.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Number of pieces.
    pub fn len(&self) -> usize {
        self.pieces.len()
    }

    /// Puts a piece where `range` says.
    pub fn insert(&mut self, range: Range<u64>, piece: P) {
        if range.is_empty() {
            return;
        }
        self.remove(range.clone());
        self.total += range.end - range.start;
        self.pieces.insert(range.start, (range.end - range.start, piece));
    }

    /// Empties a stretch.
    pub fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        // The piece that reaches into the stretch from before it.
        if let Some((&start, (len, piece))) = self.pieces.range_mut(..range.start).next_back() {
            let end = start + *len;
            if end > range.start {
                let tail = (end > range.end).then(|| {
                    let mut tail = piece.clone();
                    tail.advance(range.end - start);
                    (end - range.end, tail)
                });
                self.total -= end.min(range.end) - range.start;
                *len = range.start - start;
                piece.truncate(*len);
                if let Some(tail) = tail {
                    self.pieces.insert(range.end, tail);
                    return;
                }
            }
        }
        while let Some((&start, &(len, _))) = self.pieces.range(range.clone()).next() {
            let Some((_, mut piece)) = self.pieces.remove(&start) else { break };
            self.total -= (start + len).min(range.end) - start;
            if start + len > range.end {
                piece.advance(range.end - start);
                self.pieces.insert(range.end, (start + len - range.end, piece));
            }
        }
    }

    /// The pieces that begin before `range.end` and end behind `range.start`, unclipped.
    pub fn overlapping(&self, range: Range<u64>) -> impl Iterator<Item = (Range<u64>, &P)> {
        let before =
            self.pieces.range(..range.start).next_back().filter(|(start, (len, _))| **start + len > range.start);
        let inside = (!range.is_empty()).then(|| self.pieces.range(range)).into_iter().flatten();
        before.into_iter().chain(inside).map(|(&start, (len, piece))| (start..start + len, piece))
    }

    /// All pieces in order.
    pub fn iter(&self) -> impl Iterator<Item = (Range<u64>, &P)> {
        self.pieces.iter().map(|(&start, (len, piece))| (start..start + len, piece))
    }

    /// The piece that ends exactly at `offset`, for growing it: where it begins, and itself. Its length must then be
    /// told with [`RangeMap::extended`].
    pub fn ending_at(&mut self, offset: u64) -> Option<(u64, &mut P)> {
        let (&start, (len, piece)) = self.pieces.range_mut(..offset).next_back()?;
        (start + *len == offset).then_some((start, piece))
    }

    /// Says that the piece beginning at `start`, which nothing follows closely, has grown by `bytes`.
    pub fn extended(&mut self, start: u64, bytes: u64) {
        if let Some((len, _)) = self.pieces.get_mut(&start) {
            *len += bytes;
            self.total += bytes;
        }
    }

    /// Keeps the pieces that `keep` says yes to.
    pub fn retain(&mut self, mut keep: impl FnMut(&P) -> bool) {
        let total = &mut self.total;
        self.pieces.retain(|_, (len, piece)| {
            let stays = keep(piece);
            *total -= if stays { 0 } else { *len };
            stays
        });
    }

    /// Bytes in all pieces together.
    pub fn total(&self) -> u64 {
        self.total
    }
}
