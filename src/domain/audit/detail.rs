//! What a cell holds: canonical JSON (RFC 8785, JCS) of texts, whole numbers, flags, lists and objects. Null and fractions
//! cannot be written, so one value has one spelling and hashing it is sound.

use std::borrow::Cow;
use std::cmp::Ordering;

/// Deepest nesting that is read: a cell is an object of lists of lists.
const MAX_DEPTH: u8 = 8;

/// Largest whole number that every JSON reader takes exactly (RFC 7493 §2.2).
const MAX_WHOLE: i64 = (1 << 53) - 1;

/// A whole number between −(2⁵³−1) and 2⁵³−1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Whole(i64);

impl Whole {
    /// `None` outside the range that JSON numbers hold exactly.
    pub fn new(value: i64) -> Option<Self> {
        (-MAX_WHOLE..=MAX_WHOLE).contains(&value).then_some(Self(value))
    }

    /// A count or a size in bytes; 2⁵³−1 stands for anything larger.
    pub fn count(value: u64) -> Self {
        Self(i64::try_from(value).unwrap_or(MAX_WHOLE).min(MAX_WHOLE))
    }

    /// The number.
    pub fn get(self) -> i64 {
        self.0
    }
}

/// One value of a cell.
#[derive(Clone, PartialEq, Eq)]
pub enum Detail {
    /// A text.
    Text(String),
    /// A whole number.
    Whole(Whole),
    /// Yes or no.
    Flag(bool),
    /// Values in order.
    List(Vec<Self>),
    /// Named values.
    Object(Object),
}

impl From<String> for Detail {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Detail {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<bool> for Detail {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<u64> for Detail {
    /// As [`Whole::count`].
    fn from(count: u64) -> Self {
        Self::Whole(Whole::count(count))
    }
}

impl From<u32> for Detail {
    fn from(count: u32) -> Self {
        Self::Whole(Whole(i64::from(count)))
    }
}

impl From<Vec<Self>> for Detail {
    fn from(list: Vec<Self>) -> Self {
        Self::List(list)
    }
}

impl From<Object> for Detail {
    fn from(object: Object) -> Self {
        Self::Object(object)
    }
}

impl std::fmt::Debug for Detail {
    /// Cells are about people: their kind is shown, never their value.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "<text>",
            Self::Whole(_) => "<number>",
            Self::Flag(_) => "<flag>",
            Self::List(_) => "<list>",
            Self::Object(_) => "<object>",
        })
    }
}

impl Detail {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Text(text) => write_text(text, out),
            Self::Whole(number) => out.extend_from_slice(number.0.to_string().as_bytes()),
            Self::Flag(true) => out.extend_from_slice(b"true"),
            Self::Flag(false) => out.extend_from_slice(b"false"),
            Self::List(items) => {
                out.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    item.write(out);
                }
                out.push(b']');
            }
            Self::Object(object) => object.write(out),
        }
    }
}

/// Named values in the order of their names' UTF-16 code units (RFC 8785 §3.2.3); a name stands once.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Object {
    members: Vec<(Cow<'static, str>, Detail)>,
}

impl std::fmt::Debug for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.members.iter().map(|(name, value)| (name, value))).finish()
    }
}

impl Object {
    /// Sets `name`, replacing what it was.
    pub fn set(&mut self, name: &'static str, value: impl Into<Detail>) {
        self.put(Cow::Borrowed(name), value.into());
    }

    /// What `name` is.
    pub fn get(&self, name: &str) -> Option<&Detail> {
        let at = self.members.binary_search_by(|(other, _)| utf16_order(other, name)).ok()?;
        self.members.get(at).map(|(_, value)| value)
    }

    /// Names and values in canonical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Detail)> {
        self.members.iter().map(|(name, value)| (name.as_ref(), value))
    }

    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The one spelling.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + 48 * self.members.len());
        self.write(&mut out);
        out
    }

    /// Reads the one spelling; any other spelling of the same value, a number that is not whole, `null`, a name that stands
    /// twice, or nesting deeper than 8 is `None`.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut reader = Reader { rest: text };
        let Detail::Object(object) = reader.value(MAX_DEPTH)? else { return None };
        (reader.rest.is_empty() && object.to_canonical() == bytes).then_some(object)
    }

    /// Answers whether the name was new.
    fn put(&mut self, name: Cow<'static, str>, value: Detail) -> bool {
        match self.members.binary_search_by(|(other, _)| utf16_order(other, &name)) {
            Ok(at) => {
                if let Some(member) = self.members.get_mut(at) {
                    member.1 = value;
                }
                false
            }
            Err(at) => {
                self.members.insert(at, (name, value));
                true
            }
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (at, (name, value)) in self.members.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write_text(name, out);
            out.push(b':');
            value.write(out);
        }
        out.push(b'}');
    }
}

fn utf16_order(left: &str, right: &str) -> Ordering {
    left.encode_utf16().cmp(right.encode_utf16())
}

