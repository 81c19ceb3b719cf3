//! Changes of state, scan jobs, what is due, and receipts.

use std::time::Duration;

use diesel::prelude::*;

use super::create::{add_step, add_version};
use super::outbox::{self, Happening};
use super::read::Reading;
use super::rows::{at, time};
use super::statement::sql;
use super::tx::Tx;
use crate::domain::clock::Timestamp;
use crate::domain::id::ClientId;
use crate::domain::lifecycle::{State, Transition};
use crate::domain::resource::{DocumentNumber, Target};
use crate::domain::subscription::Topic;
use crate::store::{DueDocument, Receipt, Receipts, ScanJob, SealedEntry, StoreError, Written};

/// Changes a document's state, step by step.
pub(super) fn transition(
    tx: &mut Tx<'_>,
    document: DocumentNumber,
    transitions: &[Transition],
    entries: Vec<SealedEntry>,
) -> Result<Written, StoreError> {
    let rid = document.0;
    let query = "SELECT version, updated, state, body FROM res WHERE rid = ? AND kind = 1";
    let row: Option<(i64, i64, Option<String>, Option<i64>)> = sql(query, [rid.into()]).row(tx.conn)?;
    let (version, updated, state, body) = row.ok_or(StoreError::Changed)?;
    let place = at("res", &rid);
    let mut state = place.state("state", &state.unwrap_or_default())?;
    let mut version: u32 = place.number("version", version)?;
    let mut updated = time(updated);
    for transition in transitions {
        // A purge has more to do, and its own door.
        if state != transition.from() || transition.to() == State::Purged {
            return Err(StoreError::Changed);
        }
        state = transition.to();
        if state.makes_version() {
            version = version.saturating_add(1);
            updated = tx.stamp(transition.at());
            add_version(tx, rid, version, updated, Some(state), body)?;
        }
        set_state(tx, rid, version, updated, transition)?;
    }
    for entry in entries {
        tx.append(entry)?;
    }
    touched(tx, rid)?;
    Ok(Written { version, updated, created: false })
}

/// Writes a transition into the document's row and its steps, and numbers it for the Subscriptions that it concerns.
pub(super) fn set_state(
    tx: &mut Tx<'_>,
    rid: i64,
    version: u32,
    updated: Timestamp,
    transition: &Transition,
) -> Result<(), StoreError> {
    let update = "UPDATE res SET version = ?, updated = ?, state = ?, since = ?, due = ? WHERE rid = ?";
    let (to, moment) = (transition.to(), transition.at());
    let due = transition.due().map(Timestamp::millis);
    let values =
        [version.into(), updated.millis().into(), to.as_str().into(), moment.millis().into(), due.into(), rid.into()];
    sql(update, values).run(tx.conn)?;
    // What is held back, withdrawn or released needs no look any more.
    if matches!(to, State::Ready | State::Quarantined | State::Revoked | State::Purged) {
        sql("DELETE FROM scan_job WHERE rid = ?", [rid.into()]).run(tx.conn)?;
    }
    add_step(tx, rid, Some(transition.from()), to, moment, transition.actor().to_string(), transition.reason())?;
    if !to.makes_version() {
        return Ok(());
    }
    let topic = Topic::of_state(to);
    outbox::raise(tx, Happening { rid, version, topic, at: moment, expires: transition.due() })
}

/// Notes that the facts of a document's files have changed.
pub(super) fn touched(tx: &mut Tx<'_>, rid: i64) -> Result<(), StoreError> {
    let ids: Vec<(Vec<u8>,)> = sql("SELECT id FROM file WHERE rid = ?", [rid.into()]).rows(tx.conn)?;
    for (id,) in ids {
        let file = at("file", &rid).file_id("id", &id)?;
        tx.effects.files.push(file);
    }
    tx.effects.changes += 1;
    Ok(())
}

/// Sets when a document is due.
pub(super) fn set_due(tx: &mut Tx<'_>, document: DocumentNumber, due: Option<Timestamp>) -> Result<(), StoreError> {
    let values = [due.map(Timestamp::millis).into(), document.0.into()];
    // Windows that start with an access count while there is access: what has ended is due by its end, and a tombstone never.
    let update = "UPDATE res SET due = ? WHERE rid = ? AND kind = 1 \
        AND state NOT IN ('expired', 'revoked', 'quarantined', 'purged')";
    sql(update, values).run(tx.conn)?;
    touched(tx, document.0)
}

/// Whether any job could be claimed; asked of a reader, so that looking for work costs no commit.
pub(super) fn any_scan_due(conn: &mut SqliteConnection, now: Timestamp) -> Result<bool, StoreError> {
    let query = "SELECT rid FROM scan_job WHERE due <= ? ORDER BY due LIMIT 1";
    Ok(sql(query, [now.millis().into()]).one::<i64>(conn)?.is_some())
}

/// Tries that a crash may have cost a scan job before its next start no longer takes its claim back.
const CRASHES: i64 = 3;

/// At the start nobody holds a claim: the folder is this process's alone, so what was claimed when the last one died is due
/// at once, instead of after its lease. A job that was begun more often may be what kills the process: it keeps its lease, so that
/// all others come first.
pub(super) fn take_back_scans(conn: &mut SqliteConnection) -> Result<(), StoreError> {
    sql("UPDATE scan_job SET due = 0 WHERE attempts BETWEEN 1 AND ?", [CRASHES.into()]).run(conn).map(drop)
}

