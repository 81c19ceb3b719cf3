//! Revocations, as a part of the store's trait. Access is cut in memory first, under a number of the revocation's own; what is
//! written later, once or again, is the revocation of that number.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{SealedEntry, StoreError};
use crate::domain::clock::Timestamp;
use crate::domain::epoch::{Epochs, Holder, Revocation, Scope};

/// How long rows of single links are kept: longer than any link lives.
pub const LINK_REVOCATIONS_KEPT: Duration = Duration::from_secs(400 * 86_400);

/// Revocations.
#[async_trait]
pub trait Revocations: Send + Sync + std::fmt::Debug {
    /// Revocations, as far as they count; the same value for all callers until the next revocation.
    fn epochs(&self) -> Arc<Epochs>;

    /// Cuts access at once, in [`Revocations::epochs`] only, and takes the revocation's number: what cutting must not wait for is
    /// made durable by [`Revocations::revoke`]. A number is never taken twice, across restarts too.
    fn cut(&self, scope: Scope, holder: Option<Holder>, at: Timestamp) -> Revocation;

    /// Cuts access in [`Revocations::epochs`] as an earlier process did. Numbers go on behind its number.
    fn cut_again(&self, revocation: &Revocation);

    /// Makes a revocation durable, with its entry; it is in [`Revocations::epochs`] when this returns. `false`: a revocation of
    /// this number is durable, and nothing was written. `told`: the ledger of endings has it already.
    async fn revoke(
        &self,
        revocation: Revocation,
        reason: &str,
        entry: SealedEntry,
        told: bool,
    ) -> Result<bool, StoreError>;

    /// Tells the ledger of endings of a revocation that the database does not take now; whether it was told.
    async fn tell(&self, revocation: &Revocation) -> bool;

    /// Those of the numbers whose revocations are durable.
    async fn durable_revocations(&self, numbers: Vec<u32>) -> Result<BTreeSet<u32>, StoreError>;
}
