//! What is due. Destruction is looked up apart from the rest, so that what must wait never stands before what need not; a row that
//! cannot be read is named and passed over.

use diesel::prelude::*;

use super::read::Reading;
use super::rows::at;
use super::statement::{Sql, sql};
use crate::domain::clock::Timestamp;
use crate::domain::clock_watch::Destroyable;
use crate::domain::id::FileId;
use crate::domain::resource::{DocumentNumber, Target};
use crate::store::{DueDocument, DueRound, StoreError};

/// Rows that cannot be read, named in one answer at most; as many rows are looked at beyond them.
const UNREADABLE_MOST: usize = 1_000;

type DueRow = (i64, String, Option<String>, Option<i64>, Option<String>, i64);

/// Documents that fell due after `since` and are due at `now`, the longest overdue first.
pub(super) fn documents(
    reading: &mut Reading<'_>,
    (since, now): (Timestamp, Timestamp),
    may: Destroyable,
    limit: usize,
) -> Result<DueRound, StoreError> {
    let mut round = DueRound::default();
    let mut after = (since.millis(), i64::MAX);
    while round.documents.len() < limit && round.unreadable.len() < UNREADABLE_MOST {
        let wanted = limit.saturating_sub(round.documents.len());
        let rows = page(reading.conn, now, may, after, wanted)?;
        let last = rows.len() < wanted;
        for row in rows {
            after = (row.5, row.0);
            match document(reading, row) {
                Ok(document) => round.documents.push(document),
                Err(corrupt @ StoreError::Corrupt { .. }) => round.unreadable.push(corrupt.to_string()),
                Err(other) => return Err(other),
            }
        }
        if last {
            break;
        }
    }
    Ok(round)
}

fn page(
    conn: &mut SqliteConnection,
    now: Timestamp,
    may: Destroyable,
    (due, rid): (i64, i64),
    limit: usize,
) -> Result<Vec<DueRow>, StoreError> {
    let text = "SELECT r.rid, r.id, r.state, r.decision, t.text, r.due FROM res r LEFT JOIN doc d ON d.rid = r.rid \
        LEFT JOIN target t ON t.number = d.patient WHERE r.kind = 1 AND r.due <= ? AND (r.due, r.rid) > (?, ?) AND (\
        r.state IN ('ready', 'delivered') \
        OR (r.state = 'created' AND EXISTS (SELECT 1 FROM file f WHERE f.rid = r.rid)) \
        OR (r.rid NOT IN (SELECT rid FROM hold WHERE released IS NULL) AND ";
    let mut query = sql(text, [now.millis().into(), due.into(), rid.into()]);
    query.append(allowed(may));
    query.push(")) ORDER BY r.due, r.rid LIMIT ?", [u64::try_from(limit).unwrap_or(u64::MAX).into()]);
    query.rows(conn)
}

/// Whether the row `r` is due at a time at which it may be destroyed.
fn allowed(may: Destroyable) -> Sql {
    let values = [may.cleared.millis().into(), may.after.millis().into(), may.until.millis().into()];
    sql("(r.due <= ? OR (r.due > ? AND r.due <= ?))", values)
}

fn document(reading: &mut Reading<'_>, row: DueRow) -> Result<DueDocument, StoreError> {
    let (rid, id, state, decision, subject, due) = row;
    let place = at("res", &rid);
    let query = "SELECT id FROM file WHERE rid = ? ORDER BY content";
    let files: Vec<(Vec<u8>,)> = sql(query, [rid.into()]).rows(reading.conn)?;
    let files = files.iter().map(|(id,)| at("file", &rid).file_id("id", id)).collect::<Result<Vec<_>, _>>()?;
    Ok(DueDocument {
        number: DocumentNumber(rid),
        id: place.resource_id("id", &id)?,
        state: place.state("state", &state.unwrap_or_default())?,
        due: Timestamp::from_millis(due),
        has_files: !files.is_empty(),
        decision: reading.decision(decision.ok_or_else(|| place.corrupt("decision"))?)?,
        subject: subject.map(Target),
        files,
    })
}

/// Unclaimed Binaries that are due and may be destroyed. A row whose id is no file's is passed over.
pub(super) fn unclaimed(
    conn: &mut SqliteConnection,
    now: Timestamp,
    may: Destroyable,
    limit: usize,
) -> Result<Vec<(i64, FileId)>, StoreError> {
    let text = "SELECT r.rid, r.id FROM res r WHERE r.kind = 2 AND r.due <= ? AND r.document IS NULL AND ";
    let mut query = sql(text, [now.millis().into()]);
    query.append(allowed(may));
    let most = limit.saturating_add(UNREADABLE_MOST);
    query.push(" ORDER BY r.due LIMIT ?", [u64::try_from(most).unwrap_or(u64::MAX).into()]);
    let rows: Vec<(i64, String)> = query.rows(conn)?;
    Ok(rows.into_iter().filter_map(|(rid, id)| Some((rid, FileId::parse(&id)?))).take(limit).collect())
}

/// Whether any unclaimed Binary is due; asked of a reader.
pub(super) fn any_unclaimed(conn: &mut SqliteConnection, now: Timestamp, may: Destroyable) -> Result<bool, StoreError> {
    Ok(!unclaimed(conn, now, may, 1)?.is_empty())
}
