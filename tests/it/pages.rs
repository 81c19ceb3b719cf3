//! Pages of refused links as a browser gets them: the words of the house, no name of anyone, and the same status as for programs.

use daylily::config::TimeZoneName;
use serde_json::json;

use crate::support::*;

async fn page(daylily: &TestDaylily, url: &str) -> Answer {
    Answer::of(daylily.http.get(url).header("Accept", "text/html")).await
}

/// A server, and links that it refuses: to content held back, to content being checked, bound to elsewhere, withdrawn.
async fn refused() -> (TestDaylily, [String; 4]) {
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
    let infected = daylily.link_by_hand("source", &infected).await;
    let waiting = daylily.link_by_hand("source", &waiting).await;
    (daylily, [infected, waiting, elsewhere, withdrawn])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_refusal_of_a_link_is_a_page_of_its_own_that_names_nobody() {
    let (daylily, [infected, waiting, elsewhere, withdrawn]) = refused().await;
    for (url, status, heading, part) in [
        (infected, 403, "The document is not available", "held back after a check"),
        (waiting, 503, "The document is being checked", "http-equiv=\"refresh\""),
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

/// What no client can come by over HTTP, a link to content that is held back, in a real browser; `SCREENSHOTS` names the folder.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Node, Chromium and the packages of conformance/node"]
#[expect(clippy::disallowed_methods, reason = "where its pictures go is said by whoever runs it by hand")]
async fn refusals_fit_a_phone() {
    let (_daylily, [infected, waiting, elsewhere, withdrawn]) = refused().await;
    let folder = std::env::var("SCREENSHOTS").expect("SCREENSHOTS names a folder");
    for (url, heading, name) in [
        (infected, "The document is not available", "quarantined"),
        (waiting, "The document is being checked", "checked"),
        (elsewhere, "This link works only inside St. Elsewhere", "network"),
        (withdrawn, "This link has been withdrawn", "withdrawn-organisation"),
    ] {
        let mut shot = std::process::Command::new("node");
        shot.args(["conformance/node/shot.mjs", &url, heading, &format!("{folder}/{name}.png")]);
        assert!(shot.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success(), "{name}");
    }
}
