//! `audit export` by the program itself, as a privacy officer would run it: what it answers of one patient's letter.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use daylily::app::SystemClock;
use daylily::control::{Request, RevocationAim};
use daylily::domain::clock::Clock;
use serde_json::{Value, json};

use crate::support::*;

/// Runs `audit export --patient -` for a patient on a folder, beside its server or without one.
fn export(data: &Path, patient: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_daylily"));
    command.args(["audit", "export", "--patient", "-", "--utc", "--data-dir"]).arg(data).args(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(format!("{patient}\n").as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn out(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A letter of p1: opened by a link meant for a person, held, withdrawn with its links; and one of p2.
struct Told {
    daylily: TestDaylily,
    id: String,
    link: String,
    size: usize,
}

async fn told() -> Told {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let ward = daylily.client("ward-viewer", FULL, &["all"]).await;
    let bytes = pdf(1, 70_000);
    let id = daylily.ready(&source, &document("p1", &[inline("application/pdf", &bytes)])).await;
    daylily.ready(&source, &document("p2", &[inline("application/pdf", &pdf(2, 500))])).await;
    let meant = parameters(&[("recipient", "valueReference", json!({ "reference": "Practitioner/7" }))]);
    let issued = ward.post(&format!("DocumentReference/{id}/$issue-link"), &meant).await.ok(200);
    let (url, link) = (text(parameter(&issued, "url"), "/valueUrl"), text(parameter(&issued, "link"), "/valueString"));
    daylily.clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(daylily.get(&url).await.bytes, bytes);
    daylily.wait(&source, &id, "delivered").await;
    let hold = Request::HoldAdd {
        document: id.clone(),
        reason: "case 12/26".to_owned(),
        authority: Some("district court".to_owned()),
    };
    daylily.command(hold).await.unwrap();
    let withdraw = [("state", "valueBoolean", json!(true)), ("reason", "valueString", json!("wrong ward, =1+1"))];
    source.post(&format!("DocumentReference/{id}/$revoke"), &parameters(&withdraw)).await.ok(200);
    daylily
        .until("the end of the download", async || {
            let log = daylily.log_since(0).await;
            log.iter().any(|entry| entry.what() == "link.redeem ok").then_some(())
        })
        .await;
    Told { daylily, id, link, size: bytes.len() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_says_who_received_the_letter_when_and_that_it_was_withdrawn_and_held() {
    let Told { mut daylily, id, link, size } = told().await;
    daylily.stop().await;
    let table = out(&export(daylily.data(), "Patient/p1", &["--format", "table"]));
    let lines: Vec<&str> = table.lines().collect();
    let at = |words: &str| {
        let found = lines.iter().find(|line| line.trim_start().starts_with(words));
        found.copied().unwrap_or_else(|| panic!("no {words} in\n{table}"))
    };
    assert!(lines[0].contains(" entries about Patient/p1 from 20"), "{}", lines[0]);
    assert!(lines[0].contains("the log was verified: none of its "), "{}", lines[0]);
    assert!(at("file received by").contains("ward-viewer, by a link meant for Practitioner/7: once, 20"));
    assert!(at("withdrawn").contains(", source withdrew the document: "), "{table}");
    assert!(at("withdrawn").ends_with(": wrong ward, =1+1"), "{table}");
    assert!(at("legal hold").ends_with(" by folder's owner 1000, ordered by district court: case 12/26"), "{table}");
    let whole = format!("opened link 1: whole file ({},{:03} bytes), from 127.0.0.1\n", size / 1_000, size % 1_000);
    assert!(table.contains(&whole), "{table}");
    let legend = table.split("What the short names stand for").nth(1).unwrap();
    assert!(legend.contains(&format!("document 1   DocumentReference/{id}\n")), "{legend}");
    assert!(legend.contains(&format!("{link}, to file 1, given to ward-viewer, meant for Practitioner/7")), "{legend}");
    let before = table.split("What the short names stand for").next().unwrap();
    assert!(
        !before.contains(&id) && !before.contains(&link) && !table.contains("Patient/p2"),
        "ids stand in the legend only"
    );
    assert!(!table.contains("\u{1b}"), "no colour where no terminal is");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wide_withdrawal_after_the_clock_was_put_right_is_told_of() {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    daylily.ready_link(&source, &pdf(1, 500)).await;
    daylily.clock.set_back(std::time::Duration::from_secs(30 * 86_400));
    daylily.running().delivery().retain_round(&|| false).await.unwrap();
    daylily.command(Request::ClockConfirm { reason: "clock checked".to_owned() }).await.unwrap();
    daylily.stop().await;
    daylily.start_again().await.unwrap();
    // By the confirmed clock, whose links end long before the times that entries keep.
    daylily.ready(&source, &document("late", &[inline("application/pdf", &pdf(2, 500))])).await;
    let found = source.get("DocumentReference?patient=late").await.ok(200);
    assert_eq!(found["total"], 1);
    daylily.revoke(RevocationAim::Client("source".to_owned()), false).await;
    daylily.stop().await;
    let lines = out(&export(daylily.data(), "Patient/late", &[]));
    assert!(lines.lines().any(|line| line.contains("\"action\":\"link.revoke\"")), "{lines}");
    let table = out(&export(daylily.data(), "Patient/late", &["--format", "table"]));
    let withdrawn = table.lines().find(|line| line.trim_start().starts_with("withdrawn")).unwrap();
    assert!(withdrawn.ends_with(": sent in error"), "{table}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn csv_has_a_value_a_cell_and_one_header() {
    let Told { mut daylily, id, link, size } = told().await;
    daylily.stop().await;
    let csv = out(&export(daylily.data(), "Patient/p1", &["--format", "csv"]));
    let lines: Vec<&str> = csv.split_terminator("\r\n").collect();
    assert_eq!(
        lines[0],
        "time,seq,action,outcome,client,person,document,file,link,bytes,address,code,reason,request,state,aim,authority,meant-for"
    );
    assert!(!csv.contains('{') && !csv.contains('['), "no JSON in cells");
    let redeemed: Vec<&str> = lines.iter().find(|line| line.contains(",link.redeem,ok,")).unwrap().split(',').collect();
    let (document, size) = (format!("DocumentReference/{id}"), size.to_string());
    assert_eq!((redeemed.len(), redeemed[4], redeemed[17]), (18, "ward-viewer", "Practitioner/7"));
    assert_eq!(
        (redeemed[6], redeemed[8], redeemed[9], redeemed[10]),
        (document.as_str(), link.as_str(), size.as_str(), "127.0.0.1")
    );
    assert!(
        lines.iter().any(|line| line.contains(",link.revoke,ok,source,") && line.contains(",\"wrong ward, =1+1\","))
    );
    let held = lines.iter().find(|line| line.contains(",hold.add,ok,,os:1000,")).unwrap();
    assert!(held.contains(",case 12/26,") && held.ends_with(",,,district court,"), "{held}");
    assert!(lines.iter().any(|line| line.contains(",link.revoke,") && line.ends_with(",revoked,,,")), "{csv}");
    // Whom a link was meant for stands beside its use, also where it was made before the period.
    let used = redeemed[0].to_owned();
    let later = out(&export(daylily.data(), "Patient/p1", &["--format", "csv", "--from", &used]));
    assert!(!later.contains(",link.issue,"), "{later}");
    assert!(
        later.lines().any(|line| line.contains(",link.redeem,ok,ward-viewer,") && line.ends_with(",Practitioner/7")),
        "{later}"
    );
    let table = out(&export(daylily.data(), "Patient/p1", &["--format", "table", "--from", &used]));
    assert!(table.contains("meant for Practitioner/7"), "{table}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ndjson_stays_the_form_for_programs_and_periods_hold_for_every_form() {
    let Told { mut daylily, size, .. } = told().await;
    daylily.stop().await;
    let lines = out(&export(daylily.data(), "Patient/p1", &[]));
    let entries: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let redeemed = entries.iter().find(|entry| entry["action"] == "link.redeem" && entry["outcome"] == "ok").unwrap();
    assert_eq!(redeemed["actor"]["client"], "ward-viewer");
    assert_eq!(redeemed["subject"]["bytes"], size);
    let last = &entries.iter().rev().find(|entry| entry["action"] != "audit.export").unwrap()["time"];
    let to = ["--to", "2000-01-01T00:00:00Z"];
    assert_eq!(out(&export(daylily.data(), "Patient/p1", &to)), "");
    let csv = ["--format", "csv", "--from", last.as_str().unwrap()];
    assert!(out(&export(daylily.data(), "Patient/p1", &csv)).lines().count() > 1);
    let table = out(&export(daylily.data(), "Patient/p1", &[to[0], to[1], "--format", "table"]));
    assert!(table.starts_with("0 entries about this patient before 2000-01-01 00:00:00+00:00; "), "{table}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_record_of_one_patient_names_nobody_else() {
    let mut daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let own = daylily.ready(&source, &document("p1", &[inline("application/pdf", &pdf(1, 400))])).await;
    let other = daylily.ready(&source, &document("p2", &[inline("application/pdf", &pdf(2, 400))])).await;
    let before = daylily.log_size().await;
    source.get("DocumentReference?status=current").await.ok(200);
    let log = daylily.log_since(before).await;
    let search = log.iter().find(|entry| entry.what() == "search ok").unwrap();
    assert!(search.cells.to_string().contains(&other), "the entry itself is about both");
    daylily.stop().await;
    for form in ["ndjson", "csv", "table"] {
        let text = out(&export(daylily.data(), "Patient/p1", &["--format", form]));
        assert!(text.contains(&own) && text.contains("search"), "{text}");
        assert!(!text.contains("Patient/p2") && !text.contains(&other), "{form}: {text}");
    }
    let lines = out(&export(daylily.data(), "Patient/p1", &["--format", "ndjson"]));
    let entries: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let search = entries.iter().find(|entry| entry["action"] == "search").unwrap();
    assert_eq!(search["subject"]["returned"], json!([own]));
    assert_eq!(search["subject"]["offered"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_was_set_back_makes_no_export_cry_wolf() {
    let mut daylily = TestDaylily::start().await;
    // Not behind the clock by which the program itself goes.
    let ahead = SystemClock::new().now().millis() - daylily.clock.now().millis();
    daylily.clock.advance(std::time::Duration::from_millis(u64::try_from(ahead).unwrap_or(0)));
    let source = daylily.source().await;
    let (_, link) = daylily.ready_link(&source, &pdf(1, 400)).await;
    // The server's clock runs ahead; the links' time is over by it, and their rows are forgotten.
    daylily.clock.advance(std::time::Duration::from_secs(20 * 86_400));
    daylily.running().delivery().store().forget_expired(daylily.clock.now()).await.unwrap();
    assert_eq!(daylily.stored_rows("SELECT count(*) AS n FROM given_link"), 0);
    assert_ne!(daylily.get(&link).await.status, 200);
    daylily.stop().await;
    assert!(!out(&export(daylily.data(), "Patient/p1", &[])).is_empty());
}
