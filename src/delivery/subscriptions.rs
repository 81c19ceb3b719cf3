//! Subscriptions as their owners make, read, change and delete them, and their signing secrets. Telling receivers is not done here.
//! A Subscription is its owner's alone: any other client's, and none, are the same answer.

mod rate;

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::documents::Remembered;
use super::failure::store_failure;
use super::offers::not_found;
use super::reading::read_body;
use super::sealing::Sealed;
use super::{Caller, Delivery};
use crate::domain::audit::{Action, Entry, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::id::ResourceId;
use crate::domain::principal::Interaction;
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::domain::resource::{Body, Kind};
use crate::domain::subscription::{Form, SubscriptionStatus};
use crate::fhir::subscription::{self, HeaderLine, Rules, Shown, Submitted};
use crate::fhir::tables::ResourceType;
use crate::fhir::validate::Expectation;
use crate::store::{
    NewSubscription, SigningSecret, StoreError, StoredSubscription, SubscriptionChange, SubscriptionTerms,
};

pub(super) use rate::HandshakeRate;

/// How long after the answer the first message may be sent: the answer must have left (some receivers listen only then).
const HANDSHAKE_AFTER: Duration = Duration::from_millis(500);
/// Random bytes of a signing secret.
const SECRET_BYTES: usize = 32;
/// Most secrets that a message is signed with.
const MAX_SECRETS: usize = 4;

/// Whether an endpoint may be called: asked before a Subscription is accepted. The way out asks again at each connection.
#[async_trait]
pub trait EndpointCheck: Send + Sync + std::fmt::Debug {
    /// `false` for an address that is refused and for a name that has none alike: the difference is not the caller's to know.
    async fn may_call(&self, url: &str) -> bool;
}

/// A Subscription as it is shown.
#[derive(Debug, Clone)]
pub struct ShownSubscription {
    /// Its id.
    pub id: ResourceId,
    /// Its version.
    pub version: u32,
    /// When that version was made.
    pub updated: Timestamp,
    /// JSON text. After a write it holds header values as they were sent: for the writer alone.
    pub text: String,
    /// Whether it is new.
    pub created: bool,
}

/// A change by `PUT`.
#[derive(Debug, Clone, Copy)]
pub struct PutSubscription<'a> {
    /// The id of the URL, which the body must repeat.
    pub id: &'a ResourceId,
    /// JSON text.
    pub body: &'a Bytes,
    /// Version of `If-Match`.
    pub if_match: Option<u32>,
}

impl Delivery {
    /// Makes a Subscription for the caller.
    ///
    /// # Errors
    /// `scope-insufficient`; all that reading finds; `endpoint-refused`; `rate-limited`; `idempotency-key-reused`.
    pub async fn create_subscription(
        &self,
        caller: &Caller,
        body: &Bytes,
        key: Option<&str>,
    ) -> Result<ShownSubscription, Refusal> {
        may_subscribe(caller, Interaction::Create)?;
        let remembered = self.remembered(caller, Kind::Subscription, body, key).await?;
        let mut submitted = self.submitted(caller, body, None).await?;
        let idempotency = match remembered {
            Remembered::New(idempotency) => idempotency,
            Remembered::Answered(earlier) => {
                let stored = self.own_subscription(caller, &earlier.id).await?;
                self.record_subscription(caller, Action::SubscriptionRead, &stored).await?;
                return Ok(shown(&stored, Some(&submitted.headers), true));
            }
        };
        subscription::keep(&mut submitted.headers, Vec::new())?;
        self.vet(caller, &submitted).await?;
        let (id, at) = (ResourceId::random(self.entropy.as_ref()), self.clock.now());
        let (secret, _) = self.new_secret(&id)?;
        let new = NewSubscription {
            owner: caller.principal.number,
            terms: self.terms_of(&id, &submitted)?,
            status: submitted.status,
            secret,
            handshake_at: at.plus(HANDSHAKE_AFTER),
            idempotency,
            at,
            id: id.clone(),
        };
        let entry = about(caller, Action::SubscriptionCreate, &id, 1, submitted.form);
        let sealed = self.recorder.seal(&entry)?;
        match self.store.create_subscription(new, sealed).await {
            Ok(_) => {}
            // The same request is under way: what it made is the answer a moment later.
            Err(StoreError::AlreadyExists) => return Err(Refusal::of(Code::ServerBusy).retry_after(1)),
            Err(error) => return Err(store_failure(error)),
        }
        let stored = self.own_subscription(caller, &id).await?;
        Ok(shown(&stored, Some(&submitted.headers), true))
    }

    /// Shows a Subscription of the caller, header values masked.
    ///
    /// # Errors
    /// `scope-insufficient`, `resource-not-found`, `resource-deleted`.
    pub async fn read_subscription(&self, caller: &Caller, id: &ResourceId) -> Result<ShownSubscription, Refusal> {
        caller.principal.may(Interaction::Read, Kind::Subscription)?;
        let stored = self.own_subscription(caller, id).await?;
        self.record_subscription(caller, Action::SubscriptionRead, &stored).await?;
        Ok(shown(&stored, None, false))
    }

