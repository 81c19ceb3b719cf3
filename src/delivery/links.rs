//! `$issue-link` and `$revoke`, and the operators' revocations: making a link of one's own, and cutting access at once.

use std::time::Duration;

use super::failure::store_failure;
use super::offers::{about, closed, gone, not_found};
use super::{Caller, Delivery};
use crate::domain::audit::{Action, Entry, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::epoch::{Scope, Subject};
use crate::domain::id::{LinkId, ResourceId};
use crate::domain::lifecycle::{self, Actor, Stamp};
use crate::domain::link::{Claims, Purpose};
use crate::domain::principal::Interaction;
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::domain::resource::{DocumentFacts, Kind, Stored};
use crate::store::StoreError;

/// Input of `$issue-link`.
#[derive(Debug, Clone)]
pub struct IssueLink {
    /// Which content entry, 1-based.
    pub content: u32,
    /// How long; `None`: the policy's lifetime.
    pub lifetime: Option<Duration>,
}

/// A link made by `$issue-link`.
#[derive(Debug, Clone)]
pub struct IssuedLink {
    /// The whole URL.
    pub url: String,
    /// Its last second.
    pub expires: Timestamp,
    /// Its id.
    pub id: LinkId,
}

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
    /// Makes a link to one content entry of a document.
    ///
    /// # Errors
    /// `scope-insufficient`, `resource-not-found`, `content-…` while it cannot be opened, `policy-limit-exceeded`,
    /// `parameter-malformed` for a content entry that is not there.
    pub async fn issue_link(
        &self,
        caller: &Caller,
        id: &ResourceId,
        wanted: &IssueLink,
    ) -> Result<IssuedLink, Refusal> {
        let (stored, document) = self.document_for(caller, Interaction::Read, Action::LinkIssue, id).await?;
        let version = u64::from(stored.version);
        if let Some(refusal) = closed(&document, self.clock.now()) {
            let entry = caller.entry(Action::LinkIssue, Outcome::Denied).document(id, version).code(refusal.code());
            self.recorder.record(&about(entry, &document)).await?;
            return Err(refusal);
        }
        let index = wanted.content.checked_sub(1).and_then(|at| u16::try_from(at).ok());
        let brief = stored.files.iter().find(|brief| Some(brief.content) == index).ok_or_else(|| {
            let issue = Issue::new(Code::ParameterMalformed).at_http("content");
            Refusal::new(issue.fill("fault", "names no content entry with a file").fill("example", "1"))
        })?;
        let terms = &document.decision.link;
        let lifetime = wanted.lifetime.unwrap_or(terms.lifetime);
        if lifetime > terms.max_lifetime || lifetime.is_zero() {
            let limit = crate::domain::clock::write_span(terms.max_lifetime);
            let issue = Issue::new(Code::PolicyLimitExceeded).at_http("lifetime").fill("limit", limit);
            return Err(issue.fill("rule", &document.decision.rule).into());
        }
        let issued = self.sign_issued(caller, &document, brief.file, lifetime);
        let entry = caller.entry(Action::LinkIssue, Outcome::Ok).document(id, version).file(brief.file);
        let entry = about(entry, &document).link(&issued.id).with("expires", issued.expires.to_string());
        self.recorder.record(&entry).await?;
        Ok(issued)
    }

    fn sign_issued(
        &self,
        caller: &Caller,
        document: &DocumentFacts,
        file: crate::domain::id::FileId,
        lifetime: Duration,
    ) -> IssuedLink {
        let reader = caller.principal.number;
        let subject = Subject { reader, document: document.number, patient: document.patient };
        let mut nonce = [0; 8];
        self.entropy.fill(&mut nonce);
        // Never 0, which marks offered links.
        let nonce = u64::from_be_bytes(nonce) | 1;
        let expires = Timestamp::from_millis(self.clock.now().plus(lifetime).seconds().saturating_mul(1000));
        let epoch = self.store.epochs().current(&subject);
        let claims = Claims { file, purpose: Purpose::Download, expires, epoch, reader, row: None, nonce };
        let token = self.link_keys().mint(&claims);
        IssuedLink { url: self.terms.base.link(&token), expires, id: token.id() }
    }

    /// Ends links of a document: one (its issuer may), or all given so far (update, and owner); with `state` the document
    /// too. Access is cut before anything is counted.
    ///
    /// # Errors
    /// `scope-insufficient`, `resource-not-found`, `state-refused`.
    pub async fn revoke_links(&self, caller: &Caller, id: &ResourceId, wanted: &RevokeLinks) -> Result<u64, Refusal> {
        let right = if wanted.link.is_some() { Interaction::Read } else { Interaction::Update };
        let (_, document) = self.document_for(caller, right, Action::LinkRevoke, id).await?;
        let owner = document.owner == caller.principal.number;
        let now = self.clock.now();
        if let Some(link) = &wanted.link {
            let given = self.links_alive(&document, now).await?;
            // Of this document, and its issuer's or owner's: whoever knows an id alone cuts nothing of others.
            let mine = |known: &super::alive::GivenLink| {
                known.id == *link && (owner || known.client == caller.principal.client.as_str())
            };
            if !given.iter().any(mine) {
                return Err(not_found());
            }
        } else if !owner {
            return Err(Refusal::new(Issue::new(Code::RoleInsufficient).fill("roles", "owner of the document")));
        }
        // Access is cut first; what had been given is counted afterwards.
        let reason = wanted.reason.as_deref().unwrap_or("no reason given");
        let scope = wanted.link.clone().map_or(Scope::Document(document.number), Scope::Link);
        let entry = caller.entry(Action::LinkRevoke, Outcome::Ok).document(id, u64::from(document.version));
        let entry = about(entry, &document).reason(reason);
        self.cut(scope, reason, &entry).await?;
        if wanted.state {
            self.revoke_document(&document, &Actor::Client(caller.principal.client.clone()), reason, &entry).await?;
        }
        let given = self.links_alive(&document, now).await?;
        let counted = given.iter().filter(|known| wanted.link.as_ref().is_none_or(|only| *only == known.id)).count();
        Ok(u64::try_from(counted).unwrap_or(u64::MAX))
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
        match self.store.transition(document.number, vec![transition], vec![sealed]).await {
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
