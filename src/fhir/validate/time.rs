//! Dates and times of R4: real calendar days, years 0001 to 9999, zones up to 14 hours (datatypes.html#primitive).

/// A date, dateTime or instant, with what it leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// 1 to 9999.
    pub year: u16,
    /// 1 to 12.
    pub month: Option<u8>,
    /// A day that the month has.
    pub day: Option<u8>,
    /// Time of day with its zone.
    pub time: Option<TimeOfDay>,
}

/// Time of day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeOfDay {
    /// Since midnight; 86400 only for a leap second.
    pub second: u32,
    /// Nanoseconds; further digits are dropped.
    pub nanos: u32,
    /// Digits after the point, as written.
    pub digits: usize,
    /// Minutes east of UTC.
    pub offset: i32,
}

/// Half a day and two hours: how far a date without zone may lie from UTC.
const WIDEST_OFFSET: i128 = 14 * 3600;
const NANOS: i128 = 1_000_000_000;

impl Moment {
    /// Reads `YYYY`, `YYYY-MM`, `YYYY-MM-DD` or `YYYY-MM-DDThh:mm:ss[.f]zone`.
    pub fn parse(text: &str) -> Option<Self> {
        let (date, time) = text.split_once('T').map_or((text, None), |(date, time)| (date, Some(time)));
        let mut parts = date.split('-');
        let year = number(parts.next()?, 4).filter(|year| *year > 0)?;
        let (month, day) = (parts.next(), parts.next());
        if parts.next().is_some() {
            return None;
        }
        let month =
            month.map_or(Some(None), |text| number(text, 2).filter(|month| (1..=12).contains(month)).map(Some))?;
        let day = match (month, day) {
            (Some(month), Some(text)) => Some(number(text, 2).filter(|day| (1..=days_in(year, month)).contains(day))?),
            _ => None,
        };
        let time = match (day, time) {
            (_, None) => None,
            (None, Some(_)) => return None,
            (Some(_), Some(text)) => Some(with_zone(text)?),
        };
        let small = |value: u32| u8::try_from(value).ok();
        Some(Self { year: u16::try_from(year).ok()?, month: month.and_then(small), day: day.and_then(small), time })
    }

    /// Is it surely before `other`? Not when their precision leaves it open.
    pub fn is_surely_before(&self, other: &Self) -> bool {
        let floating = self.time.is_some() != other.time.is_some();
        self.bounds(floating).1 <= other.bounds(floating).0 && self != other
    }

    /// First and one past the last nanosecond since 1970 in UTC; `floating`: a date without zone may be anywhere on earth.
    fn bounds(&self, floating: bool) -> (i128, i128) {
        let year = i64::from(self.year);
        let (month, day) = (self.month.map_or(1, i64::from), self.day.map_or(1, i64::from));
        let start = i128::from(days_since_1970(year, month, day)) * 86400;
        if let Some(time) = self.time {
            let at = (start + i128::from(time.second) - i128::from(time.offset) * 60) * NANOS + i128::from(time.nanos);
            let width = 10_i128.pow(9 - u32::try_from(time.digits.min(9)).unwrap_or(9));
            return (at, at + width);
        }
        let (next_year, next_month, next_day) = match (self.month, self.day) {
            (None, _) => (year + 1, 1, 1),
            (Some(12), None) => (year + 1, 1, 1),
            (Some(_), None) => (year, month + 1, 1),
            (Some(_), Some(_)) => (year, month, day + 1),
        };
        let end = i128::from(days_since_1970(next_year, next_month, 1)) + i128::from(next_day - 1);
        let slack = if floating { WIDEST_OFFSET } else { 0 };
        ((start - slack) * NANOS, (end * 86400 + slack) * NANOS)
    }
}

/// An instant: a day, a time to the second at least, and a zone.
pub fn is_instant(text: &str) -> bool {
    Moment::parse(text).is_some_and(|moment| moment.time.is_some())
}

/// `hh:mm:ss[.f]`
pub(super) fn is_time(text: &str) -> bool {
    time_of_day(text).is_some()
}

fn with_zone(text: &str) -> Option<TimeOfDay> {
    if let Some(time) = text.strip_suffix('Z') {
        return time_of_day(time);
    }
    let at = text.rfind(['+', '-'])?;
    let (time, zone) = text.split_at_checked(at)?;
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let offset = number(hours, 2)? * 60 + number(minutes, 2).filter(|minutes| *minutes < 60)?;
    let offset = i32::try_from(offset).ok().filter(|offset| *offset <= 14 * 60)?;
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    Some(TimeOfDay { offset: sign * offset, ..time_of_day(time)? })
}

fn time_of_day(text: &str) -> Option<TimeOfDay> {
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    let mut parts = whole.split(':');
    let (hour, minute, second) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    // A leap second is written :60 (R4 datatypes.html#instant).
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let digits = match fraction {
        None => "",
        Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => digits,
        Some(_) => return None,
    };
    let nanos =
        digits.bytes().chain(std::iter::repeat(b'0')).take(9).fold(0, |sum, byte| sum * 10 + u32::from(byte - b'0'));
    Some(TimeOfDay { second: hour * 3600 + minute * 60 + second, nanos, digits: digits.len(), offset: 0 })
}

/// Exactly `width` ASCII digits.
fn number(text: &str, width: usize) -> Option<u32> {
    let plain = text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

fn days_in(year: u32, month: u32) -> u32 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the Gregorian calendar (Hinnant, days_from_civil).
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}
