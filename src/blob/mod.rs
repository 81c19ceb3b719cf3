//! The bytes of files, sealed. Here lie the contract ([`Blobs`]), the format of sealed content, and the store in local files.
//! Nothing here knows rows, policies or who may read; whose key opens a file comes from [`FileKeys`].
//!
//! [`FileKeys`]: crate::domain::content::FileKeys

mod local;
mod reader;
mod seal;

pub use crate::domain::content::{ContentRef, Placement, Stored};
pub use local::LocalBlobs;
pub use reader::ContentReader;
pub use seal::{CHUNK, INLINE_MOST};

use std::fmt;
use std::io;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};

use crate::domain::content::{KeyError, KeyId};
use crate::domain::id::FileId;

/// Bytes of plaintext that one [`OpenContent::read`] gives at most.
pub const READ_MOST: usize = 4 * CHUNK;

/// A store of sealed bytes.
///
/// - A file id is used for one file. Each attempt to store has a key of its own, so that a second one after a crash never
///   seals other bytes under the same key and nonce.
/// - What [`Incoming::finish`] returned survives the power cut that follows. What it did not return is nowhere: no error and no
///   dropped future leaves bytes behind, except a crash, after which [`Blobs::sweep`] and [`Blobs::list`] find them.
/// - Bytes that were changed, cut, swapped, reordered or put back from an older copy are never given out:
///   [`BlobError::Damaged`]. Plaintext never reaches the store's medium.
#[async_trait]
pub trait Blobs: Send + Sync + fmt::Debug {
    /// Starts to store a file of at most `limit` bytes. Costs nothing until bytes come.
    ///
    /// # Errors
    /// [`BlobError::KeyMissing`], [`BlobError::Cipher`].
    fn begin(&self, file: FileId, limit: u64) -> Result<Box<dyn Incoming>, BlobError>;

    /// Opens a stored file: finds it, unwraps its key, checks length and header. Chunks are checked as they are read.
    ///
    /// # Errors
    /// [`BlobError::Missing`], [`BlobError::Damaged`], [`BlobError::KeyMissing`], [`BlobError::Unavailable`].
    async fn open(&self, content: &ContentRef) -> Result<Box<dyn OpenContent>, BlobError>;

    /// Drops what is kept in memory of a file, or of all, because it may not be read any more. Readers that have it open go on.
    fn forget(&self, file: Option<FileId>);

    /// Removes the bytes of a file, durably, and what is kept of it in memory. A file that is not there is no error. Who purges destroys the wrapped key first.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`].
    async fn delete(&self, file: FileId) -> Result<(), BlobError>;

    /// Files whose bytes lie here whole, in the order of their ids, those after `after`, `most` at a time: a page shorter
    /// than `most` is the last. For reconciling with the rows at start.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`].
    async fn list(&self, after: Option<FileId>, most: usize) -> Result<Vec<FileId>, BlobError>;

    /// Whether this process stored the file, so that its row may only be about to come. Once told to forget, it says so of every file.
    fn stored_here(&self, file: FileId) -> bool;

    /// Forgets which files this process stored: what an earlier one left was looked for once.
    fn forget_stored(&self);

    /// Removes what attempts of an earlier process left unfinished, and says how many. Those of this process stay.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`].
    async fn sweep(&self) -> Result<u64, BlobError>;

    /// Room on the medium; `None` where there is no end to it.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`].
    async fn space(&self) -> Result<Option<Space>, BlobError>;
}

/// A file on its way in. Dropping it, or the future of one of its methods, undoes all that was written. After an error only
/// dropping makes sense.
#[async_trait]
pub trait Incoming: Send + fmt::Debug {
    /// Takes the next bytes; returns when there is room for more.
    ///
    /// # Errors
    /// [`BlobError::TooLarge`], [`BlobError::Full`], [`BlobError::Unavailable`].
    async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError>;

    /// Seals the rest and makes everything durable.
    ///
    /// # Errors
    /// [`BlobError::Full`], [`BlobError::Unavailable`], [`BlobError::Exists`].
    async fn finish(self: Box<Self>) -> Result<Stored, BlobError>;
}

/// An open file. Positional, so that one can serve several ranges at a time.
pub trait OpenContent: Send + Sync + fmt::Debug {
    /// Bytes of plaintext.
    fn size(&self) -> u64;

