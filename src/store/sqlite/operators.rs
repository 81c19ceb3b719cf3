//! Operators, approvals, holds, and what is held back.

use async_trait::async_trait;
use diesel::prelude::*;

use super::read::Reading;
use super::rows::{at, time};
use super::statement::{Sql, sql};
use super::tx::Tx;
use super::{SqliteStore, lifecycle};
use crate::domain::clock::Timestamp;
use crate::domain::id::OperatorId;
use crate::domain::lifecycle::{Evidence, Transition};
use crate::domain::operator::{HeldBack, Override, Role};
use crate::domain::resource::{DocumentNumber, Target};
use crate::store::{Approval, Hold, NewHold, Operators, Quarantined, SealedEntry, StoreError, StoredOperator, Written};

#[async_trait]
impl Operators for SqliteStore {
    async fn add_operator(&self, operator: StoredOperator, entry: SealedEntry) -> Result<(), StoreError> {
        self.writer.run(move |tx| add_operator(tx, operator, entry)).await
    }

    async fn disable_operator(&self, id: &OperatorId, entry: SealedEntry) -> Result<bool, StoreError> {
        let id = id.clone();
        self.writer.run(move |tx| disable_operator(tx, &id, entry)).await
    }

    async fn operator(&self, id: &OperatorId) -> Result<Option<StoredOperator>, StoreError> {
        self.read(|reading| operator(reading.conn, id))
    }

    async fn operators(&self) -> Result<Vec<StoredOperator>, StoreError> {
        let mut query = sql(OPERATORS, []);
        query.push(" ORDER BY id", []);
        self.read(|reading| operators(reading.conn, query))
    }

    async fn quarantined(&self, limit: usize) -> Result<Vec<Quarantined>, StoreError> {
        let mut query = sql(QUARANTINED, []);
        query.push(" ORDER BY r.since, r.rid LIMIT ?", [most(limit)]);
        self.read(|reading| quarantined(reading, query))
    }

    async fn quarantined_document(&self, document: DocumentNumber) -> Result<Option<Quarantined>, StoreError> {
        let mut query = sql(QUARANTINED, []);
        query.push(" AND r.rid = ?", [document.0.into()]);
        Ok(self.read(|reading| quarantined(reading, query))?.into_iter().next())
    }

    async fn ask_approval(&self, approval: Approval, entry: SealedEntry) -> Result<(), StoreError> {
        self.writer.run(move |tx| ask_approval(tx, approval, entry)).await
    }

    async fn release_overruled(
        &self,
        agreed: &Override,
        transition: Transition,
        entries: Vec<SealedEntry>,
    ) -> Result<Written, StoreError> {
        let agreed = agreed.clone();
        self.writer.run(move |tx| release_overruled(tx, &agreed, transition, entries)).await
    }

    async fn add_hold(&self, hold: NewHold, entry: SealedEntry) -> Result<u64, StoreError> {
        self.writer.run(move |tx| add_hold(tx, hold, entry)).await
    }

    async fn release_hold(&self, number: u64, at: Timestamp, entry: SealedEntry) -> Result<bool, StoreError> {
        self.writer.run(move |tx| release_hold(tx, number, at, entry)).await
    }

    async fn holds(&self, document: Option<DocumentNumber>, limit: usize) -> Result<Vec<Hold>, StoreError> {
        let mut query = sql(HOLDS, []);
        if let Some(document) = document {
            query.push(" AND h.rid = ?", [document.0.into()]);
        }
        query.push(" ORDER BY h.number LIMIT ?", [most(limit)]);
        self.read(|reading| holds(reading.conn, query))
    }
}

fn most(limit: usize) -> super::statement::Value {
    u64::try_from(limit).unwrap_or(u64::MAX).into()
}

const OPERATORS: &str = "SELECT id, role, password, disabled, created FROM operator";

/// One operator.
pub(super) fn operator(conn: &mut SqliteConnection, id: &OperatorId) -> Result<Option<StoredOperator>, StoreError> {
    let mut query = sql(OPERATORS, []);
    query.push(" WHERE id = ?", [id.as_str().into()]);
    Ok(operators(conn, query)?.into_iter().next())
}

fn operators(conn: &mut SqliteConnection, query: Sql) -> Result<Vec<StoredOperator>, StoreError> {
    let rows: Vec<(String, String, String, i64, i64)> = query.rows(conn)?;
    let operator = |(id, role, password, disabled, created): (String, String, String, i64, i64)| {
        let place = at("operator", &id);
        Ok(StoredOperator {
            id: OperatorId::parse(&id).ok_or_else(|| place.corrupt("id"))?,
            role: Role::parse(&role).ok_or_else(|| place.corrupt("role"))?,
            password,
            disabled: place.flag("disabled", disabled)?,
            created: time(created),
        })
    };
    rows.into_iter().map(operator).collect()
}

