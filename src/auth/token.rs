//! Access tokens: JWTs of type `at+jwt` (RFC 9068) signed with ES256, made here and accepted from here only, and the cache of
//! those that were verified. A token that was verified is still checked at every use for its end, its client's
//! registration and its caller's network.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, ParsedPublicKey,
};
use moka::sync::Cache;
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::discovery::Endpoints;
use super::jose::{self, Compact};
use super::{Clients, Denied, network, scope};
use crate::domain::clock::{Clock, Entropy, Timestamp};
use crate::domain::id::{ClientId, FreshId};
use crate::domain::principal::{Permissions, Principal};
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::store::Client;

/// The private claim with the generation of the client's registration that the token was given under.
const GENERATION: &str = "daylily_generation";

/// Tokens that are remembered as verified.
const MAX_VERIFIED: u64 = 10_000;

/// How far ahead of this server's clock a token's `iat` may lie: the clock was set back since.
const SKEW: Duration = Duration::from_secs(30);

/// The bytes are no P-256 key of PKCS #8, or none could be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a P-256 signing key")]
pub struct BadKey;

/// A key with what names it.
struct SigningKey {
    pair: EcdsaKeyPair,
    public: ParsedPublicKey,
    jwk: Value,
    kid: String,
}

/// The keys of access tokens: one signs, and those before it are accepted until their last token has ended.
pub struct TokenKeys {
    current: SigningKey,
    previous: Vec<SigningKey>,
}

impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKeys").field("current", &self.current.kid).field("previous", &self.previous.len()).finish()
    }
}

impl SigningKey {
    fn from_pkcs8(bytes: &[u8]) -> Result<Self, BadKey> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, bytes).map_err(|_| BadKey)?;
        let point = pair.public_key().as_ref();
        let public = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).map_err(|_| BadKey)?;
        // An uncompressed point: 4, x, y (SEC 1 §2.3.3).
        let (x, y) = point.strip_prefix(&[4]).and_then(|both| both.split_at_checked(32)).ok_or(BadKey)?;
        let (x, y) = (jose::encode(x), jose::encode(y));
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let kid = jose::encode(&jose::sha256(canonical.as_bytes()));
        let jwk = json!({"kty": "EC", "crv": "P-256", "kid": kid, "use": "sig", "alg": "ES256", "x": x, "y": y});
        Ok(Self { pair, public, jwk, kid })
    }
}

impl TokenKeys {
    /// A new key as PKCS #8, to be sealed and kept.
    ///
    /// # Errors
    /// The cryptographic module failed.
    pub fn generate() -> Result<Zeroizing<Vec<u8>>, BadKey> {
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map(|document| Zeroizing::new(document.as_ref().to_vec()))
            .map_err(|_| BadKey)
    }

    /// From PKCS #8: the key that signs, and those that are still accepted.
    ///
    /// # Errors
    /// One of them is no P-256 key.
    pub fn from_pkcs8(current: &[u8], previous: &[&[u8]]) -> Result<Self, BadKey> {
        let previous = previous.iter().map(|bytes| SigningKey::from_pkcs8(bytes)).collect::<Result<_, _>>()?;
        Ok(Self { current: SigningKey::from_pkcs8(current)?, previous })
    }

    /// The public keys as a JWK set, for `/auth/jwks`. Key ids are thumbprints (RFC 7638), so never used twice.
    pub fn jwks(&self) -> String {
        json!({ "keys": self.all().map(|key| &key.jwk).collect::<Vec<_>>() }).to_string()
    }

    fn all(&self) -> impl Iterator<Item = &SigningKey> {
        std::iter::once(&self.current).chain(&self.previous)
    }

    fn sign(&self, claims: &Value) -> Result<String, BadKey> {
        let header = json!({"typ": "at+jwt", "alg": "ES256", "kid": self.current.kid});
        let signed = jose::signing_input(&header, claims);
        let signature = self.current.pair.sign(&SystemRandom::new(), signed.as_bytes()).map_err(|_| BadKey)?;
        Ok(format!("{signed}.{}", jose::encode(signature.as_ref())))
    }

    fn verifies(&self, token: &Compact<'_>, kid: &str) -> bool {
        let signature = jose::decode(token.signature).unwrap_or_default();
        let key = self.all().find(|key| key.kid == kid);
        key.is_some_and(|key| key.public.verify_sig(token.signed.as_bytes(), &signature).is_ok())
    }
}

/// An access token as it was made.
#[derive(Clone)]
pub struct Issued {
    /// The token itself; a secret.
    pub token: secrecy::SecretString,
    /// Its `jti`, safe to log.
    pub id: String,
    /// Seconds until it ends.
    pub lifetime: u64,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("id", &self.id).field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

/// What a verified token says, kept by its digest.
#[derive(Debug)]
struct Verified {
    client: ClientId,
    generation: u64,
    ends: Timestamp,
    permissions: Permissions,
}

/// Makes and verifies access tokens.
#[derive(Debug)]
pub struct Tokens {
    keys: TokenKeys,
    endpoints: Arc<Endpoints>,
    lifetime: Duration,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    verified: Cache<[u8; 32], Arc<Verified>>,
}

impl Tokens {
    /// With keys, addresses, lifetime (from the settings; SMART recommends at most 300 s), time and chance.
    pub fn new(
        keys: TokenKeys,
        endpoints: Arc<Endpoints>,
        lifetime: Duration,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { keys, endpoints, lifetime, clock, entropy, verified: Cache::new(MAX_VERIFIED) }
    }

