//! What the medium fails to read of a file: block by block, as a disk has it.

use std::collections::BTreeSet;
use std::io;
use std::ops::Range;

use super::retry;
use crate::medium::File;

/// What a disk reads or fails to read at once.
const BLOCK: u64 = 4096;
/// So many blocks of a file are asked for again after a pause, in the hope that what has failed passes. Where there are more
/// of them each is asked for once, since each may take seconds; but none counts as bad that was not asked for.
const PATIENCE: usize = 1024;

/// The blocks of one file that could not be read.
#[derive(Debug, Default)]
pub(super) struct BadBlocks {
    blocks: BTreeSet<u64>,
    /// How many were asked for again.
    repeated: usize,
}

impl BadBlocks {
    /// Fills a buffer with what stands at an offset. What the medium fails to read becomes zeros, which are neither a header
    /// nor a record: each block of it was asked for by itself. None is asked for in a later call that could not be read.
    ///
    /// # Errors
    /// If the file is shorter; if the process is short of something, which says nothing of the medium.
    pub(super) fn read(&mut self, file: &dyn File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = offset..offset + buffer.len() as u64;
        if !self.touches(&bytes) {
            let Err(error) = file.read_exact_at(buffer, offset) else { return Ok(()) };
            if error.kind() == io::ErrorKind::UnexpectedEof {
                return Err(error);
            }
            log::warn!("reading {} bytes at {offset}: {error}; what can be read of them is", buffer.len());
        }
        let first = (BLOCK - offset % BLOCK).min(buffer.len() as u64) as usize;
        let (head, blocks) = buffer.split_at_mut(first);
        let mut failed: Vec<(u64, &mut [u8])> = Vec::new();
        let mut place = offset;
        for block in std::iter::once(head).chain(blocks.chunks_mut(BLOCK as usize)) {
            let len = block.len() as u64;
            match self.blocks.contains(&(place / BLOCK)) {
                true => block.fill(0),
                false if is_read(file, block, place)? => {}
                false => failed.push((place, block)),
            }
            place += len;
        }
        let mut round = 0;
        while !failed.is_empty() && self.repeated < PATIENCE && retry::rest_before(round) {
            round += 1;
            self.repeated += failed.len();
            let mut still = Vec::new();
            for (place, block) in failed {
                if !is_read(file, block, place)? {
                    still.push((place, block));
                }
            }
            failed = still;
        }
        for (place, block) in failed {
            block.fill(0);
            self.blocks.insert(place / BLOCK);
        }
        Ok(())
    }

    /// Whether any of these bytes could not be read.
    pub(super) fn touches(&self, bytes: &Range<u64>) -> bool {
        self.blocks.range(bytes.start / BLOCK..bytes.end.div_ceil(BLOCK).max(bytes.start / BLOCK)).next().is_some()
    }

    /// Where the last block ends that could not be read; 0 if there is none.
    pub(super) fn end(&self) -> u64 {
        self.blocks.last().map_or(0, |number| (number + 1) * BLOCK)
    }

    /// The stretches that could not be read.
    pub(super) fn stretches(&self) -> Vec<Range<u64>> {
        let mut stretches: Vec<Range<u64>> = Vec::new();
        for number in &self.blocks {
            let block = number * BLOCK..(number + 1) * BLOCK;
            match stretches.last_mut().filter(|last| last.end == block.start) {
                Some(last) => last.end = block.end,
                None => stretches.push(block),
            }
        }
        stretches
    }
}

/// Whether a block was read.
fn is_read(file: &dyn File, block: &mut [u8], place: u64) -> io::Result<bool> {
    let short = |result: &io::Result<()>| result.as_ref().is_err_and(retry::is_short_of_resources);
    let mut read = file.read_exact_at(block, place);
    if short(&read) {
        read = retry::retried(|| file.read_exact_at(block, place));
    }
    match read {
        Err(error) if retry::is_short_of_resources(&error) || error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(error)
        }
        other => Ok(other.is_ok()),
    }
}
