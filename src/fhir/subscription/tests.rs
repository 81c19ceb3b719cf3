//! Terms by the refusal table and the backport guide, and properties of the readers of header lines and filters.

use proptest::prelude::*;
use secrecy::ExposeSecret;
use serde_json::{Value as Json, json};

use super::*;
use crate::domain::id::ResourceId;
use crate::domain::query::Filter;
use crate::domain::refusal::Place;
use crate::domain::subscription::{Level, Topic};

const GUIDE: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition";

fn subscription() -> Json {
    json!({
        "resourceType": "Subscription", "status": "requested", "reason": "r",
        "criteria": "urn:daylily:fhir/SubscriptionTopic/document-ready",
        "channel": {
            "type": "rest-hook", "endpoint": "https://r.example/hooks", "payload": "application/fhir+json",
            "_payload": {"extension": [{"url": format!("{GUIDE}/backport-payload-content"), "valueCode": "id-only"}]},
        },
    })
}

fn read(body: &Json) -> Result<Submitted, Refusal> {
    let (base, now) = (Base::new("https://h.example"), Timestamp::parse("2026-06-01T00:00:00Z").unwrap());
    let rules = Rules { base: &base, now };
    Submitted::read(body.to_string().as_bytes(), Expectation::Create(ResourceType::Subscription), &rules)
}

fn with(change: impl FnOnce(&mut Json)) -> Result<Submitted, Refusal> {
    let mut body = subscription();
    change(&mut body);
    read(&body)
}

fn refused(change: impl FnOnce(&mut Json)) -> Vec<(&'static str, String)> {
    let refusal = with(change).unwrap_err();
    assert_eq!(refusal.status(), 422, "{refusal:?}");
    let place = |issue: &Issue| match issue.where_is() {
        Place::Element(path) => path.clone(),
        other => panic!("{other:?}"),
    };
    refusal.issues().map(|issue| (issue.code().name(), place(issue))).collect()
}

fn filter_extension(text: &str) -> Json {
    json!({"extension": [{"url": format!("{GUIDE}/backport-filter-criteria"), "valueString": text}]})
}

fn on_channel(body: &mut Json, name: &str, value: Json) {
    let mut extension = json!({"url": format!("{GUIDE}/{name}")});
    extension.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
    body["channel"]["extension"] = json!([extension]);
}

#[test]
fn a_topic_is_named_by_its_urn_or_below_the_base_with_this_version_or_none() {
    for criteria in [
        "urn:daylily:fhir/SubscriptionTopic/document-revoked".to_owned(),
        "https://h.example/fhir/SubscriptionTopic/document-revoked".to_owned(),
        format!("urn:daylily:fhir/SubscriptionTopic/document-revoked|{}", env!("CARGO_PKG_VERSION")),
    ] {
        let read = with(|body| body["criteria"] = criteria.clone().into()).unwrap();
        assert_eq!(read.form, Form::Topic(Topic::Revoked, Level::IdOnly), "{criteria}");
    }
    for criteria in [
        "urn:daylily:fhir/SubscriptionTopic/document-updated",
        "urn:daylily:fhir/SubscriptionTopic/document-revoked|9",
        "https://other.example/fhir/SubscriptionTopic/document-revoked",
    ] {
        let codes = refused(|body| body["criteria"] = criteria.into());
        assert_eq!(codes, [("topic-unknown", "Subscription.criteria".to_owned())], "{criteria}");
    }
}

#[test]
fn the_three_written_forms_of_a_filter_mean_the_same() {
    let read = |text: &str| with(|body| body["_criteria"] = filter_extension(text)).unwrap().filters;
    let plain = read("patient=Patient/1");
    assert!(matches!(plain.as_slice(), [Filter::Patient(_)]));
    for text in ["DocumentReference.patient=Patient/1", "DocumentReference?patient=Patient/1", "patient=Patient%2F1"] {
        assert_eq!(read(text), plain, "{text}");
    }
    assert!(matches!(read("patient.identifier=urn:a|1").as_slice(), [Filter::PatientIdentifier(_)]));
    assert_eq!(read("DocumentReference?patient=Patient/1&status=current").len(), 2);
}

