//! Standard Webhooks 1.0.0, version `v1`: who holds the secret can tell that a message came from here, whole, and when. Signed are
//! id, second and body, joined by dots, with HMAC-SHA256. Signing and checking live here, because they must agree to the byte.

use std::fmt;

use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::domain::clock::{Entropy, Timestamp};
use crate::domain::id::ResourceId;

/// The header with the message's id: the same at every attempt.
pub const ID_HEADER: &str = "webhook-id";
/// The header with the second of the attempt.
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
/// The header with the signatures.
pub const SIGNATURE_HEADER: &str = "webhook-signature";

/// What a secret's text begins with.
pub const SECRET_PREFIX: &str = "whsec_";
/// Fewest and most bytes of a secret (Standard Webhooks, Signature scheme).
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Bytes of a secret made here.
const NEW_SECRET_BYTES: usize = 32;
/// Most signatures of one message: the current secret and those of overlaps.
pub const MOST_SIGNATURES: usize = 4;
/// How far a message's second may be from the receiver's clock, the value of the standard's libraries.
pub const TOLERANCE_SECONDS: i64 = 300;
/// Longest `webhook-signature` that is looked at, in bytes.
const MOST_SIGNATURE_BYTES: usize = 2_048;

/// A signing secret. Never printed; gone from memory with its value.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// A new one, 32 random bytes.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        let mut bytes = Zeroizing::new(vec![0; NEW_SECRET_BYTES]);
        entropy.fill(&mut bytes);
        Self(bytes)
    }

    /// The key itself, 24 to 64 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        SECRET_BYTES.contains(&bytes.len()).then(|| Self(Zeroizing::new(bytes.to_vec())))
    }

    /// Reads `whsec_` and standard base64 with padding; like the standard's libraries also without the prefix.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix(SECRET_PREFIX).unwrap_or(text);
        let bytes = Zeroizing::new(STANDARD.decode(text).ok()?);
        Self::from_bytes(&bytes)
    }

    /// The key itself.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// `whsec_…`, as it is shown once.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{SECRET_PREFIX}{}", STANDARD.encode(self.as_bytes())))
    }

    fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.as_bytes())
    }

    fn sign(&self, id: &str, second: i64, body: &[u8]) -> String {
        let mut context = hmac::Context::with_key(&self.key());
        context.update(&signed_head(id, second));
        context.update(body);
        format!("v1,{}", STANDARD.encode(context.sign()))
    }

    /// Compares in constant time.
    fn signed(&self, id: &str, second: i64, body: &[u8], tag: &[u8]) -> bool {
        let message = [&signed_head(id, second), body].concat();
        hmac::verify(&self.key(), &message, tag).is_ok()
    }
}

fn signed_head(id: &str, second: i64) -> Vec<u8> {
    format!("{id}.{second}.").into_bytes()
}

/// The value of `webhook-signature`: one signature for each secret, the current one's first, at most [`MOST_SIGNATURES`].
pub fn sign(secrets: &[Secret], id: &str, at: Timestamp, body: &[u8]) -> String {
    let signatures = secrets.iter().take(MOST_SIGNATURES).map(|secret| secret.sign(id, at.seconds(), body));
    signatures.collect::<Vec<_>>().join(" ")
}

/// Why a message is not to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unverified {
    /// One of the three headers is missing or cannot be read.
    #[error("a webhook header is missing or cannot be read")]
    Headers,
    /// Sent too long ago, or ahead of this clock.
    #[error("the timestamp is more than five minutes away from this clock")]
    Time,
    /// No signature fits the secret.
    #[error("no signature fits the secret and the body")]
    Signature,
}

/// Checks a message as a receiver does, before reading its body: any signature of the list that fits any of the secrets will do.
///
/// # Errors
/// [`Unverified`].
pub fn verify(
    secrets: &[Secret],
    (id, timestamp, signature): (&str, &str, &str),
    body: &[u8],
    now: Timestamp,
) -> Result<(), Unverified> {
    // A dot in the id would make it unclear where the second begins.
    if id.is_empty() || id.contains('.') || signature.len() > MOST_SIGNATURE_BYTES {
        return Err(Unverified::Headers);
    }
    let second: i64 = timestamp.parse().map_err(|_| Unverified::Headers)?;
    if now.seconds().saturating_sub(second).saturating_abs() > TOLERANCE_SECONDS {
        return Err(Unverified::Time);
    }
    let tags = signature.split(' ').filter_map(|each| STANDARD.decode(each.strip_prefix("v1,")?).ok());
    let fits = |tag: Vec<u8>| secrets.iter().any(|secret| secret.signed(id, second, body, &tag));
    if tags.take(MOST_SIGNATURES * 2).any(fits) { Ok(()) } else { Err(Unverified::Signature) }
}

/// What a message of a Subscription is, as far as its id goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// The event of this number.
    Event(u64),
    /// The handshake of this activation.
    Handshake(u64),
    /// The word that the Subscription is off, of this activation.
    Deactivation(u64),
}

/// `webhook-id`: `msg_` and 32 hexadecimal digits of SHA-256 over the Subscription's id (128 random bits), the kind of message and its
/// number. It is computed, not kept: attempts, restarts and replays of one message have one id, and no two messages share one.
pub fn message_id(subscription: &ResourceId, message: Message) -> String {
    let (kind, number) = match message {
        Message::Event(number) => ("event", number),
        Message::Handshake(activation) => ("handshake", activation),
        Message::Deactivation(activation) => ("deactivation", activation),
    };
    let named = format!("daylily webhook {subscription} {kind} {number}");
    let hash = digest::digest(&digest::SHA256, named.as_bytes());
    format!("msg_{}", hex::encode(hash.as_ref().get(..16).unwrap_or_default()))
}

#[cfg(test)]
mod tests;
