//! Subscriptions, their events, and turns.

use std::time::Duration;

use daylily::domain::clock::Timestamp;
use daylily::domain::lifecycle::{self, State};
use daylily::domain::policy::CodeTest;
use daylily::domain::principal::{ClientNumber, Reach};
use daylily::domain::query::Filter;
use daylily::domain::refusal::Code;
use daylily::domain::resource::Kind;
use daylily::domain::subscription::{Form, Level, SubscriptionStatus, Topic};
use daylily::store::{
    NewSubscription, Sent, SigningSecret, Store, StoreError, SubscriptionChange, SubscriptionTerms, Turn, Work,
};

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

pub fn terms(form: Form, filters: Vec<Filter>) -> SubscriptionTerms {
    SubscriptionTerms {
        form,
        filters,
        endpoint: "https://receiver.example/hook?key=1".to_owned(),
        payload: Some("application/fhir+json".to_owned()),
        headers: vec![1, 2, 3],
        end: None,
        timeout: Duration::from_millis(7_500),
        body: daylily::domain::resource::Body { text: "{\"reason\":\"import\"}".to_owned(), splices: vec![] },
    }
}

pub fn ready() -> Form {
    Form::Topic(Topic::Ready, Level::IdOnly)
}

const PLAIN: Form = Form::Plain { payload: true };

pub fn subscription(text: &str, owner: ClientNumber, form: Form, filters: Vec<Filter>) -> NewSubscription {
    NewSubscription {
        id: id(text),
        owner,
        terms: terms(form, filters),
        status: SubscriptionStatus::Requested,
        secret: SigningSecret { sealed: vec![9; 40], until: None },
        handshake_at: at(500),
        idempotency: None,
        at: at(0),
    }
}

fn told() -> Vec<daylily::store::SealedEntry> {
    vec![entry_of("subscription.update")]
}

pub async fn subscribe(store: &dyn Store, text: &str, owner: ClientNumber, form: Form, filters: Vec<Filter>) {
    let new = subscription(text, owner, form, filters);
    store.create_subscription(new, entry_of("subscription.create")).await.unwrap();
    let turn = claim(store, 500).await;
    assert!(matches!(turn.work, Work::Handshake { attempts: 0 }));
    assert!(store.settle_turn(&turn, vec![Sent::Activated], false, at(600), told()).await.unwrap());
}

async fn claim(store: &dyn Store, millis: i64) -> Turn {
    let mut turns = store.claim_turns(at(millis), MINUTE, 10, 100).await.unwrap();
    assert_eq!(turns.len(), 1);
    turns.remove(0)
}

async fn nothing_due(store: &dyn Store, millis: i64) {
    assert!(store.claim_turns(at(millis), MINUTE, 10, 100).await.unwrap().is_empty());
}

fn numbers(turn: &Turn) -> Vec<u64> {
    match &turn.work {
        Work::Events(events) => events.iter().map(|waiting| waiting.event.number).collect(),
        Work::Handshake { .. } => panic!("a handshake"),
    }
}

async fn release(store: &dyn Store, text: &str, owner: ClientNumber, millis: i64) {
    store.create_document(document(text, owner), entry()).await.unwrap();
    let number = number_of(store, text, &scope("lab", owner, all())).await;
    store.transition(number, released(&[1], millis), told()).await.unwrap();
}