/// Claims the job that has been due longest. A claim is the job being due later, under a higher fence: what a holder that was
/// given up brings is told apart by its fence.
pub(super) fn claim_scan(tx: &mut Tx<'_>, now: Timestamp, lease: Duration) -> Result<Option<ScanJob>, StoreError> {
    let query = "SELECT rid, fence, attempts FROM scan_job WHERE due <= ? ORDER BY due, rid LIMIT 1";
    let Some((rid, fence, attempts)) = sql(query, [now.millis().into()]).row::<(i64, i64, i64)>(tx.conn)? else {
        return Ok(None);
    };
    let update = "UPDATE scan_job SET due = ?, fence = fence + 1, attempts = attempts + 1 WHERE rid = ?";
    sql(update, [now.plus(lease).millis().into(), rid.into()]).run(tx.conn)?;
    let query = "SELECT r.id, r.created, r.decision, t.text FROM res r LEFT JOIN doc d ON d.rid = r.rid \
        LEFT JOIN target t ON t.number = d.patient WHERE r.rid = ?";
    let row: Option<(String, i64, Option<i64>, Option<String>)> = sql(query, [rid.into()]).row(tx.conn)?;
    let place = at("scan_job", &rid);
    let (id, created, decision, subject) = row.ok_or_else(|| place.corrupt("rid"))?;
    let mut reading = Reading { conn: tx.conn, memory: tx.memory, committed: false };
    Ok(Some(ScanJob {
        document: DocumentNumber(rid),
        id: at("res", &rid).resource_id("id", &id)?,
        fence: place.number("fence", fence.saturating_add(1))?,
        attempts: place.number("attempts", attempts)?,
        created: time(created),
        decision: reading.decision(decision.ok_or_else(|| at("res", &rid).corrupt("decision"))?)?,
        subject: subject.map(Target),
        files: reading.files_of(rid)?,
    }))
}

/// Gives a claimed job back.
pub(super) fn retry_scan(
    tx: &mut Tx<'_>,
    document: DocumentNumber,
    fence: u64,
    due: Timestamp,
) -> Result<bool, StoreError> {
    let values = [due.millis().into(), document.0.into(), fence.into()];
    Ok(sql("UPDATE scan_job SET due = ? WHERE rid = ? AND fence = ?", values).run(tx.conn)? == 1)
}

/// Ends a claimed job with its outcome.
pub(super) fn finish_scan(
    tx: &mut Tx<'_>,
    document: DocumentNumber,
    fence: u64,
    transitions: &[Transition],
    entries: Vec<SealedEntry>,
) -> Result<Written, StoreError> {
    let values = [document.0.into(), fence.into()];
    if sql("DELETE FROM scan_job WHERE rid = ? AND fence = ?", values).run(tx.conn)? != 1 {
        return Err(StoreError::Changed);
    }
    transition(tx, document, transitions, entries)
}

type DueRow = (i64, String, Option<String>, Option<i64>, Option<String>);

/// Documents that are due, the longest overdue first.
pub(super) fn due_documents(
    reading: &mut Reading<'_>,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<DueDocument>, StoreError> {
    let query = "SELECT r.rid, r.id, r.state, r.decision, t.text FROM res r LEFT JOIN doc d ON d.rid = r.rid \
        LEFT JOIN target t ON t.number = d.patient WHERE r.kind = 1 AND r.due <= ? ORDER BY r.due LIMIT ?";
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    let rows: Vec<DueRow> = sql(query, [now.millis().into(), limit.into()]).rows(reading.conn)?;
    let mut due = Vec::with_capacity(rows.len());
    for (rid, id, state, decision, subject) in rows {
        let place = at("res", &rid);
        let query = "SELECT id FROM file WHERE rid = ? ORDER BY content";
        let files: Vec<(Vec<u8>,)> = sql(query, [rid.into()]).rows(reading.conn)?;
        let files = files.iter().map(|(id,)| at("file", &rid).file_id("id", id)).collect::<Result<Vec<_>, _>>()?;
        due.push(DueDocument {
            number: DocumentNumber(rid),
            id: place.resource_id("id", &id)?,
            state: place.state("state", &state.unwrap_or_default())?,
            has_files: !files.is_empty(),
            decision: reading.decision(decision.ok_or_else(|| place.corrupt("decision"))?)?,
            subject: subject.map(Target),
            files,
        });
    }
    Ok(due)
}

/// Records a complete download, and answers what the document's receipts say. The source's own downloads are no deliveries
/// and move nothing.
pub(super) fn add_receipt(tx: &mut Tx<'_>, receipt: &Receipt, entry: SealedEntry) -> Result<Receipts, StoreError> {
    let rid = receipt.document.0;
    let moment = receipt.at.millis();
    let upsert = "INSERT INTO receipt (rid, reader, first, last) VALUES (?, ?, ?, ?) \
        ON CONFLICT (rid, reader) DO UPDATE SET first = min(first, excluded.first), last = max(last, excluded.last)";
    sql(upsert, [rid.into(), receipt.reader.0.into(), moment.into(), moment.into()]).run(tx.conn)?;
    tx.append(entry)?;
    let query = "SELECT p.id, c.first, c.last FROM receipt c JOIN party p ON p.number = c.reader \
        JOIN res r ON r.rid = c.rid WHERE c.rid = ? AND c.reader <> r.owner ORDER BY c.first, c.reader";
    let rows: Vec<(String, i64, i64)> = sql(query, [rid.into()]).rows(tx.conn)?;
    let mut receipts = Receipts::default();
    for (id, first, last) in rows {
        receipts.readers.push(ClientId::parse(&id).ok_or_else(|| at("party", &rid).corrupt("id"))?);
        receipts.first = Some(receipts.first.map_or(time(first), |known| known.min(time(first))));
        receipts.last = receipts.last.max(Some(time(last)));
    }
    Ok(receipts)
}
