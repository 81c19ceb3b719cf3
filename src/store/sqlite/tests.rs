//! What the store does when the database fails, and what it prepares: seen from inside, because nothing outside can make it so.

use std::sync::Mutex;
use std::time::Duration;

use diesel::connection::{Instrumentation, InstrumentationEvent, SimpleConnection};

use super::*;
use crate::domain::clock::Timestamp;
use crate::domain::clock_watch::Destroyable;
use crate::store::{SealedEntry, Store, Writing};

#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now_micros(&self) -> u64 {
        1_767_225_600_000_000
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

fn open() -> (Arc<SqliteStore>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings { readers: 1, ..Settings::default() };
    let store = SqliteStore::open(&dir.path().join("daylily.db"), Arc::new(Still), "t1", settings).unwrap();
    (store, dir)
}

fn entry(cells: usize) -> SealedEntry {
    let (action, outcome) = ("search", "ok");
    SealedEntry { action, outcome, commitment: [1; 32], cells: vec![7; cells], given: Vec::new() }
}

async fn on_writer(store: &SqliteStore, statement: &'static str) {
    let run = store.writer.run_plain(move |tx| sql(statement, []).rows::<(i64,)>(tx.conn).map(drop));
    run.await.unwrap();
}

#[tokio::test]
async fn a_full_disk_refuses_what_does_not_fit_and_nothing_is_lost() {
    let (store, _dir) = open();
    assert_eq!(store.record(entry(10)).await.unwrap(), 0);
    // As many pages as there are now.
    on_writer(&store, "PRAGMA max_page_count = 1").await;
    assert!(matches!(store.record(entry(200_000)).await, Err(StoreError::Full)));
    let small = store.record(entry(10)).await.unwrap();
    assert_eq!(small, 1, "a number is not lost with what was refused");
    on_writer(&store, "PRAGMA max_page_count = 100000").await;
    assert_eq!(store.record(entry(200_000)).await.unwrap(), 2);
    assert!(store.health().await.is_ok());
}

#[tokio::test]
async fn f19_a_write_that_panics_is_refused_and_the_next_is_taken() {
    let (store, _dir) = open();
    assert_eq!(store.record(entry(10)).await.unwrap(), 0);
    let broken = store.writer.run(|tx| -> Result<(), StoreError> {
        tx.append(entry(10))?;
        panic!("a job")
    });
    assert!(matches!(broken.await, Err(StoreError::Unavailable(_))));
    assert_eq!(store.record(entry(10)).await.unwrap(), 1, "nothing of the batch was kept, and no number is lost");
    assert!(store.health().await.is_ok());
}

#[tokio::test]
async fn a_commit_that_is_refused_is_undone_and_writing_goes_on() {
    let (store, _dir) = open();
    store.record(entry(10)).await.unwrap();
    // A constraint that is only looked at in the commit stands for a commit that fails.
    let refused = store.writer.run(|tx| {
        tx.append(entry(10))?;
        sql("PRAGMA defer_foreign_keys = ON", []).run(tx.conn)?;
        let insert = "INSERT INTO client VALUES (99, NULL, '', 0, '[]', 'link', '[]', 'inline', '{}', 0, 1, 0)";
        sql(insert, []).run(tx.conn)
    });
    assert!(matches!(refused.await, Err(StoreError::Unavailable(_))));
    assert_eq!(store.writing(), Writing::Failing, "as soon as it is known");
    assert_eq!(store.record(entry(10)).await.unwrap(), 1, "nothing of it was kept, and no number is lost");
    assert_eq!(store.writing(), Writing::Open);
    assert!(store.health().await.is_ok());
}

/// The writer's connection panics when a commit begins, or once it is done: a fault that leaves open what became of it.
fn breaks_commits(conn: &mut SqliteConnection, once_done: bool) {
    conn.set_instrumentation(move |event: InstrumentationEvent<'_>| {
        let (query, is_done) = match event {
            InstrumentationEvent::StartQuery { query, .. } => (query.to_string(), false),
            InstrumentationEvent::FinishQuery { query, .. } => (query.to_string(), true),
            _ => return,
        };
        assert!(is_done != once_done || !query.starts_with("COMMIT"), "a fault in the commit");
    });
}

/// What readers of the log see is what its rows make.
async fn holds(store: &SqliteStore, entries: usize) {
    let rows = store.audit_rows(0, 100).await.unwrap();
    let hashes = rows.iter().map(|row| <[u8; 32]>::try_from(row.hash.as_slice()).unwrap());
    let frontier: crate::domain::audit::Frontier = hashes.collect();
    assert_eq!((rows.len(), store.audit_head().await.unwrap().frontier), (entries, frontier.encode()));
}

