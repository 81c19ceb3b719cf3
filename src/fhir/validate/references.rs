//! References: form, target type, contained targets, `urn:` targets of a transaction (R4 references.html).

use super::primitive::is_id;
use super::walk::Walk;
use crate::domain::refusal::Code;
use crate::fhir::json::Object;
use crate::fhir::tables::ResourceType;

/// Longest text of a reference, in bytes. It is kept in indexes and in each audit entry of an answer that shows it, so what is longer than
/// any address in use is not taken.
const MAX_REFERENCE: usize = 4_096;

const DEFINITIONS: &str = "http://hl7.org/fhir/StructureDefinition/";

/// What the text of a reference says.
enum Form<'t> {
    /// `#id`
    Contained,
    /// `urn:uuid:…`, `urn:oid:…`
    Urn,
    /// `Patient/1`, `Patient/1/_history/2`, `Patient?identifier=1`
    Local(&'t str),
    /// Some other absolute URL: any server, any path.
    Elsewhere,
    /// None of these.
    Malformed,
}

fn form(text: &str) -> Form<'_> {
    if text.starts_with('#') {
        return Form::Contained;
    }
    if text.starts_with("urn:uuid:") || text.starts_with("urn:oid:") {
        return Form::Urn;
    }
    if has_scheme(text) {
        return Form::Elsewhere;
    }
    let typed = |name: &str| ResourceType::parse(name).is_some();
    if let Some((name, _)) = text.split_once('?') {
        return if typed(name) { Form::Local(name) } else { Form::Malformed };
    }
    let mut parts = text.split('/');
    let (name, id) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let version = match (parts.next(), parts.next(), parts.next()) {
        (None, _, _) => true,
        (Some("_history"), Some(version), None) => is_id(version),
        _ => false,
    };
    if typed(name) && is_id(id) && version { Form::Local(name) } else { Form::Malformed }
}

/// Does it begin with a URI scheme (RFC 3986 §3.1)?
pub(super) fn has_scheme(text: &str) -> bool {
    let Some((scheme, _)) = text.split_once(':') else { return false };
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// The rules of a Reference whose members have been checked.
pub(super) fn check<'v>(object: &'v Object<'v>, targets: &[&str], walk: &mut Walk<'v>) {
    let text = object.text("reference").filter(|text| !text.is_empty());
    if text.is_some_and(|text| text.len() > MAX_REFERENCE) {
        let limit = format!("{MAX_REFERENCE} bytes");
        return walk.report.add_below("reference", Code::ValueTooLong, |issue| issue.fill("limit", limit));
    }
    let target = match text.map(|text| (text, form(text))) {
        None | Some((_, Form::Elsewhere)) => None,
        Some((_, Form::Local(name))) => Some(name),
        Some((text, Form::Contained)) => contained(text, walk),
        Some((text, Form::Urn)) => {
            let unknown = walk.full_urls.as_ref().is_some_and(|urls| !urls.contains(text));
            if unknown {
                walk.report.add(Code::ReferenceNotFound, |issue| issue);
            }
            None
        }
        Some((_, Form::Malformed)) => return walk.report.malformed("reference", "`Patient/123`"),
    };
    let stated = object.text("type").map(|name| name.strip_prefix(DEFINITIONS).unwrap_or(name));
    if let (Some(target), Some(stated)) = (target, stated)
        && target != stated
    {
        return walk
            .report
            .malformed("reference whose `type` is that of its target", "`\"type\": \"Patient\"` for `Patient/123`");
    }
    let fits = targets.is_empty() || target.or(stated).is_none_or(|name| targets.contains(&name));
    if !fits {
        let example = format!("`{}/123`", targets.first().copied().unwrap_or("Patient"));
        walk.report.malformed(&format!("reference to {}", targets.join(" or ")), &example);
    }
}

/// The type of a contained target.
fn contained<'v>(text: &str, walk: &mut Walk<'v>) -> Option<&'v str> {
    let found = walk.roots.resolve(text);
    if found.is_none() {
        let rule = "a reference that begins with `#` names a contained resource of the same resource";
        walk.report.breaks("ref-1", rule, "Add the contained resource with this id, or correct the reference.");
    }
    found.flatten()
}
