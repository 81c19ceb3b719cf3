//! The store on SQLite: the contract, and what only holds here (files, residue, corrupt rows, prepared statements).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use daylily::domain::epoch::{Holder, Scope, Subject};
use daylily::domain::lifecycle::{self, State};
use daylily::domain::principal::Reach;
use daylily::domain::resource::Kind;
use daylily::domain::resource::Target;
use daylily::store::sqlite::{OpenError, Settings, SqliteStore};
use daylily::store::{AuditRow, NewDocument, Revocations, SealedEntry, Sent, Store, StoreError, Subscriptions};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use tempfile::TempDir;

use crate::store_build::*;
use crate::store_contract::contract;

contract!(fresh);

fn fresh() -> (Arc<SqliteStore>, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (open(dir.path()).unwrap(), dir)
}

fn open(dir: &Path) -> Result<Arc<SqliteStore>, OpenError> {
    SqliteStore::open(&dir.join("daylily.db"), HandClock::new(), "t1", Settings::default())
}

fn tamper(dir: &Path, statements: &str) {
    let path = dir.join("daylily.db");
    let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    conn.batch_execute(statements).unwrap();
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let (owner, scope) = register(store.as_ref(), "lab", Reach::default()).await;
    let new = NewDocument { files: vec![file(1, Some(b"sealed".to_vec()))], ..document("d1", owner) };
    let written = store.create_document(new, entry()).await.unwrap();
    let number = store.file(file_id(1)).await.unwrap().unwrap().document.as_ref().unwrap().number;
    let link = daylily::domain::id::LinkId::of_digest(b"one");
    let holder = Holder { reader: owner, document: number };
    let cut = store.cut(Scope::Link(link.clone()), Some(holder), at(5));
    store.revoke(cut.clone(), "why", entry_of("link.revoke"), false).await.unwrap();
    // Access was cut, and the process ended before it was written.
    let lost = store.cut(Scope::All, None, at(6));
    let head = store.audit_head().await.unwrap();
    drop(store);

    let store = open(dir.path()).unwrap();
    assert_eq!(store.audit_head().await.unwrap(), head);
    assert_eq!(store.record(entry()).await.unwrap(), head.size);
    let stored = store.read(Kind::DocumentReference, &id("d1"), &scope).await.unwrap().unwrap();
    assert_eq!((stored.document.unwrap().number, stored.updated), (number, written.updated));
    assert_eq!(store.client(&client_id("lab")).unwrap().number, owner);
    let subject = Subject { reader: owner, document: number, patient: None };
    assert_eq!(store.epochs().revoked_at(&subject, 9, &link), Some(at(5)));
    assert_eq!(store.epochs().current(&subject), cut.number, "their next link is another one");
    assert!(store.cut(Scope::All, None, at(7)).number > lost.number, "a number is never given out again");
    assert_eq!(store.inline_content(file_id(1)).await.unwrap().as_deref(), Some(b"sealed".as_slice()));
    let later = store.create_document(NewDocument { at: at(-500), ..document("d2", owner) }, entry()).await.unwrap();
    assert!(later.updated > written.updated, "stamps rise over a restart too");
    assert!(store.claim_scan(at(1), Duration::from_secs(1)).await.unwrap().is_some());
}

