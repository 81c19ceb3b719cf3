//! Binary as a resource: bytes in and out as base64 (FHIR R4 binary.html). The raw form needs no mapping.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::domain::clock::Timestamp;
use crate::domain::id::ResourceId;
use crate::domain::refusal::{Code, Issue, Refusal};

use super::document::decode;
use super::json::{Object, write_text};

/// Bytes of base64 input that are turned into text at a time: a multiple of 3, so that pieces join without padding.
pub const PIECE: usize = 48 * 1_024;

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

/// What a Binary resource has around its data. The text is [`Shown::head`], then [`Shown::piece`] for every [`PIECE`] bytes,
/// then [`Shown::TAIL`]: nothing holds the whole.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// Its id.
    pub id: &'a ResourceId,
    /// When it was stored.
    pub updated: Timestamp,
    /// `contentType`
    pub media_type: &'a str,
    /// `securityContext.reference`
    pub security_context: Option<&'a str>,
    /// Whether it has any bytes: FHIR has no empty strings, so an empty file has no `data`.
    pub has_data: bool,
}

impl Shown<'_> {
    /// All before the first byte. A Binary never changes, so its version is 1.
    pub fn head(&self) -> String {
        let mut out = String::with_capacity(256);
        super::stamp::open("Binary", self.id, &mut out);
        out.push_str(",\"meta\":{\"versionId\":\"1\",\"lastUpdated\":\"");
        out.push_str(&self.updated.to_string());
        out.push_str("\"},\"contentType\":");
        write_text(self.media_type, &mut out);
        if let Some(reference) = self.security_context {
            out.push_str(",\"securityContext\":{\"reference\":");
            write_text(reference, &mut out);
            out.push('}');
        }
        if self.has_data {
            out.push_str(",\"data\":\"");
        }
        out
    }

    /// The text of some bytes: [`PIECE`] of them, or the last ones.
    pub fn piece(bytes: &[u8]) -> String {
        STANDARD.encode(bytes)
    }

    /// All behind the last byte.
    pub fn tail(&self) -> &'static str {
        if self.has_data { "\"}" } else { "}" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::json::parse;

    fn whole(bytes: &[u8]) -> String {
        let id = ResourceId::parse("b").unwrap();
        let shown = Shown {
            id: &id,
            updated: Timestamp::default(),
            media_type: "text/plain",
            security_context: Some("Patient/1"),
            has_data: !bytes.is_empty(),
        };
        let pieces: String = bytes.chunks(PIECE).map(Shown::piece).collect();
        format!("{}{pieces}{}", shown.head(), shown.tail())
    }

    #[test]
    fn what_is_shown_reads_back_the_same() {
        for length in [0, 1, 2, PIECE, PIECE + 1, 2 * PIECE + 5] {
            let bytes: Vec<u8> = (0..=255u8).cycle().take(length).collect();
            let text = whole(&bytes);
            let value = parse(text.as_bytes()).unwrap();
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
