//! Scan jobs, states, purges, and what is due.

use std::collections::BTreeSet;
use std::time::Duration;

use daylily::domain::clock_watch::Destroyable;
use daylily::domain::lifecycle::{self, State};
use daylily::domain::principal::{AccessScope, ClientNumber, Reach};
use daylily::domain::query::Filter;
use daylily::domain::resource::{DocumentNumber, Kind};
use daylily::store::{NewDocument, Store, StoreError};
use futures_util::future::join_all;

use super::*;

pub async fn a_scan_job_is_claimed_by_one(store: &dyn Store) {
    let (owner, _) = register(store, "lab", Reach::default()).await;
    for number in 0..10 {
        let new = NewDocument { files: vec![file(number, None)], ..document(&format!("d{number}"), owner) };
        store.create_document(new, entry()).await.unwrap();
    }
    let claims = (0..40).map(|_| store.claim_scan(at(1), Duration::from_secs(60)));
    let claimed = join_all(claims).await.into_iter().filter_map(Result::unwrap).collect::<Vec<_>>();
    assert_eq!(claimed.len(), 10);
    assert_eq!(claimed.iter().map(|job| job.document).collect::<BTreeSet<_>>().len(), 10);
    assert!(claimed.iter().all(|job| job.attempts == 0 && job.files.len() == 1 && job.subject.is_some()));
}

pub async fn a_lease_that_ran_out_gives_the_job_to_another_and_the_first_is_refused(store: &dyn Store) {
    let (owner, scope) = register(store, "lab", Reach::default()).await;
    let new = NewDocument { files: vec![file(1, None)], ..document("d1", owner) };
    store.create_document(new, entry()).await.unwrap();
    let first = store.claim_scan(at(0), Duration::from_secs(60)).await.unwrap().unwrap();
    assert!(store.claim_scan(at(59_999), Duration::from_secs(60)).await.unwrap().is_none());
    let second = store.claim_scan(at(60_000), Duration::from_secs(60)).await.unwrap().unwrap();
    assert!(second.fence > first.fence && second.attempts == 1);
    let size = audit_size(store).await;
    let late = store.finish_scan(&first, released(&[1], 70_000), vec![entry_of("lifecycle.transition")]).await;
    assert!(matches!(late, Err(StoreError::Changed)));
    assert!(!store.retry_scan(&first, at(0)).await.unwrap());
    assert_eq!(audit_size(store).await, size);
    let done =
        store.finish_scan(&second, released(&[1], 70_000), vec![entry_of("lifecycle.transition")]).await.unwrap();
    assert_eq!(done.version, 2);
    let stored = store.read(Kind::DocumentReference, &id("d1"), &scope).await.unwrap().unwrap();
    assert_eq!(stored.document.unwrap().state, State::Ready);
    assert!(store.claim_scan(at(1_000_000), Duration::from_secs(60)).await.unwrap().is_none());
}

pub async fn a_job_that_is_given_back_waits_until_it_is_due(store: &dyn Store) {
    let (owner, _) = register(store, "lab", Reach::default()).await;
    let new = NewDocument { files: vec![file(1, None)], ..document("d1", owner) };
    store.create_document(new, entry()).await.unwrap();
    let job = store.claim_scan(at(0), Duration::from_secs(60)).await.unwrap().unwrap();
    assert!(store.retry_scan(&job, at(5_000)).await.unwrap());
    assert!(store.claim_scan(at(4_999), Duration::from_secs(60)).await.unwrap().is_none());
    let again = store.claim_scan(at(5_000), Duration::from_secs(60)).await.unwrap().unwrap();
    assert!(again.fence > job.fence && again.attempts == 1);
}

