//! `criteria` and filters. A search that cannot be evaluated is refused: matching everything instead would tell strangers.

use super::extension::{self, FILTER};
use super::{Findings, MAX_FILTERS, Rules};
use crate::domain::query::Filter;
use crate::domain::refusal::{Code, Issue};
use crate::domain::subscription::{TOPIC_PREFIX, Topic};
use crate::fhir::base::Base;
use crate::fhir::json::{Object, Value};
use crate::fhir::search::{self, served::SERVED};

const PATH: &str = "Subscription.criteria";
const FOCUS: &str = "DocumentReference";
/// What search serves and no event can be asked: they speak of the answer, or of the version that the event itself makes.
const NOT_HERE: [&str; 8] =
    ["_lastUpdated", "_count", "_sort", "_total", "_summary", "_format", "_pretty", search::PAGE];

pub(super) struct Criteria {
    /// It has the form of a topic's URL, known or not.
    pub(super) by_topic: bool,
    pub(super) topic: Option<Topic>,
    pub(super) filters: Vec<Filter>,
}

pub(super) fn read(object: &Object<'static>, rules: &Rules<'_>, found: &mut Findings) -> Criteria {
    let text = object.text("criteria").unwrap_or_default();
    let mut made = Criteria { by_topic: false, topic: None, filters: Vec::new() };
    if ["http://", "https://", "urn:"].iter().any(|start| text.starts_with(start)) {
        made.by_topic = true;
        made.topic = topic(text, rules.base);
        if made.topic.is_none() {
            let topics: Vec<String> = Topic::ALL.iter().map(|topic| topic.canonical()).collect();
            found.add(Issue::new(Code::TopicUnknown).at(PATH).fill("topics", topics.join(", ")));
        }
    } else {
        made.filters = plain(text, rules, found);
    }
    let extended = object.object("_criteria");
    for (at, one) in extension::of(extended, FILTER) {
        let path = format!("{PATH}.extension[{at}]");
        let value = extension::typed(one, "valueString", &path, found).and_then(Value::as_str);
        made.filters.extend(value.map(|text| filter(text, &path, rules, found)).unwrap_or_default());
    }
    if made.filters.len() > MAX_FILTERS {
        found.term(PATH, &format!("narrowed by at most {MAX_FILTERS} filters"));
    }
    made
}

/// The topic of a canonical URL, with this version of it or none.
fn topic(text: &str, base: &Base) -> Option<Topic> {
    let (url, version) = text.split_once('|').unwrap_or((text, env!("CARGO_PKG_VERSION")));
    let local = || base.below_fhir(url).and_then(|path| path.strip_prefix("SubscriptionTopic/"));
    let name = url.strip_prefix(TOPIC_PREFIX).or_else(local)?;
    Topic::from_name(name).filter(|_| version == env!("CARGO_PKG_VERSION"))
}

fn plain(text: &str, rules: &Rules<'_>, found: &mut Findings) -> Vec<Filter> {
    let (kind, query) = text.split_once('?').unwrap_or((text, ""));
    if !is_type_name(kind) {
        unreadable(PATH, found);
        return Vec::new();
    }
    if kind != FOCUS {
        unserved(PATH, found);
        return Vec::new();
    }
    if query.is_empty() { Vec::new() } else { conditions(query, PATH, rules, found) }
}

/// One filter in any of the written forms: `param=value`, `Type.param=value`, `Type?param=value&…`.
fn filter(text: &str, path: &str, rules: &Rules<'_>, found: &mut Findings) -> Vec<Filter> {
    match text.split_once('?') {
        Some((kind, query)) if is_type_name(kind) => {
            if kind != FOCUS {
                unserved(path, found);
                return Vec::new();
            }
            conditions(query, path, rules, found)
        }
        _ => conditions(text, path, rules, found),
    }
}

fn conditions(query: &str, path: &str, rules: &Rules<'_>, found: &mut Findings) -> Vec<Filter> {
    let mut pairs = Vec::new();
    for piece in query.split('&') {
        // A piece without a value would be skipped by a search and so match everything.
        if piece.split_once('=').is_none_or(|(name, value)| name.is_empty() || value.is_empty()) {
            unreadable(path, found);
            return Vec::new();
        }
        let Some((name, value)) = url::form_urlencoded::parse(piece.as_bytes()).next() else { continue };
        match parameter(&name) {
            Some(name) => pairs.push((name.to_owned(), value.into_owned())),
            None => {
                unserved(path, found);
                return Vec::new();
            }
        }
    }
    let asked = search::Asked { base: rules.base, now: rules.now, strict: true };
    match search::read(&pairs, &asked) {
        // Each pair makes one filter; a value of nothing but commas makes none.
        Ok(search) if search.query.filters.len() == pairs.len() => search.query.filters,
        Ok(_) => {
            unreadable(path, found);
            Vec::new()
        }
        Err(refusal) => {
            for issue in refusal.issues() {
                if issue.code() == Code::ParameterUnsupported { unserved(path, found) } else { unreadable(path, found) }
            }
            Vec::new()
        }
    }
}

/// The name without the type in front of it; `None`: another type's, or none that can be asked here. A prefix is a type when it
/// begins with a capital, since `patient.identifier` is a parameter.
fn parameter(name: &str) -> Option<&str> {
    let name = match name.split_once('.') {
        Some((FOCUS, rest)) => rest,
        Some((kind, _)) if is_type_name(kind) => return None,
        _ => name,
    };
    (!NOT_HERE.contains(&name.split(':').next().unwrap_or_default())).then_some(name)
}

fn is_type_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_uppercase()) && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

fn unreadable(path: &str, found: &mut Findings) {
    let issue = Issue::new(Code::CriteriaMalformed).at(path).fill("what", "a search");
    found.add(issue.fill("example", "DocumentReference?patient=Patient/123"));
}

fn unserved(path: &str, found: &mut Findings) {
    let names = SERVED.iter().map(|served| served.code).filter(|code| !NOT_HERE.contains(code));
    let names: Vec<&str> = names.chain(["patient.identifier"]).collect();
    found.add(Issue::new(Code::FilterUnsupported).at(path).fill("parameters", names.join(", ")));
}