pub async fn a_subscription_reads_back_for_its_owner_alone(store: &dyn Store) {
    let (owner, scope) = register(store, "lab", Reach::default()).await;
    let (other, everything) = register(store, "other", all()).await;
    let new = subscription("s1", owner, ready(), vec![Filter::Patient(vec![target("Patient/1")])]);
    let written = store.create_subscription(new.clone(), entry_of("subscription.create")).await.unwrap();
    let stored = store.subscription(&id("s1"), owner).await.unwrap().unwrap();
    assert_eq!((stored.version, stored.updated, stored.owner), (1, written.updated, owner));
    assert_eq!((stored.status, stored.error, stored.counter), (SubscriptionStatus::Requested, None, 0));
    assert_eq!((stored.terms, stored.secrets), (new.terms.clone(), vec![new.secret.clone()]));
    assert!(store.subscription(&id("s1"), other).await.unwrap().is_none());
    assert!(store.subscriptions_of(other).await.unwrap().is_empty());
    assert_eq!(store.subscriptions_of(owner).await.unwrap().len(), 1);
    for scope in [&scope, &everything] {
        assert!(store.read(Kind::Subscription, &id("s1"), scope).await.unwrap().is_none());
    }
    let again = store.create_subscription(new.clone(), entry_of("subscription.create")).await;
    assert!(matches!(again, Err(StoreError::AlreadyExists)));
    let secrets = vec![
        SigningSecret { sealed: vec![8; 40], until: None },
        SigningSecret { sealed: vec![9; 40], until: Some(at(9)) },
    ];
    let entry = || entry_of("subscription.secret");
    assert!(!store.set_signing_secrets(&id("s1"), other, secrets.clone(), entry()).await.unwrap());
    assert!(store.set_signing_secrets(&id("s1"), owner, secrets.clone(), entry()).await.unwrap());
    assert_eq!(store.subscription(&id("s1"), owner).await.unwrap().unwrap().secrets, secrets);
    let entry = || entry_of("subscription.delete");
    assert!(!store.delete_subscription(&id("s1"), other, at(5), entry()).await.unwrap());
    assert!(!store.subscription_deleted(&id("s1"), owner).await.unwrap());
    assert!(store.delete_subscription(&id("s1"), owner, at(5), entry()).await.unwrap());
    assert!(!store.delete_subscription(&id("s1"), owner, at(5), entry()).await.unwrap());
    assert!(store.subscription_deleted(&id("s1"), owner).await.unwrap());
    assert!(!store.subscription_deleted(&id("s1"), other).await.unwrap());
    assert!(store.subscription(&id("s1"), owner).await.unwrap().is_none());
    let again = store.create_subscription(new, entry_of("subscription.create")).await;
    assert!(matches!(again, Err(StoreError::AlreadyExists)), "its id is never used again");
    nothing_due(store, 1_000_000).await;
}

pub async fn an_event_is_numbered_for_whom_it_concerns(store: &dyn Store) {
    let (lab, _) = register(store, "lab", Reach::default()).await;
    let (reader, _) = register(store, "reader", all()).await;
    let (stranger, _) = register(store, "stranger", Reach::default()).await;
    subscribe(store, "own", lab, ready(), vec![]).await;
    subscribe(store, "all", reader, ready(), vec![]).await;
    subscribe(store, "one", reader, ready(), vec![Filter::Patient(vec![target("Patient/1")])]).await;
    subscribe(store, "two", reader, ready(), vec![Filter::Patient(vec![target("Patient/2")])]).await;
    subscribe(store, "none", stranger, ready(), vec![]).await;
    subscribe(store, "plain", reader, PLAIN, vec![]).await;
    subscribe(store, "gone", reader, Form::Topic(Topic::Revoked, Level::Empty), vec![]).await;
    let seen = store.outbox_changes();
    release(store, "d1", lab, 10_000).await;
    assert!(store.outbox_changed(seen).await > seen);
    let counters = async || {
        let mut counters = Vec::new();
        for (text, owner) in [
            ("own", lab),
            ("all", reader),
            ("one", reader),
            ("two", reader),
            ("none", stranger),
            ("plain", reader),
            ("gone", reader),
        ] {
            counters.push(store.subscription(&id(text), owner).await.unwrap().unwrap().counter);
        }
        counters
    };
    assert_eq!(counters().await, [1, 1, 1, 0, 0, 2, 0]);
    let number = number_of(store, "d1", &scope("lab", lab, all())).await;
    store.transition(number, delivered(11_000), told()).await.unwrap();
    assert_eq!(counters().await, [1, 1, 1, 0, 0, 2, 0], "a delivery is no event");
    store.transition(number, revoked(State::Delivered, 12_000), told()).await.unwrap();
    assert_eq!(counters().await, [1, 1, 1, 0, 0, 3, 1]);
    assert_eq!(store.outbox_backlog(at(15_000)).await.unwrap().0, 7);
    let event = store.referenced_event(&id("own"), lab, 1).await.unwrap().unwrap().event;
    assert_eq!((event.number, event.topic, event.at, event.version), (1, Some(Topic::Ready), at(10_000), 2));
    assert_eq!((event.document, event.document_id), (number, id("d1")));
    assert!(store.referenced_event(&id("own"), reader, 1).await.unwrap().is_none());
    assert!(store.referenced_event(&id("own"), lab, 2).await.unwrap().is_none());
    let first = store.referenced_event(&id("plain"), reader, 1).await.unwrap().unwrap().event;
    assert_eq!((first.topic, first.version), (None, 1));
    let mut disabled = (*store.client(&client_id("reader")).unwrap()).clone();
    disabled.disabled = true;
    store.update_client(disabled, entry_of("client.disable")).await.unwrap();
    for stored in store.subscriptions_of(reader).await.unwrap() {
        assert_eq!(stored.status, SubscriptionStatus::Off);
    }
    release(store, "d2", lab, 20_000).await;
    assert_eq!(counters().await, [2, 1, 1, 0, 0, 3, 1], "a disabled client is told nothing");
    assert_eq!(store.outbox_backlog(at(21_000)).await.unwrap(), (2, Duration::from_secs(11)));
}

