//! Narrative: XHTML inside `text.div` (R4 narrative.html; txt-1 and txt-2, which R4 writes as `htmlChecks()`).

use super::report::Report;
use crate::fhir::tables::{Primitive, is_html_entity};
use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

const NAMESPACE: &str = "http://www.w3.org/1999/xhtml";

/// Levels of elements in a narrative.
const MAX_DEPTH: usize = 128;

/// Elements of HTML 4 chapters 7 to 11 (but 9.4) and 15, with links and images (R4 narrative.html#rules).
const ELEMENTS: &[&str] = &[
    "a",
    "abbr",
    "acronym",
    "address",
    "area",
    "b",
    "bdo",
    "big",
    "blockquote",
    "br",
    "caption",
    "center",
    "cite",
    "code",
    "col",
    "colgroup",
    "dd",
    "dfn",
    "div",
    "dl",
    "dt",
    "em",
    "font",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "i",
    "img",
    "kbd",
    "li",
    "map",
    "ol",
    "p",
    "pre",
    "q",
    "s",
    "samp",
    "small",
    "span",
    "strike",
    "strong",
    "sub",
    "sup",
    "table",
    "tbody",
    "td",
    "tfoot",
    "th",
    "thead",
    "tr",
    "tt",
    "u",
    "ul",
    "var",
];

/// Why a narrative is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Not one well-formed `div` in the XHTML namespace.
    Malformed,
    /// txt-1
    Forbidden,
    /// txt-2
    Empty,
}

pub(super) fn check(text: &str, report: &mut Report<'_>) -> bool {
    match examine(text) {
        Ok(()) => return true,
        Err(Fault::Malformed) => report.malformed(Primitive::Xhtml.as_str(), Primitive::Xhtml.example()),
        Err(Fault::Forbidden) => report.breaks(
            "txt-1",
            "a narrative holds only formatting, links, images and styles of HTML 4, no scripts, forms or frames",
            "Remove scripts, event attributes, forms, frames and other active content.",
        ),
        Err(Fault::Empty) => report.breaks("txt-2", "a narrative has text or an image", "Add text, or remove `text`."),
    }
    false
}

/// What has been seen of a narrative.
#[derive(Default)]
struct Seen {
    depth: usize,
    roots: usize,
    content: bool,
}

fn examine(text: &str) -> Result<(), Fault> {
    let mut reader = Reader::from_str(text);
    let mut seen = Seen::default();
    let mut forbidden = false;
    loop {
        let event = reader.read_event().map_err(|_| Fault::Malformed)?;
        let outside = seen.depth == 0;
        match event {
            Event::Start(tag) => {
                forbidden |= seen.open(&tag)?;
                seen.depth += 1;
            }
            Event::Empty(tag) => forbidden |= seen.open(&tag)?,
            Event::End(_) => seen.depth = seen.depth.saturating_sub(1),
            Event::Text(text) if text.bytes().all(|byte| byte.is_ascii_whitespace()) => {}
            Event::Comment(_) => {}
            Event::Eof => break,
            _ if outside => return Err(Fault::Malformed),
            Event::Text(_) => seen.content = true,
            Event::CData(_) => seen.content = true,
            Event::GeneralRef(name) => {
                seen.content |= &*name != "nbsp";
                if !is_reference(&name) {
                    return Err(Fault::Malformed);
                }
            }
            Event::Decl(_) | Event::PI(_) | Event::DocType(_) => return Err(Fault::Malformed),
        }
    }
    match (seen.depth, seen.roots, forbidden, seen.content) {
        (0, 1, false, true) => Ok(()),
        (0, 1, false, false) => Err(Fault::Empty),
        (0, 1, true, _) => Err(Fault::Forbidden),
        _ => Err(Fault::Malformed),
    }
}

impl Seen {
    /// An element opens; true when it may not stand in a narrative.
    fn open(&mut self, tag: &BytesStart<'_>) -> Result<bool, Fault> {
        if self.depth >= MAX_DEPTH {
            return Err(Fault::Malformed);
        }
        let name = tag.name();
        let name: &str = name.as_ref();
        self.content |= name == "img";
        let mut forbidden = !ELEMENTS.contains(&name);
        let mut namespace = self.depth > 0;
        for attribute in tag.attributes() {
            let attribute = attribute.map_err(|_| Fault::Malformed)?;
            if !is_attribute_text(&attribute.value) {
                return Err(Fault::Malformed);
            }
            match attribute.key.as_ref() {
                "xmlns" if *attribute.value == *NAMESPACE => namespace = true,
                "xmlns" => return Err(Fault::Malformed),
                key => forbidden |= is_active(key, &attribute.value),
            }
        }
        if self.depth == 0 {
            self.roots += 1;
            if name != "div" {
                return Err(Fault::Malformed);
            }
        }
        if namespace { Ok(forbidden) } else { Err(Fault::Malformed) }
    }
}

/// Attributes that may hold a link or a style.
const LINKS: &[&str] = &["background", "cite", "href", "longdesc", "src", "style", "usemap", "xlink:href"];

/// Event handlers and script links.
fn is_active(key: &str, value: &str) -> bool {
    let key = key.to_ascii_lowercase();
    if key.starts_with("on") {
        return true;
    }
    if !LINKS.contains(&key.as_str()) {
        return false;
    }
    // Control characters, white space and character references may hide a scheme from a reader, not from a browser.
    let open = quick_xml::escape::unescape_with(value, |_| Some("?"));
    let Ok(open) = open else { return true };
    let bare: String = open.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect();
    let bare = bare.to_ascii_lowercase();
    let scripted = ["javascript:", "vbscript:", "data:text/html"].iter().any(|scheme| bare.starts_with(scheme));
    scripted || (key == "style" && (bare.contains("expression(") || bare.contains("javascript:")))
}

/// No `<`, and every `&` begins a known reference (XML 1.0 §3.1).
fn is_attribute_text(value: &str) -> bool {
    let mut parts = value.split('&');
    let plain = parts.next().is_some();
    let reference = |part: &str| part.split_once(';').is_some_and(|(name, _)| is_reference(&BytesRef::new(name)));
    plain && !value.contains('<') && parts.all(reference)
}

/// `&name;` of HTML or XML, or `&#n;` of a character that XML allows.
fn is_reference(reference: &BytesRef<'_>) -> bool {
    if reference.is_char_ref() {
        let allowed = |c: char| (c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}')) || matches!(c, '\t' | '\n' | '\r');
        return reference.resolve_char_ref().ok().flatten().is_some_and(allowed);
    }
    is_html_entity(reference)
}