pub async fn the_states_of_a_document_follow_on_and_make_versions(store: &dyn Store) {
    let (owner, scope) = register(store, "lab", Reach::default()).await;
    let new = NewDocument { files: vec![file(1, None)], ..document("d1", owner) };
    store.create_document(new, entry()).await.unwrap();
    let number = number_of(store, "d1", &scope).await;
    let job = store.claim_scan(at(0), Duration::from_secs(60)).await.unwrap().unwrap();
    store.finish_scan(&job, released(&[1], 10), vec![entry_of("lifecycle.transition"); 2]).await.unwrap();
    let ready = store.file(file_id(1)).await.unwrap().unwrap();
    assert_eq!(ready.document.as_ref().unwrap().state, State::Ready);
    let kept = store.transition(number, delivered(20), vec![entry_of("lifecycle.transition")]).await.unwrap();
    assert_eq!(kept.version, 2, "a delivery makes no version");
    let facts = store.file(file_id(1)).await.unwrap().unwrap();
    assert_eq!(facts.document.as_ref().unwrap().state, State::Delivered, "facts in memory are renewed");
    let revoked = store.transition(number, revoked(State::Delivered, 30), vec![]).await.unwrap();
    assert_eq!(revoked.version, 3);
    let states = |version| async move {
        let read = store.read_version(Kind::DocumentReference, &id("d1"), version, &scope_of(owner)).await;
        read.unwrap().unwrap().version_state
    };
    assert_eq!(
        [states(1).await, states(2).await, states(3).await],
        [Some(State::Created), Some(State::Ready), Some(State::Revoked)]
    );
    let steps = store.steps(&id("d1"), &scope).await.unwrap().unwrap();
    let path = steps.iter().map(|step| step.to).collect::<Vec<_>>();
    assert_eq!(path, [State::Created, State::Scanned, State::Ready, State::Delivered, State::Revoked]);
    assert!(steps.windows(2).all(|pair| pair[1].from == Some(pair[0].to)));
    assert_eq!((steps[4].reason.as_str(), steps[4].at), ("revoked: mistake", at(30)));
}

fn scope_of(owner: ClientNumber) -> AccessScope {
    scope("lab", owner, Reach::default())
}

pub async fn a_transition_from_another_state_changes_nothing(store: &dyn Store) {
    let (owner, scope) = register(store, "lab", Reach::default()).await;
    store.create_document(document("d1", owner), entry()).await.unwrap();
    let number = number_of(store, "d1", &scope).await;
    let size = audit_size(store).await;
    let wrong = store.transition(number, delivered(5), vec![entry()]).await;
    assert!(matches!(wrong, Err(StoreError::Changed)));
    // Half of it would be lawful.
    let half = [revoked(State::Created, 5), delivered(6)].concat();
    assert!(matches!(store.transition(number, half, vec![entry()]).await, Err(StoreError::Changed)));
    let stored = store.read(Kind::DocumentReference, &id("d1"), &scope).await.unwrap().unwrap();
    assert_eq!((stored.version, stored.document.unwrap().state), (1, State::Created));
    assert_eq!(store.steps(&id("d1"), &scope).await.unwrap().unwrap().len(), 1);
    assert_eq!(audit_size(store).await, size);
    let missing = store.transition(DocumentNumber(999), delivered(5), vec![entry()]).await;
    assert!(matches!(missing, Err(StoreError::Changed)));
}