    /// Replaces what the owner wrote. `requested` asks for a new handshake, `off` ends it.
    ///
    /// # Errors
    /// As [`Delivery::create_subscription`]; `interaction-unsupported` for an id that is not the caller's; `version-conflict`;
    /// `resource-deleted`.
    pub async fn put_subscription(
        &self,
        caller: &Caller,
        put: PutSubscription<'_>,
    ) -> Result<ShownSubscription, Refusal> {
        may_subscribe(caller, Interaction::Update)?;
        let owner = caller.principal.number;
        let Some(old) = self.store.subscription(put.id, owner).await.map_err(store_failure)? else {
            return Err(self.unknown_to_update(caller, put.id).await);
        };
        let mut submitted = self.submitted(caller, put.body, Some(put.id.clone())).await?;
        if put.if_match.is_some_and(|version| version != old.version) {
            return Err(conflict(old.version));
        }
        subscription::keep(&mut submitted.headers, self.kept_headers(&old, &submitted.endpoint)?)?;
        if submitted.status != SubscriptionStatus::Off {
            self.vet(caller, &submitted).await?;
        }
        let at = self.clock.now();
        let change = SubscriptionChange {
            terms: self.terms_of(put.id, &submitted)?,
            status: submitted.status,
            handshake_at: at.plus(HANDSHAKE_AFTER),
            if_match: put.if_match,
            at,
        };
        let entry = about(caller, Action::SubscriptionUpdate, put.id, old.version + 1, submitted.form);
        let entry = entry.states(Some(old.status.as_str()), submitted.status.as_str());
        let sealed = self.recorder.seal(&entry)?;
        match self.store.update_subscription(put.id, owner, change, sealed).await {
            Ok(_) => {}
            Err(StoreError::Changed) => {
                return Err(match self.own_subscription(caller, put.id).await {
                    Ok(now) => conflict(now.version),
                    Err(refusal) => refusal,
                });
            }
            Err(error) => return Err(store_failure(error)),
        }
        let stored = self.own_subscription(caller, put.id).await?;
        Ok(shown(&stored, Some(&submitted.headers), false))
    }

    /// Deletes a Subscription of the caller with what waits to be sent. Deleting it again changes nothing and is no mistake.
    ///
    /// # Errors
    /// `scope-insufficient`, `resource-not-found`.
    pub async fn delete_subscription(&self, caller: &Caller, id: &ResourceId) -> Result<(), Refusal> {
        caller.principal.may(Interaction::Delete, Kind::Subscription)?;
        let entry = caller.entry(Action::SubscriptionDelete, Outcome::Ok).resource(Kind::Subscription.as_str(), id, 0);
        let sealed = self.recorder.seal(&entry)?;
        let (owner, at) = (caller.principal.number, self.clock.now());
        if self.store.delete_subscription(id, owner, at, sealed).await.map_err(store_failure)? {
            return Ok(());
        }
        let before = self.store.subscription_deleted(id, owner).await.map_err(store_failure)?;
        if before { Ok(()) } else { Err(not_found()) }
    }

    /// Makes a new signing secret and shows it, once. Messages are signed with the old ones too until `overlap` is over, at most
    /// [`MAX_SECRETS`] in all.
    ///
    /// # Errors
    /// `scope-insufficient`, `resource-not-found`, `resource-deleted`.
    pub async fn webhook_secret(
        &self,
        caller: &Caller,
        id: &ResourceId,
        overlap: Duration,
    ) -> Result<SecretString, Refusal> {
        caller.principal.may(Interaction::Update, Kind::Subscription)?;
        let stored = self.own_subscription(caller, id).await?;
        let now = self.clock.now();
        let (new, text) = self.new_secret(id)?;
        let end = now.plus(overlap);
        // No old secret outlives this overlap, so that `0s` ends all of them: that is what it is for.
        let old = stored
            .secrets
            .into_iter()
            .map(|secret| SigningSecret { until: Some(secret.until.map_or(end, |until| until.min(end))), ..secret });
        let old = old.filter(|secret| secret.until.is_some_and(|until| until > now));
        let secrets: Vec<SigningSecret> = std::iter::once(new).chain(old).take(MAX_SECRETS).collect();
        let entry = about(caller, Action::SubscriptionSecret, id, stored.version, stored.terms.form);
        let sealed = self.recorder.seal(&entry.with("overlap", overlap.as_secs()))?;
        let owner = caller.principal.number;
        let set = self.store.set_signing_secrets(id, owner, secrets, sealed).await.map_err(store_failure)?;
        if set { Ok(text) } else { Err(not_found()) }
    }

    /// Reads a body that creates a Subscription, or updates the one of this id.
    async fn submitted(&self, caller: &Caller, body: &Bytes, id: Option<ResourceId>) -> Result<Submitted, Refusal> {
        let (base, now) = (self.terms.base.clone(), self.clock.now());
        let read = move |body: &[u8]| {
            let kind = ResourceType::Subscription;
            let create = Expectation::Create(kind);
            let expectation = id.as_ref().map_or(create, |id| Expectation::Update(kind, id.as_str()));
            Submitted::read(body, expectation, &Rules { base: &base, now })
        };
        read_body(&caller.holder(), body, read).await
    }

