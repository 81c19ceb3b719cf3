//! What a request must be like before any route sees it: a path in its one spelling, a host that is this server's, credentials
//! once, sizes within the limits. Refusing here holds for every route alike, unknown ones too.

use actix_web::dev::ServiceRequest;
use actix_web::http::{Uri, header};

use super::authority::Authority;
use super::exchange::{Shared, below};
use super::{body, link_path};
use crate::domain::refusal::{Code, Issue, Refusal};

/// Headers that may stand once only.
const SINGLE: [header::HeaderName; 5] =
    [header::HOST, header::CONTENT_TYPE, header::RANGE, header::IF_RANGE, header::IF_MATCH];

/// Why a request goes no further, if so.
pub(super) fn refuse(shared: &Shared, request: &ServiceRequest) -> Option<Refusal> {
    sizes(shared, request)
        .or_else(|| path(shared.base_url.path(), request.uri().path()))
        .or_else(|| repeated(request))
        .or_else(|| foreign_host(shared, request))
        .or_else(|| query(shared, request.query_string()))
        .or_else(|| doubled(request.uri().path(), request.query_string()))
}

fn malformed(part: &str) -> Refusal {
    Refusal::new(Issue::new(Code::RequestMalformed).fill("part", part))
}

fn sizes(shared: &Shared, request: &ServiceRequest) -> Option<Refusal> {
    let limits = &shared.limits;
    let too_large = |part: &str, limit: u64, status: u16| {
        let issue =
            Issue::new(Code::RequestTooLarge).fill("part", part).fill("limit", crate::config::write_size(limit));
        Some(Refusal::new(issue).with_status(status))
    };
    let uri = request.uri().path_and_query().map_or(0, |text| text.as_str().len());
    if u64::try_from(uri).is_ok_and(|length| length > limits.uri_length) {
        return too_large("address", limits.uri_length, 414);
    }
    let head: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if u64::try_from(head).is_ok_and(|length| length > limits.head_length) {
        return too_large("head", limits.head_length, 431);
    }
    if request.headers().iter().count() > limits.headers {
        let issue = Issue::new(Code::RequestTooLarge).fill("part", "number of headers").fill("limit", limits.headers);
        return Some(Refusal::new(issue).with_status(431));
    }
    None
}

/// Every path that is served is written in letters that need no encoding; another spelling of one of them is none of ours. Below
/// `/d/` every spelling goes on: what is no link's is answered as an altered link is (see [`super::link_path`]).
fn path(base: &str, raw: &str) -> Option<Refusal> {
    if link_path::is_one(below(base, raw)) {
        return None;
    }
    if !raw.starts_with('/') || raw.bytes().any(|b| !b.is_ascii_graphic()) || !encoding_is_sound(raw) {
        return Some(malformed("path"));
    }
    let steps = || raw.split('/').skip(1);
    let last_is_empty = raw.len() > 1 && raw.ends_with('/');
    let empty_steps = steps().filter(|step| step.is_empty()).count();
    let odd = raw.bytes().any(|b| !(b.is_ascii_alphanumeric() || b"/-._~$".contains(&b)))
        || steps().any(|step| step == "." || step == "..")
        || (raw.len() > 1 && (empty_steps > 0 || last_is_empty));
    odd.then(|| Refusal::of(Code::PathUnknown))
}

/// `%XX` decodes to UTF-8 without control characters.
fn encoding_is_sound(raw: &str) -> bool {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        if *byte != b'%' {
            decoded.push(*byte);
            continue;
        }
        let Some((digits, tail)) = rest.split_at_checked(2) else { return false };
        let both = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(value) = both.and_then(|text| u8::from_str_radix(text, 16).ok()) else { return false };
        decoded.push(value);
        rest = tail;
    }
    std::str::from_utf8(&decoded).is_ok_and(|text| !text.chars().any(char::is_control))
}

fn repeated(request: &ServiceRequest) -> Option<Refusal> {
    let times = |name: &header::HeaderName| request.headers().get_all(name).count();
    if times(&header::AUTHORIZATION) > 1 {
        return Some(Refusal::of(Code::CredentialsMisplaced));
    }
    SINGLE.iter().find(|name| times(name) > 1).map(|name| malformed(&format!("header {name}")))
}

