//! The clock's rules: access ends by the wall clock and never opens again because it was set back; destruction waits until the clock
//! can be trusted with it.

use std::time::Duration;

use daylily::control::{ExplainAim, ExplanationView, Request, Response};
use daylily::domain::refusal::Refusal;

use crate::support::*;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const RULE: &str = "[[rule]]\nname = \"test\"\nretain = \"10h\"\npurge-after = \"5h\"\n\
    when = { type = [\"http://loinc.org|18842-5\"] }\n";

async fn state(daylily: &TestDaylily, actor: &Actor, id: &str) -> String {
    daylily.running().delivery().retain_round(&|| false).await.unwrap();
    let answer = actor.get(&format!("DocumentReference/{id}")).await;
    if answer.said() == (410, "content-purged") { "purged".to_owned() } else { state_of(&answer.ok(200)) }
}

/// A document that has expired and is due to be destroyed in five hours, and one that is open, with its link.
async fn two(daylily: &TestDaylily, source: &Actor) -> (String, String, String) {
    let (old, _) = daylily.ready_link(source, &pdf(1, 500)).await;
    daylily.pass(10 * HOUR).await;
    assert_eq!(state(daylily, source, &old).await, "expired");
    let (open, link) = daylily.ready_link(source, &pdf(2, 500)).await;
    (old, open, link)
}

async fn confirm(daylily: &TestDaylily) -> (String, bool) {
    let reason = "clock checked, ticket 4711".to_owned();
    match daylily.command(Request::ClockConfirm { reason }).await.unwrap() {
        Response::Clock(view) => (view.standing, view.links_withdrawn),
        other => panic!("{other:?}"),
    }
}

