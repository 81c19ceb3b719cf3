//! Attacks by who has the disk or the database: on the record, on keys, on what lies in files.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use daylily::app::log_index::{About, Unread};
use daylily::app::{DataFolder, KeyRing, log_index, open_log, open_vault};
use daylily::control::{Request, RevocationAim};
use daylily::domain::audit::verify::Finding;
use daylily::domain::clock::Clock;
use daylily::store::sqlite::LogReader;

use crate::support::*;

/// A copy of the stopped server's database after the statement, opened for reading, and the keys of the original.
async fn copy_after(daylily: &TestDaylily, statement: &str) -> (LogReader, KeyRing, String) {
    let copy = daylily.beside("copy");
    let _ = std::fs::remove_dir_all(&copy);
    std::fs::create_dir(&copy).unwrap();
    let database = copy.join("daylily.db");
    std::fs::copy(daylily.data().join("daylily.db"), &database).unwrap();
    assert!(statement.is_empty() || altered(&database, statement) > 0, "nothing was changed by {statement}");
    let folder = DataFolder::open(daylily.data()).unwrap();
    let vault = open_vault(daylily.settings(), folder.path(), &daylily.nature().entropy).unwrap();
    let log = open_log(&database).unwrap();
    let instance = folder.instance().unwrap();
    let keys = KeyRing::open(&log.keys().await.unwrap(), &vault, &instance, 0).unwrap();
    (log, keys, instance)
}

/// What the indexes show, as `audit verify` checks them, after the statement.
async fn found_after(daylily: &TestDaylily, statement: &str) -> Vec<Finding> {
    let (log, keys, origin) = copy_after(daylily, statement).await;
    let against = daylily::app::log_check::Against {
        origin,
        key: keys.checkpoint().unwrap().verifying_key().clone(),
        cells: keys.cells().unwrap(),
        outside: Vec::new(),
    };
    let mut report = daylily::app::log_check::check(&log, against, &|_, _| {}).await.unwrap().report;
    assert!(report.valid, "the log itself is untouched: {:?}", report.findings);
    log_index::check(&log, &keys.cells().unwrap(), &|| daylily.clock.now(), &mut report).await.unwrap();
    assert_eq!(report.valid, report.findings.is_empty());
    report.findings
}

/// What an export of the patient is made of, after the statement.
async fn about_after(daylily: &TestDaylily, patient: &str, statement: &str) -> About {
    let (log, keys, _) = copy_after(daylily, statement).await;
    let end = log.head().await.unwrap().size;
    log_index::about(&log, &keys.cells().unwrap(), patient, end).await.unwrap()
}

