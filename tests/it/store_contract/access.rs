//! Who sees what.

use daylily::domain::lifecycle::State;
use daylily::domain::policy::CodeTest;
use daylily::domain::principal::{AccessScope, Reach};
use daylily::domain::query::{Filter, Query};
use daylily::domain::resource::Kind;
use daylily::store::{Store, StoreError};

use super::*;

pub async fn access_covers_own_recipient_custodian_and_all_and_nothing_else(store: &dyn Store) {
    let (lab, lab_scope) = register(store, "lab", Reach::default()).await;
    let (other, other_scope) = register(store, "other", Reach::default()).await;
    let (_, org_scope) = register(store, "org", custodians(&["Organization/1"])).await;
    let (_, all_scope) = register(store, "all", all()).await;
    let make = |text: &str, owner, custodian: Option<&str>, recipients: &[&str]| {
        let mut new = document(text, owner);
        new.index.custodian = custodian.map(target);
        new.recipients = recipients.iter().map(|text| client_id(text)).collect();
        new
    };
    let documents = [
        make("lab-only", lab, None, &[]),
        make("lab-org1", lab, Some("Organization/1"), &[]),
        make("lab-org2", lab, Some("Organization/2"), &["later"]),
        make("lab-to-other", lab, None, &["other"]),
        make("other-only", other, None, &["org"]),
    ];
    for (number, mut new) in (1u32..).zip(documents) {
        new.files = vec![file(number, None)];
        store.create_document(new, entry()).await.unwrap();
    }
    // Named before it was registered.
    let (_, later_scope) = register(store, "later", Reach::default()).await;
    let expected: [(&AccessScope, &[&str]); 5] = [
        (&lab_scope, &["lab-to-other", "lab-org2", "lab-org1", "lab-only"]),
        (&other_scope, &["other-only", "lab-to-other"]),
        (&org_scope, &["other-only", "lab-org1"]),
        (&all_scope, &["other-only", "lab-to-other", "lab-org2", "lab-org1", "lab-only"]),
        (&later_scope, &["lab-org2"]),
    ];
    let all_ids = ["lab-only", "lab-org1", "lab-org2", "lab-to-other", "other-only"];
    for (scope, visible) in expected {
        let ways =
            [vec![], vec![Filter::Patient(vec![target("Patient/1")])], vec![Filter::Lifecycle(vec![State::Created])]];
        for filters in ways {
            assert_eq!(found(store, filters, scope).await, visible);
        }
        let mut paged = Vec::new();
        let mut one = Query { count: 1, ..query(vec![]) };
        loop {
            let page = store.search(&one, scope, memory()).await.unwrap();
            assert_eq!(page.total, u64::try_from(visible.len()).unwrap());
            paged.extend(ids(&page.rows));
            one.after = page.next;
            if page.next.is_none() {
                break;
            }
        }
        assert_eq!(paged, visible, "nothing foreign in positions either");
        for (number, text) in (1u32..).zip(all_ids) {
            let sees = visible.contains(&text);
            assert_eq!(store.read(Kind::DocumentReference, &id(text), scope).await.unwrap().is_some(), sees, "{text}");
            assert_eq!(store.read_version(Kind::DocumentReference, &id(text), 1, scope).await.unwrap().is_some(), sees);
            assert_eq!(store.steps(&id(text), scope).await.unwrap().is_some(), sees);
            assert_eq!(store.covers(file_id(number), scope).await.unwrap(), sees);
            let targets = [target(&format!("DocumentReference/{text}"))];
            assert_eq!(store.visible_targets(&targets, scope).await.unwrap(), [sees]);
        }
    }
}

