//! What a repair does to the files of a store, one thing at a time.

use std::fmt;

use crate::log::files;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Move a file to the quarantine.
    Quarantine {
        /// Its path in the store.
        file: String,
        /// Why it does not belong where it is.
        why: String,
    },
    /// Give a segment its own name again.
    PutBack {
        /// The path of the file.
        file: String,
        /// The segment's number.
        segment: u32,
    },
    /// Write the manifest anew. The old one goes to the quarantine.
    Manifest {
        /// What is wrong with it.
        why: String,
        /// How many segments it will name.
        segments: usize,
    },
    /// Write the format file anew. The old one goes to the quarantine.
    Format {
        /// What is wrong with it.
        why: String,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Quarantine { file, why } => write!(formatter, "move {file} to the quarantine: {why}"),
            Step::PutBack { file, segment } => {
                write!(formatter, "rename {file} to {}: it is this segment", files::segment(*segment))
            }
            Step::Manifest { why, segments } => {
                write!(formatter, "write manifest anew, with the {segments} segments that there are: {why}")
            }
            Step::Format { why } => write!(formatter, "write format anew: {why}"),
        }
    }
}
