//! Notifications as a receiver sees them: a real receiver on this machine, real signatures, a clock that the test moves.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use daylily::config::Settings;
use daylily::control::{ClientChange, Request};
use daylily::domain::clock::{Clock, Timestamp};
use daylily::domain::id::ResourceId;
use daylily::domain::principal::ClientNumber;
use daylily::domain::subscription::SubscriptionStatus;
use daylily::http::receiver::{Check, FailOnPurpose, Failure, Received, Receiver};
use daylily::notify::signature::{self, Secret};
use daylily::store::StoredSubscription;
use serde_json::{Value, json};

use crate::support::*;

const PAYLOAD_CONTENT: &str =
    "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-payload-content";

/// A server that may call this machine.
pub async fn server() -> TestDaylily {
    TestDaylily::start_with("", |settings: &mut Settings| {
        settings.egress.allow = vec!["127.0.0.0/8".parse().unwrap()];
        settings.egress.allow_http = true;
    })
    .await
}

pub fn receiver(daylily: &TestDaylily, known: &Known) -> Receiver {
    receiver_at(daylily, known, "127.0.0.1:0")
}

pub fn receiver_at(daylily: &TestDaylily, known: &Known, address: &str) -> Receiver {
    let (clock, known) = (Arc::clone(&daylily.clock), Arc::clone(known));
    let check: Check = Arc::new(move |heads, body| {
        let signed = (heads.id.as_str(), heads.timestamp.as_str(), heads.signature.as_str());
        Some(signature::verify(&known.lock().unwrap(), signed, body, clock.now()).map_err(|error| error.to_string()))
    });
    Receiver::start(TcpListener::bind(address).unwrap(), check, Vec::new()).unwrap()
}

pub fn all(how: Failure) -> Vec<FailOnPurpose> {
    vec![FailOnPurpose { how, first: None, every: None }]
}

/// A Subscription as its owner made it: `off` first, so that its secret is known before the handshake.
pub struct Subscribed {
    pub id: ResourceId,
    pub owner: ClientNumber,
    /// What its owner writes, without `status`.
    pub wanted: Value,
}

/// Secrets that a receiver checks with.
pub type Known = Arc<Mutex<Vec<Secret>>>;

impl Subscribed {
    pub async fn to(daylily: &TestDaylily, owner: &Actor, receiver: &Receiver, known: &Known) -> Self {
        Self::with(daylily, owner, (receiver, known), |_| {}).await
    }

    /// The same, after a change of what its owner writes.
    pub async fn with(
        daylily: &TestDaylily,
        owner: &Actor,
        (receiver, known): (&Receiver, &Known),
        change: impl FnOnce(&mut Value),
    ) -> Self {
        let mut wanted = json!({
            "resourceType": "Subscription",
            "status": "off",
            "reason": "import",
            "criteria": "urn:daylily:fhir/SubscriptionTopic/document-ready",
            "channel": {
                "type": "rest-hook",
                "endpoint": format!("http://{}/hook", receiver.address()),
                "payload": "application/fhir+json",
                "_payload": { "extension": [{ "url": PAYLOAD_CONTENT, "valueCode": "id-only" }] },
                "header": ["Authorization: Bearer static"],
            },
        });
        change(&mut wanted);
        let made = owner.post("Subscription", &wanted).await.ok(201);
        let id = ResourceId::parse(made["id"].as_str().unwrap()).unwrap();
        let number = daylily.running().delivery().store().client(&owner.id).unwrap().number;
        wanted["id"] = id.as_str().into();
        let subscription = Self { id, owner: number, wanted };
        let secret = subscription.rotate(owner, "0s").await;
        known.lock().unwrap().push(secret);
        subscription.ask(daylily, owner, "requested").await;
        subscription
    }

    /// PUTs it with this status.
    pub async fn ask(&self, daylily: &TestDaylily, owner: &Actor, status: &str) {
        let mut wanted = self.wanted.clone();
        wanted["status"] = status.into();
        owner.put(&format!("Subscription/{}", self.id), &wanted).await.ok(200);
        // The first message leaves a little after the answer.
        daylily.clock.advance(Duration::from_secs(1));
    }

