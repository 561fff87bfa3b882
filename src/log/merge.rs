//! What a merge needs of the log: the sealed segments in order, all records of one, and a writer for their heirs.
//!
//! A merge takes sealed segments that are neighbours in order of sequence numbers, copies what is live of them into new
//! segments, record by record with its sequence number, and then lets one group of manifest entries name the new ones
//! and drop the old. So the ranges of sequence numbers of any two sealed segments never overlap, and recovery reads
//! one segment after the other. A crash before that group leaves files that no manifest names; one after it, files
//! that no manifest names any more.

use std::sync::Arc;

use super::error::{Context, Error, is_lost_sync, is_no_space, of_sync};
use super::manifest::{Change, Sealed};
use super::record::{ALIGNMENT, Header, Location};
use super::scan::{Found, Scanner};
use super::segment::{SEGMENT_HEADER_LEN, Segment};
use super::{Damage, Log, files};

/// Bytes written to an output at once.
const CHUNK: usize = 1 << 20;
/// Bytes after which an output is synced: a sync of the log must not wait behind a heap of a merge's bytes.
const PORTION: u64 = 8 << 20;

/// Is shown a record of a sealed segment: its header, place, and the front and the bulk of its body.
type SealedVisitor<'v, E> = dyn FnMut(&Header, Location, [&[u8]; 2]) -> Result<(), E> + 'v;

/// A sealed segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedSegment {
    /// Its number.
    pub id: u32,
    /// Where its records end, in bytes.
    pub end: u64,
    /// The range of sequence numbers that it holds.
    pub first_sequence: u64,
    /// The end of that range, included.
    pub last_sequence: u64,
}

/// Where something of a segment is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The place, up to the end of the segment.
    pub damage: Damage,
    /// The medium has failed to read it.
    pub unread: bool,
}

impl Log {
    /// The sealed segments in order of sequence numbers. The newest is left out: its highest number must stay known.
    pub fn sealed(&self) -> Vec<SealedSegment> {
        let manifest = self.manifest.lock();
        let sealed = manifest.segments.iter().filter_map(|(&id, sealed)| {
            let Sealed { end, first_sequence, last_sequence } = (*sealed)?;
            Some(SealedSegment { id, end, first_sequence, last_sequence })
        });
        let mut sealed: Vec<SealedSegment> = sealed.collect();
        sealed.sort_by_key(|segment| (segment.first_sequence, segment.last_sequence));
        sealed.pop();
        sealed
    }

    /// Shows every record of a sealed segment, verified. Stops at the first of which something is missing, and says where.
    ///
    /// # Errors
    /// Those of the medium, and of `visit`.
    pub fn visit_sealed<E: From<Error>>(
        &self,
        segment: &SealedSegment,
        visit: &mut SealedVisitor<'_, E>,
    ) -> Result<Option<Missing>, E> {
        let open = self.segments.get(segment.id);
        let missing = || Error::DamagedFile { file: files::segment(segment.id), what: "it is missing" };
        let open = open.ok_or_else(missing)?;
        let context = || format!("reading segment {}", segment.id);
        let mut scanner = Scanner::new(&open, Some(segment.end)).context(context)?;
        let mut offset = scanner.start();
        while offset < segment.end {
            match scanner.record_at(offset).context(context)? {
                Some(Found { header, location, body: Some(body) }) => {
                    offset += header.record_len();
                    let (front, bulk) = body.split_at_checked(header.front_len as usize).unwrap_or((body, &[]));
                    visit(&header, location, [front, bulk])?;
                }
                _ => {
                    let location = Location { segment: segment.id, offset: u32::try_from(offset).unwrap_or(u32::MAX) };
                    let unread = !scanner.failed().is_empty();
                    return Ok(Some(Missing { damage: Damage { location, len: segment.end - offset }, unread }));
                }
            }
        }
        Ok(None)
    }

    /// Begins the output of a merge.
    pub fn merge_writer(&self) -> MergeWriter<'_> {
        MergeWriter { log: self, outputs: Vec::new(), buffer: Vec::new() }
    }
}

/// One output of a merge.
#[derive(Debug)]
struct Output {
    segment: Arc<Segment>,
    end: u64,
    first_sequence: u64,
    last_sequence: u64,
}

/// Writes the output of a merge.
#[derive(Debug)]
pub struct MergeWriter<'a> {
    log: &'a Log,
    outputs: Vec<Output>,
    /// What is not written yet of the last output.
    buffer: Vec<u8>,
}

