//! Salvage: what is intact of a damaged segment goes into fresh ones, in its place.
//!
//! As a merge puts its outputs in the place of its inputs: copies with their own sequence numbers, then one group of
//! manifest entries that names them and drops the original. The range of sequence numbers stays the same, also where
//! nothing was left to copy: what is given out must stay known.
//!
//! A hint repeats the fronts of the records. So if the segment has one, and it is to be trusted, a damaged record
//! without a bulk (a removal, a change of names) is copied from there.

use super::error::{Context, Error};
use super::hint::Hint;
use super::manifest::{Change, Sealed};
use super::record::Header;
use super::scan::{Found, Scanner};
use super::segment::Segment;
use super::{Log, MergeWriter, SealedSegment, Unread, files};

/// Says whether a record makes sense, by its header and the front of its body.
type Sense<'s> = dyn Fn(&Header, &[u8]) -> bool + 's;

impl Log {
    /// Segments that the manifest names, and that could not be opened: nothing is known of what was in them.
    pub fn lost_segments(&self) -> Vec<u32> {
        let manifest = self.manifest.lock();
        let segments = self.segments();
        manifest.segments.keys().filter(|id| !segments.contains(**id)).copied().collect()
    }

    /// Whether nothing is appended to a segment any more.
    pub fn is_ended(&self, id: u32) -> bool {
        let active = self.written.position();
        self.segments.get(id).is_some_and(|segment| segment.is_ended() && segment.id != active.0)
    }

    /// Puts copies of the records of a sealed segment that are intact, and of which `keep` says that they make sense, in
    /// its place, and takes it away. One that was not sealed and could not be opened goes from the manifest.
    ///
    /// # Errors
    /// Those of the medium; [`Error::NoSpace`] leaves everything as it was, and so does [`Error::Unread`], which is for what
    /// the medium fails to read, unless that is given up.
    pub fn salvage(&self, id: u32, keep: &Sense<'_>, give_up_unread: bool) -> Result<(), Error> {
        let sealed = self.manifest.lock().segments.get(&id).copied().flatten();
        let Some(sealed) = sealed else { return self.forget(id) };
        let mut writer = self.merge_writer();
        let segment = self.segments.get(id);
        if let Some(segment) = &segment {
            let hint = Hint::read(&*self.medium, segment, &sealed).ok().flatten();
            if let Err(error) = copy_intact(segment, sealed.end, hint, (keep, give_up_unread), &mut writer) {
                writer.give_up();
                return Err(error);
            }
        }
        let Sealed { end, first_sequence, last_sequence } = sealed;
        writer.install_covering(SealedSegment { id, end, first_sequence, last_sequence })?;
        match segment {
            Some(_) => self.drop_segments(&[id]),
            None => self.remove_unopened(id),
        }
        Ok(())
    }

    /// Takes a segment that nobody could open out of the manifest.
    fn forget(&self, id: u32) -> Result<(), Error> {
        let mut manifest = self.manifest.lock();
        let written = manifest.append(&Change::Remove { segment: id });
        written.map_err(|error| self.failed("writing the manifest", error))?;
        manifest.sync().map_err(|error| self.fail("fsync of the manifest", &error))?;
        self.remove_unopened(id);
        Ok(())
    }

    /// Removes what bears the name of a segment and is none; the file may be missing.
    fn remove_unopened(&self, id: u32) {
        let _ = self.medium.remove(&files::segment(id));
    }
}

/// Copies the records of a segment that are intact, and those of which the hint has all.
fn copy_intact(
    segment: &Segment,
    end: u64,
    hint: Option<Hint>,
    (keep, give_up_unread): (&Sense<'_>, bool),
    writer: &mut MergeWriter<'_>,
) -> Result<(), Error> {
    let context = || format!("reading segment {}", segment.id);
    let mut copy = |header: &Header, front: &[u8], bulk: &[u8]| match keep(header, front) {
        true => writer.append(header.kind, header.entry, header.sequence, [front, bulk]).map(drop),
        false => Ok(()),
    };
    let mut scanner = Scanner::new(segment, Some(end)).context(context)?;
    if let Some(hint) = hint {
        let mut copied = Ok(());
        hint.visit(&mut |header, location, front| {
            if copied.is_ok() {
                let found = scanner.record_at(location.offset.into()).context(context);
                copied = found.and_then(|found| match found.as_ref().and_then(Found::parts) {
                    Some((front, bulk)) => copy(header, front, bulk),
                    None if header.bulk_len() == 0 => copy(header, front, &[]),
                    None => Ok(()),
                });
            }
        });
        copied?;
    } else {
        let mut offset = scanner.start();
        while offset < scanner.limit() {
            let Some(found) = scanner.record_at(offset).context(context)? else {
                offset = scanner.search(offset).context(context)?.unwrap_or(scanner.limit());
                continue;
            };
            offset += found.header.record_len();
            if let Some((front, bulk)) = found.parts() {
                copy(&found.header, front, bulk)?;
            }
        }
    }
    let unread: Vec<Unread> = scanner.failed().into_iter().map(|part| Unread::of_segment(segment.id, part)).collect();
    match unread.is_empty() || give_up_unread {
        true => Ok(()),
        false => Err(Error::Unread(unread)),
    }
}
