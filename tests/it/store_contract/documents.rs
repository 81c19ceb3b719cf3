//! What is created with what, and what belongs to a document.

use std::time::Duration;

use daylily::domain::clock::Timestamp;
use daylily::domain::clock_watch::Destroyable;
use daylily::domain::lifecycle::{self, State};
use daylily::domain::principal::{ClientNumber, Reach};
use daylily::domain::resource::Kind;
use daylily::store::{Idempotency, NewBinary, NewDocument, Receipt, Store, StoreError};
use futures_util::future::join_all;

use super::*;

pub async fn a_write_is_whole_or_not_at_all_whatever_else_is_in_its_batch(store: &dyn Store) {
    let (owner, scope) = register(store, "lab", Reach::default()).await;
    let before = audit_size(store).await;
    let write = |number: u32| async move {
        let mut new = document(&format!("d{number}"), owner);
        new.files = vec![file(number, Some(vec![1; 8]))];
        if number.is_multiple_of(3) {
            // Not there: refused after rows, files and index were written.
            new.claims = vec![(file_id(1_000 + number), 1, None)];
        }
        (number, store.create_document(new, entry()).await)
    };
    let results = join_all((0..30).map(write)).await;
    let good = results.iter().filter(|(_, result)| result.is_ok()).count();
    assert_eq!(good, 20);
    assert_eq!(audit_size(store).await - before, 20, "an entry for each document and none for what was refused");
    for (number, result) in results {
        let text = format!("d{number}");
        let refused = number.is_multiple_of(3);
        assert_eq!(matches!(result, Err(StoreError::Changed)), refused);
        let read = store.read(Kind::DocumentReference, &id(&text), &scope).await.unwrap();
        assert_eq!(read.is_none(), refused);
        assert_eq!(store.file(file_id(number)).await.unwrap().is_none(), refused);
        assert_eq!(store.inline_content(file_id(number)).await.unwrap().is_none(), refused);
        assert_eq!(store.steps(&id(&text), &scope).await.unwrap().is_none(), refused);
    }
    let mut claimed = 0;
    while store.claim_scan(at(10), Duration::from_secs(60)).await.unwrap().is_some() {
        claimed += 1;
    }
    assert_eq!(claimed, 20, "a scan job for each");
    let rows = store.audit_rows(0, 100).await.unwrap();
    assert!(rows.iter().zip(0..).all(|(row, seq)| row.seq == seq));
}

pub async fn a_document_reads_back_as_it_was_sent(store: &dyn Store) {
    let (owner, scope) = register(store, "lab", Reach::default()).await;
    let mut new = document("d1", owner);
    new.files =
        vec![file(1, Some(b"sealed".to_vec())), daylily::domain::resource::NewFile { content: 1, ..file(2, None) }];
    new.due = Some(at(500));
    let sent = new.clone();
    let written = store.create_document(new, entry()).await.unwrap();
    assert!(written.created && written.version == 1);
    let stored = store.read(Kind::DocumentReference, &id("d1"), &scope).await.unwrap().unwrap();
    assert_eq!((stored.version, stored.updated, &stored.body), (1, written.updated, &sent.body));
    assert_eq!(
        stored.files.iter().map(|f| (f.file, f.content)).collect::<Vec<_>>(),
        [(file_id(1), 0), (file_id(2), 1)]
    );
    let facts = stored.document.unwrap();
    assert_eq!((facts.state, facts.owner, facts.due), (State::Created, owner, Some(at(500))));
    assert_eq!(facts.subject, Some(target("Patient/1")));
    assert_eq!(*facts.decision, *sent.decision);
    let one = store.file(file_id(1)).await.unwrap().unwrap();
    assert_eq!(one.sha1, [5; 20]);
    assert_eq!((one.sha256, one.is_inline, one.title.as_deref()), ([4; 32], true, Some("Befund Mustermann.pdf")));
    assert_eq!(store.inline_content(file_id(1)).await.unwrap().as_deref(), Some(b"sealed".as_slice()));
    assert!(!store.file(file_id(2)).await.unwrap().unwrap().is_inline);
    assert_eq!(store.inline_content(file_id(2)).await.unwrap(), None);
    assert!(store.file(file_id(3)).await.unwrap().is_none());
    let steps = store.steps(&id("d1"), &scope).await.unwrap().unwrap();
    assert_eq!(
        (steps.len(), steps[0].from, steps[0].to, steps[0].actor.as_str()),
        (1, None, State::Created, "client/lab")
    );
    let again = store.create_document(document("d1", owner), entry()).await;
    assert!(matches!(again, Err(StoreError::AlreadyExists)), "an id is used once");
}

