//! The index of given links, as a part of the store's trait: who holds which link, of which document, until when. A row is
//! written in the commit of the entry that offers or issues the link ([`super::SealedEntry::given`]) and is forgotten when the
//! link's time is over or its file is purged.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::audit::given::Given;
use crate::domain::clock::Timestamp;
use crate::domain::epoch::{Scope, Subject};
use crate::domain::id::{ClientId, FileId, LinkId};
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
    /// Its number.
    pub leaf: u64,
}

/// A link as the index keeps it: true if its entry says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptLink {
    /// The link.
    pub link: GivenLink,
    /// Number of the entry that gave it.
    pub leaf: Option<u64>,
}

/// A row of the index as stored, for who checks it: nothing vouches for it but the entry that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkRecord {
    /// Number of its document.
    pub document: i64,
    /// Its id, as text.
    pub id: String,
    /// Number of the entry that gave it.
    pub leaf: Option<u64>,
    file: Vec<u8>,
    client: Option<String>,
    expires: Timestamp,
    /// The document that the file's own row names.
    document_of_file: Option<i64>,
}

/// Document, id, file, client's id, entry, end, document of the file.
pub(super) type LinkColumns = (i64, String, Vec<u8>, Option<String>, Option<i64>, i64, Option<i64>);

impl LinkRecord {
    /// A row as it is read.
    pub(super) fn new(row: LinkColumns) -> Self {
        let (document, id, file, client, leaf, expires, document_of_file) = row;
        let leaf = leaf.and_then(|leaf| u64::try_from(leaf).ok());
        Self { document, id, leaf, file, client, expires: Timestamp::from_millis(expires), document_of_file }
    }

    /// Whether an entry gave it, as it stands.
    pub fn is_of(&self, given: &Given) -> bool {
        let file = self.file.as_slice().try_into().ok().map(FileId::from_bytes);
        let named = LinkId::parse(&self.id).zip(file).map(|(id, file)| (id, file, self.expires));
        let client = self.client.as_deref().and_then(ClientId::parse);
        self.document_of_file == Some(self.document)
            && named.zip(client).is_some_and(|(named, client)| given.gave(&named, &client))
    }
}

/// The index.
#[async_trait]
pub trait GivenLinks: Send + Sync + std::fmt::Debug {
    /// The link with an id; `None` when it was never given, or is forgotten.
    async fn given_link(&self, id: &LinkId) -> Result<Option<KeptLink>, StoreError>;

    /// Links that a revocation of `scope` concerns and whose time is not over at `now`, behind `after`, at most `limit`, by
    /// document and id.
    async fn given_links(
        &self,
        scope: &Scope,
        now: Timestamp,
        after: Option<(DocumentNumber, LinkId)>,
        limit: usize,
    ) -> Result<Vec<GivenLink>, StoreError>;

    /// Every link of the index, alive or not, behind `after`, at most `limit`, by document and id.
    async fn kept_links(
        &self,
        after: Option<(DocumentNumber, LinkId)>,
        limit: usize,
    ) -> Result<Vec<KeptLink>, StoreError>;

    /// Empties the index, with the entry that says so: all entries of the log are to be gathered from again.
    async fn renew_given(&self, entry: super::SealedEntry) -> Result<(), StoreError>;

    /// The number of entries of the log whose links may not be in the index; 0 for none.
    async fn given_backlog(&self) -> Result<u64, StoreError>;

    /// Adds links from entries of before the index; entries below `left` are still to be looked at, 0 for none.
    async fn gather(&self, links: Vec<Gathered>, left: u64) -> Result<(), StoreError>;
}
