//! Rows of endings, and their way to the ledger: the writer hands over what is committed, before it answers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use diesel::prelude::*;

use super::SqliteStore;
use super::rows::{at, time};
use super::statement::{numbers, sql};
use super::tx::Tx;
use crate::domain::audit::endings::{Ended, Ending, LinksOf};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::epoch::{Revocation, Scope};
use crate::domain::id::{ClientId, FileId, ResourceId};
use crate::domain::lifecycle::State;
use crate::store::{EndingRows, EndingsStanding, Ledger, StoreError};

/// Endings that are handed over at once.
const MOST: u64 = 4_096;
/// Rows that cannot be read and are kept.
const MOST_UNREAD: usize = 4_096;
/// How long a ledger that could not be written is left alone.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

#[async_trait]
impl EndingRows for SqliteStore {
    async fn keep_endings(&self, ledger: Arc<dyn Ledger>) -> Result<(), StoreError> {
        let taken = Arc::clone(&ledger);
        self.writer.run(move |tx| renumber(tx, taken.as_ref())).await?;
        let _ = self.ledger.set(ledger);
        // What waits goes out in the wake of this commit.
        self.writer.run_plain(|_| Ok(())).await
    }

    fn endings_left(&self) -> u64 {
        self.endings_left.load(Ordering::Acquire)
    }

    async fn endings(&self) -> Result<EndingsStanding, StoreError> {
        self.read(|reading| standing(reading.conn))
    }
}

/// Keeps an ending, in the transaction that ends something.
pub(super) fn add(conn: &mut SqliteConnection, ended: &Ended, moment: Timestamp) -> Result<(), StoreError> {
    let insert = "INSERT INTO ending (what, at) VALUES (?, ?)";
    sql(insert, [ended.to_text().into(), moment.millis().into()]).run(conn).map(drop)
}

/// The ending of a document by a change of its state, where it is one.
pub(super) fn of_state(
    conn: &mut SqliteConnection,
    rid: i64,
    state: State,
    moment: Timestamp,
) -> Result<(), StoreError> {
    if !matches!(state, State::Quarantined | State::Revoked | State::Purged) {
        return Ok(());
    }
    let id = document(conn, rid)?;
    add(conn, &Ended::Document(id, state), moment)
}

/// The ending of links by a revocation.
pub(super) fn of_revocation(conn: &mut SqliteConnection, revocation: &Revocation) -> Result<(), StoreError> {
    match ended_by(conn, revocation)? {
        Some(ended) => add(conn, &ended, revocation.at),
        None => Ok(()),
    }
}

/// What a revocation ended. Nothing is held up by what is not there: access is cut all the same.
fn ended_by(conn: &mut SqliteConnection, revocation: &Revocation) -> Result<Option<Ended>, StoreError> {
    let of = match &revocation.scope {
        Scope::All => LinksOf::All,
        Scope::Client(number) => match client(conn, i64::from(number.0))? {
            Some(client) => LinksOf::Client(client),
            None => return Ok(None),
        },
        Scope::Document(number) => match document(conn, number.0) {
            Ok(id) => LinksOf::Document(id),
            Err(StoreError::Corrupt { .. }) => return Ok(None),
            Err(error) => return Err(error),
        },
        Scope::Patient(number) => LinksOf::Patient(number.0),
        Scope::Link(link) => LinksOf::Link(link.clone()),
    };
    Ok(Some(Ended::Links(revocation.number, of)))
}

impl SqliteStore {
    /// Tells the ledger of a revocation past the database. The next transaction gives numbers behind the ledger's.
    pub(super) async fn tell_of(&self, revocation: &Revocation) -> bool {
        let Some(ledger) = self.ledger.get().map(Arc::clone) else { return false };
        let Ok(Some(ended)) = self.read(|reading| ended_by(reading.conn, revocation)) else { return false };
        let ending = [(ended, revocation.at)];
        matches!(tokio::task::spawn_blocking(move || ledger.append(&ending)).await, Ok(Ok(())))
    }
}

