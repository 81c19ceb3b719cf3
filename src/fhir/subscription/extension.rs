//! Extensions of the backport guide: where each stands, and what of others is refused.

use super::Findings;
use crate::domain::refusal::{Code, Issue};
use crate::fhir::json::{Object, Value};

const GUIDE: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/";
pub(super) const FILTER: &str =
    "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-filter-criteria";
pub(super) const CONTENT: &str =
    "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-payload-content";
pub(super) const CHANNEL_TYPE: &str =
    "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-channel-type";
pub(super) const HEARTBEAT: &str =
    "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-heartbeat-period";
pub(super) const TIMEOUT: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-timeout";
pub(super) const MAX_COUNT: &str =
    "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-max-count";
/// The one extension of another version that the guide's profile names.
const IDENTIFIER: &str = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Subscription.identifier";

/// Where each of the guide's extensions may stand.
const PLACES: [(&str, &str); 6] = [
    (FILTER, "Subscription.criteria"),
    (CONTENT, "Subscription.channel.payload"),
    (CHANNEL_TYPE, "Subscription.channel.type"),
    (HEARTBEAT, "Subscription.channel"),
    (TIMEOUT, "Subscription.channel"),
    (MAX_COUNT, "Subscription.channel"),
];

/// The extensions of one URL in an element, with their index.
pub(super) fn of<'v>(
    element: Option<&'v Object<'static>>,
    url: &'static str,
) -> impl Iterator<Item = (usize, &'v Object<'static>)> {
    let items = element.map(|element| element.items("extension")).unwrap_or_default();
    items
        .iter()
        .enumerate()
        .filter_map(|(at, item)| Some((at, item.as_object()?)))
        .filter(move |(_, one)| one.text("url") == Some(url))
}

/// The value of an extension that must have this type, once at most.
pub(super) fn single<'v>(
    element: Option<&'v Object<'static>>,
    (url, member): (&'static str, &'static str),
    path: &str,
    found: &mut Findings,
) -> Option<&'v Value<'static>> {
    let mut all = of(element, url);
    let (at, first) = all.next()?;
    if let Some((again, _)) = all.next() {
        let issue = Issue::new(Code::ElementNotAllowed).at(&format!("{path}.extension[{again}]"));
        found.add(issue.fill("source", "the backport guide").fill("max", "once"));
    }
    typed(first, member, &format!("{path}.extension[{at}]"), found)
}

/// The value of an extension that must have this type.
pub(super) fn typed<'v>(
    one: &'v Object<'static>,
    member: &'static str,
    path: &str,
    found: &mut Findings,
) -> Option<&'v Value<'static>> {
    let value = one.get(member);
    if value.is_none() {
        found.add(Issue::new(Code::ElementShapeWrong).at(path).fill("shape", format_args!("one `{member}`")));
    }
    value
}

/// Refuses what would change the meaning unnoticed: extensions of other FHIR versions, and the guide's own in a place where they
/// mean nothing. Unknown ones of other origin are kept and mean nothing here.
pub(super) fn foreign(subscription: &Object<'static>, found: &mut Findings) {
    below(subscription, "Subscription", found);
}

// Depth is bounded by the reader of JSON.
fn below(object: &Object<'static>, path: &str, found: &mut Findings) {
    for (name, value) in object.iter() {
        let name = name.strip_prefix('_').unwrap_or(name);
        let path = format!("{path}.{name}");
        match value {
            Value::Object(object) => below(object, &path, found),
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate().filter_map(|(at, item)| Some((at, item.as_object()?))) {
                    let place = format!("{path}[{at}]");
                    if name == "extension" {
                        judge(item, &path, &place, found);
                    }
                    below(item, &place, found);
                }
            }
            _ => {}
        }
    }
}

fn judge(one: &Object<'static>, path: &str, place: &str, found: &mut Findings) {
    let url = one.text("url").unwrap_or_default();
    let parent = path.strip_suffix(".extension").unwrap_or(path);
    let known = PLACES.contains(&(url, parent)) || (url == IDENTIFIER && parent == "Subscription");
    if !known && (url.starts_with(GUIDE) || is_of_another_version(url)) {
        found.unsupported(place, "the extensions of the backport guide for R4, each in its own place");
    }
}

/// `http://hl7.org/fhir/N.N/…`
fn is_of_another_version(url: &str) -> bool {
    let version = url.strip_prefix("http://hl7.org/fhir/").and_then(|rest| rest.split('/').next());
    version.and_then(|version| version.split_once('.')).is_some_and(|(major, minor)| {
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits(major) && digits(minor)
    })
}
