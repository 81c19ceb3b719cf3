//! `audit export` of a log that is too long to be verified whole each time: what was altered of it is found all the same.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use daylily::app::open_log;
use daylily::domain::audit::tree::leaf_hash;
use daylily::domain::audit::{Action, Entry, Leaf, Outcome};

use crate::support::*;

/// More entries than an export verifies whole.
const FILLING: usize = 20_500;

fn copied(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copied(&path, &target);
        } else if kind.is_file() && entry.file_name() != "daylily.reserve" {
            std::fs::copy(&path, &target).unwrap();
        }
    }
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
}

/// Runs `audit export` on a folder, of one patient or of all.
fn export(data: &Path, patient: Option<&str>, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_daylily"));
    command.args(["audit", "export", "--utc", "--data-dir"]).arg(data).args(arguments);
    command.args(patient.iter().flat_map(|_| ["--patient", "-"]));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A program that refused what it was told reads no more.
    let _ = stdin.write_all(format!("{}\n", patient.unwrap_or_default()).as_bytes());
    drop(stdin);
    child.wait_with_output().unwrap()
}

/// A stopped server with a long log: p1's letter at its beginning, with blocks, and p1's newest reads that no block covers. The last
/// full check covers all but the last start. With the numbers of the first read, of an entry about nobody, and of the newest read.
async fn long_log() -> (TestDaylily, [u64; 3]) {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let id = daylily.ready(&source, &document("p1", &[inline("application/pdf", &pdf(1, 400))])).await;
    source.get(&format!("DocumentReference/{id}")).await.ok(200);
    let log = daylily.log_since(0).await;
    let read = log.iter().rev().find(|entry| entry.what() == "document.read ok").unwrap().seq;
    let filling = vec![Entry::new(Action::AuditHeartbeat, Outcome::Ok).server(); 512];
    for _ in 0..FILLING.div_ceil(filling.len()) {
        daylily.running().delivery().record_all(&filling).await.unwrap();
    }
    let heartbeat = daylily.log_size().await - 1_000;
    daylily.running().delivery().keep_indexes(1).await.unwrap();
    source.get(&format!("DocumentReference/{id}")).await.ok(200);
    let newest = daylily.log_since(heartbeat).await;
    let newest = newest.iter().rev().find(|entry| entry.what() == "document.read ok").unwrap().seq;
    daylily.stop().await;
    // The note is made anew by a check of the whole.
    std::fs::remove_file(daylily.data().join("log-check")).unwrap();
    daylily.start_again().await.unwrap();
    daylily.stop().await;
    (daylily, [read, heartbeat, newest])
}

/// An entry with a changed text, and the hash that fits it.
fn rewritten(number: u64, body: &[u8], change: impl FnOnce(&mut Leaf<'_>)) -> String {
    let mut leaf = Leaf::decode(body).unwrap();
    change(&mut leaf);
    let body = leaf.encode();
    let (text, hash) = (hex::encode(&body), hex::encode(leaf_hash(&body)));
    format!("UPDATE audit SET body = x'{text}', hash = x'{hash}' WHERE seq = {number}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_of_a_long_log_tells_of_every_altered_or_missing_entry() {
    let (daylily, [read, heartbeat, newest]) = long_log().await;
    let place = daylily.beside("copy");
    let after = |statement: &str, patient: Option<&str>, arguments: &[&str]| {
        let _ = std::fs::remove_dir_all(&place);
        copied(daylily.data(), &place);
        assert!(statement.is_empty() || altered(&place.join("daylily.db"), statement) > 0, "{statement}");
        let output = export(&place, patient, arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said, String::from_utf8(output.stdout).unwrap())
    };
    let p1 = Some("Patient/p1");
    let (code, said, table) = after("", p1, &["--format", "table"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(table.lines().next().unwrap().contains("each is part of the log as it was signed"), "{table}");
    let (code, said, all) = after("", None, &["--format", "csv"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(all.lines().count() > FILLING);

    let log = open_log(&daylily.data().join("daylily.db")).unwrap();
    let body = log.rows(read, 1).await.unwrap().remove(0).body;
    let denied = rewritten(read, &body, |leaf| leaf.outcome = Outcome::Denied);
    let late = rewritten(read, &body, |leaf| leaf.time_micros += 20 * 365 * 86_400 * 1_000_000);
    let copy = format!(
        "UPDATE audit SET (body, hash, cells) = (SELECT body, hash, cells FROM audit WHERE seq = {heartbeat}) WHERE seq = {read}"
    );
    let bit = |number: u64| {
        format!(
            "UPDATE audit SET cells = CAST(substr(cells, 1, length(cells) - 1) || x'00' AS BLOB) WHERE seq = {number}"
        )
    };
    let gone = |number: u64| format!("DELETE FROM audit WHERE seq = {number}");
    let table: &[&str] = &["--format", "table"];
    let until: &[&str] = &["--format", "csv", "--to", "2040-01-01T00:00:00Z"];
    let altered_text = format!("UPDATE audit SET body = x'00' WHERE seq = {read}");
    for (what, statement, patient, arguments, words) in [
        ("an entry of a block removed", gone(read), p1, table, format!("entry {read} is missing")),
        ("an entry of a block overwritten by a copy of another", copy, p1, table, format!("entry {read} is not")),
        ("an entry's text no entry", altered_text, p1, table, format!("entry {read} is not")),
        ("an outcome and its hash", denied.clone(), p1, table, "a signed checkpoint says otherwise".to_owned()),
        ("a time moved out of the period, and its hash", late, p1, until, "a signed checkpoint".to_owned()),
        ("a bit of an entry of a block", bit(read), p1, until, format!("entry {read} is not")),
        ("a bit of an entry behind the blocks", bit(newest), p1, until, format!("entry {newest} is not")),
        ("an entry behind the blocks removed", gone(newest), p1, until, format!("entry {newest} is missing")),
        ("an entry of all removed", gone(heartbeat), None, until, format!("entry {heartbeat} is missing")),
        ("an outcome and its hash, of all", denied, None, until, "a signed checkpoint says otherwise".to_owned()),
    ] {
        let (code, said, out) = after(&statement, patient, arguments);
        assert_eq!(code, Some(1), "{what}: {said}");
        assert!(said.contains(&words), "{what}: {said}");
        if arguments == table {
            assert!(out.lines().next().unwrap().contains("THE LOG DOES NOT VERIFY"), "{what}: {out}");
        }
    }
}