fn add_operator(tx: &mut Tx<'_>, operator: StoredOperator, entry: SealedEntry) -> Result<(), StoreError> {
    let insert = "INSERT INTO operator (id, role, password, disabled, created) VALUES (?, ?, ?, ?, ?) \
        ON CONFLICT (id) DO NOTHING";
    let values = [
        operator.id.as_str().into(),
        operator.role.as_str().into(),
        operator.password.into(),
        operator.disabled.into(),
        operator.created.millis().into(),
    ];
    if sql(insert, values).run(tx.conn)? == 0 {
        return Err(StoreError::AlreadyExists);
    }
    tx.append(entry).map(drop)
}

fn disable_operator(tx: &mut Tx<'_>, id: &OperatorId, entry: SealedEntry) -> Result<bool, StoreError> {
    let update = "UPDATE operator SET disabled = 1 WHERE id = ? AND disabled = 0";
    if sql(update, [id.as_str().into()]).run(tx.conn)? == 0 {
        return Ok(false);
    }
    sql("DELETE FROM approval WHERE operator = ?", [id.as_str().into()]).run(tx.conn)?;
    tx.append(entry)?;
    Ok(true)
}

/// The reason is that of the last step, which held it back.
const QUARANTINED: &str = "SELECT r.rid, r.id, r.version, r.created, r.since, r.due, r.decision, t.text, \
    (SELECT s.reason FROM step s WHERE s.rid = r.rid ORDER BY s.number DESC LIMIT 1), e.file, e.sha256, e.place, \
    EXISTS (SELECT 1 FROM hold h WHERE h.rid = r.rid AND h.released IS NULL) \
    FROM res r LEFT JOIN doc d ON d.rid = r.rid LEFT JOIN target t ON t.number = d.patient \
    LEFT JOIN evidence e ON e.rid = r.rid WHERE r.kind = 1 AND r.state = 'quarantined'";

type QuarantinedRow = (
    i64,
    String,
    i64,
    i64,
    i64,
    Option<i64>,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Option<String>,
    i64,
);

fn quarantined(reading: &mut Reading<'_>, query: Sql) -> Result<Vec<Quarantined>, StoreError> {
    let rows: Vec<QuarantinedRow> = query.rows(reading.conn)?;
    rows.into_iter().map(|row| held_back(reading, row)).collect()
}

fn held_back(reading: &mut Reading<'_>, row: QuarantinedRow) -> Result<Quarantined, StoreError> {
    let (rid, id, version, created, since, due, decision, about, reason, file, sha256, place_text, held) = row;
    let place = at("res", &rid);
    let subject = HeldBack { document: DocumentNumber(rid), since: time(since) };
    let evidence = match (file, sha256, place_text) {
        (Some(file), Some(sha256), Some(place)) => Some(Evidence {
            file: at("evidence", &rid).file_id("file", &file)?,
            sha256: at("evidence", &rid).fixed("sha256", &sha256)?,
            place,
        }),
        _ => None,
    };
    Ok(Quarantined {
        subject,
        id: place.resource_id("id", &id)?,
        version: place.number("version", version)?,
        created: time(created),
        due: due.map(time),
        decision: reading.decision(decision.ok_or_else(|| place.corrupt("decision"))?)?,
        about: about.map(Target),
        reason: reason.unwrap_or_default(),
        evidence,
        held: place.flag("held", held)?,
        approvals: approvals(reading.conn, subject)?,
    })
}

fn approvals(conn: &mut SqliteConnection, subject: HeldBack) -> Result<Vec<Approval>, StoreError> {
    let query = "SELECT operator, at, reason FROM approval WHERE rid = ? AND since = ? ORDER BY at, operator";
    let values = [subject.document.0.into(), subject.since.millis().into()];
    let rows: Vec<(String, i64, String)> = sql(query, values).rows(conn)?;
    let approval = |(by, moment, reason): (String, i64, String)| {
        let by = OperatorId::parse(&by).ok_or_else(|| at("approval", &by).corrupt("operator"))?;
        Ok(Approval { subject, by, at: time(moment), reason })
    };
    rows.into_iter().map(approval).collect()
}

/// That the document is held back since then, and the operator may act.
fn still(tx: &mut Tx<'_>, subject: HeldBack, operator: &OperatorId) -> Result<(), StoreError> {
    let query = "SELECT 1 FROM res r JOIN operator o ON o.id = ? AND o.disabled = 0 \
        WHERE r.rid = ? AND r.kind = 1 AND r.state = 'quarantined' AND r.since = ?";
    let values = [operator.as_str().into(), subject.document.0.into(), subject.since.millis().into()];
    sql(query, values).one::<i64>(tx.conn)?.map(drop).ok_or(StoreError::Changed)
}

