//! Counted and bound links whose rows were changed in the database of a stopped server: the file of endings tells of uses, the entries of terms.

use std::time::Duration;

use daylily::control::{Request, RevocationAim};
use serde_json::{Value, json};

use crate::support::links::*;
use crate::support::stopped::*;
use crate::support::*;

const ONCE: &str = "[[rule]]\nname = \"once\"\nlink = { max-uses = 3 }\n";

async fn get(daylily: &TestDaylily, link: &str) -> u16 {
    daylily.get(link).await.status
}

/// A server with a link of one use that is spent, and one to be confirmed; stopped.
async fn stopped_after_a_use() -> (TestDaylily, String) {
    let (mut daylily, source, id, _) = released(ONCE, 400).await;
    let once: &[(&str, &str, Value)] = &[("uses", "valuePositiveInt", json!(1))];
    let spent = issued(&source, &id, once).await;
    let _confirmed = issued(&source, &id, &[("confirm", "valueBoolean", json!(true))]).await;
    assert_eq!(get(&daylily, &spent).await, 200);
    daylily.until("the use is spent", async || (get(&daylily, &spent).await == 410).then_some(())).await;
    daylily.stop().await;
    (daylily, spent)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spent_use_that_the_database_lost_is_found_and_spent_again_by_an_acknowledgement() {
    let (mut daylily, spent) = stopped_after_a_use().await;
    two_operators(&daylily).await;
    for statement in
        ["DELETE FROM link_use", "UPDATE link_use SET used = 0", "UPDATE link_use SET reader = reader + 100"]
    {
        let _ = altered(&daylily.data().join("daylily.db"), "DELETE FROM link_claim");
        let text = said_of(&mut daylily, statement).await;
        assert!(text.contains("1 uses of counted links"), "{statement}: {text}");
        both_acknowledge(&daylily).await;
        daylily.start_again().await.unwrap_or_else(|failure| panic!("{statement}: {failure:?}"));
        assert_eq!(get(&daylily, &spent).await, 410, "{statement}: what was used stays used");
        daylily.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_not_as_it_was_issued_is_found_and_limited_again_by_an_acknowledgement() {
    let (mut daylily, spent) = stopped_after_a_use().await;
    two_operators(&daylily).await;
    for statement in [
        "UPDATE link SET uses = 100 WHERE uses = 1",
        "UPDATE link SET uses = 0",
        "UPDATE link SET confirm = 0",
        "UPDATE link SET expires = expires + 86400000",
        "UPDATE link SET recipient = zeroblob(32)",
        "UPDATE link SET id = id || 'x'",
        "UPDATE link SET number = number - 1",
        "UPDATE link SET network = '0.0.0.0/0'",
        "DELETE FROM link",
    ] {
        let text = said_of(&mut daylily, statement).await;
        assert!(text.starts_with("entry ") && text.contains("issued a link"), "{statement}: {text}");
        both_acknowledge(&daylily).await;
        daylily.start_again().await.unwrap_or_else(|failure| panic!("{statement}: {failure:?}"));
        assert_eq!(get(&daylily, &spent).await, 410, "{statement}: what was used stays used");
        daylily.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_withdrawal_of_one_link_is_missed_until_its_time_to_be_forgotten() {
    let (mut daylily, source, id, _) = released(ONCE, 400).await;
    let link = issued(&source, &id, &[]).await;
    let named = link.rsplit('/').next().unwrap().to_owned();
    let aim = RevocationAim::Link(named);
    let request = Request::LinksRevoke { aim, reason: "sent in error".to_owned(), state: false, preview: false };
    daylily.command(request).await.unwrap();
    daylily.stop().await;
    let sound = database_of(&daylily, "sound");
    let text = said_of(&mut daylily, "DELETE FROM revocation WHERE scope = 'link'").await;
    assert!(text.contains("withdrew links"), "{text}");
    set_database(&daylily, &sound);
    daylily.start_again().await.unwrap();
    for _ in 0..41 {
        daylily.pass(Duration::from_secs(3_600 * 24 * 10)).await;
    }
    daylily.running().delivery().store().forget_expired(daylily.running().delivery().now()).await.unwrap();
    assert_eq!(daylily.stored_rows("SELECT count(*) AS n FROM revocation WHERE scope = 'link'"), 0, "it was forgotten");
    daylily.stop().await;
    forget_the_last_check(&daylily);
    daylily.start_again().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uses_and_links_that_went_with_their_file_or_with_time_are_no_finding() {
    let (mut daylily, _) = stopped_after_a_use().await;
    daylily.start_again().await.unwrap();
    for _ in 0..4 {
        daylily.pass(Duration::from_secs(3_600 * 24 * 20)).await;
    }
    daylily.running().delivery().store().forget_expired(daylily.running().delivery().now()).await.unwrap();
    daylily.stop().await;
    forget_the_last_check(&daylily);
    daylily.start_again().await.unwrap();
    daylily.verify().await;
}
