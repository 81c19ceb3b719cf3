//! What is refused before a handler decides: other methods, other paths, other hosts, what is too long.

use super::surface::{ask, get, with_token};

#[actix_web::test]
async fn a127_other_methods_are_refused_with_allow() {
    for (method, uri, allow, code) in [
        ("TRACE", "/d/good", "GET, HEAD", "method-not-allowed"),
        ("POST", "/d/good", "GET, HEAD", "method-not-allowed"),
        ("PUT", "/d/confirm", "GET, HEAD, POST", "method-not-allowed"),
        ("PUT", "/d/altered", "GET, HEAD", "method-not-allowed"),
        ("PUT", "/d/=/x", "GET, HEAD", "method-not-allowed"),
        ("PROPFIND", "/livez", "GET, HEAD", "method-not-allowed"),
        ("GET", "/auth/token", "POST", "method-not-allowed"),
        ("DELETE", "/fhir/DocumentReference/1", "GET, HEAD", "interaction-unsupported"),
        ("PUT", "/fhir/DocumentReference/1", "GET, HEAD", "interaction-unsupported"),
        ("GET", "/fhir/Binary", "POST", "interaction-unsupported"),
    ] {
        let request = get(uri).method(actix_web::http::Method::from_bytes(method.as_bytes()).unwrap());
        let seen = ask(request).await;
        assert_eq!(
            (seen.status, seen.header("allow"), seen.header("daylily-error")),
            (405, allow, code),
            "{method} {uri}"
        );
    }
}

#[actix_web::test]
async fn what_no_route_sees() {
    for (request, status, code) in [
        (get("/fhir/Foo/1"), 404, "path-unknown"),
        (get("/fhir//metadata"), 404, "path-unknown"),
        (get("/d/%2e%2e"), 403, "link-invalid"),
        (get("/metrics"), 404, "path-unknown"),
        (get("/livez").insert_header(("host", "evil.example")), 421, "request-malformed"),
        (with_token(get("/fhir/Patient/1")).append_header(("authorization", "Bearer b")), 400, "credentials-misplaced"),
        (get(&format!("/fhir/Patient?a={}", "x".repeat(9000))), 414, "request-too-large"),
        (get("/livez").insert_header(("x-a", "x".repeat(40_000))), 431, "request-too-large"),
    ] {
        let seen = ask(request).await;
        assert_eq!((seen.status, seen.header("daylily-error")), (status, code));
    }
}
