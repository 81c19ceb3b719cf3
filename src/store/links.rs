//! Links that have a row, and their uses, as a part of the store's trait. Each attempt at a use begins with one conditional write,
//! which reserves its length, and ends with one that says what was acknowledged; the rules are those of [`crate::domain::claim`], applied
//! within the transaction.
//!
//! Attempts belong to the process that began them. At the start none is under way: of those that were left the whole length counts as
//! handed out, and those that were marked as closing count as spent, because their last byte may have arrived.

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use ipnet::IpNet;

use super::{SealedEntry, StoreError};
use crate::domain::claim::{Asked, AttemptNumber, Claim, Settlement, SpentClaim, Standing};
use crate::domain::clock::Timestamp;
use crate::domain::id::{FileId, LinkId};
use crate::domain::link::{Claims, LinkNumber};
use crate::domain::principal::ClientNumber;

/// How long a link's row is kept after its time, for who asks what became of it.
pub const LINK_ROWS_KEPT: Duration = Duration::from_secs(30 * 86_400);

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

/// A GET by a counted link, as the store is asked to begin it.
#[derive(Debug, Clone)]
pub struct Begin {
    /// What its uses count by.
    pub counted: Counted,
    /// Uses that the link allows.
    pub most: u32,
    /// Bytes of the file.
    pub size: u64,
    /// What it asks for.
    pub asked: Asked,
    /// Where it comes from.
    pub from: IpAddr,
    /// Its first piece holds all that it asks for: if that makes the file whole, the attempt is closing from the start.
    pub is_one_piece: bool,
    /// What is known of earlier attempts and not settled yet.
    pub settlements: Vec<Settlement>,
    /// The entry that says that sending begins; written only if it does.
    pub entry: SealedEntry,
    /// When.
    pub at: Timestamp,
    /// For how long a claim whose attempt ended whole is kept for its address.
    pub grace: Duration,
}

/// Answer of [`LinkUses::begin_attempt`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// Claims that were spent by the settlements.
    pub spent: Vec<SpentClaim>,
    /// Whether it begins.
    pub outcome: BeginOutcome,
}

/// Whether an attempt begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BeginOutcome {
    /// It does, and its length is reserved.
    Yes(Box<BegunAttempt>),
    /// The last use is under way.
    Busy,
    /// There is none left.
    Used {
        /// When the newest spent use began, where there is one.
        last: Option<Timestamp>,
        /// What there was, was handed out twice without a whole download.
        twice: bool,
    },
}

/// An attempt that begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BegunAttempt {
    /// Its claim, with it.
    pub claim: Claim,
    /// Its number.
    pub attempt: AttemptNumber,
    /// It is marked as closing.
    pub closing: bool,
    /// No further use could begin now.
    pub is_last: bool,
    /// Number of the entry that says that it begins.
    pub seq: u64,
}

/// Links with rows, and uses.
#[async_trait]
pub trait LinkUses: Send + Sync + std::fmt::Debug {
    /// Keeps a link. [`StoreError::AlreadyExists`] when its number is taken: nothing is written, another is to be tried.
    async fn add_link(&self, link: LinkRow, entry: SealedEntry) -> Result<(), StoreError>;

    /// The link of a number.
    async fn link(&self, number: LinkNumber) -> Result<Option<LinkRow>, StoreError>;

    /// All that stands against a GET by a link of `most` uses, and when the newest spent use began.
    async fn standing(
        &self,
        counted: &Counted,
        most: u32,
        size: u64,
    ) -> Result<(Standing, Option<Timestamp>), StoreError>;

    /// Settles, then begins an attempt if [`Standing::choose`] says so, in one write.
    async fn begin_attempt(&self, begin: Begin) -> Result<Begun, StoreError>;

    /// Marks an attempt as closing: after a crash its use is spent. `false`: it is no longer there (its file was purged).
    async fn mark_closing(&self, attempt: AttemptNumber) -> Result<bool, StoreError>;

    /// Settles what became of attempts at a file of `size` bytes. A claim whose
    /// attempt ended whole is kept for its address until `kept_until`. What was settled before, or whose file was purged, has no effect.
    async fn settle(
        &self,
        counted: &Counted,
        size: u64,
        settlements: Vec<Settlement>,
        kept_until: Timestamp,
    ) -> Result<Vec<SpentClaim>, StoreError>;
}
