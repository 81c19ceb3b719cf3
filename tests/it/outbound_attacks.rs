//! Attacks by way of what this server calls: certificates that prove nothing, answers that are to tell a subscriber about the inside of a
//! network, secrets in addresses, headers and filters.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use daylily::domain::clock::Timestamp;
use daylily::domain::subscription::SubscriptionStatus;
use daylily::http::receiver::Failure;
use daylily::notify::egress::EgressRules;
use daylily::notify::sender::{Answered, Method, Outgoing, Sender, Silence};
use daylily::notify::signature::Secret;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::*;
use crate::webhooks::{Known, Subscribed, all, deliver, next, receiver, remembered, server};

const PAYLOAD_CONTENT: &str =
    "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-payload-content";

/// All source texts.
fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn a172_no_code_believes_a_certificate_without_checking_it() {
    let mut found = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 100, "the sources were found");
    // Spelled apart, so that this file would not be found by its own search.
    let ways = [
        ["danger", "_accept_invalid"].concat(),
        ["tls_danger", "_accept"].concat(),
        [".dange", "rous()"].concat(),
        ["ServerCert", "Verifier"].concat(),
        ["with_no_client", "_verifier"].concat(),
        ["use_pre", "configured_tls"].concat(),
        ["min_tls", "_version"].concat(),
    ];
    for (path, text) in &found {
        for way in &ways {
            assert!(!text.contains(way.as_str()), "{way} in {path}");
        }
    }
    // Of the outgoing clients each is built on the guard, which speaks https alone unless settings say otherwise.
    let builders = found.iter().filter(|(_, text)| text.contains("reqwest::Client::builder()"));
    let builders: Vec<_> = builders.map(|(path, _)| path.rsplit("/src/").next().unwrap()).collect();
    // Commands ask the server; the receiver of `webhook listen` has one in its tests.
    let server = |path: &&&str| !path.starts_with("cli/") && **path != "http/receiver.rs";
    assert_eq!(builders.iter().filter(server).collect::<Vec<_>>(), [&"notify/egress.rs"]);
}

fn message(url: String) -> Outgoing {
    Outgoing {
        method: Method::Post,
        url,
        content_type: Some("application/fhir+json".to_owned()),
        headers: vec![("Authorization".to_owned(), "Bearer canary-header".into())],
        id: "msg_1".to_owned(),
        body: b"canary-body".to_vec(),
        secrets: vec![Secret::parse("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap()],
        at: Timestamp::from_millis(1_649_367_553_000),
        timeout: Duration::from_secs(20),
    }
}

fn sender(allow_http: bool) -> Sender {
    let rules = EgressRules { allow: vec!["127.0.0.0/8".parse().unwrap()], allow_http, own: None };
    Sender::new(rules, Arc::new(TestClock::default())).unwrap()
}

/// What reaches a listener that answers every connection with these bytes.
async fn heard_by(answer: &'static [u8]) -> (u16, tokio::sync::mpsc::Receiver<Vec<u8>>) {
    let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
    let (tell, heard) = tokio::sync::mpsc::channel(64);
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 16 * 1024];
            let count = stream.read(&mut request).await.unwrap_or(0);
            let _ = tell.send(request[..count].to_vec()).await;
            let _ = stream.write_all(answer).await;
        }
    });
    (port, heard)
}

#[tokio::test]
async fn a172_f85_a_receiver_that_does_not_prove_itself_is_never_spoken_to_in_clear() {
    // Neither its answer in clear, nor an alert (RFC 8446 §6), nor silence leads to anything but one more handshake.
    let answers: [&'static [u8]; 4] = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"\x15\x03\x03\x00\x02\x02\x46",
        b"",
    ];
    for allow_http in [false, true] {
        for answer in answers {
            let (port, mut heard) = heard_by(answer).await;
            let answered = sender(allow_http).send(message(format!("https://127.0.0.1:{port}/hook"))).await;
            assert_eq!(answered, Answered::Silent(Silence::Connection));
            let first = heard.recv().await.unwrap();
            // A handshake record with a ClientHello that offers TLS 1.2 or later: its own version is 0x0303 (RFC 8446 §4.1.2).
            assert_eq!((first[0], first[5], &first[9..11]), (22, 1, &[3, 3][..]));
            assert!(memchr::memmem::find(&first, b"canary").is_none());
            assert!(heard.try_recv().is_err(), "it was called again, perhaps in another way");
        }
    }
}

