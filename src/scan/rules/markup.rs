//! Markup: SVG, HTML and any XML, read as a browser would read it rather than as a validator would: broken markup runs
//! script all the same. What the words mean is in `judge`.
//!
//! A relative `xml-stylesheet` is let through: hospital systems write `<?xml-stylesheet type="text/xsl" href="CDA.xsl"?>`
//! into nearly every CDA document, the file is not delivered with it, and what it names is the reader's own. A
//! style sheet elsewhere, or within the document itself, is refused.

mod judge;

use super::base64_run;
use super::forward::Forward;
use super::inspect::Outcome;
use super::kind::Seen;
use crate::domain::verdict::Finding;

/// Bytes of an attribute value that are looked at; content of any length may follow (data URLs, FHIR base64).
const VALUE: usize = 4096;

/// An attribute: lower-case name without prefix, and the start of its value without white space.
#[derive(Debug, Default)]
struct Attribute {
    name: Vec<u8>,
    value: Vec<u8>,
}

/// Reads markup to its end. `page`: it is declared as HTML, whatever element comes first.
pub(super) fn inspect(forward: &mut Forward<'_>, page: bool) -> Outcome<Seen> {
    let mut reader =
        Reader { seen: page.then_some(Seen::Html), declared: false, runs: 0, field: Vec::new(), in_field: false };
    while let Some(byte) = forward.next_byte()? {
        if byte == b'<' {
            reader.tag(forward)?;
        } else if reader.in_field && reader.field.len() < VALUE {
            reader.field.push(byte);
            judge::field(&reader.field)?;
        }
    }
    Ok(match reader.seen {
        Some(Seen::Xml(_)) => Seen::Xml(reader.declared),
        Some(seen) => seen,
        None => Seen::Text(Some(b'<')),
    })
}

struct Reader {
    /// What the first element makes of it.
    seen: Option<Seen>,
    /// Whether it has an XML declaration.
    declared: bool,
    /// Runs of base64 met.
    runs: u64,
    /// Code of the current Word field, over its runs.
    field: Vec<u8>,
    in_field: bool,
}

impl Reader {
    /// What follows `<`.
    fn tag(&mut self, forward: &mut Forward<'_>) -> Outcome<()> {
        let ahead = forward.peek(9)?;
        let html = self.seen == Some(Seen::Html);
        if ahead.starts_with(b"!--") {
            forward.skip(3)?;
            // Browsers end a comment that begins like this at once.
            if forward.peek(1)? == b">" || forward.peek(2)? == b"->" {
                return Ok(());
            }
            // Both end a comment in a browser; in XML the second cannot stand in one.
            return until(forward, &[b"-->", b"--!>"]);
        }
        if ahead.starts_with(b"![CDATA[") && !html {
            return until(forward, &[b"]]>"]);
        }
        match ahead.first() {
            Some(b'!') => self.declaration(forward),
            Some(b'?') => self.instruction(forward),
            Some(b'/') => self.closing(forward),
            Some(byte) if byte.is_ascii_alphabetic() || *byte == b'_' || *byte >= 0x80 => self.element(forward),
            _ => Ok(()),
        }
    }

    /// A declaration. Browsers end one of a page at the first `>`, whatever quotes and brackets are open.
    fn declaration(&mut self, forward: &mut Forward<'_>) -> Outcome<()> {
        let start = forward.peek(13)?.to_ascii_lowercase();
        let page = start.starts_with(b"!doctype html");
        if page && self.seen.is_none() {
            self.seen = Some(Seen::Html);
        }
        let plain = page || self.seen == Some(Seen::Html) || !start.starts_with(b"!doctype");
        let text = declaration(forward, plain)?;
        // An internal subset that only XML readers would see.
        if page && text.contains(&b'[') {
            return Err(Finding::ActiveScript.into());
        }
        judge::declaration(&text).map_err(Into::into)
    }

    fn instruction(&mut self, forward: &mut Forward<'_>) -> Outcome<()> {
        forward.skip(1)?;
        let mut name = word(forward)?;
        name.make_ascii_lowercase();
        let attributes = attributes(forward, None)?;
        self.declared |= name == b"xml";
        judge::instruction(&name, &attributes).map_err(Into::into)
    }

    fn closing(&mut self, forward: &mut Forward<'_>) -> Outcome<()> {
        forward.skip(1)?;
        if judge::local(&word(forward)?) == b"instrtext" {
            self.in_field = false;
        }
        until(forward, &[b">"])
    }

    fn element(&mut self, forward: &mut Forward<'_>) -> Outcome<()> {
        let name = judge::local(&word(forward)?);
        let seen = *self.seen.get_or_insert_with(|| judge::flavour(&name));
        let attributes = attributes(forward, Some(&mut self.runs))?;
        match name.as_slice() {
            b"fldchar" => self.field.clear(),
            b"instrtext" => self.in_field = true,
            _ => {}
        }
        judge::element(seen, &name, &attributes)?;
        if seen == Seen::Html && judge::is_raw(&name) {
            return raw(forward, &name);
        }
        self.runs += 1;
        base64_run::inspect(forward, self.runs)
    }
}

