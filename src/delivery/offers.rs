//! Reading a resource, and the links that readers are offered with it.

use super::failure::store_failure;
use super::{Caller, Delivery};
use crate::domain::audit::{Action, Entry, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::epoch::{Epochs, Subject};
use crate::domain::id::{FileId, ResourceId};
use crate::domain::lifecycle::State;
use crate::domain::link::{Claims, LinkKeys, Purpose, offered_until};
use crate::domain::principal::{AttachmentUrl, Interaction, Principal};
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::domain::resource::{DocumentFacts, Kind, Stored, Target};
use crate::fhir::base::Base;
use crate::fhir::render::{Absent, Address, Shown};
use crate::shares::{Place, Places};
use crate::store::{AnswerMemory, GivenLink};

/// A resource with what stands for the urls of its contents.
#[derive(Debug)]
pub struct ReadResource {
    /// The resource.
    pub stored: Stored,
    /// Where each content entry can be opened, by its number.
    pub addresses: Vec<Address>,
    /// What was taken for its text, where that is long.
    pub memory: Option<Place>,
}

impl ReadResource {
    /// What is set into the stored text for this reader.
    pub fn shown(&self) -> Shown<'_> {
        Shown {
            version: self.stored.version,
            updated: self.stored.updated,
            state: self.stored.version_state,
            addresses: &self.addresses,
        }
    }

    /// The resource as JSON text.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.stored.body.render(&self.shown(), &mut out);
        out
    }
}

/// What offering needs, taken once per answer.
pub(super) struct Offers<'a> {
    reader: &'a Principal,
    base: &'a Base,
    keys: &'a LinkKeys,
    epochs: &'a Epochs,
    now: Timestamp,
}

impl Delivery {
    /// Reads the current version of a resource.
    ///
    /// # Errors
    /// `scope-insufficient`; `resource-not-found` for what is not there or outside the caller's reach, alike;
    /// `content-purged` (410) for a purged document that the caller's reach covered; `audit-unavailable`; `rate-limited`, `server-busy`
    /// where `bytes` has no room for its text.
    pub async fn read(
        &self,
        caller: &Caller,
        kind: Kind,
        id: &ResourceId,
        bytes: &Places,
    ) -> Result<ReadResource, Refusal> {
        let scope = caller.principal.may(Interaction::Read, kind)?;
        let memory = AnswerMemory { bytes, holder: &caller.holder() };
        let found = self.store.read_for_answer(kind, id, &scope, memory).await.map_err(store_failure)?;
        let action = if kind == Kind::DocumentReference { Action::DocumentRead } else { Action::ContextRead };
        let Some((stored, memory)) = found else {
            self.record_missing(caller, action, kind, id).await?;
            return Err(not_found());
        };
        if let Some(document) = stored.document.as_ref().filter(|document| document.state == State::Purged) {
            let refusal = gone(document);
            let entry = caller.entry(action, Outcome::Denied).document(id, u64::from(stored.version));
            self.recorder.record(&about(entry, document).code(refusal.code())).await?;
            return Err(refusal);
        }
        let (epochs, keys) = (self.store.epochs(), self.link_keys());
        let offers = self.offers(&caller.principal, &keys, &epochs);
        let (addresses, offered) = offers.of(&stored);
        let mut entry = caller.entry(action, Outcome::Ok);
        entry = match &stored.document {
            Some(document) => about(entry.document(id, u64::from(stored.version)), document),
            None => entry.resource(kind.as_str(), id, u64::from(stored.version)),
        };
        if kind == Kind::Patient {
            entry = entry.patient(&format!("Patient/{id}"));
        }
        self.recorder.record_offering(entry, offered).await?;
        Ok(ReadResource { stored, addresses, memory })
    }

    /// Records that something was asked for by an authenticated caller and not shown.
    pub(super) async fn record_missing(
        &self,
        caller: &Caller,
        action: Action,
        kind: Kind,
        id: &ResourceId,
    ) -> Result<(), Refusal> {
        let entry = caller.entry(action, Outcome::Denied).resource(kind.as_str(), id, 0).code(Code::ResourceNotFound);
        self.recorder.record(&entry).await.map(|_| ())
    }

    /// What offering needs, for one answer.
    pub(super) fn offers<'a>(&'a self, reader: &'a Principal, keys: &'a LinkKeys, epochs: &'a Epochs) -> Offers<'a> {
        Offers { reader, base: &self.terms.base, keys, epochs, now: self.clock.now() }
    }
}

impl Offers<'_> {
    /// Where a resource's contents can be opened by the reader, and the links among that.
    pub(super) fn of(&self, stored: &Stored) -> (Vec<Address>, Vec<GivenLink>) {
        let mut offered = Vec::new();
        let Some(document) = &stored.document else {
            return (Vec::new(), offered);
        };
        let entries = stored.files.iter().map(|brief| usize::from(brief.content) + 1).max().unwrap_or(0);
        let mut addresses = vec![Address::Absent(Absent::TempUnknown); entries];
        for brief in &stored.files {
            let address = match Absent::of(document.state_at(self.now)) {
                Some(absent) => Address::Absent(absent),
                // A link that is spent, bound or confirmed is made by `$issue-link` alone (contract, Links).
                None if self.reader.attachment_url == AttachmentUrl::Handle
                    || document.decision.link.by_request_only() =>
                {
                    Address::Url(self.base.handle(brief.file))
                }
                None => self.link(document, brief.file, &mut offered),
            };
            if let Some(place) = addresses.get_mut(usize::from(brief.content)) {
                *place = address;
            }
        }
        (addresses, offered)
    }

    fn link(&self, document: &DocumentFacts, file: FileId, offered: &mut Vec<GivenLink>) -> Address {
        let expires = offered_until(file, document.decision.link.lifetime, self.now);
        let subject = Subject { reader: self.reader.number, document: document.number, patient: document.patient };
        let (purpose, epoch) = (Purpose::Download, self.epochs.current(&subject));
        let claims = Claims { file, purpose, expires, epoch, reader: subject.reader, row: None, nonce: 0 };
        let token = self.keys.mint(&claims);
        offered.push(GivenLink { id: token.id(), file, subject, epoch, row: None, expires });
        Address::Url(self.base.link(&token))
    }
}

/// An entry about a document's patient.
pub(super) fn about(entry: Entry, document: &DocumentFacts) -> Entry {
    about_subject(entry, document.subject.as_ref())
}

/// An entry about a subject, if there is one.
pub(super) fn about_subject(entry: Entry, subject: Option<&Target>) -> Entry {
    match subject {
        Some(subject) => entry.patient(&subject.0),
        None => entry,
    }
}

/// The one answer for what is not there and what is not the caller's.
pub(super) fn not_found() -> Refusal {
    Refusal::of(Code::ResourceNotFound)
}

/// Why a document's files cannot be opened in its state, as a refusal, without how long to wait (that is
/// [`Delivery::closed`]). Only for those who may know of the document.
pub(super) fn closed(document: &DocumentFacts, now: Timestamp) -> Option<Refusal> {
    let state = document.state_at(now);
    let when = if state == document.state { document.since } else { document.due.unwrap_or(now) };
    state.closed_because().map(|code| Refusal::new(Issue::new(code).fill("when", when)))
}

/// 410 for a destroyed document, with the rule that destroyed it. Only for those whose reach covers it.
pub(super) fn gone(document: &DocumentFacts) -> Refusal {
    let cure = format!("Ask its source to send it again; the record of it remains (rule {}).", document.decision.rule);
    Refusal::new(Issue::new(Code::ContentPurged).fill("when", document.since).cure_text(cure))
}
