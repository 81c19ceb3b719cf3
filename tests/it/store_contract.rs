//! The contract of `store::Store`, as functions over `&dyn Store`: any implementation is held to it by running each on a fresh
//! store. [`contract`] makes a test of each.

use std::collections::BTreeSet;
use std::time::Duration;

use daylily::domain::clock::Timestamp;
use daylily::domain::epoch::{Scope, Subject};
use daylily::domain::id::LinkId;
use daylily::domain::lifecycle::{self, State};
use daylily::domain::policy::CodeTest;
use daylily::domain::principal::{AccessScope, ClientNumber, Reach};
use daylily::domain::query::{DateTest, Filter, Prefix, Query, Sort, SortKey};
use daylily::domain::resource::{DocumentNumber, Kind};
use daylily::store::{ActivePolicy, Idempotency, NewBinary, NewDocument, Receipt, SealedKey, Store, StoreError};
use futures_util::future::join_all;

use crate::store_build::*;

/// Makes a test of every rule of the contract; `$open` answers a fresh store and what keeps its files.
macro_rules! contract {
    ($open:path) => {
        $crate::store_contract::contract! { $open;
            an_entry_is_numbered_without_gaps_under_concurrent_writers
            a_write_is_whole_or_not_at_all_whatever_else_is_in_its_batch
            a_document_reads_back_as_it_was_sent
            a_scan_job_is_claimed_by_one
            a_lease_that_ran_out_gives_the_job_to_another_and_the_first_is_refused
            a_job_that_is_given_back_waits_until_it_is_due
            access_covers_own_recipient_custodian_and_all_and_nothing_else
            context_is_seen_by_its_sender_and_with_a_visible_document
            a_context_resource_is_replaced_by_who_sees_it
            pages_follow_on_while_documents_arrive
            pages_by_date_put_what_has_none_last
            filters_find_what_fits
            dates_compare_as_spans
            the_states_of_a_document_follow_on_and_make_versions
            a_transition_from_another_state_changes_nothing
            a_purge_leaves_a_tombstone
            what_is_due_is_told_longest_overdue_first
            an_idempotency_key_is_used_once
            a_binary_is_claimed_once_and_by_its_owner
            a_binary_that_no_document_claims_is_purged
            a_revocation_is_seen_when_it_returns
            an_assertion_is_spent_once
            keys_policy_and_clients_read_back
            receipts_count_readers_but_not_the_source
            stamps_of_versions_never_fall
            files_elsewhere_are_listed_until_they_are_destroyed
            a_change_of_state_wakes_who_waits
            a_closed_store_refuses
        }
    };
    ($open:path; $($name:ident)*) => {
        $(#[tokio::test]
        async fn $name() {
            let (store, _files) = $open();
            $crate::store_contract::$name(store.as_ref()).await;
        })*
    };
}
pub(crate) use contract;

fn query(filters: Vec<Filter>) -> Query {
    Query { kind: Kind::DocumentReference, filters, sort: Sort::default(), count: 50, after: None, as_of: None }
}

async fn found(store: &dyn Store, filters: Vec<Filter>, scope: &AccessScope) -> Vec<String> {
    let page = store.search(&query(filters), scope).await.unwrap();
    assert_eq!(page.total, u64::try_from(page.rows.len()).unwrap(), "the total is that of what is visible");
    ids(&page.rows)
}

async fn number_of(store: &dyn Store, text: &str, scope: &AccessScope) -> DocumentNumber {
    let stored = store.read(Kind::DocumentReference, &id(text), scope).await.unwrap().unwrap();
    stored.document.unwrap().number
}

async fn audit_size(store: &dyn Store) -> u64 {
    store.audit_head().await.unwrap().size
}

