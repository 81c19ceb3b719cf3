//! The control socket: how a command reaches the server that holds the data folder. Both ends live here, and the messages between
//! them: one JSON line asks, one JSON line answers. Who may ask is decided by the operating system: the socket is 0600 in a folder of
//! 0700, and the peer's user id must be the folder's owner or root.
//!
//! Knows no use case: what a [`Request`] does is behind [`Operations`], which the composition root implements. The command line calls the
//! same [`Operations`] itself when no server runs.

mod caller;
mod listener;
mod oversight;
mod place;
mod protocol;
mod secret;
mod telling;
#[cfg(test)]
mod tests;

pub use caller::{CallError, call};
pub use listener::{Accepting, Listener, Peer};
pub use oversight::{ApprovalView, HoldView, OperatorView, QuarantineView, VerdictView};
pub use place::{Place, SOCKET_NAME, find, forget};
pub use protocol::{
    AcknowledgementView, ClientChange, ClientView, KeysGiven, NewClient, PolicyView, Reply, Request, Response,
    RevocationAim, RevocationView, StatusView,
};
pub use telling::{ClockView, ExplainAim, ExplanationView, FactView, LoopView};

pub use secret::Secret;

use async_trait::async_trait;

use crate::domain::refusal::Refusal;

/// What commands do. One implementation, used through the socket and directly.
#[async_trait]
pub trait Operations: Send + Sync + std::fmt::Debug {
    /// Does what is asked for in the name of the user `uid`.
    ///
    /// # Errors
    /// What the use case refuses.
    async fn perform(&self, uid: u32, request: Request) -> Result<Response, Refusal>;
}
