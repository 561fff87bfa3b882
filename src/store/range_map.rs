//! A map from stretches of a value to what is there. Stretches never overlap; a new one replaces what it covers.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, Range};

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
    /// Where runs of several pieces end, so that the next gap is found without walking through a run. A run is pieces
    /// without a gap between them; those of one piece may be missing here, so that pieces far apart cost nothing.
    ends: BTreeSet<u64>,
}

impl<P> Default for RangeMap<P> {
    fn default() -> Self {
        RangeMap { pieces: BTreeMap::new(), total: 0, ends: BTreeSet::new() }
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
        self.join(&range);
    }

    /// Empties a stretch.
    pub fn remove(&mut self, range: Range<u64>) {
        let before = self.total;
        self.cut(&range);
        if self.total != before {
            self.part(&range);
        }
    }

    fn cut(&mut self, range: &Range<u64>) {
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

    /// A piece is there now, where nothing was: the runs beside it go on through it.
    fn join(&mut self, piece: &Range<u64>) {
        let before = self.start_of_piece_ending(piece.start).is_some();
        if before {
            self.ends.remove(&piece.start);
        }
        match self.pieces.get(&piece.end) {
            Some((len, _)) => {
                let end = piece.end + len;
                // A run of several has its end there already.
                if !self.pieces.contains_key(&end) {
                    self.ends.insert(end);
                }
            }
            None if before => drop(self.ends.insert(piece.end)),
            None => {}
        }
    }

    /// Nothing is in a stretch any more: a run that reached into it ends before it.
    fn part(&mut self, stretch: &Range<u64>) {
        let inside = (Bound::Excluded(stretch.start), Bound::Included(stretch.end));
        while let Some(&end) = self.ends.range(inside).next() {
            self.ends.remove(&end);
        }
        let last = self.start_of_piece_ending(stretch.start);
        if last.is_some_and(|start| self.start_of_piece_ending(start).is_some()) {
            self.ends.insert(stretch.start);
        }
    }

    fn start_of_piece_ending(&self, offset: u64) -> Option<u64> {
        let (&start, (len, _)) = self.pieces.range(..offset).next_back()?;
        (start + len == offset).then_some(start)
    }

    /// The piece at `offset`, unclipped.
    fn at(&self, offset: u64) -> Option<(Range<u64>, &P)> {
        let (&start, (len, piece)) = self.pieces.range(..=offset).next_back()?;
        (start + len > offset).then(|| (start..start + len, piece))
    }

    /// The first offset at or behind this one where there is something. Takes as many steps as it takes to find a piece.
    pub fn first_data(&self, offset: u64) -> Option<u64> {
        match self.at(offset) {
            Some(_) => Some(offset),
            None => self.pieces.range(offset..).next().map(|(start, _)| *start),
        }
    }

    /// The first offset at or behind this one where there is nothing. Takes as few steps, however many pieces follow one
    /// another.
    pub fn first_gap(&self, offset: u64) -> u64 {
        let Some((place, _)) = self.at(offset) else { return offset };
        match self.pieces.contains_key(&place.end) {
            true => self.ends.range(place.end..).next().copied().unwrap_or(place.end),
            false => place.end,
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
            let end = start + *len;
            *len += bytes;
            self.total += bytes;
            self.ends.remove(&end);
            self.join(&(start..end + bytes));
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
        self.ends.clear();
        let (mut end, mut pieces) = (0, 0);
        for (&start, (len, _)) in &self.pieces {
            if pieces > 0 && start == end {
                pieces += 1;
            } else {
                if pieces > 1 {
                    self.ends.insert(end);
                }
                pieces = 1;
            }
            end = start + len;
        }
        if pieces > 1 {
            self.ends.insert(end);
        }
    }

    /// Bytes in all pieces together.
    pub fn total(&self) -> u64 {
        self.total
    }
}
