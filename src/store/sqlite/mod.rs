//! The store on SQLite: one writer thread that commits in groups ([`writer`]), connections for reading on the caller's thread, a
//! thread for checkpoints. Migrations are in `migrations/sqlite`; why the schema is as it is stands beside it there.

mod acknowledgements;
mod answers;
mod audit_rows;
mod checkpoint;
mod claims;
mod clock_rows;
mod create;
mod due;
mod effects;
mod endings;
mod given_links;
mod implementation;
mod intern;
mod lifecycle;
mod links;
mod log;
mod log_reader;
mod memory;
mod open;
mod operators;
mod outbox;
mod outbox_turns;
mod purge;
mod read;
mod reserve;
mod revocations;
mod rows;
mod search;
mod search_time;
mod server;
mod soundness;
mod statement;
mod subscriptions;
mod subscriptions_filters;
mod subscriptions_rows;
#[cfg(test)]
mod tests;
mod tx;
mod visibility;
mod writer;

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, OnceLock};

use diesel::prelude::*;
use tokio::sync::Semaphore;

pub use log_reader::LogReader;
pub use open::{OpenError, Settings};

use self::checkpoint::Checkpointer;
use self::memory::Memory;
use self::open::{Location, Readers};
use self::read::Reading;
use self::reserve::Reserve;
use self::rows::time;
use self::statement::sql;
use self::writer::{Start, Writer};
use super::StoreError;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::holder::Shares;
use crate::shares::Places;
use crate::store::Ledger;

/// The store.
pub struct SqliteStore {
    location: Location,
    readers: Readers,
    writer: Arc<Writer>,
    checkpointer: Arc<Checkpointer>,
    memory: Arc<Memory>,
    reserve: Arc<Reserve>,
    ledger: Arc<OnceLock<Arc<dyn Ledger>>>,
    endings_left: Arc<AtomicU64>,
    long_reads: Arc<Semaphore>,
    aside: Places,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("location", &self.location).finish_non_exhaustive()
    }
}

/// Takes back what an earlier process had under way, all of it or nothing: one that dies in between counts no use twice, and loses none.
fn take_back(conn: &mut SqliteConnection, now: Timestamp) -> Result<(), StoreError> {
    sql("BEGIN IMMEDIATE", []).run(conn)?;
    let taken = lifecycle::take_back_scans(conn, now)
        .and_then(|()| outbox_turns::take_back(conn))
        .and_then(|()| claims::take_back(conn));
    let end = if taken.is_ok() { "COMMIT" } else { "ROLLBACK" };
    taken.and(sql(end, []).run(conn).map(drop))
}

impl SqliteStore {
    /// Opens the database at `path`, makes it if it is not there (mode 0600), and brings its schema up to date. `tenant` is the
    /// instance's id that every audit leaf carries.
    ///
    /// # Errors
    /// [`OpenError`]; [`OpenError::Newer`] when a newer version has written the data.
    pub fn open(path: &Path, clock: Arc<dyn Clock>, tenant: &str, settings: Settings) -> Result<Arc<Self>, OpenError> {
        log::check_tenant(tenant)?;
        let location = Location::prepare(path)?;
        let mut conn = open::writer(&location)?;
        open::check_and_migrate(&mut conn)?;
        take_back(&mut conn, clock.now())?;
        let log = match log::Log::load(&mut conn) {
            Err(OpenError::AuditLog) if settings.changed_end => log::Log::of_rows(&mut conn)?,
            loaded => loaded?,
        };
        let last_updated: Option<i64> = sql("SELECT coalesce(max(updated), 0) FROM res", []).one(&mut conn)?;
        let memory = Arc::new(Memory::default());
        memory.clients.set(server::clients(&mut conn)?);
        memory.epochs.set(revocations::resume(&mut conn)?);
        let readers = open::readers(&location, &settings, &clock)?;
        let truncate = Arc::new(AtomicBool::new(false));
        let reserve = Arc::new(location.reserve(settings.reserve));
        let checkpoints = open::checkpointer(&location)?;
        let checkpointer =
            Checkpointer::start(location.clone(), checkpoints, Arc::clone(&truncate), Arc::clone(&reserve))?;
        let (ledger, endings_left) = <(Arc<OnceLock<Arc<dyn Ledger>>>, Arc<AtomicU64>)>::default();
        let writer = Writer::start(Start {
            location: location.clone(),
            conn,
            log,
            last_updated: time(last_updated.unwrap_or_default()),
            clock: Arc::clone(&clock),
            tenant: tenant.to_owned(),
            memory: Arc::clone(&memory),
            truncate,
            reserve: Arc::clone(&reserve),
            queue: settings.queue,
            outlet: endings::Outlet::new(Arc::clone(&ledger), Arc::clone(&endings_left)),
        })?;
        let long_reads = Arc::new(Semaphore::new(settings.long_reads.max(1)));
        // Half of the connections are left to what takes no time.
        let aside = Places::new(u64::from(settings.readers / 2), Shares::default(), None);
        let (writer, checkpointer) = (Arc::new(writer), Arc::new(checkpointer));
        Ok(Arc::new(Self {
            location,
            readers,
            writer,
            checkpointer,
            memory,
            reserve,
            ledger,
            endings_left,
            long_reads,
            aside,
            clock,
        }))
    }

    /// A bounded read, on the thread that asks: the hop to another costs more than the read.
    fn read<T>(&self, read: impl FnOnce(&mut Reading<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut conn = self.readers.get().map_err(|_| StoreError::Busy)?;
        read(&mut Reading { conn: &mut conn, memory: &self.memory, committed: true })
    }

    /// A read without a bound, on a thread of its own, few at once.
    async fn long_read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut SqliteConnection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let place = Arc::clone(&self.long_reads).acquire_owned().await.map_err(|_| StoreError::Busy)?;
        self.elsewhere(place, read).await
    }

    /// A read on a thread of its own, which holds its place as long.
    async fn elsewhere<T: Send + 'static>(
        &self,
        place: impl Send + 'static,
        read: impl FnOnce(&mut SqliteConnection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let readers = self.readers.clone();
        let work = move || {
            let _place = place;
            read(&mut *readers.get().map_err(|_| StoreError::Busy)?)
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|cause| Err(StoreError::Unavailable(Box::new(cause))))
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.checkpointer.stop();
        self.writer.stop();
    }
}