    /// Whether the endpoint may be called, and the caller has not asked for too much.
    async fn vet(&self, caller: &Caller, submitted: &Submitted) -> Result<(), Refusal> {
        if submitted.status == SubscriptionStatus::Requested {
            self.handshakes.count(caller.principal.number, self.clock.monotonic())?;
        }
        if self.endpoints.may_call(&submitted.endpoint).await {
            return Ok(());
        }
        Err(Issue::new(Code::EndpointRefused).at("Subscription.channel.endpoint").into())
    }

    fn terms_of(&self, id: &ResourceId, submitted: &Submitted) -> Result<SubscriptionTerms, Refusal> {
        let lines = subscription::to_sealed(&submitted.headers);
        let headers = match lines.expose_secret() {
            [] => Vec::new(),
            plain => self.sealing.seal(Sealed::WebhookHeaders, id, plain)?,
        };
        Ok(SubscriptionTerms {
            form: submitted.form,
            filters: submitted.filters.clone(),
            endpoint: submitted.endpoint.clone(),
            payload: submitted.payload.clone(),
            headers,
            end: submitted.end,
            timeout: submitted.timeout,
            body: Body { text: submitted.stored_text(), splices: Vec::new() },
        })
    }

    /// The stored header values that an update may keep: none for another host.
    fn kept_headers(&self, old: &StoredSubscription, endpoint: &str) -> Result<Vec<HeaderLine>, Refusal> {
        let same_host = subscription::host_of(&old.terms.endpoint) == subscription::host_of(endpoint);
        if old.terms.headers.is_empty() || !same_host {
            return Ok(Vec::new());
        }
        let opened = self.sealing.open(Sealed::WebhookHeaders, &old.id, &old.terms.headers)?;
        Ok(subscription::from_sealed(&opened))
    }

    fn new_secret(&self, id: &ResourceId) -> Result<(SigningSecret, SecretString), Refusal> {
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        self.entropy.fill(bytes.as_mut());
        let sealed = self.sealing.seal(Sealed::WebhookSecret, id, bytes.as_ref())?;
        let text = SecretString::from(format!("whsec_{}", STANDARD.encode(bytes.as_ref())));
        Ok((SigningSecret { sealed, until: None }, text))
    }

    async fn own_subscription(&self, caller: &Caller, id: &ResourceId) -> Result<StoredSubscription, Refusal> {
        let owner = caller.principal.number;
        if let Some(stored) = self.store.subscription(id, owner).await.map_err(store_failure)? {
            return Ok(stored);
        }
        let deleted = self.store.subscription_deleted(id, owner).await.map_err(store_failure)?;
        Err(if deleted { Refusal::of(Code::ResourceDeleted) } else { not_found() })
    }

    /// Ids are this server's, so nothing is made under one that a client chose; one that was deleted is told so to its owner.
    async fn unknown_to_update(&self, caller: &Caller, id: &ResourceId) -> Refusal {
        match self.own_subscription(caller, id).await {
            Err(refusal) if refusal.code() != Code::ResourceNotFound => refusal,
            _ => {
                let issue = Issue::new(Code::InteractionUnsupported).fill("interaction", "create by update");
                Refusal::from(issue.fill("type", "Subscription")).with_allow("GET, HEAD")
            }
        }
    }

    async fn record_subscription(
        &self,
        caller: &Caller,
        action: Action,
        stored: &StoredSubscription,
    ) -> Result<(), Refusal> {
        let entry = about(caller, action, &stored.id, stored.version, stored.terms.form);
        self.recorder.record(&entry).await.map(|_| ())
    }
}

/// Writing a Subscription takes the right to it, and to read and search what it tells of.
fn may_subscribe(caller: &Caller, interaction: Interaction) -> Result<(), Refusal> {
    caller.principal.may(interaction, Kind::Subscription)?;
    caller.principal.may(Interaction::Read, Kind::DocumentReference)?;
    caller.principal.may(Interaction::Search, Kind::DocumentReference)?;
    Ok(())
}

fn about(caller: &Caller, action: Action, id: &ResourceId, version: u32, form: Form) -> Entry {
    let entry = caller.entry(action, Outcome::Ok).resource(Kind::Subscription.as_str(), id, u64::from(version));
    match form {
        Form::Topic(topic, level) => entry.with("topic", topic.name()).with("level", level.name()),
        Form::Plain { payload } => entry.with("payload", payload),
    }
}

/// A Subscription as JSON; `sent`: header lines as their writer has just sent them.
fn shown(stored: &StoredSubscription, sent: Option<&[HeaderLine]>, created: bool) -> ShownSubscription {
    let shown = Shown {
        id: &stored.id,
        version: stored.version,
        updated: stored.updated,
        status: stored.status,
        error: stored.error,
        sent,
    };
    let text = shown.render(&stored.terms.body.text);
    ShownSubscription { id: stored.id.clone(), version: stored.version, updated: stored.updated, text, created }
}

fn conflict(current: u32) -> Refusal {
    Issue::new(Code::VersionConflict).fill("current", current).into()
}
