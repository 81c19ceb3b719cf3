//! Which index each search walks, which statements are kept, and when a search has read enough.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::page::{Step, begin, page_statement};
use super::*;
use crate::domain::clock::Clock;
use crate::domain::id::ClientId;
use crate::domain::principal::{AttachmentUrl, ClientNumber, Interaction, Permissions, Principal, Reach};
use crate::store::Page;
use crate::store::sqlite::memory::Memory;
use crate::store::sqlite::read::Reading;
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

#[test]
fn only_a_search_by_id_is_read_on_the_worker() {
    let id = || Filter::Id(vec![crate::domain::id::ResourceId::parse("1").unwrap()]);
    let code = |code: Option<&str>| vec![CodeTest { system: Some("s".to_owned()), code: code.map(str::to_owned) }];
    let target = || vec![Target("Patient/1".to_owned())];
    let is = |filters| {
        let (kind, sort) = (Kind::DocumentReference, Sort::default());
        is_by_id(&Query { kind, filters, sort, count: 20, after: None, as_of: None })
    };
    assert!(is(vec![id()]) && is(vec![id(), id()]));
    for other in [
        Filter::Identifier(code(None)),
        Filter::Identifier(code(Some("1"))),
        Filter::PatientIdentifier(code(Some("1"))),
        Filter::Patient(target()),
        Filter::Subject(target()),
        Filter::Encounter(target()),
    ] {
        assert!(!is(vec![other.clone()]) && !is(vec![id(), other]));
    }
    assert!(!is(vec![]));
}

/// Every filter that a Subscription may have, of a kind that many documents share.
fn shared() -> Vec<Filter> {
    let system = || vec![CodeTest { system: Some("s".to_owned()), code: None }];
    let target = |text: &str| vec![Target(text.to_owned())];
    vec![
        Filter::Identifier(system()),
        Filter::PatientIdentifier(system()),
        Filter::Encounter(target("Encounter/1")),
        Filter::Type(system()),
        Filter::Category(system()),
        Filter::Patient(target("Patient/1")),
        Filter::Custodian(target("Organization/1")),
    ]
}

#[test]
fn whether_one_document_matches_is_read_from_its_own_rows() {
    let mut conn = SqliteConnection::establish(":memory:").unwrap();
    crate::store::sqlite::open::migrate(&mut conn).unwrap();
    let own = scope(Reach::default());
    for filter in shared() {
        let mut statement = sql("EXPLAIN QUERY PLAN ", []);
        statement.append(one::statement(1, std::slice::from_ref(&filter), &own));
        let steps: Vec<(i64, i64, i64, String)> = statement.rows(&mut conn).unwrap();
        let plan: String = steps.into_iter().map(|(_, _, _, step)| step + "\n").collect();
        let expected = match filter {
            Filter::Identifier(_) => "USING COVERING INDEX identifier_rid (rid=?",
            Filter::PatientIdentifier(_) => "USING INDEX res_target (target=?",
            Filter::Encounter(_) => "USING COVERING INDEX ref_rid (rid=?",
            Filter::Type(_) | Filter::Category(_) => "USING INTEGER PRIMARY KEY (rowid=?)",
            _ => "SEARCH d USING INTEGER PRIMARY KEY (rowid=?)",
        };
        assert!(plan.contains(expected), "{expected} is not in\n{plan}");
        // Lists that the filter brings (`json_each`), and what has a `LIMIT` of its own, are all that may be walked.
        let bounded = |step: &&str| step.contains("json_each") || step.contains("SCAN (subquery-");
        let walked = plan.lines().filter(|step| step.contains("SCAN") && !bounded(step));
        assert_eq!(walked.filter(|step| !step.contains(" j VIRTUAL TABLE")).collect::<Vec<_>>(), [""; 0], "{plan}");
    }
}

/// This thread's processor time, so that what else the machine does is not counted; the least of some turns.
fn work(mut run: impl FnMut()) -> i64 {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec * 1_000_000_000 + time.tv_nsec
    };
    let once = |_| {
        let began = now();
        run();
        now() - began
    };
    (0..5).map(once).min().unwrap()
}