fn ask_approval(tx: &mut Tx<'_>, approval: Approval, entry: SealedEntry) -> Result<(), StoreError> {
    still(tx, approval.subject, &approval.by)?;
    let replace = "INSERT OR REPLACE INTO approval (rid, operator, since, at, reason) VALUES (?, ?, ?, ?, ?)";
    let values = [
        approval.subject.document.0.into(),
        approval.by.as_str().into(),
        approval.subject.since.millis().into(),
        approval.at.millis().into(),
        approval.reason.into(),
    ];
    sql(replace, values).run(tx.conn)?;
    tx.append(entry).map(drop)
}

fn release_overruled(
    tx: &mut Tx<'_>,
    agreed: &Override,
    transition: Transition,
    entries: Vec<SealedEntry>,
) -> Result<Written, StoreError> {
    let first = agreed.first();
    let subject = first.subject();
    still(tx, subject, first.by())?;
    still(tx, subject, agreed.second().by())?;
    let delete = "DELETE FROM approval WHERE rid = ? AND operator = ? AND since = ? AND at = ?";
    let values = [
        subject.document.0.into(),
        first.by().as_str().into(),
        subject.since.millis().into(),
        first.at().millis().into(),
    ];
    if sql(delete, values).run(tx.conn)? == 0 {
        return Err(StoreError::Changed);
    }
    lifecycle::transition(tx, subject.document, &[transition], entries)
}

/// What a document leaves behind when its state changes: approvals were about the old one. What was found is kept until the
/// document is destroyed, or found again.
pub(super) fn state_changed(tx: &mut Tx<'_>, rid: i64, evidence: Option<&Evidence>) -> Result<(), StoreError> {
    sql("DELETE FROM approval WHERE rid = ?", [rid.into()]).run(tx.conn)?;
    let Some(evidence) = evidence else { return Ok(()) };
    let replace = "INSERT OR REPLACE INTO evidence (rid, file, sha256, place) VALUES (?, ?, ?, ?)";
    let values = [
        rid.into(),
        evidence.file.as_bytes().as_slice().into(),
        evidence.sha256.as_slice().into(),
        evidence.place.as_str().into(),
    ];
    sql(replace, values).run(tx.conn).map(drop)
}

/// Approvals that were given before this moment are over.
pub(super) fn forget_approvals(tx: &mut Tx<'_>, before: Timestamp) -> Result<(), StoreError> {
    sql("DELETE FROM approval WHERE at <= ?", [before.millis().into()]).run(tx.conn).map(drop)
}

/// Whether a hold keeps a document from being destroyed.
pub(super) fn is_held(tx: &mut Tx<'_>, rid: i64) -> Result<bool, StoreError> {
    let query = "SELECT number FROM hold WHERE rid = ? AND released IS NULL LIMIT 1";
    Ok(sql(query, [rid.into()]).one::<i64>(tx.conn)?.is_some())
}

const HOLDS: &str = "SELECT h.number, h.rid, r.id, h.authority, h.reason, h.actor, h.at FROM hold h \
    JOIN res r ON r.rid = h.rid WHERE h.released IS NULL";

type HoldRow = (i64, i64, String, Option<String>, String, String, i64);

fn holds(conn: &mut SqliteConnection, query: Sql) -> Result<Vec<Hold>, StoreError> {
    let rows: Vec<HoldRow> = query.rows(conn)?;
    let hold = |(number, rid, id, authority, reason, actor, moment): HoldRow| {
        let laid = NewHold { document: DocumentNumber(rid), authority, reason, actor, at: time(moment) };
        let id = at("res", &rid).resource_id("id", &id)?;
        Ok(Hold { number: at("hold", &number).number("number", number)?, id, laid })
    };
    rows.into_iter().map(hold).collect()
}

fn add_hold(tx: &mut Tx<'_>, hold: NewHold, entry: SealedEntry) -> Result<u64, StoreError> {
    let insert = "INSERT INTO hold (rid, authority, reason, actor, at) \
        SELECT rid, ?, ?, ?, ? FROM res WHERE rid = ? AND kind = 1 AND state <> 'purged'";
    let values =
        [hold.authority.into(), hold.reason.into(), hold.actor.into(), hold.at.millis().into(), hold.document.0.into()];
    if sql(insert, values).run(tx.conn)? == 0 {
        return Err(StoreError::Changed);
    }
    let number = sql("SELECT last_insert_rowid()", []).one::<i64>(tx.conn)?.unwrap_or_default();
    tx.append(entry)?;
    at("hold", &number).number("number", number)
}

fn release_hold(tx: &mut Tx<'_>, number: u64, at: Timestamp, entry: SealedEntry) -> Result<bool, StoreError> {
    let update = "UPDATE hold SET released = ? WHERE number = ? AND released IS NULL";
    if sql(update, [at.millis().into(), number.into()]).run(tx.conn)? == 0 {
        return Ok(false);
    }
    tx.append(entry)?;
    Ok(true)
}