pub async fn an_entry_is_numbered_without_gaps_under_concurrent_writers(store: &dyn Store) {
    let writer = |_| async {
        let mut seen = Vec::new();
        for _ in 0..40 {
            seen.push(store.record(entry_of("search")).await.unwrap());
        }
        assert!(seen.is_sorted(), "numbers rise in the order of a caller's own calls");
        seen
    };
    let all: BTreeSet<u64> = join_all((0..8).map(writer)).await.into_iter().flatten().collect();
    assert!(all.into_iter().eq(0..320));
    let rows = store.audit_rows(0, 1_000).await.unwrap();
    assert!(rows.iter().map(|row| row.seq).eq(0..320));
    assert_eq!(store.audit_rows(300, 5).await.unwrap().len(), 5);
    assert_eq!(audit_size(store).await, 320);
    let hashes = rows.iter().map(|row| <[u8; 32]>::try_from(row.hash.as_slice()).unwrap());
    let frontier: daylily::domain::audit::Frontier = hashes.collect();
    assert_eq!(store.audit_head().await.unwrap().frontier, frontier.encode());
    for row in &rows {
        let leaf = daylily::domain::audit::Leaf::decode(&row.body).unwrap();
        assert_eq!((leaf.seq, leaf.commitment, row.cells.as_slice()), (row.seq, [9; 32], [1u8, 2, 3].as_slice()));
    }
}

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
            let page = store.search(&one, scope).await.unwrap();
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
    let mut new = document("d1", lab);
    new.recipients = vec![client_id("reader")];
    new.index.encounters = vec![target("Encounter/e")];
    new.index.references = vec![target("Practitioner/p/_history/1")];
    store.create_document(new, entry()).await.unwrap();
    assert_eq!(seen(&reader_scope).await, [true, false, true, true, false, false, false]);
    let patients = Query { kind: Kind::Patient, ..query(vec![]) };
    assert_eq!(ids(&store.search(&patients, &reader_scope).await.unwrap().rows), ["1"]);
    assert_eq!(store.search(&patients, &lab_scope).await.unwrap().total, 2);
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
    assert_eq!(store.search(&by("A"), &lab_scope).await.unwrap().total, 0, "what it was found by before is gone");
    assert_eq!(store.search(&by("B"), &lab_scope).await.unwrap().total, 1);
}

pub async fn pages_follow_on_while_documents_arrive(store: &dyn Store) {
    let (owner, scope) = register(store, "lab", Reach::default()).await;
    let sorts = [
        Sort::default(),
        Sort { key: SortKey::Arrival, descending: false },
        Sort { key: SortKey::Date, descending: true },
        Sort { key: SortKey::Date, descending: false },
        Sort { key: SortKey::Updated, descending: true },
        Sort { key: SortKey::Updated, descending: false },
    ];
    let mut made = 0;
    for _ in 0..23 {
        arrive(store, owner, &mut made).await;
    }
    for sort in sorts {
        for filters in [vec![], vec![Filter::Patient(vec![target("Patient/1")])]] {
            let before = (0..made).map(|number| format!("d{number}")).collect::<BTreeSet<_>>();
            let mut page = Query { sort, count: 4, ..query(filters) };
            let mut seen = Vec::new();
            loop {
                let answer = store.search(&page, &scope).await.unwrap();
                seen.extend(ids(&answer.rows));
                page.after = answer.next;
                if answer.next.is_none() {
                    break;
                }
                if seen.len() < 20 {
                    arrive(store, owner, &mut made).await;
                }
            }
            let unique = seen.iter().cloned().collect::<BTreeSet<_>>();
            assert_eq!(unique.len(), seen.len(), "none twice: {sort:?}");
            assert!(unique.is_superset(&before), "none missed: {sort:?}");
        }
    }
}

/// A further document; several share a day, some have none.
async fn arrive(store: &dyn Store, owner: ClientNumber, made: &mut i64) {
    let mut new = document(&format!("d{made}"), owner);
    new.index.date = (*made % 4 != 0).then(|| day((*made * 7) % 5));
    new.at = at(*made);
    store.create_document(new, entry()).await.unwrap();
    *made += 1;
}

