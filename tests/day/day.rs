//! What the process keeps in memory after a day of traffic, by a clock that the test moves, is what it kept after some hours.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::ALLOCATOR;
use crate::support::*;

const HOUR: Duration = Duration::from_secs(3_600);
/// Hours until what is bounded is full, and all of them.
const WARM: u32 = 6;
const HOURS: u32 = 24;
/// Callers an hour, each from a network of its own and each asking about another patient.
const CALLERS: u32 = 30;
/// Bytes that may be more at the end: what is under way at one moment and not at another. One that a request of the later hours left
/// would be some 140.
const MOST: i64 = 512 << 10;
const RULE: &str = "[[rule]]\nname = \"short\"\nretain = \"2h\"\npurge-after = \"1h\"\n\
    when = { type = [\"http://loinc.org|18842-5\"] }\n";

fn held() -> i64 {
    let stats = ALLOCATOR.stats();
    i64::try_from(stats.bytes_allocated).unwrap() - i64::try_from(stats.bytes_deallocated).unwrap()
}

/// One caller that was never seen before.
async fn call(daylily: &TestDaylily, source: &Actor, number: u32) {
    let network = format!("2001:db8:{:x}:{:x}::1", number >> 16, number & 0xffff);
    let ask = async |method: Method, path: &str, body: Option<serde_json::Value>| {
        let request = source.request(method, path).await.header("X-Forwarded-For", &network);
        let request =
            body.iter().fold(request.header("Content-Type", FHIR), |request, body| request.body(body.to_string()));
        Answer::of(request).await
    };
    let unknown = daylily.http.get(format!("{}/nowhere/{number}", daylily.base())).header("X-Forwarded-For", &network);
    assert_eq!(Answer::of(unknown).await.status, 404);
    let link = daylily.http.get(format!("{}/d/none{number}", daylily.base())).header("X-Forwarded-For", &network);
    assert_eq!(Answer::of(link).await.status, 403);
    assert_eq!(ask(Method::GET, &format!("DocumentReference?patient=Patient/p{number}"), None).await.status, 200);
    assert_eq!(ask(Method::GET, &format!("DocumentReference/d{number}"), None).await.status, 404);
    let letter = document(&format!("p{number}"), &[inline("application/pdf", &pdf(1, 300))]);
    let made = ask(Method::POST, "DocumentReference", Some(letter)).await.ok(201);
    let id = text(&made, "/id");
    daylily.wait(source, &id, "ready").await;
    let issue = format!("DocumentReference/{id}/$issue-link");
    let issued = ask(Method::POST, &issue, Some(json!({"resourceType": "Parameters"}))).await.ok(200);
    let url = text(parameter(&issued, "url"), "/valueUrl");
    assert_eq!(daylily.get(&url).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_of_traffic_leaves_nothing_in_memory() {
    let daylily = TestDaylily::start_with(RULE, |settings| {
        (settings.limits.client_requests, settings.limits.refused_requests) = (0, 0);
        settings.server.behind_proxy = true;
        settings.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    })
    .await;
    let source = daylily.source().await;
    let mut after = Vec::new();
    for hour in 0..HOURS {
        for caller in 0..CALLERS {
            call(&daylily, &source, hour * CALLERS + caller).await;
        }
        daylily.pass(HOUR).await;
        after.push(held());
    }
    let warm = after[..usize::try_from(WARM).unwrap()].iter().copied().max().unwrap();
    let last = after[after.len() - 3..].iter().copied().min().unwrap();
    assert!(last - warm <= MOST, "{} bytes more at the end of the day; hour by hour: {after:?}", last - warm);
}