    /// The bytes from `offset`: `len` of them, or [`READ_MOST`], or up to the end, whichever is least; none at or after the end.
    /// Each byte given out was authenticated. Blocks for one read of the disk (tens of microseconds when cached), so up to
    /// [`READ_MOST`] may be read on an HTTP worker. Spans that start at a multiple of [`CHUNK`] open no chunk twice.
    ///
    /// # Errors
    /// [`BlobError::Damaged`], [`BlobError::Unavailable`].
    fn read(&self, offset: u64, len: usize) -> Result<Bytes, BlobError>;
}

impl dyn Blobs + '_ {
    /// Stores a whole stream. A stream that fails leaves nothing behind.
    ///
    /// # Errors
    /// [`BlobError::Source`] when the stream fails, and those of [`Incoming`].
    pub async fn put<S>(&self, file: FileId, source: &mut S, limit: u64) -> Result<Stored, BlobError>
    where
        S: Stream<Item = io::Result<Bytes>> + Unpin + ?Sized,
    {
        let mut incoming = self.begin(file, limit)?;
        while let Some(bytes) = source.next().await {
            incoming.write(bytes.map_err(|error| BlobError::Source(error.kind()))?).await?;
        }
        incoming.finish().await
    }

    /// Stores bytes that are at hand.
    ///
    /// # Errors
    /// Those of [`Incoming`].
    pub async fn put_bytes(&self, file: FileId, bytes: Bytes, limit: u64) -> Result<Stored, BlobError> {
        let mut incoming = self.begin(file, limit)?;
        incoming.write(bytes).await?;
        incoming.finish().await
    }

    /// Stores the content of one file again as another, under a key of its own. The digests are those of the bytes read, so
    /// that the caller can hold them against the ones it knows.
    ///
    /// # Errors
    /// Those of [`Blobs::open`], [`OpenContent::read`] and [`Incoming`].
    pub async fn copy(&self, from: &ContentRef, to: FileId) -> Result<Stored, BlobError> {
        let content = self.open(from).await?;
        let mut incoming = self.begin(to, content.size())?;
        let mut offset = 0;
        while offset < content.size() {
            let bytes = content.read(offset, READ_MOST)?;
            offset += to_u64(bytes.len());
            incoming.write(bytes).await?;
        }
        incoming.finish().await
    }
}

/// Room on a medium, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// All there is.
    pub total: u64,
    /// What this process may still fill.
    pub available: u64,
    /// Whether files can still be made (inodes); `false` is as good as full.
    pub more_files: bool,
}

impl Space {
    /// Hundredths in use, rounded up; 100 when no more files can be made.
    pub fn used_percent(&self) -> u8 {
        if self.total == 0 || !self.more_files {
            return 100;
        }
        let used = u128::from(self.total.saturating_sub(self.available));
        u8::try_from((used * 100).div_ceil(u128::from(self.total))).unwrap_or(100)
    }
}

/// Why bytes could not be stored or read. The texts are for the operator: they hold no content, no name and no key.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// More bytes came than the limit.
    #[error("more than {limit} bytes came")]
    TooLarge {
        /// Bytes.
        limit: u64,
    },
    /// No room: disk, quota, inodes or largest file size.
    #[error("there is no room for the file")]
    Full,
    /// The stream that was to be stored failed.
    #[error("the bytes to be stored stopped coming: {0}")]
    Source(io::ErrorKind),
    /// The medium failed; trying again later, as a new attempt, makes sense.
    #[error("the blob store failed to {step}: {source}")]
    Unavailable {
        /// What was being done.
        step: &'static str,
        /// The system's words.
        source: io::Error,
    },
    /// No bytes under this id.
    #[error("the file is not in the blob store")]
    Missing,
    /// What lies there is not what was stored.
    #[error("the stored file is damaged: {0}")]
    Damaged(&'static str),
    /// There are bytes under this id already; they were left alone.
    #[error("there is a file of this id already")]
    Exists,
    /// The file's key is wrapped under a key-encryption key that is not at hand.
    #[error("the encryption key {0} is not in the given source")]
    KeyMissing(KeyId),
    /// The cipher refused to work, or the attempt had failed before.
    #[error("the file could not be sealed")]
    Cipher,
}

impl BlobError {
    /// An I/O failure while doing `step`.
    fn io(step: &'static str, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Self::Full,
            _ => Self::Unavailable { step, source },
        }
    }
}

impl From<KeyError> for BlobError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Missing(id) => Self::KeyMissing(id),
            KeyError::Damaged => Self::Damaged("its key does not open"),
            KeyError::Cipher => Self::Cipher,
        }
    }
}

/// No machine of ours has addresses beyond 64 bits.
fn to_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
