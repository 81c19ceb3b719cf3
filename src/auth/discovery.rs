//! What this authorization server says of itself: the addresses that go together, SMART's `smart-configuration`, and the metadata of
//! OpenID discovery and RFC 8414. Only what is served is listed: each listed capability is a promise.

use serde::Serialize;

use super::jwk::Algorithm;
use super::scope;

/// The addresses of this server, all from its base URL; never learnt from a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// The base URL without a slash at its end; also the issuer of tokens.
    pub issuer: String,
    /// `{issuer}/fhir`: audience of access tokens.
    pub fhir: String,
    /// `{issuer}/auth/token`.
    pub token: String,
    /// `{issuer}/auth/jwks`.
    pub jwks: String,
}

impl Endpoints {
    /// From a base URL that the settings have checked.
    pub fn at(base: &str) -> Self {
        let issuer = base.trim_end_matches('/').to_owned();
        Self {
            fhir: format!("{issuer}/fhir"),
            token: format!("{issuer}/auth/token"),
            jwks: format!("{issuer}/auth/jwks"),
            issuer,
        }
    }

    /// Whether an assertion's audience is this server: the token endpoint (SMART App Launch 2.2) or the issuer (RFC 7523bis), byte for byte.
    pub fn is_audience(&self, audience: &str) -> bool {
        audience == self.token || audience == self.issuer
    }
}

/// `[fhir]/.well-known/smart-configuration` (SMART App Launch 2.2, conformance).
///
/// `code_challenge_methods_supported` is there with `S256` although nothing can be authorized by code yet: SMART demands it of
/// every document, and clients and test kits fail without it; it names what would be demanded, and no authorization
/// endpoint is listed that it could be used with. `issuer` and `jwks_uri`: the first is left out, since SMART ties it to
/// `sso-openid-connect`; the second may be given by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SmartConfiguration {
    /// Where tokens are given; also the audience of assertions.
    pub token_endpoint: String,
    /// Keys of access tokens.
    pub jwks_uri: String,
    /// `client_credentials`.
    pub grant_types_supported: Vec<&'static str>,
    /// `private_key_jwt`.
    pub token_endpoint_auth_methods_supported: Vec<&'static str>,
    /// `RS384`, `ES384`.
    pub token_endpoint_auth_signing_alg_values_supported: Vec<&'static str>,
    /// Scopes that can be granted.
    pub scopes_supported: Vec<String>,
    /// `S256`, see above.
    pub code_challenge_methods_supported: Vec<&'static str>,
    /// What is promised.
    pub capabilities: Vec<&'static str>,
}

impl SmartConfiguration {
    /// Of a server at these addresses.
    pub fn of(endpoints: &Endpoints) -> Self {
        Self {
            token_endpoint: endpoints.token.clone(),
            jwks_uri: endpoints.jwks.clone(),
            grant_types_supported: vec!["client_credentials"],
            token_endpoint_auth_methods_supported: vec!["private_key_jwt"],
            token_endpoint_auth_signing_alg_values_supported: algorithms(),
            scopes_supported: scope::supported(),
            code_challenge_methods_supported: vec!["S256"],
            capabilities: vec!["client-confidential-asymmetric", "permission-v1", "permission-v2"],
        }
    }
}

/// `/.well-known/openid-configuration` and `/.well-known/oauth-authorization-server` (RFC 8414 §2): for clients and gateways that
/// look for an issuer's keys there. No ID tokens are given, so nothing of OpenID itself is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuthorizationServer {
    /// The issuer, `iss` of access tokens.
    pub issuer: String,
    /// Where tokens are given.
    pub token_endpoint: String,
    /// Keys of access tokens.
    pub jwks_uri: String,
    /// Empty: no authorization endpoint (RFC 8414 demands the member).
    pub response_types_supported: Vec<&'static str>,
    /// `client_credentials`.
    pub grant_types_supported: Vec<&'static str>,
    /// `private_key_jwt`.
    pub token_endpoint_auth_methods_supported: Vec<&'static str>,
    /// `RS384`, `ES384`.
    pub token_endpoint_auth_signing_alg_values_supported: Vec<&'static str>,
    /// Scopes that can be granted.
    pub scopes_supported: Vec<String>,
}

impl AuthorizationServer {
    /// Of a server at these addresses.
    pub fn of(endpoints: &Endpoints) -> Self {
        Self {
            issuer: endpoints.issuer.clone(),
            token_endpoint: endpoints.token.clone(),
            jwks_uri: endpoints.jwks.clone(),
            response_types_supported: Vec::new(),
            grant_types_supported: vec!["client_credentials"],
            token_endpoint_auth_methods_supported: vec!["private_key_jwt"],
            token_endpoint_auth_signing_alg_values_supported: algorithms(),
            scopes_supported: scope::supported(),
        }
    }
}

fn algorithms() -> Vec<&'static str> {
    Algorithm::ALL.into_iter().map(Algorithm::as_str).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_smart_demands_is_there_and_nothing_that_is_not_served() {
        let endpoints = Endpoints::at("https://docs.example/");
        let json = serde_json::to_value(SmartConfiguration::of(&endpoints)).unwrap();
        assert_eq!(json["token_endpoint"], "https://docs.example/auth/token");
        // SHALL of the conformance page, and what asymmetric clients add to it.
        for member in ["grant_types_supported", "capabilities", "code_challenge_methods_supported", "scopes_supported"]
        {
            assert!(json[member].as_array().is_some_and(|list| !list.is_empty()), "{member}");
        }
        assert_eq!(json["token_endpoint_auth_signing_alg_values_supported"], serde_json::json!(["RS384", "ES384"]));
        for absent in ["authorization_endpoint", "issuer", "introspection_endpoint", "revocation_endpoint"] {
            assert!(json.get(absent).is_none(), "{absent}");
        }
    }

    #[test]
    fn a027_an_audience_is_one_of_two_texts() {
        let endpoints = Endpoints::at("https://docs.example");
        assert!(
            endpoints.is_audience("https://docs.example/auth/token") && endpoints.is_audience("https://docs.example")
        );
        for wrong in [
            "https://docs.example/",
            "https://docs.example/fhir",
            "HTTPS://docs.example",
            "https://docs.example/auth/token/",
            "",
        ] {
            assert!(!endpoints.is_audience(wrong), "{wrong}");
        }
    }
}
