//! Context resources (Patient, Practitioner, Organization, Encounter, …): kept as sent, found by identifier.

use crate::domain::id::ResourceId;
use crate::domain::refusal::{Code, Issue, Severity};
use crate::domain::resource::{Body, Index, Kind, Target};

use super::base::Base;
use super::document::identifiers;
use super::json::{Object, Value};
use super::stamp::{self, Places};
use super::tables::ResourceType;

/// A reference to this server, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalReference {
    /// Simple FHIRPath of the `reference` element.
    pub path: String,
    /// `Type/id`.
    pub target: Target,
}

impl LocalReference {
    /// The remark that its target is not there yet (`references = "lenient"`).
    pub fn dangling(&self) -> Issue {
        Issue::new(Code::ReferenceDangling).at(&self.path).severity(Severity::Warning)
    }

    /// The refusal for the same (`references = "strict"`).
    pub fn not_found(&self) -> Issue {
        Issue::new(Code::ReferenceNotFound).at(&self.path)
    }
}

/// What search can find a context resource by.
pub fn index(object: &Object<'_>) -> Index {
    let one = object.object("identifier").into_iter();
    Index { identifiers: identifiers(one.chain(object.objects("identifier"))), ..Index::default() }
}

/// The text to store: as sent, with the server's id and a place for version and time in `meta`.
pub fn body(kind: Kind, object: &Object<'_>, id: &ResourceId) -> Body {
    let mut places = Places::default();
    let mut out = String::with_capacity(512);
    stamp::open(kind.as_str(), id, &mut out);
    stamp::meta(object.object("meta"), None, &[], &mut out, &mut places);
    for (name, value) in object.iter().filter(|(name, _)| !["resourceType", "id", "meta"].contains(name)) {
        stamp::member(name, value, &mut out);
    }
    out.push('}');
    Body { text: out, splices: places.0 }
}

/// References to this server within a resource, contained ones included, in document order.
pub fn local_references(resource_type: &str, object: &Object<'_>, base: &Base) -> Vec<LocalReference> {
    let mut found = Vec::new();
    collect(resource_type, object, base, &mut found);
    found
}

/// The reader bounds the depth of what comes in ([`super::json::MAX_DEPTH`]), and so of this recursion.
fn collect(path: &str, object: &Object<'_>, base: &Base, found: &mut Vec<LocalReference>) {
    for (name, value) in object.iter() {
        let place = format!("{path}.{name}");
        match value {
            Value::String(text) if name == "reference" => {
                let target = base.target(text);
                if target.local().is_some_and(|(kind, _)| ResourceType::parse(kind).is_some()) {
                    found.push(LocalReference { path: place, target });
                }
            }
            Value::Object(inner) => collect(&place, inner, base, found),
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    if let Value::Object(inner) = item {
                        collect(&format!("{place}[{at}]"), inner, base, found);
                    }
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::json::parse;

    #[test]
    fn a_context_resource_is_kept_to_the_letter_but_for_id_and_meta() {
        let text = br#"{"resourceType":"Patient","meta":{"versionId":"9","profile":["http://p"]},"id":"x","multipleBirthInteger":1,"extension":[{"url":"u","valueDecimal":1.50}]}"#;
        let value = parse(text).unwrap();
        let body = body(Kind::Patient, value.as_object().unwrap(), &ResourceId::parse("1").unwrap());
        assert_eq!(
            body.text,
            r#"{"resourceType":"Patient","id":"1","meta":{"profile":["http://p"]},"multipleBirthInteger":1,"extension":[{"url":"u","valueDecimal":1.50}]}"#
        );
        assert!(
            body.splices.first().is_some_and(
                |splice| splice.comma && body.text.get(..splice.at as usize).unwrap().ends_with("\"meta\":{")
            )
        );
    }

    #[test]
    fn local_references_are_found_where_they_stand() {
        let text = br##"{"subject":{"reference":"Patient/1"},"author":[{"reference":"#a"},{"reference":"https://h/fhir/Practitioner/2/_history/1"},{"reference":"https://x/Patient/1"}]}"##;
        let value = parse(text).unwrap();
        let found = local_references("DocumentReference", value.as_object().unwrap(), &Base::new("https://h"));
        let shown: Vec<_> = found.iter().map(|one| (one.path.as_str(), one.target.0.as_str())).collect();
        assert_eq!(
            shown,
            [
                ("DocumentReference.subject.reference", "Patient/1"),
                ("DocumentReference.author[1].reference", "Practitioner/2")
            ]
        );
    }
}
