//! Subscriptions and their outbox, as a part of the store's trait. An event is numbered for every Subscription that it concerns in
//! the transaction that makes it happen; a worker claims a Subscription (never a single event), sends in order, and says what became
//! of it under the claim's fence.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Idempotency, SealedEntry, StoreError, Written};
use crate::domain::clock::Timestamp;
use crate::domain::id::ResourceId;
use crate::domain::principal::ClientNumber;
use crate::domain::query::Filter;
use crate::domain::refusal::Code;
use crate::domain::resource::Body;
use crate::domain::subscription::{ERROR_GRACE, Event, Form, SubscriptionNumber, SubscriptionStatus};

/// What its owner wrote, understood.
#[derive(Clone, PartialEq)]
pub struct SubscriptionTerms {
    /// Topic or plain, and how much is told.
    pub form: Form,
    /// Conditions on the document, in the same words as a search; all hold together.
    pub filters: Vec<Filter>,
    /// Where to send, exactly as written. Never logged.
    pub endpoint: String,
    /// `channel.payload` as written, the `Content-Type` of what is sent.
    pub payload: Option<String>,
    /// Header lines, sealed; empty: none.
    pub headers: Vec<u8>,
    /// When it goes off by itself.
    pub end: Option<Timestamp>,
    /// Most time for one attempt.
    pub timeout: Duration,
    /// The resource as its owner wrote it, without `id`, `meta`, `status`, `error` and header values (each header line masked).
    pub body: Body,
}

impl std::fmt::Debug for SubscriptionTerms {
    /// Without the endpoint and the text, which repeats it: addresses of receivers may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SubscriptionTerms").field("form", &self.form).field("end", &self.end).finish_non_exhaustive()
    }
}

/// A signing secret, sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningSecret {
    /// Sealed bytes.
    pub sealed: Vec<u8>,
    /// Until when messages are signed with it too; `None`: it is the current one.
    pub until: Option<Timestamp>,
}

/// A Subscription to be made.
#[derive(Debug, Clone)]
pub struct NewSubscription {
    /// Its id.
    pub id: ResourceId,
    /// The subscriber.
    pub owner: ClientNumber,
    /// What it wrote.
    pub terms: SubscriptionTerms,
    /// `requested` or `off`.
    pub status: SubscriptionStatus,
    /// Its first secret.
    pub secret: SigningSecret,
    /// First moment of a handshake: after the answer has left.
    pub handshake_at: Timestamp,
    /// Remember the answer.
    pub idempotency: Option<Idempotency>,
    /// When it was accepted.
    pub at: Timestamp,
}

/// A Subscription as stored.
#[derive(Debug, Clone)]
pub struct StoredSubscription {
    /// The store's number.
    pub number: SubscriptionNumber,
    /// Its id.
    pub id: ResourceId,
    /// Its version, from 1; every change of status is one too.
    pub version: u32,
    /// When that version was made.
    pub updated: Timestamp,
    /// The subscriber.
    pub owner: ClientNumber,
    /// Where it stands.
    pub status: SubscriptionStatus,
    /// Why it is in `error` or went `off` by itself.
    pub error: Option<Code>,
    /// Events so far.
    pub counter: u64,
    /// Rises with each `requested`; late answers to an older handshake are ignored.
    pub activation: u64,
    /// What its owner wrote.
    pub terms: SubscriptionTerms,
    /// The current secret first.
    pub secrets: Vec<SigningSecret>,
}

impl StoredSubscription {
    /// Whether it is to go `off` by itself: its `end` has come, or it has been in `error` for [`ERROR_GRACE`].
    pub fn is_over(&self, now: Timestamp) -> bool {
        let given_up = self.status == SubscriptionStatus::Error && self.updated.plus(ERROR_GRACE) <= now;
        given_up || self.terms.end.is_some_and(|end| end <= now)
    }
}

/// A change by the owner.
#[derive(Debug, Clone)]
pub struct SubscriptionChange {
    /// What it wrote.
    pub terms: SubscriptionTerms,
    /// `requested` (a new handshake, unless it is active and the same endpoint) or `off`.
    pub status: SubscriptionStatus,
    /// First moment of a handshake.
    pub handshake_at: Timestamp,
    /// Version that `If-Match` asks for.
    pub if_match: Option<u32>,
    /// When it was accepted.
    pub at: Timestamp,
}

/// What a worker is to send.
#[derive(Debug, Clone)]
pub enum Work {
    /// A first message; `attempts` before this one.
    Handshake {
        /// Attempts before this one.
        attempts: u32,
    },
    /// Events in order, the first of them due. None at all: it is over ([`StoredSubscription::is_over`]), to be answered with
    /// [`Sent::Off`] and its entry
    /// (a turn that is let go without goes `off` too).
    Events(Vec<Waiting>),
}

/// An event that waits to be sent.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// The event.
    pub event: Event,
    /// Attempts before this one.
    pub attempts: u32,
    /// The body of the first attempt, where one has been made and did not succeed: it never changes.
    pub body: Option<Vec<u8>>,
}

