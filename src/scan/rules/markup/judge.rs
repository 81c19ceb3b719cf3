//! What elements, attributes and declarations mean: script, handlers, addresses that run, style sheets and entities from
//! elsewhere, and the parts of Office packages that load templates or call other programs.

use super::super::kind::Seen;
use super::Attribute;
use crate::domain::verdict::Finding;

/// Which kind of markup begins with an element of this name.
pub(super) fn flavour(name: &[u8]) -> Seen {
    match name {
        b"html" | b"head" | b"body" | b"script" | b"iframe" | b"img" | b"meta" | b"style" | b"form" | b"object"
        | b"embed" => Seen::Html,
        b"svg" => Seen::Svg,
        _ => Seen::Xml(false),
    }
}

/// Elements of pages whose content is text (HTML, 13.2.6.2).
pub(super) fn is_raw(name: &[u8]) -> bool {
    matches!(name, b"title" | b"textarea" | b"style" | b"xmp" | b"noframes" | b"noembed" | b"noscript")
}

/// Lower case, without namespace prefix.
pub(super) fn local(name: &[u8]) -> Vec<u8> {
    name.rsplit(|byte| *byte == b':').next().unwrap_or_default().to_ascii_lowercase()
}

/// An element and its attributes.
pub(super) fn element(seen: Seen, name: &[u8], attributes: &[Attribute]) -> Result<(), Finding> {
    let page = matches!(seen, Seen::Html | Seen::Svg);
    let plugin =
        page && matches!(name, b"object" | b"embed" | b"applet" | b"iframe" | b"frame" | b"handler" | b"listener");
    // OpenDocument part 2, 4.8.5: the parts of a package that has one are encrypted.
    if name == b"encryption-data" {
        return Err(Finding::Encrypted);
    }
    if plugin || matches!(name, b"script" | b"ddelink") {
        return Err(Finding::ActiveScript);
    }
    for attribute in attributes {
        if is_handler(page, &attribute.name) || runs(attribute) {
            return Err(Finding::ActiveScript);
        }
        if attribute.name == b"contenttype" && holds(&attribute.value, b"macroenabled") {
            return Err(Finding::Macro);
        }
        if name == b"fldsimple" && attribute.name == b"instr" {
            field(&attribute.value)?;
        }
    }
    let value = |wanted: &[u8]| attributes.iter().find(|a| a.name == wanted).map_or(&[][..], |a| a.value.as_slice());
    if name == b"meta" && holds(value(b"http-equiv"), b"refresh") {
        return Err(Finding::ActiveScript);
    }
    let external = name == b"relationship" && holds(value(b"targetmode"), b"external");
    let kind = value(b"type").to_ascii_lowercase();
    let loads = [&b"/attachedtemplate"[..], b"/oleobject", b"/frame", b"/subdocument", b"/vbaproject"];
    if external && loads.iter().any(|end| kind.ends_with(end)) {
        return Err(Finding::Macro);
    }
    Ok(())
}

/// The code of a Word field as far as it has come: DDE starts other programs (ECMA-376 part 4, 9.4.2).
pub(super) fn field(code: &[u8]) -> Result<(), Finding> {
    let code = code.trim_ascii_start();
    let dde = code.get(..3).is_some_and(|start| start.eq_ignore_ascii_case(b"dde"));
    if dde { Err(Finding::ActiveScript) } else { Ok(()) }
}

/// A processing instruction.
pub(super) fn instruction(name: &[u8], attributes: &[Attribute]) -> Result<(), Finding> {
    let value = |wanted: &[u8]| attributes.iter().find(|a| a.name == wanted).map(|a| a.value.to_ascii_lowercase());
    match name {
        b"xml-stylesheet" => match value(b"href") {
            Some(href) if is_relative(&href) => Ok(()),
            _ => Err(Finding::ActiveScript),
        },
        // What is not one of the supersets of ASCII could spell a tag that nobody sees.
        b"xml" => {
            let known = [&b"utf-8"[..], b"utf8", b"utf-16", b"utf-16le", b"utf-16be", b"us-ascii", b"ascii"];
            let encoding = value(b"encoding").unwrap_or_else(|| b"utf-8".to_vec());
            let latin =
                encoding.starts_with(b"iso-8859-") || encoding.starts_with(b"windows-125") || encoding == b"latin1";
            if latin || known.contains(&encoding.as_slice()) { Ok(()) } else { Err(Finding::Unreadable) }
        }
        _ => Ok(()),
    }
}

