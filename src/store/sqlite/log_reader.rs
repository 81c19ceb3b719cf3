//! The audit log of a folder, opened for reading only: for verifying and exporting beside a running server, or without one. Nothing is
//! migrated, nothing is written, no lock is taken that a writer waits for.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;

use super::open::OpenError;
use super::statement::sql;
use super::{audit_rows, clock_rows, effects, endings, given_links, log, server};
use crate::domain::audit::effect::{Expected, Recorded};
use crate::domain::clock_watch::ClockRecord;
use crate::domain::id::{FileId, LinkId};
use crate::store::{AuditBlock, AuditHead, AuditRow, EndingsStanding, LinkRecord, SealedKey, StoreError};

/// A reader of the log.
#[derive(Clone)]
pub struct LogReader {
    conn: Arc<Mutex<SqliteConnection>>,
    schema: Schema,
}

/// What the database has of what came with later versions. It is read as it is: only a start brings it up to date.
#[derive(Debug, Clone, Copy)]
struct Schema {
    /// The index of given links, and how far it is made.
    given: bool,
    /// Blocks of entries by patient, and the entries that rows of given links name.
    blocks: bool,
    /// Endings.
    endings: bool,
}

impl Schema {
    /// By the migrations that were applied; a table that one of these made and that is not there any more is a fault like any other.
    fn read(conn: &mut SqliteConnection) -> Result<Self, StoreError> {
        let rows: Vec<(String,)> = sql("SELECT version FROM __diesel_schema_migrations", []).rows(conn)?;
        let has = |number: &str| rows.iter().any(|(version,)| version == number);
        Ok(Self { given: has("0007"), blocks: has("0009"), endings: has("0010") })
    }
}

impl std::fmt::Debug for LogReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogReader")
    }
}

