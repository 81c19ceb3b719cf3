//! Pages of refused links as a browser gets them: the words of the house, no name of anyone, and the same status as for programs.

use daylily::config::TimeZoneName;
use serde_json::json;

use crate::support::*;

async fn page(daylily: &TestDaylily, url: &str) -> Answer {
    Answer::of(daylily.http.get(url).header("Accept", "text/html")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_refusal_of_a_link_is_a_page_of_its_own_that_names_nobody() {
    let daylily = TestDaylily::start_with(WAITS_FOR_ANTIVIRUS, |settings| {
        settings.pages.organisation = Some("St. Elsewhere".to_owned());
        settings.pages.contact = Some("Records office".to_owned());
        settings.pages.time_zone = TimeZoneName::parse("Europe/Berlin").unwrap();
    })
    .await;
    let source = daylily.source().await;
    let infected = document("patient-seventeen", &[inline("text/plain", &eicar())]);
    let infected = text(&source.post("DocumentReference", &infected).await.ok(201), "/id");
    daylily.wait(&source, &infected, "quarantined").await;
    let mut waiting = document("patient-seventeen", &[inline("application/pdf", &pdf(1, 100))]);
    waiting["type"]["coding"][0]["code"] = json!("11506-3");
    let waiting = text(&source.post("DocumentReference", &waiting).await.ok(201), "/id");
    let mut titled = inline("application/pdf", &pdf(2, 100));
    titled["title"] = json!("Secret title");
    let id = daylily.ready(&source, &document("patient-seventeen", &[titled])).await;
    let elsewhere = parameters(&[("address", "valueString", json!("192.0.2.0/24"))]);
    let elsewhere = source.post(&format!("DocumentReference/{id}/$issue-link"), &elsewhere).await.ok(200);
    let elsewhere = text(parameter(&elsewhere, "url"), "/valueUrl");
    let withdrawn = daylily.link(&source, &id).await;
    let revoked = parameters(&[(
        "link",
        "valueString",
        json!(daylily::domain::link::id_of(withdrawn.rsplit_once('/').unwrap().1).as_str()),
    )]);
    source.post(&format!("DocumentReference/{id}/$revoke"), &revoked).await.ok(200);
    for (url, status, heading, part) in [
        (
            daylily.link_by_hand("source", &infected).await,
            403,
            "The document is not available",
            "held back after a check",
        ),
        (
            daylily.link_by_hand("source", &waiting).await,
            503,
            "The document is being checked",
            "http-equiv=\"refresh\"",
        ),
        (elsewhere, 403, "This link works only inside St. Elsewhere", "It was made for use there."),
        (withdrawn.clone(), 410, "This link has been withdrawn", ">23 November 2026</time>"),
        (format!("{withdrawn}x"), 403, "This link does not work", "Part of it may be missing."),
    ] {
        let answer = page(&daylily, &url).await;
        let program = daylily.get(&url).await;
        assert_eq!((answer.status, answer.code()), (status, program.code()), "{heading}");
        assert!(answer.text().contains(&format!("<h1>{heading}</h1>")), "{heading}: {}", answer.text());
        assert!(answer.text().contains(part), "{part}: {}", answer.text());
        assert!(answer.text().contains("Help: Records office") && answer.bytes.len() < 15_000);
        for hidden in ["Secret title", "patient-seventeen", "source", "<script", "eicar"] {
            assert!(!answer.text().contains(hidden), "{hidden} in {heading}");
        }
        assert!(answer.header("content-security-policy").contains("default-src 'none'"));
    }
}
