//! Conditions of a request for bytes (RFC 9110 §13), pure: in the order of §13.2.2, for GET and HEAD. `Range` and `If-Range` come
//! after them and are read in [`super::range`].

use std::time::{SystemTime, UNIX_EPOCH};

use actix_web::http::header::{self, HeaderMap, HeaderName, HttpDate};

use crate::domain::clock::Timestamp;

/// What the conditions come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judged {
    /// Answered as if there were none.
    Met,
    /// 304: the caller has these very bytes.
    Unchanged,
    /// 412: the caller wants other bytes than these.
    Failed,
}

/// Judges the conditions of a request for a file with this strong tag, stored at a moment.
pub(super) fn judge(headers: &HeaderMap, etag: &str, stored: Timestamp) -> Judged {
    let dated = |name: HeaderName| date(headers, &name).map(|at| stored.seconds() <= at);
    let wanted = match tags(headers, &header::IF_MATCH) {
        Some(tags) => tags.any(|tag| !tag.is_weak && tag.opaque == etag),
        None => dated(header::IF_UNMODIFIED_SINCE).unwrap_or(true),
    };
    if !wanted {
        return Judged::Failed;
    }
    let known = match tags(headers, &header::IF_NONE_MATCH) {
        Some(tags) => tags.any(|tag| tag.opaque == etag),
        None => dated(header::IF_MODIFIED_SINCE).unwrap_or(false),
    };
    if known { Judged::Unchanged } else { Judged::Met }
}

/// The value of a condition on tags.
enum Tags<'a> {
    /// `*`: whatever there is.
    Any,
    /// These, as far as they can be read.
    These(Vec<Tag<'a>>),
}

/// An entity tag; the opaque part with its quotes.
struct Tag<'a> {
    is_weak: bool,
    opaque: &'a str,
}

impl Tags<'_> {
    fn any(&self, fits: impl Fn(&Tag<'_>) -> bool) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.iter().any(fits),
        }
    }
}

/// The tags of a header, all its lines together; `None` where it was not sent. What is no list of tags names none.
fn tags<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<Tags<'a>> {
    headers.contains_key(name).then(|| {
        let lines = || headers.get_all(name).map(|value| value.to_str().unwrap_or_default().trim());
        if lines().any(|line| line == "*") { Tags::Any } else { Tags::These(lines().flat_map(listed).collect()) }
    })
}

/// `1#entity-tag` (RFC 9110 §8.8.3): a comma may stand within a tag. From the first mistake on nothing is read.
fn listed(line: &str) -> Vec<Tag<'_>> {
    let (mut found, mut rest) = (Vec::new(), line);
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (is_weak, strong) = rest.strip_prefix("W/").map_or((false, rest), |strong| (true, strong));
        let end = strong.strip_prefix('"').and_then(|inner| inner.find('"'));
        let Some((opaque, behind)) = end.and_then(|end| strong.split_at_checked(end + 2)) else { return found };
        found.push(Tag { is_weak, opaque });
        rest = behind;
    }
}

/// The second that a header names in one of the three forms of RFC 9110 §5.6.7; `None` where it cannot be read.
fn date(headers: &HeaderMap, name: &HeaderName) -> Option<i64> {
    let date: HttpDate = headers.get(name)?.to_str().ok()?.trim().parse().ok()?;
    let since = SystemTime::from(date).duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;
    use proptest::prelude::*;

    const TAG: &str = "\"abc\"";
    /// RFC 9110 §5.6.7's example, in its three forms, and a second to each side.
    const AT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const FORMS: [&str; 3] = [AT, "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"];
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    fn judged(sent: &[(&str, &str)]) -> Judged {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        // Within the second: dates in headers know no parts of one.
        judge(&headers, TAG, Timestamp::parse("1994-11-06T08:49:37.500Z").unwrap())
    }

    #[test]
    fn if_match_compares_strongly_and_if_none_match_weakly() {
        for (value, if_match, if_none_match) in [
            ("*", Judged::Met, Judged::Unchanged),
            (TAG, Judged::Met, Judged::Unchanged),
            (" \"x,\" , \"abc\"", Judged::Met, Judged::Unchanged),
            ("W/\"abc\"", Judged::Failed, Judged::Unchanged),
            ("\"abd\", W/\"x\"", Judged::Failed, Judged::Met),
            ("\"ABC\"", Judged::Failed, Judged::Met),
            ("abc", Judged::Failed, Judged::Met),
            ("\"abc", Judged::Failed, Judged::Met),
            ("", Judged::Failed, Judged::Met),
        ] {
            assert_eq!(judged(&[("If-Match", value)]), if_match, "If-Match {value}");
            assert_eq!(judged(&[("If-None-Match", value)]), if_none_match, "If-None-Match {value}");
        }
        assert_eq!(judged(&[("If-None-Match", "\"x\""), ("If-None-Match", TAG)]), Judged::Unchanged);
    }

    #[test]
    fn dates_are_read_in_their_three_forms_and_ignored_where_they_are_none() {
        for at in FORMS {
            assert_eq!(judged(&[("If-Unmodified-Since", at)]), Judged::Met, "{at}");
            assert_eq!(judged(&[("If-Modified-Since", at)]), Judged::Unchanged, "{at}");
        }
        assert_eq!(judged(&[("If-Unmodified-Since", BEFORE)]), Judged::Failed);
        assert_eq!(judged(&[("If-Modified-Since", BEFORE)]), Judged::Met);
        assert_eq!(judged(&[("If-Unmodified-Since", AFTER)]), Judged::Met);
        assert_eq!(judged(&[("If-Modified-Since", AFTER)]), Judged::Unchanged);
        for odd in ["yesterday", "", "1994-11-06T08:49:37Z"] {
            assert_eq!(judged(&[("If-Unmodified-Since", odd), ("If-Modified-Since", odd)]), Judged::Met, "{odd}");
        }
    }

    #[test]
    fn the_order_is_that_of_rfc_9110_section_13_2_2() {
        // Where tags are named, dates are not read; what fails is told before what is known already.
        assert_eq!(judged(&[("If-Match", TAG), ("If-Unmodified-Since", BEFORE)]), Judged::Met);
        assert_eq!(judged(&[("If-None-Match", "\"x\""), ("If-Modified-Since", AFTER)]), Judged::Met);
        assert_eq!(judged(&[("If-Match", "\"x\""), ("If-None-Match", TAG)]), Judged::Failed);
        assert_eq!(judged(&[("If-Unmodified-Since", BEFORE), ("If-None-Match", TAG)]), Judged::Failed);
        assert_eq!(judged(&[("If-Match", TAG), ("If-None-Match", TAG)]), Judged::Unchanged);
        assert_eq!(judged(&[]), Judged::Met);
    }

    proptest! {
        #[test]
        fn any_value_is_read_without_failing(value in "[ -~]{0,60}") {
            for name in ["If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"] {
                judged(&[(name, &value)]);
            }
        }
    }
}
