//! Opening: the file and its modes, connections and their settings, migrations, and what is checked before anything is served.

use std::fs::OpenOptions;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "failpoints")]
use diesel::connection::InstrumentationEvent;
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Pool};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::reserve::Reserve;
use super::search_time;
use super::soundness;
use super::statement::sql;
use crate::domain::clock::Clock;
#[cfg(feature = "failpoints")]
use crate::failpoint::{self, Point};
use crate::store::StoreError;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");

/// Before it, two connections that checkpoint and commit at once could corrupt the file (sqlite.org/wal.html, WAL-reset bug).
const SQLITE_FLOOR: (u32, u32, u32) = (3, 51, 3);

/// How long a connection waits for a lock before a call is refused as busy.
const BUSY_TIMEOUT: &str = "PRAGMA busy_timeout = 5000;";

/// Order matters: the time to wait first, so that the others may wait. `synchronous` is not kept in the file. `secure_delete`
/// overwrites what is deleted; FAST does not (measured). Checkpoints are run by a thread of their own.
const WRITER: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; \
    PRAGMA wal_autocheckpoint = 0; PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -65536;";

const READER: &str = "PRAGMA query_only = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384; \
    PRAGMA mmap_size = 268435456;";

/// Sizes that a deployment may choose.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Connections for reading; at least as many as there are workers.
    pub readers: u32,
    /// Writes that may wait; more are refused as busy.
    pub queue: usize,
    /// Unbounded reads (exports, look-ups by patient) that may run at once.
    pub long_reads: usize,
    /// How long one search may read.
    pub search_time: Duration,
    /// Bytes of the disk that are kept for the log when the disk is full; 0 for none.
    pub reserve: u64,
    /// Whether a log whose end is not what its summary says is opened all the same, as its rows are, and the summary written anew.
    pub changed_end: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            readers: 8,
            queue: 4_096,
            long_reads: 2,
            search_time: Duration::from_millis(250),
            reserve: 0,
            changed_end: false,
        }
    }
}

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data were written by a newer version of this program, which must not be used on them.
    #[error("the data are of a newer version: schema {found} is not known here")]
    Newer {
        /// The first migration that is not known.
        found: String,
    },
    /// The linked SQLite is too old to be trusted with the data.
    #[error("SQLite {found} is too old; 3.51.3 is needed")]
    SqliteTooOld {
        /// Its version.
        found: String,
    },
    /// The pages of the file are not what SQLite wrote.
    #[error("the database file is damaged")]
    Damaged,
    /// The schema is not the one that this program made.
    #[error("the schema is not as it was made: {what}")]
    Schema {
        /// The first thing that differs.
        what: String,
    },
    /// The tenant is not an id that a leaf can carry.
    #[error("the instance's id cannot stand in the audit log")]
    Tenant,
    /// The path cannot be given to the database, or the file cannot be made.
    #[error("the database file cannot be opened")]
    File(#[source] std::io::Error),
    /// The audit log contradicts itself.
    #[error("the audit log does not fit its own summary")]
    AuditLog,
    /// A migration failed.
    #[error("the schema could not be brought up to date")]
    Migration(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database failed.
    #[error("the database cannot be opened")]
    Database(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A row that is needed from the start cannot be read, or the database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Where the database is.
#[derive(Debug, Clone)]
pub(super) struct Location {
    path: PathBuf,
    uri: String,
}

impl Location {
    /// The file is made, with access for its owner only, if it is not there; what SQLite puts beside it takes its mode over.
    pub(super) fn prepare(path: &Path) -> Result<Self, OpenError> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
        let file = file.map_err(OpenError::File)?;
        file.set_permissions(std::fs::Permissions::from_mode(0o600)).map_err(OpenError::File)?;
        let path = std::fs::canonicalize(path).map_err(OpenError::File)?;
        let text = path.to_str().ok_or_else(|| OpenError::File(std::io::ErrorKind::InvalidFilename.into()))?;
        // Percent-encoding as sqlite.org/uri.html asks for it.
        let text = text.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        Ok(Self { uri: format!("file://{text}"), path })
    }

    /// The room that is kept for the log.
    pub(super) fn reserve(&self, most: u64) -> Reserve {
        Reserve::hold(&self.path, most)
    }

    /// Bytes of the write-ahead log.
    pub(super) fn log_bytes(&self) -> u64 {
        let mut name = self.path.clone().into_os_string();
        name.push("-wal");
        std::fs::metadata(name).map_or(0, |data| data.len())
    }
}

/// A connection that may write.
pub(super) fn writer(location: &Location) -> Result<SqliteConnection, OpenError> {
    let mut conn = connect(&format!("{}?mode=rw", location.uri))?;
    conn.batch_execute(WRITER).map_err(unopened)?;
    Ok(conn)
}

/// A connection for checkpoints alone; it waits for nobody.
pub(super) fn checkpointer(location: &Location) -> Result<SqliteConnection, OpenError> {
    let mut conn = writer(location)?;
    conn.batch_execute("PRAGMA busy_timeout = 20;").map_err(|cause| OpenError::Database(Box::new(cause)))?;
    Ok(conn)
}

fn connect(uri: &str) -> Result<SqliteConnection, OpenError> {
    let mut conn = SqliteConnection::establish(uri).map_err(|cause| OpenError::Database(Box::new(cause)))?;
    conn.batch_execute(BUSY_TIMEOUT).map_err(|cause| OpenError::Database(Box::new(cause)))?;
    Ok(conn)
}

/// Checks the library, and brings the schema up to date.
pub(super) fn migrate(conn: &mut SqliteConnection) -> Result<(), OpenError> {
    let version: Option<String> = sql("SELECT sqlite_version()", []).one(conn)?;
    let version = version.unwrap_or_default();
    if parse_version(&version).is_none_or(|version| version < SQLITE_FLOOR) {
        return Err(OpenError::SqliteTooOld { found: version });
    }
    let known = diesel::migration::MigrationSource::<diesel::sqlite::Sqlite>::migrations(&MIGRATIONS);
    let known: Vec<String> =
        known.map_err(OpenError::Migration)?.iter().map(|migration| migration.name().version().to_string()).collect();
    let applied = conn.applied_migrations().map_err(OpenError::Migration)?;
    if let Some(found) = applied.iter().map(ToString::to_string).find(|version| !known.contains(version)) {
        return Err(OpenError::Newer { found });
    }
    #[cfg(feature = "failpoints")]
    conn.set_instrumentation(|event: InstrumentationEvent<'_>| {
        if !matches!(event, InstrumentationEvent::FinishQuery { .. }) {
            failpoint::here(Point::MigrationStep);
        }
    });
    conn.run_pending_migrations(MIGRATIONS).map_err(OpenError::Migration)?;
    #[cfg(feature = "failpoints")]
    conn.set_instrumentation(None::<fn(InstrumentationEvent<'_>)>);
    Ok(())
}

/// Checks what is there before anything is changed, brings the schema up to date, and holds it against a fresh one.
pub(super) fn check_and_migrate(conn: &mut SqliteConnection) -> Result<(), OpenError> {
    soundness::check_pages(conn)?;
    migrate(conn)?;
    let mut made = connect(":memory:")?;
    migrate(&mut made)?;
    soundness::check_schema(conn, &mut made)
}

/// A failure of opening, told apart where the file itself is no sound database.
fn unopened(cause: diesel::result::Error) -> OpenError {
    if soundness::is_damage(&cause.to_string()) { OpenError::Damaged } else { OpenError::Database(Box::new(cause)) }
}

fn parse_version(text: &str) -> Option<(u32, u32, u32)> {
    let mut parts = text.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??, parts.next()??))
}

/// Connections for reading.
pub(super) type Readers = Pool<ConnectionManager<SqliteConnection>>;

#[derive(Debug)]
struct Reader {
    clock: Arc<dyn Clock>,
    search_time: Duration,
}

impl CustomizeConnection<SqliteConnection, diesel::r2d2::Error> for Reader {
    fn on_acquire(&self, conn: &mut SqliteConnection) -> Result<(), diesel::r2d2::Error> {
        let settings = conn.batch_execute(BUSY_TIMEOUT).and_then(|()| conn.batch_execute(READER));
        let whole = settings.and_then(|()| search_time::register(conn, Arc::clone(&self.clock), self.search_time));
        whole.map_err(diesel::r2d2::Error::QueryError)
    }
}

/// The pool of connections for reading; opened when the schema is there.
pub(super) fn readers(location: &Location, settings: &Settings, clock: &Arc<dyn Clock>) -> Result<Readers, OpenError> {
    let manager = ConnectionManager::new(format!("{}?mode=ro", location.uri));
    Pool::builder()
        .max_size(settings.readers.max(1))
        .test_on_check_out(false)
        .connection_timeout(Duration::from_secs(5))
        .connection_customizer(Box::new(Reader { clock: Arc::clone(clock), search_time: settings.search_time }))
        .build(manager)
        .map_err(|cause| OpenError::Database(Box::new(cause)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linked_library_is_above_the_floor_and_older_ones_are_told() {
        assert!(parse_version("3.51.3").unwrap() >= SQLITE_FLOOR && parse_version("3.53.2").unwrap() >= SQLITE_FLOOR);
        assert!(parse_version("3.51.2").unwrap() < SQLITE_FLOOR && parse_version("3.9.99").unwrap() < SQLITE_FLOOR);
        assert_eq!(parse_version("3.x"), None);
    }

    #[test]
    fn the_schema_goes_up_and_down_again() {
        let mut conn = SqliteConnection::establish(":memory:").unwrap();
        migrate(&mut conn).unwrap();
        migrate(&mut conn).unwrap();
        conn.revert_all_migrations(MIGRATIONS).unwrap();
        let left =
            "SELECT count(*) FROM sqlite_schema WHERE name NOT LIKE '%schema_migrations%' AND name NOT LIKE 'sqlite_%'";
        assert_eq!(sql(left, []).one::<i64>(&mut conn).unwrap(), Some(0));
    }
}