#[test]
fn a_filter_that_cannot_be_evaluated_never_matches_everything() {
    for (text, code) in [
        ("patient", "criteria-malformed"),
        ("type=", "criteria-malformed"),
        ("type=,", "criteria-malformed"),
        ("", "criteria-malformed"),
        ("date=soon", "criteria-malformed"),
        ("colour=red", "filter-unsupported"),
        ("type:not=a|b", "filter-unsupported"),
        ("Patient.name=x", "filter-unsupported"),
        ("List?code=folder", "filter-unsupported"),
        ("_has:List:item:code=x", "filter-unsupported"),
        ("_filter=a eq b", "filter-unsupported"),
        ("_lastUpdated=ge2026", "filter-unsupported"),
        ("_count=0", "filter-unsupported"),
        ("_sort=date", "filter-unsupported"),
    ] {
        let in_extension = with(|body| body["_criteria"] = filter_extension(text));
        let in_criteria = with(|body| {
            body["criteria"] = format!("DocumentReference?{text}").into();
            body["channel"]["_payload"] = Json::Null;
            body["channel"].as_object_mut().unwrap().remove("_payload");
        });
        for (place, read) in [("extension", in_extension), ("criteria", in_criteria)] {
            match read {
                // An empty extension is structure's; an empty query is every document, as in a search.
                _ if text.is_empty() || text.contains('?') => {}
                Err(refusal) => assert_eq!(refusal.code().name(), code, "{place}: {text}"),
                Ok(read) => panic!("{place}: {text}: {:?}", read.filters),
            }
        }
    }
}

#[test]
fn terms_are_held_to_and_none_is_dropped() {
    let path = |path: &str| path.to_owned();
    assert_eq!(
        refused(|body| on_channel(body, "backport-heartbeat-period", json!({"valueUnsignedInt": 60}))),
        [("subscription-term-refused", path("Subscription.channel.extension[0]"))]
    );
    assert_eq!(
        refused(|body| body["end"] = "2026-05-31T23:59:59Z".into()),
        [("subscription-term-refused", path("Subscription.end"))]
    );
    assert_eq!(
        refused(|body| body["status"] = "error".into()),
        [("subscription-term-refused", path("Subscription.status"))]
    );
    assert_eq!(
        refused(|body| body["channel"]["payload"] = "application/fhir+json; fhirVersion=5.0".into()),
        [("channel-unsupported", path("Subscription.channel.payload"))]
    );
    // A filter in the wrong place would otherwise mean no filter.
    let misplaced = json!([{"url": format!("{GUIDE}/backport-filter-criteria"), "valueString": "patient=Patient/1"}]);
    assert_eq!(
        refused(|body| body["extension"] = misplaced),
        [("channel-unsupported", path("Subscription.extension[0]"))]
    );
}

#[test]
fn a_timeout_above_the_maximum_is_stored_and_shown_as_the_maximum() {
    let read = with(|body| on_channel(body, "backport-timeout", json!({"valueUnsignedInt": 90}))).unwrap();
    assert_eq!(read.timeout, MAX_TIMEOUT);
    assert!(read.stored_text().contains("\"valueUnsignedInt\":30"));
    assert_eq!(read_default().timeout, DEFAULT_TIMEOUT);
}

fn read_default() -> Submitted {
    read(&subscription()).unwrap()
}

#[test]
fn all_mistakes_come_in_one_answer() {
    let codes = refused(|body| {
        body["criteria"] = "urn:nothing".into();
        body["channel"]["endpoint"] = "ftp://r.example".into();
        body["channel"]["type"] = "email".into();
        body["channel"]["header"] = json!(["Host: a", "no colon"]);
    });
    let codes: Vec<&str> = codes.iter().map(|(code, _)| *code).collect();
    assert_eq!(
        codes,
        ["topic-unknown", "channel-unsupported", "value-malformed", "channel-header-refused", "value-malformed"]
    );
}

