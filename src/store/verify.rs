//! Verifying a store: every byte of it is read and checked, while it is used.
//!
//! The log tells which parts are not as they were written. Whose they are is looked up in the keydir when all is read:
//! a key is damaged if what it is now stands, in part, in one of these, or if the last start met damage in it. A dead
//! record harms nobody. No lock is held while the medium reads, and the keydir's for a few thousand entries at a time.

use std::ops::{ControlFlow, Range};

use super::Store;
use super::attributes::{EntryId, ROOT};
use super::extents::Extent;
use super::keydir::{Keydir, Node};
use super::record;
use crate::log::{Defect, HEADER_LEN, Header, Location, Progress, Seen};

/// Entries looked at under one lock.
const CHUNK: u64 = 4096;

/// What verifying found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Segments read.
    pub segments: u64,
    /// Records in them that are as they were written.
    pub records: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Parts of files that are not as they were written.
    pub defects: Vec<Defect>,
    /// Hints of segments that are not used, because they are damaged or outdated. They are no loss: they are made anew.
    pub useless_hints: Vec<String>,
    /// The keys of which some part cannot be read, sorted.
    pub damaged_keys: Vec<String>,
}

impl VerifyReport {
    /// Whether everything is as it was written, and can be read.
    pub fn is_clean(&self) -> bool {
        self.defects.is_empty() && self.damaged_keys.is_empty()
    }
}

impl Store {
    /// Reads everything that is in the store now, and checks it. `progress` hears how far it has come, and may stop it:
    /// then there is no report.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    ///
    /// use caskfs::{Options, Store};
    ///
    /// let directory = tempfile::tempdir()?;
    /// let store = Store::open(directory.path(), Options { create: true, ..Options::default() })?;
    /// store.put("users/42", "Ada")?;
    /// let report = store.verify(&mut |_| ControlFlow::Continue(())).expect("nobody stops it");
    /// assert!(report.is_clean() && report.records > 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn verify(&self, progress: &mut dyn FnMut(Progress) -> ControlFlow<()>) -> Option<VerifyReport> {
        let mut report = VerifyReport { defects: self.log.verify_files(), ..VerifyReport::default() };
        let spans = self.log.spans();
        let total = spans.iter().map(|span| span.end).sum();
        for span in &spans {
            let before = report.bytes;
            let read = self.log.verify_span(span, &mut |seen| {
                match seen {
                    Seen::Record { header, location, front } => {
                        report.bytes = before + u64::from(location.offset) + header.record_len();
                        match makes_sense(header, front) {
                            true => report.records += 1,
                            false => report.defects.push(senseless(header, location)),
                        }
                    }
                    Seen::Defect(defect) => report.defects.push(defect),
                }
                progress(Progress { done: report.bytes, total })
            });
            if read.is_break() {
                return None;
            }
            report.segments += 1;
            report.bytes = before + span.end;
            if progress(Progress { done: report.bytes, total }).is_break() {
                return None;
            }
        }
        report.useless_hints = self.log.useless_hints();
        let damaged = self.touched_by(&report.defects);
        let keydir = self.keydir.read();
        report.damaged_keys = damaged.into_iter().map(|id| keydir.path(id)).collect();
        drop(keydir);
        report.damaged_keys.sort();
        report.damaged_keys.dedup();
        Some(report)
    }

    /// The entries that stand, in part, where these are, and those of which the last start could not read a record.
    pub(super) fn touched_by(&self, defects: &[Defect]) -> Vec<EntryId> {
        let mut touched = Vec::new();
        let mut first = ROOT;
        loop {
            let keydir = self.keydir.read();
            if first >= keydir.next_id || (defects.is_empty() && !keydir.has_damage()) {
                return touched;
            }
            let last = keydir.next_id.min(first.saturating_add(CHUNK));
            touched.extend((first..last).filter(|id| is_touched(&keydir, *id, defects)));
            first = last;
        }
    }
}

fn is_touched(keydir: &Keydir, id: EntryId, defects: &[Defect]) -> bool {
    let Some(node) = keydir.get(id) else { return false };
    keydir.is_damaged(id, &node) || (!defects.is_empty() && stands_in(&node, defects))
}

fn stands_in(node: &Node, defects: &[Defect]) -> bool {
    let record = |Extent { location, body_len, .. }: Extent| (location, HEADER_LEN as u64 + u64::from(body_len));
    let state = node.meta.map(|meta| (meta.location, meta.len));
    let value = node.extents.within(0..node.state.size).into_iter().map(|(_, extent)| record(extent));
    state.into_iter().chain(value).any(|(location, len)| {
        let place = u64::from(location.offset)..u64::from(location.offset) + len;
        defects.iter().any(|defect| defect.segment == Some(location.segment) && overlap(&place, defect))
    })
}

fn overlap(place: &Range<u64>, defect: &Defect) -> bool {
    // One without a length is the whole file.
    defect.len == 0 || (place.start < defect.offset + defect.len && defect.offset < place.end)
}

/// Whether a record says something.
fn makes_sense(header: &Header, front: &[u8]) -> bool {
    match header.kind {
        record::NODE => record::decode_node(front, header.sequence, header.bulk_len()).is_some(),
        record::DATA => record::decode_data(front, header.bulk_len()).is_some(),
        record::HOLE => record::decode_hole(front).is_some(),
        record::TOMBSTONE => true,
        _ => false,
    }
}

fn senseless(header: &Header, location: Location) -> Defect {
    Defect {
        file: location.file(),
        segment: Some(location.segment),
        offset: location.offset.into(),
        len: header.record_len(),
        what: "the body of a record makes no sense".into(),
        entry: Some(header.entry),
    }
}
