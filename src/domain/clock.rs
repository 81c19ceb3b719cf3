//! Time and chance as arguments: nothing in the domain reads the system's clock or random numbers by itself.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};

/// A moment, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This moment and `span` later; stops at the end of time rather than wrapping.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This moment and `span` earlier.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero when it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Reads RFC 3339 with an offset.
    pub fn parse(text: &str) -> Option<Self> {
        DateTime::parse_from_rfc3339(text).ok().map(|moment| Self(moment.timestamp_millis()))
    }

    /// The moment as a calendar date and time in UTC, for pages and HTTP dates.
    pub fn to_utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0).unwrap_or_default()
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds, the form of a FHIR instant.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_utc().to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Where time comes from. Wall and monotonic time move apart when the clock is set, so both are asked for by name.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Wall clock, microseconds since the epoch.
    fn now_micros(&self) -> u64;

    /// Time that only runs forward, from an arbitrary start.
    fn monotonic(&self) -> Duration;

    /// What the machine's wall clock shows, in milliseconds, where [`Clock::now`] is held at the highest time seen.
    fn wall(&self) -> Timestamp {
        self.now()
    }

    /// From now on [`Clock::now`] is never before `time`, where the clock holds a highest time.
    fn raise(&self, _time: Timestamp) {}

    /// The highest time seen becomes what the wall clock shows: an operator has confirmed it.
    fn accept_wall(&self) {}

    /// Wall clock in milliseconds.
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(i64::try_from(self.now_micros() / 1000).unwrap_or(i64::MAX))
    }
}

/// Where random bytes come from. What is filled is fit for keys.
pub trait Entropy: Send + Sync + fmt::Debug {
    /// Fills the whole slice.
    fn fill(&self, bytes: &mut [u8]);
}

/// A span as settings, policies and operations write it: a whole number and one of `s`, `m`, `h`, `d` (`15m`, `72h`, `30d`).
pub fn parse_span(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let number: u64 =
        text.strip_suffix(unit).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?;
    let seconds = match unit {
        's' => number,
        'm' => number.checked_mul(60)?,
        'h' => number.checked_mul(3_600)?,
        'd' => number.checked_mul(86_400)?,
        _ => return None,
    };
    // Ten thousand days: far beyond any policy, and no sum of spans can leave the range of a timestamp.
    (seconds <= 864_000_000).then(|| Duration::from_secs(seconds))
}

/// The shortest exact spelling of a span that [`parse_span`] reads.
pub fn write_span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 => "0s".to_owned(),
        _ if seconds.is_multiple_of(86_400) => format!("{}d", seconds / 86_400),
        _ if seconds.is_multiple_of(3_600) => format!("{}h", seconds / 3_600),
        _ if seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        _ => format!("{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_a_number_and_a_unit() {
        assert_eq!(parse_span("15m"), Some(Duration::from_secs(900)));
        assert_eq!(parse_span("72h"), parse_span("3d"));
        for wrong in ["", "m", "15", "-5m", "1.5h", "15 m", "15min", "+5m", "99999999999d"] {
            assert_eq!(parse_span(wrong), None, "{wrong}");
        }
        assert_eq!(write_span(Duration::from_secs(259_200)), "3d");
    }

    #[test]
    fn a_timestamp_is_written_as_a_fhir_instant() {
        let moment = Timestamp::parse("2026-11-23T14:02:05+01:00").unwrap();
        assert_eq!(moment.to_string(), "2026-11-23T13:02:05.000Z");
        assert_eq!(moment.minus(Duration::from_secs(5)).since(moment), Duration::ZERO);
    }
}