pub async fn pages_by_date_put_what_has_none_last(store: &dyn Store) {
    let (owner, scope) = register(store, "lab", Reach::default()).await;
    for (text, date) in [("a", Some(3)), ("b", None), ("c", Some(1)), ("d", None), ("e", Some(3)), ("f", Some(2))] {
        let mut new = document(text, owner);
        new.index.date = date.map(day);
        store.create_document(new, entry()).await.unwrap();
    }
    for (descending, expected) in [(true, ["e", "a", "f", "c", "d", "b"]), (false, ["c", "f", "e", "a", "d", "b"])] {
        for filters in [vec![], vec![Filter::Subject(vec![target("Patient/1")])]] {
            let mut page = Query { sort: Sort { key: SortKey::Date, descending }, count: 2, ..query(filters) };
            let mut seen = Vec::new();
            for _ in 0..3 {
                let answer = store.search(&page, &scope).await.unwrap();
                seen.extend(ids(&answer.rows));
                page.after = answer.next;
            }
            assert_eq!(seen, expected);
            assert_eq!(page.after, None);
        }
    }
    let none = store.search(&Query { count: 0, ..query(vec![]) }, &scope).await.unwrap();
    assert_eq!((none.rows.len(), none.next, none.total), (0, None, 6));
}

pub async fn filters_find_what_fits(store: &dyn Store) {
    let (lab, scope) = register(store, "lab", Reach::default()).await;
    let mut patient = context(Kind::Patient, "1", lab);
    patient.index.identifiers = vec![identifier("mrn", "A1")];
    store.put_context(patient, &scope, entry_of("context.create")).await.unwrap();
    let mut one = document("one", lab);
    one.index.kind = vec![coding("loinc", "11488-4"), coding("local", "x")];
    one.index.category = vec![coding("cat", "note")];
    one.index.encounters = vec![target("Encounter/1")];
    one.index.custodian = Some(target("Organization/1"));
    one.index.identifiers = vec![identifier("acc", "77"), identifier("acc", "78")];
    let mut two = document("two", lab);
    two.index.subject = Some(target("Group/1"));
    two.index.status = Some("superseded".to_owned());
    two.index.kind = vec![daylily::domain::policy::Coding { system: None, code: Some("x".to_owned()) }];
    store.create_document(one, entry()).await.unwrap();
    let written = store.create_document(two, entry()).await.unwrap();
    let code = |system: Option<&str>, code: Option<&str>| {
        vec![CodeTest { system: system.map(str::to_owned), code: code.map(str::to_owned) }]
    };
    let at_two = daylily::domain::resource::Span {
        from: written.updated,
        until: written.updated.plus(Duration::from_millis(1)),
    };
    let cases: Vec<(Filter, &[&str])> = vec![
        (Filter::Id(vec![id("two"), id("none")]), &["two"]),
        (Filter::Patient(vec![target("Patient/1"), target("Patient/9")]), &["one"]),
        (Filter::Patient(vec![target("Group/1")]), &[]),
        (Filter::Subject(vec![target("Patient/1"), target("Group/1")]), &["two", "one"]),
        (Filter::PatientIdentifier(code(Some("mrn"), Some("A1"))), &["one"]),
        (Filter::PatientIdentifier(code(Some("other"), Some("A1"))), &[]),
        (Filter::Encounter(vec![target("Encounter/1")]), &["one"]),
        (Filter::Encounter(vec![target("Patient/1")]), &[]),
        (Filter::Custodian(vec![target("Organization/1")]), &["one"]),
        (Filter::Status(vec!["superseded".to_owned(), "none".to_owned()]), &["two"]),
        (Filter::Type(code(Some("loinc"), Some("11488-4"))), &["one"]),
        (Filter::Type(code(None, Some("x"))), &["two", "one"]),
        (Filter::Type(code(Some("local"), None)), &["one"]),
        (Filter::Type(code(Some(""), Some("x"))), &["two"]),
        (Filter::Type(code(Some("loinc"), Some("x"))), &[]),
        (Filter::Category(code(None, Some("note"))), &["one"]),
        (Filter::Identifier(code(None, Some("77"))), &["one"]),
        (Filter::Identifier([code(Some("acc"), Some("78")), code(None, Some("77"))].concat()), &["one"]),
        (Filter::Identifier(code(None, Some("' OR 1=1 --"))), &[]),
        (Filter::Lifecycle(vec![State::Created]), &["two", "one"]),
        (Filter::Lifecycle(vec![State::Ready]), &[]),
        (Filter::Updated(vec![DateTest { prefix: Prefix::Eq, span: at_two }]), &["two"]),
        (Filter::Updated(vec![DateTest { prefix: Prefix::Lt, span: at_two }]), &["one"]),
    ];
    for (filter, expected) in cases {
        assert_eq!(found(store, vec![filter.clone()], &scope).await, expected, "{filter:?}");
        let both = vec![filter.clone(), Filter::Subject(vec![target("Patient/1"), target("Group/1")])];
        assert_eq!(found(store, both, &scope).await, expected, "{filter:?} with a subject");
    }
    let (_, other) = register(store, "other", custodians(&["Organization/1"])).await;
    let chained = Filter::PatientIdentifier(code(None, Some("A1")));
    assert_eq!(found(store, vec![chained], &other).await, ["one"], "the patient is visible with the document");
}