/// A server that has documents of two patients, links, and three blocks of the look-up; stopped.
async fn stopped_with_indexes() -> TestDaylily {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    for (seed, patient) in ["p1", "p2", "p1"].into_iter().enumerate() {
        let body = document(patient, &[inline("application/pdf", &pdf(seed as u32, 400))]);
        daylily.ready(&source, &body).await;
        daylily.running().delivery().keep_indexes(1).await.unwrap();
    }
    source.get("DocumentReference?patient=p1").await.ok(200);
    daylily.stop().await;
    daylily
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a175_a176_the_look_up_by_patient_is_vouched_for_and_hides_nothing() {
    let daylily = stopped_with_indexes().await;
    assert_eq!(found_after(&daylily, "").await, []);
    let whole = about_after(&daylily, "Patient/p1", "").await;
    assert!(whole.entries.len() > 6 && whole.wrong.is_empty(), "{whole:?}");
    let blocks = counted(&daylily.data().join("daylily.db"), "SELECT count(*) AS n FROM audit_block");
    assert!(blocks >= 3, "{blocks}");
    let second = "first = (SELECT first FROM audit_block ORDER BY first LIMIT 1 OFFSET 1)";
    let last = "first = (SELECT max(first) FROM audit_block)";
    for (what, is_told, statement) in [
        ("all taken out", true, "DELETE FROM audit_block".to_owned()),
        ("all but the last taken out", true, format!("DELETE FROM audit_block WHERE NOT {last}")),
        ("the last taken out", true, format!("DELETE FROM audit_block WHERE {last}")),
        ("one taken out", true, format!("DELETE FROM audit_block WHERE {second}")),
        ("pairs taken out", true, format!("UPDATE audit_block SET pairs = x'' WHERE {second}")),
        (
            "pairs added",
            true,
            format!("UPDATE audit_block SET pairs = CAST(pairs || zeroblob(8) AS BLOB) WHERE {second}"),
        ),
        ("a torn pair", true, format!("UPDATE audit_block SET pairs = CAST(pairs || x'00' AS BLOB) WHERE {second}")),
        ("renumbered", true, format!("UPDATE audit_block SET first = 0 - first WHERE {second}")),
        ("made longer", true, format!("UPDATE audit_block SET after = after + 1 WHERE {last}")),
        ("made endless", true, format!("UPDATE audit_block SET after = 9223372036854775807 WHERE {second}")),
        ("another entry named", true, format!("UPDATE audit_block SET leaf = leaf - 1 WHERE {last}")),
        ("no entry named", true, format!("UPDATE audit_block SET leaf = -1 WHERE {second}")),
        (
            "the pairs of another",
            true,
            format!("UPDATE audit_block SET pairs = (SELECT pairs FROM audit_block WHERE {last}) WHERE {second}"),
        ),
        (
            "one more",
            true,
            "INSERT INTO audit_block SELECT 99999, 100000, leaf, pairs FROM audit_block LIMIT 1".to_owned(),
        ),
    ] {
        let found = found_after(&daylily, &statement).await;
        let of_index = |finding: &Finding| {
            matches!(finding, Finding::Lookup { .. } | Finding::Hidden { .. } | Finding::Strange { .. })
        };
        assert!(!found.is_empty() && found.iter().all(of_index), "{what}: {found:?}");
        let about = about_after(&daylily, "Patient/p1", &statement).await;
        assert_eq!(about.entries, whole.entries, "{what}: an export misses nothing");
        // What no block covers is slower and no worse.
        assert_eq!(!about.wrong.is_empty(), is_told, "{what}: {:?}", about.wrong);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a175_a176_the_index_of_given_links_is_held_against_the_entries_it_names() {
    let daylily = stopped_with_indexes().await;
    let one = "id = (SELECT min(id) FROM given_link)";
    for (what, statement) in [
        ("all taken out", "DELETE FROM given_link".to_owned()),
        ("one taken out", format!("DELETE FROM given_link WHERE {one}")),
        ("of another document", format!("UPDATE given_link SET document = document + 1 WHERE {one}")),
        ("of another reader", format!("UPDATE given_link SET reader = reader + 1 WHERE {one}")),
        ("of another file", format!("UPDATE given_link SET file = zeroblob(16) WHERE {one}")),
        ("no file", format!("UPDATE given_link SET file = x'00' WHERE {one}")),
        ("another id", format!("UPDATE given_link SET id = 'lk_0000000000000' WHERE {one}")),
        ("another end", format!("UPDATE given_link SET expires = expires + 1000 WHERE {one}")),
        ("another entry", format!("UPDATE given_link SET leaf = leaf - 1 WHERE {one}")),
        ("no entry", format!("UPDATE given_link SET leaf = NULL WHERE {one}")),
    ] {
        let found = found_after(&daylily, &statement).await;
        let of_index = |finding: &Finding| matches!(finding, Finding::LinkHidden { .. } | Finding::LinkStrange { .. });
        assert!(!found.is_empty() && found.iter().all(of_index), "{what}: {found:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a175_a_false_index_is_made_anew_from_the_entries_and_that_is_an_entry() {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let bytes = pdf(1, 400);
    daylily.ready_link(&source, &bytes).await;
    daylily.running().delivery().keep_indexes(1).await.unwrap();
    daylily.ready_link(&source, &pdf(2, 400)).await;
    daylily.running().delivery().keep_indexes(1).await.unwrap();
    daylily.stop().await;
    let database = daylily.data().join("daylily.db");
    assert!(altered(&database, "UPDATE audit_block SET pairs = x'' WHERE first = 0") > 0);
    assert!(altered(&database, "DELETE FROM given_link WHERE id = (SELECT min(id) FROM given_link)") > 0);
    assert!(altered(&database, "UPDATE given_link SET reader = reader + 1") > 0);
    daylily.start_again().await.unwrap();
    for _ in 0..3 {
        daylily.running().delivery().keep_indexes(u64::MAX).await.unwrap();
    }
    let log = daylily.log_since(0).await;
    let mended = log.iter().filter(|entry| entry.action == "audit.mend").count();
    assert_eq!(mended, 1);
    let again = log.iter().filter(|entry| entry.action == "audit.index" && entry.get("reason").is_some());
    assert_eq!(again.count(), 1);
    let findings = log.iter().filter(|entry| entry.action == "audit.finding").count();
    assert_eq!(findings, 2, "what was changed is a finding, though it is mended");
    daylily.stop().await;
    assert_eq!(found_after(&daylily, "").await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_taken_out_of_a_stopped_folder_are_made_anew_and_that_is_a_finding() {
    let mut daylily = stopped_with_indexes().await;
    assert!(altered(&daylily.data().join("daylily.db"), "DELETE FROM audit_block") > 0);
    daylily.start_again().await.unwrap();
    let before = daylily.log_size().await;
    daylily.running().delivery().keep_indexes(u64::MAX).await.unwrap();
    let log = daylily.log_since(before).await;
    assert!(log.iter().any(|entry| entry.action == "audit.finding"), "{log:?}");
    assert!(log.iter().any(|entry| entry.action == "audit.index" && entry.get("reason").is_some()), "{log:?}");
    daylily.stop().await;
    assert_eq!(found_after(&daylily, "").await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_patients_export_holds_the_withdrawals_of_their_links_narrow_and_wide() {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let reader = daylily.client("reader", FULL, &["all"]).await;
    let revoke = async |daylily: &TestDaylily, aim: RevocationAim| {
        let request = Request::LinksRevoke { aim, reason: "sent in error".to_owned(), state: false, preview: false };
        let before = daylily.log_size().await;
        daylily.command(request).await.unwrap();
        let log = daylily.log_since(before).await;
        log.iter().find(|entry| entry.action == "link.revoke").unwrap().seq
    };
    let id = daylily.ready(&source, &document("p1", &[inline("application/pdf", &pdf(1, 400))])).await;
    let other = daylily.ready(&source, &document("p2", &[inline("application/pdf", &pdf(2, 400))])).await;
    let before = revoke(&daylily, RevocationAim::Client("reader".to_owned())).await;
    let shown = daylily.link(&reader, &id).await;
    let token = shown.rsplit('/').next().unwrap().to_owned();
    let narrow = revoke(&daylily, RevocationAim::Link(token)).await;
    let document_wide = revoke(&daylily, RevocationAim::Document(id.clone())).await;
    let of_other = revoke(&daylily, RevocationAim::Document(other.clone())).await;
    daylily.link(&reader, &id).await;
    let wide = revoke(&daylily, RevocationAim::Client("reader".to_owned())).await;
    let all = revoke(&daylily, RevocationAim::All).await;
    for blocks in [false, true] {
        if blocks {
            daylily.start_again().await.unwrap();
            daylily.running().delivery().keep_indexes(1).await.unwrap();
        }
        daylily.stop().await;
        let about = about_after(&daylily, "Patient/p1", "").await;
        assert_eq!(about.wrong, []);
        for (seq, is_theirs) in
            [(before, false), (narrow, true), (document_wide, true), (of_other, false), (wide, true), (all, true)]
        {
            assert_eq!(about.entries.contains(&seq), is_theirs, "entry {seq}, blocks: {blocks}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawal_of_one_link_is_in_the_patients_record_also_where_no_index_says_whose_it_is() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let (_, link) = daylily.ready_link(&source, &pdf(1, 400)).await;
    let database = daylily.data().join("daylily.db");
    assert!(altered(&database, "DELETE FROM given_link") > 0);
    let aim = RevocationAim::Link(link.rsplit('/').next().unwrap().to_owned());
    let before = daylily.log_size().await;
    let request = Request::LinksRevoke { aim, reason: "sent in error".to_owned(), state: false, preview: false };
    daylily.command(request).await.unwrap();
    let log = daylily.log_since(before).await;
    let entry = log.iter().find(|entry| entry.action == "link.revoke").unwrap();
    assert_eq!(entry.get("patient").unwrap(), "Patient/p1");
    assert_eq!(daylily.get(&link).await.said(), (410, "link-revoked"));
}

/// What could not be compared in a database after the statements, in which nothing else is wrong.
async fn unread_after(daylily: &TestDaylily, statements: &[&str]) -> Unread {
    copy_after(daylily, "").await;
    let database = daylily.beside("copy").join("daylily.db");
    for statement in statements {
        altered(&database, statement);
    }
    let (log, keys) = (open_log(&database).unwrap(), copied_keys(daylily).await);
    let against = daylily::app::log_check::Against {
        origin: DataFolder::open(daylily.data()).unwrap().instance().unwrap(),
        key: keys.checkpoint().unwrap().verifying_key().clone(),
        cells: keys.cells().unwrap(),
        outside: Vec::new(),
    };
    let mut report = daylily::app::log_check::check(&log, against, &|_, _| {}).await.unwrap().report;
    let cells = keys.cells().unwrap();
    let unread = log_index::check(&log, &cells, &|| daylily.clock.now(), &mut report).await.unwrap();
    assert_eq!(report.findings, [], "{statements:?}");
    log.endings().await.unwrap();
    unread
}

async fn copied_keys(daylily: &TestDaylily) -> KeyRing {
    let folder = DataFolder::open(daylily.data()).unwrap();
    let vault = open_vault(daylily.settings(), folder.path(), &daylily.nature().entropy).unwrap();
    let log = open_log(&folder.database()).unwrap();
    KeyRing::open(&log.keys().await.unwrap(), &vault, &folder.instance().unwrap(), 0).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_before_an_update_or_within_one_is_verified_as_far_as_it_goes() {
    let daylily = stopped_with_indexes().await;
    assert_eq!(unread_after(&daylily, &[]).await, Unread::default());
    let mut before = TestDaylily::start().await;
    let source = before.source().await;
    before.ready_link(&source, &pdf(1, 400)).await;
    before.stop().await;
    let older = [
        "DROP TABLE ending",
        "DROP TABLE audit_block",
        "ALTER TABLE given_link DROP COLUMN leaf",
        "DELETE FROM __diesel_schema_migrations WHERE version > '0008'",
    ];
    assert_eq!(unread_after(&before, &older).await, Unread { is_older: true, given_until: 0 });
    // Killed while a start learnt the entries of links, and beside a server that makes the index anew.
    let backlog = "INSERT INTO given_link_backlog (id, size) SELECT 1, max(seq) + 1 FROM audit";
    let size = u64::try_from(counted(&daylily.data().join("daylily.db"), "SELECT count(*) AS n FROM audit")).unwrap();
    for begun in ["UPDATE given_link SET leaf = NULL", "DELETE FROM given_link"] {
        assert_eq!(unread_after(&daylily, &[begun, backlog]).await, Unread { is_older: false, given_until: size });
    }
    // A table that is gone though its version is there is no older database.
    copy_after(&daylily, "").await;
    let database = daylily.beside("copy").join("daylily.db");
    altered(&database, "DROP TABLE audit_block");
    assert!(open_log(&database).unwrap().blocks(0, 1).await.is_err());
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
    let open = "SELECT count(*) AS n FROM res WHERE state = 'ready'";
    // One whose check ended after the jump would be ready from then on, and not due.
    let all = i64::try_from(DOCUMENTS).unwrap();
    daylily.until("all are ready", async || (daylily.stored_rows(open) == all).then_some(())).await;
    daylily.clock.advance(Duration::from_secs(40 * 86_400));
    // One round ends no more than its piece, and readers are answered between rounds. The server's own rounds do the same beside these.
    for round in 0.. {
        let swept = daylily.running().delivery().retain_round(&|| false).await.unwrap();
        assert!(swept.expired + swept.held_back + swept.purged <= 200, "{swept:?}");
        source.get("metadata").await.ok(200);
        if daylily.stored_rows(open) == 0 {
            break;
        }
        assert!(round < 20, "{swept:?}: {} are still open", daylily.stored_rows(open));
    }
    daylily.verify().await;
}
