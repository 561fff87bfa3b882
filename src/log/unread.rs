//! What a medium has failed to read.

use std::fmt;

use super::{Damage, Defect, files};

/// A part of a file that could not be read, and may be as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// The file's path in the store.
    pub file: String,
    /// Where the part begins, in bytes.
    pub offset: u64,
    /// Its length in bytes; 0 for the whole of a file.
    pub len: u64,
}

impl Unread {
    /// The whole of a file.
    pub(super) fn whole(file: &str) -> Unread {
        Unread { file: file.into(), offset: 0, len: 0 }
    }

    /// A part of a segment.
    pub(super) fn of_segment(segment: u32, part: std::ops::Range<u64>) -> Unread {
        Unread { file: files::segment(segment), offset: part.start, len: part.end - part.start }
    }
}

impl From<&Damage> for Unread {
    fn from(damage: &Damage) -> Unread {
        let Damage { location, len } = *damage;
        Unread { file: location.file(), offset: location.offset.into(), len }
    }
}

impl From<&Defect> for Unread {
    fn from(defect: &Defect) -> Unread {
        Unread { file: defect.file.clone(), offset: defect.offset, len: defect.len }
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.len {
            0 => formatter.write_str(&self.file),
            len => write!(formatter, "{} from {} to {}", self.file, self.offset, self.offset + len),
        }
    }
}

/// The first of them, and how many more there are.
pub(super) fn summary(unread: &[Unread]) -> String {
    match unread {
        [] => "nothing".into(),
        [only] => only.to_string(),
        [first, rest @ ..] => format!("{first}, and {} more stretches", rest.len()),
    }
}
