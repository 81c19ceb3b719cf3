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
//! `tests/it/store_contract.rs` holds an implementation to this.

use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::clock::Timestamp;
use crate::domain::epoch::{Epochs, Scope};
use crate::domain::id::{ClientId, FileId, ResourceId};
use crate::domain::lifecycle::{State, Transition};
use crate::domain::policy::Decision;
use crate::domain::principal::{AccessScope, AttachmentUrl, ClientNumber, Reach};
use crate::domain::query::{Position, Query};
use crate::domain::resource::{Body, DocumentNumber, FileFacts, Index, Kind, NewFile, Step, Stored, Target};

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
    /// The database failed.
    #[error("database failure")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database failed in the commit itself: whether it holds will be known at the next start.
    #[error("commit without an answer")]
    Unknown(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// An audit entry ready to be appended: what the writer needs to build its leaf (`domain::audit`) and nothing that it could
/// read. The writer gives it number and time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedEntry {
    /// Code of the action, of the closed list.
    pub action: &'static str,
    /// `ok`, `denied`, `error`, `attempted`.
    pub outcome: &'static str,
    /// Commitment to the cells.
    pub commitment: [u8; 32],
    /// The sealed cells.
    pub cells: Vec<u8>,
    /// References of the patients that it is about (`Patient/1`), for the look-up by patient.
    pub patients: Vec<String>,
}

/// A client as registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The store's number; ignored in [`Store::add_client`].
    pub number: ClientNumber,
    /// Its id.
    pub id: ClientId,
    /// Name for people.
    pub name: Option<String>,
    /// Scopes that it may ask for, as registered, separated by spaces.
    pub scope: String,
    /// What it sees.
    pub reach: Reach,
    /// How it wants urls.
    pub attachment_url: AttachmentUrl,
    /// Networks that it may call from, as CIDRs; empty: any.
    pub allow_ip: Vec<String>,
    /// Where its keys come from.
    pub keys: ClientKeys,
    /// Disabled clients get no token, and those that they hold are refused.
    pub disabled: bool,
    /// Rises with each change; tokens carry it, so that a change ends those given before.
    pub generation: u32,
    /// When it was registered.
    pub created: Timestamp,
}

/// Where a client's public keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientKeys {
    /// The set itself (JSON, public members only).
    Inline(String),
    /// An address to fetch it from.
    Uri(String),
}

/// A secret of the server, sealed by the vault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedKey {
    /// What it is for (`link`, `token`, `audit-checkpoint`, `audit-cells`, `cursor`).
    pub purpose: String,
    /// Rises with each rotation of the purpose.
    pub number: u32,
    /// Sealed bytes.
    pub sealed: Vec<u8>,
    /// Since when it signs.
    pub created: Timestamp,
    /// When it stops to be accepted; `None`: it is the current one.
    pub retires: Option<Timestamp>,
}

/// The active policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActivePolicy {
    /// Its text.
    pub text: String,
    /// SHA-256 of the text.
    pub digest: [u8; 32],
    /// Who applied it (`os:…`, `server`).
    pub actor: String,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// Asks that a write be answered the same when it is sent again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The client's key.
    pub key: String,
    /// Digest of method, path and body.
    pub request: [u8; 32],
    /// Until when it is remembered.
    pub until: Timestamp,
}

/// What an earlier request with an idempotency key made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    /// Digest of the request that used it.
    pub request: [u8; 32],
    /// What it made.
    pub kind: Kind,
    /// Its id.
    pub id: ResourceId,
    /// The version that it made.
    pub version: u32,
}

/// A DocumentReference to be created.
#[derive(Debug, Clone)]
pub struct NewDocument {
    /// Its id.
    pub id: ResourceId,
    /// The delivering client.
    pub owner: ClientNumber,
    /// Its text.
    pub body: Body,
    /// What it is found by.
    pub index: Index,
    /// What policy decided.
    pub decision: Arc<Decision>,
    /// Clients that it names as recipients, known or not.
    pub recipients: Vec<ClientId>,
    /// Files that come with it.
    pub files: Vec<NewFile>,
    /// Binaries of the owner that no document claims yet, with the content entry that names each.
    pub claims: Vec<(FileId, u16, Option<String>)>,
    /// When it is purged if no bytes come (no file), or quarantined if no verdict comes.
    pub due: Option<Timestamp>,
    /// Remember the answer.
    pub idempotency: Option<Idempotency>,
    /// When it was accepted.
    pub at: Timestamp,
}

