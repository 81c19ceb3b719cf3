//! What a caller wants to get (`Accept`, `_format`, `Prefer`) and says it sends (`Content-Type`), pure. RFC 9110 §12.5.1, FHIR R4
//! http §3.1.0.1.9 (content types) and §3.1.0.1.8 (Prefer).

use crate::domain::refusal::{Code, Issue, Refusal};

/// The media type of every FHIR answer.
pub const FHIR_JSON: &str = "application/fhir+json; charset=utf-8";

/// Formats that texts name.
const FORMATS: &str = "application/fhir+json";

/// Media ranges that are looked at.
const RANGES_MOST: usize = 32;

/// One media range of `Accept` with its weight in thousandths.
#[derive(Debug, Clone, PartialEq, Eq)]
struct MediaRange {
    name: String,
    version: Option<String>,
    weight: u16,
}

/// Name and parameters of a media type, in lower case.
fn split_media(text: &str) -> (String, Vec<(String, String)>) {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let pairs = parts.filter_map(|part| part.split_once('='));
    let pairs = pairs
        .map(|(key, value)| (key.trim().to_ascii_lowercase(), value.trim().trim_matches('"').to_ascii_lowercase()));
    (name, pairs.collect())
}

fn parameter(pairs: &[(String, String)], name: &str) -> Option<String> {
    pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
}

fn ranges(accept: &str) -> Vec<MediaRange> {
    let parts = accept.split(',').map(str::trim).filter(|part| !part.is_empty()).take(RANGES_MOST);
    parts
        .map(|part| {
            let (name, pairs) = split_media(part);
            let weight = parameter(&pairs, "q").map_or(1000, |q| thousandths(&q));
            MediaRange { name, version: parameter(&pairs, "fhirversion"), weight }
        })
        .collect()
}

/// A qvalue (RFC 9110 §12.4.2); a malformed one counts as 1.
fn thousandths(text: &str) -> u16 {
    let value = text.parse::<f32>().ok().filter(|q| (0.0..=1.0).contains(q)).unwrap_or(1.0);
    // In 0..=1000 by the filter above.
    (0..=1000u16).rev().find(|n| f32::from(*n) <= value * 1000.0 + 0.5).unwrap_or(0)
}

fn is_fhir_json(name: &str) -> bool {
    matches!(name, "application/fhir+json" | "application/json" | "text/json" | "json")
}

fn is_version_4_0(version: Option<&str>) -> bool {
    version.is_none_or(|version| matches!(version, "4.0" | "4.0.1"))
}

/// Whether FHIR JSON can be the answer. `_format` wins over `Accept`.
///
/// # Errors
/// `accept-unsupported` (406).
pub fn fhir_json(accept: Option<&str>, format: Option<&str>) -> Result<(), Refusal> {
    let acceptable = match (format, accept) {
        (Some(format), _) => {
            // In a query, `application/fhir+json` arrives with a space where nobody encoded the plus.
            let (name, pairs) = split_media(&format.replace(' ', "+"));
            is_fhir_json(&name) && is_version_4_0(parameter(&pairs, "fhirversion").as_deref())
        }
        (None, None) => true,
        (None, Some(accept)) => {
            let ranges = ranges(accept);
            ranges.is_empty()
                || ranges.iter().any(|range| {
                    let named = is_fhir_json(&range.name) || matches!(&*range.name, "*/*" | "application/*");
                    named && range.weight > 0 && is_version_4_0(range.version.as_deref())
                })
        }
    };
    if acceptable { Ok(()) } else { Err(unsupported()) }
}

/// 406 with the formats that there are.
pub fn unsupported() -> Refusal {
    Refusal::new(Issue::new(Code::AcceptUnsupported).fill("formats", FORMATS))
}

/// How a Binary is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BinaryForm {
    /// Its bytes.
    Raw,
    /// The resource.
    Resource,
}

