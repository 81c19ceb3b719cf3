//! Dates of searches and elements as spans `[from, until)` by their precision (FHIR R4 search.html#date). A value without a
//! zone is UTC.

use std::time::Duration;

use chrono::{Days, Months, NaiveDate, NaiveTime};

use crate::domain::clock::Timestamp;
use crate::domain::query::{DateTest, Prefix};
use crate::domain::resource::Span;

/// Reads `yyyy[-mm[-dd[Thh:mm[:ss[.fff]][zone]]]]`; a blank before the zone's digits is a `+` that was not escaped.
pub fn span(text: &str) -> Option<Span> {
    if !text.is_ascii() {
        return None;
    }
    match text.split_once('T') {
        None => whole_days(text),
        Some((day, time)) => moment(day, time),
    }
}

fn whole_days(text: &str) -> Option<Span> {
    let (year, rest) = digits(text, 4)?;
    let year = i32::try_from(year).ok().filter(|year| *year > 0)?;
    if rest.is_empty() {
        let first = NaiveDate::from_ymd_opt(year, 1, 1)?;
        return days(first, first.checked_add_months(Months::new(12))?);
    }
    let (month, rest) = digits(rest.strip_prefix('-')?, 2)?;
    if rest.is_empty() {
        let first = NaiveDate::from_ymd_opt(year, month, 1)?;
        return days(first, first.checked_add_months(Months::new(1))?);
    }
    let (day, rest) = digits(rest.strip_prefix('-')?, 2)?;
    let first = NaiveDate::from_ymd_opt(year, month, day).filter(|_| rest.is_empty())?;
    days(first, first.checked_add_days(Days::new(1))?)
}

fn days(from: NaiveDate, until: NaiveDate) -> Option<Span> {
    let start = |day: NaiveDate| Timestamp::from_millis(day.and_time(NaiveTime::MIN).and_utc().timestamp_millis());
    Some(Span { from: start(from), until: start(until) })
}

fn moment(day: &str, time: &str) -> Option<Span> {
    let date = whole_days(day).filter(|_| day.len() == 10)?;
    let (hour, rest) = digits(time, 2)?;
    let (minute, rest) = digits(rest.strip_prefix(':')?, 2)?;
    let (second, width, rest) = match rest.strip_prefix(':') {
        None => (Some(0), 60_000, rest),
        Some(rest) => {
            let (second, rest) = digits(rest, 2)?;
            (Some(second), 1_000, rest)
        }
    };
    let (millis, width, rest) = match rest.strip_prefix('.') {
        Some(rest) if width == 1_000 => fraction(rest)?,
        _ => (0, width, rest),
    };
    let second = second.filter(|second| *second < 60 && hour < 24 && minute < 60)?;
    let within = i64::from(hour * 3_600 + minute * 60 + second) * 1_000 + millis;
    let from = date.from.millis() + within - zone(rest)? * 60_000;
    Some(Span { from: Timestamp::from_millis(from), until: Timestamp::from_millis(from + width) })
}

/// Digits after the point as milliseconds, the width of what they leave open (at least one), and the rest.
fn fraction(text: &str) -> Option<(i64, i64, &str)> {
    let length = text.bytes().take_while(u8::is_ascii_digit).count();
    let (shown, rest) = text.split_at_checked(length).filter(|_| (1..=18).contains(&length))?;
    let kept = format!("{shown:0<3}").get(..3)?.parse().ok()?;
    let width = [1_000, 100, 10].get(length).copied().unwrap_or(1);
    Some((kept, width, rest))
}

/// Minutes east of UTC.
fn zone(text: &str) -> Option<i64> {
    let mut chars = text.chars();
    let sign = match chars.next() {
        None => return Some(0),
        Some('Z') => return chars.next().is_none().then_some(0),
        Some('+' | ' ') => 1,
        Some('-') => -1,
        Some(_) => return None,
    };
    let (hours, rest) = digits(chars.as_str(), 2)?;
    let (minutes, rest) = digits(rest.strip_prefix(':')?, 2)?;
    let valid = rest.is_empty() && minutes < 60 && (hours < 14 || (hours == 14 && minutes == 0));
    valid.then_some(sign * i64::from(hours * 60 + minutes))
}

