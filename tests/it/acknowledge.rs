//! `$acknowledge`: who may, what counts, and what policy makes of it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::*;

const HOUR: Duration = Duration::from_secs(3_600);
const RULE: &str = "[[rule]]\nname = \"test\"\nretain = \"10h\"\nretain-from = \"acknowledged\"\n\
    delivered-when = \"acknowledged\"\nwhen = { type = [\"http://loinc.org|18842-5\"] }\n";

async fn say(actor: &Actor, id: &str, outcome: &str) -> Answer {
    let body = parameters(&[
        ("outcome", "valueCode", json!(outcome)),
        ("note", "valueString", json!("filed for Anna Beispiel")),
    ]);
    actor.post(&format!("DocumentReference/{id}/$acknowledge"), &body).await
}

async fn state(actor: &Actor, id: &str) -> String {
    state_of(&actor.get(&format!("DocumentReference/{id}")).await.ok(200))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_delivers_and_begins_the_window_anew_and_a_rejection_does_not() {
    let daylily = TestDaylily::start_with(RULE, |_| {}).await;
    let source = daylily.source().await;
    let receiver = daylily.client("receiver", FULL, &["all"]).await;
    let (id, link) = daylily.ready_link(&source, &pdf(1, 500)).await;
    let mine = daylily.link(&receiver, &id).await;
    assert_ne!(link, mine);
    assert_eq!(daylily.get(&mine).await.status, 200);
    let shown = say(&receiver, &id, "rejected").await.ok(200);
    assert_eq!((shown["resourceType"].as_str(), state_of(&shown).as_str()), (Some("DocumentReference"), "ready"));
    say(&source, &id, "imported").await.ok(200);
    assert_eq!(state(&source, &id).await, "ready", "its own source delivers nothing");
    daylily.pass(4 * HOUR).await;
    let size = daylily.log_size().await;
    assert_eq!(state_of(&say(&receiver, &id, "imported").await.ok(200)), "delivered");
    let log = daylily.log_since(size).await;
    let entry = log.iter().find(|entry| entry.what() == "document.acknowledge ok").expect("recorded");
    assert_eq!(entry.get("outcome"), Some(&Value::from("imported")));
    assert_eq!(entry.get("reason"), Some(&Value::from("filed for Anna Beispiel")), "in a cell that can be erased");
    let rows = counted(&daylily.data().join("daylily.db"), "SELECT count(*) AS n FROM acknowledgement");
    assert_eq!(rows, 2);
    daylily.pass(7 * HOUR).await;
    assert_eq!(state(&source, &id).await, "delivered", "ten hours from the acknowledgement, not from release");
    daylily.pass(3 * HOUR).await;
    assert_eq!(state(&source, &id).await, "expired");
    // Late, but what was fetched in time may be told.
    assert_eq!(state_of(&say(&receiver, &id, "rejected").await.ok(200)), "expired");
    daylily.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_acknowledges_or_fetches_does_not_stay_for_ever() {
    for from in ["acknowledged", "first-delivery", "last-access"] {
        let daylily = TestDaylily::start_with(
            &RULE.replace("retain-from = \"acknowledged\"", &format!("retain-from = \"{from}\"")),
            |_| {},
        )
        .await;
        let source = daylily.source().await;
        let (id, _) = daylily.ready_link(&source, &pdf(1, 500)).await;
        daylily.pass(10 * HOUR).await;
        assert_eq!(state(&source, &id).await, "expired", "{from}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_named_recipients_may_where_any_is_named_and_all_of_them_must() {
    let daylily = TestDaylily::start_with(RULE, |_| {}).await;
    let source = daylily.source().await;
    let (one, two) = (daylily.client("one", FULL, &["own"]).await, daylily.client("two", FULL, &["own"]).await);
    let all = daylily.client("all", FULL, &["all"]).await;
    let stranger = daylily.client("stranger", FULL, &["own"]).await;
    let document = document("p1", &[inline("application/pdf", &pdf(1, 500))]);
    let id = daylily.ready(&source, &to_recipient(to_recipient(document, "one"), "two")).await;
    assert_eq!(
        say(&all, &id, "imported").await.said(),
        (403, "scope-insufficient"),
        "it may read, and is no recipient"
    );
    assert_eq!(say(&source, &id, "imported").await.said(), (403, "scope-insufficient"));
    assert_eq!(say(&stranger, &id, "imported").await.said(), (404, "resource-not-found"));
    assert_eq!(state_of(&say(&one, &id, "imported").await.ok(200)), "ready", "the other has said nothing yet");
    assert_eq!(state_of(&say(&two, &id, "imported").await.ok(200)), "delivered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_understood_or_was_never_open_is_refused() {
    let daylily = TestDaylily::start_with(RULE, |_| {}).await;
    let source = daylily.source().await;
    let (id, _) = daylily.ready_link(&source, &pdf(1, 500)).await;
    let path = format!("DocumentReference/{id}/$acknowledge");
    for wrong in [
        parameters(&[]),
        parameters(&[("outcome", "valueCode", json!("done"))]),
        parameters(&[("outcome", "valueString", json!("imported"))]),
        parameters(&[("outcome", "valueCode", json!("imported")), ("outcome", "valueCode", json!("rejected"))]),
    ] {
        assert_eq!(source.post(&path, &wrong).await.said(), (400, "parameter-malformed"), "{wrong}");
    }
    assert_eq!(source.get(&path).await.status, 405);
    let held = document("p1", &[inline("text/plain", &eicar())]);
    let held = text(&source.post("DocumentReference", &held).await.ok(201), "/id");
    daylily.wait(&source, &held, "quarantined").await;
    assert_eq!(say(&source, &held, "imported").await.code(), "content-quarantined");
}