pub async fn a_purge_leaves_a_tombstone(store: &dyn Store) {
    let (owner, scope) = register(store, "lab", Reach::default()).await;
    let (_, foreign) = register(store, "other", Reach::default()).await;
    let mut new = document("d1", owner);
    new.index.identifiers = vec![identifier("acc", "1")];
    new.files =
        vec![file(1, Some(b"sealed".to_vec())), daylily::domain::resource::NewFile { content: 1, ..file(2, None) }];
    store.create_document(new, entry()).await.unwrap();
    let number = number_of(store, "d1", &scope).await;
    assert_eq!(
        store.patient_number(&target("Patient/1")).await.unwrap(),
        store.file(file_id(1)).await.unwrap().unwrap().document.as_ref().unwrap().patient
    );
    store.transition(number, revoked(State::Created, 5), vec![entry()]).await.unwrap();
    assert!(store.file(file_id(1)).await.unwrap().unwrap().wrapped_key.is_some());
    let early = lifecycle::purge(State::Expired, "default", stamp(9, None)).unwrap();
    assert!(matches!(store.purge(number, early, entry()).await, Err(StoreError::Changed)));
    let purge = lifecycle::purge(State::Revoked, "default", stamp(9, None)).unwrap();
    let elsewhere = store.purge(number, purge.clone(), entry_of("document.purge")).await.unwrap();
    assert_eq!(elsewhere, [file_id(2)]);
    let tombstone = store.read(Kind::DocumentReference, &id("d1"), &scope).await.unwrap().unwrap();
    let facts = tombstone.document.unwrap();
    assert_eq!((facts.state, facts.since, facts.patient, facts.due), (State::Purged, at(9), None, None));
    assert_eq!(tombstone.body.text, "");
    assert!(store.read(Kind::DocumentReference, &id("d1"), &foreign).await.unwrap().is_none());
    for number in [1, 2] {
        let file = store.file(file_id(number)).await.unwrap().unwrap();
        assert!(
            file.wrapped_key.is_none()
                && file.title.is_none()
                && file.document.as_ref().unwrap().state == State::Purged
        );
        assert!(store.covers(file_id(number), &scope).await.unwrap());
    }
    assert_eq!(store.inline_content(file_id(1)).await.unwrap(), None);
    assert!(found(store, vec![], &scope).await.is_empty());
    assert!(found(store, vec![Filter::Id(vec![id("d1")])], &scope).await.is_empty());
    assert_eq!(store.patient_number(&target("Patient/1")).await.unwrap(), None);
    let first = store.read_version(Kind::DocumentReference, &id("d1"), 1, &scope).await.unwrap().unwrap();
    assert_eq!(first.body.text, "");
    assert_eq!(store.steps(&id("d1"), &scope).await.unwrap().unwrap().last().unwrap().to, State::Purged);
    assert!(store.claim_scan(at(1_000_000), Duration::from_secs(1)).await.unwrap().is_none());
    assert!(matches!(store.purge(number, purge, entry()).await, Err(StoreError::Changed)), "once");
    let again = store.create_document(document("d1", owner), entry()).await;
    assert!(matches!(again, Err(StoreError::AlreadyExists)), "its id is never used again");
}

pub async fn what_is_due_is_told_longest_overdue_first(store: &dyn Store) {
    let (owner, scope) = register(store, "lab", Reach::default()).await;
    for (text, due) in [("late", Some(at(300))), ("later", Some(at(100))), ("never", None), ("not-yet", Some(at(900)))]
    {
        store.create_document(NewDocument { due, ..document(text, owner) }, entry()).await.unwrap();
    }
    let due = |now, limit| async move {
        let rows = store.due_documents((at(0), now), Destroyable::all(now), limit).await.unwrap().documents;
        rows.into_iter().map(|row| row.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(due(at(300), 10).await, ["later", "late"]);
    assert_eq!(due(at(300), 1).await, ["later"]);
    assert!(due(at(99), 10).await.is_empty());
    store.set_due(number_of(store, "later", &scope).await, None).await.unwrap();
    store.set_due(number_of(store, "never", &scope).await, Some(at(1))).await.unwrap();
    assert_eq!(due(at(300), 10).await, ["never", "late"]);
    let newer = store.due_documents((at(1), at(300)), Destroyable::all(at(300)), 10).await.unwrap().documents;
    assert_eq!(
        newer.iter().map(|row| row.due).collect::<Vec<_>>(),
        [at(300)],
        "after the first time, until the second"
    );
    let held = store.due_documents((at(0), at(300)), Destroyable::nothing(), 10).await.unwrap().documents;
    assert!(held.is_empty(), "without files the next step destroys, and that may wait");
    let rows = store.due_documents((at(0), at(300)), Destroyable::all(at(300)), 1).await.unwrap().documents;
    assert!(!rows[0].has_files && rows[0].state == State::Created && rows[0].subject == Some(target("Patient/1")));
}
