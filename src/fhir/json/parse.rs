//! The strict reader: one pass over the bytes, recursion bounded by [`MAX_DEPTH`].

use super::value::{Number, Object, Value};
use std::borrow::Cow;
use std::collections::HashSet;

/// Objects and arrays that may stand inside each other. FHIR sets no limit, a server must; 24 nested extensions need 50.
pub const MAX_DEPTH: usize = 100;

/// Up to this many members, names are compared with each other; beyond it a set is cheaper.
const FEW_MEMBERS: usize = 16;

/// Why a text is not taken. Line and column are 1-based, the column counts characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub kind: FaultKind,
    /// 1-based.
    pub line: usize,
    /// 1-based, in characters (in bytes where the line is not UTF-8).
    pub column: usize,
}

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    /// No JSON; the words finish the sentence "The body is not JSON: …".
    Syntax(&'static str),
    /// More than [`MAX_DEPTH`] levels.
    TooDeep,
    /// A name twice in one object.
    Repeated {
        /// The name, unescaped.
        name: String,
        /// Where it stands: dotted names with `[n]`, without the root (`content[0].attachment.url`).
        path: String,
        /// `resourceType` of the root, when that is a string.
        root: Option<String>,
    },
}

/// Reads one JSON text. A name that is repeated is told only when the rest of the text is well formed.
pub fn parse(bytes: &[u8]) -> Result<Value<'_>, Fault> {
    if bytes.starts_with(b"\xEF\xBB\xBF") || bytes.starts_with(b"\xFF\xFE") || bytes.starts_with(b"\xFE\xFF") {
        return Err(fault(bytes, 0, FaultKind::Syntax("a byte order mark stands")));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| fault(bytes, error.valid_up_to(), FaultKind::Syntax("bytes that are not UTF-8 stand")))?;
    let mut reader = Reader { text, bytes, at: 0, path: Vec::new(), repeated: None };
    let whole = reader.document();
    let value = whole.map_err(|kind| fault(bytes, reader.at, kind))?;
    match reader.repeated {
        None => Ok(value),
        Some((at, name, path)) => {
            let root = value.as_object().and_then(|object| object.text("resourceType")).map(str::to_owned);
            Err(fault(bytes, at, FaultKind::Repeated { name, path, root }))
        }
    }
}

fn fault(bytes: &[u8], at: usize, kind: FaultKind) -> Fault {
    let before = bytes.get(..at).unwrap_or(bytes);
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let last = before.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
    let column = std::str::from_utf8(last).map_or(last.len(), |text| text.chars().count()) + 1;
    Fault { kind, line, column }
}

/// A place inside the text, kept for the path of a repeated name.
enum Step {
    Name(usize, usize),
    Item(usize),
}

struct Reader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// Where the value being read stands; its length is the depth.
    path: Vec<Step>,
    /// The first repeated name: offset, name, path.
    repeated: Option<(usize, String, String)>,
}

type Read<T> = Result<T, FaultKind>;

impl<'a> Reader<'a> {
    fn document(&mut self) -> Read<Value<'a>> {
        self.skip_space();
        if self.peek().is_none() {
            return Err(FaultKind::Syntax("it has no value, it is empty"));
        }
        let value = self.value()?;
        self.skip_space();
        match self.peek() {
            None => Ok(value),
            Some(_) => Err(FaultKind::Syntax("text follows the value")),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Read<Value<'a>> {
        match self.peek() {
            Some(b'"') => self.string().map(Value::String),
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            None => Err(FaultKind::Syntax("it ends too early")),
            Some(_) => Err(FaultKind::Syntax("a value should stand")),
        }
    }

