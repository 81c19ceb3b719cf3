//! What has ended, on its way out of the database: a row in the commit that ends it, and then, before that commit is answered for, a
//! line in the ledger outside.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::audit::endings::Ended;
use crate::domain::clock::Timestamp;

/// Where endings are kept outside the database.
pub trait Ledger: Send + Sync + std::fmt::Debug {
    /// Makes endings durable under the next numbers, in one sync.
    ///
    /// # Errors
    /// The medium's. Nothing of them counts as kept then, and they are handed over again.
    fn append(&self, endings: &[(Ended, Timestamp)]) -> std::io::Result<()>;

    /// Number of the last that is kept; 0: none.
    fn last(&self) -> u64;

    /// Whether exactly this one, of this moment, was kept before anything was appended.
    fn has(&self, ended: &Ended, at: Timestamp) -> bool;
}

/// How endings stand in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EndingsStanding {
    /// Number of the last that was ever given; 0: none.
    pub last: u64,
    /// How many of them wait for the ledger.
    pub waiting: u64,
    /// How many of these cannot be read, and the number of the first of those.
    pub unread: Option<(u64, u64)>,
}

/// Endings.
#[async_trait]
pub trait EndingRows: Send + Sync + std::fmt::Debug {
    /// Hands endings to this ledger from now on, first those that wait. A ledger that is ahead of the database, because an older one was
    /// put back, keeps its numbers: new endings come behind them.
    async fn keep_endings(&self, ledger: std::sync::Arc<dyn Ledger>) -> Result<(), StoreError>;

    /// How many endings the ledger did not take when it was last handed some, or cannot be given because they cannot be read.
    fn endings_left(&self) -> u64;

    /// How endings stand.
    async fn endings(&self) -> Result<EndingsStanding, StoreError>;
}
