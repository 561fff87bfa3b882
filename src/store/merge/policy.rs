//! When a store merges by itself, and how fast.
//!
//! Two levels of dead bytes (Bitcask's triggers and thresholds): the higher one starts a merge, the lower one says which
//! neighbours go along. Between them nothing happens, so that a merge leaves nothing behind that is due soon.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use crate::store::Time;

/// So many dead bytes of a segment, whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DeadSpace {
    /// Part of the segment, from 0 to 1.
    pub fraction: f64,
    /// Bytes.
    pub bytes: u64,
}

impl DeadSpace {
    /// Whether `dead` of `total` bytes are that many.
    pub(super) fn reached(&self, dead: u64, total: u64) -> bool {
        dead > 0 && (dead >= self.bytes || dead as f64 >= self.fraction * total as f64)
    }
}

/// When a store merges by itself, and how fast.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MergePolicy {
    /// A segment with so much dead space starts a merge.
    pub trigger: DeadSpace,
    /// A neighbour with so much dead space goes along.
    pub threshold: DeadSpace,
    /// A neighbour with fewer bytes than this goes along too, and four of them in a row start a merge. At most a
    /// quarter of the segment size counts.
    pub small: u64,
    /// The time of day at which merges begin.
    pub window: MergeWindow,
    /// Bytes a second that merges read, and at most write; no limit by default.
    pub rate: Option<NonZeroU64>,
}

impl Default for MergePolicy {
    fn default() -> MergePolicy {
        MergePolicy {
            trigger: DeadSpace { fraction: 0.6, bytes: 512 << 20 },
            threshold: DeadSpace { fraction: 0.4, bytes: 128 << 20 },
            small: 10 << 20,
            window: MergeWindow::Always,
            rate: None,
        }
    }
}

/// The time of day at which merges may begin; one that has begun is finished.
///
/// ```
/// use caskfs::store::{MergeWindow, Time};
///
/// let window: MergeWindow = "23:30-05:00".parse()?;
/// let hour = 3_600_000_000_000;
/// assert!(window.contains(Time(4 * hour)) && !window.contains(Time(5 * hour)));
/// assert!("25:00-26:00".parse::<MergeWindow>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MergeWindow {
    /// At any time.
    #[default]
    Always,
    /// Only when somebody asks for it.
    Never,
    /// Each day between two times, in minutes since midnight UTC. Local time would skip or repeat an hour twice a
    /// year.
    Daily {
        /// The first minute.
        from: u16,
        /// The minute after the last; before `from` if the window goes over midnight.
        to: u16,
    },
}

/// Nanoseconds in a minute, and minutes in a day.
const MINUTE: i64 = 60_000_000_000;
const DAY: i64 = 24 * 60;

impl MergeWindow {
    /// Whether a merge may begin now.
    pub fn contains(&self, now: Time) -> bool {
        let minute = now.0.div_euclid(MINUTE).rem_euclid(DAY);
        match *self {
            MergeWindow::Always => true,
            MergeWindow::Never => false,
            MergeWindow::Daily { from, to } if from <= to => (i64::from(from)..i64::from(to)).contains(&minute),
            MergeWindow::Daily { from, to } => minute >= i64::from(from) || minute < i64::from(to),
        }
    }
}

impl FromStr for MergeWindow {
    type Err = String;

    fn from_str(text: &str) -> Result<MergeWindow, String> {
        let time = |text: &str| -> Option<u16> {
            let (hours, minutes) = text.split_once(':')?;
            let number = |text: &str, limit: u16| -> Option<u16> {
                let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
                text.parse().ok().filter(|number| digits && *number < limit)
            };
            Some(number(hours, 24)? * 60 + number(minutes, 60)?)
        };
        let daily = || {
            let (from, to) = text.split_once('-')?;
            let (from, to) = (time(from)?, time(to)?);
            (from != to).then_some(MergeWindow::Daily { from, to })
        };
        match text {
            "always" => Ok(MergeWindow::Always),
            "never" => Ok(MergeWindow::Never),
            _ => {
                daily().ok_or_else(|| "two times of day in UTC are wanted, as 01:00-05:00, or always, or never".into())
            }
        }
    }
}

impl fmt::Display for MergeWindow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            MergeWindow::Always => formatter.write_str("always"),
            MergeWindow::Never => formatter.write_str("never"),
            MergeWindow::Daily { from, to } => {
                write!(formatter, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
            }
        }
    }
}
