//! Changes of state, scan jobs, what is due, and receipts.

use std::time::Duration;

use diesel::prelude::*;

use super::create::{add_step, add_version};
use super::endings;
use super::operators::state_changed;
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
use crate::store::{Receipt, Receipts, ScanJob, SealedEntry, StoreError, UNENDED_MOST, Written};

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
    endings::of_state(tx.conn, rid, to, moment)?;
    state_changed(tx, rid, transition.evidence())?;
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

/// At the start nobody holds a claim: the folder is this process's alone, so what was claimed when the last one died is due
/// at once, instead of after its lease. A turn that was under way then broke off, and may be what killed the process: after the
/// second such death a job waits for some seconds, two for each, so that all others come first. One that is given up
/// ([`UNENDED_MOST`]) is not begun again, and need not wait.
pub(super) fn take_back_scans(conn: &mut SqliteConnection, now: Timestamp) -> Result<(), StoreError> {
    let update = "UPDATE scan_job SET begun = 0, unended = unended + 1, \
        due = CASE WHEN unended BETWEEN 1 AND ? THEN ? + 2000 * (unended + 1) ELSE 0 END WHERE begun = 1";
    // Before this death is counted.
    let most = i64::from(UNENDED_MOST).saturating_sub(2);
    sql(update, [most.into(), now.millis().into()]).run(conn).map(drop)
}

/// Jobs that cannot be read which one claim passes over.
const PASSED_OVER: usize = 16;

/// Claims the job that has been due longest. A claim is the job being due later, under a higher fence: what a holder that was
/// given up brings is told apart by its fence.
///
/// A job whose rows cannot be read is claimed by nobody and comes again after the lease, so that it keeps no other from its turn;
/// its document is held back when its time is over.
pub(super) fn claim_scan(tx: &mut Tx<'_>, now: Timestamp, lease: Duration) -> Result<Option<ScanJob>, StoreError> {
    for _ in 0..PASSED_OVER {
        let query = "SELECT rid, fence, attempts, unended FROM scan_job WHERE due <= ? ORDER BY due, rid LIMIT 1";
        let row: Option<(i64, i64, i64, i64)> = sql(query, [now.millis().into()]).row(tx.conn)?;
        let Some((rid, fence, attempts, unended)) = row else {
            return Ok(None);
        };
        let update = "UPDATE scan_job SET due = ?, fence = fence + 1, attempts = attempts + 1, begun = 1 \
            WHERE rid = ?";
        sql(update, [now.plus(lease).millis().into(), rid.into()]).run(tx.conn)?;
        match scan_job(tx, rid, fence, (attempts, unended)) {
            Err(StoreError::Corrupt { table, column, row }) => {
                tracing::error!(table, column, row, "a scan job cannot be read and is passed over");
            }
            job => return job.map(Some),
        }
    }
    Ok(None)
}

/// Jobs, and the age of the document that came first: rows are numbered as they come.
pub(super) fn scan_backlog(conn: &mut SqliteConnection, now: Timestamp) -> Result<(u64, Duration), StoreError> {
    let query =
        "SELECT (SELECT count(*) FROM scan_job), (SELECT created FROM res WHERE rid = (SELECT min(rid) FROM scan_job))";
    let row: Option<(i64, Option<i64>)> = sql(query, []).row(conn)?;
    let (count, oldest) = row.unwrap_or_default();
    Ok((u64::try_from(count).unwrap_or_default(), oldest.map_or(Duration::ZERO, |oldest| now.since(time(oldest)))))
}

/// A job that was claimed under the next fence.
fn scan_job(tx: &mut Tx<'_>, rid: i64, fence: i64, (attempts, unended): (i64, i64)) -> Result<ScanJob, StoreError> {
    let query = "SELECT r.id, r.created, r.decision, t.text FROM res r LEFT JOIN doc d ON d.rid = r.rid \
        LEFT JOIN target t ON t.number = d.patient WHERE r.rid = ?";
    let row: Option<(String, i64, Option<i64>, Option<String>)> = sql(query, [rid.into()]).row(tx.conn)?;
    let place = at("scan_job", &rid);
    let (id, created, decision, subject) = row.ok_or_else(|| place.corrupt("rid"))?;
    let mut reading = Reading { conn: tx.conn, memory: tx.memory, committed: false };
    Ok(ScanJob {
        document: DocumentNumber(rid),
        id: at("res", &rid).resource_id("id", &id)?,
        fence: place.number("fence", fence.saturating_add(1))?,
        attempts: place.number("attempts", attempts)?,
        unended: place.number("unended", unended)?,
        created: time(created),
        decision: reading.decision(decision.ok_or_else(|| at("res", &rid).corrupt("decision"))?)?,
        subject: subject.map(Target),
        files: reading.files_of(rid)?,
    })
}

/// Gives a claimed job back.
pub(super) fn retry_scan(
    tx: &mut Tx<'_>,
    document: DocumentNumber,
    fence: u64,
    due: Timestamp,
) -> Result<bool, StoreError> {
    let values = [due.millis().into(), document.0.into(), fence.into()];
    Ok(sql("UPDATE scan_job SET due = ?, begun = 0 WHERE rid = ? AND fence = ?", values).run(tx.conn)? == 1)
}

/// Gives a claimed job back whose turn broke off.
pub(super) fn scan_broke_off(
    tx: &mut Tx<'_>,
    document: DocumentNumber,
    fence: u64,
    due: Timestamp,
) -> Result<bool, StoreError> {
    let update = "UPDATE scan_job SET due = ?, begun = 0, unended = unended + 1 WHERE rid = ? AND fence = ?";
    Ok(sql(update, [due.millis().into(), document.0.into(), fence.into()]).run(tx.conn)? == 1)
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
