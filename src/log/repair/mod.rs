//! Repair, first half: what is wrong with the files themselves, so that the log can be opened.
//!
//! [`Inspection::of`] looks and changes nothing; [`Inspection::carry_out`] does what it found to be necessary, or
//! [`Inspection::preview`] shows a medium on which it were done. The second half, the damage inside segments, is
//! [`Log::salvage`](super::Log::salvage), on the log as it is then opened.
//!
//! What it relies on:
//! * Nothing is deleted: what leaves its place is in the quarantine first, durably.
//! * Each step leaves something that a repair can begin with: small files are replaced by rename; the format file comes
//!   last; files that the new manifest does not name are removed after it is durable.

mod contents;
mod identity;
mod preview;
mod quarantine;
mod segment_list;
mod step;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

pub use preview::Preview;
pub use quarantine::Quarantine;
pub use step::Step;

use super::error::{Context, Error};
use super::lost_end::has_lost_end;
use super::manifest::{LOST_END, Manifest, SegmentList};
use super::segment::Segment;
use super::{StoreId, Unread, files, format};
use crate::medium::Medium;
use contents::Contents;
use identity::{Claims, Identity};
use quarantine::in_segments;
use segment_list::segment_list;

/// A segment on the way back to its own name ends so. It does not count as one.
const ON_THE_WAY: &str = ".moved";

/// What is wrong with the files of a store.
#[derive(Debug)]
pub struct Inspection {
    id: StoreId,
    epoch: u32,
    /// The segments for a new manifest.
    list: Option<SegmentList>,
    /// What to do, in this order.
    pub steps: Vec<Step>,
    /// What could not be read: the steps are right if it counts as lost.
    pub unread: Vec<Unread>,
}

impl Inspection {
    /// Looks at the files of a store. The caller holds its lock.
    ///
    /// # Errors
    /// [`Error::NotAStore`] if nothing here says of which store it is; [`Error::Frozen`] for a snapshot or a backup; one
    /// of the future; those of the medium.
    pub fn of(medium: &Arc<dyn Medium>) -> Result<Inspection, Error> {
        let Identity { id, format, claims, mut unread } = Identity::of(&**medium)?;
        let header = Manifest::header(&**medium);
        // It is not written to, whatever else is wrong with it.
        if header.as_ref().is_some_and(|header| header.frozen) {
            return Err(Error::Frozen);
        }
        let ours = claims.values().flatten().filter(|claim| claim.store == id).map(|claim| claim.epoch);
        let epoch = ours.chain(header.map(|header| header.epoch)).max().unwrap_or(0);
        let named = match Manifest::read(&**medium, id) {
            Ok(manifest) => match has_lost_end(&**medium, &manifest.segments, epoch, id, &mut unread)? {
                true => Err(LOST_END),
                false => Ok(manifest.segments),
            },
            Err(Error::DamagedFile { what, .. }) => Err(what),
            Err(error) if error.is_unreadable() => {
                unread.push(Unread::whole(files::MANIFEST));
                Err("it cannot be read")
            }
            Err(error) => return Err(error),
        };
        let mut inspection = Inspection { id, epoch, list: None, steps: Vec::new(), unread };
        let segments = inspection.sort_out(&**medium, &claims, named.as_ref().ok())?;
        match named {
            Ok(list) => inspection.leave_out_unnamed(&segments, &list),
            Err(why) => inspection.rebuild(medium, &segments, why.to_owned())?,
        }
        if let Err(why) = format {
            inspection.steps.push(Step::Format { why });
        }
        Ok(inspection)
    }

    /// Whether the manifest is made anew.
    pub fn makes_manifest(&self) -> bool {
        self.list.is_some()
    }

    /// Whether this is a store, or what was one.
    ///
    /// # Errors
    /// [`Error::NotAStore`]; one of the future; those of the medium.
    pub fn probe(medium: &dyn Medium) -> Result<(), Error> {
        Identity::of(medium).map(drop)
    }

    /// Tells the segments, as far as the manifest names them, from files that only have names like theirs. Returns the
    /// segments' numbers and files. Files of other names are nobody's business, unless they are segments that are
    /// missing.
    fn sort_out(
        &mut self,
        medium: &dyn Medium,
        claims: &Claims,
        named: Option<&SegmentList>,
    ) -> Result<BTreeMap<u32, String>, Error> {
        let mut segments = BTreeMap::new();
        let mut strange = Vec::new();
        for (name, claim) in claims {
            let number = files::segment_number(name);
            let proper = match (number, claim) {
                (Some(number), Some(claim)) => claim.segment == number && claim.store == self.id,
                // A damaged header may be overcome. If it cannot be, and the manifest names it, it is lost: later.
                (Some(number), None) => {
                    let opened = Segment::open(medium, number, self.epoch, self.id, false);
                    named.is_some_and(|list| list.contains_key(&number))
                        || opened.is_ok_and(|segment| !segment.illegible)
                }
                (None, _) => false,
            };
            match number {
                Some(number) if proper => drop(segments.insert(number, name.clone())),
                _ => strange.push((name, claim)),
            }
        }
        let mut back = Vec::new();
        for (name, claim) in strange {
            let file = in_segments(name);
            let mine = claim.filter(|claim| claim.store == self.id).map(|claim| claim.segment);
            match mine.filter(|number| named.is_none_or(|list| list.contains_key(number))) {
                Some(segment) if !segments.contains_key(&segment) => {
                    segments.insert(segment, name.clone());
                    back.push(Step::PutBack { file, segment });
                }
                _ if files::segment_number(name).is_none() => {}
                _ => {
                    let why = match (claim, mine) {
                        (_, Some(number)) => format!("a copy of segment {number}"),
                        (Some(_), None) => "it belongs to another store".to_owned(),
                        (None, None) => "it is no segment that can be read".to_owned(),
                    };
                    self.steps.push(Step::Quarantine { file, why });
                }
            }
        }
        self.steps.append(&mut back);
        Ok(segments)
    }

