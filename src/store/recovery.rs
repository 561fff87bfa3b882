//! Building the keydir from the log.

use super::extents::Extent;
use super::keydir::Keydir;
use super::record;
use crate::log::{Damage, Location, Report, Visit};

/// What the last start found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Records read.
    pub records: u64,
    /// Unacknowledged bytes at the end of the log that a crash left and that were cut off.
    pub torn: Vec<Damage>,
    /// Stretches of the log that are not as they were written.
    pub damage: Vec<Damage>,
    /// Keys of which a record could not be read.
    pub damaged_keys: Vec<String>,
    /// Names given to directories whose own record is lost.
    pub lost_directories: Vec<String>,
}

/// Applies one record to the keydir. A body that makes no sense although its checksum holds is noted as damage.
pub(super) fn apply(keydir: &mut Keydir, visit: &Visit<'_>, damage: &mut Vec<u64>) {
    let header = visit.header;
    let entry = header.entry;
    if apply_body(keydir, visit).is_none() {
        keydir.apply_damage(entry);
        damage.push(entry);
    }
}

fn apply_body(keydir: &mut Keydir, visit: &Visit<'_>) -> Option<()> {
    let header = visit.header;
    let (entry, sequence, location) = (header.entry, header.sequence, visit.location);
    match header.kind {
        record::TOMBSTONE => keydir.apply_tombstone(entry),
        record::NODE => {
            keydir.apply_node(entry, sequence, location, header.body_len, record::decode_node(visit.body?)?)
        }
        record::DATA => {
            let (stage, offset, len) = record::decode_data(visit.body?)?;
            keydir.apply_data(entry, stage, offset, len, extent(location, header.body_len, sequence));
        }
        record::HOLE => {
            let (stage, offset, len) = record::decode_hole(visit.body?)?;
            keydir.apply_hole(entry, stage, offset, len);
        }
        _ => return None,
    }
    Some(())
}

fn extent(location: Location, body_len: u32, sequence: u64) -> Extent {
    Extent { location, body_len, skip: 0, sequence }
}

/// Puts the report together.
pub(super) fn report(keydir: &mut Keydir, log: Report, damaged: Vec<u64>) -> RecoveryReport {
    let lost_directories = keydir.finish_recovery();
    let mut damaged_keys: Vec<String> = damaged.into_iter().map(|id| keydir.path(id)).collect();
    damaged_keys.sort();
    damaged_keys.dedup();
    RecoveryReport { records: log.records, torn: log.torn, damage: log.damage, damaged_keys, lost_directories }
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
