//! Binary as a resource: bytes in and out as base64 (FHIR R4 binary.html). The raw form needs no mapping.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::domain::id::ResourceId;
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::domain::resource::{Body, Stored};

use super::document::decode;
use super::json::{self, write_text};
use super::render::Shown;
use super::stamp::{self, Places};
use super::validate::Resource;

/// A Binary as sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Submitted {
    /// `contentType`
    pub media_type: String,
    /// `securityContext.reference`
    pub security_context: Option<String>,
    /// `data`, decoded.
    pub data: Option<Vec<u8>>,
}

impl std::fmt::Debug for Submitted {
    /// Without bytes and reference.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Submitted({} bytes)", self.data.as_ref().map_or(0, Vec::len))
    }
}

impl Submitted {
    /// Reads a valid Binary.
    ///
    /// # Errors
    /// `value-malformed` (422) for `data` that is no base64.
    pub fn read(resource: Resource<'_>) -> Result<Self, Refusal> {
        let object = &resource.object;
        let data = match object.text("data") {
            None => None,
            Some(text) => Some(decode(text).ok_or_else(|| {
                let issue = Issue::new(Code::ValueMalformed).at("Binary.data").fill("datatype", "base64Binary");
                Refusal::new(issue.fill("example", "SGVsbG8="))
            })?),
        };
        let context = object.object("securityContext").and_then(|context| context.text("reference"));
        let media_type = object.text("contentType").unwrap_or_default().to_owned();
        Ok(Self { media_type, security_context: context.map(str::to_owned), data })
    }
}

/// The text to store: everything but the bytes.
pub fn body(id: &ResourceId, media_type: &str, security_context: Option<&str>) -> Body {
    let mut places = Places::default();
    let mut out = String::with_capacity(192);
    stamp::open("Binary", id, &mut out);
    stamp::meta(None, None, &[], &mut out, &mut places);
    out.push_str(",\"contentType\":");
    write_text(media_type, &mut out);
    if let Some(reference) = security_context {
        out.push_str(",\"securityContext\":{\"reference\":");
        write_text(reference, &mut out);
        out.push('}');
    }
    out.push('}');
    Body { text: out, splices: places.0 }
}

/// The reference of a stored Binary's security context, for the header `X-Security-Context` (FHIR R4 binary.html).
pub fn security_context(stored: &Stored) -> Option<String> {
    let text = &stored.body.text;
    // Most have none, and need no reading.
    if !text.contains("\"securityContext\"") {
        return None;
    }
    let value = json::parse(text.as_bytes()).ok()?;
    value.as_object()?.object("securityContext")?.text("reference").map(str::to_owned)
}

/// The resource with its bytes, in one buffer of the right size. FHIR has no empty strings, so an empty file has no `data`.
pub fn with_data(stored: &Stored, bytes: &[u8]) -> String {
    let mut out = String::with_capacity(stored.body.text.len() + bytes.len() / 3 * 4 + 256);
    let shown = Shown { version: stored.version, updated: stored.updated, state: None, addresses: &[] };
    stored.body.render(&shown, &mut out);
    if !bytes.is_empty() {
        // The text ends with the brace of the resource: `data` goes before it, as the last member.
        out.truncate(out.len().saturating_sub(1));
        out.push_str(",\"data\":\"");
        STANDARD.encode_string(bytes, &mut out);
        out.push_str("\"}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::Timestamp;
    use crate::domain::resource::Kind;
    use crate::fhir::tables::ResourceType;
    use crate::fhir::validate::{Expectation, read};

    fn shown(bytes: &[u8]) -> String {
        let id = ResourceId::parse("b").unwrap();
        let stored = Stored {
            kind: Kind::Binary,
            body: body(&id, "text/plain", Some("Patient/1")),
            id,
            version: 1,
            updated: Timestamp::default(),
            version_state: None,
            document: None,
            files: vec![],
        };
        with_data(&stored, bytes)
    }

    #[test]
    fn the_security_context_is_read_back_from_what_is_stored() {
        let stored = |context: Option<&str>| {
            let id = ResourceId::parse("b").unwrap();
            let body = body(&id, "text/plain", context);
            let (updated, kind) = (Timestamp::default(), Kind::Binary);
            Stored { kind, body, id, version: 1, updated, version_state: None, document: None, files: vec![] }
        };
        assert_eq!(security_context(&stored(Some("Patient/1"))).as_deref(), Some("Patient/1"));
        assert_eq!(security_context(&stored(None)), None);
    }

    #[test]
    fn what_is_shown_is_valid_and_reads_back_the_same() {
        for length in [0, 1, 2, 3, 70_001] {
            let bytes: Vec<u8> = (0..=255u8).cycle().take(length).collect();
            let text = shown(&bytes);
            let resource = read(text.as_bytes(), Expectation::Create(ResourceType::Binary)).unwrap();
            let sent = Submitted::read(resource).unwrap();
            assert_eq!((sent.data.unwrap_or_default(), sent.media_type.as_str()), (bytes, "text/plain"));
            assert_eq!(sent.security_context.as_deref(), Some("Patient/1"));
        }
    }

    #[test]
    fn the_text_is_as_fhir_has_it() {
        assert_eq!(
            shown(b"Hello"),
            "{\"resourceType\":\"Binary\",\"id\":\"b\",\"meta\":{\"versionId\":\"1\",\"lastUpdated\":\"1970-01-01T00:00:00.000Z\"},\
             \"contentType\":\"text/plain\",\"securityContext\":{\"reference\":\"Patient/1\"},\"data\":\"SGVsbG8=\"}"
        );
    }

    #[test]
    fn line_breaks_in_data_are_read_over() {
        let text = b"{\"resourceType\":\"Binary\",\"contentType\":\"a/b\",\"data\":\"SGVs\\nbG8=\"}";
        let resource = read(text, Expectation::Create(ResourceType::Binary)).unwrap();
        assert_eq!(Submitted::read(resource).unwrap().data.as_deref(), Some(b"Hello".as_slice()));
    }
}
