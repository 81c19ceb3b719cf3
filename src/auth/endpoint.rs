//! `POST /auth/token`: a signed assertion in, an access token out (SMART Backend Services; RFC 6749 §4.4).
//!
//! Order: form, grant type, what the assertion shows, rate, client and signature, then replay, network and scope. The assertion
//! is spent in the same commit as the entry that records what came of it, be it a grant or a refusal to a proven client; a replay
//! of it is recorded before it is answered.

use std::net::IpAddr;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};

use super::assertion::{self, Proven};
use super::discovery::Endpoints;
use super::endpoint_form;
use super::jwks::KeyCache;
use super::rate::TokenRate;
use super::scope::{Granted, Registered};
use super::token::{Issued, Tokens};
use super::{Clients, Denied, network, store_failure};
use crate::domain::audit::{Action, Entry, Outcome};
use crate::domain::clock::Clock;
use crate::domain::refusal::{Code, Refusal};
use crate::store::{Client, SealedEntry};

/// What is recorded of a token request by a proven client.
#[derive(Debug, Clone)]
pub struct GrantRecord<'a> {
    /// The client.
    pub client: &'a Client,
    /// The key that it signed with.
    pub kid: &'a str,
    /// SHA-256 of the assertion's `jti`.
    pub assertion: &'a [u8; 32],
    /// The caller's address.
    pub peer: IpAddr,
    /// What came of it.
    pub outcome: GrantOutcome<'a>,
}

/// What came of a token request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantOutcome<'a> {
    /// A token was given.
    Granted {
        /// Its scope.
        scope: &'a str,
        /// Its `jti`.
        token_id: &'a str,
    },
    /// None was given.
    Denied(Code),
}

impl GrantRecord<'_> {
    /// What the audit log says of it, still open: `token.grant` with scope, or `token.refuse` with the code. Assertion and token are named by
    /// digest and id, neither of which opens anything.
    pub fn to_entry(&self) -> Entry {
        let entry = match self.outcome {
            GrantOutcome::Granted { scope, token_id } => {
                Entry::new(Action::TokenGrant, Outcome::Ok).scope(scope).with("token", token_id)
            }
            GrantOutcome::Denied(code) => Entry::new(Action::TokenRefuse, Outcome::Denied).code(code),
        };
        let assertion = hex::encode(self.assertion);
        entry.client(&self.client.id).with("kid", self.kid).with("assertion", assertion).ip(self.peer)
    }
}

/// Seals the audit entries of token requests ([`GrantRecord::to_entry`]); implemented where the audit log's keys are.
pub trait GrantEntries: Send + Sync + std::fmt::Debug {
    /// The sealed entry of one request.
    fn entry(&self, record: &GrantRecord<'_>) -> SealedEntry;
}

/// A request for a token as it came.
pub struct TokenRequest<'a> {
    /// The form's pairs, decoded, in order.
    pub form: &'a [(String, String)],
    /// Whether an `Authorization` header came along, which is a second way to authenticate.
    pub authorization_header: bool,
    /// The caller's address.
    pub peer: IpAddr,
}

impl std::fmt::Debug for TokenRequest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenRequest").field("pairs", &self.form.len()).finish_non_exhaustive()
    }
}

/// The answer (RFC 6749 §5.1; SMART: `scope` and `expires_in` always). Serializes to its JSON; goes out with `no-store`.
#[derive(Debug, Clone)]
pub struct TokenResponse {
    /// The access token.
    pub access_token: SecretString,
    /// Seconds until it ends.
    pub expires_in: u64,
    /// What was granted.
    pub scope: String,
    /// The token's `jti`, for the log; not part of the answer.
    pub id: String,
}

impl Serialize for TokenResponse {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut answer = serializer.serialize_struct("TokenResponse", 4)?;
        answer.serialize_field("access_token", self.access_token.expose_secret())?;
        answer.serialize_field("token_type", "bearer")?;
        answer.serialize_field("expires_in", &self.expires_in)?;
        answer.serialize_field("scope", &self.scope)?;
        answer.end()
    }
}

