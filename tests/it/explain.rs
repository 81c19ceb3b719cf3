//! `daylily explain`: what the records say of a link, a file and a request, and what they never say.

use std::time::Duration;

use daylily::control::{ExplainQuestion, ExplanationView, Request, Response};

use crate::support::*;

async fn explained(daylily: &TestDaylily, question: ExplainQuestion) -> ExplanationView {
    match daylily.command(Request::Explain { question }).await.unwrap_or_else(|refusal| panic!("{refusal:?}")) {
        Response::Explanation(view) => view,
        other => panic!("{other:?}"),
    }
}

fn fact<'a>(told: &'a ExplanationView, name: &str) -> &'a str {
    told.facts.iter().find(|fact| fact.name == name).map_or_else(|| panic!("no {name} in {told:?}"), |fact| &fact.text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_is_explained_from_the_record_while_it_works_and_when_it_is_over() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let bytes = pdf(1, 5_000);
    let (id, link) = daylily.ready_link(&source, &bytes).await;
    assert_eq!(daylily.get(&link).await.bytes, bytes);
    let whole = daylily
        .until("the download is in the record", async || {
            let told = explained(&daylily, ExplainQuestion::Link(link.clone())).await;
            fact(&told, "opened").starts_with("once").then_some(told)
        })
        .await;
    assert_eq!((whole.can_open, whole.code.as_deref()), (Some(true), None));
    let made = whole.facts.iter().find(|fact| fact.name == "made").unwrap();
    assert_eq!(made.by.as_deref(), Some("client/source"));
    assert!(fact(&whole, "link").contains(&id) && fact(&whole, "works") == "until", "{whole:?}");

    daylily.clock.advance(Duration::from_secs(3600));
    assert_eq!(daylily.get(&link).await.said(), (410, "link-expired"));
    let over = explained(&daylily, ExplainQuestion::Link(link.clone())).await;
    assert_eq!((over.can_open, over.code.as_deref()), (Some(false), Some("link-expired")));
    assert_eq!(fact(&over, "refused"), "once, last with link-expired");
    assert!(over.next.is_some());
    let token = link.rsplit('/').next().unwrap();
    assert!(!format!("{over:?}").contains(token), "the link itself is not repeated");

    let foreign = Request::Explain { question: ExplainQuestion::Link("A".repeat(84)) };
    let refusal = daylily.command(foreign).await.unwrap_err();
    assert!(refusal.first().message().contains("not made here"), "{refusal:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_document_is_explained_without_patient_title_or_name() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (id, link) = daylily.ready_link(&source, &pdf(1, 500)).await;
    let told = explained(&daylily, ExplainQuestion::Reference(format!("DocumentReference/{id}"))).await;
    assert_eq!((told.can_open, told.code.as_deref()), (Some(true), None));
    assert!(fact(&told, "state").starts_with("ready") && fact(&told, "rule").starts_with("default"), "{told:?}");
    let steps: Vec<&str> =
        told.facts.iter().filter(|fact| fact.name == "step").map(|fact| fact.text.as_str()).collect();
    assert_eq!(steps.len(), 3, "created, scanned, ready: {steps:?}");
    let shown = source.get(&format!("DocumentReference/{id}")).await.ok(200);
    let words = format!("{told:?}");
    for hidden in ["/subject/reference", "/content/0/attachment/title"] {
        if let Some(text) = shown.pointer(hidden).and_then(|value| value.as_str()) {
            assert!(!words.contains(text), "{hidden}");
        }
    }
    source
        .post(&format!("DocumentReference/{id}/$revoke"), &parameters(&[("state", "valueBoolean", true.into())]))
        .await
        .ok(200);
    let withdrawn = explained(&daylily, ExplainQuestion::Reference(format!("DocumentReference/{id}"))).await;
    assert_eq!((withdrawn.can_open, withdrawn.code.as_deref()), (Some(false), Some("content-revoked")));
    assert_eq!(daylily.get(&link).await.status, 410);
    let none = Request::Explain { question: ExplainQuestion::Reference("DocumentReference/nothing".into()) };
    assert_eq!(daylily.command(none).await.unwrap_err().code().name(), "resource-not-found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_request_is_explained_by_its_id() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let stranger = daylily.client("stranger", FULL, &["own"]).await;
    let (id, _) = daylily.ready_link(&source, &pdf(1, 500)).await;
    let answer = stranger.get(&format!("DocumentReference/{id}")).await;
    assert_eq!(answer.status, 404);
    let request = answer.header("x-request-id").to_owned();
    let told = explained(&daylily, ExplainQuestion::Request(request)).await;
    assert_eq!((told.can_open, told.code.as_deref()), (None, Some("resource-not-found")));
    let entry = told.facts.iter().find(|fact| fact.name == "entry").unwrap();
    assert!(entry.text.contains("document.read") && entry.text.contains("denied"), "{entry:?}");
    assert_eq!(entry.by.as_deref(), Some("client/stranger"));
    let unknown = Request::Explain { question: ExplainQuestion::Request("never-asked".into()) };
    assert_eq!(daylily.command(unknown).await.unwrap_err().code().name(), "resource-not-found");
    let asked = daylily.log_since(0).await;
    assert!(asked.iter().any(|entry| entry.action == "explain.read"), "asking is in the record itself");
}
