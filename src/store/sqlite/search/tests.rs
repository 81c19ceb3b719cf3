//! Which index each search walks, which statements are kept, and when a search has read enough.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::domain::clock::Clock;
use crate::domain::id::ClientId;
use crate::domain::principal::{AttachmentUrl, ClientNumber, Interaction, Permissions, Principal, Reach};
use crate::store::sqlite::search_time;

fn scope(reach: Reach) -> AccessScope {
    let mut permissions = Permissions::default();
    permissions.grant(Kind::DocumentReference, Interaction::Search);
    let client = ClientId::parse("a").unwrap();
    let attachment_url = AttachmentUrl::Link;
    let principal = Principal { client, number: ClientNumber(1), reach, permissions, attachment_url };
    principal.may(Interaction::Search, Kind::DocumentReference).unwrap()
}

fn plan(filters: Vec<Filter>, key: SortKey, descending: bool, scope: &AccessScope) -> String {
    let mut conn = SqliteConnection::establish(":memory:").unwrap();
    crate::store::sqlite::open::migrate(&mut conn).unwrap();
    search_time::register(&mut conn, Arc::new(Ticking::default()), QUARTER).unwrap();
    let kind = Kind::DocumentReference;
    let query = Query { kind, filters, sort: Sort { key, descending }, count: 20, after: None, as_of: None };
    let mut statement = sql("EXPLAIN QUERY PLAN ", []);
    statement.append(page_statement(&query, scope, 20, Began::now(&Ticking::default())));
    let steps: Vec<(i64, i64, i64, String)> = statement.rows(&mut conn).unwrap();
    steps.into_iter().map(|(_, _, _, step)| step + "\n").collect()
}

/// A caller that lists date prefixes in every order could otherwise make the server hold ever more statements.
#[test]
fn few_shapes_are_kept_prepared_however_many_are_asked() {
    let mut kept = 0;
    for at in 0..KEPT_SHAPES * 4 {
        let mut statement = sql("SELECT 1", []);
        (0..at).for_each(|_| statement.push(" OR 1", []));
        keep_few(&mut statement, 1);
        kept += usize::from(!statement.is_once());
    }
    assert!(kept <= KEPT_SHAPES, "{kept}");
    let mut wide = sql("SELECT 2", []);
    keep_few(&mut wide, KEPT_FILTERS + 1);
    assert!(wide.is_once());
}

#[test]
fn each_search_walks_the_index_that_was_made_for_it() {
    let all = scope(Reach { all: true, custodians: Vec::new() });
    let own = scope(Reach::default());
    let patient = || vec![Filter::Patient(vec![Target("Patient/1".to_owned())])];
    let code = |code: &str| vec![CodeTest { system: None, code: Some(code.to_owned()) }];
    let cases = [
        (plan(patient(), SortKey::Date, true, &all), "SEARCH d USING COVERING INDEX doc_patient (patient=?"),
        (plan(patient(), SortKey::Arrival, true, &own), "SEARCH d USING COVERING INDEX doc_patient (patient=?"),
        (plan(vec![], SortKey::Arrival, true, &all), "SCAN d"),
        (plan(vec![], SortKey::Arrival, true, &own), "SEARCH a USING PRIMARY KEY (party=?)"),
        (plan(vec![], SortKey::Date, true, &all), "SCAN d USING COVERING INDEX doc_date"),
        (plan(vec![], SortKey::Date, false, &all), "SCAN d USING COVERING INDEX doc_date_up"),
        (plan(vec![], SortKey::Updated, true, &all), "SEARCH r USING COVERING INDEX res_updated (kind=?)"),
        (
            plan(vec![Filter::Identifier(code("1"))], SortKey::Arrival, true, &own),
            "SEARCH identifier USING PRIMARY KEY (value=?)",
        ),
        (plan(vec![Filter::Type(code("1"))], SortKey::Date, true, &all), "SEARCH term USING COVERING INDEX"),
        (plan(vec![Filter::Type(code("1"))], SortKey::Date, true, &all), "SCAN d USING COVERING INDEX doc_date"),
    ];
    for (plan, expected) in cases {
        assert!(plan.contains(expected), "{expected} is not in\n{plan}");
    }
    let whole = plan(vec![], SortKey::Date, true, &all);
    let inner = whole.split("SCAN p").next().unwrap_or_default();
    assert!(!inner.contains("TEMP B-TREE"), "a page in index order is not sorted:\n{whole}");
}

