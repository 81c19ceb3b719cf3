//! The index of given links, as a part of the store's trait: who holds which link, of which document, until when. A row is
//! written in the commit of the entry that offers or issues the link ([`super::SealedEntry::given`]) and is forgotten when the
//! link's time is over or its file is purged.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::clock::Timestamp;
use crate::domain::epoch::{Scope, Subject};
use crate::domain::id::{FileId, LinkId};
use crate::domain::link::LinkNumber;
use crate::domain::resource::DocumentNumber;

/// A link that was given. Links are told apart by document and id; a link that is offered again is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenLink {
    /// Its id.
    pub id: LinkId,
    /// Its file.
    pub file: FileId,
    /// Its reader and document; the patient is the document's as it stands when this is read.
    pub subject: Subject,
    /// The epoch that it carries.
    pub epoch: u32,
    /// Its row, where it has one.
    pub row: Option<LinkNumber>,
    /// Its last moment.
    pub expires: Timestamp,
}

/// A link that an entry of the log gave before there was an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gathered {
    /// The link. Its row and its epoch are not in the log: the store finds the row, and the epoch by the entry's time.
    pub link: GivenLink,
    /// When the entry was made.
    pub at: Timestamp,
}

/// The index.
#[async_trait]
pub trait GivenLinks: Send + Sync + std::fmt::Debug {
    /// The link with an id; `None` when it was never given, or is forgotten.
    async fn given_link(&self, id: &LinkId) -> Result<Option<GivenLink>, StoreError>;

    /// Links that a revocation of `scope` concerns and whose time is not over at `now`, behind `after`, at most `limit`, by
    /// document and id.
    async fn given_links(
        &self,
        scope: &Scope,
        now: Timestamp,
        after: Option<(DocumentNumber, LinkId)>,
        limit: usize,
    ) -> Result<Vec<GivenLink>, StoreError>;

    /// The number of entries of the log whose links may not be in the index; 0 for none.
    async fn given_backlog(&self) -> Result<u64, StoreError>;

    /// Adds links from entries of before the index; entries below `left` are still to be looked at, 0 for none.
    async fn gather(&self, links: Vec<Gathered>, left: u64) -> Result<(), StoreError>;
}
