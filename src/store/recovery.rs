//! Building the keydir from the log.

use super::attributes::EntryId;
use super::extents::Extent;
use super::keydir::Keydir;
use super::record;
use crate::log::{Damage, Location, Report, Visit};

/// What the last start found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Records read.
    pub records: u64,
    /// Segments whose hints were read in their stead.
    pub hints: u64,
    /// Unacknowledged bytes at the end of the log that a crash left and that were cut off.
    pub torn: Vec<Damage>,
    /// Stretches of the log that are not as they were written.
    pub damage: Vec<Damage>,
    /// Keys of which a record could not be read.
    pub damaged_keys: Vec<String>,
    /// Names given to directories whose own record is lost.
    pub lost_directories: Vec<String>,
}

/// What is noted while the records are applied.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Entries of which a record is damaged.
    damaged: Vec<EntryId>,
    /// Unreadable stretches met so far.
    unreadable: u32,
    /// The last record that is missing altogether: nobody knows any more whose it was.
    lost: u64,
}

/// Applies one record to the keydir. A body that makes no sense although its checksum holds is noted as damage.
pub(super) fn apply(keydir: &mut Keydir, visit: &Visit<'_>, findings: &mut Findings) {
    let header = visit.header;
    if visit.unreadable > findings.unreadable {
        findings.unreadable = visit.unreadable;
        findings.lost = header.sequence - 1;
    }
    let stage = apply_body(keydir, visit, findings);
    // A missing record among those of a value may be a piece of it, and would read as a hole.
    if stage.is_none_or(|stage| stage != 0 && stage <= findings.lost) {
        keydir.apply_damage(header.entry, header.sequence);
        findings.damaged.push(header.entry);
    }
}

/// Returns the stage that the record publishes, 0 if it does not; `None` if it is damaged.
fn apply_body(keydir: &mut Keydir, visit: &Visit<'_>, findings: &mut Findings) -> Option<u64> {
    let header = visit.header;
    let (entry, sequence, location) = (header.entry, header.sequence, visit.location);
    match header.kind {
        record::TOMBSTONE => keydir.apply_tombstone(entry),
        record::NODE => {
            let node = record::decode_node(visit.front?, sequence, header.bulk_len())?;
            let stage = node.stage;
            // It speaks of a value that another record should have brought: that one is lost, whoever's it was. (A merge
            // takes such a record away, but leaves the bytes.)
            let (start, size) = (node.state.value_start, node.state.size);
            let elsewhere = size > 0 && start < sequence && stage == 0 && node.inline.is_none();
            let lost = elsewhere && start > 0 && start <= findings.lost;
            if lost && keydir.get(entry).is_none_or(|old| old.state.value_start < start && !old.has_all(start, size)) {
                keydir.apply_damage(entry, start);
                findings.damaged.push(entry);
            }
            keydir.apply_node(entry, sequence, location, header.body_len, node);
            return Some(stage);
        }
        record::DATA => {
            let (stage, offset, len) = record::decode_data(visit.front?, header.bulk_len())?;
            keydir.apply_data(entry, stage, offset, len, extent(location, header.body_len, sequence));
        }
        record::HOLE => {
            let (stage, offset, len) = record::decode_hole(visit.front?)?;
            keydir.apply_hole(entry, stage, offset, len);
        }
        _ => return None,
    }
    Some(0)
}

fn extent(location: Location, body_len: u32, sequence: u64) -> Extent {
    Extent { location, body_len, skip: 0, sequence }
}

/// Puts the report together.
pub(super) fn report(keydir: &mut Keydir, log: Report, findings: Findings) -> RecoveryReport {
    let lost_directories = keydir.finish_recovery();
    let mut damaged_keys: Vec<String> = findings.damaged.into_iter().map(|id| keydir.path(id)).collect();
    damaged_keys.sort();
    damaged_keys.dedup();
    RecoveryReport {
        records: log.records,
        hints: log.hints.len() as u64,
        torn: log.torn,
        damage: log.damage,
        damaged_keys,
        lost_directories,
    }
}

impl RecoveryReport {
    /// Tells the operator, in a line for each finding.
    pub(super) fn tell(&self) {
        for torn in &self.torn {
            log::warn!("cut off {} unacknowledged bytes at {}, left by a crash", torn.len, torn.location);
        }
        for damage in &self.damage {
            log::error!("{} bytes are damaged at {}", damage.len, damage.location);
        }
        for key in &self.damaged_keys {
            log::error!("a record of {key} is damaged");
        }
        for name in &self.lost_directories {
            log::error!("the name of a directory is lost: it is now {name}");
        }
    }
}