/// RFC 8785 §3.2.2.2: short escapes where JSON has them, `\u00xx` for the other controls, all else as it is.
fn write_text(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// Reads enough of JSON to see every canonical text; that nothing else passes is checked by writing what was read.
struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn take(&mut self, token: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(token)?;
        Some(())
    }

    fn value(&mut self, depth: u8) -> Option<Detail> {
        let depth = depth.checked_sub(1)?;
        match self.rest.as_bytes().first()? {
            b'{' => self.object(depth).map(Detail::Object),
            b'[' => self.list(depth).map(Detail::List),
            b'"' => self.text().map(Detail::Text),
            b't' => self.take("true").map(|()| Detail::Flag(true)),
            b'f' => self.take("false").map(|()| Detail::Flag(false)),
            _ => self.whole().map(Detail::Whole),
        }
    }

    fn object(&mut self, depth: u8) -> Option<Object> {
        self.take("{")?;
        let mut object = Object::default();
        if self.take("}").is_some() {
            return Some(object);
        }
        loop {
            let name = self.text()?;
            self.take(":")?;
            let value = self.value(depth)?;
            if !object.put(Cow::Owned(name), value) {
                return None;
            }
            if self.take("}").is_some() {
                return Some(object);
            }
            self.take(",")?;
        }
    }

    fn list(&mut self, depth: u8) -> Option<Vec<Detail>> {
        self.take("[")?;
        let mut items = Vec::new();
        if self.take("]").is_some() {
            return Some(items);
        }
        loop {
            items.push(self.value(depth)?);
            if self.take("]").is_some() {
                return Some(items);
            }
            self.take(",")?;
        }
    }

    fn text(&mut self) -> Option<String> {
        self.take("\"")?;
        let mut text = String::new();
        loop {
            let stop = self.rest.find(['"', '\\'])?;
            let (plain, rest) = self.rest.split_at_checked(stop)?;
            text.push_str(plain);
            self.rest = rest;
            if self.take("\"").is_some() {
                return Some(text);
            }
            self.take("\\")?;
            text.push(self.escape()?);
        }
    }

    fn escape(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let escaped = match chars.next()? {
            c @ ('"' | '\\') => c,
            'b' => '\u{8}',
            't' => '\t',
            'n' => '\n',
            'f' => '\u{c}',
            'r' => '\r',
            'u' => {
                let (digits, rest) = chars.as_str().split_at_checked(4)?;
                chars = rest.chars();
                char::from_u32(u32::from_str_radix(digits, 16).ok()?)?
            }
            _ => return None,
        };
        self.rest = chars.as_str();
        Some(escaped)
    }

    fn whole(&mut self) -> Option<Whole> {
        let end = self.rest.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest;
        Whole::new(digits.parse().ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn object(members: Vec<(&'static str, Detail)>) -> Object {
        let mut object = Object::default();
        members.into_iter().for_each(|(name, value)| object.set(name, value));
        object
    }

    #[test]
    fn names_stand_in_the_order_of_rfc_8785_section_3_2_3() {
        let written = object(vec![
            ("\u{20ac}", "Euro Sign".into()),
            ("\r", "Carriage Return".into()),
            ("\u{fb33}", "Hebrew Letter Dalet With Dagesh".into()),
            ("1", "One".into()),
            ("\u{1f600}", "Emoji: Grinning Face".into()),
            ("\u{80}", "Control".into()),
            ("\u{f6}", "Latin Small Letter O With Diaeresis".into()),
        ]);
        let values: Vec<_> = written.iter().map(|(_, value)| value.clone()).collect();
        let expected = [
            "Carriage Return",
            "One",
            "Control",
            "Latin Small Letter O With Diaeresis",
            "Euro Sign",
            "Emoji: Grinning Face",
            "Hebrew Letter Dalet With Dagesh",
        ];
        assert_eq!(values, expected.map(Detail::from));
    }

    #[test]
    fn texts_are_escaped_as_rfc_8785_section_3_2_2_2() {
        // The string of RFC 8785 §3.2.2, and its canonical spelling there.
        let written = object(vec![("string", "\u{20ac}$\u{f}\nA'B\"\\\\\"/".into())]);
        let expected = "{\"string\":\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}";
        assert_eq!(String::from_utf8(written.to_canonical()).unwrap(), expected);
        assert_eq!(Object::parse(expected.as_bytes()), Some(written));
    }

    #[test]
    fn other_spellings_are_not_read() {
        for wrong in [
            "{\"a\":1.0}",
            "{\"a\":1e3}",
            "{\"a\":-0}",
            "{\"a\":01}",
            "{\"a\":null}",
            "{ \"a\":1}",
            "{\"a\":1} ",
            "{\"b\":1,\"a\":2}",
            "{\"a\":1,\"a\":1}",
            "{\"a\":\"\\/\"}",
            "{\"a\":\"\\u000F\"}",
            "{\"a\":\"\\u0041\"}",
            "{\"a\":9007199254740992}",
            "[]",
            "",
        ] {
            assert_eq!(Object::parse(wrong.as_bytes()), None, "{wrong}");
        }
        assert!(Object::parse(b"{\"a\":-9007199254740991}").is_some());
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(Object::parse(deep.as_bytes()), None, "depth is bounded");
    }

    #[test]
    fn debug_shows_no_value() {
        assert_eq!(format!("{:?}", object(vec![("patient", "Patient/42".into())])), "{\"patient\": <text>}");
    }

    fn any_detail() -> impl Strategy<Value = Detail> {
        let leaf = prop_oneof![
            any::<String>().prop_map(Detail::Text),
            any::<u64>().prop_map(Detail::from),
            any::<bool>().prop_map(Detail::Flag),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Detail::List),
                proptest::collection::vec((any::<String>(), inner), 0..6).prop_map(|members| {
                    let mut object = Object::default();
                    for (name, value) in members {
                        let _ = object.put(Cow::Owned(name), value);
                    }
                    Detail::Object(object)
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_is_json(value in any_detail()) {
            let object = object(vec![("value", value)]);
            let bytes = object.to_canonical();
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
            prop_assert_eq!(Object::parse(&bytes), Some(object));
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(object) = Object::parse(&bytes) {
                prop_assert_eq!(object.to_canonical(), bytes);
            }
        }
    }
}
