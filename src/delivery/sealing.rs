//! What is kept for Subscriptions and must not be read from the database: signing secrets and header values. The keys are the
//! vault's; the composition root puts it behind this trait.

use secrecy::SecretSlice;

use crate::domain::id::ResourceId;
use crate::domain::refusal::Refusal;

/// What is sealed. What was sealed as one does not open as the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sealed {
    /// A Subscription's signing secret.
    WebhookSecret,
    /// A Subscription's header lines.
    WebhookHeaders,
}

/// Seals and opens, bound to the Subscription's id.
pub trait Sealing: Send + Sync + std::fmt::Debug {
    /// Seals.
    ///
    /// # Errors
    /// `server-fault`.
    fn seal(&self, what: Sealed, of: &ResourceId, secret: &[u8]) -> Result<Vec<u8>, Refusal>;

    /// Opens what [`Sealing::seal`] sealed for the same Subscription.
    ///
    /// # Errors
    /// `server-fault`: the key is not at hand, or it was changed.
    fn open(&self, what: Sealed, of: &ResourceId, sealed: &[u8]) -> Result<SecretSlice<u8>, Refusal>;
}
