//! What holds for every route that there is, read off the framework's own table of them: a route that is added is tried here without
//! anybody naming it.

use actix_web::http::Method;
use actix_web::test::TestRequest;

use super::surface::{Seen, ask, ask_from, ask_of, get, route_patterns, served, with_token};

/// Answers that anyone may keep: nothing in them is of anyone.
const OPEN: [&str; 6] = [
    "/fhir/metadata",
    "/fhir/.well-known/smart-configuration",
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
    "/auth/jwks",
    "/errors/",
];

/// Where requests come from.
const FAR: &str = "203.0.113.9:1";

const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];

/// Every path that a pattern's alternatives make, an id being an id: `/fhir/{type:A|B}/{id:[^/]*}` is `/fhir/A/x1`, `/fhir/B/x1`.
fn paths(pattern: &str) -> Vec<String> {
    let Some((before, rest)) = pattern.split_once('{') else { return vec![pattern.to_owned()] };
    let mut depth = 1;
    let end = rest.find(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        depth == 0
    });
    let (inside, behind) = rest.split_at(end.unwrap());
    let choices: Vec<String> = match inside.split_once(':') {
        Some(("id" | "token", _)) | None => vec![if inside == "code" { "link-expired" } else { "x1" }.to_owned()],
        Some((_, expression)) => expression.split('|').map(|choice| choice.replace('\\', "")).collect(),
    };
    let tails = paths(&behind[1..]);
    choices.iter().flat_map(|choice| tails.iter().map(move |tail| format!("{before}{choice}{tail}"))).collect()
}

/// Of an answer, whatever it is.
fn is_safe(what: &str, path: &str, seen: &Seen) {
    // Discovery and keys, which any page may read, are given to pages without a caller's own authority.
    let is_for_pages = seen.header("access-control-allow-origin") == "*";
    assert!(!is_for_pages || OPEN.contains(&path), "{what}");
    assert_eq!(seen.header("access-control-allow-credentials"), "", "{what}");
    assert_eq!(seen.header("x-request-id"), "req-1", "{what}");
    for (name, part) in [
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "default-src 'none'"),
        ("content-security-policy", "frame-ancestors 'none'"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", if is_for_pages { "cross-origin" } else { "same-origin" }),
        ("strict-transport-security", "max-age=31536000"),
    ] {
        assert!(seen.header(name).contains(part), "{what} {name}: {}", seen.header(name));
    }
    assert!(matches!(seen.header("referrer-policy"), "no-referrer" | "strict-origin"), "{what}");
    assert_eq!((seen.header("server"), seen.header("x-powered-by")), ("", ""), "{what}");
    let is_open = seen.status == 200 && OPEN.iter().any(|open| path.starts_with(open));
    let kept = seen.header("cache-control");
    assert!(kept.contains("no-store") || (is_open && kept.starts_with("public, ")), "{what}: {kept}");
    let is_not_ready = path == "/readyz" && seen.status == 503;
    let refused = seen.status >= 400 && !is_not_ready;
    assert_eq!(refused, !seen.header("daylily-error").is_empty(), "{what} {}", seen.status);
    assert_eq!(refused, seen.header("link").contains("rel=\"help\""), "{what}");
    assert!((200..600).contains(&seen.status) && seen.status != 500 || seen.header("daylily-error") == "server-fault");
}

#[actix_web::test]
async fn a215_every_route_answers_every_method_with_all_headers() {
    let patterns = route_patterns().await;
    assert!(patterns.len() >= 20, "{patterns:?}");
    let (app, mut tried) = (served().await, 0);
    for path in patterns.iter().flat_map(|pattern| paths(pattern)) {
        for name in METHODS {
            let request = || get(&path).method(Method::from_bytes(name.as_bytes()).unwrap());
            let page =
                || request().insert_header(("accept", "text/html")).insert_header(("origin", "https://evil.example"));
            for (kind, asked) in [("", request()), ("token ", with_token(request())), ("page ", page())] {
                let seen = ask_of(&app, asked, FAR).await;
                let what = format!("{kind}{name} {path}");
                is_safe(&what, &path, &seen);
                assert!(matches!(seen.header("access-control-allow-origin"), "" | "*"), "{what}");
                if seen.status == 405 {
                    assert!(!seen.header("allow").is_empty() && !seen.header("allow").contains(name), "{what}");
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 500, "{tried}");
}

#[actix_web::test]
async fn a214_no_path_ends_in_a_file_of_somebody_elses_cache() {
    let ends = ["/x.css", ";.js", ".css", "%2ejs", "%00.js", "/..;/x.js", "?.css", "/.js", "%3f.css", "%0a.css"];
    let app = served().await;
    for path in route_patterns().await.iter().flat_map(|pattern| paths(pattern)) {
        for end in ends {
            let asked = format!("{path}{end}");
            let seen = ask_of(&app, with_token(get(&asked)), FAR).await;
            is_safe(&asked, if end.starts_with('?') { &path } else { &asked }, &seen);
            // An id may have a dot in it; what it is the id of is still never kept by anyone.
            let is_id = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.');
            let is_an_id = asked.matches('/').count() == 3 && asked.rsplit('/').next().is_some_and(is_id);
            let is_another_path = end == "?.css" || is_an_id;
            assert!(seen.status >= 400 || is_another_path, "{asked}: {}", seen.status);
        }
    }
}

#[actix_web::test]
async fn a216_metrics_are_for_this_machine_and_health_tells_nothing() {
    let metrics = || get("/metrics");
    for address in ["203.0.113.9:1", "10.0.0.1:1", "[2001:db8::1]:1", "192.168.0.1:1"] {
        let seen = ask_from(metrics(), address).await;
        assert_eq!((seen.status, seen.header("daylily-error")), (404, "path-unknown"), "{address}");
    }
    for name in ["x-forwarded-for", "forwarded", "x-real-ip", "via"] {
        let seen = ask_from(metrics().insert_header((name, "127.0.0.1")), "127.0.0.1:1").await;
        assert_eq!(seen.status, 404, "{name}: a proxy on this machine is not this machine's own caller");
    }
    assert_eq!(ask_from(metrics(), "127.0.0.1:1").await.status, 200);
    assert_eq!(ask_from(metrics(), "[::1]:1").await.status, 200);
    assert_eq!(ask(get("/livez")).await.body, "ok\n");
    assert_eq!(ask(get("/readyz")).await.body, "not ready: store\n");
    for path in [
        "/debug",
        "/debug/pprof/",
        "/actuator",
        "/actuator/env",
        "/status",
        "/info",
        "/server-status",
        "/healthz",
        "/.env",
    ] {
        assert_eq!(ask(get(path)).await.status, 404, "{path}");
    }
}

#[actix_web::test]
async fn a203_a_panic_is_one_answer_and_the_worker_goes_on() {
    let request = || {
        with_token(
            TestRequest::get().uri("/fhir/DocumentReference/1/$lifecycle").insert_header(("host", "docs.example")),
        )
    };
    let app = served().await;
    for _ in 0..3 {
        assert_eq!(ask_of(&app, request(), FAR).await.header("daylily-error"), "server-fault");
    }
    assert_eq!(ask_of(&app, get("/livez"), FAR).await.status, 200);
}