/// A Binary without a document.
#[derive(Debug, Clone)]
pub struct NewBinary {
    /// The uploading client.
    pub owner: ClientNumber,
    /// Its file; the file id is the Binary's id.
    pub file: NewFile,
    /// The resource without `data`.
    pub body: Body,
    /// When it is purged if no document claims it.
    pub due: Timestamp,
    /// Remember the answer.
    pub idempotency: Option<Idempotency>,
    /// When it was accepted.
    pub at: Timestamp,
}

/// A context resource to be created or replaced.
#[derive(Debug, Clone)]
pub struct NewContext {
    /// Its type.
    pub kind: Kind,
    /// Its id.
    pub id: ResourceId,
    /// The client that sends it.
    pub owner: ClientNumber,
    /// Its text.
    pub body: Body,
    /// What it is found by.
    pub index: Index,
    /// Refuse if it exists (`POST` with a fresh id), or replace (`PUT`).
    pub replace: bool,
    /// Version that `If-Match` asks for.
    pub if_match: Option<u32>,
    /// Remember the answer.
    pub idempotency: Option<Idempotency>,
    /// When it was accepted.
    pub at: Timestamp,
}

/// What a write made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The version that it made.
    pub version: u32,
    /// The stamp of that version.
    pub updated: Timestamp,
    /// Whether the resource is new.
    pub created: bool,
}

/// A page of a search.
#[derive(Debug, Clone)]
pub struct Page {
    /// Rows in order.
    pub rows: Vec<Stored>,
    /// Where the next page begins; `None`: this is the last.
    pub next: Option<Position>,
    /// All matches within the scope.
    pub total: u64,
}

/// A file to be looked at: job and document.
#[derive(Debug, Clone)]
pub struct ScanJob {
    /// The document.
    pub document: DocumentNumber,
    /// Its id.
    pub id: ResourceId,
    /// Fencing token: a later claim has another, and results under an old one are refused.
    pub fence: u64,
    /// How often it was tried before.
    pub attempts: u32,
    /// When the document was created.
    pub created: Timestamp,
    /// The decision.
    pub decision: Arc<Decision>,
    /// Subject of the document, for the audit entry's lookup.
    pub subject: Option<Target>,
    /// Its files.
    pub files: Vec<FileFacts>,
}

/// A document that is due for its next step.
#[derive(Debug, Clone)]
pub struct DueDocument {
    /// The document.
    pub number: DocumentNumber,
    /// Its id.
    pub id: ResourceId,
    /// Where it stands.
    pub state: State,
    /// Whether it has any file.
    pub has_files: bool,
    /// The decision.
    pub decision: Arc<Decision>,
    /// Subject, for the audit entry's lookup.
    pub subject: Option<Target>,
    /// Files that are in the blob store or database.
    pub files: Vec<FileId>,
}

/// A complete download.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// The document.
    pub document: DocumentNumber,
    /// Who received it.
    pub reader: ClientNumber,
    /// When.
    pub at: Timestamp,
}

/// What the receipts of a document say so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipts {
    /// Clients with a complete download, the source left out.
    pub readers: Vec<ClientId>,
    /// The first of them.
    pub first: Option<Timestamp>,
    /// The last access.
    pub last: Option<Timestamp>,
}

/// A row of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Sequence number.
    pub seq: u64,
    /// Leaf body (`DAL1`).
    pub body: Vec<u8>,
    /// Leaf hash as stored.
    pub hash: Vec<u8>,
    /// Sealed cells.
    pub cells: Vec<u8>,
}

/// The log's own state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditHead {
    /// Entries.
    pub size: u64,
    /// Frontier as stored.
    pub frontier: Vec<u8>,
}