/// A claim on one Subscription: nobody else sends for it until it is let go or `until`.
#[derive(Debug, Clone)]
pub struct Turn {
    /// The Subscription.
    pub subscription: Arc<StoredSubscription>,
    /// Fencing token: results under an older one are refused.
    pub fence: u64,
    /// When the claim ends by itself.
    pub until: Timestamp,
    /// What is to be sent.
    pub work: Work,
}

/// What became of a turn, or of a part of it. All are ignored under an old fence or activation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// The handshake was answered: `requested` → `active`.
    Activated,
    /// The handshake was not answered; again at the time.
    HandshakeLater(Timestamp),
    /// It never was: `requested` → `error`.
    HandshakeGivenUp,
    /// The receiver has taken this event.
    Delivered {
        /// Its number.
        number: u64,
    },
    /// This event is not sent, now or later.
    Withheld {
        /// Its number.
        number: u64,
    },
    /// Not taken; again at the time.
    Later {
        /// Its number.
        number: u64,
        /// When.
        at: Timestamp,
        /// The body, kept for every further attempt.
        body: Vec<u8>,
    },
    /// Never taken: → `error`; the event stays, with the body of its first `Later`, and is the first again, with no attempts
    /// counted, after a new handshake.
    GivenUp {
        /// Its number.
        number: u64,
        /// The last attempt's code.
        code: Code,
    },
    /// → `off`: told so by the receiver (410), its end, or its owner's right is gone. Waiting events are dropped.
    Off {
        /// Why, where it is an error.
        code: Option<Code>,
    },
    /// Nothing happened; the claim is let go.
    LetGo,
}

/// An event that an access reference names.
#[derive(Debug, Clone)]
pub struct ReferencedEvent {
    /// The event.
    pub event: Event,
    /// Where its Subscription stands.
    pub status: SubscriptionStatus,
}

/// Subscriptions and their outbox.
#[async_trait]
pub trait Subscriptions: Send + Sync + std::fmt::Debug {
    /// Makes a Subscription.
    async fn create_subscription(&self, new: NewSubscription, entry: SealedEntry) -> Result<Written, StoreError>;

    /// A Subscription of this owner; `None` for any other's, for one that is not there and for one that was deleted (told apart by
    /// [`Subscriptions::subscription_deleted`]).
    async fn subscription(
        &self,
        id: &ResourceId,
        owner: ClientNumber,
    ) -> Result<Option<StoredSubscription>, StoreError>;

    /// Whether this owner had such a Subscription and deleted it.
    async fn subscription_deleted(&self, id: &ResourceId, owner: ClientNumber) -> Result<bool, StoreError>;

    /// All Subscriptions of this owner, by id.
    async fn subscriptions_of(&self, owner: ClientNumber) -> Result<Vec<StoredSubscription>, StoreError>;

    /// Replaces what its owner wrote. An active Subscription with the same endpoint stays active, and a turn under way goes on; every
    /// other change ends the turn (its results are refused). Bodies are rendered anew where the form changed. [`StoreError::Changed`] when it is not the owner's, not there, or `if_match` does not fit.
    async fn update_subscription(
        &self,
        id: &ResourceId,
        owner: ClientNumber,
        change: SubscriptionChange,
        entry: SealedEntry,
    ) -> Result<Written, StoreError>;

    /// Deletes it with what waits to be sent; the id is never used again. `false`: it was not there or not the owner's.
    async fn delete_subscription(
        &self,
        id: &ResourceId,
        owner: ClientNumber,
        at: Timestamp,
        entry: SealedEntry,
    ) -> Result<bool, StoreError>;

    /// Replaces the secrets. `false`: it was not there or not the owner's.
    async fn set_signing_secrets(
        &self,
        id: &ResourceId,
        owner: ClientNumber,
        secrets: Vec<SigningSecret>,
        entry: SealedEntry,
    ) -> Result<bool, StoreError>;

    /// Claims Subscriptions with something due, the longest due first, each until `now + lease`, each with at most `events`
    /// events. Costs no commit where nothing is due.
    async fn claim_turns(
        &self,
        now: Timestamp,
        lease: Duration,
        limit: usize,
        events: usize,
    ) -> Result<Vec<Turn>, StoreError>;

    /// Says what became of (a part of) a turn, with the entries that record it. `keep`: the claim goes on and is
    /// renewed for as long as it was claimed. `false`: the claim was
    /// lost, nothing was changed, no entry written.
    async fn settle_turn(
        &self,
        turn: &Turn,
        results: Vec<Sent>,
        keep: bool,
        at: Timestamp,
        entries: Vec<SealedEntry>,
    ) -> Result<bool, StoreError>;

    /// When the next thing is due (which may be now): an event, a retry, a handshake, an end, or the end of a claim.
    async fn next_turn_at(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Waits until something new may be due since `seen`; answers the new count.
    async fn outbox_changed(&self, seen: u64) -> u64;

    /// The count now.
    fn outbox_changes(&self) -> u64;

    /// The event that the access reference `id/number` names, for its owner alone.
    async fn referenced_event(
        &self,
        id: &ResourceId,
        owner: ClientNumber,
        number: u64,
    ) -> Result<Option<ReferencedEvent>, StoreError>;

    /// Counts for metrics and `doctor`: events that wait, and the age of the oldest.
    async fn outbox_backlog(&self, now: Timestamp) -> Result<(u64, Duration), StoreError>;
}
