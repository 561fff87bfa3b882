//! Whether the manifest has lost its last entries.
//!
//! Damage to them looks like a torn end. But each was durable before something else was done, and that can be seen:
//! * A manifest is replaced as a whole, and a *durable* entry is then its last one: [`Manifest::read`] looks for it.
//! * An *open* entry comes before the segment's first record.
//! * A *seal* entry comes before the segment's hint; and before records behind it that call those in it durable, which
//!   recovery knows to be no torn tail then, whatever the manifest says.
//! * A merge's group comes before its inputs are removed.
//!
//! A power cut leaves none of this: whoever finds it does not read what the manifest calls unsealed as if a crash had
//! left it.
//!
//! [`Manifest::read`]: super::manifest::Manifest::read

use std::collections::BTreeMap;
use std::io;

use super::error::{Context, Error};
use super::files;
use super::format::StoreId;
use super::hint::Hint;
use super::manifest::SegmentList;
use super::retry::retried;
use super::scan::Scanner;
use super::segment::Segment;
use super::unread::Unread;
use crate::medium::Medium;

/// Whether files in the directory of the segments prove that this list, read from a manifest of this epoch, lacks
/// entries that were durable. What cannot be read proves nothing, and is noted in `unread`.
pub(super) fn has_lost_end(
    medium: &dyn Medium,
    list: &SegmentList,
    epoch: u32,
    id: StoreId,
    unread: &mut Vec<Unread>,
) -> Result<bool, Error> {
    let names = retried(|| medium.list(files::SEGMENTS)).context(|| "listing the segments".into())?;
    let segments: Vec<u32> = names.iter().filter_map(|name| files::segment_number(name)).collect();
    let open = |number| match Segment::open(medium, number, epoch, id, false) {
        Err(error @ (Error::Io { .. } | Error::NoSpace)) => Err(error),
        other => Ok(other.ok()),
    };
    for number in names.iter().filter_map(|name| files::hint_number(name)) {
        if list.get(&number) != Some(&None) {
            continue;
        }
        let Some(segment) = open(number)? else { continue };
        match Hint::seal(medium, &segment) {
            Ok(Some(_)) => return Ok(true),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(_) => unread.push(Unread::whole(&files::hint(number))),
        }
    }
    let newest = list.values().flatten().map(|sealed| sealed.last_sequence).max().unwrap_or(0);
    // First and last sequence numbers of segments whose files are gone.
    let gone: BTreeMap<u64, u64> = list
        .iter()
        .filter(|(number, _)| !segments.contains(number))
        .filter_map(|(_, sealed)| sealed.map(|sealed| (sealed.first_sequence, sealed.last_sequence)))
        .collect();
    for number in segments.into_iter().filter(|number| !list.contains_key(number)) {
        // One that cannot be opened was left by a creation that was cut short.
        let Some(segment) = open(number)? else { continue };
        let context = || format!("reading segment {number}");
        // What cannot be read counts as zeros.
        let mut scanner = Scanner::new(&segment, Some(u64::MAX)).context(context)?;
        let of_this_epoch = segment.is_of_epoch(epoch, id);
        if proves_lost_end(&segment, &mut scanner, of_this_epoch, newest, &gone).context(context)? {
            return Ok(true);
        }
        let failed = scanner.failed();
        if of_this_epoch || segment.illegible {
            unread.extend(failed.into_iter().map(|part| Unread::of_segment(number, part)));
        }
    }
    Ok(false)
}

/// Whether a segment that the manifest does not name proves that it once did.
fn proves_lost_end(
    segment: &Segment,
    scanner: &mut Scanner<'_>,
    of_this_epoch: bool,
    newest: u64,
    gone: &BTreeMap<u64, u64>,
) -> io::Result<bool> {
    if segment.illegible {
        // A header is durable before anything else is written; but it may only be that it cannot be read.
        return Ok(!scanner.is_blank(scanner.start())? && !segment.unread);
    }
    if !of_this_epoch {
        // The manifest was replaced since, and did name it, or it did not exist. A merge has left it; what is in it may
        // be a torn tail with numbers that were given again.
        return Ok(false);
    }
    let mut offset = scanner.start();
    while let Some(next) = scanner.search(offset)? {
        let Some(found) = scanner.record_at(next)? else { break };
        let sequence = found.header.sequence;
        let of_a_gone_one = || gone.range(..=sequence).next_back().is_some_and(|(_, last)| sequence <= *last);
        if sequence > newest || of_a_gone_one() {
            return Ok(true);
        }
        if gone.is_empty() {
            // A copy, as all that follow are: a merge that was cut short has left them, or one that was finished.
            break;
        }
        offset = next + found.header.record_len();
    }
    Ok(false)
}