/// A declaration: document types may be the published ones by their public names, and entities may be plain words.
pub(super) fn declaration(text: &[u8]) -> Result<(), Finding> {
    let lower = text.to_ascii_lowercase();
    if !lower.starts_with(b"!doctype") {
        return Ok(());
    }
    let (head, subset) = match lower.iter().position(|byte| *byte == b'[') {
        Some(at) => lower.split_at_checked(at).unwrap_or((&lower, &[])),
        None => (lower.as_slice(), &[][..]),
    };
    let published = [&b"-//w3c//dtd svg"[..], b"-//w3c//dtd xhtml", b"-//w3c//dtd html"];
    let known = holds(head, b"about:legacy-compat") || published.iter().any(|name| holds(head, name));
    let outside = holds(head, b" system") || holds(head, b" public");
    let words = subset.split(|byte| *byte == b'<').any(|part| {
        let entity = part.starts_with(b"!entity");
        let hides = [&b"&"[..], b"%", b"system", b"public", b"script", b"javasc"].iter().any(|word| holds(part, word));
        let inner_tag =
            !part.starts_with(b"!") && part.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'/');
        let defaults = part.starts_with(b"!attlist") && (holds(part, b" on") || holds(part, b"script"));
        inner_tag || (entity && hides) || defaults
    });
    if (outside && !known) || words { Err(Finding::ActiveScript) } else { Ok(()) }
}

/// Character references and the entities that spell parts of an address, resolved.
pub(super) fn resolve(value: &[u8]) -> Vec<u8> {
    let mut resolved = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'&' {
            resolved.push(*byte);
            continue;
        }
        let length = after.iter().take(12).position(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'#'));
        let length = length.unwrap_or_else(|| after.len().min(12));
        let (name, behind) = after.split_at_checked(length).unwrap_or((after, &[]));
        if let Some(found) = reference(name) {
            resolved.extend(found.filter(|byte| *byte > b' '));
            rest = behind.strip_prefix(b";").unwrap_or(behind);
        } else {
            resolved.push(b'&');
        }
    }
    resolved
}

fn reference(name: &[u8]) -> Option<Option<u8>> {
    let text = std::str::from_utf8(name).ok()?;
    let number = match text.strip_prefix('#') {
        Some(digits) => match digits.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => digits.parse().ok()?,
        },
        None => match text {
            "Tab" | "NewLine" => 10,
            "colon" => u32::from(b':'),
            "lpar" => u32::from(b'('),
            "amp" => u32::from(b'&'),
            "lt" => u32::from(b'<'),
            "gt" => u32::from(b'>'),
            "quot" => u32::from(b'"'),
            "apos" => u32::from(b'\''),
            _ => return None,
        },
    };
    Some(Some(u8::try_from(number).ok().filter(u8::is_ascii).unwrap_or(b'~')))
}

/// Event handlers. In pages every `on…` is one; in other XML only those that all browsers know, because `once` and `only`
/// are words.
fn is_handler(page: bool, name: &[u8]) -> bool {
    const STARTS: [&[u8]; 20] = [
        b"abort",
        b"animation",
        b"before",
        b"begin",
        b"blur",
        b"change",
        b"click",
        b"drag",
        b"end",
        b"error",
        b"focus",
        b"hash",
        b"input",
        b"key",
        b"load",
        b"mouse",
        b"pointer",
        b"scroll",
        b"submit",
        b"toggle",
    ];
    let Some(event) = name.strip_prefix(b"on") else { return false };
    if page { !event.is_empty() } else { STARTS.iter().any(|start| event.starts_with(start)) }
}

/// Whether a viewer that follows this address runs what it says.
fn runs(attribute: &Attribute) -> bool {
    let value = attribute.value.to_ascii_lowercase();
    let schemes = [
        &b"javascript:"[..],
        b"vbscript:",
        b"mhtml:",
        b"ms-msdt:",
        b"data:text/html",
        b"data:text/xml",
        b"data:application/x",
        b"data:image/svg",
    ];
    // Animations set an address later: `values="a;javascript:…"`.
    let animated =
        matches!(attribute.name.as_slice(), b"values" | b"to" | b"from" | b"by") && holds(&value, b"javascript:");
    let address = matches!(attribute.name.as_slice(), b"href" | b"src");
    let unresolved = address && value.first() == Some(&b'&');
    animated || unresolved || attribute.name == b"srcdoc" || schemes.iter().any(|scheme| value.starts_with(scheme))
}

/// A file beside the document: no scheme, no host, no root, and not a part of the document itself.
fn is_relative(href: &[u8]) -> bool {
    !href.is_empty()
        && !href.starts_with(b"#")
        && !href.starts_with(b"/")
        && !href.iter().any(|b| matches!(b, b':' | b'\\' | b'&'))
}

/// Whether `text`, in any case, has `word`, which is lower case.
fn holds(text: &[u8], word: &[u8]) -> bool {
    memchr::memmem::find(&text.to_ascii_lowercase(), word).is_some()
}
