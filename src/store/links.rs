//! Links that have a row, and their uses, as a part of the store's trait. A use begins with one conditional write and counts
//! when the whole was received; what of it lives in memory only (parts, traffic) is [`crate::domain::claim`]'s.
//!
//! A claim belongs to the process that made it. At the start nobody holds one: those that were marked as closing count as used,
//! because their last byte may have arrived, and all others are given back, because it never left.

use async_trait::async_trait;
use ipnet::IpNet;

use super::{SealedEntry, StoreError};
use crate::domain::claim::ClaimNumber;
use crate::domain::clock::Timestamp;
use crate::domain::id::{FileId, LinkId};
use crate::domain::link::{Claims, LinkNumber};
use crate::domain::principal::ClientNumber;

/// What uses are counted by: file and recipient (the client that the link was given to, and whom it named).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Counted {
    /// The file.
    pub file: FileId,
    /// The client.
    pub reader: ClientNumber,
    /// Digest of the recipient that the link names.
    pub recipient: Option<[u8; 32]>,
}

/// A link with a row.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkRow {
    /// Its number, in its text.
    pub number: LinkNumber,
    /// Its id. A confirmed link made from it has this row and is this link in every record.
    pub id: LinkId,
    /// What its uses count by.
    pub counted: Counted,
    /// Whole deliveries that it allows; 0: not limited.
    pub uses: u32,
    /// Where it works.
    pub network: Option<IpNet>,
    /// Whether a person must press a button first.
    pub confirm: bool,
    /// Name of the file for whoever opens it by this link. May be patient data.
    pub file_name: Option<String>,
    /// Its last moment.
    pub expires: Timestamp,
}

impl LinkRow {
    /// Whether it is the row of the link that says `claims`: of its file and its reader.
    pub fn is_of(&self, claims: &Claims) -> bool {
        (self.counted.file, self.counted.reader) == (claims.file, claims.reader)
    }
}

impl std::fmt::Debug for LinkRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkRow").field("id", &self.id).field("uses", &self.uses).finish_non_exhaustive()
    }
}

/// Where the uses of a file by a recipient stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Uses {
    /// Whole deliveries.
    pub used: u32,
    /// Claims that are open.
    pub open: u32,
    /// When the newest whole delivery began; `None` before the first.
    pub last: Option<Timestamp>,
}

/// Answer of [`LinkUses::claim_use`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claimed {
    /// The use is this claim's.
    Yes(ClaimNumber),
    /// The last use is under way.
    Busy,
    /// There is none left. When the newest use began, where that is known.
    Used(Option<Timestamp>),
}

/// Links with rows, and uses.
#[async_trait]
pub trait LinkUses: Send + Sync + std::fmt::Debug {
    /// Keeps a link. [`StoreError::AlreadyExists`] when its number is taken: nothing is written, another is to be tried.
    async fn add_link(&self, link: LinkRow, entry: SealedEntry) -> Result<(), StoreError>;

    /// The link of a number.
    async fn link(&self, number: LinkNumber) -> Result<Option<LinkRow>, StoreError>;

    /// Where uses stand.
    async fn link_uses(&self, counted: &Counted) -> Result<Uses, StoreError>;

    /// Claims a use if there are fewer than `most` uses and claims; gives back `over` first, in the same write.
    async fn claim_use(
        &self,
        counted: &Counted,
        most: u32,
        over: Vec<ClaimNumber>,
        now: Timestamp,
    ) -> Result<Claimed, StoreError>;

    /// Marks a claim, or takes the mark away: after a crash a marked one counts as used. `false`: it is no longer there.
    async fn mark_claim(&self, claim: ClaimNumber, closing: bool) -> Result<bool, StoreError>;

    /// Ends a claim as used. `false`: it is no longer there (its file was purged).
    async fn close_claim(&self, claim: ClaimNumber) -> Result<bool, StoreError>;

    /// Gives claims back.
    async fn give_back(&self, claims: Vec<ClaimNumber>) -> Result<(), StoreError>;
}
