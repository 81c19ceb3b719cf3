//! Shapes by the backport guide and the contract.

use serde_json::{Value as Json, json};

use super::*;
use crate::domain::id::FileId;
use crate::domain::resource::DocumentNumber;
use crate::fhir::validate::{self, Expectation};

fn base() -> Base {
    Base::new("https://fhir.example.org")
}

fn id(text: &str) -> ResourceId {
    ResourceId::parse(text).unwrap()
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn event(number: u64) -> Event {
    Event {
        number,
        topic: Some(Topic::Ready),
        at: at("2026-06-01T09:00:00Z"),
        document: DocumentNumber(1),
        document_id: id("doc-9"),
        version: 3,
        expires: Some(at("2026-06-08T09:00:00Z")),
    }
}

fn note<'a>(files: &'a [FileNote<'a>], complete: bool) -> DocumentNote<'a> {
    let text = r#"{"resourceType":"DocumentReference","meta":{"tag":[]},"extension":[{"url":"urn:daylily:fhir/StructureDefinition/recipient","valueIdentifier":{"value":"ris"}}],"text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">Ada</div>"},"masterIdentifier":{"system":"urn:ietf:rfc:3986","value":"urn:uuid:0bda6c8f-e9f0-5b51-a7f7-cf28357e350d","assigner":{"display":"Ward Ada"}},"status":"current","type":{"coding":[{"system":"http://loinc.org","code":"18842-5","display":"Summary of Ada"}],"text":"Ada's"},"subject":{"reference":"Patient/1","display":"Ada"},"description":"of Ada","content":[{"attachment":{"contentType":"application/pdf","title":"ada.pdf"}}]}"#;
    DocumentNote { text, files, complete }
}

fn file<'a>() -> FileNote<'a> {
    FileNote {
        file: FileId::from_bytes([7; 16]),
        media_type: "application/pdf",
        size: 48_213,
        sha256: [0x9f; 32],
        title: Some("ada.pdf"),
    }
}

fn channel<'a>(base: &'a Base, subscription: &'a ResourceId, level: Level) -> Channel<'a> {
    Channel { base, subscription, topic: Topic::Ready, level }
}

/// Reads it back; every message must be valid R4 (history rules bdl-3, bdl-4 and bdl-8 are among the invariants).
fn read(text: &str) -> Json {
    if let Err(refusal) = validate::read(text.as_bytes(), Expectation::Any) {
        panic!("{refusal:?}\n{text}");
    }
    serde_json::from_str(text).unwrap()
}

fn parameters(bundle: &Json) -> Vec<(String, Json)> {
    let parts = bundle["entry"][0]["resource"]["parameter"].as_array().unwrap().iter();
    parts
        .map(|part| {
            let value = part.as_object().unwrap().iter().find(|(name, _)| *name != "name").unwrap().1;
            (part["name"].as_str().unwrap().to_owned(), value.clone())
        })
        .collect()
}

#[test]
fn a_handshake_is_one_entry_with_status_requested_and_no_event() {
    let (base, subscription) = (base(), id("sub-42"));
    let told = channel(&base, &subscription, Level::IdOnly).handshake(0, 1, at("2026-06-01T09:00:01Z"));
    let bundle = read(&told);
    assert_eq!((&bundle["type"], &bundle["timestamp"]), (&json!("history"), &json!("2026-06-01T09:00:01.000Z")));
    assert_eq!(bundle["meta"]["profile"][0], BUNDLE_PROFILE);
    assert_eq!(bundle["entry"].as_array().unwrap().len(), 1);
    let entry = &bundle["entry"][0];
    assert_eq!(entry["fullUrl"], format!("urn:uuid:{}", entry["resource"]["id"].as_str().unwrap()));
    assert_eq!(
        entry["request"],
        json!({"method": "GET", "url": "https://fhir.example.org/fhir/Subscription/sub-42/$status"})
    );
    assert_eq!(entry["response"], json!({"status": "200"}));
    assert_eq!(
        parameters(&bundle),
        [
            ("subscription", json!({"reference": "https://fhir.example.org/fhir/Subscription/sub-42"})),
            ("topic", json!("urn:daylily:fhir/SubscriptionTopic/document-ready")),
            ("status", json!("requested")),
            ("type", json!("handshake")),
            ("events-since-subscription-start", json!("0")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
    );
}

#[test]
fn empty_tells_number_and_time_alone() {
    let (base, subscription) = (base(), id("sub-42"));
    let bundle = read(&channel(&base, &subscription, Level::Empty).event(&event(7), None));
    let told = parameters(&bundle);
    assert!(!told.iter().any(|(name, _)| name == "topic"));
    let parts = &told.iter().find(|(name, _)| name == "notification-event").unwrap().1;
    assert_eq!(
        *parts,
        json!([{"name": "event-number", "valueString": "7"},
               {"name": "timestamp", "valueInstant": "2026-06-01T09:00:00.000Z"}])
    );
    assert!(!bundle.to_string().contains("doc-9"));
}

#[test]
fn id_only_names_the_document_and_the_access_reference_without_a_further_entry() {
    let (base, subscription) = (base(), id("sub-42"));
    let (files, last) = ([file()], event(9_007_199_254_740_993));
    let bundle = read(&channel(&base, &subscription, Level::IdOnly).event(&last, Some(&note(&files, true))));
    let told = parameters(&bundle);
    assert!(told.contains(&("status".to_owned(), json!("active"))));
    assert!(told.contains(&("events-since-subscription-start".to_owned(), json!("9007199254740993"))));
    let parts = &told.iter().find(|(name, _)| name == "notification-event").unwrap().1;
    assert_eq!(
        parts[2]["valueReference"],
        json!({"reference": "https://fhir.example.org/fhir/DocumentReference/doc-9"})
    );
    assert_eq!(parts[3], json!({"name": "access-reference", "valueString": "sub-42/9007199254740993"}));
    assert_eq!(bundle["entry"].as_array().unwrap().len(), 1);
    assert!(!bundle.to_string().contains("Ada"));
}

#[test]
fn full_resource_is_the_document_cut_down_under_its_own_version() {
    let (base, subscription, files) = (base(), id("sub-42"), [file()]);
    let bundle = read(&channel(&base, &subscription, Level::FullResource).event(&event(7), Some(&note(&files, false))));
    let entry = &bundle["entry"][1];
    assert_eq!(entry["fullUrl"], "https://fhir.example.org/fhir/DocumentReference/doc-9");
    assert_eq!(entry["request"], json!({"method": "PUT", "url": "DocumentReference/doc-9"}));
    assert_eq!(
        entry["response"],
        json!({"status": "200", "etag": "W/\"3\"", "lastModified": "2026-06-01T09:00:00.000Z"})
    );
    assert_eq!(
        entry["resource"],
        json!({
            "resourceType": "DocumentReference",
            "id": "doc-9",
            "meta": {"versionId": "3", "lastUpdated": "2026-06-01T09:00:00.000Z",
                "tag": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}]},
            "extension": [
                {"url": EXPIRES, "valueInstant": "2026-06-08T09:00:00.000Z"},
                {"url": ACCESS_REFERENCE, "valueString": "sub-42/7"}],
            "masterIdentifier": {"system": "urn:ietf:rfc:3986", "value": "urn:uuid:0bda6c8f-e9f0-5b51-a7f7-cf28357e350d"},
            "status": "current",
            "type": {"coding": [{"system": "http://loinc.org", "code": "18842-5"}]},
            "content": [{"attachment": {
                "id": FileId::from_bytes([7; 16]).to_string(),
                "extension": [{"url": "urn:daylily:fhir/StructureDefinition/sha256", "valueString": "9f".repeat(32)}],
                "contentType": "application/pdf", "size": 48_213}}],
        })
    );
}

#[test]
fn names_and_titles_go_only_where_policy_says_complete_and_recipients_never() {
    let (subscription, files) = (id("sub-42"), [file()]);
    let cut = |complete| cut_down(&subscription, &event(7), &note(&files, complete));
    let (metadata, complete) = (cut(false), cut(true));
    read(&metadata);
    let whole = read(&complete);
    assert!(!metadata.contains("Ada") && !metadata.contains("ada"), "{metadata}");
    assert_eq!(whole["subject"]["display"], "Ada");
    assert_eq!(whole["content"][0]["attachment"]["title"], "ada.pdf");
    for text in [&metadata, &complete] {
        assert!(!text.contains("recipient") && !text.contains("ris") && !text.contains("\"url\":\"http"), "{text}");
        assert!(!text.contains("\"div\""));
    }
}

#[test]
fn a_type_of_free_text_alone_and_a_missing_file_leave_a_valid_resource() {
    let subscription = id("sub-42");
    let text = r#"{"resourceType":"DocumentReference","status":"current","type":{"text":"Ada's"},"content":[]}"#;
    let read = read(&cut_down(&subscription, &event(1), &DocumentNote { text, files: &[], complete: false }));
    assert!(read.get("type").is_none());
}

#[test]
fn the_same_message_has_the_same_bytes_and_ids_and_another_has_others() {
    let (base, one, two, files) = (base(), id("sub-42"), id("sub-43"), [file()]);
    let first = channel(&base, &one, Level::FullResource);
    let document = note(&files, false);
    assert_eq!(first.event(&event(7), Some(&document)), first.event(&event(7), Some(&document)));
    let noon = at("2026-06-01T12:00:00Z");
    let told = [
        first.event(&event(7), Some(&document)),
        first.event(&event(8), Some(&document)),
        channel(&base, &two, Level::FullResource).event(&event(7), Some(&document)),
        first.handshake(7, 1, noon),
        first.handshake(7, 2, noon),
        first.deactivation(7, noon),
    ];
    let ids: std::collections::BTreeSet<String> =
        told.iter().map(|text| read(text)["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), told.len());
    assert!(ids.iter().all(|id| id.len() == 36 && id.get(14..15) == Some("8")));
}

#[test]
fn a_deactivation_says_off_and_names_no_event() {
    let (base, subscription) = (base(), id("sub-42"));
    let bundle = read(&channel(&base, &subscription, Level::IdOnly).deactivation(12, at("2026-06-01T09:00:01Z")));
    let told = parameters(&bundle);
    assert!(told.contains(&("status".to_owned(), json!("off"))));
    assert!(told.contains(&("type".to_owned(), json!("event-notification"))));
    assert!(!told.iter().any(|(name, _)| name == "notification-event"));
}

#[test]
fn a_plain_resource_goes_below_its_endpoint() {
    let document = id("doc-9");
    for (endpoint, address) in [
        ("https://r.example/fhir", "https://r.example/fhir/DocumentReference/doc-9"),
        ("https://r.example/fhir/", "https://r.example/fhir/DocumentReference/doc-9"),
        ("https://r.example", "https://r.example/DocumentReference/doc-9"),
        ("https://r.example/a?key=1", "https://r.example/a/DocumentReference/doc-9?key=1"),
    ] {
        assert_eq!(plain_address(endpoint, &document).as_deref(), Some(address));
    }
    assert_eq!(plain_address("mailto:a@b", &document), None);
}
