//! What recipients said became of documents, as a part of the store's trait.

use async_trait::async_trait;

use super::{SealedEntry, StoreError};
use crate::domain::acknowledgement::Acknowledgement;
use crate::domain::clock::Timestamp;
use crate::domain::id::ClientId;
use crate::domain::principal::ClientNumber;
use crate::domain::resource::DocumentNumber;

/// What the acknowledgements of a document say so far; the source's own count for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Acknowledged {
    /// Clients whose last word is that they imported it.
    pub imported: Vec<ClientId>,
    /// The earliest of those words.
    pub first: Option<Timestamp>,
}

/// Acknowledgements.
#[async_trait]
pub trait Acknowledgements {
    /// Keeps what a reader says, in place of what it said before; the same word again keeps its first time.
    async fn acknowledge(
        &self,
        document: DocumentNumber,
        reader: ClientNumber,
        word: (Acknowledgement, Timestamp),
        entry: SealedEntry,
    ) -> Result<Acknowledged, StoreError>;

    /// The clients that are named as recipients of a document, by itself or by policy.
    async fn recipients(&self, document: DocumentNumber) -> Result<Vec<ClientId>, StoreError>;
}
