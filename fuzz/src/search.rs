//! Query strings: what is understood is bounded, says the same again from its own `self` link, and is read the same strictly and leniently;
//! what is refused is refused without a value.

use daylily::domain::query::{Filter, MAX_COUNT};
use daylily::fhir::search::{self, MAX_ALTERNATIVES, MAX_PARAMETERS};

use crate::{resource, secret};

pub fn run(data: &[u8]) {
    let query = secret::planted(data);
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(&query).into_owned().collect();
    let _ = search::page_text(&pairs);
    let strict = search::read(&pairs, &resource::asked(true));
    let found = match search::read(&pairs, &resource::asked(false)) {
        Ok(found) => found,
        Err(refusal) => {
            assert!(strict.is_err(), "strictly taken, leniently refused");
            return secret::not_in(&refusal);
        }
    };
    match strict {
        Ok(strict) => assert_eq!((&strict, strict.warnings.len()), (&found, 0)),
        Err(refusal) => {
            assert!(!found.warnings.is_empty(), "strictly refused, leniently taken without a warning");
            secret::not_in(&refusal);
        }
    }
    crate::taken();
    assert!(found.query.count <= MAX_COUNT && found.query.filters.len() <= MAX_PARAMETERS);
    for filter in &found.query.filters {
        bounded(filter);
    }
    let link = search::url(resource::base(), &found.used);
    let link = url::Url::parse(&link).expect("a self link that is no URL");
    let pairs: Vec<(String, String)> = link.query_pairs().into_owned().collect();
    assert_eq!(pairs, found.used, "the self link says something else");
    let again = search::read(&pairs, &resource::asked(true)).expect("the self link is refused");
    assert_eq!((again.query, again.total), (found.query, found.total), "the self link asks something else");
}

fn bounded(filter: &Filter) {
    let count = match filter {
        Filter::Id(list) => list.len(),
        // A bare id stands for one target of each type.
        Filter::Patient(list) | Filter::Subject(list) | Filter::Encounter(list) | Filter::Custodian(list) => {
            list.len().div_ceil(4)
        }
        Filter::PatientIdentifier(list) | Filter::Type(list) | Filter::Category(list) | Filter::Identifier(list) => {
            list.len()
        }
        Filter::Status(list) => list.len().div_ceil(3),
        Filter::Date(list) | Filter::Updated(list) => {
            assert!(list.iter().all(|test| test.span.from < test.span.until), "a span that is empty");
            list.len()
        }
        Filter::Lifecycle(list) => list.len(),
    };
    assert!((1..=MAX_ALTERNATIVES).contains(&count), "a filter of {count} alternatives");
}
