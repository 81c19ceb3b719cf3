//! What goes into the store and comes out of it, as values. No SQL.

use std::sync::Arc;

use serde_json::json;

use super::{GivenLink, StoreError};
use crate::domain::audit::cell::Cells;
use crate::domain::audit::effect::registration;
use crate::domain::audit::index::Block;
use crate::domain::audit::tree::leaf_hash;
use crate::domain::audit::verify::{Finding, Wrong};
use crate::domain::audit::{CellKey, Leaf};
use crate::domain::clock::Timestamp;
use crate::domain::holder::Holder;
use crate::domain::id::{ClientId, FileId, ResourceId};
use crate::domain::lifecycle::State;
use crate::domain::policy::Decision;
use crate::domain::principal::{AttachmentUrl, ClientNumber, Reach};
use crate::domain::query::Position;
use crate::domain::resource::{Body, DocumentNumber, FileFacts, Index, Kind, NewFile, Stored, Target};
use crate::shares::{Place, Places};

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
    /// Links that what it records gives, for the index.
    pub given: Vec<GivenLink>,
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

impl Client {
    /// The digest of all that decides what the client may do, but for whether it is switched off.
    pub fn registration(&self) -> String {
        let keys = match &self.keys {
            ClientKeys::Inline(set) => json!({ "inline": set }),
            ClientKeys::Uri(uri) => json!({ "uri": uri }),
        };
        let url = match self.attachment_url {
            AttachmentUrl::Link => "link",
            AttachmentUrl::Handle => "handle",
        };
        let Reach { all, custodians } = &self.reach;
        registration(&json!([self.scope, all, custodians, url, self.allow_ip, keys]).to_string())
    }
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

/// Totals of searches are exact up to here.
pub const TOTAL_LIMIT: u64 = 10_000;

/// Memory for an answer that shows stored texts: a pool of bytes, and who takes of it.
#[derive(Debug, Clone, Copy)]
pub struct AnswerMemory<'a> {
    /// The pool.
    pub bytes: &'a Places,
    /// Who asks.
    pub holder: &'a Holder,
}

impl AnswerMemory<'_> {
    /// Texts up to this are no longer than what a connection's buffers may hold anyway, and are not counted.
    pub const FREE: u64 = 64 * 1024;

    /// Takes what an answer needs that shows so many bytes of text: they are there as they were stored, and as they are sent.
    ///
    /// # Errors
    /// [`StoreError::Turned`].
    pub async fn take(&self, text: u64) -> Result<Option<Place>, StoreError> {
        if text <= Self::FREE {
            return Ok(None);
        }
        let taken = self.bytes.take_many(self.holder, text.saturating_mul(2)).await;
        taken.map(Some).map_err(StoreError::Turned)
    }
}

/// A page of a search.
#[derive(Debug)]
pub struct Page {
    /// Rows in order.
    pub rows: Vec<Stored>,
    /// Where the next page begins; `None`: this is the last.
    pub next: Option<Position>,
    /// All matches within the scope: exact up to [`TOTAL_LIMIT`], one more than it stands for "more".
    pub total: u64,
    /// Of a first page in order of changes: the last change that it has taken into account, which may be ahead of the clock.
    pub newest: Option<Timestamp>,
    /// What was taken for its texts, to be held until they are sent.
    pub memory: Option<Place>,
}

/// Turns of a scan job that may break off before it is given up: its document is held back without a verdict.
pub const UNENDED_MOST: u32 = 5;

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
    /// How many of those turns broke off: a panic, or the end of the process. At [`UNENDED_MOST`] the job is not begun again.
    pub unended: u32,
    /// When the document was created.
    pub created: Timestamp,
    /// The decision.
    pub decision: Arc<Decision>,
    /// Subject of the document, for the audit entry's lookup.
    pub subject: Option<Target>,
    /// Its files.
    pub files: Vec<FileFacts>,
}

/// What is due now.
#[derive(Debug, Clone, Default)]
pub struct DueRound {
    /// The documents, the longest overdue first.
    pub documents: Vec<DueDocument>,
    /// Rows that are due and cannot be read: table, column and row of each.
    pub unreadable: Vec<String>,
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
    /// When it fell due.
    pub due: Timestamp,
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

/// A block of the look-up of entries by patient, as stored: its entry vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditBlock {
    /// What it says.
    pub block: Block,
    /// Number of the entry that says its digest.
    pub leaf: u64,
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

impl AuditRow {
    /// What is wrong with it by itself: its text does not fit its place or its hash, or its cells do not fit its text.
    pub fn fault(&self, key: &CellKey) -> Option<Finding> {
        let wrong = |wrong| Some(Finding::Entry { seq: self.seq, wrong, after: None, before: None });
        if leaf_hash(&self.body).as_slice() != self.hash {
            return wrong(Wrong::BodyOrStoredHash);
        }
        let leaf = match Leaf::decode(&self.body) {
            Ok(leaf) => leaf,
            Err(error) => return wrong(Wrong::Leaf(error)),
        };
        if leaf.seq != self.seq {
            return wrong(Wrong::Misplaced { names: leaf.seq });
        }
        let Some(cells) = Cells::decode(&self.cells) else { return wrong(Wrong::CellsUnreadable) };
        match cells.commitment(key) {
            Ok(commitment) if commitment == leaf.commitment => None,
            Ok(_) => wrong(Wrong::CellsDiffer),
            Err(group) => wrong(Wrong::CellDamaged(group)),
        }
    }
}

/// The log's own state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditHead {
    /// Entries.
    pub size: u64,
    /// Frontier as stored.
    pub frontier: Vec<u8>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::{Action, Entry, Outcome, Prepared};
    use crate::vault::SystemEntropy;

    #[test]
    fn an_entry_that_was_changed_shows_that_by_itself() {
        let key = CellKey::new(&[9; 32]);
        let row = || {
            let prepared = Prepared::new(&Entry::new(Action::DocumentRead, Outcome::Ok), &SystemEntropy).unwrap();
            let body = prepared.leaf(3, 1_795_438_920_000_000, "t1").encode();
            let (hash, cells) = (leaf_hash(&body).to_vec(), prepared.seal(&key).unwrap());
            AuditRow { seq: 3, body, hash, cells }
        };
        let (sound, other) = (row(), row());
        assert_eq!(sound.fault(&key), None);
        let cells = AuditRow { cells: other.cells, ..sound.clone() };
        let hash = AuditRow { hash: other.hash, ..sound.clone() };
        let moved = AuditRow { seq: 4, ..sound };
        for (row, wrong) in
            [(cells, Wrong::CellsDiffer), (hash, Wrong::BodyOrStoredHash), (moved, Wrong::Misplaced { names: 3 })]
        {
            let seq = row.seq;
            assert_eq!(row.fault(&key), Some(Finding::Entry { seq, wrong, after: None, before: None }));
        }
    }
}
