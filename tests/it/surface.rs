//! What every answer has in common: headers, shapes of refusals, formats, idempotency, pages for browsers.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::*;

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

async fn raw(daylily: &TestDaylily, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = daylily.http.request(method, format!("{}{path}", daylily.base()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::of(request.body(body.to_owned())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_has_its_id_and_the_headers_of_safety() {
    let daylily = TestDaylily::start().await;
    for (method, path) in [
        (Method::GET, "/fhir/metadata"),
        (Method::GET, "/fhir/DocumentReference"),
        (Method::GET, "/fhir/Nonsense"),
        (Method::DELETE, "/fhir/DocumentReference/x"),
        (Method::GET, "/d/x"),
        (Method::POST, "/auth/token"),
        (Method::GET, "/nothing"),
        (Method::GET, "/livez"),
        (Method::GET, "/errors/link-expired"),
        (Method::GET, "/fhir/a%2Fb"),
    ] {
        let answer = raw(&daylily, method.clone(), path, &[("X-Request-Id", "abc.DEF-123")], "").await;
        assert_eq!(answer.header("x-request-id"), "abc.DEF-123", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert!(answer.header("content-security-policy").contains("default-src 'none'"), "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        assert!(!answer.header("cache-control").is_empty(), "{path}");
        assert_eq!(answer.status >= 400, !answer.code().is_empty(), "{method} {path} {}", answer.status);
        if answer.status >= 400 {
            refusal_shape(path, &answer);
        }
        let odd = raw(&daylily, method, path, &[("X-Request-Id", "bad id <script>")], "").await;
        assert_ne!(odd.header("x-request-id"), "bad id <script>");
        assert!(!odd.header("x-request-id").is_empty());
    }
}

/// Under `/fhir` an OperationOutcome, under `/auth` the OAuth error, elsewhere a problem.
fn refusal_shape(path: &str, answer: &Answer) {
    let body = answer.json();
    if path.starts_with("/fhir") {
        assert!(answer.header("content-type").starts_with("application/fhir+json"), "{path}");
        assert_eq!(body["resourceType"], "OperationOutcome", "{path}");
        assert_eq!(body["issue"][0]["severity"], "error", "{path}");
        assert_eq!(body["issue"][0]["details"]["coding"][0]["system"], "urn:daylily:fhir/CodeSystem/error");
        assert_eq!(body["issue"][0]["details"]["coding"][0]["code"], answer.code());
    } else if path.starts_with("/auth") {
        assert!(answer.header("content-type").starts_with("application/json"), "{path}");
        assert!(body["error"].is_string() && body["error_description"].is_string(), "RFC 6749 §5.2: {body}");
        assert_eq!(answer.header("cache-control"), "no-store", "RFC 6749 §5.1");
    } else {
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
        assert_eq!(body["status"], answer.status, "RFC 9457 §3.1.2");
        assert!(body["title"].is_string() && body["type"].is_string(), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_beyond_the_limits_are_told_which() {
    let daylily = TestDaylily::start_with("", |settings| settings.limits.json_body = 64 * 1024).await;
    let source = daylily.source().await;
    let bearer = format!("Bearer {}", source.token().await);
    let with = |extra: &[(&'static str, String)]| {
        let mut headers = vec![("Authorization", bearer.clone())];
        headers.extend_from_slice(extra);
        headers
    };
    let fhir = ("Content-Type", "application/fhir+json".to_owned());
    type Case = (Method, String, Vec<(&'static str, String)>, String, u16, &'static str);
    let cases: [Case; 8] = [
        (
            Method::GET,
            format!("/fhir/Patient/{}", "x".repeat(9_000)),
            with(&[]),
            String::new(),
            414,
            "request-too-large",
        ),
        (
            Method::GET,
            "/fhir/Patient/x".into(),
            with(&[("X-Long", "x".repeat(40_000))]),
            String::new(),
            431,
            "request-too-large",
        ),
        (
            Method::POST,
            "/fhir/Patient".into(),
            with(std::slice::from_ref(&fhir)),
            " ".repeat(70_000),
            413,
            "request-too-large",
        ),
        (
            Method::POST,
            "/fhir/Patient".into(),
            with(&[("Content-Type", "text/csv".into())]),
            "{}".into(),
            415,
            "media-type-unsupported",
        ),
        (
            Method::POST,
            "/fhir/Patient".into(),
            with(&[fhir.clone(), ("Content-Encoding", "gzip".into())]),
            "{}".into(),
            415,
            "media-type-unsupported",
        ),
        (
            Method::GET,
            "/fhir/Patient/x".into(),
            with(&[("Accept", "application/fhir+xml".into())]),
            String::new(),
            406,
            "accept-unsupported",
        ),
        (Method::GET, "/fhir/Patient/x?_format=xml".into(), with(&[]), String::new(), 406, "accept-unsupported"),
        (
            Method::POST,
            "/fhir/Patient".into(),
            with(&[fhir]),
            "{\"resourceType\":\"Patient\",".into(),
            400,
            "body-malformed",
        ),
    ];
    for (method, path, headers, body, status, code) in cases {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = raw(&daylily, method.clone(), &path, &headers, &body).await;
        let short = &path[..path.len().min(40)];
        assert_eq!(answer.status, status, "{method} {short} {}", answer.text());
        // A head that the connection itself cannot hold is refused before any route.
        assert!(answer.code() == code, "{method} {short} {}", answer.code());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_is_answered_as_prefer_says() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let body = json!({ "resourceType": "Patient", "gender": "other" }).to_string();
    for (prefer, kind) in
        [("return=minimal", ""), ("return=OperationOutcome", "OperationOutcome"), ("return=representation", "Patient")]
    {
        let request = source.request(Method::POST, "Patient").await.header("Prefer", prefer);
        let answer = Answer::of(request.header("Content-Type", "application/fhir+json").body(body.clone())).await;
        assert_eq!(answer.status, 201);
        assert!(answer.header("location").starts_with(&format!("{}/fhir/Patient/", daylily.base())), "{prefer}");
        assert!(answer.header("location").ends_with("/_history/1"));
        let shown = if answer.bytes.is_empty() { String::new() } else { text(&answer.json(), "/resourceType") };
        assert_eq!(shown, kind, "{prefer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idempotency_key_makes_one_of_many_and_no_two_of_one() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let other = daylily.client("other", FULL, &["own"]).await;
    let send = async |actor: &Actor, key: &str, body: &Value| {
        let request = actor.request(Method::POST, "DocumentReference").await.header("Idempotency-Key", key);
        Answer::of(request.header("Content-Type", "application/fhir+json").body(body.to_string())).await
    };
    let body = document("p1", &[inline("application/pdf", &pdf(1, 100))]);
    let first = send(&source, "key-1", &body).await;
    let id = text(&first.ok(201), "/id");
    daylily.wait(&source, &id, "ready").await;
    let again = send(&source, "key-1", &body).await;
    assert_eq!((again.status, text(&again.json(), "/id")), (201, id.clone()));
    assert_eq!(again.header("location"), first.header("location"));
    let changed = document("p2", &[inline("application/pdf", &pdf(1, 100))]);
    assert_eq!(send(&source, "key-1", &changed).await.said(), (422, "idempotency-key-reused"));
    assert_ne!(text(&send(&other, "key-1", &changed).await.ok(201), "/id"), id, "keys are each client's own");
    assert_eq!(source.get("DocumentReference?patient=p1").await.ok(200)["total"], 1);
    for key in ["", &"k".repeat(129)] {
        assert_eq!(send(&source, key, &body).await.said(), (400, "parameter-malformed"));
    }
    daylily.clock.advance(std::time::Duration::from_secs(25 * 3_600));
    assert_ne!(text(&send(&source, "key-1", &body).await.ok(201), "/id"), id, "a day is over");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn browsers_get_small_pages_without_script_or_patient() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let mut attachment = inline("application/pdf", &pdf(1, 100));
    attachment["title"] = json!("Canary Title");
    let id = daylily.ready(&source, &document("canary-patient", &[attachment])).await;
    let link = daylily.link(&source, &id).await;
    let page = async |url: &str, status: u16| {
        let answer = Answer::of(daylily.http.get(url).header("Accept", BROWSER)).await;
        assert_eq!(answer.status, status, "{url}");
        assert!(answer.header("content-type").starts_with("text/html"), "{}", answer.header("content-type"));
        let page = answer.text().to_lowercase();
        assert!(page.starts_with("<!doctype html>") && page.len() < 15_000, "{}", page.len());
        for never in ["<script", "javascript:", "onerror", "canary", "http://", "src=", &id.to_lowercase()] {
            assert!(!page.replace(&daylily.base(), "").contains(never), "{never} in {page}");
        }
    };
    page(&format!("{link}x"), 403).await;
    page(&format!("{}/errors/link-expired", daylily.base()), 200).await;
    page(&format!("{}/nothing", daylily.base()), 404).await;
    let good = Answer::of(daylily.http.get(&link).header("Accept", BROWSER)).await;
    assert_eq!((good.status, good.header("content-type")), (200, "application/pdf"));
    source.post(&format!("DocumentReference/{id}/$revoke"), &parameters(&[])).await.ok(200);
    page(&link, 410).await;
    daylily.clock.advance(std::time::Duration::from_secs(3_600));
    page(&link, 410).await;
}
