//! Context resources (Patient, Practitioner, Organization, Encounter, …): kept as sent, found by identifier.

use crate::domain::id::ResourceId;
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::domain::resource::{Body, Index, Target};

use super::base::Base;
use super::document::identifiers;
use super::json::{Object, Value};
use super::path::Path;
use super::stamp::{self, Places};
use super::tables::ResourceType;
use super::validate::Resource;

/// What of one kind a resource may be found by, or name: codes, identifiers, references, recipients. Each is a row, or a look-up.
pub const MAX_NAMED: usize = 2_048;

/// A context resource, understood.
#[derive(Clone)]
pub struct Submitted {
    kind: &'static str,
    object: Object<'static>,
    references: Vec<(String, Target)>,
}

impl std::fmt::Debug for Submitted {
    /// Without what it says: that is about a person.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Submitted").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Submitted {
    /// Looks into a valid resource.
    ///
    /// # Errors
    /// `list-too-long` (422) for more than [`MAX_NAMED`] identifiers, or references to this server.
    pub fn read(resource: Resource<'_>, base: &Base) -> Result<Self, Refusal> {
        let kind = resource.resource_type.as_str();
        let references = local_references(kind, &resource.object, base);
        let identifiers = resource.object.items("identifier").len();
        let path = format!("{kind}.identifier");
        let long = (identifiers > MAX_NAMED).then(|| Issue::new(Code::ListTooLong).at(&path).fill("limit", MAX_NAMED));
        match Refusal::of_all(long.into_iter().chain(too_many_references(&references)).collect()) {
            Some(refusal) => Err(refusal),
            None => Ok(Self { kind, object: resource.object.into_owned(), references }),
        }
    }

    /// What search can find it by.
    pub fn index(&self) -> Index {
        let one = self.object.object("identifier").into_iter();
        Index { identifiers: identifiers(one.chain(self.object.objects("identifier"))), ..Index::default() }
    }

    /// References to this server with their paths.
    pub fn references(&self) -> Vec<(String, Target)> {
        self.references.clone()
    }

    /// The text to store: as sent, with the id it is stored under and a place for version and time in `meta`.
    pub fn into_body(self, id: &ResourceId) -> Body {
        let mut places = Places::default();
        let mut out = String::with_capacity(512);
        stamp::open(self.kind, id, &mut out);
        stamp::meta(self.object.object("meta"), None, &[], &mut out, &mut places);
        for (name, value) in self.object.iter().filter(|(name, _)| !["resourceType", "id", "meta"].contains(name)) {
            stamp::member(name, value, &mut out);
        }
        out.push('}');
        Body { text: out, splices: places.0 }
    }
}

/// References to this server within a resource, contained ones included, in document order: simple FHIRPath and target. After one more
/// than [`MAX_NAMED`] it looks no further.
pub fn local_references(resource_type: &str, object: &Object<'_>, base: &Base) -> Vec<(String, Target)> {
    let (mut found, mut path) = (Vec::new(), Path::new());
    path.enter(resource_type);
    collect(&mut path, object, base, &mut found);
    found
}

/// Why so many references are not taken, at the first one too many.
pub(super) fn too_many_references(local: &[(String, Target)]) -> Option<Issue> {
    let (path, _) = local.get(MAX_NAMED)?;
    let issue = Issue::new(Code::ListTooLong).at(path).fill("limit", MAX_NAMED);
    Some(issue.message_text(format!(
        "{path} is one reference to this server more than the {MAX_NAMED} that a resource may have."
    )))
}

/// The reader bounds the depth of what comes in ([`super::json::MAX_DEPTH`]), and so of this recursion.
fn collect<'v>(path: &mut Path<'v>, object: &'v Object<'_>, base: &Base, found: &mut Vec<(String, Target)>) {
    for (name, value) in object.iter() {
        if found.len() > MAX_NAMED {
            return;
        }
        path.enter(name);
        match value {
            Value::String(text) if name == "reference" => {
                let target = base.target(text);
                if target.local().is_some_and(|(kind, _)| ResourceType::parse(kind).is_some()) {
                    found.push((path.text(), target));
                }
            }
            Value::Object(inner) => collect(path, inner, base, found),
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    if let Value::Object(inner) = item {
                        path.enter_item(at);
                        collect(path, inner, base, found);
                        path.leave();
                    }
                }
            }
            _ => {}
        }
        path.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::json::parse;

    #[test]
    fn a_context_resource_is_kept_to_the_letter_but_for_id_and_meta() {
        let text = br#"{"resourceType":"Patient","meta":{"versionId":"9","profile":["http://p"]},"id":"x","multipleBirthInteger":1,"extension":[{"url":"u","valueDecimal":1.50}]}"#;
        let Value::Object(object) = parse(text).unwrap() else { panic!("an object") };
        let resource = Resource { resource_type: ResourceType::Patient, object };
        let submitted = Submitted::read(resource, &Base::new("https://h")).unwrap();
        let body = submitted.into_body(&ResourceId::parse("1").unwrap());
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
        let shown: Vec<_> = found.iter().map(|(path, target)| (path.as_str(), target.0.as_str())).collect();
        assert_eq!(
            shown,
            [
                ("DocumentReference.subject.reference", "Patient/1"),
                ("DocumentReference.author[1].reference", "Practitioner/2")
            ]
        );
    }
}
