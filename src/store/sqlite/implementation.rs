//! The trait's calls, each handed to the room that knows its rows: reads to a reading connection, writes to the writer.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::log::check_entry;
use super::rows::pack;
use super::tx::Tx;
use super::{SqliteStore, audit_rows, create, due, effects, lifecycle, purge, read, server, soundness};
use crate::domain::audit::effect::{Expected, Recorded};
use crate::domain::audit::index::Block;
use crate::domain::clock::Timestamp;
use crate::domain::clock_watch::Destroyable;
use crate::domain::id::{ClientId, FileId, ResourceId};
use crate::domain::lifecycle::Transition;
use crate::domain::principal::{AccessScope, ClientNumber};
use crate::domain::query::Query;
use crate::domain::resource::{Body, DocumentNumber, FileFacts, Kind, PatientNumber, Step, Stored, Target};
use crate::shares::Place;
use crate::store::{
    ActivePolicy, AnswerMemory, AuditBlock, AuditHead, AuditRow, Client, DueRound, Earlier, Health, LogCopies,
    NewBinary, NewContext, NewDocument, Page, Receipt, Receipts, ScanJob, SealedEntry, SealedKey, Store, StoreError,
    Writing, Written,
};

#[async_trait]
impl Store for SqliteStore {
    async fn record(&self, entry: SealedEntry) -> Result<u64, StoreError> {
        check_entry(&entry)?;
        self.writer.run_plain(move |tx| tx.append(entry)).await
    }

    async fn record_all(&self, entries: Vec<SealedEntry>) -> Result<u64, StoreError> {
        entries.iter().try_for_each(check_entry)?;
        self.writer.run_plain(move |tx| append_all(tx, entries)).await
    }

    async fn audit_rows(&self, first: u64, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
        self.long_read(move |conn| audit_rows::entries(conn, first, limit)).await
    }

    async fn audit_rows_before(&self, end: u64, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
        self.long_read(move |conn| audit_rows::entries_before(conn, end, limit)).await
    }

    async fn audit_hashes(&self, first: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        self.long_read(move |conn| audit_rows::hashes(conn, first, limit)).await
    }

    async fn stand(&self, expected: Vec<Expected>) -> Result<Vec<bool>, StoreError> {
        self.long_read(move |conn| effects::stand(conn, &expected)).await
    }

    async fn recorded(&self, after: Option<Recorded>, limit: usize) -> Result<Vec<Recorded>, StoreError> {
        self.long_read(move |conn| effects::recorded(conn, after, limit)).await
    }

    async fn redo(&self, done: Vec<(Expected, Timestamp)>, entry: SealedEntry) -> Result<(), StoreError> {
        self.writer.run(move |tx| effects::redo(tx, done, entry)).await
    }

    async fn audit_blocks(&self, first: u64, limit: usize) -> Result<Vec<AuditBlock>, StoreError> {
        self.long_read(move |conn| audit_rows::blocks(conn, first, limit)).await
    }

    async fn put_audit_block(&self, block: Block, entry: SealedEntry) -> Result<u64, StoreError> {
        self.writer.run(move |tx| audit_rows::put_block(tx, &block, entry)).await
    }

    async fn audit_head(&self) -> Result<AuditHead, StoreError> {
        self.read(|reading| audit_rows::head(reading.conn))
    }

    async fn add_checkpoint(&self, size: u64, note: String) -> Result<(), StoreError> {
        self.writer.run_plain(move |tx| audit_rows::add_checkpoint(tx, size, note)).await
    }

    async fn checkpoints(&self) -> Result<Vec<(u64, String)>, StoreError> {
        self.long_read(audit_rows::checkpoints).await
    }

    async fn newest_checkpoint(&self) -> Result<Option<(u64, String)>, StoreError> {
        self.read(|reading| audit_rows::newest_checkpoint(reading.conn))
    }

    async fn keys(&self) -> Result<Vec<SealedKey>, StoreError> {
        self.read(|reading| server::keys(reading.conn))
    }

