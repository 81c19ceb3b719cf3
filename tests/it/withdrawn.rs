//! Withdrawn links: what the next read offers, whose right it is, what a restart keeps; and what `explain` says by a reference.

use std::path::Path;

use daylily::control::{ExplainAim, ExplanationView, Request, Response, RevocationAim, RevocationView};
use daylily::domain::id::ResourceId;
use daylily::domain::link::id_of;
use daylily::domain::principal::Operator;
use daylily::domain::refusal::Refusal;
use daylily::domain::resource::Kind;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use serde_json::{Value, json};

use crate::support::*;

/// The reference that pages show of a link.
fn reference(link: &str) -> String {
    id_of(link.rsplit('/').next().unwrap()).to_string()
}

async fn issued(actor: &Actor, id: &str, more: &[(&str, &str, Value)]) -> String {
    let answer = actor.post(&format!("DocumentReference/{id}/$issue-link"), &parameters(more)).await.ok(200);
    text(parameter(&answer, "url"), "/valueUrl")
}

async fn withdraw(actor: &Actor, id: &str, link: &str) -> Answer {
    let body = parameters(&[("link", "valueString", json!(reference(link)))]);
    actor.post(&format!("DocumentReference/{id}/$revoke"), &body).await
}

async fn withdrawn_by_command(daylily: &TestDaylily, aim: RevocationAim, state: bool) -> RevocationView {
    match daylily.revoke(aim, state).await {
        Response::Revocation(view) => view,
        other => panic!("{other:?}"),
    }
}

async fn explained(daylily: &TestDaylily, text: &str) -> Result<ExplanationView, Refusal> {
    let aim = ExplainAim::Reference(text.to_owned());
    match daylily.command(Request::Explain { aim }).await? {
        Response::Explanation(view) => Ok(view),
        other => panic!("{other:?}"),
    }
}