#[tokio::test]
async fn a_commit_that_was_done_when_its_connection_broke_is_found_and_answered_for() {
    let (store, _dir) = open();
    store.record(entry(10)).await.unwrap();
    let broken = store.writer.run(|tx| {
        breaks_commits(tx.conn, true);
        tx.effects.changes += 1;
        tx.append(entry(10))
    });
    assert_eq!(broken.await.unwrap(), 1, "it is there, as a new connection reads it");
    assert_eq!((store.state_changes(), store.writing()), (1, Writing::Open), "and counts in memory too");
    assert_eq!(store.record(entry(10)).await.unwrap(), 2, "the new connection writes");
    holds(&store, 3).await;
}

#[tokio::test]
async fn a_commit_that_was_not_begun_when_its_connection_broke_is_undone() {
    let (store, _dir) = open();
    store.record(entry(10)).await.unwrap();
    let broken = store.writer.run(|tx| {
        breaks_commits(tx.conn, false);
        tx.effects.changes += 1;
        tx.append(entry(10))
    });
    assert!(matches!(broken.await, Err(StoreError::Unavailable(_))));
    assert_eq!((store.state_changes(), store.writing()), (0, Writing::Failing));
    holds(&store, 1).await;
}

#[tokio::test]
async fn a_transaction_that_is_gone_is_left_with_its_connection() {
    let (store, _dir) = open();
    store.record(entry(10)).await.unwrap();
    let of_this_connection = "CREATE TEMP TABLE of_this_connection (x)";
    on_writer(&store, of_this_connection).await;
    let gone = store.writer.run(|tx| {
        tx.append(entry(10))?;
        sql("ROLLBACK", []).run(tx.conn)
    });
    assert!(matches!(gone.await, Err(StoreError::Unavailable(_))));
    assert_eq!(store.record(entry(10)).await.unwrap(), 1, "no number is lost");
    on_writer(&store, of_this_connection).await;
    holds(&store, 2).await;
}

/// Without an entry nothing tells whether the commit is there: only the next start may say so.
#[tokio::test]
async fn a_commit_that_nothing_tells_of_ends_all_writing() {
    let (store, _dir) = open();
    let broken = store.writer.run(|tx| {
        breaks_commits(tx.conn, true);
        Ok(())
    });
    assert!(matches!(broken.await, Err(StoreError::Unknown(_))));
    assert_eq!(store.writing(), Writing::Ended);
    assert!(matches!(store.record(entry(10)).await, Err(StoreError::Unavailable(_))), "nothing more is taken");
    assert!(store.writing().trouble().is_some(), "and readiness is over");
}

#[tokio::test]
async fn one_job_that_fails_or_panics_leaves_the_others_of_its_batch_alone() {
    let (store, _dir) = open();
    let job = |number: usize| {
        let store = &store;
        async move {
            match number {
                7 => {
                    let failing = store.writer.run_plain(|tx| {
                        tx.append(entry(10))?;
                        sql("INSERT INTO no_such_table VALUES (1)", []).run(tx.conn).map(|_| 0)
                    });
                    failing.await
                }
                13 => store.writer.run(|_| -> Result<u64, StoreError> { panic!("a job") }).await,
                _ => store.record(entry(number)).await,
            }
        }
    };
    let results = futures_util::future::join_all((0..40).map(job)).await;
    let failed: Vec<usize> = (0..40).filter(|number| results[*number].is_err()).collect();
    assert_eq!(failed, [7, 13]);
    let numbers: std::collections::BTreeSet<u64> = results.into_iter().filter_map(Result::ok).collect();
    assert!(numbers.into_iter().eq(0..38), "no number is lost");
    assert_eq!(store.writing(), Writing::Open);
}

/// Bytes of the log beside a reader that keeps its picture while so much is written.
async fn written_beside_a_reader(store: &SqliteStore, dir: &tempfile::TempDir) -> (SqliteConnection, u64) {
    let path = dir.path().join("daylily.db");
    let mut reader = SqliteConnection::establish(path.to_str().unwrap()).unwrap();
    store.record(entry(10)).await.unwrap();
    reader.batch_execute("BEGIN; SELECT count(*) FROM audit;").unwrap();
    for _ in 0..4 {
        let written = futures_util::future::join_all((0..200).map(|_| store.record(entry(100_000)))).await;
        assert!(written.iter().all(Result::is_ok));
    }
    (reader, store.location.log_bytes())
}

#[tokio::test]
async fn f52_the_log_shrinks_once_a_long_reader_is_gone_and_nothing_waits_for_it() {
    let (store, dir) = open();
    let (reader, grown) = written_beside_a_reader(&store, &dir).await;
    assert!(grown > 64 << 20, "the reader keeps its picture, so nothing can be written over: {grown}");
    drop(reader);
    let shrunk = async {
        while store.location.log_bytes() > 64 << 20 {
            store.record(entry(10)).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), shrunk).await.expect("the log shrinks");
    assert_eq!(store.log_copies().failed, 0);
}

