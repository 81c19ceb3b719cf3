//! Bytes against rows, in pages: bytes that no row names, which a crash before the commit left, are removed; rows whose bytes are not
//! there are told of. Only what an earlier process left is removed, so that uploads may run meanwhile.

use super::Delivery;
use super::failure::{blob_failure, store_failure};
use crate::domain::id::FileId;
use crate::domain::refusal::Refusal;
use crate::failpoint::{self, Point};

/// Files that are compared at once.
const PAGE: usize = 1_000;

/// Where a comparison goes on, and what it found so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Bytes without a row that were removed.
    pub orphans: u64,
    /// Bytes without a row that were kept.
    pub kept: u64,
    /// Rows whose bytes are not there (alarm: content is lost or the folder was changed by hand).
    pub missing: u64,
    next: Next,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Bytes(Option<FileId>),
    Rows(Option<FileId>),
    Nothing,
}

impl Default for Next {
    fn default() -> Self {
        Self::Bytes(None)
    }
}

impl Reconciled {
    /// Whether everything was compared.
    pub fn is_done(&self) -> bool {
        self.next == Next::Nothing
    }
}

impl Delivery {
    /// Removes what attempts of an earlier process left unfinished. The rest of what a crash leaves harms nobody and can wait.
    ///
    /// # Errors
    /// Failures of the parts.
    pub async fn tidy(&self) -> Result<u64, Refusal> {
        self.blobs.sweep().await.map_err(blob_failure)
    }

    /// Compares one more page.
    ///
    /// # Errors
    /// Failures of the parts.
    pub async fn reconcile_page(&self, so_far: Reconciled) -> Result<Reconciled, Refusal> {
        match so_far.next {
            Next::Bytes(after) => self.remove_orphans(so_far, after).await,
            Next::Rows(after) => self.find_missing(so_far, after).await,
            Next::Nothing => Ok(so_far),
        }
    }

    async fn remove_orphans(&self, so_far: Reconciled, after: Option<FileId>) -> Result<Reconciled, Refusal> {
        let files = self.blobs.list(after, PAGE).await.map_err(blob_failure)?;
        let known = self.store.known_files(&files).await.map_err(store_failure)?;
        let (mut orphans, mut kept) = (so_far.orphans, so_far.kept);
        for (file, _) in files.iter().zip(known).filter(|(_, known)| !known) {
            if self.terms.keep_strange_bytes {
                kept += 1;
            } else if !self.blobs.stored_here(*file) {
                self.blobs.delete(*file).await.map_err(blob_failure)?;
                orphans += 1;
                failpoint::here(Point::OrphanRemoved);
            }
        }
        if files.len() < PAGE {
            self.blobs.forget_stored();
            return Ok(Reconciled { orphans, kept, next: Next::Rows(None), ..so_far });
        }
        Ok(Reconciled { orphans, kept, next: Next::Bytes(files.last().copied()), ..so_far })
    }

    async fn find_missing(&self, so_far: Reconciled, after: Option<FileId>) -> Result<Reconciled, Refusal> {
        let rows = self.store.files_in_blobs(after, PAGE).await.map_err(store_failure)?;
        let Some(last) = rows.last().copied() else {
            return Ok(Reconciled { next: Next::Nothing, ..so_far });
        };
        let there = self.blobs.list(after, PAGE).await.map_err(blob_failure)?;
        let end = if there.len() < PAGE { last } else { there.last().copied().unwrap_or(last).min(last) };
        let is_absent = |file: &&FileId| **file <= end && there.binary_search(file).is_err();
        let absent: Vec<FileId> = rows.iter().filter(is_absent).copied().collect();
        // What was purged between the two looks is not missing.
        let still = self.store.known_files(&absent).await.map_err(store_failure)?;
        let mut missing = so_far.missing;
        for (file, _) in absent.iter().zip(still).filter(|(_, known)| *known) {
            tracing::error!(file = %file, "a file's bytes are not in the blob store");
            missing += 1;
        }
        Ok(Reconciled { missing, next: Next::Rows(Some(end)), ..so_far })
    }
}
