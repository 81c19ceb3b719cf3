//! Nothing of people, tokens or links reaches logs, metrics or refusals, at the most talkative level.

use std::io::Write;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::*;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_link_name_or_identifier_is_logged_counted_or_told() {
    // The one subscriber of this process: lines of tests that run beside this one only make the search wider.
    let captured = Captured::default();
    let format = tracing_subscriber::fmt().json().with_max_level(tracing::Level::TRACE).with_writer(captured.clone());
    let _ = tracing::subscriber::set_global_default(format.finish());
    let daylily = TestDaylily::start().await;
    let source = daylily.source().await;
    let patient = json!({ "resourceType": "Patient", "id": "canary-patient-id", "name": [{ "family": "CanaryFamily" }],
        "identifier": [{ "system": "urn:canary", "value": "CANARY-MRN-77" }] });
    source.put("Patient/canary-patient-id", &patient).await.ok(201);
    let mut attachment = inline("application/pdf", &pdf(1, 70_000));
    attachment["title"] = json!("CanaryTitle.pdf");
    let mut body = document("canary-patient-id", &[attachment]);
    body["description"] = json!("CanaryDescription");
    body["subject"]["identifier"] = json!({ "system": "urn:canary", "value": "CANARY-MRN-78" });
    let id = daylily.ready(&source, &body).await;
    let link = daylily.link(&source, &id).await;
    let token = source.token().await;
    let assertion = source.assertion();
    let mut refusals = Vec::new();
    for path in [
        "DocumentReference?patient=canary-patient-id",
        "DocumentReference?patient.identifier=urn:canary|CANARY-MRN-78",
        "DocumentReference?canary-parameter=CanaryValue",
        "Patient/canary-absent-id",
        "CanaryType/canary-absent-id",
    ] {
        let answer = source.get(path).await;
        if answer.status >= 400 {
            refusals.push(answer.text().to_owned());
        }
    }
    let wrong = json!({ "resourceType": "Patient", "gender": "CanaryGender", "canaryElement": "CanaryValue" });
    refusals.push(source.post("Patient", &wrong).await.text().to_owned());
    refusals.push(source.ask_token(&format!("{assertion}x"), "CanaryScope").await.text().to_owned());
    source.ask_token(&assertion, FULL).await.ok(200);
    daylily.get(&link).await;
    refusals.push(daylily.get(&format!("{link}x?canary=CanaryQuery")).await.text().to_owned());
    source.post(&format!("DocumentReference/{id}/$revoke"), &parameters(&[])).await.ok(200);
    refusals.push(daylily.get(&link).await.text().to_owned());
    let metrics = daylily.get("/metrics").await;
    let logged = String::from_utf8_lossy(&captured.0.lock().unwrap()).into_owned();
    // What this server says of itself; the client library of the test logs its own requests.
    let own: Vec<&str> = logged.lines().filter(|line| line.contains("\"target\":\"daylily")).collect();
    assert!(own.iter().any(|line| line.contains("answered")), "the log was captured");
    let link_token = link.rsplit('/').next().unwrap();
    let signature = |jwt: &str| jwt.rsplit('.').next().unwrap().to_owned();
    let secrets = [link_token.to_owned(), signature(&token), signature(&assertion), token.clone(), assertion.clone()];
    for (place, text) in [("log", own.join("\n")), ("metrics", metrics.text().to_owned())] {
        for secret in &secrets {
            assert!(!text.contains(secret), "a token or link in the {place}");
        }
        for canary in ["canary", "CANARY", "Canary"] {
            let found = text.lines().find(|line| line.contains(canary));
            assert!(found.is_none(), "{canary} in the {place}: {found:?}");
        }
    }
    for refusal in &refusals {
        for canary in ["CanaryGender", "CanaryValue", "CanaryScope", "CanaryQuery", "canary-absent-id", "CANARY-MRN"] {
            assert!(!refusal.contains(canary), "{canary} in {refusal}");
        }
        assert!(secrets.iter().all(|secret| !refusal.contains(secret)));
    }
    // Nor on disk: neither names of files nor their bytes.
    let mut folders = vec![daylily.data().to_owned()];
    let plain = pdf(1, 70_000);
    let piece = &plain[20_000..20_064];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            assert!(!path.to_string_lossy().to_lowercase().contains("canary"));
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(bytes) = std::fs::read(&path) {
                assert!(memchr::memmem::find(&bytes, piece).is_none(), "plain bytes in {}", path.display());
            }
        }
    }
}
