//! Notifications over long times: a whole retry schedule beside others, what ends while it waits, plain R4 forms.

use std::collections::BTreeSet;
use std::time::Duration;

use daylily::domain::subscription::SubscriptionStatus;
use daylily::http::receiver::{FailOnPurpose, Failure, Received, Receiver};
use serde_json::json;

use crate::support::*;
use crate::webhooks::*;

/// The pauses of the schedule, in seconds, before they are spread by up to a fifth.
const PAUSES: [u64; 9] = [5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 28_800];

async fn number(receiver: &Receiver) -> u64 {
    told(&next(receiver).await, "event-number").expect("an event").parse().unwrap()
}

/// Waits until so many attempts that failed stand in the log since `first`.
async fn failed(daylily: &TestDaylily, first: u64, count: usize) {
    daylily
        .until("attempts that failed", async || {
            let entries = daylily.log_since(first).await;
            let failed = entries.iter().filter(|entry| entry.action == "notification.send" && entry.outcome == "error");
            (failed.count() >= count).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a169_one_that_hangs_one_that_refuses_and_one_that_is_gone_for_the_whole_schedule_delay_nobody() {
    let (daylily, source, well, good) = subscribed().await;
    let (known, mut bad, mut receivers) = (Known::default(), Vec::new(), Vec::new());
    for _ in 0..3 {
        let receiver = receiver(&daylily, &known);
        let subscription = Subscribed::with(&daylily, &source, (&receiver, &known), |wanted| {
            let url = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-timeout";
            wanted["channel"]["extension"] = json!([{ "url": url, "valueUnsignedInt": 1 }]);
        });
        let subscription = subscription.await;
        next(&receiver).await;
        subscription.becomes(&daylily, SubscriptionStatus::Active).await;
        bad.push(subscription);
        receivers.push(receiver);
    }
    receivers[0].fail(all(Failure::Hang));
    receivers[1].fail(all(Failure::Status(404, None)));
    let gone = receivers.remove(2);
    let address = gone.address().to_string();
    gone.stop().await;
    let first = daylily.log_size().await;
    for (round, pause) in (1_u32..).zip(PAUSES.into_iter().map(Some).chain([None])) {
        deliver(&source, round).await;
        assert_eq!(number(&well).await, u64::from(round));
        failed(&daylily, first, 3 * round as usize).await;
        if let Some(pause) = pause {
            daylily.clock.advance(Duration::from_millis(pause * 1_200 + 1));
        }
    }
    for subscription in &bad {
        subscription.becomes(&daylily, SubscriptionStatus::Error).await;
        assert_eq!(subscription.stored(&daylily).await.counter, 10);
    }
    assert_eq!(good.stored(&daylily).await.status, SubscriptionStatus::Active);
    assert_eq!(waiting(&daylily).await, 30);
    // Each attempt was of the first event: nothing overtook it.
    while let Some(received) = receivers[1].next(Duration::from_millis(200)).await {
        assert_eq!(told(&received, "event-number").as_deref(), Some("1"));
    }
    // The one that was gone is back, and its owner asks for it.
    let back = receiver_at(&daylily, &known, &address);
    daylily.clock.advance(Duration::from_secs(3_600));
    assert!(back.next(Duration::from_secs(2)).await.is_none(), "nothing before its owner asks");
    bad[2].ask(&daylily, &source, "requested").await;
    assert_eq!(told(&next(&back).await, "type").unwrap(), "handshake");
    for expected in 1..=10 {
        let event = next(&back).await;
        assert_eq!((told(&event, "event-number").unwrap(), event.verified), (expected.to_string(), Some(Ok(()))));
    }
    bad[2].becomes(&daylily, SubscriptionStatus::Active).await;
    assert_eq!(bad[0].stored(&daylily).await.status, SubscriptionStatus::Error);
}

#[tokio::test(flavor = "multi_thread")]
async fn a166_a_document_that_is_revoked_between_two_attempts_is_not_told() {
    let (daylily, source, receiver, subscription) = subscribed().await;
    receiver.fail(all(Failure::Status(503, None)));
    let id = deliver(&source, 1).await;
    next(&receiver).await;
    remembered(&daylily, 2).await;
    let why = parameters(&[("state", "valueBoolean", json!(true)), ("reason", "valueString", json!("wrong ward"))]);
    source.post(&format!("DocumentReference/{id}/$revoke"), &why).await.ok(200);
    let first = daylily.log_size().await;
    receiver.fail(Vec::new());
    let other = deliver(&source, 2).await;
    daylily.wait(&source, &other, "ready").await;
    daylily.clock.advance(Duration::from_secs(7));
    let after = next(&receiver).await;
    // Its number stays used, the next event goes on.
    assert_eq!(told(&after, "event-number").unwrap(), "2");
    assert!(told(&after, "focus").unwrap().ends_with(&other));
    daylily
        .until("withheld", async || {
            let entries = daylily.log_since(first).await;
            let withheld = |entry: &LogEntry| entry.action == "notification.send" && entry.outcome == "denied";
            entries.iter().any(withheld).then_some(())
        })
        .await;
    assert_eq!(subscription.stored(&daylily).await.status, SubscriptionStatus::Active);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_in_the_middle_of_a_backlog_drops_the_rest_and_is_told_once() {
    let daylily = server().await;
    let source = daylily.source().await;
    let known = Known::default();
    let receiver = receiver(&daylily, &known);
    let subscription = Subscribed::with(&daylily, &source, (&receiver, &known), |wanted| {
        wanted["end"] = "2026-11-23T10:01:00Z".into();
    });
    let subscription = subscription.await;
    next(&receiver).await;
    subscription.becomes(&daylily, SubscriptionStatus::Active).await;
    receiver.fail(all(Failure::Status(500, None)));
    for seed in 1..=3 {
        let id = deliver(&source, seed).await;
        daylily.wait(&source, &id, "ready").await;
    }
    assert_eq!(number(&receiver).await, 1);
    remembered(&daylily, 2).await;
    let first = daylily.log_size().await;
    receiver.fail(Vec::new());
    daylily.clock.advance(Duration::from_secs(70));
    let last = next(&receiver).await;
    assert_eq!((told(&last, "status").as_deref(), told(&last, "event-number")), (Some("off"), None));
    assert_eq!(last.verified, Some(Ok(())));
    subscription.becomes(&daylily, SubscriptionStatus::Off).await;
    assert_eq!(waiting(&daylily).await, 0);
    deliver(&source, 4).await;
    assert!(receiver.next(Duration::from_secs(2)).await.is_none(), "nothing after the end");
    let entries = daylily.log_since(first).await;
    assert!(entries.iter().any(|entry| entry.action == "subscription.update"));
}

#[tokio::test(flavor = "multi_thread")]
async fn f83_a_receiver_that_fails_every_other_time_gets_everything_in_order() {
    let (daylily, source, receiver, subscription) = subscribed().await;
    receiver.fail(vec![FailOnPurpose { how: Failure::Status(500, None), first: None, every: Some(2) }]);
    for seed in 1..=6 {
        let id = deliver(&source, seed).await;
        daylily.wait(&source, &id, "ready").await;
    }
    let (mut taken, mut ids) = (Vec::new(), BTreeSet::new());
    while taken.len() < 6 {
        match receiver.next(Duration::from_secs(2)).await {
            Some(received) => {
                ids.insert(received.heads.id.clone());
                let number = told(&received, "event-number").unwrap();
                if received.answered.is_some_and(|status| status < 300) {
                    taken.push(number);
                }
            }
            None => daylily.clock.advance(Duration::from_secs(7)),
        }
    }
    assert_eq!(taken, ["1", "2", "3", "4", "5", "6"]);
    assert_eq!(ids.len(), 6, "one id for each event");
    assert_eq!(subscription.stored(&daylily).await.status, SubscriptionStatus::Active);
}

/// Makes the Subscription a plain one of R4.
fn plain(wanted: &mut serde_json::Value, payload: bool) {
    wanted["criteria"] = "DocumentReference?status=current".into();
    let channel = wanted["channel"].as_object_mut().unwrap();
    channel.remove("_payload");
    if !payload {
        channel.remove("payload");
    }
}

async fn all_that_comes(receiver: &Receiver) -> Vec<Received> {
    let mut came = vec![next(receiver).await];
    while let Some(received) = receiver.next(Duration::from_secs(2)).await {
        came.push(received);
    }
    came
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_subscription_without_payload_is_pinged_with_an_empty_signed_post() {
    let daylily = server().await;
    let source = daylily.source().await;
    let known = Known::default();
    let receiver = receiver(&daylily, &known);
    let subscription = Subscribed::with(&daylily, &source, (&receiver, &known), |wanted| plain(wanted, false)).await;
    let handshake = next(&receiver).await;
    assert_eq!((handshake.body.len(), &handshake.verified), (0, &Some(Ok(()))));
    subscription.becomes(&daylily, SubscriptionStatus::Active).await;
    let id = deliver(&source, 1).await;
    daylily.wait(&source, &id, "ready").await;
    let came = all_that_comes(&receiver).await;
    let ids: BTreeSet<_> = came.iter().map(|received| received.heads.id.clone()).collect();
    // The new document, and its version that is ready.
    assert_eq!((came.len(), ids.len()), (2, 2));
    for received in came {
        assert_eq!((received.method.as_str(), received.path.as_str()), ("POST", "/hook"));
        assert_eq!((received.body.len(), &received.verified), (0, &Some(Ok(()))));
        assert!(received.heads.others.contains(&("authorization".to_owned(), "Bearer static".to_owned())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_subscription_with_payload_gets_the_cut_down_resource_put_below_its_endpoint() {
    let mut daylily = server().await;
    let source = daylily.source().await;
    let known = Known::default();
    let receiver = receiver(&daylily, &known);
    let subscription = Subscribed::with(&daylily, &source, (&receiver, &known), |wanted| {
        plain(wanted, true);
        // Resources never travel over plain http.
        wanted["channel"]["endpoint"] = format!("https://{}/hook", receiver.address()).into();
    });
    let subscription = subscription.await;
    // R4 has no handshake for it.
    subscription.becomes(&daylily, SubscriptionStatus::Active).await;
    // This receiver speaks no TLS.
    daylily.stop().await;
    let change = "UPDATE subscription SET endpoint = replace(endpoint, 'https:', 'http:')";
    assert_eq!(altered(&daylily.data().join("daylily.db"), change), 1);
    daylily.start_again().await.unwrap();
    let id = deliver(&source, 1).await;
    daylily.wait(&source, &id, "ready").await;
    let came = all_that_comes(&receiver).await;
    assert_eq!(came.len(), 2);
    for received in came {
        assert_eq!((received.method.as_str(), &received.path), ("PUT", &format!("/hook/DocumentReference/{id}")));
        assert_eq!(
            (received.heads.content_type.as_str(), &received.verified),
            ("application/fhir+json", &Some(Ok(())))
        );
        let resource = bundle(&received);
        assert_eq!((&resource["resourceType"], &resource["id"]), (&json!("DocumentReference"), &json!(id)));
        assert!(resource["content"][0]["attachment"]["size"].is_u64());
        for absent in ["/subject", "/description", "/content/0/attachment/url", "/content/0/attachment/title"] {
            assert_eq!(resource.pointer(absent), None, "{absent}");
        }
    }
}