pub async fn an_idempotency_key_is_used_once(store: &dyn Store) {
    let (owner, _) = register(store, "lab", Reach::default()).await;
    let (other, _) = register(store, "other", Reach::default()).await;
    let key = |until| Some(Idempotency { key: "k".to_owned(), request: [3; 32], until });
    let write = |text: String, owner, now: i64| {
        let new = NewDocument { idempotency: key(at(now + 100)), at: at(now), ..document(&text, owner) };
        store.create_document(new, entry())
    };
    let results = join_all((0..10).map(|number| write(format!("d{number}"), owner, 0))).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(results.iter().all(|result| matches!(result, Ok(_) | Err(StoreError::AlreadyExists))));
    let earlier = store.earlier(owner, "k", at(99)).await.unwrap().unwrap();
    assert_eq!((earlier.request, earlier.kind, earlier.version), ([3; 32], Kind::DocumentReference, 1));
    assert!(store.earlier(other, "k", at(99)).await.unwrap().is_none(), "keys are a client's own");
    assert!(store.earlier(owner, "other", at(99)).await.unwrap().is_none());
    assert!(store.earlier(owner, "k", at(100)).await.unwrap().is_none(), "remembered for its time");
    write("later".to_owned(), owner, 100).await.unwrap();
    assert_eq!(store.earlier(owner, "k", at(150)).await.unwrap().unwrap().id, id("later"));
    store.forget_expired(at(1_000)).await.unwrap();
    assert!(store.earlier(owner, "k", at(150)).await.unwrap().is_none());
}

fn binary(number: u32, owner: ClientNumber) -> NewBinary {
    NewBinary {
        owner,
        file: file(number, Some(b"sealed".to_vec())),
        body: body("{\"contentType\":\"application/pdf\"}"),
        due: at(3_600_000),
        idempotency: None,
        at: at(0),
    }
}

