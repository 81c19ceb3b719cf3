//! What the log says of each journey, opened with its key as an auditor would.

use daylily::control::Request;
use reqwest::Method;
use serde_json::json;

use crate::support::*;

fn what(log: &[LogEntry]) -> Vec<String> {
    log.iter().map(LogEntry::what).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journey_leaves_every_entry_that_the_contract_asks_for() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let receiver = daylily.client("receiver", FULL, &["all"]).await;
    let bytes = pdf(1, 70_000);
    let file = text(&source.upload("application/pdf", &bytes).await.ok(201), "/id");
    let id = daylily.ready(&source, &document("p1", &[named("application/pdf", &format!("Binary/{file}"))])).await;
    receiver.get("DocumentReference?patient=p1").await.ok(200);
    let link = daylily.link(&receiver, &id).await;
    let issued = receiver.post(&format!("DocumentReference/{id}/$issue-link"), &parameters(&[])).await.ok(200);
    let issued = text(parameter(&issued, "link"), "/valueString");
    assert_eq!(daylily.get(&link).await.bytes, bytes);
    daylily.wait(&source, &id, "delivered").await;
    assert_eq!(source.get(&format!("Binary/{file}")).await.bytes, bytes);
    let ended = parameters(&[("state", "valueBoolean", json!(true)), ("reason", "valueString", json!("wrong ward"))]);
    source.post(&format!("DocumentReference/{id}/$revoke"), &ended).await.ok(200);
    // How a download ended is written after its answer.
    let log = daylily
        .until("the end of the read", async || {
            let log = daylily.log_since(0).await;
            log.iter().any(|entry| entry.what() == "binary.read ok").then_some(log)
        })
        .await;
    assert!(log.iter().enumerate().all(|(at, entry)| entry.seq == at as u64), "no number is missing");
    let seen = what(&log);
    for wanted in [
        "server.start ok",
        "policy.apply ok",
        "client.add ok",
        "token.grant ok",
        "binary.create ok",
        "document.create ok",
        "lifecycle.transition ok",
        "lifecycle.read ok",
        "search ok",
        "document.read ok",
        "link.issue ok",
        "link.redeem attempted",
        "link.redeem ok",
        "link.revoke ok",
        "binary.read attempted",
        "binary.read ok",
    ] {
        assert!(seen.iter().any(|entry| entry == wanted), "{wanted} is not in {seen:?}");
    }
    let one = |wanted: &str| log.iter().find(|entry| entry.what() == wanted).unwrap();
    let created = one("document.create ok");
    assert_eq!(created.get("client").unwrap(), "source");
    assert!(created.cells.to_string().contains("Patient/p1") && created.cells.to_string().contains(&id));
    assert!(one("link.issue ok").cells.to_string().contains(&issued));
    let (begun, ended) = (one("link.redeem attempted"), one("link.redeem ok"));
    assert_eq!(ended.get("begun").unwrap(), begun.seq, "the end names its beginning");
    assert_eq!(ended.get("bytes").unwrap(), bytes.len());
    assert_eq!(ended.get("client").unwrap(), "receiver", "a link is its reader's");
    assert!(one("link.revoke ok").cells.to_string().contains("wrong ward"));
    daylily.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_reads_of_known_callers_are_entries_of_their_own() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let stranger = daylily.client("stranger", FULL, &["own"]).await;
    let (id, link) = daylily.ready_link(&source, &pdf(1, 100)).await;
    stranger.token().await;
    let size = daylily.log_size().await;
    stranger.get(&format!("DocumentReference/{id}")).await;
    stranger.get(&format!("DocumentReference/{id}/$lifecycle")).await;
    stranger.post(&format!("DocumentReference/{id}/$issue-link"), &parameters(&[])).await;
    daylily.clock.advance(std::time::Duration::from_secs(3_600));
    assert_eq!(daylily.get(&link).await.said(), (410, "link-expired"));
    let log = daylily.log_since(size).await;
    for (wanted, code) in [
        ("document.read denied", "resource-not-found"),
        ("lifecycle.read denied", "resource-not-found"),
        ("link.issue denied", "resource-not-found"),
        ("link.redeem denied", "link-expired"),
    ] {
        let entry = log.iter().find(|entry| entry.what() == wanted);
        assert_eq!(entry.and_then(|entry| entry.get("code")).unwrap_or(&json!(null)), code, "{wanted}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asking_for_the_head_of_a_file_is_an_entry_of_no_bytes() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (id, link) = daylily.ready_link(&source, &pdf(1, 100)).await;
    let size = daylily.log_size().await;
    assert_eq!(Answer::of(daylily.http.request(Method::HEAD, &link)).await.status, 200);
    let mut log = daylily.log_since(size).await;
    log.retain(|entry| entry.action != "audit.heartbeat");
    assert_eq!(what(&log), ["link.redeem ok"]);
    assert_eq!(log[0].get("bytes").unwrap(), 0);
    let read = source.get(&format!("DocumentReference/{id}")).await.ok(200);
    assert_eq!(state_of(&read), "ready", "and no delivery");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_are_recorded_with_who_gave_them() {
    let daylily = TestDaylily::start().await;
    let size = daylily.log_size().await;
    daylily.command(Request::AuditExport { patient: None, from: None, to: None }).await.unwrap();
    let log = daylily.log_since(size).await;
    let export = log.iter().find(|entry| entry.what() == "audit.export ok").unwrap();
    assert!(export.cells.to_string().contains("1000"), "os:1000");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_log_no_byte_leaves() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let bytes = pdf(1, 70_000);
    let (id, link) = daylily.ready_link(&source, &bytes).await;
    let small = daylily.ready_link(&source, &pdf(2, 500)).await.1;
    daylily.running().delivery().store().close().await;
    for url in [&link, &small] {
        let refused = daylily.get(url).await;
        assert_eq!(refused.status, 503, "{}", refused.text());
        assert!(matches!(refused.code(), "audit-unavailable" | "server-busy" | "dependency-unavailable"));
        assert!(!refused.headers.contains_key("repr-digest") && refused.bytes.len() < 2_000);
    }
    for path in [format!("DocumentReference/{id}"), "DocumentReference?patient=p1".to_owned()] {
        let refused = source.get(&path).await;
        assert_eq!(refused.status, 503, "{path}");
        assert!(!refused.text().contains("18842-5"));
    }
    let head = Answer::of(daylily.http.request(Method::HEAD, &link)).await;
    assert_eq!(head.status, 503);
}