    async fn add_key(
        &self,
        key: SealedKey,
        retire_previous: Option<Timestamp>,
        entry: SealedEntry,
    ) -> Result<(), StoreError> {
        self.writer.run(move |tx| server::add_key(tx, key, retire_previous, entry)).await
    }

    async fn policy(&self) -> Result<Option<ActivePolicy>, StoreError> {
        self.read(|reading| server::policy(reading.conn))
    }

    async fn apply_policy(&self, policy: ActivePolicy, entry: SealedEntry) -> Result<(), StoreError> {
        self.writer.run(move |tx| server::apply_policy(tx, policy, entry)).await
    }

    async fn add_client(&self, client: Client, entry: SealedEntry) -> Result<ClientNumber, StoreError> {
        self.writer.run(move |tx| server::add_client(tx, client, entry)).await
    }

    async fn update_client(&self, client: Client, entry: SealedEntry) -> Result<(), StoreError> {
        self.writer.run(move |tx| server::update_client(tx, client, entry)).await
    }

    fn client(&self, id: &ClientId) -> Option<Arc<Client>> {
        self.memory.clients.get().by_id.get(id).map(Arc::clone)
    }

    fn client_by_number(&self, number: ClientNumber) -> Option<Arc<Client>> {
        self.memory.clients.get().by_number.get(&number).map(Arc::clone)
    }

    fn clients(&self) -> Vec<Arc<Client>> {
        let mut clients = self.memory.clients.get().by_id.values().map(Arc::clone).collect::<Vec<_>>();
        clients.sort_by(|a, b| a.id.cmp(&b.id));
        clients
    }

    async fn spend_assertion(
        &self,
        client: ClientNumber,
        jti: [u8; 32],
        until: Timestamp,
        entry: SealedEntry,
    ) -> Result<bool, StoreError> {
        self.writer.run(move |tx| server::spend_assertion(tx, client, jti, until, entry)).await
    }

    async fn earlier(&self, client: ClientNumber, key: &str, now: Timestamp) -> Result<Option<Earlier>, StoreError> {
        self.read(|reading| server::earlier(reading.conn, client, key, now))
    }

    async fn create_document(&self, mut document: NewDocument, entry: SealedEntry) -> Result<Written, StoreError> {
        let packed = packed(&mut document.body).await?;
        self.writer.run(move |tx| create::document(tx, document, packed, entry)).await
    }

    async fn create_binary(&self, binary: NewBinary, entry: SealedEntry) -> Result<Written, StoreError> {
        let packed = pack(&binary.body)?;
        self.writer.run(move |tx| create::binary(tx, binary, packed, entry)).await
    }

    async fn put_context(
        &self,
        mut resource: NewContext,
        scope: &AccessScope,
        entry: SealedEntry,
    ) -> Result<Written, StoreError> {
        let packed = packed(&mut resource.body).await?;
        let scope = scope.clone();
        self.writer.run(move |tx| create::context(tx, resource, packed, &scope, entry)).await
    }

    async fn read(&self, kind: Kind, id: &ResourceId, scope: &AccessScope) -> Result<Option<Stored>, StoreError> {
        Ok(self.one(kind, id, scope, None).await?.map(|(stored, _)| stored))
    }

    async fn read_for_answer(
        &self,
        kind: Kind,
        id: &ResourceId,
        scope: &AccessScope,
        memory: AnswerMemory<'_>,
    ) -> Result<Option<(Stored, Option<Place>)>, StoreError> {
        self.one(kind, id, scope, Some(memory)).await
    }

    async fn read_version(
        &self,
        kind: Kind,
        id: &ResourceId,
        version: u32,
        scope: &AccessScope,
    ) -> Result<Option<Stored>, StoreError> {
        self.version(kind, id, version, scope).await
    }

    async fn search(&self, query: &Query, scope: &AccessScope, memory: AnswerMemory<'_>) -> Result<Page, StoreError> {
        self.page(query, scope, memory).await
    }

