//! Background loops that cannot do their work: seen by whoever asks the server, and well again without a person.

use daylily::control::{LoopView, Request, Response};
use daylily::delivery::Swept;
use serde_json::Value;

use crate::support::*;

async fn ailing(daylily: &TestDaylily) -> Vec<LoopView> {
    match daylily.command(Request::LoopsShow {}).await.unwrap() {
        Response::Loops { ailing } => ailing,
        other => panic!("{other:?}"),
    }
}

async fn doctor(daylily: &TestDaylily, check: &str) -> Value {
    let mut doctor = std::process::Command::new(env!("CARGO_BIN_EXE_daylily"));
    doctor.args(["doctor", "--json", "--data-dir"]).arg(daylily.data());
    let done = tokio::task::spawn_blocking(move || doctor.output()).await.unwrap().unwrap();
    let said: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|error| panic!("{error}: {done:?}"));
    said["checks"].as_array().unwrap().iter().find(|found| found["name"] == check).unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loop_beside_the_requests_that_fails_again_and_again_is_told_of_and_serving_goes_on() {
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    assert_eq!(daylily.get("/readyz").await.text(), "ok\n");
    assert_eq!(doctor(&daylily, "loops").await["state"], "ok");
    let folder = daylily.settings().audit.checkpoints.clone();
    let aside = daylily.beside("aside");
    std::fs::rename(&folder, &aside).unwrap();
    // Each grows the log, so that there is something to sign.
    daylily
        .until("the loop is told of", async || {
            source.get("DocumentReference?patient=Patient/none").await;
            let answer = daylily.get("/readyz").await;
            assert_eq!(answer.status, 200, "requests are answered and recorded as well without it");
            (answer.text() != "ok\n").then(|| assert_eq!(answer.text(), "degraded: background loop checkpoint\n"))
        })
        .await;
    let seen = ailing(&daylily).await;
    assert!(matches!(&seen[..], [one] if one.name == "checkpoint" && one.failures >= Some(3)), "{seen:?}");
    let said = doctor(&daylily, "loops").await;
    assert_eq!(said["state"], "fail", "{said}");
    assert!(text(&said, "/message").starts_with("checkpoint failed "), "{said}");
    let metrics = daylily.get("/metrics").await;
    assert!(metrics.text().contains("daylily_loop_failures_total{loop=\"checkpoint\"}"), "{}", metrics.text());
    std::fs::rename(&aside, &folder).unwrap();
    daylily.until("it works again", async || (daylily.get("/readyz").await.text() == "ok\n").then_some(())).await;
    assert_eq!(ailing(&daylily).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_leaves_the_rest_of_what_is_due_to_the_next_start() {
    let rule = "[[rule]]\nname = \"test\"\nretain = \"1h\"\nwhen = { type = [\"http://loinc.org|18842-5\"] }\n";
    let daylily = TestDaylily::start_with(rule, |_| {}).await;
    let source = daylily.source().await;
    let mut ids = Vec::new();
    for seed in 0..5 {
        ids.push(daylily.ready_link(&source, &pdf(seed, 500)).await.0);
    }
    let delivery = daylily.running().delivery();
    // Nothing may be begun once it is stopped.
    daylily.clock.advance(std::time::Duration::from_secs(3_601));
    assert_eq!(delivery.retain_round(&|| true).await.unwrap(), Swept::default());
    for id in &ids {
        daylily.wait(&source, id, "expired").await;
    }
}
