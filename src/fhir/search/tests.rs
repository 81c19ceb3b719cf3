//! What the rules of FHIR R4 search say about whole query strings.

use super::*;
use crate::domain::policy::CodeTest;
use crate::domain::query::{Filter, Prefix, Sort, SortKey};
use crate::domain::refusal::Code;
use crate::domain::resource::Target;
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn pairs(query: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

fn ask(query: &str, strict: bool) -> Result<Search, Refusal> {
    read(&pairs(query), &Asked { base: &Base::new("https://h.example"), now: NOW, strict })
}

fn filters(query: &str) -> Vec<Filter> {
    ask(query, false).unwrap().query.filters
}

fn targets(texts: &[&str]) -> Vec<Target> {
    texts.iter().map(|text| Target((*text).to_owned())).collect()
}

#[test]
fn parameters_are_filters_and_lists_are_alternatives() {
    assert_eq!(filters("patient=1,Patient/2"), [Filter::Patient(targets(&["Patient/1", "Patient/2"]))]);
    assert_eq!(filters("subject:Group=1"), [Filter::Subject(targets(&["Group/1"]))]);
    let Some(Filter::Subject(mut any)) = filters("subject=1").pop() else { panic!("a subject") };
    any.sort();
    assert_eq!(any, targets(&["Device/1", "Group/1", "Patient/1", "Practitioner/1"]));
    let identifier = CodeTest { system: Some("urn:oid:1".into()), code: Some("a,b".into()) };
    assert_eq!(filters("patient.identifier=urn:oid:1%7Ca%5C,b"), [Filter::PatientIdentifier(vec![identifier])]);
    assert_eq!(filters("date=ge2024-01-01&date=lt2024-02-01").len(), 2);
    assert!(matches!(filters("date=sa2024")[..], [Filter::Date(ref tests)] if tests[0].prefix == Prefix::Sa));
}

#[test]
fn the_system_of_a_status_is_implied() {
    let status = |codes: &[&str]| vec![Filter::Status(codes.iter().map(|code| (*code).to_owned()).collect())];
    let system = "http://hl7.org/fhir/document-reference-status";
    assert_eq!(filters("status=current,superseded"), status(&["current", "superseded"]));
    assert_eq!(filters(&format!("status={system}|current")), status(&["current"]));
    assert_eq!(filters(&format!("status={system}|")), status(&["current", "superseded", "entered-in-error"]));
    assert_eq!(filters("status=http://other|current"), status(&[""]));
}

#[test]
fn what_is_not_known_is_ignored_and_said_or_refused_when_strict() {
    let search = ask("foo=1&author=2&patient=3", false).unwrap();
    assert_eq!(search.warnings.len(), 2);
    assert_eq!(search.used, [("patient".into(), "3".into()), ("_count".into(), "20".into())]);
    let refused = ask("foo=1&author=2&patient=3", true).unwrap_err();
    assert_eq!((refused.status(), refused.code(), refused.issues().count()), (400, Code::ParameterUnsupported, 2));
}

#[test]
fn modifiers_and_chains_that_would_change_the_answer_are_always_refused() {
    for query in [
        "type:not=a",
        "patient:missing=true",
        "patient:identifier=a|b",
        "subject.name=x",
        "status:text=x",
        "_filter=x",
        "patient:Group=1",
        "date:missing=true",
        "_id:not=1",
        "patient.name=x",
    ] {
        assert_eq!(ask(query, false).unwrap_err().code(), Code::ParameterUnsupported, "{query}");
    }
}

#[test]
fn every_mistake_is_told_in_one_pass() {
    let refused = ask("date=yesterday&_count=-1&type=|&_id=a/b&lifecycle=gone&_count=2", false).unwrap_err();
    assert_eq!((refused.code(), refused.issues().count()), (Code::ParameterMalformed, 6));
    assert!(!format!("{refused:?}").contains("yesterday"), "a value is never repeated");
}

#[test]
fn empty_values_are_no_conditions() {
    let search = ask("patient=&type=,&date=", false).unwrap();
    assert_eq!((search.query.filters.len(), search.used.len()), (0, 1));
}

#[test]
fn count_sort_and_total() {
    let count = |query: &str| ask(query, false).unwrap().query.count;
    assert_eq!(
        (count("_count=5"), count("_count=0"), count("_count=99999999999999999999"), count("")),
        (5, 0, 1_000, 20)
    );
    assert_eq!((count("_summary=count"), count("_summary=count&_count=5")), (0, 0));
    assert_eq!(ask("_count=5000", false).unwrap().used, [("_count".into(), "1000".into())]);
    let sorted = ask("_sort=-_lastUpdated", false).unwrap().query;
    assert_eq!((sorted.sort, sorted.as_of), (Sort { key: SortKey::Updated, descending: true }, Some(NOW)));
    assert_eq!(ask("_sort=date,_id", false).unwrap().warnings.len(), 1);
    assert!(ask("_sort=author", true).is_err() && !ask("_total=none", false).unwrap().total);
}

#[test]
fn limits_hold() {
    let many = "patient=1&".repeat(101);
    assert_eq!(ask(&many, false).unwrap_err().code(), Code::SearchTooCostly);
    assert!(ask(&format!("_id={}", ["a"; 100].join(",")), false).is_ok());
    assert_eq!(ask(&format!("_id={}", ["a"; 101].join(",")), false).unwrap_err().code(), Code::ParameterMalformed);
    let listed = ask(&"date=x&".repeat(30), false).unwrap_err();
    assert_eq!(listed.issues().count(), 21);
}

/// Found by fuzzing: the default `_count` made it one parameter too many.
#[test]
fn a199_the_self_link_of_the_largest_search_can_be_followed() {
    let largest: String = (0..MAX_PARAMETERS).map(|at| format!("_id=a{at}&")).collect();
    let search = ask(&largest, false).unwrap();
    let link = url(&Base::new("https://h.example"), &search.used);
    assert_eq!(ask(link.split_once('?').unwrap().1, true).unwrap(), search);
}

#[test]
fn a_page_link_stands_alone() {
    assert_eq!(page_text(&pairs("_page=abc&_format=json")), Some("abc"));
    assert_eq!(page_text(&pairs("_page=abc&_count=1000")), Some("abc"), "as @medplum/core asks for further pages");
    assert_eq!(page_text(&pairs("_page=abc&patient=1")), None);
    assert_eq!(ask("_page=abc&patient=1", false).unwrap_err().code(), Code::ParameterMalformed);
}

proptest! {
    #[test]
    fn what_was_used_reads_the_same_again(query in "((patient|date|type|status|_count|_sort|identifier|foo)=[a-z0-9|,\\-]{0,8}&){0,5}") {
        if let Ok(search) = ask(&query, false) {
            let again = ask(url(&Base::new("https://h.example"), &search.used).split_once('?').unwrap().1, true).unwrap();
            prop_assert_eq!((again.query, again.used), (search.query, search.used));
        }
    }

    #[test]
    fn no_query_breaks_the_reader(query in ".{0,80}") {
        let _ = ask(&query, false);
    }
}