/// Bytes or resource (FHIR R4 binary.html): the resource only where FHIR JSON is asked for, above everything else that fits.
///
/// # Errors
/// `accept-unsupported` where neither is wanted.
pub fn binary_form(accept: Option<&str>, format: Option<&str>, stored: &str) -> Result<BinaryForm, Refusal> {
    if format.is_some() {
        return fhir_json(None, format).map(|()| BinaryForm::Resource);
    }
    let ranges = ranges(accept.unwrap_or("*/*"));
    if ranges.is_empty() {
        return Ok(BinaryForm::Raw);
    }
    let stored = split_media(stored).0;
    let raw = weight_of(&ranges, &stored);
    let generic = matches!(&*stored, "application/json" | "text/json") || stored.ends_with("+json");
    let fhir = ranges.iter().filter(|range| match &*range.name {
        "application/fhir+json" => is_version_4_0(range.version.as_deref()),
        // Plain JSON means the content where that is JSON itself, else the resource.
        "application/json" | "text/json" => !generic,
        _ => false,
    });
    let fhir = fhir.map(|range| range.weight).max().unwrap_or(0);
    let raw = if generic && ranges.iter().any(|range| range.name == "application/json") { raw.max(1) } else { raw };
    // As much wanted as any bytes (`*/*`), the one that was named wins; content that is FHIR itself comes as the resource.
    let is_named = stored != "application/fhir+json" && ranges.iter().any(|range| range.name == stored);
    if fhir == 0 && raw == 0 {
        Err(unsupported())
    } else if fhir > raw || (fhir == raw && !is_named) {
        Ok(BinaryForm::Resource)
    } else {
        Ok(BinaryForm::Raw)
    }
}

/// Weight of a media type: the most specific range that covers it decides.
fn weight_of(ranges: &[MediaRange], media: &str) -> u16 {
    let family = media.split('/').next().unwrap_or_default();
    let by = |name: &str| ranges.iter().filter(|range| range.name == name).map(|range| range.weight).max();
    by(media).or_else(|| by(&format!("{family}/*"))).or_else(|| by("*/*")).unwrap_or(0)
}

/// Whether a page is wanted rather than something for programs: `text/html` ranks above JSON, problem and FHIR types.
pub fn prefers_html(accept: Option<&str>) -> bool {
    let Some(accept) = accept else { return false };
    let ranges = ranges(accept);
    let weight =
        |names: &[&str]| ranges.iter().filter(|range| names.contains(&&*range.name)).map(|range| range.weight).max();
    let html = weight(&["text/html", "application/xhtml+xml"]).unwrap_or(0);
    let json = ["application/json", "application/problem+json", "application/fhir+json", "text/json"];
    html > 0 && html > weight(&json).unwrap_or(0)
}

/// Whether a body's `Content-Type` is FHIR JSON, version 4.0.
pub fn is_fhir_body(content_type: &str) -> bool {
    let (name, pairs) = split_media(content_type);
    let utf8 = parameter(&pairs, "charset").is_none_or(|charset| charset == "utf-8");
    matches!(&*name, "application/fhir+json" | "application/json" | "text/json")
        && utf8
        && is_version_4_0(parameter(&pairs, "fhirversion").as_deref())
}

/// Whether a body's `Content-Type` is one of FHIR's, readable here or not: such a body is never stored as raw bytes.
pub fn is_fhir_type(content_type: &str) -> bool {
    matches!(
        &*split_media(content_type).0,
        "application/fhir+json" | "application/fhir+xml" | "application/fhir+turtle" | "text/turtle"
    )
}

/// Whether a body is a form.
pub fn is_form(content_type: &str) -> bool {
    split_media(content_type).0 == "application/x-www-form-urlencoded"
}

/// 415 with what is read.
pub fn media_type_unsupported(formats: &str) -> Refusal {
    Refusal::new(Issue::new(Code::MediaTypeUnsupported).fill("formats", formats))
}

/// What `Prefer` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Preferences {
    /// `return=`.
    pub shown: ShownAfterWrite,
    /// `handling=strict`.
    pub strict: bool,
}

/// The body of the answer to a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ShownAfterWrite {
    /// None.
    Minimal,
    /// The resource.
    #[default]
    Representation,
    /// An OperationOutcome.
    Outcome,
}

