//! Primitive values: JSON type and lexical form (R4 datatypes.html#primitive). Where R4's regular expressions let nonsense
//! pass (30 February, `=` inside base64, an empty uri, 33-bit integers) the text of the specification decides.

use super::narrative;
use super::report::Report;
use super::time::{Moment, is_instant, is_time};
use crate::domain::refusal::Code;
use crate::fhir::json::Value;
use crate::fhir::tables::Primitive;

/// Characters of a string (R4 datatypes.html#string: 1 MB).
pub(super) const MAX_STRING: usize = 1024 * 1024;

/// Checks a value; false when it is not sound and nothing more can be said of it.
pub(super) fn check(kind: Primitive, value: &Value<'_>, report: &mut Report<'_>) -> bool {
    let sound = match (kind, value) {
        (Primitive::Boolean, Value::Bool(_)) => return true,
        (Primitive::Decimal, Value::Number(_)) => return true,
        (Primitive::Integer, Value::Number(number)) => is_integer(number.text(), i32::MIN.into()),
        (Primitive::UnsignedInt, Value::Number(number)) => is_integer(number.text(), 0),
        (Primitive::PositiveInt, Value::Number(number)) => is_integer(number.text(), 1),
        (Primitive::Xhtml, Value::String(text)) => return narrative::check(text, report),
        (_, Value::String(text)) if json_type(kind) == JSON_STRING => {
            if kind != Primitive::Base64Binary && text.len() > MAX_STRING && text.chars().count() > MAX_STRING {
                report.add(Code::ValueTooLong, |issue| issue.fill("limit", "1048576 characters"));
                return false;
            }
            is_lexical(kind, text)
        }
        _ => {
            report.wrong_shape(json_type(kind));
            return false;
        }
    };
    if !sound {
        report.malformed(kind.as_str(), kind.example());
    }
    sound
}

const JSON_STRING: &str = "a JSON string";

fn json_type(kind: Primitive) -> &'static str {
    match kind {
        Primitive::Boolean => "`true` or `false`",
        Primitive::Decimal | Primitive::Integer | Primitive::UnsignedInt | Primitive::PositiveInt => "a JSON number",
        _ => JSON_STRING,
    }
}

fn is_lexical(kind: Primitive, text: &str) -> bool {
    match kind {
        Primitive::String | Primitive::Markdown => is_string(text),
        Primitive::Code => is_code(text),
        Primitive::Id => is_id(text),
        Primitive::Uri | Primitive::Url | Primitive::Canonical => is_uri(text),
        Primitive::Oid => is_oid(text),
        Primitive::Uuid => is_uuid(text),
        Primitive::Date => Moment::parse(text).is_some_and(|moment| moment.time.is_none()),
        Primitive::DateTime => Moment::parse(text).is_some(),
        Primitive::Instant => is_instant(text),
        Primitive::Time => is_time(text),
        Primitive::Base64Binary => base64_length(text).is_some(),
        _ => false,
    }
}

/// `[A-Za-z0-9\-\.]{1,64}`
pub fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

/// An integer as R4 writes it (no `-0`, no fraction, no exponent), at least `least`, at most 2147483647.
fn is_integer(text: &str, least: i64) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') && text != "-0";
    plain && text.parse().is_ok_and(|number: i64| (least..=i64::from(i32::MAX)).contains(&number))
}

/// Not only white space, no control characters but tab, line feed and carriage return.
fn is_string(text: &str) -> bool {
    let control = |byte: u8| byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r');
    !text.bytes().any(control) && text.chars().any(|c| !c.is_whitespace())
}

/// Words with single spaces between them.
fn is_code(text: &str) -> bool {
    let spaced = text.starts_with(' ') || text.ends_with(' ') || text.contains("  ");
    !text.is_empty() && !spaced && text.chars().all(|c| c == ' ' || (!c.is_whitespace() && !c.is_control()))
}

fn is_uri(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| !c.is_whitespace() && !c.is_control())
}

fn is_oid(text: &str) -> bool {
    let Some((root, rest)) = text.strip_prefix("urn:oid:").and_then(|oid| oid.split_once('.')) else { return false };
    let arc = |arc: &str| {
        arc == "0" || (!arc.is_empty() && !arc.starts_with('0') && arc.bytes().all(|byte| byte.is_ascii_digit()))
    };
    matches!(root, "0" | "1" | "2") && rest.split('.').all(arc)
}

fn is_uuid(text: &str) -> bool {
    let Some(uuid) = text.strip_prefix("urn:uuid:") else { return false };
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let fits = |(at, byte): (usize, u8)| if matches!(at, 8 | 13 | 18 | 23) { byte == b'-' } else { hex(byte) };
    uuid.len() == 36 && uuid.bytes().enumerate().all(fits)
}

/// Bytes that base64 text stands for; `None` when it is not base64 (RFC 4648 §4, padded, unused bits zero). White space
/// between groups is taken, as R4's regular expression does.
pub(super) fn base64_length(text: &str) -> Option<usize> {
    let (mut symbols, mut padding, mut last) = (0usize, 0usize, 0u8);
    for byte in text.bytes() {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => continue,
            b'=' => padding += 1,
            _ => {
                last = sextet(byte).filter(|_| padding == 0)?;
                symbols += 1;
            }
        }
    }
    let unused = match padding {
        0 => 0,
        1 => last & 0b11,
        2 => last & 0b1111,
        _ => return None,
    };
    let whole = (symbols + padding).is_multiple_of(4) && symbols > 0;
    (whole && unused == 0).then(|| symbols * 3 / 4)
}

fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}
