//! What the medium fails to read of a file: block by block, as a disk has it.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;

use crate::medium::File;

/// What a disk reads or fails to read at once.
const BLOCK: u64 = 4096;
/// After how many failures the rest of a stretch is given up: each may take seconds.
const FAILURES: usize = 32;

/// The blocks of one file that could not be read.
#[derive(Debug, Default)]
pub(super) struct BadBlocks(BTreeSet<u64>);

impl BadBlocks {
    /// Fills a buffer with what stands at an offset. What the medium fails to read becomes zeros, which are neither a header
    /// nor a record; and so does all the rest of a stretch once there were too many failures. No block is asked for
    /// again that could not be read.
    pub(super) fn read(&mut self, file: &dyn File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = offset..offset + buffer.len() as u64;
        if !self.touches(&bytes) {
            let Err(error) = file.read_exact_at(buffer, offset) else { return Ok(()) };
            if error.kind() == io::ErrorKind::UnexpectedEof {
                return Err(error);
            }
            log::error!("reading {} bytes at {offset}: {error}; what can be read of them is", buffer.len());
        }
        let first = (BLOCK - offset % BLOCK).min(buffer.len() as u64) as usize;
        let (head, blocks) = buffer.split_at_mut(first);
        let mut place = offset;
        for block in std::iter::once(head).chain(blocks.chunks_mut(BLOCK as usize)) {
            let number = place / BLOCK;
            let hopeless = self.0.contains(&number) || self.0.len() >= FAILURES;
            if hopeless || file.read_exact_at(block, place).is_err() {
                block.fill(0);
                self.0.insert(number);
            }
            place += block.len() as u64;
        }
        Ok(())
    }

    /// Whether any of these bytes could not be read.
    pub(super) fn touches(&self, bytes: &Range<u64>) -> bool {
        self.0.range(bytes.start / BLOCK..bytes.end.div_ceil(BLOCK).max(bytes.start / BLOCK)).next().is_some()
    }

    /// Where the last block ends that could not be read; 0 if there is none.
    pub(super) fn end(&self) -> u64 {
        self.0.last().map_or(0, |number| (number + 1) * BLOCK)
    }
}
