//! Short byte strings by the million, without an allocation for each.
//!
//! A string is kept in a block of the next size that fits; blocks of one size stand in chunks, and a free one is used
//! again before there is another. A string does not know its length: what is in it must tell where it ends.

/// The sizes are multiples of this.
const STEP: usize = 8;
/// The smallest size, in steps.
const FIRST: usize = 4;
/// So many sizes.
const SIZES: usize = 30;
/// Bytes in a chunk, about.
const CHUNK: usize = 64 << 10;
/// Bits of a place that say which block of its size it is.
const INDEX_BITS: u32 = 27;

/// The most blocks of one size, and half of the most places outside of them.
#[cfg(not(test))]
pub(super) fn most() -> usize {
    1 << INDEX_BITS
}

#[cfg(test)]
thread_local! {
    /// For a test that fills a table up.
    pub(in crate::store) static MOST: std::cell::Cell<usize> = const { std::cell::Cell::new(1 << INDEX_BITS) };
}

#[cfg(test)]
pub(super) fn most() -> usize {
    MOST.get()
}

/// The longest string that fits into a block.
pub(super) const LONGEST: usize = (FIRST + SIZES - 1) * STEP;

/// The blocks of one size.
#[derive(Debug, Default)]
struct Blocks {
    chunks: Vec<Box<[u8]>>,
    /// Blocks that were used at least once.
    used: u32,
    free: Vec<u32>,
}

/// Where a string is: its size's number above, the block's number below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(pub(super) u32);

impl Place {
    fn size(self) -> usize {
        (self.0 >> INDEX_BITS) as usize
    }

    fn index(self) -> u32 {
        self.0 & ((1 << INDEX_BITS) - 1)
    }
}

/// A place that no string ever has: of a size beyond the last. There are two to the 28th of them.
pub(super) fn outside(number: usize) -> Option<Place> {
    (number < 2 * most()).then_some(Place(((SIZES as u32) << INDEX_BITS) + number as u32))
}

/// The number of a place that is no string's.
pub(super) fn outside_number(place: Place) -> Option<usize> {
    place.0.checked_sub((SIZES as u32) << INDEX_BITS).map(|number| number as usize)
}

/// Strings.
#[derive(Debug)]
pub(super) struct Strings {
    sizes: Vec<Blocks>,
}

fn block_len(size: usize) -> usize {
    (size + FIRST) * STEP
}

fn per_chunk(size: usize) -> usize {
    CHUNK / block_len(size)
}

fn size_for(len: usize) -> Option<usize> {
    let size = len.div_ceil(STEP).saturating_sub(FIRST);
    (size < SIZES).then_some(size)
}

impl Strings {
    pub(super) fn new() -> Strings {
        Strings { sizes: (0..SIZES).map(|_| Blocks::default()).collect() }
    }

    /// A string, with whatever is behind it in its block.
    pub(super) fn get(&self, place: Place) -> &[u8] {
        let (size, index) = (place.size(), place.index() as usize);
        let start = index % per_chunk(size.min(SIZES)) * block_len(size);
        let chunk = self.sizes.get(size).and_then(|blocks| blocks.chunks.get(index / per_chunk(size)));
        chunk.and_then(|chunk| chunk.get(start..start + block_len(size))).unwrap_or_default()
    }

    /// Keeps a string. `None` if it is too long, or if there are too many of its size.
    pub(super) fn insert(&mut self, bytes: &[u8]) -> Option<Place> {
        let size = size_for(bytes.len())?;
        let blocks = self.sizes.get_mut(size)?;
        let index = match blocks.free.pop() {
            Some(index) => index,
            None if blocks.used as usize >= most() => return None,
            None => {
                blocks.used += 1;
                if blocks.used as usize > blocks.chunks.len() * per_chunk(size) {
                    blocks.chunks.push(vec![0; per_chunk(size) * block_len(size)].into_boxed_slice());
                }
                blocks.used - 1
            }
        };
        let place = Place((size as u32) << INDEX_BITS | index);
        self.write(place, bytes);
        Some(place)
    }

    /// Puts another string in the place of one, or in another place.
    pub(super) fn replace(&mut self, place: Place, bytes: &[u8]) -> Option<Place> {
        if size_for(bytes.len()) == Some(place.size()) {
            self.write(place, bytes);
            return Some(place);
        }
        self.remove(place);
        self.insert(bytes)
    }

    pub(super) fn remove(&mut self, place: Place) {
        if let Some(blocks) = self.sizes.get_mut(place.size()) {
            blocks.free.push(place.index());
        }
    }

    /// Bytes of memory in use: without the blocks that are free to be used again.
    pub(super) fn memory(&self) -> usize {
        let of = |(size, blocks): (usize, &Blocks)| (blocks.used as usize - blocks.free.len()) * block_len(size);
        self.sizes.iter().enumerate().map(of).sum()
    }

    fn write(&mut self, place: Place, bytes: &[u8]) {
        let (size, index) = (place.size(), place.index() as usize);
        let start = index % per_chunk(size) * block_len(size);
        let chunk = self.sizes.get_mut(size).and_then(|blocks| blocks.chunks.get_mut(index / per_chunk(size)));
        if let Some(block) = chunk.and_then(|chunk| chunk.get_mut(start..start + bytes.len())) {
            block.copy_from_slice(bytes);
        }
    }
}
