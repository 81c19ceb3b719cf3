//! The stored text of a document: what the sender wrote, in order, with the server's own members in their places and splices
//! where what changes goes in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::domain::clock::write_span;
use crate::domain::id::{ClientId, ResourceId};
use crate::domain::policy::Decision;
use crate::domain::resource::{Body, SpliceKind};
use crate::fhir::json::{Object, ObjectWriter, Value, write_text, write_value};

use super::{FileNote, SHA256, Submitted};
use crate::fhir::stamp::{self, Places};

/// Largest `attachment.size`: `unsignedInt` has 31 bits (FHIR R4 datatypes.html#unsignedInt). Larger files show none.
const MAX_SIZE: u64 = 2_147_483_647;
/// Extensions that this server shows and a sender cannot set.
const OWN_EXTENSIONS: [&str; 2] = [crate::fhir::render::LIFECYCLE, "urn:daylily:fhir/StructureDefinition/expires"];

impl Submitted {
    /// The text to store. `notes` tells what the bytes turned out to be, for the entries whose bytes are known.
    pub fn into_body(self, id: &ResourceId, decision: &Decision, client: &ClientId, notes: &[FileNote]) -> Body {
        let mut places = Places::default();
        let mut out = String::with_capacity(1_024);
        let rule = (stamp::RULE_SYSTEM, decision.rule.clone());
        let label = (stamp::LABEL_SYSTEM, write_span(decision.retain));
        stamp::open("DocumentReference", id, &mut out);
        let source = format!("urn:daylily:fhir/client/{client}");
        stamp::meta(self.object.object("meta"), Some(&source), &[rule, label], &mut out, &mut places);
        extensions(&self.object, &mut out, &mut places);
        for (name, value) in self.object.iter() {
            match (name, value) {
                ("resourceType" | "id" | "meta" | "extension", _) => {}
                ("content", Value::Array(entries)) => contents(entries, notes, &mut out, &mut places),
                _ => stamp::member(name, value, &mut out),
            }
        }
        out.push('}');
        Body { text: out, splices: places.0 }
    }
}

/// `extension` is always there: the state goes in first when the document is shown.
fn extensions(object: &Object<'_>, out: &mut String, places: &mut Places) {
    let kept = object.items("extension").iter().filter(|one| {
        let url = one.as_object().and_then(|one| one.text("url"));
        !url.is_some_and(|url| OWN_EXTENSIONS.contains(&url))
    });
    let kept: Vec<_> = kept.collect();
    out.push_str(",\"extension\":[");
    places.add(out, SpliceKind::Lifecycle, !kept.is_empty());
    for (at, extension) in kept.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_value(extension, out);
    }
    out.push(']');
}

/// `notes` stand in the order of their entries.
fn contents(entries: &[Value<'_>], notes: &[FileNote], out: &mut String, places: &mut Places) {
    out.push_str(",\"content\":[");
    let mut notes = notes.iter().peekable();
    for (number, entry) in (0u16..).zip(entries) {
        if number > 0 {
            out.push(',');
        }
        let note = notes.next_if(|note| note.content == number);
        let mut writer = ObjectWriter::new(out);
        for (name, value) in entry.as_object().into_iter().flat_map(Object::iter) {
            match (name, value) {
                ("attachment", Value::Object(inner)) => attachment(inner, note, number, writer.name(name), places),
                _ => writer.member(name, value),
            }
        }
        writer.end();
    }
    out.push(']');
}

fn attachment(sent: &Object<'_>, note: Option<&FileNote>, number: u16, out: &mut String, places: &mut Places) {
    let mut members = sent.clone();
    for name in ["data", "_data", "url", "_url"] {
        members.remove(name);
    }
    if let Some(note) = note {
        for name in ["size", "_size", "hash", "_hash"] {
            members.remove(name);
        }
        if note.size <= MAX_SIZE {
            members.insert("size", Value::from(note.size));
        }
        members.insert("hash", Value::from(STANDARD.encode(note.sha1)));
        let mut extensions: Vec<_> = sent.items("extension").to_vec();
        extensions.retain(|one| one.as_object().and_then(|one| one.text("url")) != Some(SHA256));
        let own = [("url", Value::from(SHA256)), ("valueString", Value::from(hex::encode(note.sha256)))];
        extensions.push(Value::Object(own.into_iter().collect()));
        members.insert("extension", Value::Array(extensions));
    }
    out.push('{');
    places.add(out, SpliceKind::AttachmentUrl(number), !members.is_empty());
    for (at, (name, value)) in members.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        write_text(name, out);
        out.push(':');
        write_value(value, out);
    }
    out.push('}');
}
