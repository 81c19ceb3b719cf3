//! Client assertions: `private_key_jwt` as SMART App Launch 2.2 (client-confidential-asymmetric) and RFC 7523 §3 have it.
//!
//! The order decides what a caller can learn (docs/errors.md, note 1). First what the assertion alone shows: told by claim, the same for
//! known and unknown clients. Then client, key and signature: one answer for every case. Replay comes after both
//! and belongs to [`super::endpoint`], because it is written together with the grant.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::discovery::Endpoints;
use super::jose::{self, Compact};
use super::jwk::{Algorithm, Key, KeySet, MAX_KID_BYTES};
use super::jwks::KeyCache;
use super::{Clients, Denied};
use crate::domain::clock::Timestamp;
use crate::domain::id::ClientId;
use crate::domain::refusal::{Code, Issue, Place, Refusal};
use crate::store::{Client, ClientKeys};
use std::time::Duration;

/// How far ahead `exp` may lie (SMART: "not more than five minutes in the future").
pub const MAX_AHEAD: Duration = Duration::from_secs(300);

/// How far two clocks may differ.
pub const SKEW: Duration = Duration::from_secs(30);

/// Longest `jti`, in characters.
pub const MAX_JTI_CHARS: usize = 256;

/// An assertion whose form and claims are right; nothing is known of its client yet, and its signature is not verified.
#[derive(Debug, Clone)]
pub struct Stated<'a> {
    /// The client that it claims to be from.
    pub client: ClientId,
    algorithm: Algorithm,
    kid: String,
    jku: Option<String>,
    jti: [u8; 32],
    until: Timestamp,
    signed: &'a str,
    signature: &'a str,
}

/// A proven client with what makes its assertion single.
#[derive(Debug, Clone)]
pub struct Proven {
    /// The client as registered.
    pub client: Arc<Client>,
    /// SHA-256 of the `jti`.
    pub jti: [u8; 32],
    /// Until when the `jti` must be remembered: the end of `exp` with skew.
    pub until: Timestamp,
    /// The key that signed.
    pub kid: String,
}

/// Reads an assertion and checks all that it shows by itself.
///
/// # Errors
/// `assertion-refused` (401 `invalid_client`) that names the member and what is wrong with it.
pub fn read<'a>(
    text: &'a str,
    form_client: Option<&str>,
    endpoints: &Endpoints,
    now: Timestamp,
) -> Result<Stated<'a>, Denied> {
    let Some(Compact { header, claims, signed, signature }) = jose::parse_compact(text) else {
        return Err(refuse(
            "form",
            "must be a signed JWT of three parts, each name in it once, at most 8 KiB",
            endpoints,
        ));
    };
    let fault = |claim, fault| refuse(claim, fault, endpoints);
    let algorithm = read_header(&header).map_err(|(claim, wrong)| fault(claim, wrong))?;
    let kid = string(&header, "kid").map_err(|wrong| fault("kid", wrong))?;
    if kid.is_empty() || kid.len() > MAX_KID_BYTES {
        return Err(fault("kid", "must have 1 to 128 bytes"));
    }
    let jku = header.contains_key("jku").then(|| string(&header, "jku")).transpose();
    let jku = jku.map_err(|wrong| fault("jku", wrong))?.map(str::to_owned);
    let client = read_client(&claims, form_client).map_err(|(claim, wrong)| fault(claim, wrong))?;
    if !claims.get("aud").and_then(Value::as_str).is_some_and(|aud| endpoints.is_audience(aud)) {
        return Err(fault("aud", "must be the token endpoint as one string"));
    }
    let until = read_times(&claims, now).map_err(|(claim, wrong)| fault(claim, wrong))?;
    let jti = string(&claims, "jti").map_err(|wrong| fault("jti", wrong))?;
    if jti.is_empty() || jti.chars().count() > MAX_JTI_CHARS {
        return Err(fault("jti", "must have 1 to 256 characters"));
    }
    let (kid, jti) = (kid.to_owned(), jose::sha256(jti.as_bytes()));
    Ok(Stated { client, algorithm, kid, jku, jti, until, signed, signature })
}

/// The refusal of an assertion that was used before.
pub fn used_before(endpoints: &Endpoints) -> Denied {
    refuse("jti", "was used before", endpoints)
}

/// A claim or header member and what is wrong with it.
type Fault = (&'static str, &'static str);

fn read_header(header: &Map<String, Value>) -> Result<Algorithm, Fault> {
    let named = header.get("alg").and_then(Value::as_str).and_then(Algorithm::parse);
    let algorithm = named.ok_or(("alg", "must be RS384 or ES384"))?;
    // RFC 7523bis adds the second type; both are of client authentication and nothing else.
    let types = ["JWT", "client-authentication+jwt"];
    let known_type = |typ: &Value| typ.as_str().is_some_and(|typ| types.iter().any(|t| t.eq_ignore_ascii_case(typ)));
    if header.get("typ").is_some_and(|typ| !known_type(typ)) {
        return Err(("typ", "must be JWT"));
    }
    // Keys come from the registration; extensions that change what a signature means are not understood here.
    match ["crit", "b64", "jwk", "x5u", "x5c", "zip", "enc"].into_iter().find(|name| header.contains_key(*name)) {
        Some(name) => Err((name, "must be absent")),
        None => Ok(algorithm),
    }
}

