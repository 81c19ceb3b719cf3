//! A stop and a start on the same folder keep everything; a folder that was changed behind the server's back is not served.

use std::path::Path;

use serde_json::json;

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_links_keys_and_documents_outlive_a_restart() {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let mut kept = Vec::new();
    for (seed, length) in [(1, 500), (2, 200_000)] {
        let bytes = pdf(seed, length);
        let (id, link) = daylily.ready_link(&source, &bytes).await;
        kept.push((id, link, bytes));
    }
    let created = Answer::of(
        source
            .request(reqwest::Method::POST, "Patient")
            .await
            .header("Content-Type", "application/fhir+json")
            .header("Idempotency-Key", "once")
            .body(json!({ "resourceType": "Patient", "gender": "female" }).to_string()),
    );
    let patient = text(&created.await.ok(201), "/id");
    let before = source.get(&format!("DocumentReference/{}", kept[0].0)).await;
    let jwks = daylily.get("/auth/jwks").await.bytes;
    let size = daylily.log_size().await;
    daylily.stop().await;
    daylily.start_again().await.unwrap();
    assert_eq!(daylily.get("/auth/jwks").await.bytes, jwks);
    let after = source.get(&format!("DocumentReference/{}", kept[0].0)).await;
    assert_eq!(after.status, 200, "the token of before the restart is good");
    assert_eq!((before.text(), before.header("etag")), (after.text(), after.header("etag")), "the same link, too");
    for (_, link, bytes) in &kept {
        assert_eq!(&daylily.get(link).await.bytes, bytes);
    }
    assert_eq!(source.get(&format!("Patient/{patient}")).await.ok(200)["gender"], "female");
    let log = daylily.log_since(size).await;
    assert!(
        log.iter().any(|entry| entry.action == "server.stop") && log.iter().any(|entry| entry.action == "server.start")
    );
    let revoked = source.post(&format!("DocumentReference/{}/$revoke", kept[0].0), &parameters(&[])).await.ok(200);
    assert_eq!(revoked["resourceType"], "Parameters");
    daylily.stop().await;
    daylily.start_again().await.unwrap();
    assert_eq!(daylily.get(&kept[0].1).await.said(), (410, "link-revoked"), "a revocation outlives it too");
    daylily.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_log_is_not_served() {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    daylily.ready_link(&source, &pdf(1, 500)).await;
    daylily.stop().await;
    let database = daylily.data().join("daylily.db");
    let entries = counted(&database, "SELECT count(*) AS n FROM audit");
    let pristine = std::fs::read(&database).unwrap();
    let changes = [
        another_last_byte("body", entries / 2),
        another_last_byte("cells", entries / 2),
        format!("DELETE FROM audit WHERE seq = {}", entries - 1),
        format!("DELETE FROM audit WHERE seq = {}", entries / 2),
    ];
    for change in changes {
        // Without a note of an earlier check the whole is looked at before anything is served.
        std::fs::remove_file(daylily.data().join("log-check")).unwrap();
        assert_eq!(altered(&database, &change), 1, "{change}");
        let failure = daylily.start_again().await.unwrap_err();
        assert_eq!(failure.exit, 3, "{change}");
        assert!(failure.issues[0].code().name().starts_with("audit-"), "{change} {failure:?}");
        restore(&database, &pristine);
        std::fs::write(daylily.data().join("log-check"), b"").unwrap();
    }
    daylily.start_again().await.unwrap();
    daylily.verify().await;
}

/// The last byte becomes another one, whatever it was: a fixed byte would now and then be the one that stands there.
fn another_last_byte(column: &str, entry: i64) -> String {
    format!(
        "UPDATE audit SET {column} = CAST(substr({column}, 1, length({column}) - 1) || \
         CASE WHEN substr({column}, -1) = x'00' THEN x'01' ELSE x'00' END AS BLOB) WHERE seq = {entry}"
    )
}

fn restore(database: &Path, bytes: &[u8]) {
    for name in ["daylily.db-wal", "daylily.db-shm"] {
        let _ = std::fs::remove_file(database.with_file_name(name));
    }
    std::fs::write(database, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_of_the_database_beside_newer_checkpoints_is_not_served() {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    daylily.stop().await;
    let database = daylily.data().join("daylily.db");
    let older = std::fs::read(&database).unwrap();
    daylily.start_again().await.unwrap();
    daylily.ready_link(&source, &pdf(1, 500)).await;
    daylily.stop().await;
    restore(&database, &older);
    let failure = daylily.start_again().await.unwrap_err();
    assert_eq!((failure.exit, failure.issues[0].code().name()), (3, "audit-shortened"), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_key_a_folder_is_not_served_and_nothing_is_made_in_its_place() {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (_, link) = daylily.ready_link(&source, &pdf(1, 500)).await;
    daylily.stop().await;
    let key = daylily.data().join("keys/encryption.key");
    let away = daylily.beside("key-put-away");
    std::fs::rename(&key, &away).unwrap();
    let failure = daylily.start_again().await.unwrap_err();
    assert_eq!(failure.exit, 3, "{failure:?}");
    assert!(failure.issues[0].message().contains("encryption.key is missing"), "{failure:?}");
    assert!(!key.exists());
    std::fs::rename(&away, &key).unwrap();
    daylily.start_again().await.unwrap();
    assert_eq!(daylily.get(&link).await.status, 200);
}
