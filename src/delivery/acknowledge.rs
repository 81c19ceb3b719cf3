//! `$acknowledge`: a recipient says that it has a document in its own records, or that it does not take it. Where policy waits for
//! that word, the document becomes `delivered` and its window begins.

use std::collections::HashSet;

use super::failure::store_failure;
use super::offers::about;
use super::{Caller, Delivery};
use crate::domain::acknowledgement::Acknowledgement;
use crate::domain::audit::{Action, Entry, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::id::{ClientId, ResourceId};
use crate::domain::lifecycle::{self, Actor, Stamp, State};
use crate::domain::policy::{DeliveredWhen, RetainFrom};
use crate::domain::principal::Interaction;
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::domain::resource::DocumentFacts;
use crate::store::{Acknowledged, StoreError};

/// Input of `$acknowledge`.
#[derive(Debug, Clone)]
pub struct Acknowledge {
    /// What became of it.
    pub outcome: Acknowledgement,
    /// The recipient's own words; kept in the audit log's erasable part only.
    pub note: Option<String>,
}

impl Delivery {
    /// Keeps what the caller says. Only a named recipient may where any is named. A document that never could be opened is refused.
    ///
    /// # Errors
    /// `scope-insufficient`, `resource-not-found`, `content-purged` (410), `content-not-ready`, `content-quarantined`,
    /// `audit-unavailable`.
    pub async fn acknowledge(&self, caller: &Caller, id: &ResourceId, said: &Acknowledge) -> Result<(), Refusal> {
        let action = Action::DocumentAcknowledge;
        let (stored, document) = self.document_for(caller, Interaction::Read, action, id).await?;
        let (version, now) = (u64::from(stored.version), self.clock.now());
        let recipients = self.store.recipients(document.number).await.map_err(store_failure)?;
        if let Some(refusal) = self.refused(caller, &document, &recipients, now) {
            let entry = caller.entry(action, Outcome::Denied).document(id, version).code(refusal.code());
            self.recorder.record(&about(entry, &document)).await?;
            return Err(refusal);
        }
        let entry = about(caller.entry(action, Outcome::Ok).document(id, version), &document);
        let mut entry = entry.with("outcome", said.outcome.as_str());
        if let Some(note) = &said.note {
            entry = entry.reason(note);
        }
        let sealed = self.recorder.seal(&entry)?;
        let word = (said.outcome, now);
        let all = self.store.acknowledge(document.number, caller.principal.number, word, sealed).await;
        let all = all.map_err(store_failure)?;
        if said.outcome == Acknowledgement::Imported {
            self.count_acknowledged(&document, u64::from(stored.version), &recipients, &all).await?;
        }
        Ok(())
    }

    fn refused(
        &self,
        caller: &Caller,
        document: &DocumentFacts,
        recipients: &[ClientId],
        now: Timestamp,
    ) -> Option<Refusal> {
        let me = self.store.client_by_number(caller.principal.number).map(|client| client.id.clone());
        if !recipients.is_empty() && !me.is_some_and(|me| recipients.contains(&me)) {
            let issue = Issue::new(Code::ScopeInsufficient)
                .message_text("The document names its recipients, and this client is none of them.")
                .cure_text("Let a named recipient acknowledge it.");
            return Some(issue.into());
        }
        // What it fetched while it could be opened may be acknowledged later too.
        match document.state {
            State::Created | State::Scanned | State::Quarantined => self.closed(document, now),
            _ => None,
        }
    }

    async fn count_acknowledged(
        &self,
        document: &DocumentFacts,
        version: u64,
        recipients: &[ClientId],
        all: &Acknowledged,
    ) -> Result<(), Refusal> {
        let decision = &document.decision;
        let due = match (decision.retain_from, all.first) {
            (RetainFrom::Acknowledged, Some(first)) => Some(first.plus(decision.retain)),
            _ => document.due,
        };
        let met = decision.delivered_when == DeliveredWhen::Acknowledged
            && !all.imported.is_empty()
            && recipients.iter().collect::<HashSet<_>>().is_subset(&all.imported.iter().collect());
        let stamp = Stamp { at: self.clock.now(), actor: Actor::Server, due };
        if let (true, Ok(transition)) = (met, lifecycle::deliver(document.state, stamp)) {
            let entry = Entry::new(Action::LifecycleTransition, Outcome::Ok).server().document(&document.id, version);
            let entry = about(entry, document).states(Some(transition.from().as_str()), transition.to().as_str());
            let sealed = self.recorder.seal(&entry)?;
            return match self.store.transition(document.number, vec![transition], vec![sealed]).await {
                Ok(_) => Ok(()),
                Err(StoreError::Changed) => self.store.set_due(document.number, due).await.map_err(store_failure),
                Err(error) => Err(store_failure(error)),
            };
        }
        if due != document.due {
            self.store.set_due(document.number, due).await.map_err(store_failure)?;
        }
        Ok(())
    }
}
