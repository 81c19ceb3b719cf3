//! Rows that say who may see what, changed in the database of a stopped server: each is held against the entries, and what the log did is not
//! undone without a word. And what an acknowledgement of two operators covers, and what it does not.

use std::path::Path;

use daylily::control::{ClientChange, Request, Response, RevocationAim};
use daylily::domain::audit::{Action, Entry, Outcome};

use crate::support::stopped::*;
use crate::support::*;

/// A server on which links were withdrawn, a client was switched off, a document withdrawn and another held; stopped.
async fn stopped_after_all_kinds() -> TestDaylily {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let _other = daylily.client("other", FULL, &["all"]).await;
    let (one, _) = daylily.ready_link(&source, &pdf(1, 400)).await;
    let (two, _) = daylily.ready_link(&source, &pdf(2, 400)).await;
    let reason = || "sent in error".to_owned();
    for (aim, state) in [
        (RevocationAim::Document(one.clone()), false),
        (RevocationAim::Document(two), true),
        (RevocationAim::Client("source".to_owned()), false),
    ] {
        daylily.command(Request::LinksRevoke { aim, reason: reason(), state, preview: false }).await.unwrap();
    }
    daylily.command(Request::ClientChange { id: "other".to_owned(), change: ClientChange::Disable }).await.unwrap();
    daylily.command(Request::HoldAdd { document: one, reason: reason(), authority: None }).await.unwrap();
    daylily.stop().await;
    daylily
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_no_longer_show_what_entries_did_are_found_at_a_full_check() {
    let mut daylily = stopped_after_all_kinds().await;
    let sound = database_of(&daylily, "sound");
    for (what, statement) in [
        ("withdrew links", "DELETE FROM revocation WHERE scope = 'document'"),
        ("withdrew links", "UPDATE revocation SET subject = subject + 1000 WHERE scope = 'document'"),
        ("withdrew links", "UPDATE revocation SET scope = 'patient' WHERE scope = 'client'"),
        ("switched a client off", "UPDATE client SET disabled = 0"),
        ("closed a document", "UPDATE res SET state = 'ready' WHERE state = 'revoked'"),
        ("laid a legal hold", "DELETE FROM hold"),
        ("laid a legal hold", "UPDATE hold SET released = 1"),
    ] {
        set_database(&daylily, &sound);
        assert!(altered(&daylily.data().join("daylily.db"), statement) > 0, "{statement}");
        forget_the_last_check(&daylily);
        let failure = daylily.start_again().await.expect_err(statement);
        assert_eq!(said(&failure), (3, "audit-mismatch"), "{statement}: {failure:?}");
        let text = failure.issues[0].message();
        assert!(text.starts_with("entry ") && text.contains(what), "{statement}: {text}");
    }
    set_database(&daylily, &sound);
    forget_the_last_check(&daylily);
    daylily.start_again().await.unwrap();
    daylily.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawal_taken_out_of_the_database_is_found_at_a_start_that_reads_only_what_is_new() {
    let mut daylily = stopped_after_all_kinds().await;
    forget_the_last_check(&daylily);
    daylily.start_again().await.unwrap();
    daylily.stop().await;
    assert!(daylily.data().join("log-check").exists());
    let database = daylily.data().join("daylily.db");
    assert!(altered(&database, "DELETE FROM revocation WHERE scope = 'document'") > 0);
    let failure = daylily.start_again().await.unwrap_err();
    assert_eq!(said(&failure), (3, "audit-mismatch"), "{failure:?}");
    assert!(failure.issues[0].message().contains("withdrew links"), "{failure:?}");
    two_operators(&daylily).await;
    both_acknowledge(&daylily).await;
    for round in 0..2 {
        daylily.start_again().await.unwrap_or_else(|failure| panic!("{round}: {failure:?}"));
        daylily.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_a_thousand_altered_entries_are_told_of_and_acknowledged_together() {
    let mut daylily = TestDaylily::start().await;
    let many: Vec<Entry> = (0..1_500).map(|_| Entry::new(Action::AuditHeartbeat, Outcome::Ok).server()).collect();
    daylily.running().delivery().record_all(&many).await.unwrap();
    daylily.stop().await;
    two_operators(&daylily).await;
    assert!(altered(&daylily.data().join("daylily.db"), "UPDATE audit SET cells = x'' WHERE seq < 1500") > 1_000);
    forget_the_last_check(&daylily);
    assert_eq!(said(&daylily.start_again().await.unwrap_err()), (3, "audit-mismatch"));
    both_acknowledge(&daylily).await;
    daylily.start_again().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_state_that_was_acknowledged_once_is_refused_again_when_it_is_put_back() {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    daylily.ready_link(&source, &pdf(1, 400)).await;
    daylily.stop().await;
    two_operators(&daylily).await;
    let folder = daylily.settings().audit.checkpoints.clone();
    std::fs::remove_dir_all(&folder).unwrap();
    let of_that_moment = database_of(&daylily, "of-that-moment");
    assert_eq!(said(&daylily.start_again().await.unwrap_err()), (3, "audit-checkpoint-missing"));
    both_acknowledge(&daylily).await;
    daylily.start_again().await.unwrap();
    daylily.stop().await;
    set_database(&daylily, &of_that_moment);
    std::fs::remove_dir_all(&folder).unwrap();
    forget_the_last_check(&daylily);
    assert!(daylily.data().join("log-acknowledged").exists());
    let again = daylily.start_again().await.unwrap_err();
    assert_eq!(said(&again), (3, "audit-checkpoint-missing"), "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_empty_or_lost_its_log_is_not_taken_for_a_new_one() {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    daylily.ready_link(&source, &pdf(1, 100_000)).await;
    daylily.stop().await;
    let sound = database_of(&daylily, "sound");
    let database = daylily.data().join("daylily.db");
    forget_the_last_check(&daylily);
    std::fs::remove_dir_all(&daylily.settings().audit.checkpoints).unwrap();
    for bytes in [Vec::new(), vec![0; 8_192]] {
        set_database(&daylily, &sound);
        std::fs::write(&database, &bytes).unwrap();
        let failure = daylily.start_again().await.unwrap_err();
        assert_eq!(said(&failure), (3, "folder-unsafe"), "{failure:?}");
        assert!(failure.issues[0].message().contains("is no database"), "{failure:?}");
        assert_eq!(std::fs::read(&database).unwrap(), bytes, "nothing is made in it");
    }
    set_database(&daylily, &sound);
    for table in ["audit", "audit_head", "checkpoint"] {
        altered(&database, &format!("DELETE FROM {table}"));
    }
    let failure = daylily.start_again().await.unwrap_err();
    assert_eq!(said(&failure), (3, "folder-unsafe"), "{failure:?}");
    assert!(failure.issues[0].message().contains("has no audit log"), "{failure:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_whose_end_was_changed_is_acknowledged_and_goes_on() {
    for statement in [
        "DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)",
        "UPDATE audit SET cells = x'' , body = CAST(zeroblob(40) AS BLOB) WHERE seq = (SELECT max(seq) FROM audit)",
        "UPDATE audit_head SET frontier = CAST(zeroblob(16) AS BLOB)",
        "DELETE FROM audit_head",
    ] {
        let mut daylily = TestDaylily::start().await;
        daylily.stop().await;
        two_operators(&daylily).await;
        // Not the entry of one of them is what is lost: of whom the log does not tell has no word.
        daylily.start_again().await.unwrap();
        daylily.stop().await;
        assert_eq!(altered(&daylily.data().join("daylily.db"), statement), 1, "{statement}");
        let failure = daylily.start_again().await.expect_err(statement);
        assert_eq!(said(&failure), (3, "audit-mismatch"), "{statement}: {failure:?}");
        assert!(failure.issues[0].cure().contains("daylily audit acknowledge"), "{failure:?}");
        assert_eq!(code(&acknowledge(&daylily, "anna").await), "second-person-required", "{statement}");
        let between = daylily.start_again().await.expect_err(statement);
        assert_eq!(between.exit, 3, "{statement}: one person is not two: {between:?}");
        acknowledge(&daylily, "ben").await.unwrap_or_else(|refusal| panic!("{statement}: {refusal:?}"));
        for round in 0..2 {
            daylily.start_again().await.unwrap_or_else(|failure| panic!("{statement} {round}: {failure:?}"));
            daylily.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_entries_closed_and_rows_no_longer_show_is_closed_again_by_an_acknowledgement() {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let other = daylily.client("other", FULL, &["all"]).await;
    let (one, withdrawn) = daylily.ready_link(&source, &pdf(1, 400)).await;
    let (two, _) = daylily.ready_link(&source, &pdf(2, 400)).await;
    let reason = || "sent in error".to_owned();
    for (id, state) in [(&one, false), (&two, true)] {
        let aim = RevocationAim::Document(id.clone());
        daylily.command(Request::LinksRevoke { aim, reason: reason(), state, preview: false }).await.unwrap();
    }
    daylily.command(Request::ClientChange { id: "other".to_owned(), change: ClientChange::Disable }).await.unwrap();
    for document in [&one, &one] {
        daylily
            .command(Request::HoldAdd { document: document.clone(), reason: reason(), authority: None })
            .await
            .unwrap();
    }
    daylily.stop().await;
    two_operators(&daylily).await;
    let database = daylily.data().join("daylily.db");
    let statements = [
        "DELETE FROM revocation",
        "UPDATE client SET disabled = 0",
        "UPDATE res SET state = 'ready' WHERE state = 'revoked'",
        "DELETE FROM hold",
    ];
    for round in 0..2 {
        for statement in statements {
            assert!(altered(&database, statement) > 0, "{round}: {statement}");
        }
        forget_the_last_check(&daylily);
        let failure = daylily.start_again().await.unwrap_err();
        assert_eq!(
            said(&failure),
            (3, "audit-mismatch"),
            "{round}: what was done again is not passed over: {failure:?}"
        );
        both_acknowledge(&daylily).await;
        daylily.start_again().await.unwrap_or_else(|failure| panic!("{round}: {failure:?}"));
        assert_eq!(daylily.get(&withdrawn).await.status, 410, "{round}: withdrawn links stay withdrawn");
        let read = source.get(&format!("DocumentReference/{two}")).await.ok(200);
        assert_eq!(state_of(&read), "revoked", "{round}: a document that was closed stays closed");
        let refused = other.ask_token(&other.assertion(), FULL).await;
        assert_eq!(refused.status, 401, "{round}: a client that was switched off stays off");
        let Response::Holds { holds, .. } = daylily.command(Request::HoldList {}).await.unwrap() else {
            panic!("holds are answered")
        };
        assert_eq!(holds.len(), 2, "{round}");
        daylily.verify().await;
        daylily.stop().await;
    }
}

/// Names of the files under `blobs`.
fn blobs(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => blobs(&entry.path(), found),
            false => found.push(entry.path().display().to_string()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_of_documents_that_an_acknowledged_older_database_lacks_stay() {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    daylily.stop().await;
    two_operators(&daylily).await;
    let older = database_of(&daylily, "older");
    daylily.start_again().await.unwrap();
    daylily.ready_link(&source, &pdf(1, 100_000)).await;
    daylily.stop().await;
    let (mut before, mut after) = (Vec::new(), Vec::new());
    blobs(&daylily.data().join("blobs"), &mut before);
    assert!(!before.is_empty());
    set_database(&daylily, &older);
    assert_eq!(said(&daylily.start_again().await.unwrap_err()).0, 3);
    both_acknowledge(&daylily).await;
    daylily.start_again().await.unwrap();
    let mut compared = daylily::delivery::Reconciled::default();
    while !compared.is_done() {
        compared = daylily.running().delivery().reconcile_page(compared).await.unwrap();
    }
    assert_eq!((compared.orphans, compared.kept), (0, u64::try_from(before.len()).unwrap()));
    blobs(&daylily.data().join("blobs"), &mut after);
    assert_eq!(before, after);
}
