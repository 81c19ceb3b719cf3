//! What is durable, as a trait in the language of the product: the store speaks in transactions, not rows. The only room with
//! SQL; behind the trait, one implementation per database. No handle of a transaction ever leaves the room, and no write waits for the network.
//!
//! # The contract of every implementation
//!
//! - **One commit.** Each writing call is one transaction with the audit record that comes with it: all of it is durable when
//!   the call returns `Ok`, none of it when it returns `Err`, except [`StoreError::Unknown`], after which either may be true.
//! - **Order.** Commits have one order. Audit sequence numbers have no gaps and rise in that order; `updated` never falls.
//! - **Access.** What is outside the [`AccessScope`] is as if it were not there, in results, counts and page positions.
//! - **Not found** is `None` or an empty page, never an error.
//! - **After the call.** What is kept in memory for reading (epochs, file facts) is renewed after the commit and before the
//!   call returns, so whoever revokes and then asks sees the revocation.
//! - **Corrupt rows** are [`StoreError::Corrupt`], which names table, column and row.
//!
//! `tests/it/store_contract/` holds an implementation to this.

mod acknowledgements;
mod clock_rows;
mod endings;
mod given_links;
mod links;
mod operators;
mod records;
mod revocations;
pub mod sqlite;
mod subscriptions;

pub use acknowledgements::*;
pub use clock_rows::*;
pub use endings::*;
pub use given_links::*;
pub use links::*;
pub use operators::*;
pub use records::*;
pub use revocations::*;
pub use subscriptions::*;

use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::audit::effect::{Expected, Recorded};
use crate::domain::audit::index::Block;
use crate::domain::clock::Timestamp;
use crate::domain::clock_watch::Destroyable;
use crate::domain::id::{ClientId, FileId, ResourceId};
use crate::domain::lifecycle::Transition;
use crate::domain::principal::{AccessScope, ClientNumber};
use crate::domain::query::Query;
use crate::domain::resource::{DocumentNumber, FileFacts, Kind, PatientNumber, Step, Stored, Target};
use crate::shares::{Place, Turned};

/// Whether a store takes writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    /// All.
    Open,
    /// The disk was full: what room is left is for the log and for what ends access. New content is to be refused.
    Short,
    /// The last writes failed together, a moment ago. The next ones are tried.
    Failing,
    /// None for a while: the oldest write waits for longer than a disk takes that works.
    Stalled,
    /// None until a restart: a commit failed in a way that nobody knows what is on the disk.
    Ended,
}

impl Writing {
    /// Why nothing can be served, where every answer must be recorded first.
    pub const fn trouble(self) -> Option<&'static str> {
        match self {
            Self::Open | Self::Short => None,
            Self::Failing => Some("database: the last writes failed"),
            Self::Stalled => Some("database: writes wait for the disk"),
            Self::Ended => Some("database: a commit failed, the process ends"),
        }
    }
}

/// Tries to copy the write-ahead log into the database, several a second, that failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LogCopies {
    /// Since the start.
    pub failed: u64,
    /// Since the last that did not.
    pub in_a_row: u64,
}

impl LogCopies {
    /// Whether it has failed for so long (about five seconds) that the log grows until the disk is full.
    pub const fn are_failing(self) -> bool {
        self.in_a_row >= 20
    }
}