    /// The public keys, for `/auth/jwks`.
    pub fn jwks(&self) -> String {
        self.keys.jwks()
    }

    /// Makes a token for a client with a granted scope.
    ///
    /// # Errors
    /// The cryptographic module failed.
    pub fn issue(&self, client: &Client, scope: &str) -> Result<Issued, BadKey> {
        let (id, iat) = (FreshId::random(self.entropy.as_ref()).to_string(), self.clock.now().seconds());
        let lifetime = self.lifetime.as_secs();
        let exp = iat.saturating_add(i64::try_from(lifetime).unwrap_or(i64::MAX));
        let claims = json!({
            "iss": self.endpoints.issuer, "aud": self.endpoints.fhir, "sub": client.id.as_str(),
            "client_id": client.id.as_str(), "iat": iat, "exp": exp, "jti": id, "scope": scope,
            GENERATION: client.generation,
        });
        Ok(Issued { token: self.keys.sign(&claims)?.into(), id, lifetime })
    }

    /// Who calls with this token, from this address.
    ///
    /// # Errors
    /// `token-invalid` (401) for everything that is not one of this server's own tokens, all alike; `token-expired`,
    /// `token-revoked` (401: the client was disabled or changed since); `network-not-allowed` (403).
    pub fn principal(&self, token: &str, clients: &dyn Clients, peer: IpAddr) -> Result<Principal, Denied> {
        let verified = self.verified(token)?;
        let now = self.clock.now();
        if verified.ends <= now {
            let issue = Issue::new(Code::TokenExpired).fill("when", verified.ends).fill("server-time", now);
            return Err(Denied::new(Refusal::new(issue), "expired").of_client(&verified.client));
        }
        let revoked = |case| Denied::new(Refusal::of(Code::TokenRevoked), case).of_client(&verified.client);
        let client = clients.registered(&verified.client).ok_or_else(|| revoked("client gone"))?;
        if client.disabled {
            return Err(revoked("client disabled"));
        }
        if u64::from(client.generation) != verified.generation {
            return Err(revoked("client changed"));
        }
        if !network::may_call_from(&client, peer) {
            return Err(Denied::new(Refusal::of(Code::NetworkNotAllowed), "network").of_client(&client.id));
        }
        Ok(Principal {
            client: client.id.clone(),
            number: client.number,
            reach: client.reach.clone(),
            permissions: verified.permissions.clone(),
            attachment_url: client.attachment_url,
        })
    }

    /// `token-missing` (401) with its addresses filled in.
    pub fn missing(&self) -> Denied {
        let issue = Issue::new(Code::TokenMissing).fill("token-endpoint", &self.endpoints.token);
        Denied::new(Refusal::new(issue), "no token")
    }

    /// `token-invalid` (401), the same text for every case of its set.
    pub fn invalid(&self, case: &'static str) -> Denied {
        let issue = Issue::new(Code::TokenInvalid)
            .fill("token-endpoint", &self.endpoints.token)
            .fill("base", &self.endpoints.fhir);
        Denied::new(Refusal::new(issue), case)
    }

    /// From the cache, or verified now. Only tokens of this server come into the cache, so no caller can fill it.
    fn verified(&self, token: &str) -> Result<Arc<Verified>, Denied> {
        let digest = jose::sha256(token.as_bytes());
        if let Some(verified) = self.verified.get(&digest) {
            return Ok(verified);
        }
        let verified = Arc::new(self.verify(token).map_err(|case| self.invalid(case))?);
        self.verified.insert(digest, verified.clone());
        Ok(verified)
    }

    fn verify(&self, text: &str) -> Result<Verified, &'static str> {
        let token = jose::parse_compact(text).ok_or("not a JWT")?;
        let header = |name: &str| token.header.get(name).and_then(Value::as_str);
        if header("typ") != Some("at+jwt") || header("alg") != Some("ES256") {
            return Err("wrong kind of token");
        }
        // This server writes three members; whatever else stands there was not written by it.
        if token.header.len() != 3 || !self.keys.verifies(&token, header("kid").ok_or("no kid")?) {
            return Err("signature or key");
        }
        self.read(&token.claims).ok_or("claims")
    }

    fn read(&self, claims: &Map<String, Value>) -> Option<Verified> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let number = |name: &str| claims.get(name).and_then(Value::as_u64);
        let moment = |name: &str| number(name).and_then(|n| i64::try_from(n).ok()).map(|n| n.saturating_mul(1000));
        let ours = text("iss") == Some(&self.endpoints.issuer) && text("aud") == Some(&self.endpoints.fhir);
        let issued = Timestamp::from_millis(moment("iat")?);
        let whole = text("sub") == text("client_id") && text("jti").is_some_and(|id| !id.is_empty());
        (ours && whole && issued <= self.clock.now().plus(SKEW)).then_some(())?;
        Some(Verified {
            client: ClientId::parse(text("client_id")?)?,
            generation: number(GENERATION)?,
            ends: Timestamp::from_millis(moment("exp")?),
            permissions: scope::permissions(text("scope")?),
        })
    }
}

#[cfg(test)]
mod tests;
