//! Filters, order and pages.

use std::collections::BTreeSet;
use std::time::Duration;

use daylily::domain::holder::{Holder, Shares};
use daylily::domain::lifecycle::State;
use daylily::domain::policy::CodeTest;
use daylily::domain::principal::{ClientNumber, Reach};
use daylily::domain::query::{DateTest, Filter, Prefix, Query, Sort, SortKey};
use daylily::domain::resource::{Kind, Splice, SpliceKind};
use daylily::shares::Places;
use daylily::store::{AnswerMemory, Store, StoreError};

use super::*;

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
                let answer = store.search(&page, &scope, memory()).await.unwrap();
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

/// What others have stored decides how much a row weighs: texts, files and subjects end a page, and a row of any weight fits.
pub async fn a_page_ends_before_it_holds_more_than_an_answer_and_its_entry_can(store: &dyn Store) {
    let (owner, scope) = register(store, "lab", Reach::default()).await;
    let heavy = |at: usize| {
        let mut new = document(&format!("d{at}"), owner);
        match at % 4 {
            0 => new.body.text = format!("{{\"a\":\"{}\"}}", "a".repeat(3 << 20)),
            1 => new.body.splices = vec![Splice { at: 1, kind: SpliceKind::AttachmentUrl(0), comma: false }; 3_000],
            2 => new.index.subject = Some(target(&"s".repeat(60_000))),
            _ => new.body.text = format!("{{\"a\":\"{}\"}}", "a".repeat(12 << 20)),
        }
        new
    };
    for at in 0..12 {
        store.create_document(heavy(at), entry()).await.unwrap();
    }
    let (mut page, mut seen, mut pages) = (Query { count: 1_000, ..query(vec![]) }, Vec::new(), 0);
    loop {
        let answer = store.search(&page, &scope, memory()).await.unwrap();
        let text: usize = answer.rows.iter().map(|row| row.body.text.len()).sum();
        let places: usize = answer.rows.iter().map(|row| row.body.splices.len()).sum();
        let subjects: usize =
            answer.rows.iter().map(|row| row.document.as_ref().unwrap().subject.as_ref().unwrap().0.len()).sum();
        let light = text <= 8 << 20 && places <= 4_096 && subjects <= 96 * 1024;
        assert!(light || answer.rows.len() == 1, "{} rows: {text}, {places}, {subjects}", answer.rows.len());
        assert!(!answer.rows.is_empty() && answer.total == 12);
        seen.extend(ids(&answer.rows));
        pages += 1;
        page.after = answer.next;
        if answer.next.is_none() {
            break;
        }
    }
    assert_eq!(seen, (0..12).rev().map(|at| format!("d{at}")).collect::<Vec<_>>(), "each once, in order");
    assert!((4..12).contains(&pages), "light ones share a page: {pages}");
}

pub async fn long_texts_are_read_once_there_is_memory_for_them(store: &dyn Store) {
    let (owner, scope) = register(store, "lab", Reach::default()).await;
    let mut long = document("long", owner);
    long.body.text = format!("{{\"a\":\"{}\"}}", "a".repeat(300_000));
    let length = long.body.text.len();
    store.create_document(long, entry()).await.unwrap();
    store.create_document(document("short", owner), entry()).await.unwrap();
    let holder = Holder::Client(owner);
    let bytes = Places::new(1_000_000, Shares::default(), Some(Duration::from_millis(10)));
    let memory = AnswerMemory { bytes: &bytes, holder: &holder };
    let kind = Kind::DocumentReference;
    let (stored, held) = store.read_for_answer(kind, &id("long"), &scope, memory).await.unwrap().unwrap();
    assert_eq!((stored.body.text.len(), bytes.figures().taken), (length, 2 * u64::try_from(length).unwrap()));
    let refused = store.read_for_answer(kind, &id("long"), &scope, memory).await.map(|found| found.is_some());
    assert!(matches!(refused, Err(StoreError::Turned(_))), "{refused:?}");
    assert!(matches!(store.search(&query(vec![]), &scope, memory).await, Err(StoreError::Turned(_))));
    let short = store.read_for_answer(kind, &id("short"), &scope, memory).await.unwrap().unwrap();
    assert!(short.1.is_none(), "what is short needs none");
    drop(held);
    let page = store.search(&query(vec![]), &scope, memory).await.unwrap();
    assert_eq!((page.rows.len(), bytes.figures().taken >= 2 * u64::try_from(length).unwrap()), (2, true));
    drop(page);
    assert_eq!(bytes.figures().taken, 0);
    assert_eq!(store.read(kind, &id("long"), &scope).await.unwrap().unwrap().body.text.len(), length);
    let version = store.read_version(kind, &id("long"), 1, &scope).await.unwrap().unwrap();
    assert_eq!(version.body.text.len(), length);
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
                let answer = store.search(&page, &scope, memory()).await.unwrap();
                seen.extend(ids(&answer.rows));
                page.after = answer.next;
            }
            assert_eq!(seen, expected);
            assert_eq!(page.after, None);
        }
    }
    let none = store.search(&Query { count: 0, ..query(vec![]) }, &scope, memory()).await.unwrap();
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