pub async fn a_turn_is_held_by_one_and_in_order(store: &dyn Store) {
    let (lab, _) = register(store, "lab", Reach::default()).await;
    subscribe(store, "s1", lab, ready(), vec![]).await;
    for number in 1..=3 {
        release(store, &format!("d{number}"), lab, 1_000 * number).await;
    }
    nothing_due(store, 999).await;
    assert_eq!(store.next_turn_at().await.unwrap(), Some(at(1_000)));
    let first = claim(store, 2_500).await;
    assert_eq!(numbers(&first), [1, 2], "as far as they are due");
    nothing_due(store, 3_000).await;
    let body = b"frozen".to_vec();
    let results = vec![Sent::Delivered { number: 1 }, Sent::Later { number: 2, at: at(9_000), body: body.clone() }];
    assert!(store.settle_turn(&first, results, false, at(3_000), told()).await.unwrap());
    let size = audit_size(store).await;
    assert!(!store.settle_turn(&first, vec![Sent::Delivered { number: 2 }], false, at(3_000), told()).await.unwrap());
    assert_eq!(audit_size(store).await, size, "what comes twice is refused");
    nothing_due(store, 8_999).await;
    assert_eq!(store.next_turn_at().await.unwrap(), Some(at(9_000)));
    let second = claim(store, 9_000).await;
    assert_eq!(numbers(&second), [2, 3]);
    let Work::Events(events) = &second.work else { panic!() };
    assert_eq!((events[0].attempts, events[0].body.as_ref()), (1, Some(&body)));
    assert_eq!((events[1].attempts, events[1].body.as_ref()), (0, None));
    let third = claim(store, 9_000 + 60_000).await;
    assert!(third.fence > second.fence, "a claim that ran out is another's");
    assert!(!store.settle_turn(&second, vec![Sent::Delivered { number: 2 }], false, at(70_000), told()).await.unwrap());
    let other = Sent::Later { number: 2, at: at(80_000), body: b"other".to_vec() };
    assert!(store.settle_turn(&third, vec![other], true, at(70_000), told()).await.unwrap());
    nothing_due(store, 129_999).await;
    let given_up = Sent::GivenUp { number: 2, code: Code::DeliveryNoResponse };
    assert!(store.settle_turn(&third, vec![given_up], false, at(80_000), told()).await.unwrap());
    let stored = store.subscription(&id("s1"), lab).await.unwrap().unwrap();
    assert_eq!((stored.status, stored.error), (SubscriptionStatus::Error, Some(Code::DeliveryNoResponse)));
    assert_eq!(stored.version, 3, "requested, active, error");
    release(store, "d4", lab, 90_000).await;
    nothing_due(store, 10_000_000).await;
    again(store, "s1", lab, 100_000).await;
    let last = claim(store, 100_500).await;
    assert_eq!(numbers(&last), [2, 3, 4], "it goes on with the first that was not delivered");
    let Work::Events(events) = &last.work else { panic!() };
    assert_eq!((events[0].attempts, events[0].body.as_ref()), (0, Some(&body)), "with the body that it had");
    let ends = vec![Sent::Delivered { number: 2 }, Sent::Withheld { number: 3 }, Sent::Off { code: None }];
    assert!(store.settle_turn(&last, ends, false, at(100_600), told()).await.unwrap());
    assert_eq!(store.outbox_backlog(at(100_600)).await.unwrap(), (0, Duration::ZERO));
    release(store, "d5", lab, 110_000).await;
    let stored = store.subscription(&id("s1"), lab).await.unwrap().unwrap();
    assert_eq!((stored.status, stored.counter), (SubscriptionStatus::Off, 4), "nothing is collected while it is off");
}

