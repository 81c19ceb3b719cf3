//! The rows: key, shapes, condition, rule, cure.

use super::Invariant;
use crate::fhir::json::Object;
use crate::fhir::validate::time::Moment;
use std::collections::HashSet;

/// Is there such an element, with a value or an extension?
fn has(object: &Object<'_>, name: &str) -> bool {
    object.iter().any(|(member, _)| member == name || member.strip_prefix('_') == Some(name))
}

/// Is there a choice element of any type?
fn has_choice(object: &Object<'_>, name: &str) -> bool {
    let typed =
        |member: &str| member.strip_prefix(name).is_some_and(|kind| kind.starts_with(|c: char| c.is_ascii_uppercase()));
    object.iter().any(|(member, _)| typed(member.strip_prefix('_').unwrap_or(member)))
}

fn is(object: &Object<'_>, name: &str, values: &[&str]) -> bool {
    object.text(name).is_some_and(|text| values.contains(&text))
}

fn all(object: &Object<'_>, name: &str, holds: impl Fn(&Object<'_>) -> bool) -> bool {
    object.objects(name).all(holds)
}

/// Do the texts that `pick` finds differ?
fn distinct(object: &Object<'_>, name: &str, pick: impl Fn(&Object<'_>) -> Option<String>) -> bool {
    let mut seen = HashSet::new();
    object.objects(name).filter_map(pick).all(|text| seen.insert(text))
}

/// The sign of a decimal as written: -1, 0 or 1. Works on the text, so no digit is lost.
fn sign(object: &Object<'_>, name: &str) -> Option<i8> {
    let text = object.get(name)?.number_text()?;
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    let zero = !mantissa.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    Some(if zero {
        0
    } else if text.starts_with('-') {
        -1
    } else {
        1
    })
}

fn period_in_order(object: &Object<'_>) -> bool {
    let moment = |name| object.text(name).and_then(Moment::parse);
    let (Some(start), Some(end)) = (moment("start"), moment("end")) else { return true };
    !end.is_surely_before(&start)
}

/// `unit` and `system` of quantities that are measured in UCUM.
fn in_system(object: &Object<'_>, system: &str) -> bool {
    (has(object, "code") || !has(object, "value")) && (!has(object, "system") || object.text("system") == Some(system))
}

fn first_entry_is(object: &Object<'_>, resource_type: &str) -> bool {
    let first = object.objects("entry").next().and_then(|entry| entry.object("resource"));
    first.and_then(|resource| resource.text("resourceType")) == Some(resource_type)
}

fn entry_key(entry: &Object<'_>) -> Option<String> {
    let url = entry.text("fullUrl")?;
    let meta = entry.object("resource").and_then(|resource| resource.object("meta"));
    Some(format!("{url} {}", meta.and_then(|meta| meta.text("versionId")).unwrap_or_default()))
}

fn one_content(object: &Object<'_>) -> bool {
    let kinds = [has(object, "part"), has_choice(object, "value"), has(object, "resource")];
    kinds.iter().filter(|there| **there).count() == 1
}

fn ratio(object: &Object<'_>) -> bool {
    let (numerator, denominator) = (has(object, "numerator"), has(object, "denominator"));
    numerator == denominator && (numerator || has(object, "extension"))
}

fn trigger(object: &Object<'_>) -> bool {
    let data = object.text("type").is_some_and(|kind| kind.starts_with("data-"));
    (!is(object, "type", &["named-event"]) || has(object, "name"))
        && (!is(object, "type", &["periodic"]) || has_choice(object, "timing"))
        && (!data || has(object, "data"))
}

fn offset_fits(object: &Object<'_>) -> bool {
    let meal = |when: Option<&str>| when.is_some_and(|when| ["C", "CM", "CD", "CV"].contains(&when));
    !has(object, "offset") || (has(object, "when") && !object.items("when").iter().any(|when| meal(when.as_str())))
}

fn not_home(object: &Object<'_>, name: &str) -> bool {
    all(object, name, |one| !is(one, "use", &["home"]))
}

macro_rules! rows {
    ($($key:literal $shapes:expr, $holds:expr, $rule:literal, $cure:literal;)*) => {
        pub(super) const ALL: &[Invariant] =
            &[$(Invariant { key: $key, shapes: &$shapes, holds: $holds, rule: $rule, cure: $cure },)*];
    };
}

const QUANTITIES: [&str; 7] = ["Age", "Count", "Distance", "Duration", "MoneyQuantity", "Quantity", "SimpleQuantity"];
const UCUM: &str = "http://unitsofmeasure.org";

