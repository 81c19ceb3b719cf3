//! What lists cost: whatever a sender writes many of, eight times as many take about eight times the work, and more than there may be are
//! refused at their place. Work is this thread's processor time, so that what else the machine does is not counted.

use std::fmt::Write as _;

use rustix::time::{ClockId, clock_gettime};

use super::*;
use crate::domain::id::ResourceId;
use crate::fhir::context::MAX_NAMED;
use crate::fhir::json;
use crate::fhir::tables::ResourceType;
use crate::fhir::validate::{self, Expectation, MAX_ITEMS};

/// `n` items, each with its number in the place of `@`.
fn list(item: &str, n: usize) -> String {
    let mut out = String::new();
    for at in 0..n {
        let comma = if at == 0 { "" } else { "," };
        write!(out, "{comma}{}", item.replace('@', &at.to_string())).unwrap();
    }
    out
}

/// Members of a document that a sender may write many of.
fn members(n: usize) -> Vec<(&'static str, String)> {
    let client = r#"{"url":"urn:daylily:fhir/StructureDefinition/recipient","valueIdentifier":{"system":"urn:daylily:fhir/client","value":"c@"}}"#;
    let coding = r#"{"system":"http://s","code":"c@"}"#;
    let reference = r#"{"reference":"Practitioner/@"}"#;
    let contained = list(r#"{"resourceType":"Organization","id":"o@","name":"n"}"#, n);
    let used = list(r##"{"reference":"#o@"}"##, n);
    let names = list(r#""n@":[{"a":"b"}]"#, n);
    vec![
        ("author", format!(r#""author":[{}]"#, list(reference, n))),
        ("encounter", format!(r#""context":{{"encounter":[{}]}}"#, list(r#"{"reference":"Encounter/@"}"#, n))),
        ("identifier", format!(r#""identifier":[{}]"#, list(r#"{"system":"urn:s","value":"@"}"#, n))),
        ("extension", format!(r#""extension":[{}]"#, list(client, n))),
        ("category", format!(r#""category":[{{"coding":[{}]}}]"#, list(coding, n))),
        ("securityLabel", format!(r#""securityLabel":[{{"coding":[{}]}}]"#, list(coding, n))),
        ("tag", format!(r#""meta":{{"tag":[{}]}}"#, list(coding, n))),
        ("contained", format!(r#""contained":[{contained}],"author":[{used}]"#)),
        (
            "member",
            format!(
                r#""contained":[{{"resourceType":"Task","id":"t",{names}}}],"context":{{"related":[{{"reference":"\u0023t"}}]}}"#
            ),
        ),
    ]
}

fn body(member: &str, contents: usize) -> String {
    let content = list(r#"{"attachment":{"contentType":"text/plain","data":"SGVsbG8="}}"#, contents);
    format!(r#"{{"resourceType":"DocumentReference","status":"current",{member},"content":[{content}]}}"#)
}

fn understood(text: &str) {
    let json::Value::Object(object) = json::parse(text.as_bytes()).unwrap() else { panic!("an object") };
    let resource = Resource { resource_type: ResourceType::DocumentReference, object };
    let Ok(read) = Submitted::read(resource, &Base::new("https://h.example")) else { return };
    let hello = |at: u16| FileNote { content: at, size: 5, sha1: [0; 20], sha256: [0; 32] };
    let notes: Vec<FileNote> = (0..u16::try_from(read.contents().len()).unwrap()).map(hello).collect();
    let client = ClientId::parse("ehr").unwrap();
    read.into_body(&ResourceId::parse("1").unwrap(), &super::tests::decision(), &client, &notes);
}

/// The least processor time of three runs, in nanoseconds.
fn work(run: impl Fn()) -> i64 {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec * 1_000_000_000 + time.tv_nsec
    };
    let once = |_| {
        let began = now();
        run();
        now() - began
    };
    (0..3).map(once).min().unwrap()
}

/// Eight times as much takes less than 24 times the work; what compares each with all others takes 64 times.
fn is_linear(name: &str, few: impl Fn(), many: impl Fn()) {
    let (few, many) = (work(few), work(many));
    assert!(many < 24 * few, "{name}: {few} ns, and {many} ns for eight times as much");
}

#[test]
fn work_on_each_list_grows_with_its_length() {
    for ((name, few), (_, many)) in members(2_000).into_iter().zip(members(16_000)) {
        let (few, many) = (body(&few, 1), body(&many, 1));
        is_linear(name, || understood(&few), || understood(&many));
    }
    let (few, many) = (body(r#""id":"d""#, 2_000), body(r#""id":"d""#, 16_000));
    is_linear("content", || understood(&few), || understood(&many));
}

#[test]
fn checking_each_list_grows_with_its_length() {
    let check =
        |text: &str| drop(validate::read(text.as_bytes(), Expectation::Create(ResourceType::DocumentReference)));
    for ((name, few), (_, many)) in members(500).into_iter().zip(members(4_000)) {
        let (few, many) = (body(&few, 1), body(&many, 1));
        is_linear(name, || check(&few), || check(&many));
    }
    let narrative = |n: usize| {
        let attributes: String = (0..n).map(|at| format!(" a{at}='b'")).collect();
        let div = format!("<div xmlns='http://www.w3.org/1999/xhtml'><p{attributes}>t</p></div>");
        body(&format!(r#""text":{{"status":"generated","div":"{div}"}}"#), 1)
    };
    let (few, many) = (narrative(8_000), narrative(64_000));
    is_linear("attributes of a narrative", || check(&few), || check(&many));
    // The name stands above each of the items: it is not copied for each.
    let below = |length: usize| {
        let name = "n".repeat(length);
        let items = list(r#"{"a":"b"}"#, 4_000);
        body(&format!(r#""contained":[{{"resourceType":"Task","id":"t","{name}":[{items}]}}]"#), 1)
    };
    let (short, long) = (below(1_000), below(100_000));
    is_linear("length of a name", || understood(&short), || understood(&long));
}

#[test]
fn lists_that_are_too_long_are_refused_at_their_place() {
    let told = |text: &str| {
        let create = Expectation::Create(ResourceType::DocumentReference);
        let read = validate::read(text.as_bytes(), create)
            .and_then(|resource| Submitted::read(resource, &Base::new("https://h.example")));
        let refusal = read.map(drop).err()?;
        let issue = refusal.issues().next()?;
        Some((refusal.code(), issue.message().to_owned()))
    };
    for ((name, fits), (_, long)) in members(100).into_iter().zip(members(MAX_ITEMS + 1)) {
        assert_eq!(told(&body(&fits, 1)), None, "{name}");
        if name != "member" {
            let (code, told) = told(&body(&long, 1)).unwrap();
            assert_eq!(code, Code::ListTooLong, "{name}: {told}");
            assert!(told.contains("4096") && told.contains(name), "{name}: {told}");
        }
    }
    for name in ["author", "encounter", "identifier", "extension", "category", "securityLabel"] {
        let of = |n: usize| members(n).into_iter().find(|(one, _)| *one == name).unwrap().1;
        assert_eq!(told(&body(&of(MAX_NAMED), 1)), None, "{name}");
        let (code, told) = told(&body(&of(MAX_NAMED + 1), 1)).unwrap();
        assert!(code == Code::ListTooLong && told.contains("2048") && told.contains(name), "{name}: {told}");
    }
}