/// Documents of one client, each with the codes, identifiers, encounter and subject that the others have as well.
fn alike(documents: i64) -> SqliteConnection {
    let mut conn = SqliteConnection::establish(":memory:").unwrap();
    crate::store::sqlite::open::migrate(&mut conn).unwrap();
    for statement in [
        "INSERT INTO term (number, code, system) SELECT value, 'c' || value, 's' FROM generate_series(1, ?)",
        "INSERT INTO term_set (number, terms) SELECT value, value FROM generate_series(1, ?)",
        "INSERT INTO term_set_member (term, term_set) SELECT value, value FROM generate_series(1, ?)",
        "INSERT INTO identifier (value, system, rid) SELECT 'v' || value, 's', value FROM generate_series(1, ?)",
        "INSERT INTO access (party, rid, role) SELECT 1, value, 1 FROM generate_series(1, ?)",
        "INSERT INTO ref (target, role, rid) SELECT 3, 3, value FROM generate_series(1, ?)",
        "INSERT INTO ref (target, role, rid) SELECT 1, 1, value FROM generate_series(1, ?)",
        "INSERT INTO doc SELECT value, 1, 2, 'current', value, value, value, value + 1, value FROM generate_series(1, ?)",
        "INSERT INTO res (rid, kind, id, version, updated, created, owner, state, since) \
            SELECT value, 1, 'd' || value, 1, value, value, 1, 'ready', value FROM generate_series(1, ?)",
    ] {
        let mut whole = Sql::default();
        let (before, after) = statement.split_once("generate_series(1, ?)").unwrap();
        whole.push(
            "WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n LIMIT ?) ",
            [documents.into()],
        );
        whole.push(before, []);
        whole.push("n", []);
        whole.push(after, []);
        whole.run(&mut conn).unwrap();
    }
    for (number, text) in [(1, "Patient/1"), (2, "Organization/1"), (3, "Encounter/1")] {
        let values = [i64::from(number).into(), text.into()];
        sql("INSERT INTO target (number, text) VALUES (?, ?)", values).run(&mut conn).unwrap();
    }
    // Another client's resource, which each of the documents names.
    let patient = "INSERT INTO res (rid, kind, id, version, updated, created, owner, since, target) \
        VALUES (?, 3, '1', 1, 1, 1, 2, 1, 1)";
    sql(patient, [(documents + 1).into()]).run(&mut conn).unwrap();
    let identifier = "INSERT INTO identifier (value, system, rid) VALUES ('p', 's', ?)";
    sql(identifier, [(documents + 1).into()]).run(&mut conn).unwrap();
    conn
}

#[test]
fn whether_one_document_matches_costs_the_same_however_many_are_like_it() {
    let own = scope(Reach::default());
    let (mut few, mut many) = (alike(20), alike(20_000));
    for filter in shared() {
        let filters = [filter];
        let asked = |conn: &mut SqliteConnection| {
            work(|| {
                one::matches(conn, 7, &filters, &own).unwrap();
            })
        };
        let (few, many) = (asked(&mut few), asked(&mut many));
        assert!(many < 20 * few, "{filters:?}: {few} ns, and {many} ns among a thousand times as many");
    }
}

#[test]
fn whether_a_reference_dangles_costs_the_same_however_often_its_sender_has_named_it() {
    let own = scope(Reach::default());
    let (mut few, mut many) = (alike(20), alike(20_000));
    let target = [Target("Patient/1".to_owned())];
    let asked = |conn: &mut SqliteConnection| {
        work(|| {
            let shown = visibility::targets(conn, &target, &own).unwrap();
            assert_eq!(visibility::settled(conn, shown, &own, Began::default()).unwrap(), [false]);
        })
    };
    let (few, many) = (asked(&mut few), asked(&mut many));
    assert!(many < 20 * few, "{few} ns, and {many} ns of one that has named it a thousand times as often");
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
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?) INSERT INTO ref (target, role, rid) \
            SELECT 1, 3, i FROM n",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?) INSERT INTO term (number, code, system) \
            SELECT i, 'c' || i, 's' FROM n",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?) INSERT INTO access (party, rid, role) \
            SELECT 1, i, 1 FROM n",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?) INSERT INTO res (rid, kind, id, version, \
            updated, created, owner, state, since) SELECT i, 1, 'd' || i, 1, i, i, 1, 'ready', i FROM n",
    ] {
        sql(statement, [documents.into()]).run(&mut conn).unwrap();
    }
    sql("INSERT INTO target (number, text) VALUES (1, 'Encounter/1')", []).run(&mut conn).unwrap();
    let kind = Kind::DocumentReference;
    let query = Query { kind, filters, sort: Sort { key, descending: true }, count: 20, after: None, as_of: None };
    let mut reading = Reading { conn: &mut conn, memory: &Memory::default(), committed: true };
    match begin(&mut reading, &query, scope, Began::now(clock.as_ref()))? {
        Step::Whole(page) => Ok(page),
        Step::Begun(_) => panic!("there are no texts"),
    }
}

#[test]
fn a_search_reads_for_a_quarter_of_a_second_and_no_longer() {
    let all = scope(Reach { all: true, custodians: Vec::new() });
    let own = scope(Reach::default());
    let none = || vec![Filter::Status(vec!["none-has-it".to_owned()])];
    let patient = || vec![Filter::Patient(vec![Target("Patient/1".to_owned())]), none().remove(0)];
    let system =
        || vec![Filter::Identifier(vec![CodeTest { system: Some("s".to_owned()), code: None }]), none().remove(0)];
    // Of one document: only what stands beside its id is walked.
    let id = || Filter::Id(vec![crate::domain::id::ResourceId::parse("d7").unwrap()]);
    let among = |filter| vec![id(), filter, none().remove(0)];
    let encounter = || Filter::Encounter(vec![Target("Encounter/1".to_owned())]);
    let coded = || Filter::Type(vec![CodeTest { system: Some("s".to_owned()), code: None }]);
    for (name, filters, key, scope) in [
        ("all", none(), SortKey::Arrival, &all),
        ("own", none(), SortKey::Arrival, &own),
        ("by date", none(), SortKey::Date, &all),
        ("by update", none(), SortKey::Updated, &all),
        ("a system", system(), SortKey::Arrival, &all),
        ("an encounter", among(encounter()), SortKey::Arrival, &all),
        ("codes", among(coded()), SortKey::Arrival, &all),
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
