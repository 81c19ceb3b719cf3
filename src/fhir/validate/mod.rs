//! The one door for FHIR bodies: [`read`] parses and checks in one pass and finds all mistakes. What it checks: R4's JSON
//! rules, structure, cardinality, primitive values, required codes, references, invariants, narrative, and this server's own
//! rules (no unknown modifiers, no unknown rules, declared size and hash fit inline data, a transaction names each resource
//! once and resolves its `urn:` references). No profile is checked here, and nothing outside the body is looked at.

mod attachment;
mod bindings;
mod bundle;
mod contained;
mod invariants;
mod narrative;
mod primitive;
mod references;
mod report;
#[cfg(test)]
mod tests;
mod time;
mod walk;

pub use bindings::{is_language_tag, is_media_type};
pub use primitive::is_id;
pub use time::{Moment, is_instant};
pub use walk::MAX_ITEMS;

use super::json::{self, Fault, FaultKind, MAX_DEPTH, Object, Value};
use super::tables::ResourceType;
use crate::domain::refusal::{Code, Issue, Refusal, is_plain_name, nearest};

/// The request that a body came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expectation<'e> {
    /// Any resource.
    Any,
    /// `POST [base]/{type}`
    Create(ResourceType),
    /// `PUT [base]/{type}/{id}`: the body carries the same id (R4 http.html#update).
    Update(ResourceType, &'e str),
    /// `POST [base]`: a Bundle whose entries fit their requests (R4 http.html#transaction).
    System,
}

/// A valid resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource<'a> {
    /// Its type.
    pub resource_type: ResourceType,
    /// Its members, `resourceType` among them, as they were sent.
    pub object: Object<'a>,
}

impl Resource<'_> {
    /// `id`, when there is one.
    pub fn id(&self) -> Option<&str> {
        self.object.text("id")
    }

    /// Cuts the tie to the body.
    pub fn into_owned(self) -> Resource<'static> {
        Resource { resource_type: self.resource_type, object: self.object.into_owned() }
    }
}

/// Reads a body as FHIR R4 JSON. Refuses with every mistake, at most
/// [`MAX_ISSUES`](crate::domain::refusal::MAX_ISSUES), in the order of the document: 400 where
/// the body cannot be read, 422 where it breaks a rule.
pub fn read<'a>(body: &'a [u8], expectation: Expectation<'_>) -> Result<Resource<'a>, Refusal> {
    let value = json::parse(body).map_err(|fault| unreadable(&fault))?;
    let Value::Object(object) = value else {
        return Err(Issue::new(Code::ElementShapeWrong).fill("path", "The body").fill("shape", "an object").into());
    };
    let resource_type = resource_type_of(&object).ok_or_else(|| unknown_type(&object))?;
    match check(&object, resource_type, expectation) {
        Some(refusal) => Err(refusal),
        None => Ok(Resource { resource_type, object }),
    }
}

/// Checks a resource that was not just read (one made from a form, XML or a patch).
pub fn check(object: &Object<'_>, resource_type: ResourceType, expectation: Expectation<'_>) -> Option<Refusal> {
    let mut walk = walk::Walk::new(object, expectation);
    request_rules(&mut walk, object, resource_type, expectation);
    walk.root(object);
    if expectation == Expectation::System {
        bundle::entries_fit_requests(object, &mut walk.report);
    }
    Refusal::of_all(walk.report.into_issues())
}

fn resource_type_of(object: &Object<'_>) -> Option<ResourceType> {
    object.text("resourceType").and_then(ResourceType::parse)
}

fn unknown_type(object: &Object<'_>) -> Issue {
    let known = ResourceType::ALL.iter().map(|known| known.as_str());
    let near = object.text("resourceType").and_then(|name| nearest(name, known));
    Issue::new(Code::ResourceTypeUnknown).fill("nearest", report::Nearest(near))
}

/// What is wrong with a body that cannot be read as JSON, with line and column.
pub fn unreadable(fault: &Fault) -> Issue {
    match &fault.kind {
        FaultKind::Syntax(what) => Issue::new(Code::BodyMalformed)
            .fill("format", "JSON")
            .fill("what", what)
            .fill("line", fault.line)
            .fill("column", fault.column),
        FaultKind::TooDeep => Issue::new(Code::NestingTooDeep).fill("limit", MAX_DEPTH),
        FaultKind::Repeated { name, path, root } => {
            let shown = if is_plain_name(name) { name } else { "of a member" };
            let issue = Issue::new(Code::NameRepeated).fill("name", shown).fill("line", fault.line);
            let plain = path.split('.').all(|part| is_plain_name(part.split('[').next().unwrap_or_default()));
            match root.as_deref().and_then(ResourceType::parse) {
                Some(root) if plain && name != "resourceType" => issue.at(&format!("{root}.{path}")),
                _ => issue,
            }
        }
    }
}

fn request_rules(walk: &mut walk::Walk<'_>, object: &Object<'_>, found: ResourceType, expectation: Expectation<'_>) {
    let (expected, id) = match expectation {
        Expectation::Any => return,
        Expectation::Create(expected) => (expected, None),
        Expectation::Update(expected, id) => (expected, Some(id)),
        Expectation::System => (ResourceType::Bundle, None),
    };
    if expected != found {
        let issue = Issue::new(Code::ResourceMismatch).fill("part", "`resourceType`");
        walk.report.add_issue(issue.fill("expected", format_args!("a resource of type {expected}")));
    }
    if id.is_some_and(|id| object.text("id") != Some(id)) {
        let issue = Issue::new(Code::ResourceMismatch).fill("part", "`id`").at(&format!("{found}.id"));
        walk.report.add_issue(issue.fill("expected", "the id of the URL as `id`"));
    }
    if let Some(at) = subsetted(object) {
        walk.report.add_issue(Issue::new(Code::ResourceSubsetted).at(&format!("{found}.meta.tag[{at}]")));
    }
}

/// Index of the tag that says that elements were left out (R4 search.html#summary).
fn subsetted(object: &Object<'_>) -> Option<usize> {
    let tags = object.object("meta")?.items("tag");
    tags.iter().position(|tag| tag.as_object().and_then(|tag| tag.text("code")) == Some("SUBSETTED"))
}
