//! Older, altered and lost parts of a data folder: what a start says of each, and what it goes on with.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use daylily::app::Ended;
use daylily::control::{Request, Response};
use daylily::domain::audit::{Action, Entry, Leaf, Outcome};

use crate::support::stopped::*;
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

/// The size that the note of the last full check names: its third line.
fn checked_size(daylily: &TestDaylily) -> u64 {
    let note = std::fs::read_to_string(daylily.data().join("log-check")).unwrap();
    note.lines().nth(2).unwrap().parse().unwrap()
}

/// A folder whose note of the last full check covers a document's entries, stopped.
async fn stopped_after_a_full_check() -> (TestDaylily, u64) {
    let mut daylily = stopped().await;
    let size = u64::try_from(counted(&daylily.data().join("daylily.db"), "SELECT count(*) AS n FROM audit")).unwrap();
    daylily.start_again().await.unwrap();
    daylily.until("a full check in the background", async || (checked_size(&daylily) >= size).then_some(())).await;
    daylily.stop().await;
    (daylily, size)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f40_a_damaged_page_of_the_log_that_a_start_leaves_out_ends_serving_once_it_is_read() {
    let mut daylily = TestDaylily::start().await;
    let heartbeat = Entry::new(Action::AuditHeartbeat, Outcome::Ok).server();
    for _ in 0..120 {
        daylily.running().delivery().record(&heartbeat).await.unwrap();
    }
    let old = daylily.running().delivery().store().audit_rows(60, 1).await.unwrap().remove(0);
    daylily.stop().await;
    daylily.start_again().await.unwrap();
    daylily.until("a full check in the background", async || (checked_size(&daylily) >= 120).then_some(())).await;
    daylily.stop().await;
    let database = daylily.data().join("daylily.db");
    let mut bytes = std::fs::read(&database).unwrap();
    let at = bytes.windows(old.body.len()).position(|window| window == old.body).unwrap();
    let page = at / 4_096 * 4_096;
    bytes[page..page + 8].iter_mut().for_each(|byte| *byte ^= 0x55);
    std::fs::write(&database, bytes).unwrap();
    daylily.start_again().await.expect("the start reads the end of the log only");
    let ended = tokio::time::timeout(PATIENCE, daylily.running().failed()).await.expect("an end in time");
    let Ended::Log(failure) = ended else { panic!("{ended:?}") };
    assert_eq!(said(&failure), (3, "folder-unsafe"));
    let ready = daylily.get("/readyz").await;
    assert_eq!((ready.status, ready.text()), (503, "not ready: audit log: it is not what was recorded\n"));
    daylily.stop().await;
    assert_eq!(said(&daylily.start_again().await.unwrap_err()), (3, "folder-unsafe"), "the next start reads all of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_check_in_the_background_finds_an_altered_old_entry_and_ends_serving() {
    let (mut daylily, size) = stopped_after_a_full_check().await;
    let database = daylily.data().join("daylily.db");
    let entry = size / 2;
    let change = format!("UPDATE audit SET cells = CAST(zeroblob(length(cells)) AS BLOB) WHERE seq = {entry}");
    assert_eq!(altered(&database, &change), 1);
    daylily.start_again().await.expect("what was checked before is not read again at the start");
    let ended = tokio::time::timeout(PATIENCE, daylily.running().failed()).await.expect("an end in time");
    let Ended::Log(failure) = ended else { panic!("{ended:?}") };
    assert_eq!(said(&failure), (3, "audit-mismatch"));
    assert_eq!(failure.issues[0].message(), format!("entry {entry} is not what was recorded"));
    let ready = daylily.get("/readyz").await;
    assert_eq!((ready.status, ready.text()), (503, "not ready: audit log: it is not what was recorded\n"));
    let log = daylily.running().delivery().store().audit_rows(size, 1_000).await.unwrap();
    assert!(log.iter().any(|row| Leaf::decode(&row.body).unwrap().action.code() == "audit.finding"));
    daylily.stop().await;
    let at_start = daylily.start_again().await.unwrap_err();
    assert_eq!(at_start, failure, "the next start reads the whole log, and has the same words");
    for (id, role) in [("anna", "operator"), ("ben", "security")] {
        operator(&daylily, id, role).await;
    }
    assert_eq!(code(&acknowledge(&daylily, "anna").await), "second-person-required");
    acknowledge(&daylily, "ben").await.unwrap();
    daylily.start_again().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_operators_acknowledge_a_rollback_and_the_next_one_is_refused_again() {
    let mut daylily = stopped().await;
    let folder = daylily.settings().audit.checkpoints.clone();
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(said(&daylily.start_again().await.unwrap_err()), (3, "audit-checkpoint-missing"));
    for (id, role) in [("anna", "operator"), ("ben", "security"), ("carla", "auditor")] {
        operator(&daylily, id, role).await;
    }
    let alone = command(&daylily, Request::AuditAcknowledge { reason: "ticket 4711".to_owned() }).await;
    assert_eq!(code(&alone), "role-insufficient", "the folder's owner is nobody by name");
    assert_eq!(code(&acknowledge(&daylily, "carla").await), "role-insufficient");
    assert_eq!(code(&acknowledge(&daylily, "anna").await), "second-person-required");
    assert_eq!(code(&acknowledge(&daylily, "anna").await), "second-person-required", "one person is not two");
    assert_eq!(said(&daylily.start_again().await.unwrap_err()), (3, "audit-checkpoint-missing"));
    let Response::Acknowledgement(view) = acknowledge(&daylily, "ben").await.unwrap() else { panic!("another answer") };
    assert_eq!(view.by, ["anna", "ben"]);
    let report = std::fs::read_to_string(Path::new(&view.evidence).join("finding.json")).unwrap();
    assert!(report.contains(&view.finding) && report.contains("has none as new"), "{report}");
    daylily.start_again().await.unwrap();
    assert!(folder.join("checkpoint").exists(), "a new checkpoint at once");
    let log = daylily.log_since(0).await;
    let entry = log.iter().find(|entry| entry.what() == "audit.acknowledge ok").unwrap();
    assert_eq!(entry.get("operator").unwrap(), "ben");
    assert_eq!(entry.get("asked-by").unwrap(), "anna");
    assert_eq!(entry.get("finding").unwrap(), view.finding.as_str());
    daylily.verify().await;
    daylily.stop().await;
    daylily.start_again().await.unwrap();
    daylily.stop().await;
    std::fs::remove_dir_all(&folder).unwrap();
    let again = daylily.start_again().await.unwrap_err();
    assert_eq!(said(&again), (3, "audit-checkpoint-missing"), "another rollback is another finding");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_database_and_an_altered_entry_are_acknowledged_as_they_are_and_no_further() {
    let mut daylily = stopped().await;
    for (id, role) in [("anna", "operator"), ("ben", "security")] {
        operator(&daylily, id, role).await;
    }
    let older = database_of(&daylily, "older");
    daylily.start_again().await.unwrap();
    daylily.stop().await;
    set_database(&daylily, &older);
    assert_eq!(said(&daylily.start_again().await.unwrap_err()), (3, "audit-shortened"));
    assert_eq!(code(&acknowledge(&daylily, "anna").await), "second-person-required");
    acknowledge(&daylily, "ben").await.unwrap();
    for round in 0..2 {
        daylily.start_again().await.unwrap_or_else(|failure| panic!("{round}: {failure:?}"));
        daylily.stop().await;
    }
    let database = daylily.data().join("daylily.db");
    let alter = |entry: u64| {
        let change = format!("UPDATE audit SET cells = CAST(zeroblob(length(cells)) AS BLOB) WHERE seq = {entry}");
        assert_eq!(altered(&database, &change), 1);
        let _ = std::fs::remove_file(daylily.data().join("log-check"));
    };
    alter(5);
    assert_eq!(said(&daylily.start_again().await.unwrap_err()), (3, "audit-mismatch"));
    assert_eq!(code(&acknowledge(&daylily, "ben").await), "second-person-required");
    acknowledge(&daylily, "anna").await.unwrap();
    daylily.start_again().await.unwrap();
    daylily.stop().await;
    let alter = |entry: u64| {
        let change = format!("UPDATE audit SET cells = CAST(zeroblob(length(cells)) AS BLOB) WHERE seq = {entry}");
        assert_eq!(altered(&daylily.data().join("daylily.db"), &change), 1);
        let _ = std::fs::remove_file(daylily.data().join("log-check"));
    };
    alter(6);
    let other = daylily.start_again().await.unwrap_err();
    assert_eq!(other.issues[0].message(), "entry 6 is not what was recorded", "{other:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_folder_with_nothing_in_it_is_set_up_and_what_is_missing_is_named() {
    let mut daylily = stopped().await;
    let data = daylily.data().to_owned();
    let aside = daylily.beside("aside");
    std::fs::create_dir(&aside).unwrap();
    for log in ["daylily.db-wal", "daylily.db-shm"] {
        let _ = std::fs::remove_file(data.join(log));
    }
    let lists = |path: &Path| std::fs::read_dir(path).unwrap().flatten().map(|e| e.file_name()).collect::<Vec<_>>();
    for (part, there) in [
        (vec!["daylily.db"], "its encryption key"),
        (vec!["daylily.db", "keys"], "its files"),
        (vec!["daylily.db", "keys", "blobs"], "a checkpoint of its log"),
        (vec!["blobs"], "its database"),
    ] {
        part.iter().for_each(|name| std::fs::rename(data.join(name), aside.join(name)).unwrap());
        let (before, failure) = (lists(&data), daylily.start_again().await.unwrap_err());
        let text = failure.issues[0].message();
        assert_eq!(said(&failure), (3, "folder-unsafe"), "{part:?}: {failure:?}");
        assert!(text.contains(part[0]) && text.contains(there), "{part:?}: {text}");
        assert!(failure.issues[0].cure().contains("put it back from your copy"), "{failure:?}");
        assert_eq!(lists(&data), before, "{part:?}: nothing is made");
        part.iter().for_each(|name| std::fs::rename(aside.join(name), data.join(name)).unwrap());
    }
    daylily.start_again().await.unwrap();
    daylily.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_folder_that_has_endings_or_cannot_be_read_is_not_that_of_a_new_log() {
    let mut daylily = stopped().await;
    std::fs::remove_dir_all(daylily.data()).unwrap();
    let checkpoints = daylily.settings().audit.checkpoints.clone();
    let _ = std::fs::remove_dir_all(&checkpoints);
    std::fs::DirBuilder::new().mode(0o700).recursive(true).create(&checkpoints).unwrap();
    std::fs::write(checkpoints.join("endings"), "an ending\n").unwrap();
    let failure = daylily.start_again().await.unwrap_err();
    assert_eq!(said(&failure), (3, "folder-unsafe"), "{failure:?}");
    assert!(failure.issues[0].message().contains("though its file of endings is there"), "{failure:?}");
    std::fs::remove_file(checkpoints.join("endings")).unwrap();
    // Its name cannot be read as a checkpoint's text.
    std::fs::create_dir(checkpoints.join("checkpoint")).unwrap();
    let failure = daylily.start_again().await.unwrap_err();
    assert_eq!(failure.exit, 3, "{failure:?}");
    assert!(!daylily.data().join("daylily.db").exists(), "nothing is made");
    std::fs::remove_dir(checkpoints.join("checkpoint")).unwrap();
    daylily.start_again().await.unwrap();
}