#[tokio::test]
async fn what_is_purged_cannot_be_found_in_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let (owner, _) = register(store.as_ref(), "lab", Reach::default()).await;
    let mut seeds = 0u64;
    let mut noise = |length: usize| {
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            seeds = seeds.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.push(u8::try_from(seeds >> 56).unwrap());
        }
        bytes
    };
    let (sealed, key) = (noise(20_000), noise(60));
    let mut new = document("d1", owner);
    new.files = vec![file(1, Some(sealed.clone()))];
    new.files[0].wrapped_key.clone_from(&key);
    new.index.identifiers = vec![identifier("urn:accession", "ACC-4711-SECRET")];
    new.body = body("{\"description\":\"Tuberkulose\"}");
    new.index.subject = Some(Target("Patient/4711-SECRET".to_owned()));
    new.index.encounters = vec![Target("Encounter/E-4711-SECRET".to_owned())];
    new.index.references = vec![Target("urn:about:SECRET-4711".to_owned()), Target("Patient/kept".to_owned())];
    store.create_document(new, entry()).await.unwrap();
    let mut kept = document("d2", owner);
    kept.index.subject = Some(Target("Patient/kept".to_owned()));
    store.create_document(kept, entry()).await.unwrap();
    let number = store.file(file_id(1)).await.unwrap().unwrap().document.as_ref().unwrap().number;
    let needles = [&sealed[5_000..5_040], &key[..], b"ACC-4711-SECRET", b"Mustermann", b"Tuberkulose"];
    let references: [&[u8]; 3] = [b"Patient/4711-SECRET", b"E-4711-SECRET", b"urn:about:SECRET-4711"];
    let needles = [needles.as_slice(), &references].concat();
    let holds = |needle: &[u8]| {
        std::fs::read_dir(dir.path()).unwrap().any(|file| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            bytes.windows(needle.len()).any(|window| window == needle)
        })
    };
    assert!(needles.iter().all(|needle| holds(needle)), "the search finds what is there");
    let purge = lifecycle::purge(State::Created, "default", stamp(9, None)).unwrap();
    store.purge(number, purge, entry_of("document.purge")).await.unwrap();
    store.close().await;
    for needle in needles {
        assert!(!holds(needle), "{}", String::from_utf8_lossy(needle));
    }
    assert!(holds(b"Patient/kept"), "what another document uses stays");
}

#[tokio::test]
async fn files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (store, dir) = fresh();
    store.record(entry()).await.unwrap();
    let mut seen = 0;
    for file in std::fs::read_dir(dir.path()).unwrap() {
        assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        seen += 1;
    }
    assert_eq!(seen, 3, "database, log and its index");
}

#[tokio::test]
async fn a_path_may_hold_any_character() {
    let dir = tempfile::tempdir().unwrap();
    let odd = dir.path().join("50% of? #1 ü");
    std::fs::create_dir(&odd).unwrap();
    let store = open(&odd).unwrap();
    store.record(entry()).await.unwrap();
    assert_eq!(store.audit_rows(0, 1).await.unwrap().len(), 1);
    assert!(odd.join("daylily.db").exists());
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_an_error_that_names_it() {
    let (store, dir) = fresh();
    let (owner, scope) = register(store.as_ref(), "lab", Reach::default()).await;
    store.create_document(document("d1", owner), entry()).await.unwrap();
    tamper(dir.path(), "UPDATE res SET state = 'gone' WHERE rid = 1");
    let error = store.read(Kind::DocumentReference, &id("d1"), &scope).await.unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt { table: "res", column: "state", row } if row == "1"), "{error}");
    tamper(dir.path(), "UPDATE res SET state = 'created' WHERE rid = 1; UPDATE body SET packed = x'0102'");
    let error = store.read(Kind::DocumentReference, &id("d1"), &scope).await.unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { column: "body", .. }), "{error}");
    tamper(dir.path(), "UPDATE client SET key_source = 'paper'");
    drop(store);
    assert!(matches!(open(dir.path()), Err(OpenError::Store(StoreError::Corrupt { table: "client", .. }))));
}

#[tokio::test]
async fn data_of_a_newer_version_are_not_opened() {
    let (store, dir) = fresh();
    drop(store);
    tamper(dir.path(), "INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')");
    assert!(matches!(open(dir.path()), Err(OpenError::Newer { found }) if found == "9999"));
}

#[tokio::test]
async fn f64_a_schema_that_is_not_the_one_that_was_made_is_not_opened_and_not_mended() {
    let drift = [
        ("DROP INDEX res_updated", "index res_updated is missing or changed"),
        ("DROP TABLE idempotency", "column idempotency."),
        ("ALTER TABLE client DROP COLUMN disabled", "column client.disabled is missing or changed"),
        ("ALTER TABLE client ADD COLUMN more TEXT", "column client.more is not known here"),
        ("CREATE TABLE more (name TEXT)", "column more.name is not known here"),
        ("CREATE TRIGGER quiet AFTER INSERT ON audit BEGIN SELECT 1; END", "trigger quiet is not known here"),
        ("CREATE VIEW seen AS SELECT 1", "is not known here"),
    ];
    for (statement, told) in drift {
        let (store, dir) = fresh();
        drop(store);
        tamper(dir.path(), statement);
        let before = std::fs::read(dir.path().join("daylily.db")).unwrap();
        let what = match open(dir.path()) {
            Err(OpenError::Schema { what }) => what,
            other => panic!("{statement}: {other:?}"),
        };
        assert!(what.contains(told), "{statement}: {what}");
        assert_eq!(std::fs::read(dir.path().join("daylily.db")).unwrap(), before, "{statement}: nothing is mended");
    }
    let (store, dir) = fresh();
    drop(store);
    tamper(dir.path(), "CREATE INDEX operators_own ON client (created)");
    assert!(open(dir.path()).is_ok(), "an index more is nobody's harm");
}

