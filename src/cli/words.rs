//! Numbers, sizes, spans and times as a person reads them on a terminal. Pure; JSON never goes through here.

use std::time::Duration;

use chrono::{Local, SecondsFormat};

use crate::domain::clock::Timestamp;

/// A number with commas between thousands (`1,204,331`).
pub(crate) fn number(value: u64) -> String {
    let digits = value.to_string();
    let first = digits.len() % 3;
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && at % 3 == first % 3 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number with its noun (`1 link`, `318 links`); `noun` takes an `s` in the plural.
pub(crate) fn counted(value: u64, noun: &str) -> String {
    let plural = if value == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", number(value))
}

/// A size in decimal units (`284 KB`, `1.2 GB`).
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "KB")];
    let Some((unit, name)) = UNITS.into_iter().find(|(unit, _)| bytes >= *unit) else {
        return counted(bytes, "byte");
    };
    let tenths = bytes / (unit / 10);
    match (tenths / 10, tenths % 10) {
        (whole, tenth) if whole < 10 && tenth > 0 => format!("{whole}.{tenth} {name}"),
        (whole, _) => format!("{whole} {name}"),
    }
}

/// A span (`41 ms`, `5 min`, `7 days`), in the largest unit that says it without a fraction, or in tenths of seconds.
pub(crate) fn span(span: Duration) -> String {
    let (seconds, millis) = (span.as_secs(), span.subsec_millis());
    match seconds {
        0 => format!("{millis} ms"),
        1..60 if millis >= 100 => format!("{seconds}.{} s", millis / 100),
        1..60 => format!("{seconds} s"),
        _ if seconds.is_multiple_of(86_400) => counted(seconds / 86_400, "day"),
        _ if seconds.is_multiple_of(3_600) => counted(seconds / 3_600, "hour"),
        _ if seconds.is_multiple_of(60) => format!("{} min", number(seconds / 60)),
        _ => format!("{} s", number(seconds)),
    }
}

/// A moment in words of a zone: the terminal's, or UTC with `--utc`. Without a fraction of a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zone {
    /// The terminal's own.
    Local,
    /// UTC.
    Utc,
}

impl Zone {
    /// Date and time (`2026-11-23 14:02:05`; `Z` follows in UTC).
    pub(crate) fn moment(self, at: Timestamp) -> String {
        match self {
            Self::Local => at.to_utc().with_timezone(&Local).format("%Y-%m-%d %H:%M:%S").to_string(),
            Self::Utc => at.to_utc().format("%Y-%m-%d %H:%M:%SZ").to_string(),
        }
    }

    /// Date alone.
    pub(crate) fn date(self, at: Timestamp) -> String {
        self.moment(at).chars().take(10).collect()
    }

    /// Time alone.
    pub(crate) fn time(self, at: Timestamp) -> String {
        self.moment(at).chars().skip(11).collect()
    }
}

/// Microseconds since 1970, as the audit log has them, as a moment.
pub(crate) fn of_micros(micros: u64) -> Timestamp {
    Timestamp::from_millis(i64::try_from(micros / 1_000).unwrap_or(i64::MAX))
}

/// RFC 3339 of microseconds since 1970, to the microsecond, for JSON and exports.
pub(crate) fn rfc3339_micros(micros: u64) -> String {
    let moment = i64::try_from(micros).ok().and_then(chrono::DateTime::from_timestamp_micros);
    moment.map_or_else(String::new, |moment| moment.to_rfc3339_opts(SecondsFormat::Micros, true))
}

/// A text inside single quotes of a shell.
pub(crate) fn shell(text: &str) -> String {
    text.replace('\'', "'\\''")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_commas_between_thousands() {
        for (value, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (12_480, "12,480"),
            (284_112, "284,112"),
            (1_204_331, "1,204,331"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!((counted(1, "link"), counted(318, "link")), ("1 link".to_owned(), "318 links".to_owned()));
    }

    #[test]
    fn sizes_are_decimal_and_spans_have_one_unit() {
        for (bytes, text) in [
            (1, "1 byte"),
            (999, "999 bytes"),
            (284_112, "284 KB"),
            (1_200_000_000, "1.2 GB"),
            (212_000_000_000, "212 GB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        let spans = [(41, "41 ms"), (400, "400 ms"), (2_500, "2.5 s"), (300_000, "5 min"), (259_200_000, "3 days")];
        for (millis, text) in spans {
            assert_eq!(span(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn times_are_whole_seconds_and_say_so_when_they_are_utc() {
        let at = Timestamp::parse("2026-11-23T14:02:05.750+01:00").unwrap();
        assert_eq!(Zone::Utc.moment(at), "2026-11-23 13:02:05Z");
        assert_eq!((Zone::Utc.date(at), Zone::Utc.time(at)), ("2026-11-23".to_owned(), "13:02:05Z".to_owned()));
        assert_eq!(rfc3339_micros(1_700_000_000_000_001), "2023-11-14T22:13:20.000001Z");
    }
}
