//! What `explain` says where the record, or the rows beside it, were altered.

use daylily::control::{ExplainAim, Request, Response, RevocationAim};
use serde_json::json;

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_explanation_says_where_the_record_that_it_rests_on_was_altered() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (_, link) = daylily.ready_link(&source, &pdf(1, 400)).await;
    daylily.get(&link).await;
    let explained = async || {
        let aim = ExplainAim::Link(link.clone());
        let Response::Explanation(view) = daylily.command(Request::Explain { aim }).await.unwrap() else { panic!() };
        view.facts.into_iter().find(|fact| fact.name == "record").map(|fact| fact.text)
    };
    daylily
        .until("the end of the download", async || {
            let log = daylily.log_since(0).await;
            log.iter().find(|entry| entry.what() == "link.redeem ok").map(|entry| entry.seq)
        })
        .await;
    assert_eq!(explained().await, None);
    let log = daylily.log_since(0).await;
    let used = log.iter().find(|entry| entry.what() == "link.redeem ok").unwrap().seq;
    let database = daylily.data().join("daylily.db");
    for statement in [
        format!("UPDATE audit SET cells = (SELECT cells FROM audit WHERE seq = {used} - 1) WHERE seq = {used}"),
        format!("UPDATE audit SET body = x'00' WHERE seq = {used}"),
        format!("DELETE FROM audit WHERE seq = {used}"),
    ] {
        assert!(altered(&database, &statement) > 0);
        let said = explained().await.unwrap_or_else(|| panic!("{statement}"));
        assert!(said.starts_with(&format!("entry {used} is not what was recorded")), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_explanation_of_a_document_says_where_its_rows_are_not_what_entries_did() {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (id, _) = daylily.ready_link(&source, &pdf(1, 400)).await;
    let hold = Request::HoldAdd { document: id.clone(), reason: "case 12/26".to_owned(), authority: None };
    daylily.command(hold).await.unwrap();
    let withdraw = [("state", "valueBoolean", json!(true)), ("reason", "valueString", json!("wrong ward"))];
    source.post(&format!("DocumentReference/{id}/$revoke"), &parameters(&withdraw)).await.ok(200);
    let explained = async |daylily: &TestDaylily| {
        let aim = ExplainAim::Reference(format!("DocumentReference/{id}"));
        let Response::Explanation(view) = daylily.command(Request::Explain { aim }).await.unwrap() else { panic!() };
        view.facts.into_iter().find(|fact| fact.name == "record").map(|fact| fact.text)
    };
    assert_eq!(explained(&daylily).await, None);
    let database = daylily.data().join("daylily.db");
    for (change, back) in [
        (
            "UPDATE res SET state = 'ready' WHERE state = 'revoked'",
            "UPDATE res SET state = 'revoked' WHERE state = 'ready'",
        ),
        ("UPDATE hold SET released = 1", "UPDATE hold SET released = NULL"),
        (
            "UPDATE step SET to_state = 'expired' WHERE to_state = 'revoked'",
            "UPDATE step SET to_state = 'revoked' WHERE to_state = 'expired'",
        ),
        (
            "INSERT INTO hold (rid, reason, actor, at) SELECT rid, 'x', 'os:0', 1 FROM hold LIMIT 1",
            "DELETE FROM hold WHERE reason = 'x'",
        ),
    ] {
        assert!(altered(&database, change) > 0, "{change}");
        let said = explained(&daylily).await.unwrap_or_else(|| panic!("{change}"));
        assert!(said.contains("is not what the log says"), "{said}");
        assert!(altered(&database, back) > 0, "{back}");
        assert_eq!(explained(&daylily).await, None, "{back}");
    }
    daylily.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_of_a_given_link_that_claims_a_later_epoch_is_not_believed() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (_, link) = daylily.ready_link(&source, &pdf(1, 400)).await;
    let id = daylily::domain::link::id_of(link.rsplit('/').next().unwrap());
    daylily.clock.advance(std::time::Duration::from_secs(1));
    daylily.revoke(RevocationAim::Client("source".to_owned()), false).await;
    let explained = async || daylily.command(Request::Explain { aim: ExplainAim::Reference(id.to_string()) }).await;
    let Response::Explanation(view) = explained().await.unwrap() else { panic!() };
    assert_eq!((view.can_open, view.code.as_deref()), (Some(false), Some("link-revoked")));
    // As if it had been given after the revocation.
    let database = daylily.data().join("daylily.db");
    assert!(altered(&database, "UPDATE given_link SET epoch = epoch + 1000000") > 0);
    match explained().await {
        Err(refusal) => assert_eq!(refusal.code().name(), "server-busy"),
        other => panic!("{other:?}"),
    }
}
