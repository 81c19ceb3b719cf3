//! What clamd says of itself: `ClamAV 1.4.6/27826/Sun Nov 22 09:12:01 2026`, or without database number and date where no official
//! signatures are loaded.

use crate::domain::clock::Timestamp;

/// Longest version that is repeated.
const LONGEST: usize = 40;

/// Program and signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    /// `1.4.6`.
    pub(super) program: String,
    /// When the official signatures were made, to a day; `None`: none are loaded.
    pub(super) signatures: Option<Timestamp>,
}

/// Reads the text of a reply to `VERSION`. `None`: it is not clamd.
pub(super) fn parse(text: &str) -> Option<Version> {
    let mut parts = text.strip_prefix("ClamAV ")?.splitn(3, '/');
    let program = parts.next()?.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-+~".contains(c);
    if program.is_empty() || program.len() > LONGEST || !program.chars().all(plain) {
        return None;
    }
    let number = parts.next().and_then(|number| number.parse::<u32>().ok()).filter(|number| *number > 0);
    // The date has no zone: it may be a day off, which is little beside the age that matters.
    let made = parts.next().and_then(|date| jiff::civil::DateTime::strptime("%a %b %d %H:%M:%S %Y", date).ok());
    let made = made.and_then(|date| date.to_zoned(jiff::tz::TimeZone::UTC).ok());
    let signatures = number.and(made).map(|date| Timestamp::from_millis(date.timestamp().as_millisecond()));
    Some(Version { program: program.to_owned(), signatures })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_with_and_without_official_signatures() {
        let bare = parse("ClamAV 1.4.6").unwrap();
        assert_eq!((bare.program.as_str(), bare.signatures), ("1.4.6", None));
        let full = parse("ClamAV 1.4.6/27826/Sun Nov 22 09:12:01 2026").unwrap();
        // 2026-11-22T09:12:01Z, by `date -u -d … +%s`.
        assert_eq!(full.signatures, Some(Timestamp::from_millis(1_795_338_721_000)));
        assert_eq!(parse("ClamAV 1.4.6/0/").unwrap().signatures, None);
        for other in ["", "ClamAV ", "clamav 1", "nginx/1.2", "ClamAV <b>1</b>"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
