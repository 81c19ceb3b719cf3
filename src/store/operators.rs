//! People who may act, approvals that wait for a second person, legal holds, and what is held back: records and calls.

use std::sync::Arc;

use async_trait::async_trait;

use super::{SealedEntry, StoreError, Written};
use crate::domain::audit::effect::registration;
use crate::domain::clock::Timestamp;
use crate::domain::id::{OperatorId, ResourceId};
use crate::domain::lifecycle::{Evidence, Transition};
use crate::domain::operator::{HeldBack, Override, Role};
use crate::domain::policy::Decision;
use crate::domain::resource::{DocumentNumber, Target};

/// An operator as registered.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredOperator {
    /// Registered id.
    pub id: OperatorId,
    /// What the person may do.
    pub role: Role,
    /// Argon2id hash of the password, in the PHC string format.
    pub password: String,
    /// Disabled operators may do nothing, and their approvals count for nothing.
    pub disabled: bool,
    /// When it was registered.
    pub created: Timestamp,
}

impl StoredOperator {
    /// The digest of role and password.
    pub fn registration(&self) -> String {
        registration(&serde_json::json!([self.role.as_str(), self.password]).to_string())
    }
}

impl std::fmt::Debug for StoredOperator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoredOperator({} {})", self.id, self.role.as_str())
    }
}

/// The first person's word, as it waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// About what.
    pub subject: HeldBack,
    /// Whose.
    pub by: OperatorId,
    /// When it was given.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

/// A legal hold to be laid on a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewHold {
    /// The document.
    pub document: DocumentNumber,
    /// Who orders it (court, authority), if that was said.
    pub authority: Option<String>,
    /// Why.
    pub reason: String,
    /// Who laid it, as the steps of a document name actors.
    pub actor: String,
    /// When.
    pub at: Timestamp,
}

/// A legal hold that is active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Its number; never used again.
    pub number: u64,
    /// The document's id.
    pub id: ResourceId,
    /// What it was laid on and how.
    pub laid: NewHold,
}

/// A document that is held back.
#[derive(Debug, Clone)]
pub struct Quarantined {
    /// What an approval would be about.
    pub subject: HeldBack,
    /// Its id.
    pub id: ResourceId,
    /// Its version.
    pub version: u32,
    /// When it was created.
    pub created: Timestamp,
    /// When it is destroyed by itself.
    pub due: Option<Timestamp>,
    /// The decision.
    pub decision: Arc<Decision>,
    /// Its subject, for the audit entry's lookup; never shown.
    pub about: Option<Target>,
    /// Reason of the step that held it back.
    pub reason: String,
    /// What an engine found where; absent where none gave a verdict.
    pub evidence: Option<Evidence>,
    /// Whether a legal hold is on it.
    pub held: bool,
    /// Approvals that were given for it, also by operators who were disabled since, also expired ones.
    pub approvals: Vec<Approval>,
}

/// Calls about operators and what they oversee. The rules of [`super::Store`] hold for them.
#[async_trait]
pub trait Operators {
    /// Registers an operator. [`StoreError::AlreadyExists`] when the id is taken, also by a disabled one.
    async fn add_operator(&self, operator: StoredOperator, entry: SealedEntry) -> Result<(), StoreError>;

    /// Switches an operator off and forgets what approvals it gave. `false`: there is none, or it is off; nothing is written.
    async fn disable_operator(&self, id: &OperatorId, entry: SealedEntry) -> Result<bool, StoreError>;

    /// An operator by id, also a disabled one.
    async fn operator(&self, id: &OperatorId) -> Result<Option<StoredOperator>, StoreError>;

    /// All operators, by id.
    async fn operators(&self) -> Result<Vec<StoredOperator>, StoreError>;

    /// Documents that are held back, the longest first, at most `limit`.
    async fn quarantined(&self, limit: usize) -> Result<Vec<Quarantined>, StoreError>;

    /// The same of one document; `None` when it is not held back.
    async fn quarantined_document(&self, document: DocumentNumber) -> Result<Option<Quarantined>, StoreError>;

    /// Keeps the first person's word; a later one of the same person takes its place. [`StoreError::Changed`] when the
    /// document is not held back since then, or the operator is not there or disabled.
    async fn ask_approval(&self, approval: Approval, entry: SealedEntry) -> Result<(), StoreError>;

    /// Releases a document by an override: the first person's word is used up in the same commit. [`StoreError::Changed`]
    /// when that word is not there any more, one of the two is disabled, or the document is not held back since then.
    async fn release_overruled(
        &self,
        agreed: &Override,
        transition: Transition,
        entries: Vec<SealedEntry>,
    ) -> Result<Written, StoreError>;

    /// Lays a hold on a document and answers its number. [`StoreError::Changed`] when the document is not there or is purged.
    async fn add_hold(&self, hold: NewHold, entry: SealedEntry) -> Result<u64, StoreError>;

    /// Takes a hold off. `false`: it is not active; nothing is written.
    async fn release_hold(&self, number: u64, at: Timestamp, entry: SealedEntry) -> Result<bool, StoreError>;

    /// Active holds of one document, or of all, by number, at most `limit`.
    async fn holds(&self, document: Option<DocumentNumber>, limit: usize) -> Result<Vec<Hold>, StoreError>;
}