fn read_client(claims: &Map<String, Value>, form_client: Option<&str>) -> Result<ClientId, Fault> {
    let issuer = string(claims, "iss").map_err(|wrong| ("iss", wrong))?;
    let subject = string(claims, "sub").map_err(|wrong| ("sub", wrong))?;
    if issuer != subject {
        return Err(("sub", "must be the client id, as iss is"));
    }
    if form_client.is_some_and(|given| given != issuer) {
        return Err(("iss", "must be the client_id of the request"));
    }
    ClientId::parse(issuer).ok_or(("iss", "must be a client id"))
}

/// Checks `exp`, `nbf` and `iat`; a value of another type is a fault, never as if it were absent. Answers until when the assertion could
/// be used again.
fn read_times(claims: &Map<String, Value>, now: Timestamp) -> Result<Timestamp, Fault> {
    let integer = |name: &'static str| match claims.get(name) {
        None => Ok(None),
        Some(value) => value.as_i64().filter(|n| *n >= 0).map(Some).ok_or((name, "must be a whole number of seconds")),
    };
    let moment = |seconds: i64| Timestamp::from_millis(seconds.saturating_mul(1000));
    let exp = moment(integer("exp")?.ok_or(("exp", "is missing"))?);
    if exp.plus(SKEW) <= now {
        return Err(("exp", "is past"));
    }
    if exp > now.plus(MAX_AHEAD).plus(SKEW) {
        return Err(("exp", "lies more than 5 minutes ahead"));
    }
    for (name, wrong) in [("nbf", "is not reached yet"), ("iat", "lies in the future")] {
        if integer(name)?.is_some_and(|seconds| moment(seconds) > now.plus(SKEW)) {
            return Err((name, wrong));
        }
    }
    Ok(exp.plus(SKEW))
}

fn string<'a>(object: &'a Map<String, Value>, name: &str) -> Result<&'a str, &'static str> {
    match object.get(name) {
        None => Err("is missing"),
        Some(value) => value.as_str().ok_or("must be a string"),
    }
}

/// A refusal that names a claim; both texts are ours.
fn refuse(claim: &'static str, fault: &'static str, endpoints: &Endpoints) -> Denied {
    let issue = Issue::new(Code::AssertionRefused)
        .fill("claim", claim)
        .fill("fault", fault)
        .fill("token-endpoint", &endpoints.token)
        .place(Place::Form(claim));
    Denied::new(Refusal::new(issue), claim)
}

/// Proves who signed: the client is registered and enabled, the key is one of its own, the signature fits.
///
/// # Errors
/// `client-unauthenticated` (401 `invalid_client`), the same for every case.
pub async fn prove(stated: Stated<'_>, clients: &dyn Clients, keys: &KeyCache) -> Result<Proven, Denied> {
    let unproven = |case| Denied::new(Refusal::of(Code::ClientUnauthenticated), case);
    let client = clients.registered(&stated.client);
    let set = match &client {
        Some(client) => key_set(client, &stated, keys).await,
        None => Err("client unknown"),
    };
    let key = set.and_then(|set| set.find(&stated.kid, stated.algorithm).cloned().ok_or("kid unknown"));
    // Verified in any case, if only against nobody's key: who is not known must not be told apart by how long it takes.
    let verified = key.clone().unwrap_or_else(|_| Key::of_nobody()).verify(stated.signed, stated.signature);
    let client = client.ok_or_else(|| unproven("client unknown"))?;
    key.map_err(unproven)?;
    match (verified, client.disabled) {
        (false, _) => Err(unproven("signature wrong")),
        (true, true) => Err(unproven("client disabled")),
        (true, false) => Ok(Proven { client, jti: stated.jti, until: stated.until, kid: stated.kid }),
    }
}

/// The client's own set. A `jku` is followed nowhere: it must be the registered address, byte for byte.
async fn key_set(client: &Client, stated: &Stated<'_>, keys: &KeyCache) -> Result<Arc<KeySet>, &'static str> {
    match &client.keys {
        ClientKeys::Inline(_) if stated.jku.is_some() => Err("jku of a client without key address"),
        ClientKeys::Inline(text) => KeySet::parse(text.as_bytes()).map(Arc::new).map_err(|_| "registered keys unreadable"),
        ClientKeys::Uri(uri) if stated.jku.as_ref().is_some_and(|jku| jku != uri) => Err("jku is not the registered one"),
        ClientKeys::Uri(_) if client.disabled => Err("client disabled"),
        ClientKeys::Uri(uri) => keys.keys(uri, &stated.kid).await.map_err(|failure| {
            tracing::warn!(client = %client.id, code = "jwks-unreachable", why = %failure, "keys of a client could not be fetched");
            "key address not answering"
        }),
    }
}

#[cfg(test)]
mod tests;
