//! Attachment: the hash is SHA-1, and declared size and hash fit inline data (R4 datatypes.html#attachment; the
//! comparison is this server's rule).

use super::primitive::base64_length;
use super::report::Report;
use crate::domain::refusal::Code;
use crate::fhir::json::Object;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Bytes of a SHA-1.
const SHA1_LENGTH: usize = 20;

pub(super) fn check<'v>(object: &'v Object<'v>, report: &mut Report<'v>) {
    let hash = object.text("hash").filter(|hash| base64_length(hash).is_some());
    let sound = hash.filter(|hash| base64_length(hash) == Some(SHA1_LENGTH));
    if hash.is_some() && sound.is_none() {
        report.enter("hash");
        report.malformed("hash: base64 of SHA-1, 20 bytes", "`2jmj7l5rSw0yVb/vlWAYkK/YBwk=`");
        report.leave();
    }
    let Some((data, length)) = object.text("data").and_then(|data| Some((data, base64_length(data)?))) else { return };
    let size = object.get("size").and_then(|size| size.number_text());
    if size.is_some_and(|size| size.parse().is_ok_and(|size: i64| usize::try_from(size) != Ok(length))) {
        report.add_below("size", Code::ContentMismatch, |issue| issue.fill("part", "size"));
    }
    if sound.is_some_and(|hash| decode(hash) != Some(sha1(data))) {
        report.add_below("hash", Code::ContentMismatch, |issue| issue.fill("part", "hash"));
    }
}

fn sha1(data: &str) -> Vec<u8> {
    decode(data).map(|bytes| digest(&SHA1_FOR_LEGACY_USE_ONLY, &bytes).as_ref().to_vec()).unwrap_or_default()
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let spaced = text.bytes().any(|byte| byte.is_ascii_whitespace());
    if !spaced {
        return STANDARD.decode(text).ok();
    }
    let plain: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    STANDARD.decode(plain).ok()
}
