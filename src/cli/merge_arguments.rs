//! The options of `caskfs mount` that say when the store merges.

use std::num::NonZeroU64;

use clap::Args;

use super::values::{percent, size};
use crate::store::{DeadSpace, MergePolicy, MergeWindow};

/// When the store merges by itself.
#[derive(Debug, Args)]
pub(super) struct MergeArguments {
    /// When merges begin: `always`, `never`, or each day between two times in UTC, as 01:00-05:00.
    #[arg(long, value_name = "WINDOW", default_value = "always", help_heading = "Merging")]
    merge_window: MergeWindow,
    /// Bytes a second that merges read: 500K, 20M, 1G. No limit by default.
    #[arg(long, value_name = "BYTES/S", value_parser = size, help_heading = "Merging")]
    merge_rate: Option<u64>,
    /// A segment of which so many percent are dead starts a merge; when half of all is dead, 50 are enough.
    #[arg(long, value_name = "PERCENT", default_value = "60", value_parser = percent, help_heading = "Merging")]
    merge_trigger: f64,
    /// So does one with so many dead bytes.
    #[arg(long, value_name = "BYTES", default_value = "512M", value_parser = size, help_heading = "Merging")]
    merge_trigger_bytes: u64,
    /// Its neighbours go along from so many percent on,
    #[arg(long, value_name = "PERCENT", default_value = "40", value_parser = percent, help_heading = "Merging")]
    merge_threshold: f64,
    /// or from so many dead bytes on,
    #[arg(long, value_name = "BYTES", default_value = "128M", value_parser = size, help_heading = "Merging")]
    merge_threshold_bytes: u64,
    /// or if they are smaller than this. Four such in a row start a merge.
    #[arg(long, value_name = "BYTES", default_value = "10M", value_parser = size, help_heading = "Merging")]
    merge_small: u64,
}

impl MergeArguments {
    pub(super) fn policy(&self) -> MergePolicy {
        MergePolicy {
            trigger: DeadSpace { fraction: self.merge_trigger, bytes: self.merge_trigger_bytes },
            threshold: DeadSpace { fraction: self.merge_threshold, bytes: self.merge_threshold_bytes },
            small: self.merge_small,
            window: self.merge_window,
            rate: self.merge_rate.and_then(NonZeroU64::new),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the options say by default is what the library does by default.
    #[test]
    fn the_defaults_are_those_of_the_library() {
        #[derive(Debug, clap::Parser)]
        struct Alone {
            #[command(flatten)]
            merge: MergeArguments,
        }
        let alone = <Alone as clap::Parser>::try_parse_from(["caskfs"]).unwrap();
        assert_eq!(alone.merge.policy(), MergePolicy::default());
    }
}