async fn again(store: &dyn Store, text: &str, owner: ClientNumber, millis: i64) {
    let change = SubscriptionChange {
        terms: terms(ready(), vec![]),
        status: SubscriptionStatus::Requested,
        handshake_at: at(millis),
        if_match: None,
        at: at(millis),
    };
    store.update_subscription(&id(text), owner, change, entry_of("subscription.update")).await.unwrap();
    let turn = claim(store, millis).await;
    assert!(store.settle_turn(&turn, vec![Sent::Activated], false, at(millis), told()).await.unwrap());
}

pub async fn an_answer_to_an_older_handshake_is_ignored(store: &dyn Store) {
    let (lab, _) = register(store, "lab", Reach::default()).await;
    let new = subscription("s1", lab, ready(), vec![]);
    store.create_subscription(new, entry_of("subscription.create")).await.unwrap();
    nothing_due(store, 499).await;
    let first = claim(store, 500).await;
    let later = vec![Sent::HandshakeLater(at(1_500))];
    assert!(store.settle_turn(&first, later, false, at(600), told()).await.unwrap());
    nothing_due(store, 1_499).await;
    let second = claim(store, 1_500).await;
    assert!(matches!(second.work, Work::Handshake { attempts: 1 }));
    let mut change = SubscriptionChange {
        terms: terms(ready(), vec![]),
        status: SubscriptionStatus::Requested,
        handshake_at: at(2_000),
        if_match: Some(7),
        at: at(1_600),
    };
    let entry = || entry_of("subscription.update");
    let wrong = store.update_subscription(&id("s1"), lab, change.clone(), entry()).await;
    assert!(matches!(wrong, Err(StoreError::Changed)));
    change.if_match = Some(1);
    assert_eq!(store.update_subscription(&id("s1"), lab, change.clone(), entry()).await.unwrap().version, 2);
    assert!(!store.settle_turn(&second, vec![Sent::Activated], false, at(1_700), told()).await.unwrap());
    let third = claim(store, 2_000).await;
    assert!(matches!(third.work, Work::Handshake { attempts: 0 }));
    assert!(store.settle_turn(&third, vec![Sent::HandshakeGivenUp], false, at(2_100), told()).await.unwrap());
    let stored = store.subscription(&id("s1"), lab).await.unwrap().unwrap();
    assert_eq!((stored.status, stored.error), (SubscriptionStatus::Error, Some(Code::HandshakeFailed)));
    again(store, "s1", lab, 3_000).await;
    release(store, "d1", lab, 3_100).await;
    let turn = claim(store, 3_100).await;
    let kept = SubscriptionChange { if_match: None, at: at(3_200), ..change.clone() };
    store.update_subscription(&id("s1"), lab, kept, entry()).await.unwrap();
    assert!(store.settle_turn(&turn, vec![Sent::Delivered { number: 1 }], false, at(3_300), told()).await.unwrap());
    let stored = store.subscription(&id("s1"), lab).await.unwrap().unwrap();
    assert_eq!(stored.status, SubscriptionStatus::Active, "the same endpoint is not asked again");
    let mut moved = SubscriptionChange { if_match: None, at: at(3_400), ..change };
    moved.terms.endpoint = "https://elsewhere.example/".to_owned();
    moved.terms.end = Some(at(9_000));
    store.update_subscription(&id("s1"), lab, moved, entry()).await.unwrap();
    assert!(matches!(claim(store, 3_400).await.work, Work::Handshake { attempts: 0 }));
    let over = claim(store, 63_400).await;
    assert!(numbers(&over).is_empty(), "its end has passed");
    assert!(store.settle_turn(&over, vec![Sent::LetGo], false, at(63_500), told()).await.unwrap());
    assert_eq!(store.subscription(&id("s1"), lab).await.unwrap().unwrap().status, SubscriptionStatus::Off);
    assert_eq!(store.next_turn_at().await.unwrap(), None::<Timestamp>);
}

pub async fn a_purge_withholds_what_waits(store: &dyn Store) {
    let (lab, scope) = register(store, "lab", Reach::default()).await;
    subscribe(store, "s1", lab, ready(), vec![]).await;
    release(store, "d1", lab, 1_000).await;
    release(store, "d2", lab, 2_000).await;
    let number = number_of(store, "d1", &scope).await;
    store.transition(number, revoked(State::Ready, 3_000), told()).await.unwrap();
    let turn = claim(store, 3_000).await;
    let later = Sent::Later { number: 1, at: at(4_000), body: b"frozen".to_vec() };
    assert!(store.settle_turn(&turn, vec![later], false, at(3_100), told()).await.unwrap());
    assert!(store.referenced_event(&id("s1"), lab, 1).await.unwrap().is_some());
    let purge = lifecycle::purge(State::Revoked, "default", stamp(5_000, None)).unwrap();
    store.purge(number, purge, entry_of("document.purge")).await.unwrap();
    assert!(store.referenced_event(&id("s1"), lab, 1).await.unwrap().is_none(), "it ends with the file");
    let turn = claim(store, 5_000).await;
    assert_eq!(numbers(&turn), [2], "the gap is seen by the number");
    assert_eq!(turn.subscription.counter, 2);
}

