//! From a sender's text to the stored one and back to a reader's.

use std::time::Duration;

use super::*;
use crate::domain::clock::Timestamp;
use crate::domain::id::{FileId, ResourceId};
use crate::domain::lifecycle::State;
use crate::domain::policy::{
    AntivirusTerms, BoundNetwork, Decision, DeliveredWhen, LinkTerms, NotifyContent, RetainFrom,
};
use crate::fhir::json;
use crate::fhir::render::{Absent, Address, Shown};
use crate::fhir::tables::ResourceType;
use proptest::prelude::*;

const HELLO: &str = r#"{"resourceType":"DocumentReference","id":"theirs","meta":{"versionId":"7","lastUpdated":"2020-01-01T00:00:00Z","tag":[{"system":"urn:daylily:fhir/CodeSystem/policy-rule","code":"old"},{"system":"http://t","code":"mine"}]},"extension":[{"url":"urn:daylily:fhir/StructureDefinition/lifecycle","valueCode":"ready"},{"url":"urn:daylily:fhir/StructureDefinition/recipient","valueIdentifier":{"system":"urn:daylily:fhir/client","value":"ehr"}}],"status":"current","type":{"coding":[{"system":"http://loinc.org","code":"18842-5"}]},"subject":{"reference":"https://h.example/fhir/Patient/1/_history/2"},"date":"2026-11-23T14:02:05+01:00","content":[{"attachment":{"contentType":"text/plain","data":"SGVsbG8=","title":"t"}}],"context":{"practiceSetting":{"coding":[{"code":"card"}]}}}"#;

pub(super) fn decision() -> Decision {
    let hour = Duration::from_secs(3_600);
    Decision {
        rule: "discharge-summary".into(),
        store: "main".into(),
        scan: vec![],
        require_antivirus: false,
        antivirus: AntivirusTerms::default(),
        accept: vec![],
        max_size: 1,
        upload_within: hour,
        scan_within: hour,
        quarantine_keep: hour,
        retain: hour * 72,
        retain_from: RetainFrom::Ready,
        purge_after: hour,
        delivered_when: DeliveredWhen::First,
        recipients: vec![],
        notify: NotifyContent::Metadata,
        allow_override: false,
        link: LinkTerms {
            lifetime: hour,
            max_lifetime: hour,
            max_transfer: hour,
            uses: 0,
            max_uses: 0,
            bind_address: false,
            network: BoundNetwork::default(),
            confirm: false,
            grace: hour,
        },
    }
}

fn understand(text: &str) -> Result<Submitted, Refusal> {
    let json::Value::Object(object) = json::parse(text.as_bytes()).unwrap() else { panic!("an object") };
    let resource = Resource { resource_type: ResourceType::DocumentReference, object };
    Submitted::read(resource, &Base::new("https://h.example"))
}

/// SHA-1 and SHA-256 of "Hello", from `sha1sum` and `sha256sum`.
fn note() -> FileNote {
    let sha1 = hex::decode("f7ff9e8b7bb2e09b70935a5d785e0cc5d9d0abf0").unwrap().try_into().unwrap();
    let sha256 = hex::decode("185f8db32271fe25f561a6fc938b2e264306ec304eda518007d1764826381969").unwrap();
    FileNote { content: 0, size: 5, sha1, sha256: sha256.try_into().unwrap() }
}

fn stored(text: &str, notes: &[FileNote]) -> crate::domain::resource::Body {
    let client = ClientId::parse("ris").unwrap();
    understand(text).unwrap().into_body(&ResourceId::parse("ours").unwrap(), &decision(), &client, notes)
}

fn shown(text: &str, notes: &[FileNote], state: State, addresses: &[Address]) -> serde_json::Value {
    let updated = Timestamp::parse("2026-11-23T14:02:05Z").unwrap();
    let mut out = String::new();
    stored(text, notes).render(&Shown { version: 2, updated, state: Some(state), addresses }, &mut out);
    serde_json::from_str(&out).unwrap()
}

#[test]
fn a_reader_sees_what_was_sent_and_what_the_server_adds() {
    let link = Address::Url("https://h.example/d/x".into());
    let read = shown(HELLO, &[note()], State::Ready, &[link]);
    let expected = serde_json::json!({
        "resourceType": "DocumentReference", "id": "ours",
        "meta": {"versionId": "2", "lastUpdated": "2026-11-23T14:02:05.000Z", "tag": [
            {"system": "http://t", "code": "mine"},
            {"system": "urn:daylily:fhir/CodeSystem/policy-rule", "code": "discharge-summary"},
            {"system": "urn:daylily:fhir/CodeSystem/retention-label", "code": "3d"}],
            "source": "urn:daylily:fhir/client/ris"},
        "extension": [
            {"url": "urn:daylily:fhir/StructureDefinition/lifecycle", "valueCode": "ready"},
            {"url": "urn:daylily:fhir/StructureDefinition/recipient",
                "valueIdentifier": {"system": "urn:daylily:fhir/client", "value": "ehr"}}],
        "status": "current", "type": {"coding": [{"system": "http://loinc.org", "code": "18842-5"}]},
        "subject": {"reference": "https://h.example/fhir/Patient/1/_history/2"}, "date": "2026-11-23T14:02:05+01:00",
        "content": [{"attachment": {"url": "https://h.example/d/x", "contentType": "text/plain", "title": "t", "size": 5,
            "hash": "9/+ei3uy4Jtwk1pdeF4MxdnQq/A=", "extension": [
                {"url": "urn:daylily:fhir/StructureDefinition/sha256",
                    "valueString": "185f8db32271fe25f561a6fc938b2e264306ec304eda518007d1764826381969"}]}}],
        "context": {"practiceSetting": {"coding": [{"code": "card"}]}}
    });
    assert_eq!(read, expected);
}

