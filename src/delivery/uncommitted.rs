//! Bytes that are stored and that no commit names yet. Whoever stores them may end at any moment: a refusal, a connection that is reset, a
//! task that is cancelled. They go with the last one that knows of them, except once a commit that may name them is under way.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::blob::Blobs;
use crate::domain::content::{Placement, Stored};
use crate::domain::id::FileId;
use crate::store::StoreError;

/// Removals that run beside requests at most. What comes beyond them stays until the next start.
const AT_ONCE: usize = 1_024;

/// Pauses before a removal is tried again, where the medium fails.
const AGAIN: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(20)];

/// Removes what nobody will name, beside everything else.
#[derive(Debug, Clone)]
pub(super) struct Removals {
    blobs: Arc<dyn Blobs>,
    places: Arc<Semaphore>,
}

impl Removals {
    pub(super) fn new(blobs: Arc<dyn Blobs>) -> Self {
        Self { blobs, places: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Begins to watch over what one request stores.
    pub(super) fn watch(&self) -> Uncommitted {
        Uncommitted { removals: self.clone(), files: Vec::new() }
    }

    /// Those that could not be removed.
    async fn remove(&self, files: &[FileId]) -> Vec<FileId> {
        let mut left = Vec::new();
        for file in files {
            if self.blobs.delete(*file).await.is_err() {
                left.push(*file);
            }
        }
        left
    }

    async fn remove_in_time(self, mut files: Vec<FileId>) {
        for pause in AGAIN {
            files = self.remove(&files).await;
            if files.is_empty() {
                return;
            }
            tokio::time::sleep(pause).await;
        }
        for file in self.remove(&files).await {
            tracing::warn!(file = %file, "bytes that no document names stay until the next start");
        }
    }
}

/// What one request has stored. Dropped, it removes that.
#[derive(Debug)]
pub(super) struct Uncommitted {
    removals: Removals,
    files: Vec<FileId>,
}

impl Uncommitted {
    /// Takes what was stored, before anything else is waited for.
    pub(super) fn take(&mut self, stored: &Stored) {
        // What lies with its row is nowhere before the commit.
        if stored.placement == Placement::File {
            self.files.push(stored.file);
        }
    }

    /// Removes everything at once; what cannot be removed now is tried again beside.
    pub(super) async fn undo(mut self) {
        self.files = self.removals.remove(&self.files).await;
    }

    /// Lets a commit that names the files run to its end, whatever becomes of the caller, and keeps or removes them by what it came to.
    /// Of one without an answer only the next start knows whether it holds: its bytes stay until then.
    ///
    /// # Errors
    /// Those of `commit`.
    pub(super) async fn commit<T: Send + 'static>(
        mut self,
        commit: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        // From here on these names belong to the commit: a runtime that ends in the middle of it removes nothing.
        let (files, removals) = (std::mem::take(&mut self.files), self.removals.clone());
        let committing = tokio::spawn(async move {
            let done = commit.await;
            if !matches!(done, Ok(_) | Err(StoreError::Unknown(_))) {
                Self { removals, files }.undo().await;
            }
            done
        });
        committing.await.unwrap_or_else(|gone| Err(StoreError::Unknown(gone.into())))
    }
}

impl Drop for Uncommitted {
    fn drop(&mut self) {
        let files = std::mem::take(&mut self.files);
        if files.is_empty() {
            return;
        }
        let place = Arc::clone(&self.removals.places).try_acquire_owned();
        match (tokio::runtime::Handle::try_current(), place) {
            (Ok(runtime), Ok(place)) => {
                let removals = self.removals.clone();
                runtime.spawn(async move {
                    let _place = place;
                    removals.remove_in_time(files).await;
                });
            }
            _ => tracing::warn!(files = files.len(), "bytes that no document names stay until the next start"),
        }
    }
}
