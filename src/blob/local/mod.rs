//! The store in local files. Contents up to a threshold are sealed in memory and handed back, to lie with their rows; larger
//! ones become files `blobs/ab/cd/<id>`, written under a temporary name, synced, renamed, their folder synced. Files are 0600,
//! folders 0700. [`disk`] touches the file system, [`incoming`] writes, [`content`] reads,
//! [`cache`] keeps what is read often.

mod cache;
mod content;
mod disk;
mod incoming;
#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use super::{BlobError, Blobs, ContentRef, INLINE_MOST, Incoming, OpenContent, Placement, Space};
use crate::domain::clock::Entropy;
use crate::domain::content::{DataKey, FileKeys};
use crate::domain::id::FileId;
use crate::failpoint::{self, Point};
use cache::Cache;
use content::{FileContent, MemoryContent};
use disk::Disk;
use incoming::LocalIncoming;

/// Sealed content in the data folder.
#[derive(Debug)]
pub struct LocalBlobs {
    disk: Arc<Disk>,
    keys: Arc<dyn FileKeys>,
    entropy: Arc<dyn Entropy>,
    inline_most: u64,
    cache: Option<Arc<Cache>>,
}

impl LocalBlobs {
    /// Opens or makes `blobs` in the data folder. Contents of at most `inline_most` bytes (never more than [`INLINE_MOST`])
    /// are handed back as [`Placement::Inline`]. One process at a time: who calls holds the lock of the folder.
    ///
    /// # Errors
    /// [`BlobError::Full`], [`BlobError::Unavailable`].
    pub fn open(
        data_dir: &Path,
        inline_most: usize,
        keys: Arc<dyn FileKeys>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, BlobError> {
        let disk = Disk::open(data_dir, FileId::random(entropy.as_ref()))?;
        let inline_most = super::to_u64(inline_most.min(INLINE_MOST));
        Ok(Self { disk: Arc::new(disk), keys, entropy, inline_most, cache: None })
    }

    /// Keeps up to `bytes` of opened files of at most 1 MiB that are read again and again in memory; zero: nothing.
    #[must_use]
    pub fn with_cache(self, bytes: usize) -> Self {
        Self { cache: Cache::of(bytes), ..self }
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        step: &'static str,
        work: impl FnOnce(&Disk) -> Result<T, BlobError> + Send + 'static,
    ) -> Result<T, BlobError> {
        let disk = Arc::clone(&self.disk);
        tokio::task::spawn_blocking(move || work(&disk)).await.map_err(|gone| cut_short(step, gone))?
    }
}

/// A blocking task that was stopped by shutdown, or died.
fn cut_short(step: &'static str, error: tokio::task::JoinError) -> BlobError {
    BlobError::Unavailable { step, source: io::Error::other(error) }
}

#[async_trait]
impl Blobs for LocalBlobs {
    fn begin(&self, file: FileId, limit: u64) -> Result<Box<dyn Incoming>, BlobError> {
        failpoint::here(Point::UploadBegun);
        let key = DataKey::random(self.entropy.as_ref());
        let wrapped = self.keys.wrap(file, &key)?;
        let temporary = FileId::random(self.entropy.as_ref());
        let incoming =
            LocalIncoming::new(Arc::clone(&self.disk), file, temporary, &key, wrapped, (limit, self.inline_most))?;
        Ok(Box::new(incoming))
    }

    async fn open(&self, content: &ContentRef) -> Result<Box<dyn OpenContent>, BlobError> {
        let key = self.keys.unwrap(content.file, &content.wrapped_key)?;
        match &content.placement {
            Placement::Inline(sealed) => Ok(Box::new(MemoryContent::open(content.file, &key, content.size, sealed)?)),
            // Opening takes microseconds: a hop to another thread would cost more.
            Placement::File => {
                let file = self.disk.open_object(content.file)?;
                let opened = FileContent::open(file, content.file, &key, content.size)?;
                Ok(Box::new(opened.kept_in(self.cache.clone())))
            }
        }
    }

    fn forget(&self, file: Option<FileId>) {
        if let Some(cache) = &self.cache {
            cache.forget(file);
        }
    }

    async fn delete(&self, file: FileId) -> Result<(), BlobError> {
        self.forget(Some(file));
        self.on_disk("delete a file", move |disk| disk.delete(file)).await
    }

    async fn list(&self, after: Option<FileId>, most: usize) -> Result<Vec<FileId>, BlobError> {
        self.on_disk("list files", move |disk| disk.list(after, most)).await
    }

    fn stored_here(&self, file: FileId) -> bool {
        self.disk.placed_here(file)
    }

    fn forget_stored(&self) {
        self.disk.forget_placed();
    }

    async fn sweep(&self) -> Result<u64, BlobError> {
        self.on_disk("sweep temporary files", Disk::sweep).await
    }

    async fn space(&self) -> Result<Option<Space>, BlobError> {
        self.disk.space().map(Some)
    }
}
