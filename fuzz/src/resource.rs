//! Bodies: whatever validation takes is taken again as it is written back, and is understood without fault; whatever it refuses is refused
//! without a word of it.

use std::sync::LazyLock;

use daylily::domain::clock::Timestamp;
use daylily::domain::id::ClientId;
use daylily::fhir::base::Base;
use daylily::fhir::json;
use daylily::fhir::subscription::{self, MAX_FILTERS, MAX_TIMEOUT, Rules};
use daylily::fhir::tables::ResourceType;
use daylily::fhir::validate::{self, Expectation};
use daylily::fhir::{document, search};

use crate::secret;

static BASE: LazyLock<Base> = LazyLock::new(|| Base::new("https://docs.example"));
const NOW: Timestamp = Timestamp::from_millis(1_795_435_200_000);

pub fn run(data: &[u8]) {
    let body = secret::planted(data);
    if let Err(refusal) = validate::read(&body, Expectation::System) {
        secret::not_in(&refusal);
    }
    let resource = match validate::read(&body, Expectation::Any) {
        Ok(resource) => resource,
        Err(refusal) => return secret::not_in(&refusal),
    };
    let written = resource.object.to_json();
    let again = validate::read(written.as_bytes(), Expectation::Any).expect("what was taken is not taken again");
    assert_eq!(again, resource);
    if resource.resource_type == ResourceType::DocumentReference {
        understood(resource);
    }
}

fn understood(resource: validate::Resource<'_>) {
    let submitted = match document::Submitted::read(resource, &BASE) {
        Ok(submitted) => submitted,
        Err(refusal) => return secret::not_in(&refusal),
    };
    assert!(!format!("{submitted:?}").contains("Kanari"), "Debug shows what it says");
    crate::taken();
    let client = ClientId::parse("ehr").expect("a client id");
    assert_eq!(submitted.facts(&client).client, "ehr");
    let index = submitted.index();
    if let Some(span) = index.date {
        assert!(span.from < span.until);
    }
    for recipient in submitted.recipients() {
        assert!(ClientId::parse(recipient.as_str()).is_some());
    }
}

/// A Subscription with the input as its criteria: what is taken asks for something and no more than is allowed.
pub fn criteria(data: &[u8]) {
    let Some(text) = secret::planted_text(data) else { return };
    let mut body = String::from(
        "{\"resourceType\":\"Subscription\",\"status\":\"requested\",\"reason\":\"r\",\"channel\":{\"type\":\"rest-hook\",\
         \"endpoint\":\"https://ward.example/hook\",\"payload\":\"application/fhir+json\"},\"criteria\":",
    );
    json::write_text(&text, &mut body);
    body.push('}');
    let rules = Rules { base: &BASE, now: NOW };
    match subscription::Submitted::read(body.as_bytes(), Expectation::Any, &rules) {
        Err(refusal) => secret::not_in(&refusal),
        Ok(read) => {
            crate::taken();
            assert!(read.filters.len() <= MAX_FILTERS && read.timeout <= MAX_TIMEOUT);
            let question = text.split_once('?').map(|(_, query)| query).filter(|query| !query.is_empty());
            let pieces = question.map_or(0, |query| query.split('&').count());
            let by_topic = ["http://", "https://", "urn:"].iter().any(|start| text.starts_with(start));
            // A condition that is dropped would tell more than was asked for.
            assert!(by_topic || read.filters.len() == pieces, "a condition was dropped");
        }
    }
}

/// The addresses that searches and bodies are read against.
pub fn base() -> &'static Base {
    &BASE
}

/// The moment of every target.
pub fn asked(strict: bool) -> search::Asked<'static> {
    search::Asked { base: &BASE, now: NOW, strict }
}
