//! Every file of `tests/fhir-examples` is answered as its manifest says: the valid ones come back value for value, the
//! invalid ones are refused with the right status, issue type and place.

use daylily::domain::refusal::{Issue, Place, Refusal, Severity};
use daylily::fhir::json::{Value, parse};
use daylily::fhir::tables::ResourceType;
use daylily::fhir::validate::{Expectation, read};
use std::path::PathBuf;

/// Refused by this server's rules though valid R4: it names `implicitRules`.
const REFUSED_BY_POLICY: &[(&str, &str)] = &[("docref-full.json", "rules-unknown")];

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fhir-examples").join(name)
}

fn cases(name: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(folder(name).join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    let cases = manifest["cases"].as_array().unwrap().clone();
    assert_eq!(Some(cases.len() as u64), manifest["count"].as_u64());
    cases
}

fn expectation(context: &str) -> Expectation<'_> {
    let Some((method, path)) = context.split_once(" /") else { return Expectation::Any };
    match (method, path.split_once('/')) {
        ("PUT", Some((name, id))) => Expectation::Update(ResourceType::parse(name).unwrap(), id),
        _ if path.is_empty() => Expectation::System,
        _ => Expectation::Create(ResourceType::parse(path).unwrap()),
    }
}

fn texts<'c>(case: &'c serde_json::Value, own: Option<&'c serde_json::Value>, others: &str) -> Vec<&'c str> {
    let many = |value: &'c serde_json::Value| value.as_array().into_iter().flatten().filter_map(|one| one.as_str());
    let own = own.into_iter().flat_map(|own| own.as_str().into_iter().chain(many(own)));
    own.chain(many(&case[others])).collect()
}

/// What does not fit in the answer to an invalid file.
fn misfit(case: &serde_json::Value, refusal: &Refusal) -> Option<String> {
    let first: &Issue = refusal.first();
    let statuses: Vec<_> = case["altHttp"].as_array().into_iter().flatten().chain([&case["http"]]).collect();
    let status = statuses.iter().any(|status| status.as_u64() == Some(u64::from(refusal.status())));
    let codes = texts(case, Some(&case["issue"]["code"]), "altCodes");
    let code = codes.contains(&first.code().entry().issue_type.as_str());
    let places = texts(case, Some(&case["issue"]["expression"]), "altExpression");
    let place = match first.where_is() {
        Place::Element(path) => places.contains(&path.as_str()),
        _ => places.is_empty(),
    };
    let severity = matches!(first.how_bad(), Severity::Error | Severity::Fatal);
    let said = format!("{} {first:?}", refusal.status());
    (!(status && code && place && severity)).then(|| format!("{}: {said}; expected {}", case["file"], case["issue"]))
}

#[test]
fn every_invalid_file_is_refused_as_the_manifest_says() {
    let mut misfits = Vec::new();
    for case in cases("invalid") {
        let body = std::fs::read(folder("invalid").join(case["file"].as_str().unwrap())).unwrap();
        match read(&body, expectation(case["context"].as_str().unwrap_or_default())) {
            Ok(_) => misfits.push(format!("{}: accepted", case["file"])),
            Err(refusal) => misfits.extend(misfit(&case, &refusal)),
        }
    }
    assert!(misfits.is_empty(), "{}\n{}", misfits.len(), misfits.join("\n"));
}

#[test]
fn every_valid_file_is_accepted_and_comes_back_value_for_value() {
    for case in cases("valid") {
        let file = case["file"].as_str().unwrap();
        let body = std::fs::read(folder("valid").join(file)).unwrap();
        if let Some((_, code)) = REFUSED_BY_POLICY.iter().find(|(name, _)| *name == file) {
            let refusal = read(&body, Expectation::Any).unwrap_err();
            assert!(refusal.issues().all(|issue| issue.code().name() == *code), "{file}: {refusal:?}");
        } else {
            let resource = read(&body, Expectation::Any).unwrap_or_else(|refusal| panic!("{file}: {refusal:?}"));
            assert_eq!(resource.object.text("resourceType"), Some(resource.resource_type.as_str()));
        }
        let written = parse(&body).unwrap().to_json();
        assert_eq!(tokens(&written), tokens(std::str::from_utf8(&body).unwrap()), "{file}");
        assert_eq!(parse(written.as_bytes()).unwrap(), parse(&body).unwrap(), "{file}");
    }
}

/// Tokens of a JSON text, by a reader other than ours: strings unescaped, numbers as written, no white space.
fn tokens(text: &str) -> Vec<String> {
    let raw: &serde_json::value::RawValue = serde_json::from_str(text).unwrap();
    let mut rest = raw.get();
    let mut tokens = Vec::new();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string_length(rest),
            c if c.is_ascii_whitespace() || "{}[]:,".contains(c) => 1,
            _ => rest.find(|c: char| c.is_ascii_whitespace() || "{}[]:,".contains(c)).unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(length);
        if first == '"' {
            tokens.push(format!("\"{}", serde_json::from_str::<String>(token).unwrap()));
        } else if !first.is_ascii_whitespace() {
            tokens.push(token.to_owned());
        }
        rest = after;
    }
    tokens
}

fn string_length(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let end = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        end
    });
    end.unwrap() + 2
}

#[test]
fn a_value_outlives_its_text() {
    let body = std::fs::read(folder("valid").join("docref-minimal.json")).unwrap();
    let owned: Value<'static> = parse(&body).unwrap().into_owned();
    let again = parse(&body).unwrap();
    assert_eq!(owned, again);
}