    pub async fn rotate(&self, owner: &Actor, overlap: &str) -> Secret {
        let body = json!({
            "resourceType": "Parameters",
            "parameter": [{ "name": "overlap", "valueString": overlap }],
        });
        let answer = owner.post(&format!("Subscription/{}/$webhook-secret", self.id), &body).await.ok(200);
        Secret::parse(answer["parameter"][0]["valueString"].as_str().unwrap()).unwrap()
    }

    pub async fn stored(&self, daylily: &TestDaylily) -> StoredSubscription {
        daylily.running().delivery().store().subscription(&self.id, self.owner).await.unwrap().unwrap()
    }

    pub async fn becomes(&self, daylily: &TestDaylily, status: SubscriptionStatus) {
        daylily.until(status.as_str(), async || (self.stored(daylily).await.status == status).then_some(())).await;
    }
}

/// Delivers a document and answers its id.
pub async fn deliver(source: &Actor, seed: u32) -> String {
    let body = document("p1", &[inline("application/pdf", &pdf(seed, 400))]);
    source.post("DocumentReference", &body).await.ok(201)["id"].as_str().unwrap().to_owned()
}

pub fn bundle(received: &Received) -> Value {
    serde_json::from_slice(&received.body).unwrap()
}

/// A part of the notification's status, wherever it stands.
pub fn told(received: &Received, name: &str) -> Option<String> {
    let bundle = bundle(received);
    let parameters = bundle.pointer("/entry/0/resource/parameter")?.as_array()?.clone();
    let parts = parameters.iter().filter_map(|each| each["part"].as_array()).flatten().cloned().collect::<Vec<_>>();
    let found = parameters.into_iter().chain(parts).find(|each| each["name"] == name)?;
    let value = found.as_object()?.iter().find(|(key, _)| key.starts_with("value"))?.1.clone();
    value.as_str().or_else(|| value["reference"].as_str()).map(str::to_owned)
}

pub async fn next(receiver: &Receiver) -> Received {
    receiver.next(PATIENCE).await.expect("a notification")
}

/// A server, its source of documents, a receiver and an active Subscription of the source.
pub async fn subscribed() -> (TestDaylily, Actor, Receiver, Subscribed) {
    let daylily = server().await;
    let source = daylily.source().await;
    let known = Known::default();
    let receiver = receiver(&daylily, &known);
    let subscription = Subscribed::to(&daylily, &source, &receiver, &known).await;
    let handshake = next(&receiver).await;
    assert_eq!((told(&handshake, "type").unwrap().as_str(), handshake.verified), ("handshake", Some(Ok(()))));
    subscription.becomes(&daylily, SubscriptionStatus::Active).await;
    (daylily, source, receiver, subscription)
}

/// How many events wait, for all Subscriptions.
pub async fn waiting(daylily: &TestDaylily) -> u64 {
    daylily.running().delivery().store().outbox_backlog(daylily.clock.now()).await.unwrap().0
}

