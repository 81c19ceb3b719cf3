//! What the store keeps of the clock, as a part of its trait.

use async_trait::async_trait;

use super::{SealedEntry, StoreError};
use crate::domain::clock_watch::ClockRecord;

/// The clock's durable part.
#[async_trait]
pub trait ClockRows {
    /// What was kept; its highest time is also that of the newest row of the audit log, where that is later. `None`: a new folder.
    async fn clock_record(&self) -> Result<Option<ClockRecord>, StoreError>;

    /// Keeps it, with an entry where something is to be said. `lowered`: an operator has set the highest time seen back, so that
    /// times which the log already has say nothing any more.
    async fn keep_clock(
        &self,
        record: ClockRecord,
        lowered: bool,
        entry: Option<SealedEntry>,
    ) -> Result<(), StoreError>;
}
