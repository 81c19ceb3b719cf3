//! The content entries of a document: where the bytes of each come from, and what was declared about them.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;

use crate::domain::id::FileId;
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::fhir::base::{Base, Named};
use crate::fhir::json::{Object, Value};

use super::SHA256;

/// Base64 as FHIR sends it: padded or not (blanks are taken out before).
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Where bytes come from.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// Sent along, decoded.
    Data(Bytes),
    /// A file that this server has, if the writer may read it: that must be checked.
    File(FileId),
    /// Not sent (yet).
    Nothing,
}

impl std::fmt::Debug for Source {
    /// Without the bytes.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Data(bytes) => write!(f, "Data({} bytes)", bytes.len()),
            Self::File(file) => write!(f, "File({file})"),
            Self::Nothing => f.write_str("Nothing"),
        }
    }
}

/// What the sender said about the bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Declared {
    /// `size`
    pub size: Option<u64>,
    /// `hash`: SHA-1 (FHIR R4 datatypes.html#Attachment).
    pub sha1: Option<[u8; 20]>,
    /// The extension `sha256`.
    pub sha256: Option<[u8; 32]>,
}

/// What is known about the bytes of an entry once they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileNote {
    /// Which content entry, 0-based.
    pub content: u16,
    /// Bytes.
    pub size: u64,
    /// SHA-1.
    pub sha1: [u8; 20],
    /// SHA-256.
    pub sha256: [u8; 32],
}

/// One content entry.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    /// Which entry, 0-based.
    pub index: u16,
    /// Where its bytes come from.
    pub source: Source,
    /// `attachment.contentType`
    pub media_type: Option<String>,
    /// `attachment.title`
    pub title: Option<String>,
    /// What was declared.
    pub declared: Declared,
}

impl std::fmt::Debug for Content {
    /// Without the title, which may name a patient.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Content")
            .field("source", &self.source)
            .field("declared", &self.declared)
            .finish_non_exhaustive()
    }
}

impl Content {
    /// Compares what was declared with what the bytes are.
    ///
    /// # Errors
    /// `content-mismatch` (422), naming the part that differs.
    pub fn check(&self, note: &FileNote) -> Result<(), Refusal> {
        let declared = &self.declared;
        let part = if declared.size.is_some_and(|size| size != note.size) {
            "size"
        } else if declared.sha1.is_some_and(|sha1| sha1 != note.sha1) {
            "hash"
        } else if declared.sha256.is_some_and(|sha256| sha256 != note.sha256) {
            "sha256"
        } else {
            return Ok(());
        };
        Err(mismatch(self.index, part).into())
    }
}

/// Takes `data` out of every attachment: its bytes have been decoded and are not kept twice.
pub(super) fn forget_data(object: &mut Object<'_>) {
    let entries = object.get_mut("content").and_then(Value::as_array_mut).into_iter().flatten();
    for entry in entries.filter_map(Value::as_object_mut) {
        if let Some(attachment) = entry.get_mut("attachment").and_then(Value::as_object_mut) {
            attachment.remove("data");
        }
    }
}

pub(super) fn read(object: &Object<'_>, base: &Base, issues: &mut Vec<Issue>) -> Vec<Content> {
    (0u16..).zip(object.objects("content")).map(|(at, entry)| one(at, entry, base, issues)).collect()
}

fn one(at: u16, entry: &Object<'_>, base: &Base, issues: &mut Vec<Issue>) -> Content {
    let empty = Object::new();
    let attachment = entry.object("attachment").unwrap_or(&empty);
    let path = format!("DocumentReference.content[{at}].attachment");
    let source = source(attachment, base, &path).unwrap_or_else(|issue| {
        issues.push(issue);
        Source::Nothing
    });
    let sha256 = sha256(attachment, &path).unwrap_or_else(|issue| {
        issues.push(issue);
        None
    });
    if let (Source::Data(bytes), Some(said)) = (&source, sha256)
        && digest::digest(&digest::SHA256, bytes).as_ref() != said
    {
        issues.push(mismatch(at, "sha256"));
    }
    let text = |name: &str| attachment.text(name).map(str::to_owned);
    let size = attachment.get("size").and_then(|size| size.as_i64()).and_then(|size| u64::try_from(size).ok());
    let sha1 = attachment.text("hash").and_then(decode).and_then(|hash| hash.try_into().ok());
    let declared = Declared { size, sha1, sha256 };
    Content { index: at, source, media_type: text("contentType"), title: text("title"), declared }
}

fn source(attachment: &Object<'_>, base: &Base, path: &str) -> Result<Source, Issue> {
    if let Some(data) = attachment.text("data") {
        let issue = || Issue::new(Code::ValueMalformed).at(&format!("{path}.data"));
        let bytes = decode(data).ok_or_else(|| issue().fill("datatype", "base64Binary").fill("example", "SGVsbG8="))?;
        return Ok(Source::Data(Bytes::from(bytes)));
    }
    let Some(url) = attachment.text("url") else { return Ok(Source::Nothing) };
    match base.named_file(url) {
        Named::File(file) => Ok(Source::File(file)),
        Named::Unknown => Err(Issue::new(Code::ReferenceNotFound).at(&format!("{path}.url"))),
        Named::Elsewhere => Err(Issue::new(Code::SourceRefused).at(&format!("{path}.url"))),
    }
}

fn sha256(attachment: &Object<'_>, path: &str) -> Result<Option<[u8; 32]>, Issue> {
    let found = attachment.objects("extension").enumerate().find(|(_, one)| one.text("url") == Some(SHA256));
    let Some((at, extension)) = found else { return Ok(None) };
    let bytes = extension.text("valueString").and_then(|text| hex::decode(text).ok());
    let digest = bytes.and_then(|bytes| bytes.try_into().ok());
    digest.map(Some).ok_or_else(|| {
        let issue = Issue::new(Code::ValueMalformed).at(&format!("{path}.extension[{at}].value"));
        issue.fill("datatype", "SHA-256 in hex").fill("example", "64 digits of 0-9 and a-f")
    })
}

/// Decodes base64 with or without blanks and padding.
pub(in crate::fhir) fn decode(text: &str) -> Option<Vec<u8>> {
    if text.bytes().any(|byte| byte.is_ascii_whitespace()) {
        let dense: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        return BASE64.decode(dense).ok();
    }
    BASE64.decode(text).ok()
}

fn mismatch(at: u16, part: &'static str) -> Issue {
    let member = if part == "sha256" { "extension" } else { part };
    let path = format!("DocumentReference.content[{at}].attachment.{member}");
    Issue::new(Code::ContentMismatch).at(&path).fill("part", part)
}
