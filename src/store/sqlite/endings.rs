//! Rows of endings, and their way to the ledger: the writer hands over what is committed, before it answers.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use diesel::prelude::*;

use super::SqliteStore;
use super::rows::{at, time};
use super::statement::sql;
use super::tx::Tx;
use crate::domain::audit::endings::{Ended, Ending, LinksOf};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::epoch::{Revocation, Scope};
use crate::domain::id::{ClientId, FileId, ResourceId};
use crate::domain::lifecycle::State;
use crate::store::{EndingRows, Ledger, StoreError};

/// Endings that are handed over at once.
const MOST: u64 = 4_096;
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

    async fn endings(&self) -> Result<(u64, u64), StoreError> {
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

/// Number of the last ending that was ever given, and how many wait.
pub(super) fn standing(conn: &mut SqliteConnection) -> Result<(u64, u64), StoreError> {
    let query =
        "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'ending'), 0), (SELECT count(*) FROM ending)";
    let (last, waiting): (i64, i64) = sql(query, []).row(conn)?.unwrap_or_default();
    Ok((at("ending", &last).number("number", last)?, at("ending", &last).number("number", waiting)?))
}

fn waiting(conn: &mut SqliteConnection, after: u64) -> Result<Vec<Ending>, StoreError> {
    let query = "SELECT number, what, at FROM ending WHERE number > ? ORDER BY number LIMIT ?";
    let rows: Vec<(i64, String, i64)> = sql(query, [after.into(), MOST.into()]).rows(conn)?;
    let ending = |(number, what, moment): (i64, String, i64)| {
        let place = at("ending", &number);
        let ended = Ended::from_text(&what).ok_or_else(|| place.corrupt("what"))?;
        Ok(Ending { number: place.number("number", number)?, at: time(moment), ended })
    };
    rows.into_iter().map(ending).collect()
}

/// Gives what waits numbers behind the ledger's last, but for what stands there already; it is forgotten.
fn renumber(tx: &mut Tx<'_>, ledger: &dyn Ledger) -> Result<(), StoreError> {
    let behind = ledger.last();
    go_on_behind(tx.conn, behind)?;
    let mut after = 0;
    loop {
        let mut overtaken = waiting(tx.conn, after)?;
        overtaken.retain(|ending| ending.number <= behind);
        let Some(last) = overtaken.last() else { return Ok(()) };
        after = last.number;
        for Ending { number, at, ended } in overtaken {
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
    pub(super) fn new(ledger: Arc<OnceLock<Arc<dyn Ledger>>>) -> Self {
        Self { ledger, ..Self::default() }
    }

    /// Forgets, in the next transaction, rows that the ledger has.
    pub(super) fn forget(&self, conn: &mut SqliteConnection) -> Result<Done, StoreError> {
        if self.kept > self.done.forgotten {
            sql("DELETE FROM ending WHERE number <= ?", [self.kept.into()]).run(conn)?;
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
        let kept = loop {
            match waiting(conn, self.kept) {
                Ok(rows) => {
                    let Some(last) = rows.last().map(|row| row.number) else { break Ok(()) };
                    let endings: Vec<_> = rows.into_iter().map(|row| (row.ended, row.at)).collect();
                    if let Err(error) = ledger.append(&endings) {
                        break Err(StoreError::Unavailable(error.into()));
                    }
                    self.kept = last;
                }
                Err(error) => break Err(error),
            }
        };
        self.again = kept.is_err().then(|| clock.monotonic().saturating_add(AGAIN_AFTER));
        if let Err(error) = kept {
            tracing::error!(?error, "endings cannot be written outside the database: they wait in it");
        }
    }
}
