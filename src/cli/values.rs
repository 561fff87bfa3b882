//! How numbers are written in options.

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

/// [`size`], from 4 KiB to 1 GiB.
pub(super) fn segment_size(text: &str) -> Result<u32, String> {
    match u32::try_from(size(text)?) {
        Ok(size) if (4 << 10..=1 << 30).contains(&size) => Ok(size),
        _ => Err("a size from 4K to 1G is wanted".into()),
    }
}

/// A part of the whole in percent, with or without the sign.
pub(super) fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(percent) if (1.0..=100.0).contains(&percent) => Ok(percent / 100.0),
        _ => Err("a number from 1 to 100 is wanted".into()),
    }
}

/// Permission bits.
pub(super) fn octal(text: &str) -> Result<u16, String> {
    match u16::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("an octal number from 0 to 777 is wanted".into()),
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

    #[test]
    fn a_segment_is_of_a_sensible_size() {
        assert_eq!(["4K", "1G", "65536"].map(|text| segment_size(text).unwrap()), [4 << 10, 1 << 30, 65536]);
        for text in ["4095", "1025M", "8G", "x"] {
            assert!(segment_size(text).is_err(), "{text}");
        }
    }
}