fn change_rows(data: &Path, statements: &str) {
    let path = data.join("daylily.db");
    let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    conn.batch_execute("PRAGMA busy_timeout = 5000;").unwrap();
    conn.batch_execute(statements).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoking_one_link_makes_the_next_read_offer_another_and_ends_no_other() {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (id, shown) = daylily.ready_link(&source, &pdf(1, 200)).await;
    let other = issued(&source, &id, &[]).await;
    assert_eq!(daylily.link(&source, &id).await, shown, "the same within its step of time");
    let answer = withdraw(&source, &id, &shown).await.ok(200);
    assert_eq!(parameter(&answer, "revoked")["valueInteger"], 1);
    let next = daylily.link(&source, &id).await;
    assert_ne!(next, shown);
    let stands = async |daylily: &TestDaylily, next: &str| {
        assert_eq!(daylily.get(&shown).await.said(), (410, "link-revoked"));
        assert_eq!((daylily.get(next).await.status, daylily.get(&other).await.status), (200, 200));
    };
    stands(&daylily, &next).await;
    daylily.stop().await;
    daylily.start_again().await.unwrap();
    stands(&daylily, &next).await;
    assert_eq!(daylily.link(&source, &id).await, next, "it holds over a restart");
    // The same by a command.
    let view = withdrawn_by_command(&daylily, RevocationAim::Link(next.clone()), false).await;
    assert_eq!((view.links, view.recipients), (1, vec!["source".to_owned()]));
    let third = daylily.link(&source, &id).await;
    assert_ne!(third, next);
    assert_eq!(daylily.get(&next).await.said(), (410, "link-revoked"));
    stands(&daylily, &third).await;
    // What was withdrawn already is not counted again.
    let again = withdraw(&source, &id, &next).await.ok(200);
    assert_eq!(parameter(&again, "revoked")["valueInteger"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_right_to_revoke_and_whom_it_touched_do_not_come_from_the_log() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let stranger = daylily.client("stranger", FULL, &["all"]).await;
    let (id, shown) = daylily.ready_link(&source, &pdf(1, 200)).await;
    let (counted, theirs) =
        (issued(&source, &id, &[("uses", "valuePositiveInt", json!(2))]).await, daylily.link(&stranger, &id).await);
    // Of all entries only those that gave a link can be read.
    change_rows(daylily.data(), "UPDATE audit SET cells = x'00' WHERE seq NOT IN (SELECT leaf FROM given_link)");
    assert_eq!(withdraw(&stranger, &id, &shown).await.status, 404, "not its issuer, nor the owner");
    for link in [&shown, &counted, &theirs] {
        let answer = withdraw(&source, &id, link).await.ok(200);
        assert_eq!(parameter(&answer, "revoked")["valueInteger"], 1);
        assert_eq!(daylily.get(link).await.said(), (410, "link-revoked"));
    }
    let (mine, _theirs) = (daylily.link(&source, &id).await, daylily.link(&stranger, &id).await);
    let view = withdrawn_by_command(&daylily, RevocationAim::Patient("Patient/p1".to_owned()), false).await;
    assert_eq!((view.links, view.recipients), (2, vec!["source".to_owned(), "stranger".to_owned()]));
    assert_eq!(daylily.get(&mine).await.said(), (410, "link-revoked"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn links_of_before_the_index_are_gathered_at_the_first_start() {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (id, shown) = daylily.ready_link(&source, &pdf(1, 200)).await;
    let counted = issued(&source, &id, &[("uses", "valuePositiveInt", json!(2))]).await;
    let revoked = issued(&source, &id, &[]).await;
    withdrawn_by_command(&daylily, RevocationAim::Link(revoked.clone()), false).await;
    daylily.stop().await;
    // As the migration leaves a folder of before it.
    let before = "DELETE FROM given_link; \
        INSERT INTO given_link_backlog (id, size) SELECT 1, max(seq) + 1 FROM audit; \
        DELETE FROM revocation_reserve; UPDATE revocation SET reader = NULL, document = NULL;";
    change_rows(daylily.data(), before);
    daylily.start_again().await.unwrap();
    assert_eq!(daylily.running().delivery().store().given_backlog().await.unwrap(), 0);
    let view = explained(&daylily, &reference(&counted)).await.unwrap();
    assert_eq!(view.can_open, Some(true));
    assert!(view.facts.iter().any(|fact| fact.name == "uses"), "its row was found: {view:?}");
    assert_eq!(explained(&daylily, &reference(&revoked)).await.unwrap().code.as_deref(), Some("link-revoked"));
    for link in [&shown, &counted] {
        let answer = withdraw(&source, &id, link).await.ok(200);
        assert_eq!(parameter(&answer, "revoked")["valueInteger"], 1);
    }
}

/// A line of the spool, as a process leaves it that could not write to the database.
fn spool_line(number: u64, document: i64) -> String {
    let line = json!({
        "number": number, "scope": "document", "key": document.to_string(), "at": 1_700_000_000_000_i64, "reason": "test",
        "reader": null, "document": null, "action": "link.revoke", "outcome": "ok", "commitment": "07".repeat(32),
        "cells": "AQID", "patients": [],
    });
    format!("\n{line}\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spool_that_was_merged_ends_nothing_and_one_that_was_not_does_and_numbers_go_on_behind_it() {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (id, _) = daylily.ready_link(&source, &pdf(1, 200)).await;
    let scope = Operator::OsUser(0).scope();
    let found = daylily.running().delivery().store();
    let found = found.read(Kind::DocumentReference, &ResourceId::parse(&id).unwrap(), &scope).await.unwrap().unwrap();
    let document = found.document.unwrap().number.0;
    let number = |view: RevocationView| view.revocation.strip_prefix("rv_").unwrap().parse::<u64>().unwrap();
    let aim = || RevocationAim::Document(id.clone());
    let merged = number(withdrawn_by_command(&daylily, aim(), false).await);
    let since = daylily.link(&source, &id).await;
    daylily.stop().await;
    let spool = daylily.data().join("revocations.spool");
    std::fs::write(&spool, spool_line(merged, document)).unwrap();
    daylily.start_again().await.unwrap();
    assert_eq!(daylily.get(&since).await.status, 200, "made after the revocation that was merged");
    daylily.running().delivery().merge_spool().await.unwrap();
    assert!(!spool.exists(), "emptied at last");
    daylily.stop().await;
    let waits = merged + 5_000;
    std::fs::write(&spool, spool_line(waits, document)).unwrap();
    daylily.start_again().await.unwrap();
    assert_eq!(daylily.get(&since).await.said(), (410, "link-revoked"));
    assert!(number(withdrawn_by_command(&daylily, aim(), false).await) > waits);
    daylily.running().delivery().merge_spool().await.unwrap();
    assert!(!spool.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_ending_links_leaves_open_is_said_and_what_ends_access_too() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (id, _) = daylily.ready_link(&source, &pdf(1, 200)).await;
    let document = || RevocationAim::Document(format!("DocumentReference/{id}"));
    let note = withdrawn_by_command(&daylily, document(), false).await.note.unwrap();
    assert!(note.contains("new links at their next read") && note.contains("--state"), "{note}");
    let next = daylily.link(&source, &id).await;
    assert_eq!(daylily.get(&next).await.status, 200);
    assert_eq!(withdrawn_by_command(&daylily, document(), true).await.note, None);
    assert!(matches!(daylily.get(&next).await.said(), (410, "link-revoked" | "content-revoked")));
    assert_eq!(withdrawn_by_command(&daylily, RevocationAim::All, false).await.note, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_answers_from_the_reference_that_pages_show() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (id, shown) = daylily.ready_link(&source, &pdf(1, 200)).await;
    let counted = issued(&source, &id, &[("uses", "valuePositiveInt", json!(2))]).await;
    let fact = |view: &ExplanationView, name: &str| view.facts.iter().find(|fact| fact.name == name).cloned();
    for link in [&shown, &counted] {
        let view = explained(&daylily, &reference(link)).await.unwrap();
        assert_eq!((view.can_open, view.code.as_deref()), (Some(true), None), "{view:?}");
        assert_eq!(fact(&view, "link").unwrap().by.as_deref(), Some("client/source"));
        assert_eq!(fact(&view, "made").unwrap().by.as_deref(), Some("client/source"));
        assert!(fact(&view, "document").unwrap().text.contains(&id));
        assert_eq!(fact(&view, "uses").is_some(), link == &counted);
    }
    // Wide revocations are told by the epoch that the link carries, single ones by its id.
    withdraw(&source, &id, &counted).await.ok(200);
    let view = explained(&daylily, &reference(&counted)).await.unwrap();
    assert_eq!((view.can_open, view.code.as_deref()), (Some(false), Some("link-revoked")));
    assert!(fact(&view, "withdrawn").is_some());
    withdrawn_by_command(&daylily, RevocationAim::Client("source".to_owned()), false).await;
    let view = explained(&daylily, &reference(&shown)).await.unwrap();
    assert_eq!((view.can_open, view.code.as_deref()), (Some(false), Some("link-revoked")));
    assert!(view.facts.iter().any(|fact| fact.text == "all links of the client given until then"), "{view:?}");
    let aim = RevocationAim::Document(id.clone());
    withdrawn_by_command(&daylily, aim, false).await;
    let view = explained(&daylily, &format!("DocumentReference/{id}")).await.unwrap();
    assert_eq!(view.can_open, Some(true), "links only");
    let withdrawn = fact(&view, "withdrawn").unwrap();
    assert_eq!(withdrawn.text, "all links of the document given until then");
    assert!(withdrawn.at.is_some() && withdrawn.by.is_some());
    let unknown = explained(&daylily, "lk_000000000").await.unwrap_err();
    assert_eq!(unknown.code().name(), "resource-not-found");
    assert_eq!(unknown.first().message(), "no link that can be open has this reference");
    assert!(unknown.first().cure().contains("daylily explain -"));
}
