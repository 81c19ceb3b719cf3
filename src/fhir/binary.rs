//! Binary as a resource: bytes in and out as base64 (FHIR R4 binary.html). The raw form needs no mapping.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::domain::id::ResourceId;
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::domain::resource::{Body, Kind};

use super::context;
use super::document::decode;
use super::json::{Object, Value};

/// A Binary as sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Sent {
    /// `contentType`
    pub media_type: String,
    /// `securityContext.reference`
    pub security_context: Option<String>,
    /// `data`, decoded; empty where absent.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for Sent {
    /// Without bytes and reference.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sent({} bytes)", self.bytes.len())
    }
}

/// Reads a valid Binary.
///
/// # Errors
/// `value-malformed` (422) for `data` that is no base64.
pub fn read(object: &Object<'_>) -> Result<Sent, Refusal> {
    let bytes = object.text("data").map_or(Some(Vec::new()), decode).ok_or_else(|| {
        let issue = Issue::new(Code::ValueMalformed).at("Binary.data").fill("datatype", "base64Binary");
        Refusal::new(issue.fill("example", "SGVsbG8="))
    })?;
    let security_context = object.object("securityContext").and_then(|context| context.text("reference"));
    Ok(Sent {
        media_type: object.text("contentType").unwrap_or_default().to_owned(),
        security_context: security_context.map(str::to_owned),
        bytes,
    })
}

/// The text to store for a Binary: everything but `data`, which is a file.
pub fn body(id: &ResourceId, media_type: &str, security_context: Option<&str>) -> Body {
    let mut object = Object::new();
    object.insert("contentType", Value::String(media_type.to_owned().into()));
    if let Some(reference) = security_context {
        let mut context = Object::new();
        context.insert("reference", Value::String(reference.to_owned().into()));
        object.insert("securityContext", Value::Object(context));
    }
    context::body(Kind::Binary, &object, id)
}

/// The resource as shown: its text without `data`, and the bytes as base64. An empty file has no `data` (FHIR has no empty
/// strings).
pub fn with_data(text: &str, bytes: &[u8]) -> String {
    let mut out = String::with_capacity(text.len() + bytes.len().div_ceil(3) * 4 + 16);
    match text.strip_suffix('}') {
        Some(open) if !bytes.is_empty() => {
            out.push_str(open);
            out.push_str(",\"data\":\"");
            STANDARD.encode_string(bytes, &mut out);
            out.push_str("\"}");
        }
        _ => out.push_str(text),
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::json::parse;

    #[test]
    fn what_is_shown_reads_back_the_same() {
        for length in [0, 1, 2, 3, 1_000, 65_537] {
            let bytes: Vec<u8> = (0..=255u8).cycle().take(length).collect();
            let text = body(&ResourceId::parse("b1").unwrap(), "text/plain", Some("Patient/1")).text;
            let shown = with_data(&text, &bytes);
            let value = parse(shown.as_bytes()).unwrap();
            let sent = read(value.as_object().unwrap()).unwrap();
            assert_eq!((sent.bytes, sent.media_type.as_str()), (bytes, "text/plain"));
            assert_eq!(sent.security_context.as_deref(), Some("Patient/1"));
        }
    }

    #[test]
    fn data_may_have_line_breaks_and_must_be_base64() {
        let of = |data: &str| format!("{{\"contentType\":\"a/b\",\"data\":\"{data}\"}}");
        let (good, bad) = (of("SGVs\\nbG8="), of("SGV*"));
        assert_eq!(read(parse(good.as_bytes()).unwrap().as_object().unwrap()).unwrap().bytes, b"Hello");
        assert_eq!(read(parse(bad.as_bytes()).unwrap().as_object().unwrap()).unwrap_err().code(), Code::ValueMalformed);
    }
}