async fn actions(daylily: &TestDaylily, since: u64) -> Vec<String> {
    daylily.log_since(since).await.into_iter().map(|entry| entry.action).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f48_after_a_jump_of_25_hours_access_has_ended_and_nothing_is_destroyed_until_it_is_confirmed() {
    let mut daylily = TestDaylily::start_with(RULE, |_| {}).await;
    let source = daylily.source().await;
    let (old, open, link) = two(&daylily, &source).await;
    let size = daylily.log_size().await;
    daylily.clock.set_forward(25 * HOUR);
    assert_eq!(daylily.get(&link).await.status, 410, "access goes by the wall clock at once");
    assert_eq!(state(&daylily, &source, &open).await, "expired");
    for _ in 0..20 {
        daylily.clock.advance(HOUR);
        assert_eq!(state(&daylily, &source, &old).await, "expired", "no hour of agreement is enough");
    }
    assert!(daylily.get("/readyz").await.text().starts_with("degraded: the clock jumped"));
    assert!(actions(&daylily, size).await.contains(&"clock.jump".to_owned()));
    daylily.stop().await;
    daylily.start_again().await.unwrap();
    assert_eq!(state(&daylily, &source, &old).await, "expired", "a restart confirms nothing");
    let size = daylily.log_size().await;
    assert_eq!(confirm(&daylily).await, ("jumped".to_owned(), false));
    assert_eq!(state(&daylily, &source, &old).await, "purged");
    assert_eq!(state(&daylily, &source, &open).await, "purged");
    let log = daylily.log_since(size).await;
    let entry = log.iter().find(|entry| entry.action == "clock.confirm").expect("recorded");
    assert_eq!(entry.get("reason").unwrap(), "clock checked, ticket 4711");
    assert_eq!(daylily.get("/readyz").await.text(), "ok\n");
    daylily.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fell_due_over_a_stop_of_two_days_waits_an_hour_and_over_eight_for_a_word() {
    for (stop, confirmed) in [(2, false), (8, true)] {
        let mut daylily = TestDaylily::start_with(RULE, |_| {}).await;
        let source = daylily.source().await;
        let (old, _, link) = two(&daylily, &source).await;
        daylily.stop().await;
        daylily.clock.set_forward(stop * DAY);
        daylily.start_again().await.unwrap();
        assert_eq!(daylily.get(&link).await.status, 410);
        assert_eq!(state(&daylily, &source, &old).await, "expired");
        daylily.clock.advance(HOUR - Duration::from_secs(1));
        assert_eq!(state(&daylily, &source, &old).await, "expired", "{stop} days");
        daylily.clock.advance(Duration::from_secs(1));
        if confirmed {
            assert_eq!(state(&daylily, &source, &old).await, "expired", "{stop} days");
            assert_eq!(confirm(&daylily).await.0, "jumped");
        }
        assert_eq!(state(&daylily, &source, &old).await, "purged", "{stop} days");
        assert_eq!(confirm(&daylily).await.0, "sound", "nothing is left to confirm");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_expires_because_of_a_stop_is_not_destroyed_before_the_clocks_have_agreed() {
    let soon = RULE.replace("5h", "10m");
    let mut daylily = TestDaylily::start_with(&soon, |_| {}).await;
    let source = daylily.source().await;
    let (open, link) = daylily.ready_link(&source, &pdf(1, 500)).await;
    daylily.clock.advance(HOUR);
    assert_eq!(state(&daylily, &source, &open).await, "ready");
    daylily.stop().await;
    daylily.clock.set_forward(2 * DAY);
    daylily.start_again().await.unwrap();
    assert_eq!(daylily.get(&link).await.status, 410, "access goes by the wall clock at once");
    assert_eq!(state(&daylily, &source, &open).await, "expired");
    daylily.clock.advance(HOUR - Duration::from_secs(1));
    assert_eq!(state(&daylily, &source, &open).await, "expired", "ten minutes after a time that nobody watched");
    daylily.clock.advance(Duration::from_secs(1));
    assert_eq!(state(&daylily, &source, &open).await, "purged");
    // What expires under watch is kept for as long as the policy says, and no longer.
    let (watched, _) = daylily.ready_link(&source, &pdf(2, 500)).await;
    daylily.clock.advance(10 * HOUR);
    assert_eq!(state(&daylily, &source, &watched).await, "expired");
    daylily.clock.advance(Duration::from_secs(600));
    assert_eq!(state(&daylily, &source, &watched).await, "purged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f46_a_step_of_an_hour_destroys_nothing_before_the_clocks_have_agreed() {
    let daylily = TestDaylily::start_with(RULE, |_| {}).await;
    let source = daylily.source().await;
    let (old, ..) = two(&daylily, &source).await;
    daylily.clock.advance(4 * HOUR);
    daylily.clock.set_forward(HOUR);
    assert_eq!(state(&daylily, &source, &old).await, "expired");
    daylily.clock.advance(HOUR);
    assert_eq!(state(&daylily, &source, &old).await, "purged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a107_f47_a_clock_that_is_set_back_opens_nothing_that_was_closed() {
    let mut daylily = TestDaylily::start_with(RULE, |_| {}).await;
    let source = daylily.source().await;
    let (_, link) = daylily.ready_link(&source, &pdf(1, 500)).await;
    assert_eq!(daylily.get(&link).await.status, 200);
    daylily.pass(2 * HOUR).await;
    assert_eq!(daylily.get(&link).await.said(), (410, "link-expired"));
    for back in [DAY, 30 * 365 * DAY] {
        daylily.clock.set_back(back);
        assert_eq!(daylily.get(&link).await.said(), (410, "link-expired"));
        daylily.running().delivery().retain_round(&|| false).await.unwrap();
        assert!(daylily.get("/readyz").await.text().starts_with("degraded: the clock was set back"));
        daylily.stop().await;
        daylily.start_again().await.unwrap();
        assert_eq!(daylily.get(&link).await.said(), (410, "link-expired"), "not over a stop either");
    }
    assert_eq!(confirm(&daylily).await, ("behind".to_owned(), true));
    // Its end lies further ahead of the confirmed time than any link's can.
    assert_eq!(daylily.get(&link).await.said(), (403, "link-invalid"), "nor by a confirmation");
    // What is made from now on goes by the confirmed time, after a stop too.
    let (_, fresh) = daylily.ready_link(&source, &pdf(3, 500)).await;
    daylily.stop().await;
    daylily.start_again().await.unwrap();
    assert_eq!(daylily.get(&fresh).await.status, 200);
    daylily.pass(2 * HOUR).await;
    assert_eq!(daylily.get(&fresh).await.status, 410);
    daylily.verify().await;
}

async fn explain(daylily: &TestDaylily, aim: ExplainAim) -> Result<ExplanationView, Refusal> {
    match daylily.command(Request::Explain { aim }).await? {
        Response::Explanation(view) => Ok(view),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_says_what_became_of_a_document_a_link_and_a_request() {
    let daylily = TestDaylily::start_with(RULE, |_| {}).await;
    let source = daylily.source().await;
    let (id, link) = daylily.ready_link(&source, &pdf(1, 500)).await;
    assert_eq!(daylily.get(&link).await.status, 200);
    let open = explain(&daylily, ExplainAim::Link(link.clone())).await.unwrap();
    assert_eq!((open.can_open, open.code.as_deref(), open.whole), (Some(true), None, true));
    daylily.pass(HOUR).await;
    let refused = daylily.get(&link).await;
    assert_eq!(refused.said(), (410, "link-expired"));
    let size = daylily.log_size().await;
    let shut = explain(&daylily, ExplainAim::Link(link)).await.unwrap();
    assert_eq!((shut.can_open, shut.code.as_deref()), (Some(false), Some("link-expired")));
    let fact = |view: &ExplanationView, name: &str| view.facts.iter().find(|fact| fact.name == name).cloned();
    let made = fact(&shut, "made").unwrap();
    assert_eq!((made.by.as_deref(), made.at.is_some()), (Some("client/source"), true));
    let used = format!("{} bytes went out", pdf(1, 500).len());
    assert_eq!(fact(&shut, "used").unwrap().text, used);
    assert!(fact(&shut, "tried").unwrap().text.contains("refused once, last with link-expired"), "{shut:?}");
    assert!(fact(&shut, "document").unwrap().text.contains(&id));
    assert_eq!(actions(&daylily, size).await, ["explain.read"]);
    let document = explain(&daylily, ExplainAim::Reference(format!("DocumentReference/{id}"))).await.unwrap();
    assert_eq!(document.can_open, Some(true));
    assert_eq!(fact(&document, "rule").unwrap().text, "test");
    assert_eq!(document.facts.iter().filter(|fact| fact.name == "step").count(), 3);
    let request = refused.header("x-request-id").to_owned();
    let asked = explain(&daylily, ExplainAim::Request(request)).await.unwrap();
    assert_eq!((asked.can_open, asked.code.as_deref()), (None, Some("link-expired")));
    let told = format!("{:?} {:?}", asked.message, asked.cure);
    assert!(!told.contains('{'), "the record does not keep what the words were filled with: {told}");
    let other = ExplainAim::Link("https://elsewhere.example/d/AAAA".to_owned());
    let refused = explain(&daylily, other).await.unwrap_err();
    assert_eq!((refused.code().name(), refused.first().message()), ("link-invalid", "this link was not made here"));
    assert!(explain(&daylily, ExplainAim::Reference("DocumentReference/none".to_owned())).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_cannot_be_read_keeps_no_other_from_its_end() {
    let mut daylily = TestDaylily::start_with(RULE, |_| {}).await;
    let source = daylily.source().await;
    let (broken, _) = daylily.ready_link(&source, &pdf(1, 500)).await;
    let (whole, _) = daylily.ready_link(&source, &pdf(2, 500)).await;
    daylily.stop().await;
    let database = daylily.data().join("daylily.db");
    let change = format!("UPDATE res SET decision = 999999 WHERE kind = 1 AND id = '{broken}'");
    assert_eq!(altered(&database, &change), 1);
    daylily.start_again().await.unwrap();
    daylily.pass(10 * HOUR).await;
    daylily.wait(&source, &whole, "expired").await;
}
