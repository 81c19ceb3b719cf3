//! Who sees what: reach, scope, and every route under every kind of caller.

use daylily::control::{ClientChange, Request};
use reqwest::Method;
use serde_json::json;

use crate::support::*;

/// What must be alike: status, every header but those that differ by nature, and the body.
fn likeness(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let headers = answer.headers.iter().filter(|(name, _)| *name != "date" && *name != "x-request-id");
    let mut headers: Vec<_> =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    headers.sort();
    (answer.status, headers, answer.text().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_sees_what_its_reach_covers() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let named = daylily.client("named", FULL, &["own"]).await;
    let stranger = daylily.client("stranger", FULL, &["own"]).await;
    let ward = daylily.client("ward", FULL, &["custodian=Organization/7"]).await;
    let all = daylily.client("all", FULL, &["all"]).await;
    let pdf = inline("application/pdf", &pdf(1, 100));
    let plain = daylily.ready(&source, &document("p1", std::slice::from_ref(&pdf))).await;
    let sent = daylily.ready(&source, &to_recipient(document("p1", std::slice::from_ref(&pdf)), "named")).await;
    let mut kept = document("p1", &[pdf]);
    kept["custodian"] = json!({ "reference": "Organization/7" });
    let kept = daylily.ready(&source, &kept).await;
    let expected: [(&Actor, &[&String]); 5] = [
        (&source, &[&plain, &sent, &kept]),
        (&named, &[&sent]),
        (&stranger, &[]),
        (&ward, &[&kept]),
        (&all, &[&plain, &sent, &kept]),
    ];
    for (actor, visible) in expected {
        let bundle = actor.get("DocumentReference?patient=p1&_count=50").await.ok(200);
        let mut found = matches(&bundle);
        let mut wanted: Vec<String> = visible.iter().map(|id| (*id).clone()).collect();
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted, "{:?}", actor.id);
        assert_eq!(bundle["total"], visible.len());
        for id in [&plain, &sent, &kept] {
            let status = actor.get(&format!("DocumentReference/{id}")).await.status;
            assert_eq!(status, if visible.contains(&id) { 200 } else { 404 }, "{:?}", actor.id);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a063_foreign_and_absent_are_the_same_answer_byte_for_byte() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let stranger = daylily.client("stranger", FULL, &["own"]).await;
    let (id, link) = daylily.ready_link(&source, &pdf(1, 100)).await;
    let handle = text(&source.get(&format!("DocumentReference/{id}")).await.ok(200), "/content/0/attachment/url");
    assert_eq!(handle, link);
    let unclaimed = text(&source.upload("application/pdf", &pdf(2, 100)).await.ok(201), "/id");
    source.put("Patient/pat-1", &json!({ "resourceType": "Patient", "id": "pat-1" })).await.ok(201);
    let absent: String = id.chars().rev().collect();
    let absent_file: String = unclaimed.chars().rev().collect();
    let pairs = [
        (Method::GET, "DocumentReference/{}", &id, &absent),
        (Method::HEAD, "DocumentReference/{}", &id, &absent),
        (Method::GET, "DocumentReference/{}/$lifecycle", &id, &absent),
        (Method::POST, "DocumentReference/{}/$lifecycle", &id, &absent),
        (Method::POST, "DocumentReference/{}/$issue-link", &id, &absent),
        (Method::POST, "DocumentReference/{}/$revoke", &id, &absent),
        (Method::GET, "Binary/{}", &unclaimed, &absent_file),
        (Method::GET, "Binary/{}/_history/1", &unclaimed, &absent_file),
        (Method::GET, "Patient/{}", &"pat-1".to_owned(), &"pat-2".to_owned()),
    ];
    for (method, path, foreign, absent) in pairs {
        let mut answers = Vec::new();
        for id in [foreign, absent] {
            let request = stranger.request(method.clone(), &path.replace("{}", id)).await;
            answers.push(Answer::of(request.header("X-Request-Id", "same")).await);
        }
        assert_eq!(answers[0].said(), (404, "resource-not-found"), "{method} {path}");
        assert_eq!(likeness(&answers[0]), likeness(&answers[1]), "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scopes_are_held_to_per_interaction() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (id, _) = daylily.ready_link(&source, &pdf(1, 100)).await;
    let body = document("p1", &[inline("application/pdf", &pdf(2, 100))]);
    for (at, (scope, create, read, search, issue, revoke)) in [
        ("system/DocumentReference.c", 201, 403, 403, 403, 403),
        ("system/DocumentReference.r", 403, 200, 403, 200, 403),
        ("system/DocumentReference.s", 403, 403, 200, 403, 403),
        ("system/DocumentReference.rs", 403, 200, 200, 200, 403),
        ("system/Patient.cruds", 403, 403, 403, 403, 403),
        // Owner is the other half of the right; this one is not.
        ("system/DocumentReference.cruds", 201, 200, 200, 200, 403),
    ]
    .into_iter()
    .enumerate()
    {
        let actor = daylily.client(&format!("c{at}"), scope, &["all"]).await;
        let none = parameters(&[]);
        let said = [
            (create, actor.post("DocumentReference", &body).await),
            (read, actor.get(&format!("DocumentReference/{id}")).await),
            (search, actor.get("DocumentReference?patient=p1").await),
            (issue, actor.post(&format!("DocumentReference/{id}/$issue-link"), &none).await),
            (revoke, actor.post(&format!("DocumentReference/{id}/$revoke"), &none).await),
        ];
        for (step, (status, answer)) in said.iter().enumerate() {
            assert_eq!(answer.status, *status, "{scope} {step} {}", answer.text());
            if *status == 403 {
                assert!(matches!(answer.code(), "scope-insufficient" | "role-insufficient"), "{scope}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_is_switched_off_ends_at_once_and_comes_back() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    assert_eq!(source.get("DocumentReference?patient=p1").await.status, 200);
    let change = async |change| {
        daylily.command(Request::ClientChange { id: "source".to_owned(), change }).await.unwrap();
    };
    change(ClientChange::Disable).await;
    let refused = source.get("DocumentReference?patient=p1").await;
    assert_eq!(refused.status, 401);
    assert!(refused.code().starts_with("token-"), "{}", refused.code());
    let refused = source.ask_token(&source.assertion(), FULL).await;
    assert_eq!((refused.status, refused.json()["error"].as_str()), (401, Some("invalid_client")));
    change(ClientChange::Enable).await;
    source.ask_token(&source.assertion(), FULL).await.ok(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_end_and_assertions_serve_once() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let token = source.token().await;
    let ask = async || {
        Answer::of(
            daylily.http.get(format!("{}/fhir/DocumentReference?patient=p1", daylily.base())).bearer_auth(&token),
        )
        .await
    };
    assert_eq!(ask().await.status, 200);
    daylily.clock.advance(std::time::Duration::from_secs(299));
    assert_eq!(ask().await.status, 200);
    daylily.clock.advance(std::time::Duration::from_secs(32));
    let late = ask().await;
    assert_eq!(late.said(), (401, "token-expired"));
    assert!(late.header("www-authenticate").starts_with("Bearer"), "RFC 6750 §3");
    let assertion = source.assertion();
    source.ask_token(&assertion, FULL).await.ok(200);
    let again = source.ask_token(&assertion, FULL).await;
    assert_eq!((again.status, again.json()["error"].as_str()), (401, Some("invalid_client")));
    assert_eq!(again.header("cache-control"), "no-store");
}

/// Every route, with what a stranger, a client without the right, and one with it are told. The list is held to `routes.rs`.
struct Route {
    pattern: &'static str,
    method: &'static str,
    path: &'static str,
    /// No token; token without the scope; token with it.
    told: [u16; 3],
}

const fn route(pattern: &'static str, method: &'static str, path: &'static str, told: [u16; 3]) -> Route {
    Route { pattern, method, path, told }
}

/// `{doc}`, `{file}` and `{link}` are filled in.
const ROUTES: &[Route] = &[
    route("/fhir/metadata", "GET", "/fhir/metadata", [200; 3]),
    route("/fhir/.well-known/smart-configuration", "GET", "/fhir/.well-known/smart-configuration", [200; 3]),
    route("/.well-known/openid-configuration", "GET", "/.well-known/openid-configuration", [200; 3]),
    route("/.well-known/oauth-authorization-server", "GET", "/.well-known/oauth-authorization-server", [200; 3]),
    route("/auth/jwks", "GET", "/auth/jwks", [200; 3]),
    route("/auth/token", "POST", "/auth/token", [415; 3]),
    route("/fhir/{types}", "GET", "/fhir/CodeSystem?url=urn:daylily:fhir/CodeSystem/error", [200; 3]),
    route("/fhir/{types}/{ID}", "GET", "/fhir/CodeSystem/error", [200; 3]),
    route("/errors/{code}", "GET", "/errors/link-expired", [200; 3]),
    route("/d/{token:.*}", "GET", "{link}", [200; 3]),
    // Opened by an operator's command alone, for ten seconds.
    route("/probe/{token}", "GET", "/probe/none", [404; 3]),
    route("/fhir/Binary", "POST", "/fhir/Binary", [401, 403, 201]),
    route("/fhir/Binary/{ID}", "GET", "/fhir/Binary/{file}", [401, 403, 200]),
    route("/fhir/Binary/{id}/_history/{version}", "GET", "/fhir/Binary/{file}/_history/1", [401, 403, 200]),
    route("{searchable}/_search", "POST", "/fhir/DocumentReference/_search", [401, 403, 200]),
    route("{searchable}", "GET", "/fhir/DocumentReference?patient=p1", [401, 403, 200]),
    route("{searchable}", "GET", "/fhir/Patient?_id=x", [401, 403, 405]),
    route("{searchable}", "POST", "/fhir/DocumentReference", [401, 403, 201]),
    route("{searchable}", "POST", "/fhir/Patient", [401, 403, 201]),
    route("/fhir/{{type:DocumentReference}}/{ID}", "GET", "/fhir/DocumentReference/{doc}", [401, 403, 200]),
    route(
        "/fhir/DocumentReference/{id}/{operation:\\\\$lifecycle}",
        "GET",
        "/fhir/DocumentReference/{doc}/$lifecycle",
        [401, 403, 200],
    ),
    route(
        "/fhir/DocumentReference/{id}/{operation:\\\\$issue-link|\\\\$revoke|\\\\$acknowledge}",
        "POST",
        "/fhir/DocumentReference/{doc}/$issue-link",
        [401, 403, 200],
    ),
    // Nobody's by token: people with a role, by command.
    route(
        "/fhir/DocumentReference/{id}/{operation:\\\\$hold|\\\\$release-hold}",
        "POST",
        "/fhir/DocumentReference/{doc}/$hold",
        [401, 403, 403],
    ),
    route("/fhir/{type:Subscription}", "POST", "/fhir/Subscription", [401, 403, 422]),
    route("/fhir/{{type:Subscription}}/{ID}", "GET", "/fhir/Subscription/none", [401, 403, 404]),
    route("/fhir/{{type:Subscription}}/{ID}", "PUT", "/fhir/Subscription/none", [401, 403, 405]),
    route("/fhir/{{type:Subscription}}/{ID}", "DELETE", "/fhir/Subscription/none", [401, 403, 404]),
    route(
        "/fhir/Subscription/{id}/$webhook-secret",
        "POST",
        "/fhir/Subscription/none/$webhook-secret",
        [401, 403, 404],
    ),
    route("{context}/{ID}", "PUT", "/fhir/Patient/pat-1", [401, 403, 201]),
    route("{context}/{ID}", "GET", "/fhir/Patient/pat-1", [401, 403, 200]),
    route("/livez", "GET", "/livez", [200; 3]),
    route("/readyz", "GET", "/readyz", [200; 3]),
    route("/metrics", "GET", "/metrics", [200; 3]),
];

/// The patterns that `routes.rs` registers.
fn registered() -> Vec<String> {
    let source = include_str!("../../src/http/routes.rs");
    let body = source.split("/// A resource that is only read.").next().unwrap();
    let mut found = Vec::new();
    for opening in ["get(", "refusing(", "web::resource("] {
        for rest in body.split(opening).skip(1) {
            let rest = rest.trim_start().trim_start_matches("&format!(").trim_start_matches('&');
            match rest.strip_prefix('"') {
                Some(text) => found.push(text.split('"').next().unwrap().to_owned()),
                // A pattern that was put together above: the name of the variable.
                None if rest.starts_with("searchable") => found.push("{searchable}".to_owned()),
                None => {
                    assert!(rest.starts_with(')') || rest.starts_with("to("), "unread: {}", &rest[..rest.len().min(40)])
                }
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a063_every_route_under_every_kind_of_caller() {
    let registered = registered();
    assert!(registered.len() > 15, "{registered:?}");
    for pattern in &registered {
        assert!(ROUTES.iter().any(|route| route.pattern == pattern), "{pattern} is not in the matrix");
    }
    for route in ROUTES {
        assert!(registered.iter().any(|pattern| pattern == route.pattern), "{} is no route", route.pattern);
    }
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let weak = daylily.client("weak", "system/Encounter.u", &["all"]).await;
    let (id, link) = daylily.ready_link(&source, &pdf(1, 100)).await;
    let file = text(&source.upload("application/pdf", &pdf(2, 100)).await.ok(201), "/id");
    for route in ROUTES {
        let path = route.path.replace("{doc}", &id).replace("{file}", &file);
        let url = if path == "{link}" { link.clone() } else { format!("{}{path}", daylily.base()) };
        let bearers = [None, Some(weak.token().await), Some(source.token().await)];
        for (bearer, told) in bearers.into_iter().zip(route.told) {
            let mut request = daylily.http.request(route.method.parse().unwrap(), &url);
            if let Some(bearer) = bearer {
                request = request.bearer_auth(bearer);
            }
            request = match route.path {
                "/fhir/Binary" => request.header("Content-Type", "application/pdf").body(pdf(3, 100)),
                "/fhir/DocumentReference/_search" => {
                    request.header("Content-Type", "application/x-www-form-urlencoded").body("patient=p1")
                }
                "/fhir/DocumentReference" => {
                    let body = document("p1", &[inline("application/pdf", &pdf(4, 100))]);
                    request.header("Content-Type", "application/fhir+json").body(body.to_string())
                }
                "/fhir/Patient" | "/fhir/Patient/pat-1" if route.method != "GET" => {
                    let mut body = json!({ "resourceType": "Patient" });
                    if route.method == "PUT" {
                        body["id"] = json!("pat-1");
                    }
                    request.header("Content-Type", "application/fhir+json").body(body.to_string())
                }
                "/fhir/Subscription" | "/fhir/Subscription/none" if matches!(route.method, "POST" | "PUT") => {
                    let body = json!({ "resourceType": "Subscription", "id": "none" });
                    request.header("Content-Type", "application/fhir+json").body(body.to_string())
                }
                _ => request,
            };
            let answer = Answer::of(request).await;
            assert_eq!(
                answer.status,
                told,
                "{} {} {}",
                route.method,
                route.path,
                String::from_utf8_lossy(&answer.bytes)
            );
            match told {
                401 => assert_eq!(answer.code(), "token-missing", "{}", route.path),
                403 if route.path.ends_with("/$hold") => assert_eq!(answer.code(), "role-insufficient"),
                403 => assert_eq!(answer.code(), "scope-insufficient", "{}", route.path),
                _ => {}
            }
        }
    }
}