/// Numbers, from 0, of the pages that are not walked at a start: those of the table of sealed contents.
fn spared_pages(path: &Path) -> Vec<usize> {
    #[derive(QueryableByName)]
    struct Root {
        #[diesel(sql_type = diesel::sql_types::BigInt)]
        page: i64,
    }
    let mut conn = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    let query = "SELECT rootpage AS page FROM sqlite_schema WHERE tbl_name = 'content' AND rootpage > 0";
    let roots: Vec<Root> = diesel::sql_query(query).load(&mut conn).unwrap();
    roots.iter().map(|root| usize::try_from(root.page - 1).unwrap()).collect()
}

#[tokio::test]
async fn f40_a_file_with_damaged_pages_is_not_opened() {
    let (store, dir) = fresh();
    for _ in 0..50 {
        store.record(entry()).await.unwrap();
    }
    drop(store);
    let path = dir.path().join("daylily.db");
    let whole = std::fs::read(&path).unwrap();
    let pages = whole.len() / 4_096;
    let spared = spared_pages(&path);
    assert!(spared.len() < pages / 10, "{spared:?} of {pages}");
    let mut later = 0;
    for page in (0..pages).filter(|page| !spared.contains(page)) {
        // The page's own header: its kind and the places of its cells.
        let mut changed = whole.clone();
        let start = page * 4_096 + if page == 0 { 100 } else { 0 };
        changed[start..start + 8].iter_mut().for_each(|byte| *byte ^= 0x55);
        std::fs::write(&path, &changed).unwrap();
        match open(dir.path()) {
            Ok(store) => {
                // Of the log and what is made from it: whoever reads it whole comes upon it.
                let found = [store.audit_rows(0, 100).await.map(drop), store.check_pages().await];
                let found = found.iter().any(|found| matches!(found, Err(StoreError::Damaged(_))));
                assert!(found, "page {page} of {pages}");
                later += 1;
            }
            Err(failure) => {
                let known = matches!(failure, OpenError::Damaged | OpenError::Store(_) | OpenError::AuditLog);
                assert!(known, "page {page} of {pages}: {failure:?}");
            }
        }
    }
    assert!(later < pages / 4, "{later} of {pages} are found by the open store only");
    for (name, bytes) in [("no database", vec![7; 8_192]), ("half of it", whole[..whole.len() / 2].to_vec())] {
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(open(dir.path()), Err(OpenError::Damaged)), "{name}");
    }
    std::fs::write(&path, whole).unwrap();
    assert!(open(dir.path()).is_ok());
}

#[tokio::test]
async fn entries_are_read_by_bytes_too_and_at_least_one() {
    let (store, _dir) = fresh();
    for megabytes in [5, 5, 5, 20, 1] {
        store.record(SealedEntry { cells: vec![0; megabytes << 20], ..entry() }).await.unwrap();
    }
    let numbers = |rows: Vec<AuditRow>| rows.iter().map(|row| row.seq).collect::<Vec<_>>();
    let from = async |first| numbers(store.audit_rows(first, 10).await.unwrap());
    assert_eq!(
        (from(0).await, from(2).await, from(3).await, from(4).await),
        (vec![0, 1], vec![2, 3], vec![3], vec![4])
    );
    let before = async |end| numbers(store.audit_rows_before(end, 10).await.unwrap());
    assert_eq!((before(5).await, before(4).await, before(3).await), (vec![3, 4], vec![3], vec![1, 2]));
    assert!(before(0).await.is_empty());
    let hashes = store.audit_hashes(1, 3).await.unwrap();
    assert_eq!(hashes.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [1, 2, 3]);
}

