//! The vault as `delivery` calls it.

use std::sync::Arc;

use secrecy::SecretSlice;

use crate::delivery::{Sealed, Sealing};
use crate::domain::id::ResourceId;
use crate::domain::refusal::{Code, Refusal};
use crate::vault::{SecretKind, Vault};

/// Seals under the folder's keys.
#[derive(Debug)]
pub(super) struct VaultSealing(pub(super) Arc<Vault>);

fn kind(what: Sealed) -> SecretKind {
    match what {
        Sealed::WebhookSecret => SecretKind::WebhookSecret,
        Sealed::WebhookHeaders => SecretKind::WebhookHeaders,
    }
}

impl Sealing for VaultSealing {
    fn seal(&self, what: Sealed, of: &ResourceId, secret: &[u8]) -> Result<Vec<u8>, Refusal> {
        self.0.seal_secret(kind(what), of.as_str(), secret).map_err(|error| {
            tracing::error!(cause = %error, "a secret could not be sealed");
            Refusal::of(Code::ServerFault)
        })
    }

    fn open(&self, what: Sealed, of: &ResourceId, sealed: &[u8]) -> Result<SecretSlice<u8>, Refusal> {
        self.0.open_secret(kind(what), of.as_str(), sealed).map_err(|error| {
            tracing::error!(cause = %error, "a sealed secret could not be opened");
            Refusal::of(Code::ServerFault)
        })
    }
}