const QUARTER: Duration = Duration::from_millis(250);

/// A clock that goes on by a millisecond whenever it is looked at, and now and then leaps by what is said.
#[derive(Debug, Default)]
struct Ticking {
    looks: AtomicU64,
    leap: Duration,
}

impl Clock for Ticking {
    fn now_micros(&self) -> u64 {
        1_767_225_600_000_000
    }

    fn monotonic(&self) -> Duration {
        let looks = self.looks.fetch_add(1, Ordering::Relaxed);
        Duration::from_millis(looks) + self.leap * u32::try_from(looks / 50).unwrap()
    }
}

/// A database with so many documents, of two clients in turn, and a search that matches none of them.
fn asked(documents: i64, filters: Vec<Filter>, key: SortKey, scope: &AccessScope) -> Result<Page, StoreError> {
    asked_with(Ticking::default(), documents, filters, key, scope)
}

fn asked_with(
    clock: Ticking,
    documents: i64,
    filters: Vec<Filter>,
    key: SortKey,
    scope: &AccessScope,
) -> Result<Page, StoreError> {
    let mut conn = SqliteConnection::establish(":memory:").unwrap();
    crate::store::sqlite::open::migrate(&mut conn).unwrap();
    let clock = Arc::new(clock);
    search_time::register(&mut conn, clock.clone(), QUARTER).unwrap();
    for statement in [
        "PRAGMA foreign_keys = OFF",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?) INSERT INTO doc SELECT i, 1, NULL, \
            'current', 0, 0, i, i + 1, i FROM n",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?) INSERT INTO identifier (value, system, rid) \
            SELECT 'v' || i, 's', i FROM n",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?) INSERT INTO access (party, rid, role) \
            SELECT 1, i, 1 FROM n",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?) INSERT INTO res (rid, kind, id, version, \
            updated, created, owner, state, since) SELECT i, 1, 'd' || i, 1, i, i, 1, 'ready', i FROM n",
    ] {
        sql(statement, [documents.into()]).run(&mut conn).unwrap();
    }
    let kind = Kind::DocumentReference;
    let query = Query { kind, filters, sort: Sort { key, descending: true }, count: 20, after: None, as_of: None };
    page(&mut conn, &Memory::default(), &query, scope, Began::now(clock.as_ref()))
}

#[test]
fn a_search_reads_for_a_quarter_of_a_second_and_no_longer() {
    let all = scope(Reach { all: true, custodians: Vec::new() });
    let own = scope(Reach::default());
    let none = || vec![Filter::Status(vec!["none-has-it".to_owned()])];
    let patient = || vec![Filter::Patient(vec![Target("Patient/1".to_owned())]), none().remove(0)];
    let system =
        || vec![Filter::Identifier(vec![CodeTest { system: Some("s".to_owned()), code: None }]), none().remove(0)];
    for (name, filters, key, scope) in [
        ("all", none(), SortKey::Arrival, &all),
        ("own", none(), SortKey::Arrival, &own),
        ("by date", none(), SortKey::Date, &all),
        ("by update", none(), SortKey::Updated, &all),
        ("a system", system(), SortKey::Arrival, &all),
    ] {
        let few = asked(100, filters.clone(), key, scope).unwrap();
        assert_eq!((few.rows.len(), few.total), (0, 0), "{name}");
        assert!(matches!(asked(1_000, filters, key, scope), Err(StoreError::TooCostly)), "{name}");
    }
    assert!(asked(1_000, patient(), SortKey::Date, &all).is_ok(), "nobody is this patient");
}

#[test]
fn time_in_which_the_process_did_not_run_is_not_the_searchs() {
    let all = scope(Reach { all: true, custodians: Vec::new() });
    let none = || vec![Filter::Status(vec!["none-has-it".to_owned()])];
    let stopped = || Ticking { leap: Duration::from_millis(1_200), ..Ticking::default() };
    assert!(asked_with(stopped(), 100, none(), SortKey::Arrival, &all).is_ok());
    let long = asked_with(stopped(), 1_000, none(), SortKey::Arrival, &all);
    assert!(
        matches!(long, Err(StoreError::TooCostly)),
        "it is stopped again and again, and reads for too long all the same"
    );
}
