//! Verifying a store: every byte of it is read and checked, while it is used.
//!
//! The log tells which parts are not as they were written. Whose they are is looked up in the keydir when all is read:
//! a key is damaged if what it is now stands, in part, in one of these, or if the last start met damage in it. A dead
//! record harms nobody. No lock is held while the medium reads; the keydir's is while the ids are noted, and then for a few thousand
//! entries at a time.

use std::ops::{ControlFlow, Range};

use super::Store;
use super::attributes::{EntryId, Kind};
use super::extents::Extent;
use super::keydir::Node;
use super::record;
use crate::log::{Defect, HEADER_LEN, Header, Location, Progress, Seen, Stretches};

/// Entries looked at under one lock.
const CHUNK: usize = 4096;

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
    /// The keys whose values a repair could not save, sorted. They cannot be read, and nothing else is wrong with them.
    pub lost_keys: Vec<String>,
}

impl VerifyReport {
    /// Whether everything is as it was written, and can be read, but for what a repair has given up.
    pub fn is_clean(&self) -> bool {
        self.defects.is_empty() && self.damaged_keys.is_empty()
    }

    /// The defects that are none if the medium can be read another time.
    pub fn unread(&self) -> impl Iterator<Item = &Defect> {
        self.defects.iter().filter(|defect| defect.unread)
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
        let Touched { values, states, lost } = self.touched_by(&report.defects);
        report.damaged_keys = self.sorted_paths(&[values, states].concat());
        report.lost_keys = self.sorted_paths(&lost);
        Some(report)
    }

    fn sorted_paths(&self, entries: &[EntryId]) -> Vec<String> {
        let mut paths: Vec<String> = entries.iter().map(|id| self.path(*id)).collect();
        paths.sort();
        paths.dedup();
        paths
    }

    /// The entries that stand, in part, where these are, and those of which the last start could not read a record.
    pub(super) fn touched_by(&self, defects: &[Defect]) -> Touched {
        let mut touched = Touched::default();
        let damaged = Stretches::of_defects(defects.iter());
        let mut ids: Vec<EntryId> = {
            let keydir = self.keydir.read();
            if defects.is_empty() && !keydir.has_damage() && !keydir.any_wrong_names() {
                return touched;
            }
            keydir.ids().collect()
        };
        ids.sort_unstable();
        for chunk in ids.chunks(CHUNK) {
            let keydir = self.keydir.read();
            for &id in chunk {
                let Some(node) = keydir.get(id) else { continue };
                let (broken, is_file) = (keydir.is_damaged(id), node.state.attributes.kind == Kind::File);
                if value_stands_in(&node, &damaged) || (broken && is_file && !keydir.is_lost(id)) {
                    touched.values.push(id);
                } else {
                    let in_defects = |location, len| damaged.touch(location, len);
                    let names = keydir.has_wrong_names(id) || keydir.any_name(id, in_defects);
                    if names || state_stands_in(&node, &damaged) || (broken && !is_file) {
                        touched.states.push(id);
                    }
                    if broken && is_file {
                        touched.lost.push(id);
                    }
                }
            }
        }
        touched
    }
}

/// Entries of which something is damaged.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Their value is damaged, all or a part.
    pub(super) values: Vec<EntryId>,
    /// Their value can be read, or they have none, but the record of their names and attributes is damaged. What is
    /// known of these is from a hint, or from an older record.
    pub(super) states: Vec<EntryId>,
    /// Their value was damaged, and a repair could not save it.
    pub(super) lost: Vec<EntryId>,
}

/// Whether a part of the value stands in what is damaged.
fn value_stands_in(node: &Node, damaged: &Stretches) -> bool {
    let in_it = |(_, Extent { location, body_len, .. }): (Range<u64>, Extent)| {
        damaged.touch(location, HEADER_LEN as u64 + u64::from(body_len))
    };
    !damaged.is_empty() && node.extents.within(0..node.state.size).into_iter().any(in_it)
}

/// Whether the record of the names and attributes does.
fn state_stands_in(node: &Node, damaged: &Stretches) -> bool {
    node.meta.is_some_and(|meta| damaged.touch(meta.location, meta.len))
}

/// Whether a record says something.
pub(super) fn makes_sense(header: &Header, front: &[u8]) -> bool {
    match header.kind {
        record::NODE => record::decode_node(front, header.sequence, header.bulk_len()).is_some(),
        record::DATA => record::decode_data(front, header.bulk_len()).is_some(),
        record::HOLE => record::decode_hole(front).is_some(),
        record::SHARE => record::decode_share(front, header.sequence).is_some(),
        record::NAME | record::NAME_GONE => record::decode_name(front).is_some(),
        record::TOMBSTONE | record::LOSS => true,
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
        unread: false,
        entry: Some(header.entry),
    }
}