#[tokio::test]
async fn a_log_that_does_not_fit_its_summary_is_not_opened() {
    for damage in [
        "DELETE FROM audit WHERE seq = 2",
        "UPDATE audit_head SET frontier = x'00'",
        "UPDATE audit SET hash = zeroblob(32) WHERE seq = 2",
        "DELETE FROM audit_head",
        "INSERT INTO audit SELECT -1, body, hash, cells FROM audit WHERE seq = 1",
    ] {
        let (store, dir) = fresh();
        for _ in 0..3 {
            store.record(entry()).await.unwrap();
        }
        drop(store);
        tamper(dir.path(), damage);
        assert!(matches!(open(dir.path()), Err(OpenError::AuditLog)), "{damage}");
    }
}

#[tokio::test]
async fn an_action_outside_the_closed_list_is_not_recorded() {
    let (store, _dir) = fresh();
    assert!(store.record(entry_of("document.invented")).await.is_err());
    assert_eq!(store.record(entry()).await.unwrap(), 0, "and no number is lost by it");
}

#[tokio::test]
async fn the_library_is_built_as_it_should_be() {
    let (store, _dir) = fresh();
    let health = store.health().await.unwrap();
    let migrations = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/sqlite")).unwrap();
    assert_eq!(usize::try_from(health.schema).unwrap(), migrations.count());
    assert!(
        health.description.starts_with("SQLite 3.") && health.description.contains("THREADSAFE=2"),
        "{}",
        health.description
    );
}

#[tokio::test]
async fn a_claim_of_a_process_that_died_is_taken_back_with_what_waited() {
    use crate::store_contract::{ready, subscribe};
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let (owner, scope) = register(store.as_ref(), "lab", Reach::default()).await;
    subscribe(store.as_ref(), "s1", owner, ready(), vec![]).await;
    store.create_document(document("d1", owner), entry()).await.unwrap();
    let stored = store.read(Kind::DocumentReference, &id("d1"), &scope).await.unwrap().unwrap();
    let number = stored.document.unwrap().number;
    store.transition(number, released(&[1], 1_000), vec![]).await.unwrap();
    let lost = store.claim_turns(at(1_000), Duration::from_secs(60), 10, 10).await.unwrap().remove(0);
    drop(store);

    let store = open(dir.path()).unwrap();
    let turn = store.claim_turns(at(1_000), Duration::from_secs(60), 10, 10).await.unwrap().remove(0);
    assert!(turn.fence > lost.fence);
    assert!(
        matches!(&turn.work, daylily::store::Work::Events(events) if events.len() == 1 && events[0].event.number == 1)
    );
    assert!(!store.settle_turn(&lost, vec![], false, at(1_000), vec![]).await.unwrap());
    assert!(store.settle_turn(&turn, vec![Sent::Delivered { number: 1 }], false, at(1_000), vec![]).await.unwrap());
}

#[tokio::test]
async fn a_filter_that_cannot_be_read_tells_nothing_and_holds_up_no_document() {
    use crate::store_contract::{ready, subscribe};
    let (store, dir) = fresh();
    let (owner, scope) = register(store.as_ref(), "lab", Reach::default()).await;
    subscribe(store.as_ref(), "s1", owner, ready(), vec![]).await;
    subscribe(store.as_ref(), "s2", owner, ready(), vec![]).await;
    store.create_document(document("d1", owner), entry()).await.unwrap();
    tamper(dir.path(), "UPDATE subscription SET filters = '{\"v\":9,\"all\":[]}' WHERE rid = 1");
    let stored = store.read(Kind::DocumentReference, &id("d1"), &scope).await.unwrap().unwrap();
    store.transition(stored.document.unwrap().number, released(&[1], 1_000), vec![]).await.unwrap();
    let turns = store.claim_turns(at(1_000), Duration::from_secs(60), 10, 10).await.unwrap();
    assert_eq!(turns.iter().map(|turn| turn.subscription.id.as_str()).collect::<Vec<_>>(), ["s2"]);
    tamper(dir.path(), "UPDATE subscription SET filters = '{\"v\":1,\"all\":[]}' WHERE rid = 1");
    let stopped = store.subscription(&id("s1"), owner).await.unwrap().unwrap();
    assert_eq!((stopped.status, stopped.counter), (daylily::domain::subscription::SubscriptionStatus::Error, 0));
}

