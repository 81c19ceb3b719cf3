//! The one row about the clock.

use async_trait::async_trait;
use diesel::prelude::*;

use super::SqliteStore;
use super::audit_rows;
use super::rows::time;
use super::statement::sql;
use super::tx::Tx;
use crate::domain::audit::Leaf;
use crate::domain::clock::Timestamp;
use crate::domain::clock_watch::{ClockRecord, Jump};
use crate::store::{ClockRows, SealedEntry, StoreError};

type ClockRow = (i64, i64, Option<i64>, Option<i64>, i64);

#[async_trait]
impl ClockRows for SqliteStore {
    async fn clock_record(&self) -> Result<Option<ClockRecord>, StoreError> {
        self.read(|reading| record(reading.conn))
    }

    async fn keep_clock(
        &self,
        record: ClockRecord,
        lowered: bool,
        entry: Option<SealedEntry>,
    ) -> Result<(), StoreError> {
        self.writer.run(move |tx| keep(tx, &record, lowered, entry)).await
    }
}

/// What was kept, and what the log's newest entry implies.
pub(super) fn record(conn: &mut SqliteConnection) -> Result<Option<ClockRecord>, StoreError> {
    let query = "SELECT highest, cleared, jump_from, jump_to, log_floor FROM clock WHERE id = 1";
    let row: Option<ClockRow> = sql(query, []).row(conn)?;
    let floor = row.as_ref().map_or(i64::MIN, |row| row.4);
    let newest = newest(conn)?.filter(|newest| newest.millis() > floor);
    let Some((highest, cleared, from, to, _)) = row else {
        // Written before there was this row: what fell due up to the last entry was destroyed as it fell due.
        return Ok(newest.map(|newest| ClockRecord { highest: newest, cleared: newest, jump: None }));
    };
    let jump = from.zip(to).map(|(from, to)| Jump { from: time(from), to: time(to) });
    let highest = newest.map_or(time(highest), |newest| newest.max(time(highest)));
    Ok(Some(ClockRecord { highest, cleared: time(cleared), jump }))
}

/// The time of the newest entry of the audit log.
fn newest(conn: &mut SqliteConnection) -> Result<Option<Timestamp>, StoreError> {
    let size = audit_rows::head(conn)?.size;
    let rows = audit_rows::entries(conn, size.saturating_sub(1), 1)?;
    let micros = rows.last().and_then(|row| Leaf::decode(&row.body).ok().map(|leaf| leaf.time_micros));
    Ok(micros.map(|micros| time(i64::try_from(micros / 1_000).unwrap_or(i64::MAX))))
}

fn keep(tx: &mut Tx<'_>, record: &ClockRecord, lowered: bool, entry: Option<SealedEntry>) -> Result<(), StoreError> {
    if let Some(entry) = entry {
        tx.append(entry)?;
    }
    let floor = if lowered { newest(tx.conn)?.map_or(i64::MIN, Timestamp::millis) } else { i64::MIN };
    let upsert = "INSERT INTO clock (id, highest, cleared, jump_from, jump_to, log_floor) VALUES (1, ?, ?, ?, ?, ?) \
        ON CONFLICT (id) DO UPDATE SET highest = excluded.highest, cleared = excluded.cleared, \
        jump_from = excluded.jump_from, jump_to = excluded.jump_to, log_floor = max(log_floor, excluded.log_floor)";
    let (from, to) = (record.jump.map(|jump| jump.from.millis()), record.jump.map(|jump| jump.to.millis()));
    let values = [record.highest.millis().into(), record.cleared.millis().into(), from.into(), to.into(), floor.into()];
    sql(upsert, values).run(tx.conn).map(drop)
}
