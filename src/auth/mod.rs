//! Who may call: SMART Backend Services as authorization server (RFC 6749 client credentials with RFC 7523 assertions), access
//! tokens as RFC 9068 JWTs and their verification, scopes, client keys, discovery, and the checks of a registration.
//!
//! Knows `domain` and the store's clients. Knows no HTTP framework, no SQL, no documents: who sees what of the data is
//! decided with the [`Principal`](crate::domain::principal::Principal) that this room hands out. It opens no connection either:
//! key sets come through [`jwks::FetchKeys`].
//!
//! JWTs are read by [`jose`] and by nothing else, one strict way; `jsonwebtoken` checks signatures only, because its claim checks
//! accept what must be refused (an absent audience, an audience list, a future `nbf`, an unknown `crit`).

pub mod assertion;
pub mod bearer;
pub mod client_registration;
pub mod discovery;
pub mod endpoint;
mod endpoint_form;
pub mod jose;
pub mod jwk;
pub mod jwks;
pub mod key_file;
pub mod network;
pub mod password;
pub mod rate;
pub mod scope;
pub mod token;

#[cfg(test)]
mod fakes;

use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::clock::Timestamp;
use crate::domain::id::ClientId;
use crate::domain::principal::ClientNumber;
use crate::domain::refusal::{Code, Refusal};
use crate::store::{Client, SealedEntry, Store, StoreError};

/// What this room needs of the store; every [`Store`] has it.
#[async_trait]
pub trait Clients: Send + Sync + std::fmt::Debug {
    /// A client by id, from memory ([`Store::client`]).
    fn registered(&self, id: &ClientId) -> Option<Arc<Client>>;

    /// Records that an assertion was used ([`Store::spend_assertion`]). `false`: it was used before.
    ///
    /// # Errors
    /// As the store's.
    async fn spend(
        &self,
        client: ClientNumber,
        jti: [u8; 32],
        until: Timestamp,
        entry: SealedEntry,
    ) -> Result<bool, StoreError>;

    /// Makes an entry durable that changes nothing else ([`Store::record`]): what came of an assertion that was used before.
    ///
    /// # Errors
    /// As the store's.
    async fn note(&self, entry: SealedEntry) -> Result<(), StoreError>;
}

#[async_trait]
impl<S: Store + ?Sized> Clients for S {
    fn registered(&self, id: &ClientId) -> Option<Arc<Client>> {
        self.client(id)
    }

    async fn spend(
        &self,
        client: ClientNumber,
        jti: [u8; 32],
        until: Timestamp,
        entry: SealedEntry,
    ) -> Result<bool, StoreError> {
        self.spend_assertion(client, jti, until, entry).await
    }

    async fn note(&self, entry: SealedEntry) -> Result<(), StoreError> {
        self.record(entry).await.map(drop)
    }
}

/// A store behind its trait, which cannot be turned into this room's trait object by itself.
#[async_trait]
impl Clients for Arc<dyn Store> {
    fn registered(&self, id: &ClientId) -> Option<Arc<Client>> {
        self.as_ref().client(id)
    }

    async fn spend(
        &self,
        client: ClientNumber,
        jti: [u8; 32],
        until: Timestamp,
        entry: SealedEntry,
    ) -> Result<bool, StoreError> {
        self.as_ref().spend_assertion(client, jti, until, entry).await
    }

    async fn note(&self, entry: SealedEntry) -> Result<(), StoreError> {
        self.as_ref().record(entry).await.map(drop)
    }
}

/// A refusal with the case behind it. The refusal is for the caller, who must not learn which case of a set it was; the case
/// is for the log line and never leaves the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// What the caller is told.
    pub refusal: Refusal,
    /// Which case it was, one of our own words.
    pub case: &'static str,
    /// The client, where it was proven who asks; nobody that only claims to be a client is named in the log.
    pub client: Option<ClientId>,
}

impl Denied {
    /// A refusal with its case, of nobody known.
    pub fn new(refusal: Refusal, case: &'static str) -> Self {
        Self { refusal, case, client: None }
    }

    /// Names the proven client.
    #[must_use]
    pub fn of_client(mut self, client: &ClientId) -> Self {
        self.client = Some(client.clone());
        self
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        denied.refusal
    }
}

/// The store could not answer: nothing is granted while the grant cannot be recorded.
fn store_failure(error: &StoreError) -> Denied {
    match error {
        StoreError::Busy | StoreError::Turned(_) => {
            Denied::new(Refusal::of(Code::ServerBusy).retry_after(RETRY_SECONDS), "store busy")
        }
        StoreError::Full | StoreError::Damaged(_) | StoreError::Unavailable(_) | StoreError::Unknown(_) => {
            Denied::new(Refusal::of(Code::AuditUnavailable).retry_after(RETRY_SECONDS), "store unavailable")
        }
        StoreError::AlreadyExists | StoreError::Changed | StoreError::TooCostly | StoreError::Corrupt { .. } => {
            Denied::new(Refusal::of(Code::ServerFault), "store answered out of turn")
        }
    }
}

/// Seconds in `Retry-After` of a first refusal by a busy server (docs/errors.md, note 4).
const RETRY_SECONDS: u32 = 2;
