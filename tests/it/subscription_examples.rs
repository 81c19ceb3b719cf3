//! Every file of `tests/subscription-examples` is answered as its manifest says, by the reader and the guard of the way out; what
//! belongs to a later part of the product is named with the reason.

use std::path::PathBuf;

use daylily::domain::clock::Timestamp;
use daylily::domain::refusal::{Code, Issue, Place, Refusal};
use daylily::fhir::base::Base;
use daylily::fhir::subscription::{Rules, Submitted};
use daylily::fhir::tables::ResourceType;
use daylily::fhir::validate::Expectation;
use daylily::notify::egress::{EgressRules, vet_url};
use serde_json::Value;

/// Accepted by the manifest; refused here for now, in words, with this code.
const LATER: &[(&str, &str)] = &[
    ("sub-backport-xml.json", "channel-unsupported"), // XML comes with D.
    ("sub-backport-heartbeat-timeout-maxcount.json", "subscription-term-refused"), // Heartbeats come with G.
    ("sub-backport-websocket.json", "element-missing"), // Websockets come later; it also has no endpoint.
    ("sub-backport-filter-modifier.json", "filter-unsupported"), // No modifier `:not` is served by search.
    ("sub-dsubm-docref-patient.json", "topic-unknown"), // Topics of DSUBm come later.
    ("sub-dsubm-docref-patient-prose-url.json", "topic-unknown"),
    ("sub-dsubm-docref-multipatient.json", "topic-unknown"),
    ("sub-dsubm-submissionset-patient.json", "topic-unknown"),
    ("sub-dsubm-folder-basic.json", "topic-unknown"),
];

/// Decided elsewhere than in the text of the resource: by the token, by the store, by what a name resolves to, by topics that come
/// later, or by a policy of levels that there is none of.
const ELSEWHERE: &[&str] = &[
    "bad-scope-focus-type.json",
    "bad-scope-patient.json",
    "bad-update-as-create.json",
    "bad-update-requested-while-active.json",
    "bad-content-full-resource-not-granted.json",
    "bad-dsubm-patient-missing.json",
    "bad-dsubm-multi-with-patient.json",
    "bad-dsubm-folder-no-code.json",
    "bad-dsubm-no-filter.json",
    "bad-dsubm-multi-not-allowed.json",
    "sub-backport-ipv6-public.json",
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/subscription-examples")
}

fn manifest() -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder().join("manifest.json")).unwrap()).unwrap()
}

/// The examples' topic, which this server names otherwise.
fn body(file: &str) -> String {
    let text = std::fs::read_to_string(folder().join(file)).unwrap();
    text.replace(
        "https://fhir.example.org/SubscriptionTopic/document-delivery",
        "urn:daylily:fhir/SubscriptionTopic/document-ready",
    )
}

fn answered(case: &Value) -> Result<Submitted, Refusal> {
    let manifest = manifest();
    let now = Timestamp::parse(manifest["reference_time"].as_str().unwrap()).unwrap();
    let base = Base::new("https://fhir.example.org");
    let interaction = case["interaction"].as_str().unwrap();
    let expectation = match interaction.rsplit_once("/Subscription/") {
        Some((_, id)) => Expectation::Update(ResourceType::Subscription, id),
        None => Expectation::Create(ResourceType::Subscription),
    };
    let text = body(case["file"].as_str().unwrap());
    let read = Submitted::read(text.as_bytes(), expectation, &Rules { base: &base, now })?;
    match vet_url(&read.endpoint, &EgressRules::default()) {
        Ok(_) => Ok(read),
        Err(_) => Err(Issue::new(Code::EndpointRefused).at("Subscription.channel.endpoint").into()),
    }
}

fn misfit(case: &Value) -> Option<String> {
    let file = case["file"].as_str().unwrap();
    let later = LATER.iter().find(|(name, _)| *name == file).map(|(_, code)| *code);
    let wrong = |what: String| Some(format!("{file}: {what}; {}", case["reason"]));
    match (answered(case), later) {
        (Ok(_), None) if case["valid"] == true => None,
        (Ok(_), _) => wrong("accepted".to_owned()),
        (Err(refusal), Some(code)) if refusal.issues().any(|issue| issue.code().name() == code) => None,
        (Err(refusal), None) if case["valid"] == false => {
            let expected = case["operation_outcome_code"].as_str().unwrap();
            let code = refusal.issues().any(|issue| issue.code().entry().issue_type.as_str() == expected);
            let status = u64::from(refusal.status()) == case["expected_http"].as_u64().unwrap();
            let placed = refusal.issues().all(|issue| matches!(issue.where_is(), Place::Element(_)));
            if code && status && placed {
                None
            } else {
                wrong(format!("{} {refusal:?}, expected {expected}", refusal.status()))
            }
        }
        (Err(refusal), _) => wrong(format!("{refusal:?}")),
    }
}

#[test]
fn every_example_of_a_subscription_is_answered_as_its_manifest_says() {
    let manifest = manifest();
    let cases = manifest["files"].as_array().unwrap();
    let judged = cases.iter().filter(|case| !ELSEWHERE.contains(&case["file"].as_str().unwrap()));
    let misfits: Vec<String> = judged.filter_map(misfit).collect();
    assert!(misfits.is_empty(), "{} of {}:\n{}", misfits.len(), cases.len(), misfits.join("\n"));
}