pub async fn dates_compare_as_spans(store: &dyn Store) {
    // FHIR R4 search, 3.1.1.4.2: the parameter is day 10; elements lie before, in, across and after it, or have no date.
    let (owner, scope) = register(store, "lab", Reach::default()).await;
    let hours = |from: i64, until: i64| {
        let hour = 3_600_000;
        Some(daylily::domain::resource::Span { from: at(from * hour), until: at(until * hour) })
    };
    let elements = [
        ("before", hours(216, 228)),
        ("until-in", hours(228, 252)),
        ("inside", hours(242, 250)),
        ("same", hours(240, 264)),
        ("over", hours(216, 288)),
        ("from-in", hours(252, 276)),
        ("after", hours(264, 276)),
        ("none", None),
    ];
    for (text, date) in elements {
        let mut new = document(text, owner);
        new.index.date = date;
        store.create_document(new, entry()).await.unwrap();
    }
    let cases: [(Prefix, &[&str]); 9] = [
        (Prefix::Eq, &["inside", "same"]),
        (Prefix::Ne, &["before", "until-in", "over", "from-in", "after"]),
        (Prefix::Gt, &["over", "from-in", "after"]),
        (Prefix::Lt, &["before", "until-in", "over"]),
        (Prefix::Ge, &["inside", "same", "over", "from-in", "after"]),
        (Prefix::Le, &["before", "until-in", "inside", "same", "over"]),
        (Prefix::Sa, &["after"]),
        (Prefix::Eb, &["before"]),
        (Prefix::Ap, &["until-in", "inside", "same", "over", "from-in"]),
    ];
    for (prefix, expected) in cases {
        let filter = Filter::Date(vec![DateTest { prefix, span: day(10) }]);
        let mut seen = found(store, vec![filter], &scope).await;
        seen.reverse();
        assert_eq!(seen, expected, "{prefix:?}");
    }
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
    assert!(store.documents_of_patient(&target("Patient/1")).await.unwrap().is_empty());
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
        let rows = store.due_documents(now, limit).await.unwrap();
        rows.into_iter().map(|row| row.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(due(at(300), 10).await, ["later", "late"]);
    assert_eq!(due(at(300), 1).await, ["later"]);
    assert!(due(at(99), 10).await.is_empty());
    store.set_due(number_of(store, "later", &scope).await, None).await.unwrap();
    store.set_due(number_of(store, "never", &scope).await, Some(at(1))).await.unwrap();
    assert_eq!(due(at(300), 10).await, ["never", "late"]);
    let rows = store.due_documents(at(300), 1).await.unwrap();
    assert!(!rows[0].has_files && rows[0].state == State::Created && rows[0].subject == Some(target("Patient/1")));
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
    let purged = store.purge_unclaimed(at(9_999_999), 10, entry_of("document.purge")).await.unwrap();
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
    assert!(store.purge_unclaimed(at(3_599_999), 10, entry_of("document.purge")).await.unwrap().is_empty());
    assert_eq!(audit_size(store).await, size, "nothing was due, nothing is recorded");
    let elsewhere = store.purge_unclaimed(at(3_600_000), 10, entry_of("document.purge")).await.unwrap();
    assert_eq!(elsewhere, [file_id(2)]);
    assert_eq!(audit_size(store).await, size + 1);
    assert!(store.file(file_id(1)).await.unwrap().is_none() && store.file(file_id(2)).await.unwrap().is_none());
    assert!(!store.covers(file_id(1), &scope).await.unwrap());
    let claiming = NewDocument { claims: vec![(file_id(1), 0, None)], ..document("d1", lab) };
    assert!(matches!(store.create_document(claiming, entry()).await, Err(StoreError::Changed)));
    let again = store.create_binary(binary(1, lab), entry_of("binary.create")).await;
    assert!(matches!(again, Err(StoreError::AlreadyExists)), "its id is never used again");
}

pub async fn a_revocation_is_seen_when_it_returns(store: &dyn Store) {
    let (reader, _) = register(store, "lab", Reach::default()).await;
    let subject = Subject { reader, document: DocumentNumber(1), patient: None };
    let link = LinkId::of_digest(b"one");
    let before = store.epochs();
    let epoch = before.current(&subject);
    let first = store.revoke(Scope::Document(DocumentNumber(1)), at(5), "why", entry_of("link.revoke")).await.unwrap();
    assert_eq!(store.epochs().revoked_at(&subject, epoch, &link), Some(at(5)));
    assert_eq!(before.revoked_at(&subject, epoch, &link), None, "a value in hand does not change");
    let now = store.epochs().current(&subject);
    assert_eq!(store.epochs().revoked_at(&subject, now, &link), None, "links made afterwards live");
    let second = store.revoke(Scope::Link(link.clone()), at(6), "why", entry_of("link.revoke")).await.unwrap();
    assert!(second > first);
    assert_eq!(store.epochs().revoked_at(&subject, now, &link), Some(at(6)));
    let years = Duration::from_secs(500 * 86_400);
    store.forget_expired(at(6).plus(years)).await.unwrap();
    assert_eq!(store.epochs().revoked_at(&subject, now, &link), None, "forgotten when no such link can be alive");
    let third = store.revoke(Scope::All, at(7), "why", entry_of("link.revoke")).await.unwrap();
    assert!(third > second, "a number is never given again");
    assert_eq!(store.epochs().revoked_at(&subject, now, &link), Some(at(7)));
}

pub async fn an_assertion_is_spent_once(store: &dyn Store) {
    let (client, _) = register(store, "lab", Reach::default()).await;
    let (other, _) = register(store, "other", Reach::default()).await;
    let size = audit_size(store).await;
    let spend = |_| store.spend_assertion(client, [1; 32], at(300), entry_of("token.grant"));
    let results = join_all((0..50).map(spend)).await;
    assert_eq!(results.iter().filter(|result| *result.as_ref().unwrap()).count(), 1);
    assert_eq!(audit_size(store).await, size + 1, "one grant is on record");
    assert!(store.spend_assertion(other, [1; 32], at(300), entry_of("token.grant")).await.unwrap());
    store.forget_expired(at(300)).await.unwrap();
    assert!(!store.spend_assertion(client, [1; 32], at(300), entry_of("token.grant")).await.unwrap(), "still in time");
    store.forget_expired(at(301)).await.unwrap();
    assert!(store.spend_assertion(client, [1; 32], at(600), entry_of("token.grant")).await.unwrap());
}

pub async fn keys_policy_and_clients_read_back(store: &dyn Store) {
    let key = |number, created| SealedKey {
        purpose: "link".to_owned(),
        number,
        sealed: vec![7; 60],
        created: at(created),
        retires: None,
    };
    store.add_key(key(1, 0), None, entry_of("key.rotate")).await.unwrap();
    store.add_key(key(2, 10), Some(at(99)), entry_of("key.rotate")).await.unwrap();
    let again = store.add_key(key(2, 10), None, entry_of("key.rotate")).await;
    assert!(matches!(again, Err(StoreError::AlreadyExists)));
    let retired = SealedKey { retires: Some(at(99)), ..key(1, 0) };
    assert_eq!(store.keys().await.unwrap(), [retired, key(2, 10)]);

    assert_eq!(store.policy().await.unwrap(), None);
    let policy = |text: &str| ActivePolicy {
        text: text.to_owned(),
        digest: [8; 32],
        actor: "os:0".to_owned(),
        reason: "start".to_owned(),
        at: at(1),
    };
    for text in ["[default]\n", "[default]\nretain = \"7d\"\n"] {
        store.apply_policy(policy(text), entry_of("policy.apply")).await.unwrap();
        assert_eq!(store.policy().await.unwrap(), Some(policy(text)));
    }

    let mut lab = client("lab", custodians(&["Organization/1"]));
    lab.number = store.add_client(lab.clone(), entry_of("client.add")).await.unwrap();
    assert_eq!(*store.client(&lab.id).unwrap(), lab);
    assert_eq!(*store.client_by_number(lab.number).unwrap(), lab);
    let twice = store.add_client(lab.clone(), entry_of("client.add")).await;
    assert!(matches!(twice, Err(StoreError::AlreadyExists)));
    lab.disabled = true;
    store.update_client(lab.clone(), entry_of("client.disable")).await.unwrap();
    lab.generation = 2;
    assert_eq!(*store.client(&lab.id).unwrap(), lab, "the generation rises");
    let missing = store.update_client(client("none", Reach::default()), entry_of("client.disable")).await;
    assert!(matches!(missing, Err(StoreError::Changed)));
    assert!(store.client(&client_id("none")).is_none() && store.clients().len() == 1);

    store.add_checkpoint(5, "note five".to_owned()).await.unwrap();
    store.add_checkpoint(2, "note two".to_owned()).await.unwrap();
    assert_eq!(store.checkpoints().await.unwrap(), [(2, "note two".to_owned()), (5, "note five".to_owned())]);
    let mut about = entry_of("document.read");
    about.patients = vec!["Patient/1".to_owned(), "Patient/2".to_owned()];
    let seq = store.record(about).await.unwrap();
    assert_eq!(store.audit_of_patient("Patient/2").await.unwrap(), [seq]);
    assert!(store.audit_of_patient("Patient/3").await.unwrap().is_empty());
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

pub async fn stamps_of_versions_never_fall(store: &dyn Store) {
    let (owner, _) = register(store, "lab", Reach::default()).await;
    let mut last = at(-1);
    for (number, millis) in [100, 100, 50, 0, 300].into_iter().enumerate() {
        let new = NewDocument { at: at(millis), ..document(&format!("d{number}"), owner) };
        let written = store.create_document(new, entry()).await.unwrap();
        assert!(written.updated > last && written.updated >= at(millis));
        last = written.updated;
    }
    assert_eq!(last, at(300));
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

pub async fn a_change_of_state_wakes_who_waits(store: &dyn Store) {
    let (owner, _) = register(store, "lab", Reach::default()).await;
    let seen = store.state_changes();
    let create = async { store.create_document(document("d1", owner), entry()).await.unwrap() };
    let (now, _) = futures_util::future::join(store.state_changed(seen), create).await;
    assert!(now > seen && now == store.state_changes());
}

pub async fn a_closed_store_refuses(store: &dyn Store) {
    store.record(entry()).await.unwrap();
    store.close().await;
    assert!(matches!(store.record(entry()).await, Err(StoreError::Busy)));
    assert_eq!(store.audit_rows(0, 10).await.unwrap().len(), 1, "what was written can be read");
    store.close().await;
}