fn digits(text: &str, count: usize) -> Option<(u32, &str)> {
    let (shown, rest) = text.split_at_checked(count)?;
    let all = shown.bytes().all(|b| b.is_ascii_digit());
    Some((shown.parse().ok().filter(|_| all)?, rest))
}

/// Reads a parameter's value: an optional prefix and a date. `now` widens `ap` by a tenth of the distance to it.
pub fn test(text: &str, now: Timestamp) -> Option<DateTest> {
    let known = [
        ("eq", Prefix::Eq),
        ("ne", Prefix::Ne),
        ("gt", Prefix::Gt),
        ("lt", Prefix::Lt),
        ("ge", Prefix::Ge),
        ("le", Prefix::Le),
        ("sa", Prefix::Sa),
        ("eb", Prefix::Eb),
        ("ap", Prefix::Ap),
    ];
    let prefixed = known.iter().find_map(|(name, prefix)| text.strip_prefix(name).map(|rest| (*prefix, rest)));
    let (prefix, rest) = prefixed.unwrap_or((Prefix::Eq, text));
    let span = span(rest)?;
    let span = if prefix == Prefix::Ap { widened(span, now) } else { span };
    Some(DateTest { prefix, span })
}

fn widened(span: Span, now: Timestamp) -> Span {
    let distance = span.from.since(now).max(now.since(span.from));
    let slack = Duration::from_millis(u64::try_from(distance.as_millis() / 10).unwrap_or(u64::MAX));
    Span { from: span.from.minus(slack), until: span.until.plus(slack) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    #[test]
    fn a_date_is_as_long_as_its_precision() {
        for (text, from, until) in [
            ("2024", "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
            ("2024-02", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
            ("2024-02-29", "2024-02-29T00:00:00Z", "2024-03-01T00:00:00Z"),
            ("2024-02-29T10:30", "2024-02-29T10:30:00Z", "2024-02-29T10:31:00Z"),
            ("2024-02-29T10:30:05+02:00", "2024-02-29T08:30:05Z", "2024-02-29T08:30:06Z"),
            ("2024-02-29T10:30:05 02:00", "2024-02-29T08:30:05Z", "2024-02-29T08:30:06Z"),
            ("2024-02-29T10:30:05.5Z", "2024-02-29T10:30:05.500Z", "2024-02-29T10:30:05.600Z"),
            ("2024-02-29T10:30:05.123456-05:30", "2024-02-29T16:00:05.123Z", "2024-02-29T16:00:05.124Z"),
        ] {
            assert_eq!(span(text), Some(Span { from: at(from), until: at(until) }), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_none() {
        for wrong in [
            "",
            "24",
            "0000",
            "2024-13",
            "2023-02-29",
            "2024-1-1",
            "2024-01-01T10",
            "2024-01-01T24:00",
            "2024-01-01T10:61",
            "2024T10:00",
            "2024-01-01T10:00:00+15:00",
            "2024-01-01T10:00:00z",
            "2024-01-01T10:00.5Z",
            "20240101",
            "２０２４",
            "2024-01-01T10:00:00.Z",
            "2024-01-01T10:00:00Z ",
            "+2024",
        ] {
            assert_eq!(span(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn ap_reaches_a_tenth_of_the_distance_to_now() {
        let now = at("2024-01-11T00:00:00Z");
        let test = test("ap2024-01-01", now).unwrap();
        let day = Duration::from_secs(86_400);
        assert_eq!(
            test.span,
            Span { from: at("2024-01-01T00:00:00Z").minus(day), until: at("2024-01-02T00:00:00Z").plus(day) }
        );
        assert_eq!(super::test("xx2024", now), None);
        assert_eq!(super::test("ge2024", now).unwrap().prefix, Prefix::Ge);
    }

    proptest! {
        #[test]
        fn every_instant_lies_in_its_own_span(millis in 0i64..4_000_000_000_000) {
            let moment = Timestamp::from_millis(millis);
            let read = span(&moment.to_string()).unwrap();
            prop_assert_eq!((read.from, read.until), (moment, Timestamp::from_millis(millis + 1)));
        }

        #[test]
        fn no_text_breaks_the_reader(text in ".{0,40}") {
            if let Some(read) = span(&text) {
                prop_assert!(read.from < read.until);
            }
        }
    }
}
