//! What sending needs and this room may not know: the way out with its signatures, and what a client's registration allows now. The
//! composition root puts both behind these traits.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{SecretSlice, SecretString};

use crate::domain::clock::Timestamp;
use crate::domain::id::ResourceId;
use crate::domain::principal::Principal;
use crate::store::Client;

/// Which message of a Subscription it is: one message has one `webhook-id` at every attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The event of this number.
    Event(u64),
    /// The handshake of this activation.
    Handshake(u64),
    /// The word that it is off, of this activation.
    Deactivation(u64),
}

/// A message, before it is signed.
pub struct Parcel {
    /// The Subscription.
    pub subscription: ResourceId,
    /// Which of its messages.
    pub part: Part,
    /// `PUT` instead of `POST`.
    pub put: bool,
    /// Where to.
    pub url: String,
    /// `Content-Type`; `None` for an empty body.
    pub content_type: Option<String>,
    /// The subscriber's own header lines.
    pub headers: Vec<(String, SecretString)>,
    /// Whole body.
    pub body: Vec<u8>,
    /// Signing secrets as [`super::super::Sealing`] opened them, the current one first.
    pub secrets: Vec<SecretSlice<u8>>,
    /// Wall clock of the attempt.
    pub at: Timestamp,
    /// Most time for it.
    pub timeout: Duration,
}

impl fmt::Debug for Parcel {
    /// Without address, headers and body.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Parcel({} {:?})", self.subscription, self.part)
    }
}

/// What came back. Nothing of the answer itself, and nothing of where it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// 2xx.
    Taken,
    /// 410.
    Gone,
    /// Another status, and how long the receiver asks to be left alone.
    Status(u16, Option<Duration>),
    /// None: no address that may be called, no connection, or no time left.
    Silent,
}

/// The way out.
#[async_trait]
pub trait Hooks: Send + Sync + fmt::Debug {
    /// Signs for this moment and sends, once.
    async fn send(&self, parcel: Parcel) -> Answer;
}

/// What clients may do by their registration, without a token.
pub trait Standing: Send + Sync + fmt::Debug {
    /// The client as a principal with everything that its registered scope allows; `None`: it is disabled, or may nothing.
    fn principal(&self, client: &Client) -> Option<Principal>;
}
