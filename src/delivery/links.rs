//! `$revoke`, and the operators' revocations: cutting access at once.

use super::failure::store_failure;
use super::offers::{about, gone, not_found};
use super::{Caller, Delivery};
use crate::domain::audit::{Action, Entry, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::epoch::{Holder, Scope};
use crate::domain::id::{LinkId, ResourceId};
use crate::domain::lifecycle::{self, Actor, Stamp};
use crate::domain::principal::Interaction;
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::domain::resource::{DocumentFacts, Kind, Stored};
use crate::failpoint::{self, Point};
use crate::store::{GivenLink, StoreError};

/// Input of `$revoke`.
#[derive(Debug, Clone, Default)]
pub struct RevokeLinks {
    /// Why.
    pub reason: Option<String>,
    /// Only this link.
    pub link: Option<LinkId>,
    /// Move the document to `revoked` as well.
    pub state: bool,
}

impl Delivery {
    /// Ends links of a document: one (its issuer may), or all given so far (update, and owner); with `state` the document
    /// too. Access is cut before anything is counted.
    ///
    /// # Errors
    /// `scope-insufficient`, `resource-not-found`, `state-refused`.
    pub async fn revoke_links(&self, caller: &Caller, id: &ResourceId, wanted: &RevokeLinks) -> Result<u64, Refusal> {
        let right = if wanted.link.is_some() { Interaction::Read } else { Interaction::Update };
        let (_, document) = self.document_for(caller, right, Action::LinkRevoke, id).await?;
        let now = self.clock.now();
        let (scope, holder) = self.withdrawable(caller, &document, wanted, now).await?;
        // Access is cut first; what had been given is counted afterwards.
        let before = self.store.epochs();
        let reason = wanted.reason.as_deref().unwrap_or("no reason given");
        let entry = caller.entry(Action::LinkRevoke, Outcome::Ok).document(id, u64::from(document.version));
        let entry = wanted.link.iter().fold(about(entry, &document).reason(reason), Entry::link);
        self.cut((scope.clone(), holder), reason, &entry).await?;
        failpoint::here(Point::RevocationDone);
        if wanted.state {
            self.revoke_document(&document, &Actor::Client(caller.principal.client.clone()), reason, &entry).await?;
        }
        Ok(self.touched(&scope, &before, now).await?.links)
    }

    /// What the caller may withdraw of a document, as it asked: all links for its owner, one for its owner or whoever it was
    /// given to.
    async fn withdrawable(
        &self,
        caller: &Caller,
        document: &DocumentFacts,
        wanted: &RevokeLinks,
        now: Timestamp,
    ) -> Result<(Scope, Option<Holder>), Refusal> {
        let owner = document.owner == caller.principal.number;
        let Some(id) = &wanted.link else {
            let refusal = || Refusal::new(Issue::new(Code::RoleInsufficient).fill("roles", "owner of the document"));
            return if owner { Ok((Scope::Document(document.number), None)) } else { Err(refusal()) };
        };
        let given = self.given(id).await?;
        // Of this document, and its reader's or owner's: whoever knows an id alone cuts nothing of others.
        let mine = |given: &GivenLink| {
            let Holder { reader, document: of } = given.subject.holder();
            of == document.number && (owner || reader == caller.principal.number) && given.expires >= now
        };
        let holder = given.filter(mine).ok_or_else(not_found)?.subject.holder();
        Ok((Scope::Link(id.clone()), Some(holder)))
    }

    /// Moves a document to `revoked`.
    pub(super) async fn revoke_document(
        &self,
        document: &DocumentFacts,
        actor: &Actor,
        why: &str,
        entry: &Entry,
    ) -> Result<(), Refusal> {
        let at = self.clock.now();
        let due = Some(at.plus(document.decision.purge_after));
        let stamp = Stamp { at, actor: actor.clone(), due };
        let transition = lifecycle::revoke(document.state, why, stamp)?;
        let entry = entry.clone().states(Some(document.state.as_str()), transition.to().as_str());
        let sealed = self.recorder.seal(&entry)?;
        let done = self.store.transition(document.number, vec![transition], vec![sealed]).await;
        // Rare enough that it need not be known which files those are.
        self.blobs.forget(None);
        match done {
            Ok(_) => Ok(()),
            Err(StoreError::Changed) => Err(Refusal::of(Code::ServerBusy).retry_after(1)),
            Err(error) => Err(store_failure(error)),
        }
    }

    /// A document that the caller may act on, or the answer that there is none.
    pub(super) async fn document_for(
        &self,
        caller: &Caller,
        right: Interaction,
        action: Action,
        id: &ResourceId,
    ) -> Result<(Stored, DocumentFacts), Refusal> {
        let scope = caller.principal.may(right, Kind::DocumentReference)?;
        let found = self.store.read(Kind::DocumentReference, id, &scope).await.map_err(store_failure)?;
        let Some((stored, document)) =
            found.and_then(|stored| stored.document.clone().map(|document| (stored, document)))
        else {
            self.record_missing(caller, action, Kind::DocumentReference, id).await?;
            return Err(not_found());
        };
        if document.state == lifecycle::State::Purged {
            let refusal = gone(&document);
            let entry = caller.entry(action, Outcome::Denied).document(id, u64::from(stored.version));
            self.recorder.record(&about(entry, &document).code(refusal.code())).await?;
            return Err(refusal);
        }
        Ok((stored, document))
    }
}