/// Reads all `Prefer` headers, joined by commas (RFC 7240 §2: the first of a name counts).
pub fn preferences(prefer: Option<&str>) -> Preferences {
    let mut found = Preferences::default();
    let (mut shown, mut handling) = (false, false);
    for part in prefer.unwrap_or_default().split([',', ';']).map(str::trim).take(RANGES_MOST) {
        let Some((name, value)) = part.split_once('=') else { continue };
        match (name.trim().to_ascii_lowercase().as_str(), value.trim().trim_matches('"').to_ascii_lowercase().as_str())
        {
            ("return", value) if !shown => {
                shown = true;
                found.shown = match value {
                    "minimal" => ShownAfterWrite::Minimal,
                    "operationoutcome" => ShownAfterWrite::Outcome,
                    _ => ShownAfterWrite::Representation,
                };
            }
            ("handling", value) if !handling => {
                handling = true;
                found.strict = value == "strict";
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn json_is_given_where_it_is_wanted_or_nothing_is_said() {
        for good in [
            "*/*",
            "application/fhir+json",
            "application/json;q=0.1, text/html",
            "application/fhir+json; fhirVersion=4.0",
            "",
        ] {
            assert!(fhir_json(Some(good), None).is_ok(), "{good}");
        }
        for bad in
            ["application/fhir+xml", "text/html", "application/fhir+json;fhirVersion=3.0", "application/json;q=0"]
        {
            assert_eq!(fhir_json(Some(bad), None).unwrap_err().status(), 406, "{bad}");
        }
        assert!(
            fhir_json(Some("text/html"), Some("json")).is_ok()
                && fhir_json(None, Some("application/fhir json")).is_ok()
        );
        assert!(fhir_json(Some("*/*"), Some("xml")).is_err());
    }

    // The table of FHIR R4 binary.html, "Serving Binary Resources using the RESTful API".
    #[test]
    fn a_binary_is_bytes_unless_fhir_is_asked_for() {
        for (accept, stored, form) in [
            (None, "application/pdf", BinaryForm::Raw),
            (Some("*/*"), "application/pdf", BinaryForm::Raw),
            (Some("application/pdf"), "application/pdf", BinaryForm::Raw),
            (
                Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
                "application/pdf",
                BinaryForm::Raw,
            ),
            (Some("application/fhir+json"), "application/pdf", BinaryForm::Resource),
            (Some("application/fhir+json"), "application/fhir+json", BinaryForm::Resource),
            (Some("application/json"), "application/pdf", BinaryForm::Resource),
            (Some("application/json"), "application/vnd.x+json", BinaryForm::Raw),
            (Some("application/fhir+json, */*;q=0.5"), "application/pdf", BinaryForm::Resource),
            (Some("application/fhir+json;q=0.5, application/pdf"), "application/pdf", BinaryForm::Raw),
        ] {
            assert_eq!(binary_form(accept, None, stored).unwrap(), form, "{accept:?} {stored}");
        }
        assert_eq!(binary_form(None, Some("json"), "application/pdf").unwrap(), BinaryForm::Resource);
        assert_eq!(binary_form(Some("image/png"), None, "application/pdf").unwrap_err().status(), 406);
        assert_eq!(
            binary_form(Some("application/pdf;q=0, */*;q=0"), None, "application/pdf").unwrap_err().status(),
            406
        );
    }

    #[test]
    fn a_page_is_for_browsers() {
        assert!(prefers_html(Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")));
        for program in [
            None,
            Some("*/*"),
            Some("application/json, text/html;q=0.9"),
            Some("application/fhir+json"),
            Some("text/html;q=0"),
        ] {
            assert!(!prefers_html(program), "{program:?}");
        }
    }

    #[test]
    fn preferences_are_read_as_rfc_7240_writes_them() {
        let read = preferences(Some("return=minimal, handling=strict"));
        assert_eq!((read.shown, read.strict), (ShownAfterWrite::Minimal, true));
        assert_eq!(preferences(Some("return=OperationOutcome")).shown, ShownAfterWrite::Outcome);
        assert_eq!(preferences(Some("return=minimal, return=representation")).shown, ShownAfterWrite::Minimal);
        assert_eq!(preferences(None), Preferences::default());
    }

    #[test]
    fn bodies_are_fhir_json_of_version_4() {
        assert!(
            is_fhir_body("application/fhir+json; charset=UTF-8; fhirVersion=4.0") && is_fhir_body("application/json")
        );
        assert!(
            !is_fhir_body("application/fhir+xml")
                && !is_fhir_body("application/json; charset=latin1")
                && !is_fhir_body("")
        );
        assert!(is_fhir_type("application/fhir+xml") && !is_fhir_type("application/xml"));
    }

    proptest! {
        #[test]
        fn any_header_is_read_without_failing(text in "[ -~]{0,80}") {
            let _ = (fhir_json(Some(&text), Some(&text)), binary_form(Some(&text), None, "a/b"), preferences(Some(&text)), prefers_html(Some(&text)));
        }
    }
}
