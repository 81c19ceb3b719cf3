//! Attacks by who has the disk or the database: on the record, on keys, on what lies in files.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use daylily::app::{DataFolder, KeyRing, log_index, open_log, open_vault};
use daylily::domain::audit::verify::Finding;

use crate::support::*;

/// What the look-up by patient shows, as `audit verify` checks it, after the statement.
async fn found_after(daylily: &TestDaylily, statement: &str) -> Vec<Finding> {
    let copy = daylily.beside("copy");
    let _ = std::fs::remove_dir_all(&copy);
    std::fs::create_dir(&copy).unwrap();
    let database = copy.join("daylily.db");
    std::fs::copy(daylily.data().join("daylily.db"), &database).unwrap();
    assert!(statement.is_empty() || altered(&database, statement) > 0, "nothing was changed by {statement}");
    let folder = DataFolder::open(daylily.data()).unwrap();
    let vault = open_vault(daylily.settings(), folder.path(), &daylily.nature().entropy).unwrap();
    let log = open_log(&database).unwrap();
    let keys = KeyRing::open(&log.keys().await.unwrap(), &vault, &folder.instance().unwrap(), 0).unwrap();
    let against = daylily::app::log_check::Against {
        origin: folder.instance().unwrap(),
        key: keys.checkpoint().unwrap().verifying_key().clone(),
        cells: keys.cells().unwrap(),
        outside: Vec::new(),
    };
    let mut report = daylily::app::log_check::check(&log, against, &|_, _| {}).await.unwrap().report;
    assert!(report.valid, "the log itself is untouched: {:?}", report.findings);
    log_index::check(&log, &keys.cells().unwrap(), &mut report).await.unwrap();
    assert_eq!(report.valid, report.findings.is_empty());
    report.findings
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a175_a176_the_look_up_by_patient_that_no_leaf_covers_is_verified_too() {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    for (seed, patient) in ["p1", "p2", "p1"].into_iter().enumerate() {
        let body = document(patient, &[inline("application/pdf", &pdf(seed as u32, 400))]);
        daylily.ready(&source, &body).await;
    }
    source.get("DocumentReference?patient=p1").await.ok(200);
    daylily.stop().await;
    assert_eq!(found_after(&daylily, "").await, []);
    let rows = counted(&daylily.data().join("daylily.db"), "SELECT count(*) AS n FROM audit_subject");
    assert!(rows > 6, "{rows}");
    let hidden = found_after(&daylily, "DELETE FROM audit_subject").await;
    assert!(hidden.len() > 3 && hidden.iter().all(|one| matches!(one, Finding::Hidden { .. })), "{hidden:?}");
    for (what, statement) in [
        ("one row taken out", "DELETE FROM audit_subject WHERE rowid_is(seq)"),
        ("one row more", "INSERT INTO audit_subject SELECT patient, 0 FROM audit_subject LIMIT 1"),
        ("a row of no entry", "INSERT INTO audit_subject SELECT patient, 99999 FROM audit_subject LIMIT 1"),
        ("a row below every entry", "INSERT INTO audit_subject SELECT patient, -7 FROM audit_subject LIMIT 1"),
        ("a row of no patient", "INSERT INTO audit_subject SELECT 99999, seq FROM audit_subject LIMIT 1"),
        ("one entry moved", "UPDATE audit_subject SET seq = 0 WHERE seq = (SELECT min(seq) FROM audit_subject)"),
        ("a patient renamed", "UPDATE target SET text = 'Patient/p9' WHERE text = 'Patient/p1'"),
    ] {
        let one = "seq = (SELECT max(seq) FROM audit_subject)";
        let statement = statement.replace("rowid_is(seq)", one);
        let found = found_after(&daylily, &statement).await;
        assert!(!found.is_empty(), "{what}: not found");
        let of_index = |finding: &Finding| matches!(finding, Finding::Hidden { .. } | Finding::Strange { .. });
        assert!(found.iter().all(of_index), "{what}: {found:?}");
    }
}

/// Every file and folder below, with its mode.
fn modes(folder: &Path, found: &mut Vec<(String, u32, bool)>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let meta = entry.path().symlink_metadata().unwrap();
        found.push((entry.path().display().to_string(), meta.mode() & 0o777, meta.is_dir()));
        if meta.is_dir() {
            modes(&entry.path(), found);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a188_key_lock_and_names_of_a_folder_are_their_owners_alone() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    daylily.ready_link(&source, &pdf(1, 100_000)).await;
    assert_eq!(std::fs::metadata(daylily.data()).unwrap().mode() & 0o777, 0o700);
    for own in ["keys/encryption.key", "lock", "instance", "base-url"] {
        let mode = std::fs::metadata(daylily.data().join(own)).unwrap().mode() & 0o777;
        assert_eq!(mode, 0o600, "{own}");
    }
    // Everything else lies below a folder that nobody else may enter; a whole process also sets its umask (conformance/process).
    let mut found = Vec::new();
    modes(daylily.data(), &mut found);
    assert!(found.iter().any(|(path, ..)| path.ends_with("daylily.db-wal")) && found.len() > 8, "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f100_a_folder_that_lost_a_part_or_its_permissions_is_not_served_and_nothing_is_made_anew() {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    daylily.ready_link(&source, &pdf(1, 100_000)).await;
    daylily.stop().await;
    let aside = daylily.beside("aside");
    // Its name, its key, its database where checkpoints know of a longer log.
    for (part, named) in [("instance", "instance"), ("keys/encryption.key", "encryption.key"), ("daylily.db", "")] {
        let path = daylily.data().join(part);
        std::fs::rename(&path, &aside).unwrap();
        let failure = format!("{:?}", daylily.start_again().await.expect_err(part));
        assert!(failure.contains(named), "{part}: {failure}");
        if part != "daylily.db" {
            assert!(!path.exists(), "{part} was made anew");
        }
        let _ = std::fs::remove_file(&path);
        for log in ["daylily.db-wal", "daylily.db-shm"] {
            if part == "daylily.db" {
                let _ = std::fs::remove_file(daylily.data().join(log));
            }
        }
        std::fs::rename(&aside, &path).unwrap();
    }
    let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    for (path, open, own) in
        [(daylily.data().to_owned(), 0o750, 0o700), (daylily.data().join("keys/encryption.key"), 0o640, 0o600)]
    {
        mode(&path, open);
        let failure = format!("{:?}", daylily.start_again().await.expect_err("a folder that others can read"));
        assert!(failure.contains("can be read by others"), "{failure}");
        mode(&path, own);
    }
    daylily.start_again().await.unwrap();
    daylily.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f101_another_key_than_the_folders_is_refused_by_its_id_and_none_is_made() {
    let mut daylily = TestDaylily::start().await;
    let other = TestDaylily::start().await;
    daylily.stop().await;
    let key = daylily.data().join("keys/encryption.key");
    let own = std::fs::read(&key).unwrap();
    std::fs::write(&key, std::fs::read(other.data().join("keys/encryption.key")).unwrap()).unwrap();
    let failure = format!("{:?}", daylily.start_again().await.expect_err("another key"));
    assert!(!failure.contains("AAAA") && failure.to_lowercase().contains("key"), "{failure}");
    std::fs::write(&key, own).unwrap();
    daylily.start_again().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f99_where_checkpoints_cannot_be_written_documents_go_on_and_the_log_grows() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let folder = &daylily.settings().audit.checkpoints;
    // A file in the place of the folder: whoever runs the tests, root too, cannot write into it.
    let aside = daylily.beside("checkpoints-aside");
    std::fs::rename(folder, &aside).unwrap();
    std::fs::write(folder, b"full").unwrap();
    let before = daylily.log_size().await;
    let bytes = pdf(1, 100_000);
    let (_, link) = daylily.ready_link(&source, &bytes).await;
    assert_eq!(daylily.get(&link).await.bytes, bytes);
    assert!(daylily.log_size().await > before);
    assert!(daylily.get("/metrics").await.text().contains("daylily_checkpoint_timestamp_seconds"));
    assert_eq!(daylily.get("/readyz").await.status, 200);
    std::fs::remove_file(folder).unwrap();
    std::fs::rename(&aside, folder).unwrap();
    daylily.verify().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f108_what_falls_due_at_once_is_ended_in_pieces_while_reading_goes_on() {
    /// Two rounds and a half.
    const DOCUMENTS: usize = 250;
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    for _ in 0..DOCUMENTS {
        source.post("DocumentReference", &document("p1", &[inline("text/plain", b"a letter")])).await.ok(201);
    }
    daylily.clock.advance(Duration::from_secs(40 * 86_400));
    // One round ends no more than its piece, and readers are answered between rounds. The server's own rounds do the same beside these.
    let open = "SELECT count(*) AS n FROM res WHERE state = 'ready'";
    for round in 0.. {
        let swept = format!("{:?}", daylily.running().delivery().retain_round().await.unwrap());
        let numbers = swept.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse::<u64>().ok());
        assert!(numbers.clone().count() > 0 && numbers.sum::<u64>() <= 200, "{swept}");
        source.get("metadata").await.ok(200);
        if daylily.copied_rows(open) == 0 {
            break;
        }
        assert!(round < 20, "{swept}: {} are still open", daylily.copied_rows(open));
    }
    daylily.verify().await;
}
