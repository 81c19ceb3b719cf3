//! Older, altered and lost parts of a data folder: what a start says of each, and what it goes on with.

use std::path::{Path, PathBuf};

use daylily::app::StartFailure;

use crate::support::*;

/// A folder with a document, stopped, and its log's name for a note of an earlier check.
async fn stopped() -> TestDaylily {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    daylily.ready_link(&source, &pdf(1, 100_000)).await;
    daylily.stop().await;
    daylily
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn put_back(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    copy(from, to);
}

/// A copy of the database as it stands, with nothing in its log.
fn database_of(daylily: &TestDaylily, name: &str) -> PathBuf {
    let copy = daylily.beside(name);
    std::fs::copy(daylily.data().join("daylily.db"), &copy).unwrap();
    copy
}

fn set_database(daylily: &TestDaylily, from: &Path) {
    for log in ["daylily.db-wal", "daylily.db-shm"] {
        let _ = std::fs::remove_file(daylily.data().join(log));
    }
    std::fs::copy(from, daylily.data().join("daylily.db")).unwrap();
}

fn said(failure: &StartFailure) -> (u8, &'static str) {
    (failure.exit, failure.issues[0].code().name())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_database_without_the_checkpoint_folder_is_not_served() {
    let mut daylily = stopped().await;
    let older = database_of(&daylily, "older");
    daylily.start_again().await.unwrap();
    daylily.stop().await;
    set_database(&daylily, &older);
    let folder = daylily.settings().audit.checkpoints.clone();
    std::fs::remove_dir_all(&folder).unwrap();
    std::fs::remove_file(daylily.data().join("log-check")).unwrap();
    let failure = daylily.start_again().await.unwrap_err();
    assert_eq!(said(&failure), (3, "audit-checkpoint-missing"), "{failure:?}");
    assert!(failure.issues[0].cure().contains("daylily audit acknowledge"), "{failure:?}");
    assert!(!folder.exists(), "nothing is made in its place");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_folder_that_is_gone_or_older_is_not_served_and_served_again_once_it_is_back() {
    let mut daylily = stopped().await;
    let folder = daylily.settings().audit.checkpoints.clone();
    copy(&folder, &daylily.beside("older-checkpoints"));
    daylily.start_again().await.unwrap();
    daylily.stop().await;
    copy(&folder, &daylily.beside("checkpoints-aside"));
    std::fs::remove_dir_all(&folder).unwrap();
    let gone = daylily.start_again().await.unwrap_err();
    assert_eq!(said(&gone), (3, "audit-checkpoint-missing"), "{gone:?}");
    copy(&daylily.beside("older-checkpoints"), &folder);
    let older = daylily.start_again().await.unwrap_err();
    assert_eq!(said(&older), (3, "audit-checkpoint-missing"), "{older:?}");
    assert!(older.issues[0].message().contains("but the newest in the checkpoint folder has"), "{older:?}");
    put_back(&daylily.beside("checkpoints-aside"), &folder);
    daylily.start_again().await.unwrap();
    daylily.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_note_of_the_last_check_that_is_older_altered_lost_or_anothers_costs_a_full_check_only() {
    let mut daylily = stopped().await;
    let other = stopped().await;
    let note = daylily.data().join("log-check");
    let first = std::fs::read(&note).unwrap();
    let mut altered = first.clone();
    altered[25] ^= 1;
    let others = std::fs::read(other.data().join("log-check")).unwrap();
    for (what, found) in
        [("older", Some(first)), ("altered", Some(altered)), ("another's", Some(others)), ("lost", None)]
    {
        match found {
            Some(found) => std::fs::write(&note, found).unwrap(),
            None => std::fs::remove_file(&note).unwrap(),
        }
        daylily.start_again().await.unwrap_or_else(|failure| panic!("{what}: {failure:?}"));
        daylily.verify().await;
        daylily.stop().await;
        assert!(note.exists(), "{what}: a full check leaves a note");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_note_that_vouches_for_more_than_the_log_has_tells_of_a_rollback_by_itself() {
    let mut daylily = stopped().await;
    let older = database_of(&daylily, "older");
    let folder = daylily.settings().audit.checkpoints.clone();
    copy(&folder, &daylily.beside("older-checkpoints"));
    std::fs::remove_file(daylily.data().join("log-check")).unwrap();
    daylily.start_again().await.unwrap();
    daylily.stop().await;
    // A full check of the longer log.
    std::fs::remove_file(daylily.data().join("log-check")).unwrap();
    daylily.start_again().await.unwrap();
    daylily.stop().await;
    set_database(&daylily, &older);
    put_back(&daylily.beside("older-checkpoints"), &folder);
    let failure = daylily.start_again().await.unwrap_err();
    assert_eq!(said(&failure), (3, "audit-shortened"), "{failure:?}");
    assert!(failure.issues[0].message().contains("the last full check"), "{failure:?}");
}