#[tokio::test]
async fn f21_a_turn_is_noted_before_it_begins_and_each_death_in_it_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let lease = Duration::from_secs(600);
    let store = open(dir.path()).unwrap();
    let (owner, _) = register(store.as_ref(), "lab", Reach::default()).await;
    let new = NewDocument { files: vec![file(1, None)], ..document("d1", owner) };
    store.create_document(new, entry()).await.unwrap();
    // What is given back in order is no death.
    let job = store.claim_scan(at(0), lease).await.unwrap().unwrap();
    assert!(store.retry_scan(&job, at(0)).await.unwrap());
    drop(store);
    // Deaths so far, and when the job is due after them; the clock of these stores stands at `at(0)`.
    for (deaths, due) in [(0, 0), (1, 0), (2, 4_000), (3, 6_000), (4, 8_000), (5, 0), (6, 0)] {
        let store = open(dir.path()).unwrap();
        if due > 0 {
            assert!(store.claim_scan(at(due - 1), lease).await.unwrap().is_none(), "others come first");
        }
        let job = store.claim_scan(at(due), lease).await.unwrap().expect("due");
        assert_eq!((job.unended, job.attempts), (deaths, deaths + 1));
    }
    let store = open(dir.path()).unwrap();
    let job = store.claim_scan(at(0), lease).await.unwrap().unwrap();
    assert!(store.scan_broke_off(&job, at(7)).await.unwrap());
    assert_eq!(store.claim_scan(at(7), lease).await.unwrap().map(|job| job.unended), Some(8));
    assert!(!store.scan_broke_off(&job, at(7)).await.unwrap(), "the claim is another's");
}

#[tokio::test]
async fn a_scan_job_that_cannot_be_read_keeps_no_other_from_its_turn() {
    let (store, dir) = fresh();
    let (owner, _) = register(store.as_ref(), "lab", Reach::default()).await;
    for number in 1..=3 {
        let new = NewDocument { files: vec![file(number, None)], ..document(&format!("d{number}"), owner) };
        store.create_document(new, entry()).await.unwrap();
    }
    // The two that have waited longest: one with a decision that is not there, one without a document.
    let change = "UPDATE res SET decision = 999999 WHERE id = 'd1'; \
        PRAGMA foreign_keys = OFF; UPDATE scan_job SET rid = -1 WHERE rid = (SELECT rid FROM res WHERE id = 'd2')";
    tamper(dir.path(), change);
    let lease = Duration::from_secs(60);
    let claimed = store.claim_scan(at(1_000), lease).await.unwrap().expect("the one behind them");
    assert_eq!(claimed.id, id("d3"));
    assert!(store.claim_scan(at(1_000), lease).await.unwrap().is_none(), "each waits for its lease");
    // What was mended is claimed when its turn comes again.
    tamper(dir.path(), "UPDATE res SET decision = (SELECT decision FROM res WHERE id = 'd3') WHERE id = 'd1'");
    let mended = store.claim_scan(at(61_000), lease).await.unwrap().expect("mended");
    assert_eq!((mended.id, mended.attempts), (id("d1"), 1));
}

#[tokio::test]
async fn f28_a_database_that_fails_to_match_an_event_blames_no_subscription() {
    let (store, dir) = fresh();
    let (owner, scope) = register(store.as_ref(), "lab", Reach::default()).await;
    crate::store_contract::subscribe(store.as_ref(), "s1", owner, crate::store_contract::ready(), vec![]).await;
    store.create_document(document("d1", owner), entry()).await.unwrap();
    let stored = store.read(Kind::DocumentReference, &id("d1"), &scope).await.unwrap().unwrap();
    let number = stored.document.unwrap().number;
    // What is only read in the matching cannot be read.
    tamper(dir.path(), "ALTER TABLE access RENAME TO access_gone");
    assert!(store.transition(number, released(&[1], 10), vec![entry()]).await.is_err());
    tamper(dir.path(), "ALTER TABLE access_gone RENAME TO access");
    let subscription = store.subscription(&id("s1"), owner).await.unwrap().unwrap();
    assert_eq!(subscription.status, daylily::domain::subscription::SubscriptionStatus::Active);
    store.transition(number, released(&[1], 20), vec![entry()]).await.unwrap();
    let turns = store.claim_turns(at(1_000), Duration::from_secs(60), 10, 100).await.unwrap();
    assert_eq!(turns.len(), 1, "and it is told");
}
