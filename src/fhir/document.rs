//! A DocumentReference from its sender to what is stored: what policy and search may look at, where the bytes of each content
//! come from, and the text with places for what changes. Input has passed [`super::validate::read`].
//!
//! The client `PUT`s and posts what it read before, so what this server shows and owns (state, its tags, its links) is taken
//! out without a word; what is stored is never a link.

mod content;
mod text;

pub(super) use content::decode;
pub use content::{Content, Declared, FileNote, Source};

use std::collections::HashSet;

use crate::domain::id::ClientId;
use crate::domain::policy::{Coding, Facts};
use crate::domain::refusal::{Code, Issue, Refusal, first_of};
use crate::domain::resource::{Identifier, Index, Target};

use super::base::Base;
use super::context::{MAX_NAMED, local_references, too_many_references};
use super::json::Object;
use super::search::date;
use super::validate::Resource;

/// The extension that names a recipient (`valueIdentifier`).
pub const RECIPIENT: &str = "urn:daylily:fhir/StructureDefinition/recipient";
/// The system of client ids in identifiers.
pub const CLIENT_SYSTEM: &str = "urn:daylily:fhir/client";
/// The extension of an attachment with its SHA-256 (`valueString`, lower-case hex).
pub const SHA256: &str = "urn:daylily:fhir/StructureDefinition/sha256";

/// A DocumentReference, understood.
#[derive(Clone)]
pub struct Submitted {
    object: Object<'static>,
    index: Index,
    contents: Vec<Content>,
    recipients: Vec<ClientId>,
    references: Vec<(String, Target)>,
}

impl std::fmt::Debug for Submitted {
    /// Without what it says: that is about a patient.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Submitted").field("contents", &self.contents).finish_non_exhaustive()
    }
}

impl Submitted {
    /// Looks into a valid DocumentReference.
    ///
    /// # Errors
    /// 422 with every mistake: `source-refused` for a url of another host, `reference-not-found` for one of this server that
    /// names no file, `list-too-long` for more than [`MAX_NAMED`] of a kind, `value-malformed` for a broken `data`, `sha256` or recipient, `content-mismatch` for `data` whose
    /// SHA-256 is not the one declared.
    pub fn read(resource: Resource<'_>, base: &Base) -> Result<Self, Refusal> {
        let mut object = resource.object;
        let mut issues = Vec::new();
        let contents = content::read(&object, base, &mut issues);
        let recipients = recipients(&object, &mut issues);
        let references = local_references("DocumentReference", &object, base);
        let index = index(&object, base, &references);
        issues.extend(too_many(&object, &index, &references, recipients.len()));
        if let Some(refusal) = Refusal::of_all(first_of(issues)) {
            return Err(refusal);
        }
        content::forget_data(&mut object);
        Ok(Self { object: object.into_owned(), index, contents, recipients, references })
    }

    /// What policy may look at.
    pub fn facts(&self, client: &ClientId) -> Facts {
        let department = self.object.object("context").and_then(|context| context.object("practiceSetting"));
        Facts {
            kind: self.index.kind.clone(),
            category: self.index.category.clone(),
            security_label: self.object.objects("securityLabel").flat_map(codings).collect(),
            department: department.map(codings).unwrap_or_default(),
            client: client.as_str().to_owned(),
        }
    }

    /// What search can find it by.
    pub fn index(&self) -> Index {
        self.index.clone()
    }

    /// The content entries, in order.
    pub fn contents(&self) -> &[Content] {
        &self.contents
    }

    /// The clients that it names as recipients.
    pub fn recipients(&self) -> Vec<ClientId> {
        self.recipients.clone()
    }

    /// References to this server with their paths: who is strict asks the store for them, who is not warns.
    pub fn references(&self) -> Vec<(String, Target)> {
        self.references.clone()
    }
}

