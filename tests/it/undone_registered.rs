//! Who is registered, changed in the database of a stopped server: clients, and the people whose word counts. And rows that no entry made.

use daylily::control::{Request, RevocationAim};

use crate::support::stopped::*;
use crate::support::*;

/// A server with a client, a withdrawn document and three operators, of whom one is switched off; stopped.
async fn stopped() -> (TestDaylily, Actor) {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (one, _) = daylily.ready_link(&source, &pdf(1, 400)).await;
    daylily.ready_link(&source, &pdf(2, 400)).await;
    let (aim, reason) = (RevocationAim::Document(one), "sent in error".to_owned());
    daylily.command(Request::LinksRevoke { aim, reason, state: false, preview: false }).await.unwrap();
    daylily.stop().await;
    two_operators(&daylily).await;
    operator(&daylily, "carl", "security").await;
    command(&daylily, Request::OperatorDisable { id: "carl".to_owned() }).await.unwrap();
    (daylily, source)
}

const EVE: &str = "INSERT INTO operator SELECT 'eve', 'security', password, 0, created FROM operator WHERE id = 'anna'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_registered_and_rows_that_no_entry_made_are_held_against_the_log() {
    let (mut daylily, _) = stopped().await;
    let sound = database_of(&daylily, "sound");
    let client = "registered or changed a client";
    let person = "registered an operator or switched one off";
    for (what, statement) in [
        (client, "UPDATE client SET reach_all = 1 - reach_all"),
        (client, "UPDATE client SET custodians = '[\"Organization/other\"]'"),
        (client, "UPDATE client SET scope = scope || ' system/Basic.rs'"),
        (client, "UPDATE client SET keys = '{\"keys\":[]}'"),
        (client, "UPDATE client SET key_source = 'uri', keys = 'https://keys.example/jwks'"),
        (client, "UPDATE client SET allow_ip = '[\"192.0.2.0/24\"]'"),
        (person, "UPDATE operator SET disabled = 0 WHERE id = 'carl'"),
        (person, "UPDATE operator SET role = 'privacy' WHERE id = 'anna'"),
        (person, "UPDATE operator SET password = (SELECT password FROM operator WHERE id = 'ben') WHERE id = 'anna'"),
        (person, "DELETE FROM operator WHERE id = 'ben'"),
        ("an operator whom no entry registered", EVE),
        ("withdrew links", "UPDATE revocation SET at = 1000"),
        (
            "and no entry made it",
            "INSERT INTO revocation SELECT number + 500, scope, subject + 1, link, at, reason, reader, document FROM revocation",
        ),
        ("took in a document", "DELETE FROM res WHERE kind = 1 AND state = 'ready'"),
        ("took in a document", "DELETE FROM doc"),
    ] {
        set_database(&daylily, &sound);
        let text = said_of(&mut daylily, statement).await;
        assert!(text.contains(what), "{statement}: {text}");
    }
    set_database(&daylily, &sound);
    forget_the_last_check(&daylily);
    daylily.start_again().await.unwrap();
    daylily.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_of_whom_the_log_says_otherwise_has_no_word_and_is_switched_off() {
    let (mut daylily, _) = stopped().await;
    for (id, statement) in [("eve", EVE), ("carl", "UPDATE operator SET disabled = 0 WHERE id = 'carl'")] {
        said_of(&mut daylily, statement).await;
        assert_eq!(code(&acknowledge(&daylily, id).await), "role-insufficient", "{statement}");
        both_acknowledge(&daylily).await;
        for round in 0..2 {
            forget_the_last_check(&daylily);
            daylily.start_again().await.unwrap_or_else(|failure| panic!("{statement} {round}: {failure:?}"));
            daylily.stop().await;
        }
        assert_eq!(code(&acknowledge(&daylily, id).await), "login-failed", "{statement}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_which_the_log_says_otherwise_is_switched_off_by_an_acknowledgement() {
    let (mut daylily, source) = stopped().await;
    said_of(&mut daylily, "UPDATE client SET reach_all = 1 - reach_all").await;
    both_acknowledge(&daylily).await;
    for round in 0..2 {
        forget_the_last_check(&daylily);
        daylily.start_again().await.unwrap_or_else(|failure| panic!("{round}: {failure:?}"));
        assert_eq!(source.ask_token(&source.assertion(), FULL).await.status, 401, "{round}");
        daylily.stop().await;
    }
}
