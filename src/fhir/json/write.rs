//! Writes values as compact JSON. Numbers go out with the text they came in with. `out.len()` before and after a call gives
//! the byte range of what was written.

use super::value::{Object, Value};

/// Appends a value, compact.
pub fn write_value(value: &Value<'_>, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => out.push_str(number.text()),
        Value::String(text) => write_text(text, out),
        Value::Array(items) => write_array(items, out),
        Value::Object(object) => write_object(object, out),
    }
}

fn write_array(items: &[Value<'_>], out: &mut String) {
    out.push('[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_value(item, out);
    }
    out.push(']');
}

fn write_object(object: &Object<'_>, out: &mut String) {
    let mut writer = ObjectWriter::new(out);
    for (name, value) in object.iter() {
        writer.member(name, value);
    }
    writer.end();
}

/// Appends a JSON string with its quotes. Escaped are the characters that must be (RFC 8259 §7), nothing else.
pub fn write_text(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        // The byte is ASCII, so both sides are whole characters.
        let (plain, from) = rest.split_at(at);
        out.push_str(plain);
        let mut chars = from.chars();
        if let Some(special) = chars.next() {
            write_escape(special, out);
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

fn write_escape(special: char, out: &mut String) {
    match special {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        other => {
            const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
            let code = other as usize;
            out.push_str("\\u00");
            out.extend(DIGITS.get(code >> 4));
            out.extend(DIGITS.get(code & 15));
        }
    }
}

/// Writes one object member by member, for code that replaces some members of a resource and keeps the others.
#[derive(Debug)]
pub struct ObjectWriter<'o> {
    out: &'o mut String,
    first: bool,
}

impl<'o> ObjectWriter<'o> {
    /// Opens an object at the end of `out`.
    pub fn new(out: &'o mut String) -> Self {
        out.push('{');
        Self { out, first: true }
    }

    /// Appends a member.
    pub fn member(&mut self, name: &str, value: &Value<'_>) {
        write_value(value, self.name(name));
    }

    /// Appends a member whose value is a string.
    pub fn text(&mut self, name: &str, text: &str) {
        write_text(text, self.name(name));
    }

    /// Appends a name; the caller appends exactly one value to the text returned.
    pub fn name(&mut self, name: &str) -> &mut String {
        if !self.first {
            self.out.push(',');
        }
        self.first = false;
        write_text(name, self.out);
        self.out.push(':');
        self.out
    }

    /// Closes the object.
    pub fn end(self) {
        self.out.push('}');
    }
}

impl Value<'_> {
    /// The value as compact JSON.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        write_value(self, &mut out);
        out
    }
}

impl Object<'_> {
    /// The object as compact JSON.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        write_object(self, &mut out);
        out
    }
}