pub async fn context_is_seen_by_its_sender_and_with_a_visible_document(store: &dyn Store) {
    let (lab, lab_scope) = register(store, "lab", Reach::default()).await;
    let (reader, reader_scope) = register(store, "reader", Reach::default()).await;
    let (_, all_scope) = register(store, "all", all()).await;
    for (kind, text) in [(Kind::Patient, "1"), (Kind::Patient, "2"), (Kind::Encounter, "e"), (Kind::Practitioner, "p")]
    {
        store.put_context(context(kind, text, lab), &lab_scope, entry_of("context.create")).await.unwrap();
    }
    let texts = [
        "Patient/1",
        "Patient/2",
        "Encounter/e",
        "Practitioner/p",
        "Patient/none",
        "urn:uuid:1",
        "https://x/Patient/1",
    ];
    let targets = texts.map(target);
    let targets = &targets;
    let seen = |scope| async move { store.visible_targets(targets, scope).await.unwrap() };
    assert_eq!(seen(&lab_scope).await, [true, true, true, true, false, false, false]);
    assert_eq!(seen(&all_scope).await, [true, true, true, true, false, false, false]);
    assert_eq!(seen(&reader_scope).await, [false; 7]);
    // A guessed reference in one's own document opens nothing, and lets nothing be replaced; naming oneself does not help.
    let mut guess = document("guess", reader);
    guess.recipients = vec![client_id("reader")];
    store.create_document(guess, entry()).await.unwrap();
    assert_eq!(seen(&reader_scope).await, [false; 7]);
    let taken = store.put_context(context(Kind::Patient, "1", reader), &reader_scope, entry_of("context.update")).await;
    assert!(matches!(taken, Err(StoreError::AlreadyExists)));
    let mut new = document("d1", lab);
    new.recipients = vec![client_id("reader")];
    new.index.encounters = vec![target("Encounter/e")];
    new.index.references = vec![target("Practitioner/p/_history/1")];
    store.create_document(new, entry()).await.unwrap();
    assert_eq!(seen(&reader_scope).await, [true, false, true, true, false, false, false]);
    let patients = Query { kind: Kind::Patient, ..query(vec![]) };
    assert_eq!(ids(&store.search(&patients, &reader_scope, memory()).await.unwrap().rows), ["1"]);
    assert_eq!(store.search(&patients, &lab_scope, memory()).await.unwrap().total, 2);
    assert!(store.read(Kind::Patient, &id("2"), &reader_scope).await.unwrap().is_none());
    assert_eq!(reader, store.client(&client_id("reader")).unwrap().number);
}

pub async fn a_context_resource_is_replaced_by_who_sees_it(store: &dyn Store) {
    let (lab, lab_scope) = register(store, "lab", Reach::default()).await;
    let (other, other_scope) = register(store, "other", Reach::default()).await;
    let put = |mut new: daylily::store::NewContext, text: &str, scope| {
        new.body = body(text);
        async move { store.put_context(new, scope, entry_of("context.update")).await }
    };
    let mut first = context(Kind::Patient, "1", lab);
    first.index.identifiers = vec![identifier("mrn", "A")];
    assert!(put(first, "{\"v\":1}", &lab_scope).await.unwrap().created);
    let foreign = put(context(Kind::Patient, "1", other), "{\"v\":2}", &other_scope).await;
    assert!(matches!(foreign, Err(StoreError::AlreadyExists)));
    let fresh = daylily::store::NewContext { replace: false, ..context(Kind::Patient, "1", lab) };
    assert!(matches!(put(fresh, "{}", &lab_scope).await, Err(StoreError::AlreadyExists)));
    let old = daylily::store::NewContext { if_match: Some(7), ..context(Kind::Patient, "1", lab) };
    assert!(matches!(put(old, "{}", &lab_scope).await, Err(StoreError::Changed)));
    let mut second = daylily::store::NewContext { if_match: Some(1), ..context(Kind::Patient, "1", lab) };
    second.index.identifiers = vec![identifier("mrn", "B")];
    let written = put(second, "{\"v\":2}", &lab_scope).await.unwrap();
    assert_eq!((written.version, written.created), (2, false));
    let patient = id("1");
    let read = |version| store.read_version(Kind::Patient, &patient, version, &lab_scope);
    assert_eq!(read(1).await.unwrap().unwrap().body.text, "{\"v\":1}");
    assert_eq!(read(2).await.unwrap().unwrap().body.text, "{\"v\":2}");
    assert!(read(3).await.unwrap().is_none());
    let by = |value: &str| Query {
        kind: Kind::Patient,
        ..query(vec![Filter::Identifier(vec![CodeTest { system: None, code: Some(value.to_owned()) }])])
    };
    assert_eq!(
        store.search(&by("A"), &lab_scope, memory()).await.unwrap().total,
        0,
        "what it was found by before is gone"
    );
    assert_eq!(store.search(&by("B"), &lab_scope, memory()).await.unwrap().total, 1);
}