fn index(object: &Object<'_>, base: &Base, local: &[(String, Target)]) -> Index {
    let reference =
        |holder: Option<&Object<'_>>| holder.and_then(|one| one.text("reference")).map(|text| base.target(text));
    let context = object.object("context");
    let encounters = context.into_iter().flat_map(|context| context.objects("encounter"));
    let encounters: Vec<Target> = encounters.filter_map(|encounter| reference(Some(encounter))).collect();
    let (subject, custodian) = (reference(object.object("subject")), reference(object.object("custodian")));
    let mut named: HashSet<&Target> = [&subject, &custodian].into_iter().flatten().chain(&encounters).collect();
    let others = local.iter().map(|(_, target)| target).filter(|target| named.insert(target));
    let references = others.cloned().collect();
    Index {
        identifiers: identifiers(object.object("masterIdentifier").into_iter().chain(object.objects("identifier"))),
        subject,
        encounters,
        custodian,
        references,
        status: object.text("status").map(str::to_owned),
        kind: object.object("type").map(codings).unwrap_or_default(),
        category: object.objects("category").flat_map(codings).collect(),
        date: object.text("date").and_then(date::span),
    }
}

/// Lists that would cost too much to keep and to look up, each by its place.
fn too_many(object: &Object<'_>, index: &Index, local: &[(String, Target)], recipients: usize) -> Vec<Issue> {
    let labels: usize = object.objects("securityLabel").map(|label| label.items("coding").len()).sum();
    let lists = [
        (index.identifiers.len(), "DocumentReference.identifier"),
        (index.encounters.len(), "DocumentReference.context.encounter"),
        (index.kind.len(), "DocumentReference.type.coding"),
        (index.category.len(), "DocumentReference.category"),
        (labels, "DocumentReference.securityLabel"),
        (recipients, "DocumentReference.extension"),
    ];
    let long = lists.into_iter().filter(|(length, _)| *length > MAX_NAMED).map(|(_, path)| path);
    let issue = |path: &str| Issue::new(Code::ListTooLong).at(path).fill("limit", MAX_NAMED);
    long.map(issue).chain(too_many_references(local)).collect()
}

/// Identifiers that have a value: what a search can compare.
pub(super) fn identifiers<'o>(list: impl Iterator<Item = &'o Object<'o>>) -> Vec<Identifier> {
    list.filter_map(|one| {
        let value = one.text("value")?.to_owned();
        Some(Identifier { system: one.text("system").map(str::to_owned), value })
    })
    .collect()
}

fn codings(concept: &Object<'_>) -> Vec<Coding> {
    let text = |coding: &Object<'_>, name: &str| coding.text(name).map(str::to_owned);
    let read = |coding: &Object<'_>| Coding { system: text(coding, "system"), code: text(coding, "code") };
    concept.objects("coding").map(read).filter(|coding| coding.system.is_some() || coding.code.is_some()).collect()
}

fn recipients(object: &Object<'_>, issues: &mut Vec<Issue>) -> Vec<ClientId> {
    let (mut found, mut known) = (Vec::new(), HashSet::new());
    for (at, extension) in object.objects("extension").enumerate() {
        if extension.text("url") != Some(RECIPIENT) {
            continue;
        }
        let identifier = extension.object("valueIdentifier");
        let system = identifier.and_then(|one| one.text("system"));
        let client = identifier.and_then(|one| one.text("value")).and_then(ClientId::parse);
        match client.filter(|_| system == Some(CLIENT_SYSTEM)) {
            Some(client) if known.insert(client.clone()) => found.push(client),
            Some(_) => {}
            None => {
                let path = format!("DocumentReference.extension[{at}].value");
                let example = format!("{{\"system\":\"{CLIENT_SYSTEM}\",\"value\":\"ehr\"}}");
                let issue = Issue::new(Code::ValueMalformed).at(&path).fill("datatype", "client identifier");
                issues.push(issue.fill("example", example));
            }
        }
    }
    found
}

#[cfg(test)]
mod costs;
#[cfg(test)]
mod tests;