/// A name that is not this server's: an absolute-form target is one of HTTP and must agree with `Host`, and `Host` with the base URL.
/// Behind a proxy any `Host` is taken that can be one, since proxies send inner names; no URL is ever made from it.
fn foreign_host(shared: &Shared, request: &ServiceRequest) -> Option<Refusal> {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let Some(host) = host else { return Some(malformed("header host")) };
    let misdirected = || Some(malformed("header host").with_status(421));
    // RFC 9112 §3.2 has it empty where the target has no authority.
    if host.is_empty() && request.uri().authority().is_none() {
        return misdirected();
    }
    let Some(authority) = Authority::parse(host) else { return Some(malformed("header host")) };
    if !agrees(request.uri(), &authority) {
        return Some(malformed("target"));
    }
    if shared.answers_to(&authority) { None } else { misdirected() }
}

/// Whether a target names no host, or this one under a scheme that HTTP has.
fn agrees(target: &Uri, host: &Authority<'_>) -> bool {
    let Some(named) = target.authority() else { return target.scheme().is_none() };
    let scheme_port = match target.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        _ => return false,
    };
    Authority::parse(named.as_str()).is_some_and(|named| named.is_same(host, scheme_port))
}

fn query(shared: &Shared, query: &str) -> Option<Refusal> {
    let many = query.split('&').count() > shared.limits.query_parameters;
    many.then(|| {
        let limit = shared.limits.query_parameters;
        Refusal::new(Issue::new(Code::RequestTooLarge).fill("part", "number of parameters").fill("limit", limit))
            .with_status(414)
    })
}

/// Parameters of FHIR's that every route may have and that have one value.
const GENERAL: [&str; 2] = ["_format", "_pretty"];

/// One of them given twice: what the caller meant nobody knows. Below `/fhir` alone, since queries of links mean nothing.
fn doubled(path: &str, query: &str) -> Option<Refusal> {
    let is_fhir = || path.split('/').any(|step| step == "fhir");
    let twice = |name: &&&str| body::pairs(query.as_bytes()).iter().filter(|(key, _)| key == **name).count() > 1;
    let name = GENERAL.iter().filter(|_| query.contains('&') && is_fhir()).find(twice)?;
    let issue = Issue::new(Code::ParameterMalformed).at_http(name);
    Some(issue.fill("fault", "is given twice").fill("example", format!("{name}=… once")).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn status(raw: &str) -> Option<u16> {
        path("/sub", raw).map(|refusal| refusal.status())
    }

    #[test]
    fn a103_a209_only_one_spelling_of_a_path_goes_on() {
        for good in
            ["/", "/fhir/DocumentReference/abc-1.2/$issue-link", "/d/eyJ_-.~", "/fhir/.well-known/smart-configuration"]
        {
            assert_eq!(status(good), None, "{good}");
        }
        for unknown in [
            "//fhir",
            "/fhir/",
            "/fhir/./Patient",
            "/fhir/../x",
            "/fhir/%2e%2e",
            "/%64/x",
            "/d%2fx",
            "//d/x",
            "/fhir/a%2fb",
            "/fhir/Patient/1;.js",
            "/fhir/a:b",
            "/fhir/%E2%82%AC",
        ] {
            assert_eq!(status(unknown), Some(404), "{unknown}");
        }
        for malformed in ["/fhir/%00", "/e/%ff", "/e/%zz", "/e/%2", "/e/%0a", "/e/\u{e9}", "*", "x"] {
            assert_eq!(status(malformed), Some(400), "{malformed}");
        }
        // Whether it is a link's is not told here.
        for below in [
            "/d/../x",
            "/d/%2e%2e",
            "/d/a%2fb",
            "/d/a:b",
            "/d/%00",
            "/d/%ff",
            "/d/%zz",
            "/d/",
            "/d//",
            "/sub/d/=",
            "/d/a;x",
        ] {
            assert_eq!(status(below), None, "{below}");
        }
    }

    #[test]
    fn a197_what_has_one_value_is_given_once() {
        let told = |path: &str, query: &str| doubled(path, query).map(|refusal| refusal.status());
        for query in ["_format=json&_format=xml", "a=b&_pretty=true&%5Fpretty=false", "_format=json&_format=json"] {
            assert_eq!(told("/fhir/Patient/1", query), Some(400), "{query}");
            assert_eq!(told("/sub/fhir/metadata", query), Some(400), "{query}");
            assert_eq!(told("/d/abc", query), None, "{query}");
        }
        for query in ["", "_format=json&_pretty=true", "date=ge2026&date=lt2027"] {
            assert_eq!(told("/fhir/Patient/1", query), None, "{query}");
        }
    }

    proptest! {
        #[test]
        fn what_goes_on_needs_no_decoding(raw in "/[!-~]{0,30}") {
            if !link_path::is_one(&raw) && path("", &raw).is_none() {
                prop_assert!(!raw.contains('%') && !raw.contains("//") && !raw.contains(';') && !raw.split('/').any(|s| s == ".."));
            }
        }
    }
}
