//! `$webhook-secret`: its `Parameters` in and out.

use std::time::Duration;

use crate::domain::clock::parse_span;
use crate::domain::refusal::{Code, Issue, Refusal, is_plain_name};
use crate::fhir::json::{Object, write_text};

/// How long messages are signed with the old secret too, where `overlap` is absent.
const DEFAULT_OVERLAP: Duration = Duration::from_secs(24 * 3_600);
/// Longest `overlap`.
pub const MAX_OVERLAP: Duration = Duration::from_secs(7 * 24 * 3_600);

/// Reads the body of `$webhook-secret`; no body is an overlap of 24 hours.
///
/// # Errors
/// 400: `resource-mismatch`, `parameter-unsupported`, `parameter-malformed`.
pub fn overlap(body: Option<&Object<'_>>) -> Result<Duration, Refusal> {
    let Some(body) = body else { return Ok(DEFAULT_OVERLAP) };
    if body.text("resourceType") != Some("Parameters") {
        let issue = Issue::new(Code::ResourceMismatch).fill("part", "resource type");
        return Err(issue.fill("expected", "a Parameters resource").into());
    }
    let (mut overlap, mut issues) = (None, Vec::new());
    for (at, parameter) in body.objects("parameter").enumerate() {
        let place = format!("Parameters.parameter[{at}]");
        let name = parameter.text("name").unwrap_or_default();
        if name != "overlap" {
            let shown = if is_plain_name(name) { name } else { "A parameter" };
            let issue = Issue::new(Code::ParameterUnsupported).fill("parameter", shown).fill("names", "overlap");
            issues.push(issue.fill("type", "$webhook-secret").at(&place));
            continue;
        }
        let span = parameter.text("valueString").and_then(parse_span).filter(|span| *span <= MAX_OVERLAP);
        if span.is_none() || overlap.is_some() {
            let issue = Issue::new(Code::ParameterMalformed).fill("parameter", "overlap");
            let issue = issue.fill("fault", "must be one valueString from 0s to 7d").fill("example", "24h");
            issues.push(issue.at(&place));
        }
        overlap = span;
    }
    Refusal::of_all(issues).map_or(Ok(overlap.unwrap_or(DEFAULT_OVERLAP)), Err)
}

/// The answer of `$webhook-secret`. Whoever knows the secret can sign in this server's name.
pub fn secret_answer(secret: &str) -> String {
    let mut out = String::from("{\"resourceType\":\"Parameters\",\"parameter\":[{\"name\":\"secret\",\"valueString\":");
    write_text(secret, &mut out);
    out.push_str("}]}");
    out
}
