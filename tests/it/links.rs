//! The contract's table of links, row by row, over HTTP.

use std::time::Duration;

use daylily::config::WebOrigin;
use daylily::control::{Request, RevocationAim};
use reqwest::Method;
use serde_json::json;

use crate::support::*;

const MINUTE: Duration = Duration::from_secs(60);

async fn asked(daylily: &TestDaylily, method: Method, url: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = daylily.http.request(method, url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::of(request).await
}

/// A server with a source, a released document of one PDF, and its link.
async fn released(length: usize) -> (TestDaylily, Actor, String, String, Vec<u8>) {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let bytes = pdf(1, length);
    let (id, link) = daylily.ready_link(&source, &bytes).await;
    (daylily, source, id, link, bytes)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_link_has_exactly_the_headers_of_the_contract() {
    use base64::Engine as _;
    let (daylily, _, _, link, bytes) = released(70_000).await;
    let digest = base64::engine::general_purpose::STANDARD.encode(sha256(&bytes));
    for method in [Method::GET, Method::HEAD] {
        let answer = asked(&daylily, method.clone(), &link, &[]).await;
        assert_eq!(answer.status, 200);
        let expected = [
            ("content-type", "application/pdf".to_owned()),
            ("content-length", bytes.len().to_string()),
            ("x-content-type-options", "nosniff".to_owned()),
            ("cache-control", "private, no-store".to_owned()),
            ("referrer-policy", "no-referrer".to_owned()),
            ("repr-digest", format!("sha-256=:{digest}:")),
            ("accept-ranges", "bytes".to_owned()),
            ("x-accel-buffering", "no".to_owned()),
            ("cross-origin-resource-policy", "same-origin".to_owned()),
        ];
        for (name, value) in expected {
            assert_eq!(answer.header(name), value, "{method} {name}");
        }
        assert!(answer.header("content-disposition").starts_with("attachment"), "{method}");
        assert!(answer.header("etag").starts_with('"') && answer.header("etag").len() > 2, "a strong tag");
        assert!(answer.header("content-security-policy").contains("sandbox"));
        for absent in ["content-range", "set-cookie", "server", "daylily-error", "vary", "location", "expires"] {
            assert!(!answer.headers.contains_key(absent), "{method} {absent}");
        }
        assert_eq!(answer.bytes, if method == Method::GET { bytes.clone() } else { Vec::new() });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_are_answered_as_rfc_9110_says() {
    let (daylily, _, _, link, bytes) = released(70_000).await;
    let size = bytes.len();
    let whole = daylily.get(&link).await;
    let tag = whole.header("etag").to_owned();
    let modified = whole.header("last-modified").to_owned();
    let last = size - 1;
    for (range, from, to) in [
        ("bytes=0-0".to_owned(), 0, 0),
        ("bytes=65000-66000".to_owned(), 65_000, 66_000),
        (format!("bytes={last}-"), last, last),
        ("bytes=-100".to_owned(), size - 100, last),
        (format!("bytes=10-{}", size * 2), 10, last),
        ("bytes=-9999999".to_owned(), 0, last),
    ] {
        let answer = asked(&daylily, Method::GET, &link, &[("Range", &range)]).await;
        assert_eq!(answer.status, 206, "{range}");
        assert_eq!(answer.header("content-range"), format!("bytes {from}-{to}/{size}"), "{range}");
        assert_eq!(answer.bytes, bytes[from..=to], "{range}");
        assert_eq!(answer.header("etag"), tag);
    }
    let wholes: [&[(&str, &str)]; 8] = [
        &[("Range", "bytes=0-1,5-6")],
        &[("Range", "lines=1-2")],
        &[("Range", "bytes=5-2")],
        &[("Range", "bytes=a-b")],
        &[("Range", "bytes=0-9"), ("If-Range", "\"other\"")],
        &[("Range", "bytes=0-9"), ("If-Range", &format!("W/{tag}"))],
        &[("Range", "bytes=0-9"), ("If-Range", "Sun, 06 Nov 1994 08:49:37 GMT")],
        &[("Range", "")],
    ];
    for headers in wholes {
        let answer = asked(&daylily, Method::GET, &link, headers).await;
        assert_eq!((answer.status, answer.bytes.len()), (200, size), "{headers:?}");
    }
    for validator in [&tag, &modified] {
        let answer = asked(&daylily, Method::GET, &link, &[("Range", "bytes=5-9"), ("If-Range", validator)]).await;
        assert_eq!((answer.status, answer.bytes.len()), (206, 5), "{validator}");
    }
    for range in [format!("bytes={size}-"), "bytes=-0".to_owned()] {
        let answer = asked(&daylily, Method::GET, &link, &[("Range", &range)]).await;
        assert_eq!(answer.said(), (416, "range-not-satisfiable"), "{range}");
        assert_eq!(answer.header("content-range"), format!("bytes */{size}"));
    }
    let head = asked(&daylily, Method::HEAD, &link, &[("Range", "bytes=0-9")]).await;
    assert_eq!((head.status, head.header("content-length")), (200, size.to_string().as_str()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a100_a104_altered_cut_and_foreign_links_are_one_answer() {
    let (daylily, _, _, link, _) = released(100).await;
    let (base, token) = link.rsplit_once('/').unwrap();
    let mut wrong: Vec<String> = Vec::new();
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for at in 0..token.len() {
        let mut bytes = token.as_bytes().to_vec();
        let place = alphabet.iter().position(|letter| *letter == bytes[at]).unwrap();
        // The neighbouring letter differs in the lowest bit: the smallest change that there is.
        bytes[at] = alphabet[place ^ 1];
        wrong.push(String::from_utf8(bytes).unwrap());
    }
    wrong.extend([token[..83].to_owned(), token[..1].to_owned(), format!("{token}A"), format!("{token}.")]);
    wrong.extend(["x".repeat(84), "A".repeat(84), "A".repeat(300), token.to_lowercase(), token.to_uppercase()]);
    let mut answers = Vec::new();
    for token in &wrong {
        let answer = asked(&daylily, Method::GET, &format!("{base}/{token}"), &[("X-Request-Id", "same")]).await;
        assert_eq!(answer.said(), (403, "link-invalid"), "{token}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let mut names: Vec<String> = answer.headers.keys().map(ToString::to_string).collect();
        names.sort();
        answers.push((answer.bytes.clone(), names));
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "nobody learns why");
    assert_eq!(daylily.get(&link).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_is_the_same_within_a_step_and_two_thirds_of_its_time_are_left() {
    let (daylily, source, id, link, _) = released(100).await;
    let lifetime = 15 * MINUTE;
    let mut texts = vec![(0, link.clone())];
    // A step is a third of the lifetime; looked at twice a minute for an hour.
    for at in 1..=120 {
        daylily.clock.advance(MINUTE / 2);
        texts.push((at, daylily.link(&source, &id).await));
    }
    let changes = texts.windows(2).filter(|pair| pair[0].1 != pair[1].1).map(|pair| pair[1].0).collect::<Vec<_>>();
    assert_eq!(changes.len(), 12, "one for each five minutes: {changes:?}");
    assert!(changes.windows(2).all(|pair| pair[1] - pair[0] == 10), "{changes:?}");
    let fresh = texts.last().unwrap().1.clone();
    daylily.clock.advance(lifetime * 2 / 3);
    assert_eq!(daylily.get(&fresh).await.status, 200, "two thirds are always left");
    daylily.clock.advance(lifetime / 3 + Duration::from_secs(1));
    let answer = daylily.get(&fresh).await;
    assert_eq!(answer.said(), (410, "link-expired"));
    assert!(answer.json()["detail"].is_string() || answer.json()["title"].is_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a102_bearer_and_query_mean_nothing_beside_a_link() {
    let (daylily, source, _, link, bytes) = released(100).await;
    for bearer in ["Bearer nonsense".to_owned(), "Basic YTpi".to_owned(), format!("Bearer {}", source.token().await)] {
        let answer = asked(&daylily, Method::GET, &link, &[("Authorization", &bearer)]).await;
        assert_eq!((answer.status, &answer.bytes), (200, &bytes));
    }
    let odd = format!("{link}?response-content-type=text/html&filename=x.html&exp=9999999999&exp=1");
    let answer = daylily.get(&odd).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "application/pdf"));
    assert!(!answer.header("content-disposition").contains("x.html"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_methods_are_405_with_allow() {
    let (daylily, _, _, link, _) = released(100).await;
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        let answer = asked(&daylily, method.clone(), &link, &[]).await;
        assert_eq!(answer.said(), (405, "method-not-allowed"), "{method}");
        assert_eq!(answer.header("allow"), "GET, HEAD", "{method}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_ends_what_it_names_and_nothing_else() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let reader = daylily.client("reader", FULL, &["all"]).await;
    let one = daylily.ready(&source, &document("p1", &[inline("application/pdf", &pdf(1, 100))])).await;
    let two = daylily.ready(&source, &document("p2", &[inline("application/pdf", &pdf(2, 100))])).await;
    let issue = async |actor: &Actor, id: &str| {
        let issued = actor.post(&format!("DocumentReference/{id}/$issue-link"), &parameters(&[])).await.ok(200);
        (text(parameter(&issued, "url"), "/valueUrl"), text(parameter(&issued, "link"), "/valueString"))
    };
    let gone = async |link: &str| {
        let answer = daylily.get(link).await;
        match answer.said() {
            (410, "link-revoked") => true,
            (200, "") => false,
            other => panic!("{other:?}"),
        }
    };
    // A single link, by its issuer: the shown one and another issued one stay.
    let shown = daylily.link(&reader, &one).await;
    let ((first, name), (second, _)) = (issue(&reader, &one).await, issue(&reader, &one).await);
    assert_ne!(first, second);
    let by_name = parameters(&[("link", "valueString", json!(name)), ("reason", "valueString", json!("mistake"))]);
    let revoked = reader.post(&format!("DocumentReference/{one}/$revoke"), &by_name).await.ok(200);
    assert_eq!(parameter(&revoked, "revoked")["valueInteger"], 1);
    assert!(gone(&first).await && !gone(&second).await && !gone(&shown).await);
    // All links of a document: only its owner may; the next ones differ and work.
    let refused = reader.post(&format!("DocumentReference/{one}/$revoke"), &parameters(&[])).await;
    assert_eq!(refused.said(), (403, "role-insufficient"));
    source.post(&format!("DocumentReference/{one}/$revoke"), &parameters(&[])).await.ok(200);
    assert!(gone(&second).await && gone(&shown).await);
    let next = daylily.link(&reader, &one).await;
    assert_ne!(next, shown);
    assert!(!gone(&next).await, "the state is left as it was");
    // A client's links.
    let (mine, theirs) = (daylily.link(&source, &two).await, daylily.link(&reader, &two).await);
    revoke(&daylily, RevocationAim::Client("reader".to_owned())).await;
    assert!(gone(&theirs).await && gone(&next).await && !gone(&mine).await);
    // A patient's.
    let other = daylily.link(&reader, &one).await;
    revoke(&daylily, RevocationAim::Patient("Patient/p2".to_owned())).await;
    assert!(gone(&mine).await && !gone(&other).await);
    // One, by its text.
    let again = daylily.link(&source, &two).await;
    revoke(&daylily, RevocationAim::Link(again.clone())).await;
    assert!(gone(&again).await);
    // All.
    revoke(&daylily, RevocationAim::All).await;
    assert!(gone(&other).await);
    assert!(!gone(&daylily.link(&reader, &one).await).await);
    daylily.verify().await;
}

async fn revoke(daylily: &TestDaylily, aim: RevocationAim) {
    let request = Request::LinksRevoke { aim, reason: "test".to_owned(), state: false, preview: false };
    daylily.command(request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_of_every_state_of_the_content() {
    let rule = "[[rule]]\nname = \"plain\"\nretain = \"1h\"\npurge-after = \"1h\"\n\
        when = { type = [\"http://loinc.org|18842-5\"] }\n";
    let daylily = TestDaylily::start_with(rule, |_| {}).await;
    let source = daylily.source().await;
    let (id, link) = daylily.ready_link(&source, &pdf(1, 100)).await;
    let (lasting, _) = daylily.ready_link(&source, &pdf(2, 100)).await;
    let ten_hours = parameters(&[("lifetime", "valueString", json!("10h"))]);
    let issued = source.post(&format!("DocumentReference/{lasting}/$issue-link"), &ten_hours).await.ok(200);
    let kept = text(parameter(&issued, "url"), "/valueUrl");
    let ended = parameters(&[("state", "valueBoolean", json!(true))]);
    source.post(&format!("DocumentReference/{id}/$revoke"), &ended).await.ok(200);
    assert!(matches!(daylily.get(&link).await.said(), (410, "link-revoked" | "content-revoked")));
    daylily.pass(61 * MINUTE).await;
    daylily.wait(&source, &lasting, "expired").await;
    assert_eq!(daylily.get(&kept).await.said(), (410, "content-expired"));
    daylily.pass(61 * MINUTE).await;
    daylily.until("purged", async || (daylily.get(&kept).await.said() == (410, "content-purged")).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quarantined_content_is_403_and_content_not_yet_released_503() {
    let daylily = TestDaylily::start_with(WAITS_FOR_ANTIVIRUS, |_| {}).await;
    let source = daylily.source().await;
    // The file is in no document that is open, so only a link made by hand leads there: the server's own keys make it.
    let infected = document("p1", &[inline("text/plain", &eicar())]);
    let infected = text(&source.post("DocumentReference", &infected).await.ok(201), "/id");
    daylily.wait(&source, &infected, "quarantined").await;
    let refused = daylily.get(&daylily.link_by_hand("source", &infected).await).await;
    assert_eq!(refused.said(), (403, "content-quarantined"));
    let mut waiting = document("p1", &[inline("application/pdf", &pdf(1, 100))]);
    waiting["type"]["coding"][0]["code"] = json!("11506-3");
    let waiting = text(&source.post("DocumentReference", &waiting).await.ok(201), "/id");
    let early = daylily.get(&daylily.link_by_hand("source", &waiting).await).await;
    assert_eq!(early.said(), (503, "content-not-ready"));
    assert!(early.header("retry-after").parse::<u32>().unwrap() > 0);
    for (id, code) in [(infected, "content-quarantined"), (waiting, "content-not-ready")] {
        let issued = source.post(&format!("DocumentReference/{id}/$issue-link"), &parameters(&[])).await;
        assert_eq!(issued.code(), code);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn issued_links_keep_to_policy_and_differ_each_time() {
    let (daylily, source, id, _, bytes) = released(100).await;
    let path = format!("DocumentReference/{id}/$issue-link");
    let issue = async |parts: &[(&str, &str, serde_json::Value)]| source.post(&path, &parameters(parts)).await;
    let short = issue(&[("lifetime", "valueString", json!("2m"))]).await.ok(200);
    assert_eq!(text(parameter(&short, "expires"), "/valueInstant"), "2026-11-23T10:02:00.000Z");
    let long = issue(&[("lifetime", "valueString", json!("24h"))]).await.ok(200);
    assert_eq!(text(parameter(&long, "expires"), "/valueInstant"), "2026-11-24T10:00:00.000Z");
    let plain = issue(&[]).await.ok(200);
    assert_eq!(text(parameter(&plain, "expires"), "/valueInstant"), "2026-11-23T10:15:00.000Z");
    for (parts, status, code) in [
        (("lifetime", "valueString", json!("25h")), 422, "policy-limit-exceeded"),
        (("lifetime", "valueString", json!("soon")), 400, "parameter-malformed"),
        (("content", "valuePositiveInt", json!(2)), 400, "parameter-malformed"),
        (("lifetimes", "valueString", json!("1m")), 400, "parameter-unsupported"),
    ] {
        assert_eq!(issue(&[parts]).await.said(), (status, code));
    }
    let link = text(parameter(&short, "url"), "/valueUrl");
    daylily.clock.advance(2 * MINUTE);
    assert_eq!(daylily.get(&link).await.bytes, bytes, "its last second is its own");
    daylily.clock.advance(Duration::from_secs(1));
    assert_eq!(daylily.get(&link).await.said(), (410, "link-expired"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a125_any_title_is_a_safe_file_name() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    for title in [
        "../../etc/passwd",
        "a\"; filename=\"x.html",
        "Müller, Ärztebrief – 中文.pdf",
        "x\u{202e}fdp.exe",
        "C:\\evil\\x.pdf",
        "...",
        "%0d%0aX-Evil: 1",
    ] {
        let mut attachment = inline("application/pdf", &pdf(9, 100));
        attachment["title"] = json!(title);
        let id = daylily.ready(&source, &document("p1", &[attachment])).await;
        let answer = daylily.get(&daylily.link(&source, &id).await).await;
        assert_eq!(answer.status, 200, "{title}");
        let disposition = answer.headers.get("content-disposition").unwrap().to_str().expect("ASCII alone");
        assert!(disposition.starts_with("attachment;"), "{title}: {disposition}");
        let quoted: Vec<&str> = disposition.split('"').collect();
        assert_eq!(quoted.len(), 3, "one quoted name: {disposition}");
        assert!(!quoted[1].contains(['/', '\\', '%', ';']) && !quoted[1].contains(".."), "{title}: {disposition}");
        let encoded = disposition.split("filename*=UTF-8''").nth(1).unwrap_or("plain");
        assert!(!encoded.contains(['/', '\\', '"', ' ']) && !encoded.contains("%2F"), "{title}: {disposition}");
        assert!(!encoded.to_lowercase().contains("%e2%80%ae"), "no reversed text: {disposition}");
        assert!(answer.headers.get("x-evil").is_none());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_cuts_a_running_transfer() {
    use futures_util::StreamExt as _;
    const LENGTH: usize = 60 << 20;
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let bytes = vec![b'x'; LENGTH];
    let file = text(&source.upload("text/plain", &bytes).await.ok(201), "/id");
    let id = daylily.ready(&source, &document("p1", &[named("text/plain", &format!("Binary/{file}"))])).await;
    let link = daylily.link(&source, &id).await;
    let response = daylily.http.get(&link).send().await.unwrap();
    assert_eq!(response.content_length(), Some(LENGTH as u64));
    let mut stream = response.bytes_stream();
    let mut got = stream.next().await.unwrap().unwrap().len();
    let revoked = source.post(&format!("DocumentReference/{id}/$revoke"), &parameters(&[])).await.ok(200);
    assert_eq!(parameter(&revoked, "revoked")["valueInteger"], 1);
    // What lay in buffers may still come; then the connection breaks and the reader sees that it is not whole.
    let broken = loop {
        match stream.next().await {
            Some(Ok(piece)) => got += piece.len(),
            Some(Err(_)) => break true,
            None => break false,
        }
    };
    assert!(broken && got < LENGTH, "{got}");
    let entries = daylily
        .until("the entry of the cut", async || {
            let entries = daylily.log_since(0).await;
            let ends: Vec<_> = entries.into_iter().filter(|entry| entry.what() == "link.redeem error").collect();
            (!ends.is_empty()).then_some(ends)
        })
        .await;
    assert_eq!(entries[0].get("code").unwrap(), "link-revoked");
    assert_eq!(
        states(&source.get(&format!("DocumentReference/{id}/$lifecycle")).await.ok(200)).last().unwrap(),
        "ready"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_listed_origins_read_links_and_others_do_not() {
    let daylily = TestDaylily::start_with("", |settings| {
        settings.links.origins = vec![WebOrigin::parse("https://viewer.example").unwrap()];
    })
    .await;
    let source = daylily.source().await;
    let (_, link) = daylily.ready_link(&source, &pdf(1, 100)).await;
    for url in [link.clone(), format!("{link}x")] {
        let answer = asked(&daylily, Method::GET, &url, &[("Origin", "https://viewer.example")]).await;
        assert_eq!(answer.header("access-control-allow-origin"), "https://viewer.example");
        assert!(answer.headers.get_all("vary").iter().any(|vary| vary == "Origin"));
        assert!(!answer.headers.contains_key("access-control-allow-credentials"));
        for origin in ["https://viewer.example.evil", "null", "http://viewer.example"] {
            let answer = asked(&daylily, Method::GET, &url, &[("Origin", origin)]).await;
            assert!(!answer.headers.contains_key("access-control-allow-origin"), "{origin}");
        }
    }
    let asking = [("Origin", "https://viewer.example"), ("Access-Control-Request-Method", "GET")];
    let preflight = asked(&daylily, Method::OPTIONS, &link, &asking).await;
    assert_eq!(preflight.status, 204);
    assert!(preflight.header("access-control-allow-headers").to_lowercase().contains("range"));
    let anywhere = asked(&daylily, Method::GET, &format!("{}/fhir/metadata", daylily.base()), &asking).await;
    assert_eq!(anywhere.header("access-control-allow-origin"), "*");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handles_stream_with_a_token_and_are_what_handle_clients_are_shown() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let reader = daylily.client_with("reader", FULL, &["all"], |new| new.handles = true).await;
    let bytes = pdf(1, 70_000);
    let (id, _) = daylily.ready_link(&source, &bytes).await;
    let handle = daylily.link(&reader, &id).await;
    assert!(handle.contains("/fhir/Binary/") && handle.ends_with("/_history/1"), "{handle}");
    assert_eq!(reader.get(&handle).await.bytes, bytes);
    assert_eq!(daylily.get(&handle).await.said(), (401, "token-missing"));
    let part = Answer::of(reader.request(Method::GET, &handle).await.header("Range", "bytes=10-19")).await;
    assert_eq!((part.status, part.bytes.as_slice()), (206, &bytes[10..20]));
    let form = Answer::of(reader.request(Method::GET, &handle).await.header("Accept", "application/fhir+json")).await;
    assert_eq!(form.ok(200)["data"], inline("", &bytes)["data"]);
    let issued = reader.post(&format!("DocumentReference/{id}/$issue-link"), &parameters(&[])).await.ok(200);
    assert!(text(parameter(&issued, "url"), "/valueUrl").contains("/d/"));
}