    /// Leaves out what the manifest does not name.
    fn leave_out_unnamed(&mut self, segments: &BTreeMap<u32, String>, list: &SegmentList) {
        for (_, name) in segments.iter().filter(|(number, _)| !list.contains_key(number)) {
            let why = "the manifest does not name it: a merge has left it".to_owned();
            self.steps.push(Step::Quarantine { file: in_segments(name), why });
        }
    }

    /// Makes a list of the segments for a new manifest.
    fn rebuild(
        &mut self,
        medium: &Arc<dyn Medium>,
        segments: &BTreeMap<u32, String>,
        why: String,
    ) -> Result<(), Error> {
        let preview = Preview::renamed(Arc::clone(medium), &self.steps);
        let mut found = Vec::new();
        for number in segments.keys() {
            let segment = Segment::open(&preview, *number, self.epoch, self.id, false)?;
            let place = |part| Unread::of_segment(*number, part);
            let (contents, failed) =
                Contents::read(&preview, &segment).context(|| format!("reading segment {number}"))?;
            self.unread.extend(failed.into_iter().map(place));
            found.push(contents);
        }
        let (list, left_out) = segment_list(found);
        for (number, why) in left_out {
            self.steps.push(Step::Quarantine { file: files::segment(number), why: why.to_owned() });
        }
        self.steps.push(Step::Manifest { why, segments: list.len() });
        self.list = Some(list);
        Ok(())
    }

    /// Does what is to be done.
    ///
    /// # Errors
    /// Those of the medium. What was done until then stays, and a repair can begin anew.
    pub fn carry_out<'m>(&self, medium: &'m dyn Medium) -> Result<Quarantine<'m>, Error> {
        let mut quarantine = Quarantine::new(medium).context(|| "making the quarantine".into())?;
        self.steps_on(medium, &mut quarantine).context(|| "repairing".into())?;
        Ok(quarantine)
    }

    fn steps_on(&self, medium: &dyn Medium, quarantine: &mut Quarantine<'_>) -> io::Result<()> {
        for step in &self.steps {
            match step {
                Step::Quarantine { file, .. } => quarantine.keep(file)?,
                Step::Manifest { .. } => quarantine.keep(files::MANIFEST)?,
                Step::Format { .. } => quarantine.keep(files::FORMAT)?,
                Step::PutBack { .. } => {}
            }
        }
        let back = |step: &Step| match step {
            Step::PutBack { file, segment } => Some((file.clone(), files::segment(*segment))),
            _ => None,
        };
        let back: Vec<(String, String)> = self.steps.iter().filter_map(back).collect();
        // One may stand where another belongs: first all of them leave.
        for (file, place) in &back {
            medium.rename(file, &format!("{place}{ON_THE_WAY}"))?;
        }
        medium.sync_dir(files::SEGMENTS)?;
        for (_, place) in &back {
            medium.rename(&format!("{place}{ON_THE_WAY}"), place)?;
        }
        medium.sync_dir(files::SEGMENTS)?;
        if let Some(list) = &self.list {
            Manifest::write(medium, self.id, self.epoch, list, 0)?;
        }
        if self.steps.iter().any(|step| matches!(step, Step::Format { .. })) {
            format::write(medium, self.id)?;
        }
        for step in &self.steps {
            match step {
                Step::Quarantine { file, .. } if !back.iter().any(|(_, place)| place == file) => medium.remove(file)?,
                _ => {}
            }
        }
        medium.sync_dir(files::SEGMENTS)
    }

    /// The store as it would be.
    ///
    /// # Errors
    /// None that a disk can cause.
    pub fn preview(&self, medium: &Arc<dyn Medium>) -> Result<Preview, Error> {
        let preview = Preview::renamed(Arc::clone(medium), &self.steps);
        let context = || "previewing a repair".to_owned();
        if let Some(list) = &self.list {
            Manifest::write(&preview.files, self.id, self.epoch, list, 0).context(context)?;
        }
        format::write(&preview.files, self.id).context(context)?;
        Ok(preview)
    }
}