/// A name: up to white space or what ends a tag.
fn word(forward: &mut Forward<'_>) -> Outcome<Vec<u8>> {
    let mut word = Vec::new();
    while let Some(byte) = forward.peek(1)?.first().copied() {
        if byte.is_ascii_whitespace() || matches!(byte, b'>' | b'/' | b'=' | b'?') {
            break;
        }
        forward.skip(1)?;
        if word.len() < 256 {
            word.push(byte);
        }
    }
    Ok(word)
}

/// Attributes up to and with the `>`. With `runs`, values that are base64 are looked into.
fn attributes(forward: &mut Forward<'_>, mut runs: Option<&mut u64>) -> Outcome<Vec<Attribute>> {
    let mut attributes = Vec::new();
    loop {
        match forward.peek(1)?.first() {
            None => return Ok(attributes),
            Some(b'>') => {
                forward.skip(1)?;
                return Ok(attributes);
            }
            Some(byte) if byte.is_ascii_whitespace() || matches!(byte, b'/' | b'?' | b'=') => forward.skip(1)?,
            Some(_) => {
                let name = judge::local(&word(forward)?);
                let value = value(forward, runs.as_deref_mut())?;
                if attributes.len() >= 4096 {
                    return Err(Finding::Unreadable.into());
                }
                attributes.push(Attribute { name, value: judge::resolve(&value) });
            }
        }
    }
}

/// `= value` if there is one: quoted or not.
fn value(forward: &mut Forward<'_>, runs: Option<&mut u64>) -> Outcome<Vec<u8>> {
    blanks(forward)?;
    if forward.peek(1)? != b"=" {
        return Ok(Vec::new());
    }
    forward.skip(1)?;
    blanks(forward)?;
    let quote = forward.peek(1)?.first().copied().filter(|byte| matches!(byte, b'"' | b'\''));
    if quote.is_some() {
        forward.skip(1)?;
        if let Some(runs) = runs {
            *runs += 1;
            base64_run::inspect(forward, *runs)?;
        }
    }
    let mut value = Vec::new();
    while let Some(byte) = forward.peek(1)?.first().copied() {
        let ends = quote.map_or(byte.is_ascii_whitespace() || byte == b'>', |quote| byte == quote);
        if ends && quote.is_none() {
            break;
        }
        forward.skip(1)?;
        if ends {
            break;
        }
        // Browsers drop white space and control characters from the scheme of an address.
        if byte > b' ' && value.len() < VALUE {
            value.push(byte);
        }
    }
    Ok(value)
}

fn blanks(forward: &mut Forward<'_>) -> Outcome<()> {
    while forward.peek(1)?.first().is_some_and(u8::is_ascii_whitespace) {
        forward.skip(1)?;
    }
    Ok(())
}

/// Passes over everything up to and with the first of `ends`.
fn until(forward: &mut Forward<'_>, ends: &[&[u8]]) -> Outcome<()> {
    let longest = ends.iter().map(|end| end.len()).max().unwrap_or_default();
    loop {
        let ahead = forward.peek(4096)?;
        let found = ends.iter().filter_map(|end| memchr::memmem::find(ahead, end).map(|at| at + end.len())).min();
        match found {
            Some(behind) => return Ok(forward.skip(behind as u64)?),
            None if ahead.len() < longest => return Ok(forward.drain()?),
            None => {
                let count = ahead.len() - (longest - 1);
                forward.skip(count as u64)?;
            }
        }
    }
}

/// The text of an element in which a page knows no tags. One that has the looks of tags is there to be read differently by
/// different readers.
fn raw(forward: &mut Forward<'_>, name: &[u8]) -> Outcome<()> {
    while let Some(byte) = forward.next_byte()? {
        if byte != b'<' {
            continue;
        }
        let ahead = forward.peek(name.len() + 1)?;
        let own = ahead.split_first().is_some_and(|(slash, end)| *slash == b'/' && end.eq_ignore_ascii_case(name));
        if own {
            return Ok(());
        }
        if ahead.first().is_some_and(|byte| byte.is_ascii_alphabetic()) {
            return Err(Finding::ActiveScript.into());
        }
    }
    Ok(())
}

/// A declaration with its internal subset: up to the `>` outside of quotes and brackets, or up to the first (`plain`).
fn declaration(forward: &mut Forward<'_>, plain: bool) -> Outcome<Vec<u8>> {
    let (mut text, mut quote, mut open) = (Vec::new(), None, 0u32);
    while let Some(byte) = forward.next_byte()? {
        match (quote, byte) {
            (_, b'>') if plain => break,
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(end), byte) if byte == end => quote = None,
            (None, b'[') => open += 1,
            (None, b']') => open = open.saturating_sub(1),
            (None, b'>') if open == 0 => break,
            _ => {}
        }
        if text.len() >= forward.account.limits.token {
            return Err(Finding::Unreadable.into());
        }
        text.push(byte);
    }
    Ok(text)
}
