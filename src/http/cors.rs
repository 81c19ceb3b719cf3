//! Which web pages may call (WHATWG Fetch, CORS): discovery and keys from anywhere; links from the origins of the settings. Browser
//! apps as clients come with the code flow; until then no other path answers to another origin.

use actix_web::http::header::{self, HeaderMap, HeaderValue};

use super::error::value;
use crate::config::WebOrigin;

/// Methods that a page may use.
const METHODS: &str = "GET, HEAD, OPTIONS";
/// Headers that a page may send.
const ALLOWED: &str = "Accept, If-Range, Range, X-Request-Id";
/// Headers that a page may read.
const EXPOSED: &str = "Accept-Ranges, Content-Disposition, Content-Range, Daylily-Error, ETag, Last-Modified, Link, Repr-Digest, Retry-After, X-Request-Id";
/// Seconds that a browser may remember an answer to OPTIONS.
const REMEMBER: &str = "600";

/// Paths that anyone's page may read.
fn is_open(path: &str) -> bool {
    matches!(
        path,
        "/fhir/metadata" | "/fhir/.well-known/smart-configuration" | "/.well-known/openid-configuration" | "/auth/jwks"
    )
}

/// What `Access-Control-Allow-Origin` says for a page of `origin` on `path` (below the base), if anything.
pub(super) fn allowed<'a>(path: &str, origin: &'a str, origins: &[WebOrigin]) -> Option<&'a str> {
    if is_open(path) {
        return Some("*");
    }
    (path.starts_with("/d/") && origins.iter().any(|known| known.as_str() == origin)).then_some(origin)
}

/// Puts the headers of an allowed origin on an answer, an error too.
pub(super) fn permit(headers: &mut HeaderMap, allowed: &str, preflight: bool) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, value(allowed));
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    // The page of another origin reads this on purpose.
    headers.insert(
        header::HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("cross-origin"),
    );
    if preflight {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOWED));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(REMEMBER));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_origins_read_links_and_none_the_fhir_api() {
        let origins = [WebOrigin::parse("https://viewer.example").unwrap()];
        assert_eq!(allowed("/d/abc", "https://viewer.example", &origins), Some("https://viewer.example"));
        for (path, origin) in [
            ("/d/abc", "https://viewer.example.evil"),
            ("/d/abc", "null"),
            ("/fhir/Patient", "https://viewer.example"),
            ("/auth/token", "https://viewer.example"),
            ("/fhir/metadata/x", "https://viewer.example"),
        ] {
            assert_eq!(allowed(path, origin, &origins), None, "{path} {origin}");
        }
        assert_eq!(allowed("/fhir/metadata", "https://any.example", &origins), Some("*"));
    }
}
