//! Audit entries on their way to the log: sealed here, appended by the store in the same commit as what they record.

use std::sync::Arc;

use super::failure::{audit_failure, store_failure};
use crate::domain::audit::effect::Expected;
use crate::domain::audit::{CellKey, Entry, Prepared};
use crate::domain::clock::{Entropy, Timestamp};
use crate::domain::refusal::{Code, Refusal};
use crate::store::{GivenLink, SealedEntry, Store};

/// Seals entries under the log's cell key.
#[derive(Debug, Clone)]
pub struct Recorder {
    cells: Arc<CellKey>,
    entropy: Arc<dyn Entropy>,
    store: Arc<dyn Store>,
}

impl Recorder {
    /// A recorder to a store's log.
    pub fn new(cells: CellKey, entropy: Arc<dyn Entropy>, store: Arc<dyn Store>) -> Self {
        Self { cells: Arc::new(cells), entropy, store }
    }

    /// An entry ready for the store: committed to, its cells sealed.
    ///
    /// # Errors
    /// `audit-unavailable` when it cannot be sealed; then what it records must not happen.
    pub fn seal(&self, entry: &Entry) -> Result<SealedEntry, Refusal> {
        let unavailable = || Refusal::of(Code::AuditUnavailable).retry_after(2);
        let prepared = Prepared::new(entry, self.entropy.as_ref()).map_err(|_| unavailable())?;
        let cells = prepared.seal(&self.cells).ok_or_else(unavailable)?;
        Ok(SealedEntry {
            action: prepared.action().code(),
            outcome: prepared.outcome().code(),
            commitment: *prepared.commitment(),
            cells,
            given: Vec::new(),
        })
    }

    /// An entry that gives links, which come into their index in the same commit.
    ///
    /// # Errors
    /// As [`Recorder::seal`].
    pub fn seal_giving(&self, entry: &Entry, given: Vec<GivenLink>) -> Result<SealedEntry, Refusal> {
        Ok(SealedEntry { given, ..self.seal(entry)? })
    }

    /// As [`Recorder::record`], for an entry with the links that its answer offers.
    ///
    /// # Errors
    /// `audit-unavailable`.
    pub async fn record_offering(&self, entry: Entry, offered: Vec<GivenLink>) -> Result<u64, Refusal> {
        let entry = entry.offered(offered.iter().map(|link| (link.id.clone(), link.file, link.expires)));
        let sealed = self.seal_giving(&entry, offered)?;
        self.store.record(sealed).await.map_err(audit_failure)
    }

    /// Makes an entry durable by itself, for what changes nothing: nothing of the answer may leave before this returns.
    ///
    /// # Errors
    /// `audit-unavailable`.
    pub async fn record(&self, entry: &Entry) -> Result<u64, Refusal> {
        let sealed = self.seal(entry)?;
        self.store.record(sealed).await.map_err(audit_failure)
    }

    /// As [`Recorder::record`], for several in one commit.
    ///
    /// # Errors
    /// `audit-unavailable`: none of them is durable then.
    pub async fn record_all(&self, entries: &[Entry]) -> Result<(), Refusal> {
        let sealed: Vec<SealedEntry> = entries.iter().map(|entry| self.seal(entry)).collect::<Result<_, _>>()?;
        if sealed.is_empty() {
            return Ok(());
        }
        self.store.record_all(sealed).await.map_err(audit_failure).map(drop)
    }

    /// The key that opens cells, for export.
    pub fn cell_key(&self) -> &CellKey {
        &self.cells
    }
}

impl super::Delivery {
    /// Makes an entry of the server's own durable (start, stop, heartbeat).
    ///
    /// # Errors
    /// `audit-unavailable`.
    pub async fn record(&self, entry: &Entry) -> Result<(), Refusal> {
        self.recorder.record(entry).await.map(|_| ())
    }

    /// The same for several in one commit (counted refusals).
    ///
    /// # Errors
    /// `audit-unavailable`.
    pub async fn record_all(&self, entries: &[Entry]) -> Result<(), Refusal> {
        self.recorder.record_all(entries).await
    }

    /// Does again what entries did and rows do not show any more, as far as it closes something.
    ///
    /// # Errors
    /// Failures of the store; then nothing is done.
    pub async fn redo(&self, done: Vec<(Expected, Timestamp)>, entry: &Entry) -> Result<(), Refusal> {
        let sealed = self.recorder.seal(entry)?;
        self.store.redo(done, sealed).await.map_err(store_failure)
    }
}