#[tokio::test]
async fn a168_endless_heads_interim_answers_and_packed_bodies_cost_little() {
    // A gzip bomb is never unpacked: nothing asks for it, and its bytes are dropped as they come.
    let bomb = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 10\r\n\r\n\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03";
    let (port, _heard) = heard_by(bomb).await;
    assert_eq!(sender(true).send(message(format!("http://127.0.0.1:{port}/"))).await, Answered::Taken);
    for (begin, again) in [
        (&b"HTTP/1.1 200 OK\r\n"[..], &b"X-Filler: 0123456789012345678901234567890123456789\r\n"[..]),
        (b"HTTP/1.1 200 OK\r\nX-Filler: ", b"0123456789012345678901234567890123456789"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let written = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 16 * 1024]).await;
            let _ = stream.write_all(begin).await;
            let (piece, mut sum) = (again.repeat(64), 0_usize);
            while stream.write_all(&piece).await.is_ok() {
                sum += piece.len();
            }
            sum
        });
        let timeout = Duration::from_millis(400);
        let endless = Outgoing { timeout, ..message(format!("http://127.0.0.1:{port}/")) };
        let answered = sender(true).send(endless).await;
        assert!(matches!(answered, Answered::Silent(Silence::Connection | Silence::Time)), "{answered:?}");
        // It was cut, however much a machine may write in that time.
        written.await.unwrap();
    }
}