impl MergeWriter<'_> {
    /// Appends a record, with the front and the bulk of its body, under the sequence number that it has. Records come in order of these.
    ///
    /// # Errors
    /// Those of the medium. The merge is then to be [given up](MergeWriter::give_up).
    pub fn append(&mut self, kind: u8, entry: u64, sequence: u64, body: [&[u8]; 2]) -> Result<Location, Error> {
        let [front, bulk] = body;
        let body_len = front.len() + bulk.len();
        let record_len = super::record::record_len(body_len);
        let limit = u64::from(self.log.options.segment_size);
        if self
            .outputs
            .last()
            .is_none_or(|output| output.end > u64::from(SEGMENT_HEADER_LEN) && output.end + record_len > limit)
        {
            self.flush()?;
            self.open(sequence)?;
        }
        let Some(output) = self.outputs.last_mut() else { return Err(Error::NoSpace) };
        let offset = u32::try_from(output.end).map_err(|_| Error::TooLarge(output.end))?;
        let mut body_crc = crc32fast::Hasher::new();
        body.into_iter().for_each(|part| body_crc.update(part));
        let header = Header {
            kind,
            last: true,
            body_len: u32::try_from(body_len).map_err(|_| Error::TooLarge(body_len as u64))?,
            front_len: front.len() as u32,
            body_crc: body_crc.finalize(),
            sequence,
            entry,
            durable: sequence,
        };
        header.encode(output.segment.seed, offset, &mut self.buffer);
        body.into_iter().for_each(|part| self.buffer.extend_from_slice(part));
        self.buffer.resize(self.buffer.len().next_multiple_of(ALIGNMENT), 0);
        output.end += record_len;
        output.last_sequence = sequence;
        let location = Location { segment: output.segment.id, offset };
        if self.buffer.len() >= CHUNK {
            self.flush()?;
        }
        Ok(location)
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.outputs.iter().map(|output| output.end).sum()
    }

    /// Makes the outputs durable and puts them in the place of `inputs`, the segments between the sequence numbers
    /// that those hold. Everything that made a record of theirs dead must be durable before. Returns the outputs.
    ///
    /// # Errors
    /// [`Error::NoSpace`] and others before the manifest is written; a failure of that is final.
    pub fn install(mut self, inputs: &[SealedSegment]) -> Result<Vec<SealedSegment>, Error> {
        let synced = self.flush().and_then(|()| {
            for output in &self.outputs {
                output.segment.file.sync().context(|| "fsync of a merge's output".into())?;
            }
            // The names that others have made there are lost with it.
            let synced = self.log.medium.sync_dir(files::SEGMENTS).map_err(of_sync);
            synced.map_err(|error| self.log.failed("fsync of the segments' directory", error))
        });
        if let Err(error) = synced {
            self.give_up();
            return Err(error);
        }
        let mut changes: Vec<Change> = inputs.iter().map(|input| Change::Remove { segment: input.id }).collect();
        for output in &self.outputs {
            output.segment.close(output.end);
            output.segment.file.release();
            let Output { end, first_sequence, last_sequence, .. } = *output;
            changes.push(Change::Seal { segment: output.segment.id, end, first_sequence, last_sequence });
        }
        let _unobserved = self.log.snapshots.while_installing();
        let mut manifest = self.log.manifest.lock();
        let mut appended = manifest.append_all(&changes);
        if appended.as_ref().is_err_and(is_no_space) && self.log.give_up_reserve() {
            appended = manifest.append_all(&changes);
        }
        if let Err(error) = appended {
            drop(manifest);
            // Nothing of the group is there, or nothing is written any more.
            let failed = self.log.failed("writing the manifest", error);
            self.give_up();
            return Err(failed);
        }
        self.log.segments.insert(self.outputs.iter().map(|output| Arc::clone(&output.segment)));
        manifest.sync().map_err(|error| self.log.fail("fsync of the manifest", &error))?;
        drop(manifest);
        let _ = self.log.tidy_manifest();
        let sealed = |output: &Output| {
            let Output { end, first_sequence, last_sequence, .. } = *output;
            SealedSegment { id: output.segment.id, end, first_sequence, last_sequence }
        };
        Ok(self.outputs.iter().map(sealed).collect())
    }

    /// As [`MergeWriter::install`], in the place of one segment, whose range of sequence numbers the outputs keep. There
    /// is one at least.
    pub(super) fn install_covering(mut self, input: SealedSegment) -> Result<(), Error> {
        if self.outputs.is_empty() {
            self.open(input.first_sequence)?;
        }
        if let Some(first) = self.outputs.first_mut() {
            first.first_sequence = input.first_sequence;
        }
        if let Some(last) = self.outputs.last_mut() {
            last.last_sequence = input.last_sequence;
        }
        self.install(&[input]).map(drop)
    }

    /// Removes the outputs.
    pub fn give_up(self) {
        for output in self.outputs {
            // What cannot be removed is in no manifest, and so does not exist.
            let _ = self.log.medium.remove(&files::segment(output.segment.id));
        }
    }

    fn open(&mut self, sequence: u64) -> Result<(), Error> {
        self.log.check()?;
        let id = self.log.spares.number();
        let epoch = self.log.epoch();
        let segment =
            Segment::create(&self.log.cached, id, epoch, self.log.id).map_err(|error| self.not_created(error))?;
        self.outputs.push(Output {
            segment: Arc::new(segment),
            end: u64::from(SEGMENT_HEADER_LEN),
            first_sequence: sequence,
            last_sequence: sequence,
        });
        Ok(())
    }

    fn not_created(&self, error: std::io::Error) -> Error {
        let what = "creating a merge's output";
        match is_lost_sync(&error) {
            true => self.log.fail(what, &error),
            // It does not exist, and nothing else is the worse for it.
            false => Error::of(what, error),
        }
    }

    fn flush(&mut self) -> Result<(), Error> {
        if let Some(output) = self.outputs.last() {
            let offset = output.end - self.buffer.len() as u64;
            output.segment.file.write_all_at(&self.buffer, offset).context(|| "writing a merge's output".into())?;
            if offset / PORTION < output.end / PORTION {
                output.segment.file.sync().context(|| "fsync of a merge's output".into())?;
            }
        }
        self.buffer.clear();
        Ok(())
    }
}