#[test]
fn what_is_stored_holds_no_header_value_and_what_is_shown_is_the_servers_own_state() {
    let read = with(|body| {
        body["channel"]["header"] = json!(["Authorization: Bearer abc", "X-B:  two: colons "]);
        body["error"] = "theirs".into();
        body["id"] = "theirs".into();
    })
    .unwrap();
    assert_eq!(read.headers[1].value.as_ref().unwrap().expose_secret(), "two: colons");
    let stored = read.stored_text();
    assert!(!stored.contains("abc") && !stored.contains("colons") && !stored.contains("theirs"), "{stored}");
    let id = ResourceId::parse("s-1").unwrap();
    let updated = Timestamp::parse("2026-06-01T00:00:00Z").unwrap();
    let shown = Shown {
        id: &id,
        version: 3,
        updated,
        status: SubscriptionStatus::Error,
        error: Some(Code::DeliveryErrorResponse),
        sent: None,
    };
    let value: Json = serde_json::from_str(&shown.render(&stored)).unwrap();
    assert_eq!(
        (&value["status"], &value["id"], &value["meta"]["versionId"]),
        (&json!("error"), &json!("s-1"), &json!("3"))
    );
    assert_eq!(value["channel"]["header"], json!(["Authorization: ********", "X-B: ********"]));
    assert!(!value["error"].as_str().unwrap().contains(['{', '}']));
    validate::read(shown.render(&stored).as_bytes(), Expectation::Any).unwrap();
}

#[test]
fn a_masked_line_keeps_its_value_by_name_and_in_order() {
    let lines = |texts: &[&str]| with(|body| body["channel"]["header"] = json!(texts)).unwrap().headers;
    let stored = lines(&["X-A: 1", "X-A: 2", "X-B: 3"]);
    let mut back = lines(&["X-B: ********", "x-a: ********", "X-A: ********", "X-C: new"]);
    keep(&mut back, stored.clone()).unwrap();
    let plain: Vec<String> = back.iter().map(HeaderLine::plain).collect();
    assert_eq!(plain, ["X-B: 3", "x-a: 1", "X-A: 2", "X-C: new"]);
    let mut more = lines(&["X-C: ********"]);
    assert_eq!(keep(&mut more, stored).unwrap_err().code(), Code::ChannelHeaderRefused);
}

#[test]
fn a_host_is_compared_with_scheme_and_port() {
    let same = |a: &str, b: &str| host_of(a) == host_of(b);
    assert!(same("https://R.example/a", "https://r.example:443/b?c"));
    assert!(!same("https://r.example/a", "https://r.example:8443/a"));
    assert!(!same("https://r.example/a", "https://s.example/a"));
}

proptest! {
    #[test]
    fn a_header_line_that_is_taken_comes_back_whole_and_cannot_become_two(line in "[A-Za-z-]{1,12}:[ -~\\r\\n\\t]{0,30}") {
        if let Ok(read) = with(|body| body["channel"]["header"] = json!([line])) {
            let sealed = to_sealed(&read.headers);
            let again = from_sealed(&sealed);
            let expected: Vec<String> =
                read.headers.iter().filter(|line| line.value.is_some()).map(HeaderLine::plain).collect();
            prop_assert_eq!(again.iter().map(HeaderLine::plain).collect::<Vec<_>>(), expected);
            prop_assert!(!line.trim_matches([' ', '\t']).contains(['\r', '\n']));
        }
    }

    #[test]
    fn no_filter_breaks_the_reader_and_none_is_lost(text in "[A-Za-z_.:?&=,|/%-]{1,40}") {
        if let Ok(read) = with(|body| body["_criteria"] = filter_extension(&text)) {
            let query = text.split_once('?').map_or(text.as_str(), |(_, query)| query);
            prop_assert!(read.filters.len() >= query.split('&').count().min(1), "{text}");
            prop_assert!(!read.filters.is_empty());
        }
    }
}