    async fn visible_targets(&self, targets: &[Target], scope: &AccessScope) -> Result<Vec<bool>, StoreError> {
        self.shown(targets, scope).await
    }

    async fn steps(&self, id: &ResourceId, scope: &AccessScope) -> Result<Option<Vec<Step>>, StoreError> {
        self.read(|reading| reading.steps(id, scope))
    }

    async fn file(&self, file: FileId) -> Result<Option<Arc<FileFacts>>, StoreError> {
        if let Some(facts) = self.memory.files.get(file) {
            return Ok(Some(facts));
        }
        let generation = self.memory.files.generation();
        let facts = self.read(|reading| reading.file(file))?.map(Arc::new);
        if let Some(facts) = &facts {
            self.memory.files.keep(generation, Arc::clone(facts));
        }
        Ok(facts)
    }

    async fn covers(&self, file: FileId, scope: &AccessScope) -> Result<bool, StoreError> {
        self.read(|reading| read::covers(reading.conn, file, scope))
    }

    async fn inline_content(&self, file: FileId) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|reading| audit_rows::inline(reading.conn, file))
    }

    async fn patient_number(&self, patient: &Target) -> Result<Option<PatientNumber>, StoreError> {
        self.read(|reading| read::patient_number(reading.conn, &patient.0))
    }

    async fn add_receipt(&self, receipt: Receipt, entry: SealedEntry) -> Result<Receipts, StoreError> {
        self.writer.run(move |tx| lifecycle::add_receipt(tx, &receipt, entry)).await
    }

    async fn transition(
        &self,
        document: DocumentNumber,
        transitions: Vec<Transition>,
        entries: Vec<SealedEntry>,
    ) -> Result<Written, StoreError> {
        self.writer.run(move |tx| lifecycle::transition(tx, document, &transitions, entries)).await
    }

    async fn set_due(&self, document: DocumentNumber, due: Option<Timestamp>) -> Result<(), StoreError> {
        self.writer.run(move |tx| lifecycle::set_due(tx, document, due)).await
    }

    async fn claim_scan(&self, now: Timestamp, lease: Duration) -> Result<Option<ScanJob>, StoreError> {
        if !self.read(|reading| lifecycle::any_scan_due(reading.conn, now))? {
            return Ok(None);
        }
        self.writer.run(move |tx| lifecycle::claim_scan(tx, now, lease)).await
    }

    async fn scan_backlog(&self, now: Timestamp) -> Result<(u64, Duration), StoreError> {
        self.read(|reading| lifecycle::scan_backlog(reading.conn, now))
    }

    async fn retry_scan(&self, job: &ScanJob, due: Timestamp) -> Result<bool, StoreError> {
        let (document, fence) = (job.document, job.fence);
        self.writer.run(move |tx| lifecycle::retry_scan(tx, document, fence, due)).await
    }

    async fn scan_broke_off(&self, job: &ScanJob, due: Timestamp) -> Result<bool, StoreError> {
        let (document, fence) = (job.document, job.fence);
        self.writer.run(move |tx| lifecycle::scan_broke_off(tx, document, fence, due)).await
    }

    async fn finish_scan(
        &self,
        job: &ScanJob,
        transitions: Vec<Transition>,
        entries: Vec<SealedEntry>,
    ) -> Result<Written, StoreError> {
        let (document, fence) = (job.document, job.fence);
        self.writer.run(move |tx| lifecycle::finish_scan(tx, document, fence, &transitions, entries)).await
    }

    async fn due_documents(
        &self,
        span: (Timestamp, Timestamp),
        may: Destroyable,
        limit: usize,
    ) -> Result<DueRound, StoreError> {
        self.read(|reading| due::documents(reading, span, may, limit))
    }

    async fn purge(
        &self,
        document: DocumentNumber,
        transition: Transition,
        entry: SealedEntry,
    ) -> Result<Vec<FileId>, StoreError> {
        self.writer.run(move |tx| purge::document(tx, document, &transition, entry)).await
    }

    async fn purge_unclaimed(
        &self,
        now: Timestamp,
        may: Destroyable,
        limit: usize,
        entry: SealedEntry,
    ) -> Result<Vec<FileId>, StoreError> {
        if !self.read(|reading| due::any_unclaimed(reading.conn, now, may))? {
            return Ok(Vec::new());
        }
        self.writer.run(move |tx| purge::unclaimed(tx, now, may, limit, entry)).await
    }

    async fn known_files(&self, files: &[FileId]) -> Result<Vec<bool>, StoreError> {
        self.read(|reading| audit_rows::known(reading.conn, files))
    }

    async fn files_in_blobs(&self, after: Option<FileId>, limit: usize) -> Result<Vec<FileId>, StoreError> {
        self.long_read(move |conn| audit_rows::in_blobs(conn, after, limit)).await
    }

    async fn state_changed(&self, seen: u64) -> u64 {
        let mut changes = self.memory.changes.subscribe();
        let changed = changes.wait_for(|count| *count > seen).await.map(|count| *count);
        // The sender lives as long as the store, so this waits and does not fail.
        changed.unwrap_or(seen)
    }

    fn state_changes(&self) -> u64 {
        *self.memory.changes.borrow()
    }

    async fn forget_expired(&self, now: Timestamp) -> Result<(), StoreError> {
        self.writer.run(move |tx| server::forget_expired(tx, now)).await
    }

    fn writing(&self) -> Writing {
        if self.writer.has_ended() {
            return Writing::Ended;
        }
        if self.writer.oldest().is_some_and(|age| age > STALLED) {
            return Writing::Stalled;
        }
        if self.writer.is_failing() {
            return Writing::Failing;
        }
        if self.reserve.is_missing() { Writing::Short } else { Writing::Open }
    }

    fn log_copies(&self) -> LogCopies {
        self.checkpointer.failed()
    }

    async fn check_pages(&self) -> Result<(), StoreError> {
        self.long_read(soundness::check_later).await
    }

    async fn health(&self) -> Result<Health, StoreError> {
        if self.writer.has_ended() {
            return Err(StoreError::Unavailable("nothing more is written by this process".into()));
        }
        let log_bytes = self.location.log_bytes();
        self.read(|reading| audit_rows::health(reading.conn, log_bytes))
    }

    async fn close(&self) {
        // Waiting for threads to end is short, but it blocks.
        let (checkpointer, writer) = (Arc::clone(&self.checkpointer), Arc::clone(&self.writer));
        let stopping = tokio::task::spawn_blocking(move || {
            checkpointer.stop();
            writer.stop();
        });
        if let Err(error) = stopping.await {
            tracing::error!(%error, "the store did not close in order");
        }
    }
}

/// A write that waits for longer shows that the disk, or a lock on the database, holds up all of them.
const STALLED: Duration = Duration::from_secs(10);

/// Texts up to this are packed on the caller's thread in a millisecond or two.
const SMALL: usize = 256 * 1024;

/// A body packed for its row; a large one on a thread of its own.
async fn packed(body: &mut Body) -> Result<Vec<u8>, StoreError> {
    if body.text.len() <= SMALL {
        return pack(body);
    }
    let taken = std::mem::replace(body, Body { text: String::new(), splices: Vec::new() });
    let work = tokio::task::spawn_blocking(move || pack(&taken));
    work.await.unwrap_or_else(|cause| Err(StoreError::Unavailable(Box::new(cause))))
}

/// Appends entries one behind the other, and answers the first one's number.
fn append_all(tx: &mut Tx<'_>, entries: Vec<SealedEntry>) -> Result<u64, StoreError> {
    let first = tx.log.size();
    entries.into_iter().try_for_each(|entry| tx.append(entry).map(drop))?;
    Ok(first)
}
