//! Sizes as settings and policies write them. Spans are in [`crate::domain::clock`], since operations on the wire have them too.

const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// The largest size that may be written: 1 TiB, far beyond any limit here and within every integer that counts bytes.
const MOST: u64 = 1 << 40;

/// A size: a whole number and one of `B`, `KiB`, `MiB`, `GiB` (`512MiB`), at most 1024GiB. Returns bytes.
pub fn parse_size(text: &str) -> Option<u64> {
    let (digits, factor) = UNITS.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))?;
    let number: u64 = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())??;
    number.checked_mul(factor).filter(|bytes| *bytes <= MOST)
}

/// The shortest exact spelling of a size in bytes that [`parse_size`] reads.
pub fn write_size(bytes: u64) -> String {
    let whole = UNITS.iter().find(|(_, factor)| bytes != 0 && bytes.is_multiple_of(*factor));
    whole.map_or_else(|| format!("{bytes}B"), |(unit, factor)| format!("{}{unit}", bytes / factor))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_a_number_and_a_binary_unit() {
        assert_eq!(parse_size("512MiB"), Some(536_870_912));
        assert_eq!(parse_size("1024KiB"), parse_size("1MiB"));
        assert_eq!(parse_size("7B"), Some(7));
        assert_eq!(parse_size("1024GiB"), Some(1 << 40));
        for wrong in ["", "B", "MiB", "512", "512MB", "512 MiB", "0.5GiB", "-1B", "+1B", "1025GiB", "99999999999999GiB"]
        {
            assert_eq!(parse_size(wrong), None, "{wrong}");
        }
        assert_eq!(write_size(536_870_912), "512MiB");
        assert_eq!(write_size(0), "0B");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bytes in 0_u64..=MOST) {
            prop_assert_eq!(parse_size(&write_size(bytes)), Some(bytes));
        }

        #[test]
        fn any_text_is_a_size_or_none(text in ".*") {
            let _ = parse_size(&text);
        }
    }
}