pub async fn a_binary_is_claimed_once_and_by_its_owner(store: &dyn Store) {
    let (lab, scope) = register(store, "lab", Reach::default()).await;
    let (other, other_scope) = register(store, "other", all()).await;
    store.create_binary(binary(1, lab), entry_of("binary.create")).await.unwrap();
    assert!(store.covers(file_id(1), &scope).await.unwrap());
    assert!(!store.covers(file_id(1), &other_scope).await.unwrap(), "its creator only, until a document claims it");
    let binary_id = daylily::domain::id::ResourceId::from(file_id(1));
    assert!(store.read(Kind::Binary, &binary_id, &scope).await.unwrap().is_some());
    assert!(store.read(Kind::Binary, &binary_id, &other_scope).await.unwrap().is_none());
    let claiming = |text: &str, owner| NewDocument {
        claims: vec![(file_id(1), 3, Some("Titel".to_owned()))],
        ..document(text, owner)
    };
    let foreign = store.create_document(claiming("foreign", other), entry()).await;
    assert!(matches!(foreign, Err(StoreError::Changed)));
    let both = join_all([
        store.create_document(claiming("a", lab), entry()),
        store.create_document(claiming("b", lab), entry()),
    ])
    .await;
    assert_eq!(both.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(both.iter().any(|result| matches!(result, Err(StoreError::Changed))));
    let facts = store.file(file_id(1)).await.unwrap().unwrap();
    assert_eq!((facts.content, facts.title.as_deref(), facts.document.is_some()), (3, Some("Titel"), true));
    assert!(store.covers(file_id(1), &other_scope).await.unwrap(), "now it is the document's");
    let read = store.read(Kind::Binary, &binary_id, &other_scope).await.unwrap().unwrap();
    assert_eq!(read.document.unwrap().state, State::Created);
    let purged = store
        .purge_unclaimed(at(9_999_999), Destroyable::all(at(9_999_999)), 10, entry_of("document.purge"))
        .await
        .unwrap();
    assert!(purged.is_empty() && store.inline_content(file_id(1)).await.unwrap().is_some());
    assert_eq!(store.claim_scan(at(1), Duration::from_secs(1)).await.unwrap().unwrap().files.len(), 1);
}

pub async fn a_binary_that_no_document_claims_is_purged(store: &dyn Store) {
    let (lab, scope) = register(store, "lab", Reach::default()).await;
    store.create_binary(binary(1, lab), entry_of("binary.create")).await.unwrap();
    let mut large = binary(2, lab);
    large.file.inline = None;
    store.create_binary(large, entry_of("binary.create")).await.unwrap();
    let size = audit_size(store).await;
    assert!(
        store
            .purge_unclaimed(at(3_599_999), Destroyable::all(at(3_599_999)), 10, entry_of("document.purge"))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(audit_size(store).await, size, "nothing was due, nothing is recorded");
    let elsewhere = store
        .purge_unclaimed(at(3_600_000), Destroyable::all(at(3_600_000)), 10, entry_of("document.purge"))
        .await
        .unwrap();
    assert_eq!(elsewhere, [file_id(2)]);
    assert_eq!(audit_size(store).await, size + 1);
    assert!(store.file(file_id(1)).await.unwrap().is_none() && store.file(file_id(2)).await.unwrap().is_none());
    assert!(!store.covers(file_id(1), &scope).await.unwrap());
    let claiming = NewDocument { claims: vec![(file_id(1), 0, None)], ..document("d1", lab) };
    assert!(matches!(store.create_document(claiming, entry()).await, Err(StoreError::Changed)));
    let again = store.create_binary(binary(1, lab), entry_of("binary.create")).await;
    assert!(matches!(again, Err(StoreError::AlreadyExists)), "its id is never used again");
}

pub async fn receipts_count_readers_but_not_the_source(store: &dyn Store) {
    let (lab, scope) = register(store, "lab", Reach::default()).await;
    let (one, _) = register(store, "one", Reach::default()).await;
    let (two, _) = register(store, "two", Reach::default()).await;
    store.create_document(document("d1", lab), entry()).await.unwrap();
    let document = number_of(store, "d1", &scope).await;
    let receive =
        |reader, millis| store.add_receipt(Receipt { document, reader, at: at(millis) }, entry_of("link.redeem"));
    let own = receive(lab, 5).await.unwrap();
    assert_eq!((own.readers.len(), own.first, own.last), (0, None::<Timestamp>, None));
    receive(two, 20).await.unwrap();
    receive(one, 30).await.unwrap();
    let all = receive(two, 40).await.unwrap();
    assert_eq!(all.readers, [client_id("two"), client_id("one")]);
    assert_eq!((all.first, all.last), (Some(at(20)), Some(at(40))));
}

pub async fn files_elsewhere_are_listed_until_they_are_destroyed(store: &dyn Store) {
    let (owner, scope) = register(store, "lab", Reach::default()).await;
    for number in [3, 1, 2] {
        let new = NewDocument { files: vec![file(number, None)], ..document(&format!("d{number}"), owner) };
        store.create_document(new, entry()).await.unwrap();
    }
    let new = NewDocument { files: vec![file(4, Some(vec![1]))], ..document("d4", owner) };
    store.create_document(new, entry()).await.unwrap();
    assert_eq!(store.files_in_blobs(None, 2).await.unwrap(), [file_id(1), file_id(2)]);
    assert_eq!(store.files_in_blobs(Some(file_id(2)), 2).await.unwrap(), [file_id(3)]);
    let known = store.known_files(&[file_id(1), file_id(4), file_id(9)]).await.unwrap();
    assert_eq!(known, [true, false, false]);
    let number = number_of(store, "d1", &scope).await;
    let purge = lifecycle::purge(State::Created, "default", stamp(9, None)).unwrap();
    store.purge(number, purge, entry_of("document.purge")).await.unwrap();
    assert_eq!(store.known_files(&[file_id(1)]).await.unwrap(), [false]);
    let health = store.health().await.unwrap();
    assert_eq!((health.documents, health.waiting), (3, 3));
}