/// How many uses are spent now of those that a claim counts among.
pub(super) fn of_use(conn: &mut SqliteConnection, claim: i64) -> Result<(), StoreError> {
    let query = "SELECT u.file, u.reader, u.recipient, u.used, u.last FROM link_claim c \
        JOIN link_use u ON u.file = c.file AND u.reader = c.reader AND u.recipient = c.recipient WHERE c.number = ?";
    let row = sql(query, [claim.into()]).row::<(Vec<u8>, i64, Vec<u8>, i64, i64)>(conn)?;
    let Some((file, reader, recipient, used, last)) = row else { return Ok(()) };
    let place = at("link_claim", &claim);
    let file: FileId = place.file_id("file", &file)?;
    let Some(client) = client(conn, reader)? else { return Ok(()) };
    let used = place.number("used", used)?;
    add(conn, &Ended::Use { file, client, recipient, used }, time(last))
}

fn document(conn: &mut SqliteConnection, rid: i64) -> Result<ResourceId, StoreError> {
    let id: Option<String> = sql("SELECT id FROM res WHERE rid = ?", [rid.into()]).one(conn)?;
    id.as_deref().and_then(ResourceId::parse).ok_or_else(|| at("res", &rid).corrupt("id"))
}

fn client(conn: &mut SqliteConnection, number: i64) -> Result<Option<ClientId>, StoreError> {
    let id: Option<String> = sql("SELECT id FROM party WHERE number = ?", [number.into()]).one(conn)?;
    Ok(id.as_deref().and_then(ClientId::parse))
}

/// How endings stand.
pub(super) fn standing(conn: &mut SqliteConnection) -> Result<EndingsStanding, StoreError> {
    let query =
        "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'ending'), 0), (SELECT count(*) FROM ending)";
    let (last, waiting): (i64, i64) = sql(query, []).row(conn)?.unwrap_or_default();
    let place = at("ending", &last);
    let unread = unread(conn)?;
    let unread = unread.first().map(|first| (u64::try_from(unread.len()).unwrap_or(u64::MAX), *first));
    Ok(EndingsStanding { last: place.number("number", last)?, waiting: place.number("number", waiting)?, unread })
}

/// Numbers of rows that wait and cannot be read, not many more than are kept.
fn unread(conn: &mut SqliteConnection) -> Result<Vec<u64>, StoreError> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = waiting(conn, after)?;
        let Some(last) = page.last() else { return Ok(found) };
        after = Some(last.number);
        found.extend(
            page.iter().filter(|row| row.ending.is_none()).map(|row| u64::try_from(row.number).unwrap_or_default()),
        );
        if found.len() >= MOST_UNREAD {
            return Ok(found);
        }
    }
}

/// A row that waits.
struct Waiting {
    number: i64,
    /// What it says; `None`: it was changed, and stays as it is for a check to tell of.
    ending: Option<Ending>,
}

fn waiting(conn: &mut SqliteConnection, after: Option<i64>) -> Result<Vec<Waiting>, StoreError> {
    let query = "SELECT number, what, at FROM ending WHERE number > ? ORDER BY number LIMIT ?";
    let rows: Vec<(i64, String, i64)> = sql(query, [after.unwrap_or(i64::MIN).into(), MOST.into()]).rows(conn)?;
    let row = |(number, what, moment): (i64, String, i64)| {
        let ended = Ended::from_text(&what).zip(u64::try_from(number).ok());
        Waiting { number, ending: ended.map(|(ended, number)| Ending { number, at: time(moment), ended }) }
    };
    Ok(rows.into_iter().map(row).collect())
}

/// Gives what waits numbers behind the ledger's last, but for what stands there already; it is forgotten.
fn renumber(tx: &mut Tx<'_>, ledger: &dyn Ledger) -> Result<(), StoreError> {
    let behind = ledger.last();
    go_on_behind(tx.conn, behind)?;
    let mut after = None;
    loop {
        let mut overtaken = waiting(tx.conn, after)?;
        overtaken.retain(|row| u64::try_from(row.number).is_ok_and(|number| number <= behind));
        let Some(last) = overtaken.last() else { return Ok(()) };
        after = Some(last.number);
        for Ending { number, at, ended } in overtaken.into_iter().filter_map(|row| row.ending) {
            sql("DELETE FROM ending WHERE number = ?", [number.into()]).run(tx.conn)?;
            if !ledger.has(&ended, at) {
                add(tx.conn, &ended, at)?;
            }
        }
    }
}

/// Has the next ending take a number behind this one.
fn go_on_behind(conn: &mut SqliteConnection, number: u64) -> Result<(), StoreError> {
    let raise = "UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'ending'";
    if sql(raise, [number.into()]).run(conn)? == 0 {
        sql("INSERT INTO sqlite_sequence (name, seq) VALUES ('ending', ?)", [number.into()]).run(conn)?;
    }
    Ok(())
}