/// Waits until so many attempts stand in the log: what a receiver got is remembered a moment later.
pub async fn remembered(daylily: &TestDaylily, attempts: usize) {
    daylily
        .until("attempts in the log", async || {
            let entries = daylily.log_since(0).await;
            (entries.iter().filter(|entry| entry.action == "notification.send").count() >= attempts).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_is_told_when_it_is_ready_and_signed() {
    let (daylily, source, receiver, subscription) = subscribed().await;
    let first = daylily.log_size().await;
    let id = deliver(&source, 1).await;
    let event = next(&receiver).await;
    assert_eq!(event.verified, Some(Ok(())));
    assert_eq!((event.method.as_str(), event.path.as_str()), ("POST", "/hook"));
    assert_eq!(event.heads.content_type, "application/fhir+json");
    assert!(event.heads.others.contains(&("authorization".to_owned(), "Bearer static".to_owned())));
    assert_eq!(told(&event, "type").unwrap(), "event-notification");
    assert_eq!(told(&event, "event-number").unwrap(), "1");
    assert_eq!(told(&event, "access-reference").unwrap(), format!("{}/1", subscription.id));
    assert!(told(&event, "focus").unwrap().ends_with(&format!("/DocumentReference/{id}")));
    assert!(!String::from_utf8_lossy(&event.body).contains("/d/"), "a link");
    let sent = daylily.until("the entry", async || {
        daylily.log_since(first).await.into_iter().find(|entry| entry.action == "notification.send")
    });
    assert_eq!(sent.await.outcome, "ok");
    daylily
        .until("delivered", async || {
            let backlog = daylily.running().delivery().store().outbox_backlog(daylily.clock.now()).await.unwrap();
            (backlog.0 == 0).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f83_a_retry_has_the_same_id_and_body_and_a_new_signature_and_order_is_kept() {
    let (daylily, source, receiver, _subscription) = subscribed().await;
    receiver.fail(all(Failure::Status(500, None)));
    let ids = [deliver(&source, 1).await];
    let first = next(&receiver).await;
    remembered(&daylily, 2).await;
    let ids = [ids[0].clone(), deliver(&source, 2).await, deliver(&source, 3).await];
    for id in &ids {
        daylily.wait(&source, id, "ready").await;
    }
    receiver.fail(Vec::new());
    daylily.clock.advance(Duration::from_secs(7));
    let again = next(&receiver).await;
    assert_eq!((&again.heads.id, &again.body), (&first.heads.id, &first.body));
    assert_ne!(again.heads.timestamp, first.heads.timestamp);
    assert_ne!(again.heads.signature, first.heads.signature);
    let rest = [next(&receiver).await, next(&receiver).await];
    let all = [&again, &rest[0], &rest[1]];
    assert_eq!(all.map(|each| told(each, "event-number").unwrap()), ["1", "2", "3"]);
    // Documents become ready in the order in which their checks end; numbers follow that order, each once.
    let mut focuses: Vec<_> =
        all.iter().map(|each| told(each, "focus").unwrap().rsplit('/').next().unwrap().to_owned()).collect();
    focuses.sort();
    let mut expected = ids.to_vec();
    expected.sort();
    assert_eq!(focuses, expected);
    assert!(all.iter().all(|each| each.verified == Some(Ok(()))));
}

#[tokio::test(flavor = "multi_thread")]
async fn f82_gone_turns_it_off_at_once() {
    let (daylily, source, receiver, subscription) = subscribed().await;
    receiver.fail(all(Failure::Status(410, None)));
    deliver(&source, 1).await;
    assert_eq!(told(&next(&receiver).await, "event-number").unwrap(), "1");
    subscription.becomes(&daylily, SubscriptionStatus::Off).await;
    receiver.fail(Vec::new());
    deliver(&source, 2).await;
    daylily.clock.advance(Duration::from_secs(3_600));
    assert!(receiver.next(Duration::from_secs(2)).await.is_none(), "nothing comes after 410");
}

#[tokio::test(flavor = "multi_thread")]
async fn a166_nothing_is_told_to_a_client_that_was_disabled_between_two_attempts() {
    let (daylily, source, receiver, subscription) = subscribed().await;
    receiver.fail(all(Failure::Close));
    deliver(&source, 1).await;
    assert_eq!(told(&next(&receiver).await, "event-number").unwrap(), "1");
    remembered(&daylily, 2).await;
    receiver.fail(Vec::new());
    let disable = Request::ClientChange { id: source.id.as_str().to_owned(), change: ClientChange::Disable };
    daylily.command(disable).await.unwrap();
    daylily.clock.advance(Duration::from_secs(7));
    subscription.becomes(&daylily, SubscriptionStatus::Off).await;
    while let Some(received) = receiver.next(Duration::from_secs(2)).await {
        assert_eq!((told(&received, "status").as_deref(), told(&received, "event-number")), (Some("off"), None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_expired_between_two_attempts_is_not_told() {
    let (daylily, source, receiver, _subscription) = subscribed().await;
    receiver.fail(all(Failure::Status(503, None)));
    let id = deliver(&source, 1).await;
    next(&receiver).await;
    remembered(&daylily, 2).await;
    receiver.fail(Vec::new());
    let first = daylily.log_size().await;
    daylily.pass(Duration::from_secs(40 * 86_400)).await;
    daylily
        .until("withheld", async || {
            let entries = daylily.log_since(first).await;
            entries.into_iter().find(|entry| entry.action == "notification.send" && entry.outcome == "denied").map(drop)
        })
        .await;
    assert!(!id.is_empty() && receiver.next(Duration::from_secs(2)).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn f81_after_the_whole_schedule_it_is_in_error_and_the_event_stays() {
    let (daylily, source, receiver, subscription) = subscribed().await;
    receiver.fail(all(Failure::Status(500, None)));
    deliver(&source, 1).await;
    let first = next(&receiver).await;
    let mut attempts = 1;
    for pause in [5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 28_800_u64] {
        remembered(&daylily, attempts + 1).await;
        assert_eq!(subscription.stored(&daylily).await.status, SubscriptionStatus::Active);
        daylily.clock.advance(Duration::from_millis(pause * 1_200 + 1));
        let again = next(&receiver).await;
        assert_eq!((&again.heads.id, &again.body, &again.verified), (&first.heads.id, &first.body, &Some(Ok(()))));
        attempts += 1;
    }
    assert_eq!(attempts, 10);
    subscription.becomes(&daylily, SubscriptionStatus::Error).await;
    daylily.clock.advance(Duration::from_secs(86_400));
    assert!(receiver.next(Duration::from_secs(2)).await.is_none(), "no attempt after the last");
    assert_eq!(waiting(&daylily).await, 1);
    // A week after it was given up it is off: told once, without an event, and nothing is kept any more.
    let first = daylily.log_size().await;
    daylily.clock.advance(Duration::from_secs(5 * 86_400));
    assert!(receiver.next(Duration::from_secs(2)).await.is_none());
    assert_eq!(subscription.stored(&daylily).await.status, SubscriptionStatus::Error);
    daylily.clock.advance(Duration::from_secs(86_400));
    let last = next(&receiver).await;
    assert_eq!((told(&last, "status").as_deref(), told(&last, "event-number")), (Some("off"), None));
    subscription.becomes(&daylily, SubscriptionStatus::Off).await;
    let entries = daylily.log_since(first).await;
    assert!(entries.iter().any(|entry| entry.action == "subscription.update"), "it is in the log");
    assert_eq!(waiting(&daylily).await, 0);
    deliver(&source, 2).await;
    assert!(receiver.next(Duration::from_secs(2)).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn f11_what_was_not_delivered_before_a_restart_is_delivered_after_it() {
    let (mut daylily, source, receiver, _subscription) = subscribed().await;
    receiver.fail(all(Failure::Close));
    deliver(&source, 1).await;
    let first = next(&receiver).await;
    daylily.stop().await;
    receiver.fail(Vec::new());
    daylily.clock.advance(Duration::from_secs(7));
    daylily.start_again().await.unwrap();
    let again = next(&receiver).await;
    assert_eq!((&again.heads.id, &again.body, &again.verified), (&first.heads.id, &first.body, &Some(Ok(()))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a169_a_receiver_that_hangs_and_one_that_refuses_delay_nobody_else() {
    let (daylily, source, well, _subscription) = subscribed().await;
    let known = Known::default();
    let (hanging, refusing) = (receiver(&daylily, &known), receiver(&daylily, &known));
    for bad in [&hanging, &refusing] {
        let subscription = Subscribed::to(&daylily, &source, bad, &known).await;
        next(bad).await;
        subscription.becomes(&daylily, SubscriptionStatus::Active).await;
    }
    hanging.fail(all(Failure::Hang));
    refusing.fail(all(Failure::Close));
    for seed in 0..10 {
        deliver(&source, seed).await;
        let event = next(&well).await;
        assert_eq!(told(&event, "event-number").unwrap(), (seed + 1).to_string());
    }
    // The one that hangs has been asked once only: one in flight for a Subscription.
    assert!(hanging.next(PATIENCE).await.is_some());
    assert!(hanging.next(Duration::from_millis(300)).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_that_is_not_answered_is_tried_five_times_and_ends_in_error() {
    let daylily = server().await;
    let source = daylily.source().await;
    let known = Known::default();
    let receiver = receiver(&daylily, &known);
    receiver.fail(all(Failure::Status(404, None)));
    let subscription = Subscribed::to(&daylily, &source, &receiver, &known).await;
    let first = next(&receiver).await;
    for (before, pause) in [1, 3, 10, 30_u64].into_iter().enumerate() {
        remembered(&daylily, before + 1).await;
        daylily.clock.advance(Duration::from_millis(pause * 1_200 + 1));
        let again = next(&receiver).await;
        assert_eq!((&again.heads.id, &again.body), (&first.heads.id, &first.body));
    }
    subscription.becomes(&daylily, SubscriptionStatus::Error).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a158_an_endpoint_that_may_not_be_called_any_more_is_not_called() {
    let (mut daylily, source, receiver, _subscription) = subscribed().await;
    daylily.stop().await;
    daylily.change(|settings| settings.egress.allow.clear());
    daylily.start_again().await.unwrap();
    deliver(&source, 1).await;
    remembered(&daylily, 2).await;
    assert!(receiver.next(Duration::from_millis(200)).await.is_none(), "it was called");
    let last = daylily.log_since(0).await.into_iter().rfind(|entry| entry.action == "notification.send").unwrap();
    assert_eq!((last.outcome.as_str(), last.get("code").unwrap()), ("error", &json!("delivery-no-response")));
}

#[tokio::test(flavor = "multi_thread")]
async fn during_an_overlap_the_old_and_the_new_secret_verify_and_then_the_new_alone() {
    let (daylily, source, receiver, subscription) = subscribed().await;
    let new = subscription.rotate(&source, "60s").await;
    let by_new = |received: &Received, now: Timestamp| {
        let heads = &received.heads;
        let signed = (heads.id.as_str(), heads.timestamp.as_str(), heads.signature.as_str());
        signature::verify(std::slice::from_ref(&new), signed, &received.body, now)
    };
    deliver(&source, 1).await;
    let both = next(&receiver).await;
    assert_eq!((&both.verified, by_new(&both, daylily.clock.now())), (&Some(Ok(())), Ok(())));
    assert_eq!(both.heads.signature.split(' ').count(), 2);
    daylily.clock.advance(Duration::from_secs(61));
    deliver(&source, 2).await;
    let alone = next(&receiver).await;
    assert!(matches!(alone.verified, Some(Err(_))) && by_new(&alone, daylily.clock.now()).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_reference_opens_what_it_told_of_to_its_client_until_either_ends() {
    let (daylily, source, receiver, subscription) = subscribed().await;
    let (first, other) = (deliver(&source, 1).await, deliver(&source, 2).await);
    let mut references = std::collections::HashMap::new();
    for _ in 0..2 {
        let event = next(&receiver).await;
        let focus = told(&event, "focus").unwrap();
        references.insert(focus.rsplit('/').next().unwrap().to_owned(), told(&event, "access-reference").unwrap());
    }
    let reference = references.remove(&first).unwrap();
    let foreign = daylily.client("foreign", FULL, &["all"]).await;
    let issue = async |client: &Actor, id: &str, reference: &str| {
        let body = parameters(&[("access-reference", "valueString", json!(reference))]);
        client.post(&format!("DocumentReference/{id}/$issue-link"), &body).await
    };
    let size = daylily.log_size().await;
    let issued = issue(&source, &first, &reference).await.ok(200);
    let link = text(parameter(&issued, "url"), "/valueUrl");
    assert_eq!(daylily.get(&link).await.bytes, pdf(1, 400));
    let log = daylily.log_since(size).await;
    let entry = log.iter().find(|entry| entry.action == "link.issue").unwrap();
    assert_eq!(entry.get("access-reference").unwrap(), &json!(reference), "{entry:?}");
    let unknown = format!("{}/99", subscription.id);
    for (what, client, id, reference) in [
        ("another client's", &foreign, &first, &reference),
        ("of another document", &source, &other, &reference),
        ("a number that never was", &source, &first, &unknown),
    ] {
        assert_eq!(issue(client, id, reference).await.said(), (404, "resource-not-found"), "{what}");
    }
    // With its file; the right to the other event stays.
    let second = references.remove(&other).unwrap();
    let body = parameters(&[("state", "valueBoolean", json!(true))]);
    source.post(&format!("DocumentReference/{other}/$revoke"), &body).await.ok(200);
    assert_eq!(issue(&source, &other, &second).await.said(), (410, "content-revoked"));
    assert_eq!(issue(&source, &first, &reference).await.status, 200);
    // With its Subscription.
    let path = format!("Subscription/{}", subscription.id);
    let gone = Answer::of(source.request(reqwest::Method::DELETE, &path).await).await;
    assert_eq!(gone.status, 204);
    assert_eq!(issue(&source, &first, &reference).await.said(), (404, "resource-not-found"));
}