/// The token endpoint with all that it needs.
#[derive(Debug)]
pub struct TokenEndpoint {
    /// This server's addresses.
    pub endpoints: Arc<Endpoints>,
    /// Registered clients.
    pub clients: Arc<dyn Clients>,
    /// Key sets by address.
    pub keys: Arc<KeyCache>,
    /// Makes the tokens.
    pub tokens: Arc<Tokens>,
    /// Makes the entries.
    pub entries: Arc<dyn GrantEntries>,
    /// Counts requests.
    pub rate: TokenRate,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

impl TokenEndpoint {
    /// Answers a request for a token.
    ///
    /// # Errors
    /// The refusal with its OAuth error, and the case for the log; see the module's documentation for the order.
    pub async fn answer(&self, request: &TokenRequest<'_>) -> Result<TokenResponse, Denied> {
        let form = endpoint_form::read(request.form, request.authorization_header)?;
        let stated = assertion::read(form.assertion, form.client_id, &self.endpoints, self.clock.now())?;
        self.rate
            .count(stated.client.as_str(), request.peer)
            .map_err(|seconds| Denied::new(Refusal::of(Code::RateLimited).retry_after(seconds), "token requests"))?;
        let proven = assertion::prove(stated, self.clients.as_ref(), &self.keys).await?;
        let decided = self.decide(&proven.client, form.scope, request.peer);
        self.spend(&proven, &decided, request.peer).await?;
        let (granted, issued) = decided.map_err(|denied| denied.of_client(&proven.client.id))?;
        Ok(TokenResponse {
            access_token: issued.token,
            expires_in: issued.lifetime,
            scope: granted.scope,
            id: issued.id,
        })
    }

    /// What a proven client gets, before it is known whether its assertion is fresh; nothing of it has left yet.
    fn decide(&self, client: &Client, scope: Option<&str>, peer: IpAddr) -> Result<(Granted, Issued), Denied> {
        if !network::may_call_from(client, peer) {
            return Err(Denied::new(Refusal::of(Code::NetworkNotAllowed), "network"));
        }
        let fault = |case| Denied::new(Refusal::of(Code::ServerFault), case);
        let registered = Registered::parse(&client.scope).map_err(|_| fault("registered scope unreadable"))?;
        // Without `scope` nothing was asked for, and nothing is guessed (SMART: the parameter is required).
        let granted = registered.grant(scope.unwrap_or_default()).map_err(|refusal| Denied::new(refusal, "scope"))?;
        let issued = self.tokens.issue(client, &granted.scope).map_err(|_| fault("signing failed"))?;
        Ok((granted, issued))
    }

    async fn spend(
        &self,
        proven: &Proven,
        decided: &Result<(Granted, Issued), Denied>,
        peer: IpAddr,
    ) -> Result<(), Denied> {
        let outcome = match decided {
            Ok((granted, issued)) => GrantOutcome::Granted { scope: &granted.scope, token_id: &issued.id },
            Err(denied) => GrantOutcome::Denied(denied.refusal.code()),
        };
        let client = proven.client.as_ref();
        let entry = self.entry(proven, peer, outcome);
        let spent = self.clients.spend(client.number, proven.jti, proven.until, entry).await;
        match spent {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.replayed(proven, peer).await.of_client(&client.id)),
            Err(error) => Err(store_failure(&error).of_client(&client.id)),
        }
    }

    /// An assertion came again: its client's secret has a copy somewhere, or its program a fault. Either must be in the log.
    async fn replayed(&self, proven: &Proven, peer: IpAddr) -> Denied {
        let denied = assertion::used_before(&self.endpoints);
        let entry = self.entry(proven, peer, GrantOutcome::Denied(denied.refusal.code()));
        match self.clients.note(entry).await {
            Ok(()) => denied,
            Err(error) => store_failure(&error),
        }
    }

    fn entry(&self, proven: &Proven, peer: IpAddr, outcome: GrantOutcome<'_>) -> SealedEntry {
        let (client, kid, assertion) = (proven.client.as_ref(), proven.kid.as_str(), &proven.jti);
        self.entries.entry(&GrantRecord { client, kid, assertion, peer, outcome })
    }
}

#[cfg(test)]
mod tests;
