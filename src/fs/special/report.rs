//! `.caskfs/recovery`: what the last start found.

use crate::store::{RecoveryReport, UNREAD_ADVICE};

/// The report, for people: a line for each finding.
pub(super) fn text(report: &RecoveryReport) -> String {
    let mut lines = vec![format!("{} records were read", report.records)];
    let cut = report.torn.iter();
    lines.extend(
        cut.map(|torn| format!("cut off {} unacknowledged bytes at {}, left by a crash", torn.len, torn.location)),
    );
    let unread = report.unread.iter();
    lines.extend(
        unread.map(|unread| format!("{} bytes at {} could not be read, and are not lost", unread.len, unread.location)),
    );
    if !report.unread.is_empty() {
        lines.push(UNREAD_ADVICE.into());
    }
    let damage = report.damage.iter();
    lines.extend(damage.map(|damage| format!("{} bytes are damaged at {}", damage.len, damage.location)));
    lines.extend(report.damaged_keys.iter().map(|key| format!("a record of {} is damaged", key.escape_debug())));
    let unread = report.unread_keys.iter();
    lines.extend(unread.map(|key| format!("a record of {} could not be read", key.escape_debug())));
    let lost = report.lost_directories.iter();
    lines.extend(lost.map(|name| format!("the name of a directory is lost: it is now {}", name.escape_debug())));
    if report.torn.is_empty() && report.is_clean() {
        lines.push("nothing was damaged, and nothing had to be cut off".into());
    }
    lines.push(String::new());
    lines.join("\n")
}
