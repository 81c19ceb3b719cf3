//! From created to purged with a clock that the test moves: what is due happens, and nothing of the bytes is left.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::support::*;

const HOUR: Duration = Duration::from_secs(3_600);

fn rule(lines: &str) -> String {
    format!("[[rule]]\nname = \"test\"\n{lines}\nwhen = {{ type = [\"http://loinc.org|18842-5\"] }}\n")
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}

async fn purged(daylily: &TestDaylily, actor: &Actor, id: &str) -> Answer {
    daylily
        .until("purged", async || {
            let answer = actor.get(&format!("DocumentReference/{id}")).await;
            (answer.said() == (410, "content-purged")).then_some(answer)
        })
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_over_expires_and_is_destroyed_key_first() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let stranger = daylily.client("stranger", FULL, &["own"]).await;
    let mut ids = Vec::new();
    for (seed, length) in [(1, 900), (2, 200_000)] {
        ids.push(daylily.ready_link(&source, &pdf(seed, length)).await.0);
    }
    let blobs = daylily.data().join("blobs");
    assert_eq!(files(&blobs).len(), 1, "the large one is a file of its own");
    daylily.pass(72 * HOUR - Duration::from_secs(1)).await;
    for id in &ids {
        assert_eq!(state_of(&source.get(&format!("DocumentReference/{id}")).await.ok(200)), "ready");
    }
    daylily.pass(Duration::from_secs(1)).await;
    for id in &ids {
        daylily.wait(&source, id, "expired").await;
        let read = source.get(&format!("DocumentReference/{id}")).await;
        assert_eq!(read.header("etag"), "W/\"3\"", "created, ready, expired");
        let read = read.ok(200);
        assert_eq!(text(&read, "/content/0/attachment/_url/extension/0/valueCode"), "not-permitted");
    }
    assert_eq!(files(&blobs).len(), 1, "bytes stay until the purge");
    daylily.pass(24 * HOUR).await;
    for id in &ids {
        let gone = purged(&daylily, &source, id).await.json();
        assert!(gone["issue"][0]["diagnostics"].as_str().unwrap().contains("default"), "the rule is named: {gone}");
        assert!(gone.to_string().contains("2026-11-27T10:00:00"), "and the time: {gone}");
        for operation in ["$lifecycle", "$issue-link", "$revoke"] {
            let path = format!("DocumentReference/{id}/{operation}");
            assert_eq!(source.post(&path, &parameters(&[])).await.said(), (410, "content-purged"), "{operation}");
        }
        assert_eq!(stranger.get(&format!("DocumentReference/{id}")).await.said(), (404, "resource-not-found"));
    }
    daylily.until("bytes gone", async || files(&blobs).is_empty().then_some(())).await;
    assert_eq!(source.get("DocumentReference?patient=p1").await.ok(200)["total"], 0);
    let copy = daylily.stored_rows("SELECT count(*) AS n FROM file WHERE key IS NOT NULL");
    assert_eq!(copy, 0, "no key is left");
    daylily.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_without_bytes_is_purged_when_they_do_not_come() {
    let daylily = TestDaylily::start_with(&rule("upload-within = \"2h\""), |_| {}).await;
    let source = daylily.source().await;
    let empty = document("p1", &[json!({ "contentType": "application/pdf" })]);
    let created = source.post("DocumentReference", &empty).await.ok(201);
    let id = text(&created, "/id");
    assert_eq!(state_of(&created), "created");
    daylily.pass(2 * HOUR - Duration::from_secs(1)).await;
    assert_eq!(source.get(&format!("DocumentReference/{id}")).await.status, 200);
    daylily.pass(Duration::from_secs(1)).await;
    purged(&daylily, &source, &id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_binary_that_no_document_claims_is_its_creators_alone_and_gone_after_an_hour() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let all = daylily.client("all", FULL, &["all"]).await;
    let file = text(&source.upload("application/pdf", &pdf(1, 200_000)).await.ok(201), "/id");
    assert_eq!(source.get(&format!("Binary/{file}")).await.status, 200);
    assert_eq!(all.get(&format!("Binary/{file}")).await.status, 404);
    daylily.pass(HOUR).await;
    daylily.until("gone", async || (source.get(&format!("Binary/{file}")).await.status == 404).then_some(())).await;
    let blobs = daylily.data().join("blobs");
    daylily.until("bytes gone", async || files(&blobs).is_empty().then_some(())).await;
    let late = document("p1", &[named("application/pdf", &format!("Binary/{file}"))]);
    assert_eq!(source.post("DocumentReference", &late).await.said(), (422, "reference-not-found"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quarantine_is_kept_as_long_as_policy_says_and_never_opened() {
    let daylily = TestDaylily::start_with(&rule("quarantine-keep = \"5h\""), |_| {}).await;
    let source = daylily.source().await;
    let created = source.post("DocumentReference", &document("p1", &[inline("text/plain", &eicar())])).await;
    assert_eq!(created.header("etag"), "W/\"1\"");
    let id = text(&created.ok(201), "/id");
    daylily.wait(&source, &id, "quarantined").await;
    let read = source.get(&format!("DocumentReference/{id}")).await;
    assert_eq!((read.status, read.header("etag")), (200, "W/\"2\""));
    daylily.pass(5 * HOUR - Duration::from_secs(1)).await;
    assert_eq!(state_of(&source.get(&format!("DocumentReference/{id}")).await.ok(200)), "quarantined");
    daylily.pass(Duration::from_secs(1)).await;
    purged(&daylily, &source, &id).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_verdict_a_document_is_held_back() {
    let daylily = TestDaylily::start_with(WAITS_FOR_ANTIVIRUS, |_| {}).await;
    let source = daylily.source().await;
    let mut waiting = document("p1", &[inline("application/pdf", &pdf(1, 100))]);
    waiting["type"]["coding"][0]["code"] = json!("11506-3");
    let id = text(&source.post("DocumentReference", &waiting).await.ok(201), "/id");
    daylily.pass(23 * HOUR).await;
    assert_eq!(state_of(&source.get(&format!("DocumentReference/{id}")).await.ok(200)), "created");
    daylily.pass(2 * HOUR).await;
    daylily.wait(&source, &id, "quarantined").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_begins_where_policy_says() {
    // What starts the ten hours; hours between creation and download; hours after the download that it lasts.
    for (from, before, lasts) in [("ready", 4, 6), ("created", 4, 6), ("first-delivery", 4, 10), ("last-access", 4, 13)]
    {
        let policy = rule(&format!("retain = \"10h\"\nretain-from = \"{from}\""));
        let daylily = TestDaylily::start_with(&policy, |_| {}).await;
        let source = daylily.source().await;
        let receiver = daylily.client("receiver", FULL, &["all"]).await;
        let (id, _) = daylily.ready_link(&source, &pdf(1, 100)).await;
        // Until there is a delivery or an access the windows of both run from release.
        daylily.pass(before * HOUR).await;
        let fetch = async || {
            let link = daylily.link(&receiver, &id).await;
            assert_eq!(daylily.get(&link).await.status, 200, "{from}");
        };
        fetch().await;
        daylily.wait(&source, &id, "delivered").await;
        let mut left = lasts;
        if from == "last-access" {
            // Read once more three hours later; the time begins anew.
            daylily.pass(3 * HOUR).await;
            let size = daylily.log_size().await;
            fetch().await;
            daylily
                .until("received", async || {
                    let log = daylily.log_since(size).await;
                    log.iter().any(|entry| entry.what() == "link.redeem ok").then_some(())
                })
                .await;
            left -= 3;
        }
        daylily.pass(left * HOUR - Duration::from_secs(1)).await;
        assert_eq!(state_of(&source.get(&format!("DocumentReference/{id}")).await.ok(200)), "delivered", "{from}");
        daylily.pass(Duration::from_secs(2)).await;
        daylily.wait(&source, &id, "expired").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_the_next_transition_answers_when_it_happens() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (id, _) = daylily.ready_link(&source, &pdf(1, 100)).await;
    let path = format!("DocumentReference/{id}/$lifecycle?wait=30s");
    let waiting = source.get(&path);
    let ending = async {
        daylily
            .until("a waiting request", async || {
                let log = daylily.log_since(0).await;
                log.iter().any(|entry| entry.action == "lifecycle.read").then_some(())
            })
            .await;
        let ended =
            parameters(&[("state", "valueBoolean", json!(true)), ("reason", "valueString", json!("wrong ward"))]);
        source.post(&format!("DocumentReference/{id}/$revoke"), &ended).await.ok(200);
    };
    let (answer, ()) = tokio::join!(waiting, ending);
    let answer = answer.ok(200);
    assert_eq!(states(&answer), ["created", "scanned", "ready", "revoked"]);
    assert!(answer.to_string().contains("wrong ward"), "the reason is told to who may see it");
    for wrong in ["soon", "-1s", "1"] {
        let refused = source.get(&format!("DocumentReference/{id}/$lifecycle?wait={wrong}")).await;
        assert_eq!(refused.said(), (400, "parameter-malformed"), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sources_own_download_and_half_a_download_deliver_nothing() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let receiver = daylily.client("receiver", FULL, &["all"]).await;
    let bytes = pdf(1, 150_000);
    let (id, own) = daylily.ready_link(&source, &bytes).await;
    assert_eq!(daylily.get(&own).await.bytes, bytes);
    let link = daylily.link(&receiver, &id).await;
    let half = bytes.len() / 2;
    let part = async |range: String| Answer::of(daylily.http.get(&link).header("Range", range)).await;
    assert_eq!(part(format!("bytes=0-{}", half - 1)).await.status, 206);
    daylily
        .until("both recorded", async || {
            let log = daylily.log_since(0).await;
            (log.iter().filter(|entry| entry.what() == "link.redeem ok").count() == 2).then_some(())
        })
        .await;
    assert_eq!(state_of(&source.get(&format!("DocumentReference/{id}")).await.ok(200)), "ready");
    assert_eq!(part(format!("bytes={half}-")).await.status, 206);
    daylily.wait(&source, &id, "delivered").await;
}
