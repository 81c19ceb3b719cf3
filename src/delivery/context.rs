//! Context resources: whom and what documents refer to. Their senders may choose the id, so that data may arrive in any order.

use bytes::Bytes;

use super::documents::CreatedResource;
use super::failure::store_failure;
use super::reading::read_body;
use super::{Caller, Delivery};
use crate::domain::audit::{Action, Outcome};
use crate::domain::id::ResourceId;
use crate::domain::principal::{AccessScope, Interaction};
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::domain::resource::Kind;
use crate::fhir::context::Submitted;
use crate::fhir::validate::{self, Expectation};
use crate::store::{Idempotency, NewContext, StoreError, Written};

/// A `PUT`.
#[derive(Debug, Clone)]
pub struct PutContext<'a> {
    /// Its type.
    pub kind: Kind,
    /// The id of the URL, which the body must repeat.
    pub id: &'a ResourceId,
    /// JSON text.
    pub body: &'a Bytes,
    /// Version of `If-Match`.
    pub if_match: Option<u32>,
}

impl Delivery {
    /// Creates or replaces a context resource under the sender's id.
    ///
    /// # Errors
    /// `scope-insufficient`; all that validation finds; `version-conflict`; `resource-not-found` when the id is taken by a
    /// resource that the caller cannot see.
    pub async fn put(&self, caller: &Caller, put: PutContext<'_>) -> Result<CreatedResource, Refusal> {
        let scope = caller.principal.may(Interaction::Update, put.kind)?;
        let (expected, id, base) = (super::documents::resource_type(put.kind), put.id.clone(), self.terms.base.clone());
        let read = move |body: &[u8]| {
            Submitted::read(validate::read(body, Expectation::Update(expected, id.as_str()))?, &base)
        };
        let submitted = read_body(&caller.holder(), put.body, read).await?;
        self.write_context(caller, &scope, put.kind, put.id.clone(), submitted, (true, put.if_match), None).await
    }

    /// Creates a context resource under an id of this server.
    pub(super) async fn create_context(
        &self,
        caller: &Caller,
        scope: &AccessScope,
        kind: Kind,
        submitted: Submitted,
        idempotency: Option<Idempotency>,
    ) -> Result<CreatedResource, Refusal> {
        let id = ResourceId::random(self.entropy.as_ref());
        self.write_context(caller, scope, kind, id, submitted, (false, None), idempotency).await
    }

    #[expect(clippy::too_many_arguments, reason = "one private step behind two narrow entrances")]
    async fn write_context(
        &self,
        caller: &Caller,
        scope: &AccessScope,
        kind: Kind,
        id: ResourceId,
        submitted: Submitted,
        (replace, if_match): (bool, Option<u32>),
        idempotency: Option<Idempotency>,
    ) -> Result<CreatedResource, Refusal> {
        let warnings = self.dangling(&submitted.references(), scope).await?;
        let action = if replace { Action::ContextUpdate } else { Action::ContextCreate };
        let mut entry = caller.entry(action, Outcome::Ok).resource(kind.as_str(), &id, 0);
        if kind == Kind::Patient {
            entry = entry.patient(&format!("Patient/{id}"));
        }
        let new = NewContext {
            kind,
            id: id.clone(),
            owner: caller.principal.number,
            index: submitted.index(),
            body: submitted.into_body(&id),
            replace,
            if_match,
            idempotency,
            at: self.clock.now(),
        };
        let sealed = self.recorder.seal(&entry)?;
        let written = match self.store.put_context(new, scope, sealed).await {
            Ok(written) => written,
            Err(StoreError::Changed) => return Err(self.version_conflict(kind, &id, scope).await),
            // The same request is under way: what it made is the answer a moment later.
            Err(StoreError::AlreadyExists) if !replace => return Err(Refusal::of(Code::ServerBusy).retry_after(1)),
            Err(StoreError::AlreadyExists) => return Err(super::offers::not_found()),
            Err(error) => return Err(store_failure(error)),
        };
        let Written { created, version, .. } = written;
        let read = self.shown(kind, &id, version, scope).await?;
        Ok(CreatedResource { read, created, warnings })
    }

    /// 412 with the version that holds now, so that the writer can merge with it.
    async fn version_conflict(&self, kind: Kind, id: &ResourceId, scope: &AccessScope) -> Refusal {
        let issue = Issue::new(Code::VersionConflict);
        match self.store.read(kind, id, scope).await {
            Ok(Some(stored)) => issue.fill("current", stored.version).into(),
            Ok(None) | Err(_) => issue.cure_text("Read it, apply the change again, send its version.").into(),
        }
    }
}
