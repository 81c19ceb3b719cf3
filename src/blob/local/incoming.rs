//! Writing. The first bytes are hashed and sealed where they come in; once there are more than may lie with their row, work goes
//! to blocking threads in batches, one at work while the next is gathered. A slow sender holds no thread.

use std::fmt;
use std::mem;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::task::JoinHandle;

use super::super::seal::{Sealing, Summary};
use super::super::{BlobError, CHUNK, Incoming, Placement, Stored, to_u64};
use super::cut_short;
use super::disk::{Disk, Draft};
use crate::domain::content::{DataKey, WrappedKey};
use crate::domain::id::FileId;
use crate::failpoint::{self, Point};

/// Bytes gathered for one hop to a blocking thread. At most two batches are in memory for each file.
const BATCH: usize = 4 * CHUNK;

/// One attempt to store one file.
pub(super) struct LocalIncoming {
    disk: Arc<Disk>,
    file: FileId,
    temporary: FileId,
    wrapped: WrappedKey,
    limit: u64,
    inline_most: u64,
    taken: u64,
    stage: Stage,
    batch: Vec<Bytes>,
    batched: usize,
}

enum Stage {
    /// Small enough so far to lie with its row.
    Memory(Box<Sealing>),
    /// A batch is at work; the job comes back when it is done.
    Busy(JoinHandle<Result<Job, BlobError>>),
    /// An error or a dropped future ended the attempt.
    Failed,
}

/// What goes to and fro between the task and the blocking threads. Dropped anywhere, it takes its file with it.
struct Job {
    sealing: Box<Sealing>,
    draft: Draft,
}

impl Job {
    fn take(mut self, batch: Vec<Bytes>) -> Result<Self, BlobError> {
        for bytes in batch {
            self.sealing.push(&bytes)?;
        }
        let Self { sealing, draft } = &mut self;
        sealing.drain(|sealed| draft.append(sealed))?;
        failpoint::here(Point::BlobWritten);
        Ok(self)
    }

    fn finish(self, batch: Vec<Bytes>, file: FileId) -> Result<(Summary, Draft), BlobError> {
        let Self { sealing, mut draft } = self.take(batch)?;
        let (sealed, summary) = sealing.finish()?;
        draft.append(&sealed)?;
        draft.place(file)?;
        Ok((summary, draft))
    }
}

impl LocalIncoming {
    pub(super) fn new(
        disk: Arc<Disk>,
        file: FileId,
        temporary: FileId,
        key: &DataKey,
        wrapped: WrappedKey,
        (limit, inline_most): (u64, u64),
    ) -> Result<Self, BlobError> {
        let stage = Stage::Memory(Box::new(Sealing::new(file, key)?));
        Ok(Self { disk, file, temporary, wrapped, limit, inline_most, taken: 0, stage, batch: Vec::new(), batched: 0 })
    }

    /// Waits for the batch at work, if any. Until it is back the attempt counts as failed, should this future be dropped.
    async fn job(&mut self) -> Result<Begun, BlobError> {
        match mem::replace(&mut self.stage, Stage::Failed) {
            Stage::Memory(sealing) => Ok(Begun::Not(sealing)),
            Stage::Busy(handle) => handle.await.map_err(|gone| cut_short("seal a file", gone))?.map(Begun::Yes),
            Stage::Failed => Err(BlobError::Cipher),
        }
    }

    async fn send_batch(&mut self) -> Result<(), BlobError> {
        let begun = self.job().await?;
        let batch = mem::take(&mut self.batch);
        self.batched = 0;
        let (disk, temporary) = (Arc::clone(&self.disk), self.temporary);
        self.stage = Stage::Busy(tokio::task::spawn_blocking(move || begun.job(&disk, temporary)?.take(batch)));
        Ok(())
    }

    async fn gather(&mut self, mut bytes: Bytes) -> Result<(), BlobError> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(BATCH - self.batched));
            self.batched += piece.len();
            self.batch.push(piece);
            if self.batched == BATCH {
                self.send_batch().await?;
            }
        }
        Ok(())
    }

    fn stored(&self, placement: Placement, summary: &Summary) -> Stored {
        Stored {
            file: self.file,
            placement,
            wrapped_key: self.wrapped.clone(),
            size: summary.size,
            sha256: summary.sha256,
            sha1: summary.sha1,
        }
    }
}

/// Whether a temporary file was made already.
enum Begun {
    Not(Box<Sealing>),
    Yes(Job),
}

impl Begun {
    fn job(self, disk: &Arc<Disk>, temporary: FileId) -> Result<Job, BlobError> {
        match self {
            Self::Not(sealing) => Ok(Job { sealing, draft: disk.create(temporary)? }),
            Self::Yes(job) => Ok(job),
        }
    }
}

#[async_trait]
impl Incoming for LocalIncoming {
    async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        self.taken = self.taken.saturating_add(to_u64(bytes.len()));
        if self.taken > self.limit {
            self.stage = Stage::Failed;
            return Err(BlobError::TooLarge { limit: self.limit });
        }
        match &mut self.stage {
            Stage::Memory(sealing) if self.taken <= self.inline_most => sealing.push(&bytes),
            _ => self.gather(bytes).await,
        }
    }

    async fn finish(mut self: Box<Self>) -> Result<Stored, BlobError> {
        let begun = match self.job().await? {
            Begun::Not(sealing) if self.taken <= self.inline_most && self.inline_most > 0 => {
                let (sealed, summary) = sealing.finish()?;
                return Ok(self.stored(Placement::Inline(sealed), &summary));
            }
            begun => begun,
        };
        let batch = mem::take(&mut self.batch);
        let (disk, temporary, file) = (Arc::clone(&self.disk), self.temporary, self.file);
        let work = move || begun.job(&disk, temporary)?.finish(batch, file);
        // Should this future be dropped now, the draft comes back to nobody and takes its file with it.
        let (summary, draft) =
            tokio::task::spawn_blocking(work).await.map_err(|gone| cut_short("store a file", gone))??;
        draft.keep();
        Ok(self.stored(Placement::File, &summary))
    }
}

impl fmt::Debug for LocalIncoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalIncoming").field("file", &self.file).field("taken", &self.taken).finish_non_exhaustive()
    }
}