/// What a store can do. See the module's documentation for what holds for every call.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    // ---- audit

    /// Appends an entry that changes nothing else, and waits until it is durable. Answers its sequence number.
    async fn record(&self, entry: SealedEntry) -> Result<u64, StoreError>;

    /// Entries from `first` on, at most `limit`, in order.
    async fn audit_rows(&self, first: u64, limit: usize) -> Result<Vec<AuditRow>, StoreError>;

    /// Sequence numbers of entries about a patient, in order.
    async fn audit_of_patient(&self, patient: &str) -> Result<Vec<u64>, StoreError>;

    /// Size and frontier.
    async fn audit_head(&self) -> Result<AuditHead, StoreError>;

    /// Keeps a signed checkpoint (size, note).
    async fn add_checkpoint(&self, size: u64, note: String) -> Result<(), StoreError>;

    /// Signed checkpoints that are kept, by rising size.
    async fn checkpoints(&self) -> Result<Vec<(u64, String)>, StoreError>;

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

    /// One version of a resource.
    async fn read_version(
        &self,
        kind: Kind,
        id: &ResourceId,
        version: u32,
        scope: &AccessScope,
    ) -> Result<Option<Stored>, StoreError>;

    /// A page of a search; purged documents are in none.
    async fn search(&self, query: &Query, scope: &AccessScope) -> Result<Page, StoreError>;

    /// For each target whether a resource of this server stands there and is visible.
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

    /// Revocations, as far as they count; the same value for all callers until the next revocation.
    fn epochs(&self) -> Arc<Epochs>;

    /// Cuts access: durable and in [`Store::epochs`] when it returns. Answers its number.
    async fn revoke(&self, scope: Scope, at: Timestamp, reason: &str, entry: SealedEntry) -> Result<u32, StoreError>;

    /// Numbers of documents about a patient.
    async fn documents_of_patient(&self, patient: &Target) -> Result<Vec<DocumentNumber>, StoreError>;

    /// Records a complete download. Answers what is known of the document's receipts now, this one included.
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

    /// Gives a claimed job back, due again at `due`. `false`: the claim was lost meanwhile.
    async fn retry_scan(&self, job: &ScanJob, due: Timestamp) -> Result<bool, StoreError>;

    /// Ends a claimed job with its outcome. [`StoreError::Changed`] when the claim was lost or the state has changed.
    async fn finish_scan(
        &self,
        job: &ScanJob,
        transitions: Vec<Transition>,
        entries: Vec<SealedEntry>,
    ) -> Result<Written, StoreError>;

    /// Documents that are due at `now`, the longest overdue first.
    async fn due_documents(&self, now: Timestamp, limit: usize) -> Result<Vec<DueDocument>, StoreError>;

    /// Destroys a document's keys, inline bytes, index entries and texts, and leaves its tombstone. Answers the files whose
    /// bytes are still in the blob store.
    async fn purge(
        &self,
        document: DocumentNumber,
        transition: Transition,
        entry: SealedEntry,
    ) -> Result<Vec<FileId>, StoreError>;

    /// Unclaimed Binaries that are due: destroys them like [`Store::purge`] and answers their files.
    async fn purge_unclaimed(
        &self,
        now: Timestamp,
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

    /// Forgets what is over: spent assertions, idempotency keys, revocations of single links.
    async fn forget_expired(&self, now: Timestamp) -> Result<(), StoreError>;

    // ---- operations

    /// Schema version, counts and build options, for `doctor` and the start lines.
    async fn health(&self) -> Result<Health, StoreError>;

    /// Writes what is still queued, empties the log file, and refuses what comes after.
    async fn close(&self);
}

/// What a store says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Number of migrations applied.
    pub schema: u32,
    /// Documents that are not purged.
    pub documents: u64,
    /// Documents waiting for the safety check.
    pub waiting: u64,
    /// Bytes of the write-ahead log.
    pub log_bytes: u64,
    /// Kind and library version, with the options that matter (for `doctor`).
    pub description: String,
}