/// The writer's hand on the ledger.
#[derive(Debug, Default)]
pub(super) struct Outlet {
    ledger: Arc<OnceLock<Arc<dyn Ledger>>>,
    /// The last row that this process handed over.
    kept: u64,
    /// Rows up to there that cannot be read: they stay.
    unread: Vec<i64>,
    /// What the ledger has not got, as it is shown.
    left: Arc<AtomicU64>,
    done: Done,
    again: Option<Duration>,
}

/// What the last transaction wrote of the ledger.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Done {
    /// Rows up to this one are forgotten.
    forgotten: u64,
    /// Rows get numbers behind this one: the ledger was told of endings past the database.
    behind: u64,
}

impl Outlet {
    pub(super) fn new(ledger: Arc<OnceLock<Arc<dyn Ledger>>>, left: Arc<AtomicU64>) -> Self {
        Self { ledger, left, ..Self::default() }
    }

    /// Forgets, in the next transaction, rows that the ledger has.
    pub(super) fn forget(&self, conn: &mut SqliteConnection) -> Result<Done, StoreError> {
        if self.kept > self.done.forgotten {
            let forget = "DELETE FROM ending WHERE number <= ? AND number NOT IN (SELECT value FROM json_each(?))";
            sql(forget, [self.kept.into(), numbers(self.unread.iter().copied())]).run(conn)?;
        }
        let last = self.ledger.get().map_or(0, |ledger| ledger.last());
        if last > self.kept.max(self.done.behind) {
            go_on_behind(conn, last)?;
        }
        Ok(Done { forgotten: self.kept, behind: last.max(self.done.behind) })
    }

    /// The transaction that did this is committed.
    pub(super) fn forgot(&mut self, done: Done) {
        self.done = done;
    }

    /// Hands over what is committed. Access that is cut does not wait for the ledger: what it does not take waits in the database.
    pub(super) fn hand_over(&mut self, conn: &mut SqliteConnection, clock: &dyn Clock) {
        let Some(ledger) = self.ledger.get().map(Arc::clone) else { return };
        if self.again.is_some_and(|again| clock.monotonic() < again) {
            return;
        }
        let given = self.give(conn, ledger.as_ref());
        let unread = u64::try_from(self.unread.len()).unwrap_or(u64::MAX);
        let behind = if given.is_ok() { Ok(0) } else { count_behind(conn, self.kept) };
        // Where not even that can be read, something is left all the same.
        self.left.store(unread.saturating_add(behind.unwrap_or(1)), Ordering::Release);
        self.again = given.is_err().then(|| clock.monotonic().saturating_add(AGAIN_AFTER));
        if let Err(error) = given {
            tracing::error!(?error, "endings cannot be written outside the database: they wait in it");
        }
    }

    /// Gives the ledger what it has not got. What cannot be read keeps nothing else from it.
    fn give(&mut self, conn: &mut SqliteConnection, ledger: &dyn Ledger) -> Result<(), StoreError> {
        loop {
            let rows = waiting(conn, Some(i64::try_from(self.kept).unwrap_or(i64::MAX)))?;
            let Some(last) = rows.last().map(|row| row.number) else { return Ok(()) };
            let unread: Vec<i64> = rows.iter().filter(|row| row.ending.is_none()).map(|row| row.number).collect();
            let endings: Vec<_> =
                rows.into_iter().filter_map(|row| row.ending).map(|ending| (ending.ended, ending.at)).collect();
            if !endings.is_empty() {
                ledger.append(&endings).map_err(|error| StoreError::Unavailable(error.into()))?;
            }
            if let Some(first) = unread.first() {
                tracing::error!(row = first, count = unread.len(), "endings in the database cannot be read");
            }
            self.unread.extend(unread);
            self.unread.truncate(MOST_UNREAD);
            self.kept = u64::try_from(last).unwrap_or(u64::MAX);
        }
    }
}

/// How many rows wait behind one.
fn count_behind(conn: &mut SqliteConnection, kept: u64) -> Result<u64, StoreError> {
    let count: Option<i64> = sql("SELECT count(*) FROM ending WHERE number > ?", [kept.into()]).one(conn)?;
    Ok(count.and_then(|count| u64::try_from(count).ok()).unwrap_or_default())
}
