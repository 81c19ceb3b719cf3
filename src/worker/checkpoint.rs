//! Signed checkpoints of the audit log: what is signed only ever grows, and what was signed last lies in a folder of its own
//! (best on another volume) before anybody sees it, so that a database put back from an older copy is noticed.

use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::supervisor::guarded;
use crate::delivery::still_at_work;
use crate::domain::audit::note::sign_next;
use crate::domain::audit::{Checkpoint, Frontier, Hash, SigningKey};
use crate::domain::clock::{Clock, Timestamp};
use crate::failpoint::{self, Point};
use crate::store::{Store, StoreError};

/// A row in the database is kept this often at most; the folder has the newest one always.
const ROW_EVERY: Duration = Duration::from_secs(60);

/// Leaf hashes that are read at once.
const PAGE: usize = 1_000;

/// Name of the newest checkpoint in the folder.
const NEWEST: &str = "checkpoint";

/// Why no checkpoint was signed.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The log could not be read.
    #[error("the log cannot be read: {0}")]
    Store(#[from] StoreError),
    /// The stored tree does not continue what was signed: signing would vouch for two histories.
    #[error("the log does not continue what was signed before")]
    NotGrown,
    /// The checkpoint folder cannot be written.
    #[error("the checkpoint folder cannot be written: {0}")]
    Folder(#[from] std::io::Error),
}

/// Is told the moment of each checkpoint that lies in the folder.
pub type Published = Arc<dyn Fn(Timestamp) + Send + Sync>;

/// Signs the log's checkpoints, one at a time.
pub struct Checkpointer {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    key: SigningKey,
    origin: String,
    folder: PathBuf,
    then: Frontier,
    last: Option<Checkpoint>,
    kept: Option<Timestamp>,
    published: Option<Published>,
}

impl fmt::Debug for Checkpointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Checkpointer({})", self.origin)
    }
}

impl Checkpointer {
    /// Goes on from a log that was verified whole: `verified` is its tree. `key` is named by the log's origin.
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        key: SigningKey,
        folder: PathBuf,
        verified: Frontier,
    ) -> Self {
        let origin = key.verifying_key().name().to_owned();
        Self { store, clock, key, origin, folder, then: verified, last: None, kept: None, published: None }
    }

    /// Tells of each checkpoint that reached the folder; who sees none for a while knows that the folder cannot be written.
    #[must_use]
    pub fn telling(mut self, published: Published) -> Self {
        self.published = Some(published);
        self
    }

    /// Signs the log as it stands now, if it has grown.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub async fn sign(&mut self) -> Result<(), CheckpointError> {
        self.sign_now(false).await
    }

    /// Signs for the first time, at a start, which nothing that goes wrong here may keep from serving: the loop tries again.
    ///
    /// # Errors
    /// What went wrong, in words.
    pub async fn sign_first(&mut self) -> Result<(), String> {
        match guarded(self.sign()).await {
            Some(signed) => signed.map_err(|error| error.to_string()),
            None => Err("panicked".to_owned()),
        }
    }

    /// Signs whatever is not signed yet and keeps it in the database too.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub async fn finish(&mut self) -> Result<(), CheckpointError> {
        self.sign_now(true).await
    }

    async fn sign_now(&mut self, keep: bool) -> Result<(), CheckpointError> {
        let head = self.store.audit_head().await?;
        if head.size == 0 || (!keep && self.last.as_ref().is_some_and(|last| last.size == head.size)) {
            return Ok(());
        }
        let mut grown = self.then.clone();
        let mut since: Vec<Hash> = Vec::new();
        while grown.size() < head.size {
            still_at_work();
            let hashes = self.store.audit_hashes(grown.size(), PAGE).await?;
            if hashes.is_empty() {
                return Err(CheckpointError::NotGrown);
            }
            // What was written after the head was read belongs to the next checkpoint.
            for (_, hash) in hashes.into_iter().filter(|(seq, _)| *seq < head.size) {
                let hash: Hash = hash.try_into().map_err(|_| CheckpointError::NotGrown)?;
                grown.append(hash);
                since.push(hash);
            }
        }
        failpoint::here(Point::TreeGrown);
        let next = Checkpoint::of(&self.origin, &grown);
        let then = Checkpoint::of(&self.origin, &self.then);
        let started = if self.then.size() == 0 { None } else { Some(&then) };
        let note = sign_next(self.last.as_ref().or(started), &self.then, since, &next, &[&self.key])
            .map_err(|_| CheckpointError::NotGrown)?;
        failpoint::here(Point::CheckpointSigned);
        self.publish(&note).await?;
        let now = self.clock.now();
        if let Some(published) = &self.published {
            published(now);
        }
        if keep || self.kept.is_none_or(|kept| now.since(kept) >= ROW_EVERY) {
            self.store.add_checkpoint(next.size, note).await?;
            self.kept = Some(now);
        }
        self.then = grown;
        self.last = Some(next);
        Ok(())
    }

    async fn publish(&self, note: &str) -> Result<(), CheckpointError> {
        let (folder, note) = (self.folder.clone(), note.to_owned());
        let daily = format!("{NEWEST}-{}", self.clock.now().to_utc().format("%Y-%m-%d"));
        let written = tokio::task::spawn_blocking(move || {
            write_durably(&folder, NEWEST, &note)?;
            failpoint::here(Point::CheckpointPublished);
            write_durably(&folder, &daily, &note)
        });
        written.await.map_err(std::io::Error::other)??;
        Ok(())
    }
}

/// Written beside, synced, put in place, folder synced: either the old note or the new one is there, never half of one.
fn write_durably(folder: &Path, name: &str, text: &str) -> std::io::Result<()> {
    let beside = folder.join(format!(".{name}.new"));
    let mut file = std::fs::File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    failpoint::here(Point::CheckpointWritten);
    std::fs::rename(&beside, folder.join(name))?;
    std::fs::File::open(folder)?.sync_all()
}
