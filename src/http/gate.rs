//! [`Gate`] by the `auth` room: its tokens, its token endpoint, its discovery.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;

use super::ports::{Denied, Gate, TokenForm};
use crate::auth::bearer;
use crate::auth::discovery::{AuthorizationServer, SmartConfiguration};
use crate::auth::endpoint::{TokenEndpoint, TokenRequest};
use crate::domain::principal::Principal;
use crate::domain::refusal::{Code, Refusal};

/// The authorization server of this process.
#[derive(Debug)]
pub struct TokenGate {
    endpoint: TokenEndpoint,
    smart: String,
    server: String,
}

impl TokenGate {
    /// Around a token endpoint; discovery is written once.
    pub fn new(endpoint: TokenEndpoint) -> Self {
        let smart = serde_json::to_string(&SmartConfiguration::of(&endpoint.endpoints)).unwrap_or_default();
        let server = serde_json::to_string(&AuthorizationServer::of(&endpoint.endpoints)).unwrap_or_default();
        Self { endpoint, smart, server }
    }
}

#[async_trait(?Send)]
impl Gate for TokenGate {
    fn principal(&self, authorization: &[&[u8]], address: IpAddr) -> Result<Arc<Principal>, Denied> {
        let tokens = &self.endpoint.tokens;
        let token = bearer::token(authorization, tokens)?;
        tokens.principal(token, &*self.endpoint.clients, address).map(Arc::new)
    }

    async fn token(&self, request: TokenForm<'_>) -> Result<String, Denied> {
        let asked = TokenRequest {
            form: request.form,
            authorization_header: request.authorization_header,
            peer: request.address,
        };
        let granted = self.endpoint.answer(&asked).await?;
        serde_json::to_string(&granted).map_err(|_| Denied::new(Refusal::of(Code::ServerFault), "answer not written"))
    }

    fn jwks(&self) -> String {
        self.endpoint.tokens.jwks()
    }

    fn smart_configuration(&self) -> String {
        self.smart.clone()
    }

    fn authorization_server(&self) -> String {
        self.server.clone()
    }
}