rows! {
    "ext-1" ["Extension"], |o: &Object<'_>| has(o, "extension") != has_choice(o, "value"),
        "an extension has a value or nested extensions, not both", "Send one of the two.";
    "att-1" ["Attachment"], |o: &Object<'_>| !has(o, "data") || has(o, "contentType"),
        "data needs a contentType", "Add `contentType`.";
    "per-1" ["Period"], period_in_order,
        "start is not after end", "Correct `start` or `end`.";
    "cpt-2" ["ContactPoint"], |o: &Object<'_>| !has(o, "value") || has(o, "system"),
        "a value needs a system", "Add `system`, for example `phone`.";
    "qty-3" QUANTITIES, |o: &Object<'_>| !has(o, "code") || has(o, "system"),
        "a code for the unit needs a system", "Add `system`.";
    "sqty-1" ["SimpleQuantity"], |o: &Object<'_>| !has(o, "comparator"),
        "a simple quantity has no comparator", "Remove `comparator`.";
    "age-1" ["Age"], |o: &Object<'_>| in_system(o, UCUM) && sign(o, "value").is_none_or(|sign| sign > 0),
        "an age is above 0 and has a UCUM unit", "Add `code` with system `http://unitsofmeasure.org`.";
    "cnt-3" ["Count"], |o: &Object<'_>| {
            let whole = o.get("value").and_then(|value| value.number_text()).is_none_or(|text| !text.contains('.'));
            in_system(o, UCUM) && whole && (!has(o, "code") || is(o, "code", &["1"]))
        }, "a count is a whole number with the UCUM unit 1", "Set `code` to `1` with system `http://unitsofmeasure.org`.";
    "dis-1" ["Distance"], |o: &Object<'_>| in_system(o, UCUM),
        "a distance has a UCUM unit", "Add `code` with system `http://unitsofmeasure.org`.";
    "drt-1" ["Duration"], |o: &Object<'_>| !has(o, "code") || (is(o, "system", &[UCUM]) && has(o, "value")),
        "a duration's code is of UCUM and has a value", "Set `system` to `http://unitsofmeasure.org` and add `value`.";
    "mqty-1" ["MoneyQuantity"], |o: &Object<'_>| in_system(o, "urn:iso:std:iso:4217"),
        "an amount of money has a currency of ISO 4217", "Set `system` to `urn:iso:std:iso:4217`.";
    "rat-1" ["Ratio"], ratio,
        "numerator and denominator are both there, or neither but an extension", "Add the one that is missing.";
    "exp-1" ["Expression"], |o: &Object<'_>| has(o, "expression") || has(o, "reference"),
        "an expression or a reference is given", "Add `expression` or `reference`.";
    "drq-1" ["DataRequirement.codeFilter"], |o: &Object<'_>| has(o, "path") != has(o, "searchParam"),
        "either a path or a searchParam is given", "Send one of the two.";
    "drq-2" ["DataRequirement.dateFilter"], |o: &Object<'_>| has(o, "path") != has(o, "searchParam"),
        "either a path or a searchParam is given", "Send one of the two.";
    "tim-1" ["Timing.repeat"], |o: &Object<'_>| !has(o, "duration") || has(o, "durationUnit"),
        "a duration needs a unit", "Add `durationUnit`.";
    "tim-2" ["Timing.repeat"], |o: &Object<'_>| !has(o, "period") || has(o, "periodUnit"),
        "a period needs a unit", "Add `periodUnit`.";
    "tim-4" ["Timing.repeat"], |o: &Object<'_>| sign(o, "duration").is_none_or(|sign| sign >= 0),
        "a duration is not negative", "Correct `duration`.";
    "tim-5" ["Timing.repeat"], |o: &Object<'_>| sign(o, "period").is_none_or(|sign| sign >= 0),
        "a period is not negative", "Correct `period`.";
    "tim-6" ["Timing.repeat"], |o: &Object<'_>| !has(o, "periodMax") || has(o, "period"),
        "periodMax needs a period", "Add `period`.";
    "tim-7" ["Timing.repeat"], |o: &Object<'_>| !has(o, "durationMax") || has(o, "duration"),
        "durationMax needs a duration", "Add `duration`.";
    "tim-8" ["Timing.repeat"], |o: &Object<'_>| !has(o, "countMax") || has(o, "count"),
        "countMax needs a count", "Add `count`.";
    "tim-9" ["Timing.repeat"], offset_fits,
        "an offset needs a when that is no meal itself", "Add `when`, not C, CM, CD or CV.";
    "tim-10" ["Timing.repeat"], |o: &Object<'_>| !has(o, "timeOfDay") || !has(o, "when"),
        "timeOfDay and when exclude each other", "Remove one of them.";
    "trd-1" ["TriggerDefinition"], |o: &Object<'_>| !has(o, "data") || !has_choice(o, "timing"),
        "data and timing exclude each other", "Remove one of them.";
    "trd-2" ["TriggerDefinition"], |o: &Object<'_>| !has(o, "condition") || has(o, "data"),
        "a condition needs data", "Add `data`.";
    "trd-3" ["TriggerDefinition"], trigger,
        "a named event has a name, a periodic one timing, a data event data", "Add what the type asks for.";
    "pat-1" ["Patient.contact"], |o: &Object<'_>| ["name", "telecom", "address", "organization"].iter().any(|name| has(o, name)),
        "a contact has a name, telecom, address or organization", "Add one of them.";
    "org-1" ["Organization"], |o: &Object<'_>| has(o, "identifier") || has(o, "name"),
        "an organization has an identifier or a name", "Add one of them.";
    "org-2" ["Organization"], |o: &Object<'_>| not_home(o, "address"),
        "an organization's address is not of use home", "Use `work`.";
    "org-3" ["Organization"], |o: &Object<'_>| not_home(o, "telecom"),
        "an organization's telecom is not of use home", "Use `work`.";
    "grp-1" ["Group"], |o: &Object<'_>| !has(o, "member") || o.get("actual").and_then(|actual| actual.as_bool()) == Some(true),
        "only an actual group has members", "Set `actual` to true or remove `member`.";
    "sev-1" ["AuditEvent.entity"], |o: &Object<'_>| !has(o, "name") || !has(o, "query"),
        "an entity has a name or a query, not both", "Remove one of them.";
    "lst-1" ["List"], |o: &Object<'_>| !has(o, "emptyReason") || !has(o, "entry"),
        "a list with entries has no emptyReason", "Remove `emptyReason`.";
    "lst-2" ["List"], |o: &Object<'_>| is(o, "mode", &["changes"]) || all(o, "entry", |entry| !has(entry, "deleted")),
        "only a list of mode changes has deleted entries", "Set `mode` to `changes` or remove `deleted`.";
    "lst-3" ["List"], |o: &Object<'_>| is(o, "mode", &["working"]) || all(o, "entry", |entry| !has(entry, "date")),
        "only a list of mode working has dates of entries", "Set `mode` to `working` or remove `date`.";
    "inv-1" ["Parameters.parameter"], one_content,
        "a parameter has exactly one of value, resource and parts", "Send one of them.";
    "bdl-1" ["Bundle"], |o: &Object<'_>| !has(o, "total") || is(o, "type", &["searchset", "history"]),
        "only a searchset or history has a total", "Remove `total`.";
    "bdl-2" ["Bundle"], |o: &Object<'_>| is(o, "type", &["searchset"]) || all(o, "entry", |entry| !has(entry, "search")),
        "only entries of a searchset have search", "Remove `entry.search`.";
    "bdl-3" ["Bundle"], |o: &Object<'_>| {
            let wanted = is(o, "type", &["batch", "transaction", "history"]);
            all(o, "entry", |entry| has(entry, "request") == wanted)
        }, "each entry of a batch, transaction or history has a request, others have none", "Add or remove `entry.request`.";
    "bdl-4" ["Bundle"], |o: &Object<'_>| {
            let wanted = is(o, "type", &["batch-response", "transaction-response", "history"]);
            all(o, "entry", |entry| has(entry, "response") == wanted)
        }, "each entry of a response or history has a response, others have none", "Add or remove `entry.response`.";
    "bdl-5" ["Bundle.entry"], |o: &Object<'_>| has(o, "resource") || has(o, "request") || has(o, "response"),
        "an entry has a resource, a request or a response", "Add one, or remove the entry.";
    "bdl-7" ["Bundle"], |o: &Object<'_>| is(o, "type", &["history"]) || distinct(o, "entry", entry_key),
        "each fullUrl with its version occurs once", "Give each entry a fullUrl of its own.";
    "bdl-8" ["Bundle.entry"], |o: &Object<'_>| !o.text("fullUrl").is_some_and(|url| url.contains("/_history/")),
        "a fullUrl names no version", "Remove `/_history/` and what follows.";
    "bdl-9" ["Bundle"], |o: &Object<'_>| !is(o, "type", &["document"])
            || o.object("identifier").is_some_and(|one| has(one, "system") && has(one, "value")),
        "a document has an identifier with system and value", "Add `identifier`.";
    "bdl-10" ["Bundle"], |o: &Object<'_>| !is(o, "type", &["document"]) || o.has("timestamp"),
        "a document has a timestamp", "Add `timestamp`.";
    "bdl-11" ["Bundle"], |o: &Object<'_>| !is(o, "type", &["document"]) || first_entry_is(o, "Composition"),
        "the first resource of a document is a Composition", "Put the Composition first.";
    "bdl-12" ["Bundle"], |o: &Object<'_>| !is(o, "type", &["message"]) || first_entry_is(o, "MessageHeader"),
        "the first resource of a message is a MessageHeader", "Put the MessageHeader first.";
    "cpb-1" ["CapabilityStatement"], |o: &Object<'_>| has(o, "rest") || has(o, "messaging") || has(o, "document"),
        "rest, messaging or document is described", "Add one of them.";
    "cpb-2" ["CapabilityStatement"], |o: &Object<'_>| has(o, "description") || has(o, "software") || has(o, "implementation"),
        "description, software or implementation is given", "Add one of them.";
    "cpb-3" ["CapabilityStatement"], |o: &Object<'_>| is(o, "kind", &["instance"]) || all(o, "messaging", |m| !has(m, "endpoint")),
        "only an instance has messaging endpoints", "Remove `messaging.endpoint`.";
    "cpb-7" ["CapabilityStatement"], |o: &Object<'_>| distinct(o, "document", |document| {
            Some(format!("{} {}", document.text("profile")?, document.text("mode")?))
        }), "each document profile and mode occurs once", "Join the ones that are equal.";
    "cpb-9" ["CapabilityStatement.rest"], |o: &Object<'_>| distinct(o, "resource", |one| one.text("type").map(str::to_owned)),
        "each resource type is described once", "Join the ones that are equal.";
    "cpb-12" ["CapabilityStatement.rest.resource"],
        |o: &Object<'_>| distinct(o, "searchParam", |one| one.text("name").map(str::to_owned)),
        "each search parameter occurs once", "Join the ones that are equal.";
    "cpb-14" ["CapabilityStatement"], |o: &Object<'_>| !is(o, "kind", &["instance"]) || has(o, "implementation"),
        "an instance has an implementation", "Add `implementation`.";
    "cpb-15" ["CapabilityStatement"],
        |o: &Object<'_>| !is(o, "kind", &["capability"]) || (!has(o, "implementation") && has(o, "software")),
        "a capability has software and no implementation", "Add `software`, remove `implementation`.";
    "cpb-16" ["CapabilityStatement"],
        |o: &Object<'_>| !is(o, "kind", &["requirements"]) || (!has(o, "implementation") && !has(o, "software")),
        "requirements have neither implementation nor software", "Remove both.";
    "cmp-1" ["Composition.section"], |o: &Object<'_>| has(o, "text") || has(o, "entry") || has(o, "section"),
        "a section has text, entries or sections", "Add one of them.";
    "cmp-2" ["Composition.section"], |o: &Object<'_>| !has(o, "emptyReason") || !has(o, "entry"),
        "a section with entries has no emptyReason", "Remove `emptyReason`.";
    "ppc-1" ["Consent"], |o: &Object<'_>| has(o, "policy") || has(o, "policyRule"),
        "a policy or policyRule is given", "Add one of them.";
    "opd-1" ["OperationDefinition.parameter"], |o: &Object<'_>| has(o, "type") || has(o, "part"),
        "a parameter has a type or parts", "Add one of them.";
    "opd-2" ["OperationDefinition.parameter"], |o: &Object<'_>| !has(o, "searchType") || is(o, "type", &["string"]),
        "searchType needs the type string", "Remove `searchType`.";
    "opd-3" ["OperationDefinition.parameter"], |o: &Object<'_>| !has(o, "targetProfile") || is(o, "type", &["Reference", "canonical"]),
        "targetProfile needs the type Reference or canonical", "Remove `targetProfile`.";
    "spd-1" ["SearchParameter"], |o: &Object<'_>| !has(o, "xpath") || has(o, "xpathUsage"),
        "xpath needs xpathUsage", "Add `xpathUsage`.";
    "spd-2" ["SearchParameter"], |o: &Object<'_>| !has(o, "chain") || is(o, "type", &["reference"]),
        "only a reference parameter has chain", "Remove `chain`.";
}
