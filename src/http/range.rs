//! `Range` and `If-Range` (RFC 9110 §13.1.5, §14): pure, one range at most. What is not understood is ignored, as the RFC asks;
//! several ranges get the whole file once, so that a request can never make the answer larger than the file.

use std::ops::Range;

/// What a request wants of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// All of it (200).
    Whole,
    /// These bytes, never empty, within the file (206).
    Part(Range<u64>),
    /// Nothing that the file has (416).
    Unsatisfiable,
}

/// Reads a `Range` header for a file of `size` bytes. `None`, another unit, several ranges, or a text that is no
/// ranges-specifier (RFC 9110 §14.2): the whole.
pub fn wanted(header: Option<&str>, size: u64) -> Wanted {
    let Some((unit, set)) = header.and_then(|text| text.split_once('=')) else {
        return Wanted::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return Wanted::Whole;
    }
    match set.trim_matches([' ', '\t']).split_once('-') {
        Some(("", suffix)) => last(suffix, size),
        Some((first, "")) => from(first, size),
        Some((first, last)) => between(first, last, size),
        None => Wanted::Whole,
    }
}

/// Digits as a number; more than fit are the largest number, which lies outside any file.
fn number(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().unwrap_or(u64::MAX))
}

fn last(suffix: &str, size: u64) -> Wanted {
    match number(suffix) {
        None => Wanted::Whole,
        Some(0) => Wanted::Unsatisfiable,
        // An empty file has no last bytes, and `Content-Range` cannot say so.
        Some(_) if size == 0 => Wanted::Whole,
        Some(count) => Wanted::Part(size.saturating_sub(count)..size),
    }
}

fn from(first: &str, size: u64) -> Wanted {
    match number(first) {
        None => Wanted::Whole,
        Some(first) if first >= size => Wanted::Unsatisfiable,
        Some(first) => Wanted::Part(first..size),
    }
}

fn between(first: &str, last: &str, size: u64) -> Wanted {
    match (number(first), number(last)) {
        // A last position below the first makes the specifier invalid, and invalid ones are ignored.
        (Some(_), Some(_)) if is_above(first, last) => Wanted::Whole,
        (Some(first), Some(_)) if first >= size => Wanted::Unsatisfiable,
        (Some(first), Some(last)) => Wanted::Part(first..last.saturating_add(1).min(size)),
        _ => Wanted::Whole,
    }
}

/// Whether digits are a larger number than others, also where neither fits.
fn is_above(one: &str, other: &str) -> bool {
    let (one, other) = (one.trim_start_matches('0'), other.trim_start_matches('0'));
    (one.len(), one) > (other.len(), other)
}

/// Whether `Range` holds although `If-Range` was sent: a strong tag that is the same letter by letter, or the exact date of
/// `Last-Modified` (RFC 9110 §13.1.5). Weak tags never match.
pub fn if_range_holds(header: Option<&str>, etag: &str, last_modified: &str) -> bool {
    header.is_none_or(|text| {
        let text = text.trim();
        if text.starts_with('"') { text == etag } else { text == last_modified }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // RFC 9110 §14.1.2 gives these for a representation of 10000 bytes.
    #[test]
    fn the_examples_of_rfc_9110() {
        for (text, range) in [
            ("bytes=0-499", 0..500),
            ("bytes=500-999", 500..1000),
            ("bytes=-500", 9500..10_000),
            ("bytes=9500-", 9500..10_000),
        ] {
            assert_eq!(wanted(Some(text), 10_000), Wanted::Part(range), "{text}");
        }
    }

    #[test]
    fn a122_what_is_no_single_range_gets_the_whole() {
        let many = format!("bytes={}", "0-,".repeat(1000));
        for text in [
            "bytes=0-0,-1",
            &many,
            "lines=0-1",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-2",
            // Larger than a number holds, and still the wrong way round (found by fuzzing).
            "bytes=99999999999999999999-99999999999999999998",
            "bytes=099999999999999999999-18446744073709551615",
            "bytes=+1-2",
            "bytes=1--2",
        ] {
            assert_eq!(wanted(Some(text), 100), Wanted::Whole, "{text}");
        }
        assert_eq!(wanted(None, 100), Wanted::Whole);
    }

    #[test]
    fn a122_what_lies_outside_is_unsatisfiable() {
        for text in ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=9999999999999999999999-"] {
            assert_eq!(wanted(Some(text), 100), Wanted::Unsatisfiable, "{text}");
        }
        assert_eq!(wanted(Some("bytes=0-99999999999999999999999"), 100), Wanted::Part(0..100));
        assert_eq!(wanted(Some("bytes=0-"), 0), Wanted::Unsatisfiable);
        assert_eq!(wanted(Some("bytes=-5"), 0), Wanted::Whole);
    }

    #[test]
    fn a123_only_the_same_strong_tag_or_date_joins_two_parts() {
        let (tag, date) = ("\"abc\"", "Mon, 23 Nov 2026 13:00:00 GMT");
        assert!(
            if_range_holds(None, tag, date)
                && if_range_holds(Some(tag), tag, date)
                && if_range_holds(Some(date), tag, date)
        );
        for other in ["W/\"abc\"", "\"abd\"", "abc", "", "Mon, 23 Nov 2026 13:00:01 GMT"] {
            assert!(!if_range_holds(Some(other), tag, date), "{other}");
        }
    }

    proptest! {
        #[test]
        fn a_part_is_never_empty_and_lies_within_the_file(text in "bytes=[0-9, -]{0,40}", size in any::<u64>()) {
            if let Wanted::Part(range) = wanted(Some(&text), size) {
                prop_assert!(range.start < range.end && range.end <= size);
            }
        }

        #[test]
        fn any_text_is_read_without_failing(text in ".{0,60}", size in 0u64..1000) {
            wanted(Some(&text), size);
        }
    }
}
