//! The options of `caskfs mount` that say when the store merges, and how sizes are written.

use std::num::NonZeroU64;

use clap::Args;

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

/// A number of bytes: 4096, 500K, 20M, 1G, 2T, in units of 1024.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..).unwrap_or_default().to_ascii_uppercase().as_str() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 10,
        "M" | "MB" | "MIB" => 20,
        "G" | "GB" | "GIB" => 30,
        "T" | "TB" | "TIB" => 40,
        _ => return Err("a number of bytes is wanted, as 4096, 500K, 20M or 1G".into()),
    };
    let number: u64 = digits.parse().map_err(|_| "a number of bytes is wanted, as 4096, 500K, 20M or 1G".to_owned())?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0).ok_or_else(|| "from 1 byte to 16 EiB".into())
}

fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(percent) if (1.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("a number from 1 to 100 is wanted".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_units_of_1024() {
        let sizes = ["4096", "500K", "20M", "1GiB", "2t"].map(|text| size(text).unwrap());
        assert_eq!(sizes, [4096, 500 << 10, 20 << 20, 1 << 30, 2 << 40]);
        for text in ["", "M", "-1", "1.5M", "0", "1X", "99999999999T"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn percents_are_parts_of_the_whole() {
        assert_eq!(["1", "60", "100%"].map(|text| percent(text).unwrap()), [0.01, 0.6, 1.0]);
        for text in ["", "0", "101", "NaN", "half"] {
            assert!(percent(text).is_err(), "{text}");
        }
    }

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