#[test]
fn what_policy_and_search_see() {
    let document = understand(HELLO).unwrap();
    let facts = document.facts(&ClientId::parse("ris").unwrap());
    assert_eq!(
        (facts.kind.len(), facts.department[0].code.as_deref(), facts.client.as_str()),
        (1, Some("card"), "ris")
    );
    assert_eq!(document.index().subject.as_ref().map(|subject| subject.0.as_str()), Some("Patient/1"));
    assert_eq!(document.recipients(), [ClientId::parse("ehr").unwrap()]);
    assert_eq!(document.contents()[0].source, Source::Data(bytes::Bytes::from_static(b"Hello")));
    assert!(document.contents()[0].check(&note()).is_ok());
    let span = document.index().date.unwrap();
    assert_eq!(span.from.to_string(), "2026-11-23T13:02:05.000Z");
}

fn with_attachment(attachment: &str) -> String {
    format!(
        "{{\"resourceType\":\"DocumentReference\",\"status\":\"current\",\"content\":[{{\"attachment\":{attachment}}}]}}"
    )
}

#[test]
fn own_links_come_back_as_their_files_and_foreign_ones_are_refused() {
    let file = FileId::from_bytes([4; 16]);
    for url in [format!("Binary/{file}"), format!("https://h.example/fhir/Binary/{file}/_history/1")] {
        let text = with_attachment(&format!("{{\"url\":\"{url}\"}}"));
        assert_eq!(understand(&text).unwrap().contents()[0].source, Source::File(file));
        assert!(!stored(&text, &[note()]).text.contains("\"url\":\"Binary"), "no link is stored");
        assert!(!stored(&text, &[]).text.contains(&file.to_string()));
    }
    let code = |attachment: &str| understand(&with_attachment(attachment)).unwrap_err();
    assert_eq!(code(r#"{"url":"https://other/a"}"#).code(), Code::SourceRefused);
    assert_eq!(code(r#"{"url":"https://h.example/d/zzz"}"#).code(), Code::ReferenceNotFound);
    assert_eq!(code(r#"{"contentType":"a/b","data":"*"}"#).code(), Code::ValueMalformed);
}

#[test]
fn a_declaration_that_does_not_fit_is_told() {
    let wrong = "0".repeat(64);
    let of = |sha256: &str| {
        with_attachment(&format!(
            "{{\"contentType\":\"text/plain\",\"data\":\"SGVsbG8=\",\"extension\":[{{\"url\":\"{SHA256}\",\"valueString\":\"{sha256}\"}}]}}"
        ))
    };
    assert_eq!(understand(&of(&wrong)).unwrap_err().code(), Code::ContentMismatch);
    assert_eq!(understand(&of("abc")).unwrap_err().code(), Code::ValueMalformed);
    let sized = with_attachment(r#"{"contentType":"text/plain","size":6}"#);
    let refused = understand(&sized).unwrap().contents()[0].check(&note()).unwrap_err();
    assert_eq!(refused.code(), Code::ContentMismatch);
}

#[test]
fn where_there_may_be_no_url_there_is_a_reason() {
    for (state, reason) in
        [(State::Created, "temp-unknown"), (State::Quarantined, "masked"), (State::Expired, "not-permitted")]
    {
        let read = shown(HELLO, &[], state, &[Address::Absent(Absent::of(state).unwrap())]);
        let extension = &read["content"][0]["attachment"]["_url"]["extension"][0];
        assert_eq!(extension["url"], "http://hl7.org/fhir/StructureDefinition/data-absent-reason");
        assert_eq!(extension["valueCode"], reason);
    }
}

#[test]
fn a_file_over_31_bits_shows_no_size() {
    let large = FileNote { size: 1 << 31, ..note() };
    assert!(shown(HELLO, &[large], State::Ready, &[])["content"][0]["attachment"].get("size").is_none());
}

proptest! {
    #[test]
    fn whatever_text_is_inside_the_splices_keep_it_whole(title in ".{0,30}", tags in 0usize..3, entries in 1usize..4) {
        let attachment = serde_json::json!({"attachment": {"contentType": "text/plain", "title": format!("x{title}")}});
        let tag: Vec<_> = (0..tags).map(|at| serde_json::json!({"system": "http://t", "code": format!("c{at}")})).collect();
        let mut sent = serde_json::json!({"resourceType": "DocumentReference", "status": "current",
            "description": format!("x{title}"), "content": vec![attachment; entries]});
        if tags > 0 {
            sent["meta"] = serde_json::json!({"tag": tag});
        }
        let links: Vec<_> = (0..entries).map(|at| Address::Url(format!("https://h/d/{at}"))).collect();
        let mut read = shown(&sent.to_string(), &[], State::Ready, &links);
        for at in 0..entries {
            let url = read["content"][at]["attachment"].as_object_mut().unwrap().remove("url").unwrap();
            prop_assert_eq!(url, format!("https://h/d/{at}"));
        }
        prop_assert_eq!(&read["meta"]["versionId"], "2");
        prop_assert_eq!(read["meta"]["tag"].as_array().unwrap().len(), tags + 2);
        for own in ["id", "meta", "extension"] {
            read.as_object_mut().unwrap().remove(own);
            sent.as_object_mut().unwrap().remove(own);
        }
        prop_assert_eq!(read, sent);
    }
}