pub async fn a_filter_tells_what_the_search_finds(store: &dyn Store) {
    let (lab, scope) = register(store, "lab", Reach::default()).await;
    let code = |system: Option<&str>, code: Option<&str>| {
        vec![CodeTest { system: system.map(str::to_owned), code: code.map(str::to_owned) }]
    };
    let mut patient = context(Kind::Patient, "1", lab);
    patient.index.identifiers = vec![identifier("mrn", "A1")];
    store.put_context(patient, &scope, entry_of("context.create")).await.unwrap();
    let filters = vec![
        vec![],
        vec![Filter::Id(vec![id("d3")])],
        vec![Filter::Patient(vec![target("Patient/1")])],
        vec![Filter::Patient(vec![target("Group/1")])],
        vec![Filter::Subject(vec![target("Group/1")])],
        vec![Filter::Subject(vec![target("Patient/1"), target("Group/1")])],
        vec![Filter::PatientIdentifier(code(Some("mrn"), Some("A1")))],
        vec![Filter::PatientIdentifier(code(Some("mrn"), Some("B1")))],
        vec![Filter::Encounter(vec![target("Encounter/1")])],
        vec![Filter::Custodian(vec![target("Organization/1")])],
        vec![Filter::Status(vec!["superseded".to_owned()])],
        vec![Filter::Type(code(Some("loinc"), None))],
        vec![Filter::Type(code(Some(""), Some("x")))],
        vec![Filter::Type(code(None, Some("x"))), Filter::Patient(vec![target("Patient/1")])],
        vec![Filter::Category(code(None, Some("note")))],
        vec![Filter::Identifier(code(None, Some("77")))],
        vec![Filter::Identifier(code(None, None))],
        vec![Filter::Date(vec![daylily::domain::query::DateTest {
            prefix: daylily::domain::query::Prefix::Ge,
            span: day(3),
        }])],
        vec![Filter::Lifecycle(vec![State::Created])],
        vec![Filter::Lifecycle(vec![State::Ready])],
        vec![Filter::Type(vec![])],
    ];
    for (number, filters) in filters.iter().enumerate() {
        subscribe(store, &format!("s{number}"), lab, PLAIN, filters.clone()).await;
    }
    for number in 0..24i64 {
        let mut new = document(&format!("d{number}"), lab);
        new.index.subject = [Some(target("Patient/1")), Some(target("Group/1")), None]
            .into_iter()
            .cycle()
            .nth(number as usize)
            .unwrap();
        new.index.kind = [
            vec![coding("loinc", "1")],
            vec![daylily::domain::policy::Coding { system: None, code: Some("x".to_owned()) }],
        ]
        .into_iter()
        .cycle()
        .nth(number as usize)
        .unwrap();
        new.index.category = if number % 5 == 0 { vec![coding("cat", "note")] } else { vec![] };
        new.index.encounters = if number % 4 == 0 { vec![target("Encounter/1")] } else { vec![] };
        new.index.custodian = (number % 6 == 1).then(|| target("Organization/1"));
        new.index.identifiers = if number % 7 == 0 { vec![identifier("acc", "77")] } else { vec![] };
        new.index.status = Some(if number % 3 == 1 { "superseded" } else { "current" }.to_owned());
        new.index.date = (number % 5 != 2).then(|| day(number % 6));
        store.create_document(new, entry()).await.unwrap();
    }
    let mut some = 0;
    for (number, filters) in filters.into_iter().enumerate() {
        let name = id(&format!("s{number}"));
        let mut told = Vec::new();
        for event in 1..=store.subscription(&name, lab).await.unwrap().unwrap().counter {
            told.push(store.referenced_event(&name, lab, event).await.unwrap().unwrap().event.document_id.to_string());
        }
        told.reverse();
        assert_eq!(told, found(store, filters.clone(), &scope).await, "{filters:?}");
        some += usize::from(!told.is_empty());
    }
    assert!(some >= 14, "most filters find something");
}