impl LogReader {
    /// Opens the database at `path`, which must be there. Each read is a transaction of its own, so that a check of a
    /// long log beside its server holds up neither commits nor the write-ahead log: what comes meanwhile is seen, and who reads goes by the
    /// head that was read first.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |cause: Box<dyn std::error::Error + Send + Sync>| OpenError::Database(cause);
        let path = std::fs::canonicalize(path).map_err(OpenError::File)?;
        let text = path.to_str().ok_or_else(|| OpenError::File(std::io::ErrorKind::InvalidFilename.into()))?;
        let text = text.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        // Read and write for SQLite, which must be able to make the shared memory of the write-ahead log; `query_only` keeps it
        // from writing to the database.
        let uri = format!("file://{text}?mode=rw");
        let mut conn = SqliteConnection::establish(&uri).map_err(|cause| failed(Box::new(cause)))?;
        let begin = "PRAGMA busy_timeout = 5000; PRAGMA query_only = ON;";
        conn.batch_execute(begin).map_err(|cause| failed(Box::new(cause)))?;
        log::check_numbers(&mut conn)?;
        let schema = Schema::read(&mut conn)?;
        Ok(Self { conn: Arc::new(Mutex::new(conn)), schema })
    }

    /// Whether the database is of an older version than this program, and has not all that is read here: that then counts as empty.
    pub fn is_older(&self) -> bool {
        !(self.schema.given && self.schema.blocks && self.schema.endings)
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut SqliteConnection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let conn = Arc::clone(&self.conn);
        let work = move || read(&mut conn.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|cause| Err(StoreError::Unavailable(Box::new(cause))))
    }

    /// Entries from `first` on, at most `limit`, in order.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], [`StoreError::Unavailable`].
    pub async fn rows(&self, first: u64, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
        self.read(move |conn| audit_rows::entries(conn, first, limit)).await
    }

    /// Number and stored hash of entries from `first` on, at most `limit`, in order.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn hashes(&self, first: u64, limit: usize) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        self.read(move |conn| audit_rows::hashes(conn, first, limit)).await
    }

    /// Size and frontier.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], [`StoreError::Unavailable`].
    pub async fn head(&self) -> Result<AuditHead, StoreError> {
        self.read(audit_rows::head).await
    }

    /// Signed checkpoints, by rising size.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], [`StoreError::Unavailable`].
    pub async fn checkpoints(&self) -> Result<Vec<(u64, String)>, StoreError> {
        self.read(audit_rows::checkpoints).await
    }

    /// The newest of them.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], [`StoreError::Unavailable`].
    pub async fn newest_checkpoint(&self) -> Result<Option<(u64, String)>, StoreError> {
        self.read(audit_rows::newest_checkpoint).await
    }

    /// Blocks of the look-up by patient, from entry `first` on, at most `limit`, in order.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn blocks(&self, first: u64, limit: usize) -> Result<Vec<AuditBlock>, StoreError> {
        if !self.schema.blocks {
            return Ok(Vec::new());
        }
        self.read(move |conn| audit_rows::blocks(conn, first, limit)).await
    }

    /// Rows of given links behind `after` (document and id), at most `limit`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn given_links(&self, after: Option<(i64, String)>, limit: usize) -> Result<Vec<LinkRecord>, StoreError> {
        if !self.schema.blocks {
            return Ok(Vec::new());
        }
        self.read(move |conn| given_links::records(conn, after, limit)).await
    }

    /// Whether a link whose file is still there has no row.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn lacks_link(&self, id: &LinkId, file: FileId) -> Result<bool, StoreError> {
        if !self.schema.given {
            return Ok(false);
        }
        let id = id.clone();
        self.read(move |conn| given_links::lacks(conn, &id, file)).await
    }

    /// Whether the rows show, each, what entries say.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn stand(&self, expected: Vec<Expected>) -> Result<Vec<bool>, StoreError> {
        self.read(move |conn| effects::stand(conn, &expected)).await
    }

    /// Rows behind one, in order, at most `limit`, each of which an entry must have made.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn recorded(&self, after: Option<Recorded>, limit: usize) -> Result<Vec<Recorded>, StoreError> {
        self.read(move |conn| effects::recorded(conn, after, limit)).await
    }

    /// Entries below it may have given links that are not in the index yet; 0: all are.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], [`StoreError::Unavailable`].
    pub async fn given_backlog(&self) -> Result<u64, StoreError> {
        if !self.schema.given {
            return Ok(0);
        }
        self.read(given_links::backlog).await
    }

    /// How endings stand.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], [`StoreError::Unavailable`].
    pub async fn endings(&self) -> Result<EndingsStanding, StoreError> {
        if !self.schema.endings {
            return Ok(EndingsStanding::default());
        }
        self.read(endings::standing).await
    }

    /// What SQLite finds wrong with the file at a first look (`PRAGMA quick_check`); `None`: nothing. A large file takes long: the look has a
    /// thread of its own, which nobody waits for at the process's end.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn quick_check(&self) -> Result<Option<String>, StoreError> {
        let (tell, told) = tokio::sync::oneshot::channel();
        let conn = Arc::clone(&self.conn);
        let look = move || {
            let mut conn = conn.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever asked may have gone away.
            let _ = tell.send(sql("PRAGMA quick_check(1)", []).one::<String>(&mut conn));
        };
        let failed = |cause: Box<dyn std::error::Error + Send + Sync>| StoreError::Unavailable(cause);
        std::thread::Builder::new().name("look".to_owned()).spawn(look).map_err(|cause| failed(Box::new(cause)))?;
        let found = told.await.map_err(|cause| failed(Box::new(cause)))??;
        Ok(found.filter(|found| found != "ok"))
    }

    /// What is kept of the clock.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], [`StoreError::Unavailable`].
    pub async fn clock_record(&self) -> Result<Option<ClockRecord>, StoreError> {
        self.read(clock_rows::record).await
    }

    /// Everything sealed.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`], [`StoreError::Unavailable`].
    pub async fn keys(&self) -> Result<Vec<SealedKey>, StoreError> {
        self.read(server::keys).await
    }
}