/// Why a call failed. Outcomes that a caller can act on are variants; the rest carries its cause for the log only.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A unique thing is there already (client id, idempotency key under way).
    #[error("already exists")]
    AlreadyExists,
    /// The state, version or owner that the write was based on has changed.
    #[error("changed meanwhile")]
    Changed,
    /// The writer's queue is full or the store is being stopped; nothing was begun.
    #[error("busy")]
    Busy,
    /// There is no memory for the answer.
    #[error("no memory for the answer")]
    Turned(Turned),
    /// There is no room on the disk.
    #[error("no room on the disk")]
    Full,
    /// The search would read too much.
    #[error("too costly")]
    TooCostly,
    /// A row that cannot be read: table, column, row.
    #[error("{table}.{column} of row {row} cannot be read")]
    Corrupt {
        /// Table.
        table: &'static str,
        /// Column.
        column: &'static str,
        /// Key of the row.
        row: String,
    },
    /// The database's file is not what was written to it.
    #[error("the database is damaged")]
    Damaged(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database failed.
    #[error("database failure")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database failed in the commit itself: whether it holds will be known at the next start.
    #[error("commit without an answer")]
    Unknown(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// So many bytes of entries are read at once, and the rest of the last one.
pub const PAGE_BYTES: usize = 8 << 20;

/// What a store can do. See the module's documentation for what holds for every call.
#[async_trait]
pub trait Store:
    Subscriptions
    + Operators
    + ClockRows
    + Acknowledgements
    + LinkUses
    + GivenLinks
    + Revocations
    + EndingRows
    + Send
    + Sync
    + std::fmt::Debug
{
    // ---- audit

    /// Appends an entry that changes nothing else, and waits until it is durable. Answers its sequence number.
    async fn record(&self, entry: SealedEntry) -> Result<u64, StoreError>;

    /// The same for several, in one commit: all of them or none. Answers the first one's number; the others follow it without a gap.
    async fn record_all(&self, entries: Vec<SealedEntry>) -> Result<u64, StoreError>;

    /// Entries from `first` on, in order: at most `limit`, and no more behind the one with which they have [`PAGE_BYTES`].
    async fn audit_rows(&self, first: u64, limit: usize) -> Result<Vec<AuditRow>, StoreError>;

    /// The entries before `end`, in order: at most `limit`, and none before the one with which they have [`PAGE_BYTES`].
    async fn audit_rows_before(&self, end: u64, limit: usize) -> Result<Vec<AuditRow>, StoreError>;

    /// Number and stored hash of entries from `first` on, at most `limit`, in order.
    async fn audit_hashes(&self, first: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, StoreError>;

    /// Whether the rows show, each, what entries of the log say.
    async fn stand(&self, expected: Vec<Expected>) -> Result<Vec<bool>, StoreError>;

    /// Rows behind one, in order, at most `limit`, each of which an entry of the log must have made.
    async fn recorded(&self, after: Option<Recorded>, limit: usize) -> Result<Vec<Recorded>, StoreError>;

    /// Does again, in one commit with its entry, what entries did and rows do not show, as far as it closes something (withdrawals of
    /// links, clients switched off, documents closed, legal holds); each with when it was done.
    async fn redo(&self, done: Vec<(Expected, Timestamp)>, entry: SealedEntry) -> Result<(), StoreError>;

    /// Blocks of the look-up by patient that begin at entry `first` or behind it, at most `limit`, in order.
    async fn audit_blocks(&self, first: u64, limit: usize) -> Result<Vec<AuditBlock>, StoreError>;

    /// Keeps a block with the entry that says its digest, instead of every one that covers an entry of it.
    async fn put_audit_block(&self, block: Block, entry: SealedEntry) -> Result<u64, StoreError>;

    /// Size and frontier.
    async fn audit_head(&self) -> Result<AuditHead, StoreError>;

    /// Keeps a signed checkpoint (size, note).
    async fn add_checkpoint(&self, size: u64, note: String) -> Result<(), StoreError>;

    /// Signed checkpoints that are kept, by rising size.
    async fn checkpoints(&self) -> Result<Vec<(u64, String)>, StoreError>;

    /// The newest of them; never forgotten once there was one.
    async fn newest_checkpoint(&self) -> Result<Option<(u64, String)>, StoreError>;

    // ---- server's own state

    /// Everything sealed, of every purpose.
    async fn keys(&self) -> Result<Vec<SealedKey>, StoreError>;

    /// Adds a key; the current one of the same purpose retires at `retire_previous`.
    async fn add_key(
        &self,
        key: SealedKey,
        retire_previous: Option<Timestamp>,
        entry: SealedEntry,
    ) -> Result<(), StoreError>;

    /// The active policy, if one was ever applied.
    async fn policy(&self) -> Result<Option<ActivePolicy>, StoreError>;

    /// Makes a policy the active one.
    async fn apply_policy(&self, policy: ActivePolicy, entry: SealedEntry) -> Result<(), StoreError>;

    // ---- clients

    /// Registers a client. [`StoreError::AlreadyExists`] when the id is taken.
    async fn add_client(&self, client: Client, entry: SealedEntry) -> Result<ClientNumber, StoreError>;

    /// Replaces what is registered for `client.id`, and raises its generation. [`StoreError::Changed`] when it is not there.
    async fn update_client(&self, client: Client, entry: SealedEntry) -> Result<(), StoreError>;

    /// A client by id; from memory, cheap.
    fn client(&self, id: &ClientId) -> Option<Arc<Client>>;

    /// A client by number; from memory, cheap.
    fn client_by_number(&self, number: ClientNumber) -> Option<Arc<Client>>;

    /// All clients, by id.
    fn clients(&self) -> Vec<Arc<Client>>;

    /// Records that an assertion was used, together with the token grant. `false`: it was used before, and nothing was
    /// written. `until` is the end of the time in which it could be used again.
    async fn spend_assertion(
        &self,
        client: ClientNumber,
        jti: [u8; 32],
        until: Timestamp,
        entry: SealedEntry,
    ) -> Result<bool, StoreError>;

    // ---- resources

    /// What an earlier request of the client with this idempotency key made.
    async fn earlier(&self, client: ClientNumber, key: &str, now: Timestamp) -> Result<Option<Earlier>, StoreError>;

    /// Creates a document with its files, index, first step (`→ created`) and, when it has files, its scan job.
    /// [`StoreError::Changed`] when a claimed Binary is not there, not the owner's, or claimed already;
    /// [`StoreError::AlreadyExists`] when the idempotency key was used meanwhile.
    async fn create_document(&self, document: NewDocument, entry: SealedEntry) -> Result<Written, StoreError>;

    /// Creates a Binary that no document claims.
    async fn create_binary(&self, binary: NewBinary, entry: SealedEntry) -> Result<Written, StoreError>;

    /// Creates or replaces a context resource. [`StoreError::Changed`] when `if_match` does not fit;
    /// [`StoreError::AlreadyExists`] when it belongs to another client and is to be replaced by one who cannot see it.
    async fn put_context(
        &self,
        resource: NewContext,
        scope: &AccessScope,
        entry: SealedEntry,
    ) -> Result<Written, StoreError>;

    /// A resource by type and id: the current version, also of a purged document (state `purged`), for those whose scope
    /// covers it.
    async fn read(&self, kind: Kind, id: &ResourceId, scope: &AccessScope) -> Result<Option<Stored>, StoreError>;

    /// The same for an answer, with the memory that was taken for its text before it was read.
    async fn read_for_answer(
        &self,
        kind: Kind,
        id: &ResourceId,
        scope: &AccessScope,
        memory: AnswerMemory<'_>,
    ) -> Result<Option<(Stored, Option<Place>)>, StoreError>;

    /// One version of a resource.
    async fn read_version(
        &self,
        kind: Kind,
        id: &ResourceId,
        version: u32,
        scope: &AccessScope,
    ) -> Result<Option<Stored>, StoreError>;

    /// A page of a search; purged documents are in none. It may end before it is full, so that an answer and its audit entry can hold
    /// it; a single row always fits. Long texts are read once there is memory for them.
    async fn search(&self, query: &Query, scope: &AccessScope, memory: AnswerMemory<'_>) -> Result<Page, StoreError>;

    /// For each target whether a resource of this server stands there and is visible. [`StoreError::TooCostly`] where so many documents
    /// refer to them that it is not known in the time of a search.
    async fn visible_targets(&self, targets: &[Target], scope: &AccessScope) -> Result<Vec<bool>, StoreError>;

    /// Every step of a document so far.
    async fn steps(&self, id: &ResourceId, scope: &AccessScope) -> Result<Option<Vec<Step>>, StoreError>;

    // ---- files and links

    /// A file with what opening it depends on; from memory when it was asked for lately. `None`: never there, or purged as
    /// an unclaimed Binary.
    async fn file(&self, file: FileId) -> Result<Option<Arc<FileFacts>>, StoreError>;

    /// Whether a scope covers a file: its document's, or, unclaimed, its owner's.
    async fn covers(&self, file: FileId, scope: &AccessScope) -> Result<bool, StoreError>;

    /// The sealed bytes of a file that lives in the database.
    async fn inline_content(&self, file: FileId) -> Result<Option<Vec<u8>>, StoreError>;

    /// The number of a subject that documents have; `None` when none has.
    async fn patient_number(&self, patient: &Target) -> Result<Option<PatientNumber>, StoreError>;

    /// Records a complete download. The source's own are kept but count for nothing. Answers what is known of the document's receipts now, this one included.
    async fn add_receipt(&self, receipt: Receipt, entry: SealedEntry) -> Result<Receipts, StoreError>;

    // ---- lifecycle

    /// Changes a document's state, in one transaction with steps, version (where one is due) and entries.
    /// [`StoreError::Changed`] when its state is not the first transition's `from`.
    async fn transition(
        &self,
        document: DocumentNumber,
        transitions: Vec<Transition>,
        entries: Vec<SealedEntry>,
    ) -> Result<Written, StoreError>;

    /// Sets when the document is due, for windows that start with an access.
    async fn set_due(&self, document: DocumentNumber, due: Option<Timestamp>) -> Result<(), StoreError>;

    /// Claims the scan job that has been due longest, until `now + lease`. The attempt is counted before this returns.
    async fn claim_scan(&self, now: Timestamp, lease: std::time::Duration) -> Result<Option<ScanJob>, StoreError>;

    /// Documents whose files wait for a verdict, and the age of the oldest.
    async fn scan_backlog(&self, now: Timestamp) -> Result<(u64, std::time::Duration), StoreError>;

    /// Gives a claimed job back, due again at `due`. `false`: the claim was lost meanwhile.
    async fn retry_scan(&self, job: &ScanJob, due: Timestamp) -> Result<bool, StoreError>;

    /// As [`Store::retry_scan`], for a turn that broke off: it counts among those of which only so many may
    /// ([`UNENDED_MOST`]).
    async fn scan_broke_off(&self, job: &ScanJob, due: Timestamp) -> Result<bool, StoreError>;

    /// Ends a claimed job with its outcome. [`StoreError::Changed`] when the claim was lost or the state has changed.
    async fn finish_scan(
        &self,
        job: &ScanJob,
        transitions: Vec<Transition>,
        entries: Vec<SealedEntry>,
    ) -> Result<Written, StoreError>;

    /// Documents that fell due after the first time and are due at the second, the longest overdue first; of those whose next step destroys, only what `may` allows
    /// and no legal hold keeps.
    /// A row that cannot be read is named in the answer and keeps no other back.
    async fn due_documents(
        &self,
        span: (Timestamp, Timestamp),
        may: Destroyable,
        limit: usize,
    ) -> Result<DueRound, StoreError>;

    /// Destroys a document's keys, inline bytes, index entries and texts, and leaves its tombstone. Answers the files whose
    /// bytes are still in the blob store. [`StoreError::Changed`] when a legal hold is on it.
    async fn purge(
        &self,
        document: DocumentNumber,
        transition: Transition,
        entry: SealedEntry,
    ) -> Result<Vec<FileId>, StoreError>;

    /// Unclaimed Binaries that are due and that `may` allows: destroys them like [`Store::purge`] and answers the files whose bytes are still in the
    /// blob store. Where none is due nothing is written, no entry either.
    async fn purge_unclaimed(
        &self,
        now: Timestamp,
        may: Destroyable,
        limit: usize,
        entry: SealedEntry,
    ) -> Result<Vec<FileId>, StoreError>;

    /// Which of these files the store knows to have bytes in the blob store, for the sweep at start.
    async fn known_files(&self, files: &[FileId]) -> Result<Vec<bool>, StoreError>;

    /// Every file whose bytes should be in the blob store, in pages by rising id.
    async fn files_in_blobs(&self, after: Option<FileId>, limit: usize) -> Result<Vec<FileId>, StoreError>;

    /// Waits until something has changed the state of any document since `seen`, and answers the new count of changes. The
    /// caller looks again and brings its own deadline.
    async fn state_changed(&self, seen: u64) -> u64;

    /// The count of changes now.
    fn state_changes(&self) -> u64;

    /// Forgets what is over: spent assertions, idempotency keys, given links, revocations of single links.
    async fn forget_expired(&self, now: Timestamp) -> Result<(), StoreError>;

    // ---- operations

    /// Whether writes are taken.
    fn writing(&self) -> Writing;

    /// How the write-ahead log is copied into the database.
    fn log_copies(&self) -> LogCopies;

    /// Looks at the pages of what grows with the log and is not looked at when the store is opened. [`StoreError::Damaged`] when they are
    /// not sound. The log's own are looked at by who reads it.
    async fn check_pages(&self) -> Result<(), StoreError>;

    /// Schema version, counts and build options, for `doctor` and the start lines.
    async fn health(&self) -> Result<Health, StoreError>;

    /// Writes what is still queued, empties the log file, and refuses what comes after.
    async fn close(&self);
}