#[tokio::test]
async fn a_reader_of_the_log_keeps_no_picture_between_two_reads() {
    let (store, dir) = open();
    store.record(entry(10)).await.unwrap();
    let reader = LogReader::open(&dir.path().join("daylily.db")).unwrap();
    assert_eq!(reader.rows(0, 10).await.unwrap().len(), 1);
    store.record(entry(10)).await.unwrap();
    assert_eq!(reader.head().await.unwrap().size, 2);
    let mut other = open::writer(&store.location).unwrap();
    let done: Option<(i64, i64, i64)> = sql("PRAGMA wal_checkpoint(TRUNCATE)", []).row(&mut other).unwrap();
    assert_eq!(done, Some((0, 0, 0)), "nobody is in the way");
}

#[tokio::test]
async fn an_entry_of_a_job_that_fails_is_undone_with_it_inside_its_batch() {
    let (store, _dir) = open();
    let job = |number: usize| {
        let store = &store;
        store.writer.run(move |tx| {
            let seq = tx.append(entry(number))?;
            tx.effects.changes += 1;
            if number % 2 == 1 { Err(StoreError::Changed) } else { Ok(seq) }
        })
    };
    let results = futures_util::future::join_all((0..20).map(job)).await;
    let numbers = results.into_iter().filter_map(Result::ok).collect::<Vec<_>>();
    assert!(numbers.into_iter().eq(0..10));
    let rows = store.audit_rows(0, 100).await.unwrap();
    assert!(rows.iter().map(|row| row.cells.len()).eq((0..20).step_by(2)));
    let hashes = rows.iter().map(|row| <[u8; 32]>::try_from(row.hash.as_slice()).unwrap());
    let frontier: crate::domain::audit::Frontier = hashes.collect();
    assert_eq!(store.audit_head().await.unwrap().frontier, frontier.encode());
    assert_eq!(store.state_changes(), 10, "nor does it show in memory");
}

#[tokio::test]
async fn a_failing_database_takes_its_whole_batch_and_no_more() {
    let (store, _dir) = open();
    let failing = store.writer.run(|tx| {
        tx.append(entry(10))?;
        sql("INSERT INTO no_such_table VALUES (1)", []).run(tx.conn)
    });
    assert!(matches!(failing.await, Err(StoreError::Unavailable(_))));
    assert_eq!(store.record(entry(10)).await.unwrap(), 0);
}

#[derive(Debug, Clone, Default)]
struct Prepared(Arc<Mutex<Vec<String>>>);

impl Instrumentation for Prepared {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        if let InstrumentationEvent::CacheQuery { sql, .. } = event {
            self.0.lock().unwrap().push(sql.to_owned());
        }
    }
}

#[tokio::test]
async fn reading_prepares_nothing_once_it_is_warm() {
    let (store, _dir) = open();
    let prepared = Prepared::default();
    // The only connection there is.
    store.readers.get().unwrap().set_instrumentation(prepared.clone());
    let file = crate::domain::id::FileId::from_bytes([1; 16]);
    let read = || async {
        store.file(file).await.unwrap();
        store.inline_content(file).await.unwrap();
        store
            .due_documents((Timestamp::from_millis(i64::MIN), Timestamp::from_millis(1)), Destroyable::nothing(), 10)
            .await
            .unwrap();
        store.known_files(&[file]).await.unwrap();
    };
    read().await;
    let warm = prepared.0.lock().unwrap().len();
    assert!(warm >= 4, "what is prepared is seen");
    read().await;
    assert_eq!(prepared.0.lock().unwrap().len(), warm);
}

/// A process may die at any moment of its start: what it takes back is one transaction.
#[tokio::test]
async fn f18_a_start_that_breaks_off_neither_loses_a_use_nor_counts_it_twice() {
    let (store, _dir) = open();
    let location = store.location.clone();
    let claims = "INSERT INTO link_claim (file, reader, recipient, opened, address, received, again, reached, sum, given_back, resets, spent) \
        VALUES (x'01010101010101010101010101010101', 1, x'', 5, x'', x'', x'', x'', 10, 0, x'', 0)";
    on_writer(&store, claims).await;
    on_writer(&store, "INSERT INTO link_attempt (claim, first, after, closing) VALUES (1, 0, 100, 1)").await;
    store.close().await;
    let mut conn = open::writer(&location).unwrap();
    let broken = "CREATE TEMP TRIGGER broken BEFORE INSERT ON main.link_use BEGIN SELECT RAISE(ABORT, 'broken'); END";
    sql(broken, []).run(&mut conn).unwrap();
    assert!(take_back(&mut conn, Timestamp::from_millis(1)).is_err());
    sql("DROP TRIGGER broken", []).run(&mut conn).unwrap();
    let standing = "SELECT sum, spent FROM link_claim";
    assert_eq!(sql(standing, []).row::<(i64, i64)>(&mut conn).unwrap(), Some((10, 0)));
    take_back(&mut conn, Timestamp::from_millis(1)).unwrap();
    let used: Option<i64> = sql("SELECT used FROM link_use", []).one(&mut conn).unwrap();
    assert_eq!(used, Some(1), "the next start counts it, once");
}
