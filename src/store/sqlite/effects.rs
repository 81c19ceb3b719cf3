//! What entries did to the rows that say who may see what: whether the rows show it, and doing it again where they do not.

use diesel::prelude::*;

use super::lifecycle::touched;
use super::revocations::{RevocationRow, insert, revocation};
use super::server::clients;
use super::statement::sql;
use super::tx::Tx;
use crate::domain::audit::effect::{Expected, may_follow};
use crate::domain::clock::Timestamp;
use crate::domain::epoch::{Revocation, Scope};
use crate::domain::id::ResourceId;
use crate::domain::lifecycle::State;
use crate::domain::resource::Kind;
use crate::store::{SealedEntry, StoreError};

/// What a row that is written again gives as its reason.
const REASON: &str = "written again as the audit log says";

/// Whether the rows show what entries say.
pub(super) fn stand(conn: &mut SqliteConnection, expected: &[Expected]) -> Result<Vec<bool>, StoreError> {
    expected.iter().map(|one| stands(conn, one)).collect()
}

fn stands(conn: &mut SqliteConnection, expected: &Expected) -> Result<bool, StoreError> {
    match expected {
        Expected::Revocation(number, scope) => {
            let query = "SELECT number, scope, subject, link, at, NULL, NULL FROM revocation WHERE number = ?";
            let row: Option<RevocationRow> = sql(query, [(*number).into()]).row(conn)?;
            // A row that cannot be read is not the one that was written.
            let kept = row.and_then(|row| revocation(row).ok()).map(|kept| kept.scope.to_text());
            Ok(kept.is_some_and(|kept| scope.as_ref().is_none_or(|scope| *scope == kept)))
        }
        Expected::Client(id, disabled) => {
            let query = "SELECT c.disabled FROM client c JOIN party p ON p.number = c.number WHERE p.id = ?";
            let kept: Option<i64> = sql(query, [id.as_str().into()]).one(conn)?;
            Ok(kept.is_some_and(|kept| (kept != 0) == *disabled))
        }
        Expected::Document(id, state) => {
            let query = "SELECT state FROM res WHERE id = ? AND kind = ?";
            let kind = i64::from(Kind::DocumentReference.number());
            let kept: Option<String> = sql(query, [id.as_str().into(), kind.into()]).one(conn)?;
            Ok(kept.and_then(|kept| State::parse(&kept)).is_some_and(|kept| may_follow(*state, kept)))
        }
        Expected::Holds(id, least) => {
            let query = "SELECT count(*) FROM hold h JOIN res r ON r.rid = h.rid \
                WHERE r.id = ? AND r.kind = ? AND h.released IS NULL";
            let kind = i64::from(Kind::DocumentReference.number());
            let kept: Option<i64> = sql(query, [id.as_str().into(), kind.into()]).one(conn)?;
            Ok(kept.and_then(|kept| u64::try_from(kept).ok()).is_some_and(|kept| kept >= *least))
        }
    }
}

/// Writes again, as far as it closes something, what the rows do not show; each with when it was done. What is not there any more (a
/// client, a document) needs nothing. Endings were told when it was done first.
pub(super) fn redo(tx: &mut Tx<'_>, done: Vec<(Expected, Timestamp)>, entry: SealedEntry) -> Result<(), StoreError> {
    for (expected, at) in done {
        if stands(tx.conn, &expected)? {
            continue;
        }
        match expected {
            Expected::Revocation(number, scope) => {
                let scope = scope.as_deref().and_then(Scope::from_text);
                let Some(scope) = scope else { continue };
                sql("DELETE FROM revocation WHERE number = ?", [number.into()]).run(tx.conn)?;
                let revocation = Revocation { number, scope, at, holder: None };
                insert(tx.conn, &revocation, REASON)?;
                tx.effects.revocations.push(revocation);
            }
            Expected::Client(id, true) => {
                let update = "UPDATE client SET disabled = 1, generation = generation + 1 \
                    WHERE number = (SELECT number FROM party WHERE id = ?)";
                sql(update, [id.as_str().into()]).run(tx.conn)?;
                tx.effects.clients = Some(clients(tx.conn)?);
            }
            Expected::Client(_, false) => {}
            Expected::Document(id, state) => close(tx, &id, state, at)?,
            Expected::Holds(ref id, _) => hold(tx, id, &expected, at)?,
        }
    }
    tx.append(entry).map(drop)
}

/// Brings a document into a closed state. Its window stays, so that what is to be destroyed is.
fn close(tx: &mut Tx<'_>, id: &ResourceId, state: State, at: Timestamp) -> Result<(), StoreError> {
    let Some(rid) = document(tx.conn, id)? else { return Ok(()) };
    let update = "UPDATE res SET state = ?, since = ? WHERE rid = ?";
    sql(update, [state.as_str().into(), at.millis().into(), rid.into()]).run(tx.conn)?;
    sql("DELETE FROM scan_job WHERE rid = ?", [rid.into()]).run(tx.conn)?;
    touched(tx, rid)
}

/// Lays holds on a document until it has as many as it should.
fn hold(tx: &mut Tx<'_>, id: &ResourceId, least: &Expected, at: Timestamp) -> Result<(), StoreError> {
    let Some(rid) = document(tx.conn, id)? else { return Ok(()) };
    while !stands(tx.conn, least)? {
        let insert = "INSERT INTO hold (rid, authority, reason, actor, at) VALUES (?, NULL, ?, 'server', ?)";
        sql(insert, [rid.into(), REASON.into(), at.millis().into()]).run(tx.conn)?;
    }
    Ok(())
}

fn document(conn: &mut SqliteConnection, id: &ResourceId) -> Result<Option<i64>, StoreError> {
    let kind = i64::from(Kind::DocumentReference.number());
    sql("SELECT rid FROM res WHERE id = ? AND kind = ?", [id.as_str().into(), kind.into()]).one(conn)
}
