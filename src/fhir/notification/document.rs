//! The DocumentReference cut down to what an import job needs. It is valid R4 and says by `meta.tag` that it is not whole.

use crate::domain::id::FileId;
use crate::domain::id::ResourceId;
use crate::domain::subscription::Event;
use crate::fhir::document::SHA256;
use crate::fhir::json::{Object, Value, parse};

use super::{access_reference, object};

/// Extension: when access ends (`valueInstant`).
pub const EXPIRES: &str = "urn:daylily:fhir/StructureDefinition/expires";
/// Extension: the event's access reference (`valueString`).
pub const ACCESS_REFERENCE: &str = "urn:daylily:fhir/StructureDefinition/access-reference";

/// Largest `unsignedInt` of R4; a larger file has no `size` in FHIR's form.
const MAX_SIZE: u64 = 2_147_483_647;
/// What of a document travels where policy says `metadata`: nothing that names a person or a content.
const METADATA: [&str; 3] = ["masterIdentifier", "status", "type"];
/// What never travels, whatever policy says: the narrative, extensions (recipients are among them), and what is written anew.
const NEVER: [&str; 6] = ["resourceType", "id", "meta", "text", "extension", "content"];

/// One file of the document, by content entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FileNote<'a> {
    /// Its id, told as `attachment.id`.
    pub file: FileId,
    /// Media type as declared.
    pub media_type: &'a str,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the bytes.
    pub sha256: [u8; 32],
    /// `attachment.title`; told only where the document is `complete`.
    pub title: Option<&'a str>,
}

impl std::fmt::Debug for FileNote<'_> {
    /// Without the title.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FileNote({})", self.file)
    }
}

/// What is known of a document when it is told.
#[derive(Clone, Copy)]
pub struct DocumentNote<'a> {
    /// The text of the event's version as stored (`Body::text`), from which `masterIdentifier`, `status` and `type` are taken.
    pub text: &'a str,
    /// Its files in the order of `content`.
    pub files: &'a [FileNote<'a>],
    /// `decision.notify` is `complete`: everything but the narrative, extensions and addresses.
    pub complete: bool,
}

impl std::fmt::Debug for DocumentNote<'_> {
    /// Without the text.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DocumentNote({} files, complete: {})", self.files.len(), self.complete)
    }
}

/// The body of a plain Subscription's PUT.
pub fn cut_down(subscription: &ResourceId, event: &Event, document: &DocumentNote<'_>) -> String {
    resource(subscription, event, document).to_json()
}

pub(super) fn resource(subscription: &ResourceId, event: &Event, document: &DocumentNote<'_>) -> Object<'static> {
    let stored = stored(document.text);
    let mut extensions = Vec::new();
    if let Some(expires) = event.expires {
        extensions.push(extension(EXPIRES, "valueInstant", expires.to_string()));
    }
    extensions.push(extension(ACCESS_REFERENCE, "valueString", access_reference(subscription, event.number)));
    let mut made = object([
        ("resourceType", "DocumentReference".into()),
        ("id", event.document_id.to_string().into()),
        ("meta", meta(event)),
        ("extension", extensions.into()),
    ]);
    for (name, value) in stored.iter() {
        let plain = name.strip_prefix('_').unwrap_or(name);
        let goes = if document.complete { !NEVER.contains(&plain) } else { METADATA.contains(&name) };
        let told = if document.complete { Some(value.clone()) } else { without_names(value) };
        if let Some(value) = told.filter(|_| goes) {
            made.insert(name.to_owned(), value);
        }
    }
    if !made.has("status") {
        // Only of a text that cannot be read, which the store has none of; R4 wants one.
        made.insert("status", "current".into());
    }
    made.insert("content", content(&stored, document).into());
    made
}

fn stored(text: &str) -> Object<'static> {
    match parse(text.as_bytes()).map(Value::into_owned) {
        Ok(Value::Object(object)) => object,
        _ => Object::new(),
    }
}

fn meta(event: &Event) -> Value<'static> {
    let subsetted = object([
        ("system", "http://terminology.hl7.org/CodeSystem/v3-ObservationValue".into()),
        ("code", "SUBSETTED".into()),
    ]);
    object([
        ("versionId", event.version.to_string().into()),
        ("lastUpdated", event.at.to_string().into()),
        ("tag", vec![Value::from(subsetted)].into()),
    ])
    .into()
}

fn extension(url: &'static str, kind: &'static str, value: String) -> Value<'static> {
    object([("url", url.into()), (kind, value.into())]).into()
}

/// A value without free text: of an identifier and of a concept only systems, codes and values stay. `None`: nothing does.
fn without_names(value: &Value<'static>) -> Option<Value<'static>> {
    const CODED: [&str; 5] = ["system", "version", "code", "value", "coding"];
    match value {
        Value::Object(object) => {
            let coded = object.iter().filter(|(name, _)| CODED.contains(name));
            let kept: Object<'static> =
                coded.filter_map(|(name, value)| Some((name.to_owned(), without_names(value)?))).collect();
            (!kept.is_empty()).then_some(Value::Object(kept))
        }
        Value::Array(items) => {
            let kept: Vec<_> = items.iter().filter_map(without_names).collect();
            (!kept.is_empty()).then_some(Value::Array(kept))
        }
        other => Some(other.clone()),
    }
}

fn content(stored: &Object<'static>, document: &DocumentNote<'_>) -> Vec<Value<'static>> {
    let entries = stored.items("content");
    let files = document.files.iter().enumerate().map(|(at, file)| {
        let written = entries.get(at).and_then(Value::as_object).filter(|_| document.complete);
        let mut entry = written.cloned().unwrap_or_default();
        entry.remove("extension");
        let attachment = entry.remove("attachment");
        let attachment = attachment.as_ref().and_then(Value::as_object).cloned().unwrap_or_default();
        entry.insert_front("attachment", attached(attachment, file, document.complete).into());
        Value::from(entry)
    });
    let files: Vec<_> = files.collect();
    if files.is_empty() { vec![unknown()] } else { files }
}

fn attached(written: Object<'static>, file: &FileNote<'_>, complete: bool) -> Object<'static> {
    let mut made = object([
        ("id", file.file.to_string().into()),
        ("extension", vec![extension(SHA256, "valueString", hex::encode(file.sha256))].into()),
        ("contentType", file.media_type.to_owned().into()),
    ]);
    if file.size <= MAX_SIZE {
        made.insert("size", file.size.into());
    }
    if complete {
        let kept = ["language", "hash", "creation"];
        for (name, value) in written.iter().filter(|(name, _)| kept.contains(name)) {
            made.insert(name.to_owned(), value.clone());
        }
        if let Some(title) = file.title {
            made.insert("title", title.to_owned().into());
        }
    }
    made
}

/// `content` is mandatory in R4; a document whose files are not known says so.
fn unknown() -> Value<'static> {
    let absent =
        extension("http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode", "unknown".to_owned());
    object([("attachment", object([("extension", vec![absent].into())]).into())]).into()
}
