//! Who may call, as the HTTP room asks for it: `auth` behind [`Gate`].

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;

use crate::auth::endpoint::{GrantEntries, GrantRecord, TokenEndpoint, TokenRequest};
use crate::auth::jwks::{FetchFailed, FetchKeys, Fetched};
use crate::auth::{self, bearer, discovery};
use crate::delivery::Recorder;
use crate::domain::principal::Principal;
use crate::domain::refusal::{Code, Refusal};
use crate::http::ports::{Denied, Gate, TokenForm};
use crate::notify::egress::Egress;
use crate::store::SealedEntry;

/// `auth` behind the HTTP room's door.
#[derive(Debug)]
pub struct Door {
    endpoint: TokenEndpoint,
}

impl Door {
    /// With the token endpoint, which has all other parts.
    pub fn new(endpoint: TokenEndpoint) -> Self {
        Self { endpoint }
    }
}

fn denied(denied: auth::Denied) -> Denied {
    Denied { refusal: denied.refusal, case: denied.case, client: denied.client }
}

fn json<T: serde::Serialize>(value: &T) -> String {
    // Structs of texts and lists: they always serialize.
    serde_json::to_string(value).unwrap_or_default()
}

#[async_trait(?Send)]
impl Gate for Door {
    fn principal(&self, authorization: &[&[u8]], address: IpAddr) -> Result<Arc<Principal>, Denied> {
        let tokens = &self.endpoint.tokens;
        let token = bearer::token(authorization, tokens).map_err(denied)?;
        let principal = tokens.principal(token, self.endpoint.clients.as_ref(), address).map_err(denied)?;
        Ok(Arc::new(principal))
    }

    async fn token(&self, request: TokenForm<'_>) -> Result<String, Denied> {
        let asked = TokenRequest {
            form: request.form,
            authorization_header: request.authorization_header,
            peer: request.address,
        };
        let answer = self.endpoint.answer(&asked).await.map_err(denied)?;
        serde_json::to_string(&answer).map_err(|_| Denied {
            refusal: Refusal::of(Code::ServerFault),
            case: "token response",
            client: None,
        })
    }

    fn jwks(&self) -> String {
        self.endpoint.tokens.jwks()
    }

    fn smart_configuration(&self) -> String {
        json(&discovery::SmartConfiguration::of(&self.endpoint.endpoints))
    }

    fn authorization_server(&self) -> String {
        json(&discovery::AuthorizationServer::of(&self.endpoint.endpoints))
    }
}

/// Entries of token requests, sealed by the recorder.
#[derive(Debug)]
pub struct Grants(pub Recorder);

impl GrantEntries for Grants {
    fn entry(&self, record: &GrantRecord<'_>) -> SealedEntry {
        // An entry that cannot be sealed is one that no store takes: then no token is given either.
        let refused =
            || SealedEntry { action: "", outcome: "", commitment: [0; 32], cells: Vec::new(), patients: Vec::new() };
        self.0.seal(&record.to_entry()).unwrap_or_else(|_unavailable| refused())
    }
}

/// Key sets over the guarded way out.
#[derive(Debug)]
pub struct KeySets(pub Egress);

#[async_trait]
impl FetchKeys for KeySets {
    async fn fetch(&self, uri: &str) -> Result<Fetched, FetchFailed> {
        match self.0.get_json(uri).await {
            Ok(answer) => Ok(Fetched { body: answer.body, cache_control: answer.cache_control, age: answer.age }),
            Err(error) => Err(FetchFailed(error.to_string())),
        }
    }
}
