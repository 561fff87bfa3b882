//! Reading the sealed segments at a start, or their hints in their stead.
//!
//! Several threads read ahead, so that a disk has more than one thing to do; what they have read is shown in order of
//! sequence numbers. A segment without a hint is read from front to back, once: as if to write its hint. One in which something
//! is missing is then gone through record by record.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ahead::in_order;
use super::error::{Context, Error};
use super::hint::{self, Hint};
use super::manifest::{Sealed, SegmentList};
use super::recovery::{Report, Visit, Visitor, place};
use super::scan::{Found, Scanner};
use super::segment::Segment;
use crate::medium::Medium;

/// Bytes of segments that are read, or whose hints are, ahead of what is shown.
const AHEAD: u64 = 192 << 20;

/// What was read of a segment.
enum Reading {
    /// Its hint.
    Hint(Hint),
    /// All of it: what its hint would say.
    Whole(Hint),
    /// Something of it is missing.
    Parts,
}

/// Shows the records of all sealed segments; returns the highest sequence number.
pub(super) fn read_sealed(
    medium: &dyn Medium,
    segments: &BTreeMap<u32, Arc<Segment>>,
    list: &SegmentList,
    visit: &mut Visitor<'_>,
    report: &mut Report,
) -> Result<u64, Error> {
    let mut sealed: Vec<(u32, Sealed)> = list.iter().filter_map(|(&id, sealed)| Some((id, (*sealed)?))).collect();
    sealed.sort_by_key(|(_, sealed)| sealed.first_sequence);
    let read = |(id, sealed): &(u32, Sealed)| segments.get(id).map(|segment| read(medium, segment, sealed));
    in_order(
        &sealed,
        AHEAD,
        |(_, sealed)| sealed.end,
        read,
        |(id, sealed), reading| {
            let (Some(segment), Some(reading)) = (segments.get(id), reading) else {
                report.miss(false, place(*id, 0), sealed.end);
                report.unreadable += 1;
                return Ok(());
            };
            segment.close(sealed.end);
            match reading {
                Reading::Parts => read_parts(segment, sealed.end, visit, report),
                Reading::Hint(hint) => {
                    report.hints.push(*id);
                    show(&hint, visit, report);
                    Ok(())
                }
                Reading::Whole(hint) => {
                    show(&hint, visit, report);
                    Ok(())
                }
            }
        },
    )?;
    Ok(sealed.iter().map(|(_, sealed)| sealed.last_sequence).max().unwrap_or(0))
}

fn read(medium: &dyn Medium, segment: &Segment, sealed: &Sealed) -> Reading {
    // A hint that cannot be read is as good as none.
    if let Ok(Some(hint)) = Hint::read(medium, segment, sealed) {
        return Reading::Hint(hint);
    }
    // What has failed here is tried again, and told, by who goes through the records.
    match hint::of_segment(segment, sealed) {
        Ok(Some(hint)) => Reading::Whole(hint),
        Ok(None) | Err(_) => Reading::Parts,
    }
}

fn show(hint: &Hint, visit: &mut Visitor<'_>, report: &mut Report) {
    let (unreadable, unread) = (report.unreadable, !report.unread.is_empty());
    hint.visit(&mut |header, location, front| {
        report.records += 1;
        visit(Visit { header, location, front: Some(front), unread, unreadable });
    });
}

/// Goes through a segment of which something is missing.
fn read_parts(segment: &Segment, end: u64, visit: &mut Visitor<'_>, report: &mut Report) -> Result<(), Error> {
    let context = || format!("reading segment {}", segment.id);
    let mut scanner = Scanner::new(segment, Some(end)).context(context)?;
    let mut offset = scanner.start();
    while offset < end {
        let found = scanner.record_at(offset).context(context)?.map(|Found { header, location, body }| {
            let front = body.and_then(|body| body.get(..header.front_len as usize)).map(<[u8]>::to_vec);
            (header, location, front)
        });
        if let Some((header, location, front)) = found {
            let next = offset + header.record_len();
            if front.is_none() {
                report.miss(scanner.failed_at(offset..next), location, header.record_len());
            }
            report.records += 1;
            let (unread, unreadable) = (!report.unread.is_empty(), report.unreadable);
            visit(Visit { header: &header, location, front: front.as_deref(), unread, unreadable });
            offset = next;
        } else {
            let next = scanner.search(offset).context(context)?.unwrap_or(end);
            // Without its header nothing in it is found, wherever the medium has failed.
            let failed = scanner.failed_at(offset..next) || (segment.illegible && segment.unread);
            report.miss(failed, place(segment.id, offset), next - offset);
            report.unreadable += 1;
            offset = next;
        }
    }
    Ok(())
}