    fn word(&mut self, word: &str, value: Value<'a>) -> Read<Value<'a>> {
        let end = self.at + word.len();
        if self.bytes.get(self.at..end) != Some(word.as_bytes()) {
            return Err(FaultKind::Syntax("a value should stand"));
        }
        self.at = end;
        Ok(value)
    }

    /// An object or array; the opening bracket is next.
    fn nested(&mut self, read: fn(&mut Self) -> Read<Value<'a>>) -> Read<Value<'a>> {
        if self.path.len() >= MAX_DEPTH {
            return Err(FaultKind::TooDeep);
        }
        self.at += 1;
        self.path.push(Step::Item(0));
        let value = read(self)?;
        self.path.pop();
        Ok(value)
    }

    fn array(&mut self) -> Read<Value<'a>> {
        let mut items = Vec::new();
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(items));
        }
        loop {
            self.step(Step::Item(items.len()));
            self.skip_space();
            items.push(self.value()?);
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                None => return Err(FaultKind::Syntax("it ends too early")),
                Some(_) => return Err(FaultKind::Syntax("a comma or the end of the array should stand")),
            }
        }
        self.at += 1;
        Ok(Value::Array(items))
    }

    fn object(&mut self) -> Read<Value<'a>> {
        let mut names = Names::default();
        let mut members = Vec::new();
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(Object::new()));
        }
        loop {
            self.skip_space();
            members.push(self.member(&mut names, &members)?);
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                None => return Err(FaultKind::Syntax("it ends too early")),
                Some(_) => return Err(FaultKind::Syntax("a comma or the end of the object should stand")),
            }
        }
        self.at += 1;
        Ok(Value::Object(Object::checked(members)))
    }

    fn member(&mut self, names: &mut Names, before: &[Member<'a>]) -> Read<Member<'a>> {
        let start = self.at;
        match self.peek() {
            Some(b'"') => {}
            None => return Err(FaultKind::Syntax("it ends too early")),
            Some(_) => return Err(FaultKind::Syntax("a name in double quotes should stand")),
        }
        let name = self.string()?;
        self.step(Step::Name(start, self.at));
        if names.repeats(&name, before) && self.repeated.is_none() {
            self.repeated = Some((start, name.clone().into_owned(), self.path_text()));
        }
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err(FaultKind::Syntax("a colon should stand"));
        }
        self.at += 1;
        self.skip_space();
        let value = self.value()?;
        Ok((name, value))
    }

    fn step(&mut self, step: Step) {
        if let Some(last) = self.path.last_mut() {
            *last = step;
        }
    }

    fn path_text(&self) -> String {
        let mut out = String::new();
        for step in &self.path {
            match step {
                Step::Item(at) => out.push_str(&format!("[{at}]")),
                Step::Name(from, to) => {
                    let mut name =
                        Reader { text: self.text, bytes: self.bytes, at: *from, path: Vec::new(), repeated: None };
                    let written =
                        name.string().unwrap_or_else(|_| Cow::Borrowed(self.text.get(*from..*to).unwrap_or_default()));
                    if !out.is_empty() {
                        out.push('.');
                    }
                    out.push_str(&written);
                }
            }
        }
        out
    }

    /// A number (RFC 8259 §6); `-` or a digit is next.
    fn number(&mut self) -> Read<Value<'a>> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        match self.peek() {
            Some(b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'.') => Err(FaultKind::Syntax("a number is badly written")),
            _ => Ok(Value::Number(Number::checked(text))),
        }
    }

    fn digits(&mut self) -> Read<()> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(FaultKind::Syntax("a number is badly written")) } else { Ok(()) }
    }

    /// A string; its opening quote is next.
    fn string(&mut self) -> Read<Cow<'a, str>> {
        self.at += 1;
        let start = self.at;
        let plain = self.plain()?;
        if self.peek() == Some(b'"') {
            self.at += 1;
            return Ok(Cow::Borrowed(plain));
        }
        let mut out = String::with_capacity(self.at - start + 16);
        out.push_str(plain);
        loop {
            if self.peek() == Some(b'"') {
                self.at += 1;
                return Ok(Cow::Owned(out));
            }
            out.push(self.escape()?);
            out.push_str(self.plain()?);
        }
    }

    /// Characters up to a quote or backslash.
    fn plain(&mut self) -> Read<&'a str> {
        let start = self.at;
        let rest = self.bytes.get(start..).unwrap_or_default();
        let length = rest.iter().position(|byte| *byte < 0x20 || *byte == b'"' || *byte == b'\\');
        self.at = start + length.unwrap_or(rest.len());
        match self.peek() {
            Some(b'"' | b'\\') => Ok(self.text.get(start..self.at).unwrap_or_default()),
            None => Err(FaultKind::Syntax("a string does not end")),
            Some(_) => Err(FaultKind::Syntax("a control character stands in a string")),
        }
    }

    /// An escape; the backslash is next.
    fn escape(&mut self) -> Read<char> {
        let kind = self.bytes.get(self.at + 1).copied();
        let plain = match kind {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(FaultKind::Syntax("an unknown escape stands in a string")),
        };
        self.at += 2;
        Ok(plain)
    }

    fn unicode(&mut self) -> Read<char> {
        const LONE: FaultKind = FaultKind::Syntax("half of a surrogate pair stands in a string");
        let high = self.code_unit()?;
        let code = match high {
            0xD800..=0xDBFF if self.bytes.get(self.at..self.at + 2) == Some(b"\\u") => {
                let start = self.at;
                let low = self.code_unit()?;
                if !(0xDC00..=0xDFFF).contains(&low) {
                    self.at = start;
                    return Err(LONE);
                }
                0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)
            }
            _ => high,
        };
        char::from_u32(code).ok_or(LONE)
    }

    /// `\uXXXX`; the backslash is next.
    fn code_unit(&mut self) -> Read<u32> {
        let digits = self.bytes.get(self.at + 2..self.at + 6).unwrap_or_default();
        if digits.len() != 4 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(FaultKind::Syntax("an unknown escape stands in a string"));
        }
        self.at += 6;
        let text = std::str::from_utf8(digits).unwrap_or_default();
        u32::from_str_radix(text, 16).map_err(|_| FaultKind::Syntax("an unknown escape stands in a string"))
    }
}

type Member<'a> = (Cow<'a, str>, Value<'a>);

/// Names of one object seen so far.
#[derive(Default)]
struct Names {
    many: Option<HashSet<String>>,
}

impl Names {
    /// Does `name` stand among `before`?
    fn repeats(&mut self, name: &str, before: &[Member<'_>]) -> bool {
        if before.len() < FEW_MEMBERS {
            return before.iter().any(|(key, _)| key == name);
        }
        let many = self.many.get_or_insert_with(|| before.iter().map(|(key, _)| key.to_string()).collect());
        !many.insert(name.to_owned())
    }
}