/// What its owner is shown, without what differs from one to the next by its making.
fn shown(subscription: &Value) -> Value {
    let mut shown = subscription.clone();
    for own in ["id", "meta", "text"] {
        shown.as_object_mut().unwrap().remove(own);
    }
    shown["channel"].as_object_mut().unwrap().remove("endpoint");
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn a173_closed_ports_other_protocols_and_broken_connections_look_the_same_to_a_subscriber() {
    let daylily = server().await;
    let source = daylily.source().await;
    let known = Known::default();
    // Each on a host of its own: what is sent to one host is paced.
    let closing = receiver(&daylily, &known);
    closing.fail(all(Failure::Close));
    let closed = TcpListener::bind("127.0.0.2:0").unwrap().local_addr().unwrap();
    let (ssh, _ssh) = heard_by(b"SSH-2.0-canary_9.9\r\n").await;
    let (gone, _gone) =
        heard_by(b"HTTP/1.1 500 canary-reason\r\nContent-Length: 11\r\nX-Inside: canary\r\n\r\ncanary-body").await;
    let mut made = Vec::new();
    for endpoint in [
        format!("http://{}/hook", closing.address()),
        format!("http://{closed}/hook"),
        format!("http://127.0.0.3:{ssh}/hook"),
        // TLS against what speaks none.
        format!("https://127.0.0.4:{ssh}/hook"),
        format!("http://127.0.0.5:{gone}/hook"),
    ] {
        let point = |wanted: &mut Value| wanted["channel"]["endpoint"] = endpoint.clone().into();
        made.push(Subscribed::with(&daylily, &source, (&closing, &known), point).await);
    }
    // Five attempts each, within the minute; how they interleave does not matter.
    daylily
        .until("all are given up", async || {
            daylily.clock.advance(Duration::from_secs(5));
            for subscription in &made {
                if subscription.stored(&daylily).await.status != SubscriptionStatus::Error {
                    return None;
                }
            }
            Some(())
        })
        .await;
    let mut seen = Vec::new();
    for subscription in &made {
        let read = source.get(&format!("Subscription/{}", subscription.id)).await;
        let found = source.get(&format!("Subscription/{}/$status", subscription.id)).await;
        for answer in [&read, &found] {
            assert!(!answer.text().contains("canary"), "{}", answer.text());
        }
        seen.push(shown(&read.ok(200)));
    }
    let first = seen.first().unwrap();
    assert!(first["error"].as_str().is_some_and(|error| !error.is_empty()), "{first}");
    assert!(seen.iter().take(4).all(|other| other == first), "{seen:#?}");
    let log = serde_json::to_string(&daylily.log_since(0).await.iter().map(|entry| &entry.cells).collect::<Vec<_>>());
    assert!(!log.unwrap().contains("canary-"), "what a receiver says is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a174_a_secret_in_an_address_is_in_no_entry_metric_refusal_or_debug_text() {
    const CANARY: &str = "canary-key-5a1f";
    let daylily = server().await;
    let (source, other) = (daylily.source().await, daylily.client("other", FULL, &["all"]).await);
    let known = Known::default();
    let receiver = receiver(&daylily, &known);
    let endpoint = format!("http://{}/{CANARY}?token={CANARY}", receiver.address());
    let point = |wanted: &mut Value| wanted["channel"]["endpoint"] = endpoint.clone().into();
    let subscription = Subscribed::with(&daylily, &source, (&receiver, &known), point).await;
    assert!(next(&receiver).await.path.contains(CANARY), "it is called as it was written");
    subscription.becomes(&daylily, SubscriptionStatus::Active).await;
    receiver.fail(all(Failure::Status(500, None)));
    deliver(&source, 1).await;
    next(&receiver).await;
    remembered(&daylily, 2).await;
    for entry in daylily.log_since(0).await {
        assert!(!entry.cells.to_string().contains(CANARY), "{}", entry.what());
    }
    assert!(!daylily.get("/metrics").await.text().contains(CANARY));
    let place = format!("Subscription/{}", subscription.id);
    for (actor, path) in [(&other, place.as_str()), (&other, "Subscription"), (&source, "Subscription?url=canary-none")]
    {
        let answer = actor.get(path).await;
        assert!(!answer.text().contains(CANARY), "{path}: {}", answer.text());
    }
    let mut wrong = subscription.wanted.clone();
    wrong["status"] = "requested".into();
    wrong["channel"]["endpoint"] = format!("https://10.1.2.3/{CANARY}").into();
    let refused = source.put(&place, &wrong).await;
    assert_eq!(refused.said(), (422, "endpoint-refused"));
    assert!(!refused.text().contains(CANARY));
    let stored = subscription.stored(&daylily).await;
    assert!(!format!("{:?}", message(endpoint)).contains(CANARY));
    assert!(!format!("{stored:?}").contains(CANARY), "what is stored shows it in its debug text");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a164_a165_a_header_that_steers_the_request_is_refused_and_values_are_shown_once() {
    let daylily = server().await;
    let owner = daylily.source().await;
    let wanted = |headers: Value| {
        json!({
            "resourceType": "Subscription", "status": "off", "reason": "import",
            "criteria": "urn:daylily:fhir/SubscriptionTopic/document-ready",
            "channel": { "type": "rest-hook", "endpoint": "https://127.0.0.1:44321/hook", "header": headers,
                "payload": "application/fhir+json",
                "_payload": { "extension": [{ "url": PAYLOAD_CONTENT, "valueCode": "id-only" }] } },
        })
    };
    owner.post("Subscription", &wanted(json!(["X-A: 1"]))).await.ok(201);
    let many: Vec<String> = (0..10_000).map(|at| format!("X-A{at}: 1")).collect();
    for headers in [
        json!(["Host: other.example"]),
        json!(["hOsT: other.example"]),
        json!(["Content-Length: 0"]),
        json!(["Transfer-Encoding: chunked"]),
        json!(["Connection: upgrade"]),
        json!(["Expect: 100-continue"]),
        json!(["Proxy-Authorization: Basic YTpi"]),
        json!(["webhook-signature: v1,forged"]),
        json!(["X-Forwarded-For: 10.0.0.1"]),
        json!(["X-A: 1\r\nHost: other.example"]),
        json!(["X-A: 1\nHost: other.example"]),
        json!(["X-A: 1\u{2028}Host: other.example"]),
        json!(["X-A\u{0}: 1"]),
        json!(["X A: 1"]),
        json!([": 1"]),
        json!(["no colon"]),
        json!([format!("X-A: {}", "a".repeat(8 * 1024))]),
        json!(many),
    ] {
        let answer = owner.post("Subscription", &wanted(headers.clone())).await;
        assert!(
            matches!(answer.status, 400 | 422),
            "{}: {}",
            &headers.to_string()[..40.min(headers.to_string().len())],
            answer.status
        );
        assert!(answer.text().contains("Subscription.channel.header"), "{}", answer.text());
        assert!(!answer.text().contains("other.example"), "{}", answer.text());
    }
    let value = "Bearer canary-a165";
    let made = owner.post("Subscription", &wanted(json!([format!("Authorization: {value}")]))).await.ok(201);
    let place = format!("Subscription/{}", text(&made, "/id"));
    let mut back = owner.get(&place).await.ok(200);
    back["reason"] = "another".into();
    owner.put(&place, &back).await.ok(200);
    for path in [
        place.clone(),
        format!("{place}/_history"),
        format!("{place}/_history/1"),
        "Subscription".to_owned(),
        "Subscription?_include=*".to_owned(),
        format!("{place}/$status"),
    ] {
        assert!(!owner.get(&path).await.text().contains("canary-a165"), "{path}");
    }
    for entry in daylily.log_since(0).await {
        assert!(!entry.cells.to_string().contains("canary-a165"), "{}", entry.what());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a167_criteria_that_reach_further_than_a_topic_are_refused_quickly() {
    let daylily = server().await;
    let owner = daylily.source().await;
    let repeated = format!("DocumentReference?category={}", "a|".repeat(3_000));
    for criteria in [
        "Patient?",
        "Patient?_id=",
        "DocumentReference?patient.name=Smith",
        "DocumentReference?_has:AuditEvent:entity:type=x",
        "DocumentReference?_filter=true",
        "DocumentReference?patient:missing=false&_contained=true",
        "AuditEvent?",
        "../Patient?",
        "https://other.example/fhir/DocumentReference?",
        repeated.as_str(),
        "",
    ] {
        let wanted = json!({
            "resourceType": "Subscription", "status": "requested", "reason": "import", "criteria": criteria,
            "channel": { "type": "rest-hook", "endpoint": "https://127.0.0.1:44321/hook",
                "_payload": { "extension": [{ "url": PAYLOAD_CONTENT, "valueCode": "id-only" }] } },
        });
        let answer = owner.post("Subscription", &wanted).await;
        assert!(matches!(answer.status, 400 | 403 | 422), "{criteria:.60}: {} {}", answer.status, answer.text());
        assert!(answer.text().contains("criteria"), "{criteria:.60}: {}", answer.text());
    }
    // A client without the right to read documents is told of none.
    let narrow = daylily.client("narrow", "system/Subscription.cruds", &["own"]).await;
    let wanted = json!({
        "resourceType": "Subscription", "status": "requested", "reason": "import",
        "criteria": "urn:daylily:fhir/SubscriptionTopic/document-ready",
        "channel": { "type": "rest-hook", "endpoint": "https://127.0.0.1:44321/hook" },
    });
    assert_eq!(narrow.post("Subscription", &wanted).await.said(), (403, "scope-insufficient"));
}
