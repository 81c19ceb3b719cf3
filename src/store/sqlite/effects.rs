//! What entries did to the rows that say who may see what: whether the rows show it, and doing it again where they do not.

use diesel::prelude::*;

use super::lifecycle::touched;
use super::operators::operator;
use super::revocations::{RevocationRow, insert, revocation};
use super::rows::time;
use super::server::{client_by_id, clients};
use super::statement::{Value, sql};
use super::tx::Tx;
use crate::domain::audit::effect::{Expected, Issued, OperatorStands, Recorded, Registered, may_follow};
use crate::domain::clock::Timestamp;
use crate::domain::epoch::{Revocation, Scope};
use crate::domain::id::{ClientId, FileId, ResourceId};
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
        Expected::Revocation(number, said) => {
            let query = "SELECT number, scope, subject, link, at, NULL, NULL FROM revocation WHERE number = ?";
            let row: Option<RevocationRow> = sql(query, [(*number).into()]).row(conn)?;
            // A row that cannot be read is not the one that was written.
            let kept = row.and_then(|row| revocation(row).ok()).map(|kept| (kept.at, kept.scope.to_text()));
            Ok(kept.is_some_and(|kept| said.as_ref().is_none_or(|said| *said == kept)))
        }
        Expected::Client(id, disabled) => {
            let query = "SELECT c.disabled FROM client c JOIN party p ON p.number = c.number WHERE p.id = ?";
            let kept: Option<i64> = sql(query, [id.as_str().into()]).one(conn)?;
            Ok(kept.is_some_and(|kept| (kept != 0) == *disabled))
        }
        Expected::Registered(id, registered) => {
            let kept = readable(client_by_id(conn, id))?;
            Ok(kept.is_some_and(|kept| match registered {
                Registered::Digest(digest) => kept.registration() == *digest,
                Registered::Scope(scope) => kept.scope == *scope,
            }))
        }
        Expected::Operator(id, stands) => {
            let kept = readable(operator(conn, id))?;
            Ok(kept.is_some_and(|kept| match stands {
                OperatorStands::Off => kept.disabled,
                OperatorStands::On(role, digest) => {
                    let is_same = digest.as_ref().is_none_or(|digest| kept.registration() == *digest);
                    !kept.disabled && kept.role == *role && is_same
                }
            }))
        }
        Expected::Created(id) => was_taken_in(conn, id),
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
        Expected::Link(link) => has_link(conn, link),
        Expected::Use { file, client, recipient, used } => are_spent(conn, (file, client, recipient), *used),
    }
}

/// Whether a document is there, with its index row as long as it is not destroyed.
fn was_taken_in(conn: &mut SqliteConnection, id: &ResourceId) -> Result<bool, StoreError> {
    let query = "SELECT r.state, d.rid FROM res r LEFT JOIN doc d ON d.rid = r.rid WHERE r.id = ? AND r.kind = ?";
    let kind = i64::from(Kind::DocumentReference.number());
    let kept: Option<(Option<String>, Option<i64>)> = sql(query, [id.as_str().into(), kind.into()]).row(conn)?;
    let purged = State::Purged.as_str();
    Ok(kept.is_some_and(|(state, index)| index.is_some() || state.as_deref() == Some(purged)))
}

/// Whether as many uses are spent, or more; with its file, the count is gone too.
fn are_spent(
    conn: &mut SqliteConnection,
    (file, client, recipient): (&FileId, &ClientId, &[u8]),
    used: u64,
) -> Result<bool, StoreError> {
    let query = "SELECT coalesce((SELECT u.used FROM link_use u JOIN party p ON p.number = u.reader \
        WHERE u.file = f.id AND p.id = ? AND u.recipient = ?), 0) \
        FROM file f WHERE f.id = ? AND f.key IS NOT NULL";
    let values = [client.as_str().into(), recipient.into(), file.as_bytes().as_slice().into()];
    let kept: Option<i64> = sql(query, values).one(conn)?;
    Ok(kept.is_none_or(|kept| u64::try_from(kept).is_ok_and(|kept| kept >= used)))
}

/// What a row says; one that cannot be read is not the one that was written.
fn readable<T>(row: Result<Option<T>, StoreError>) -> Result<Option<T>, StoreError> {
    match row {
        Err(StoreError::Corrupt { .. }) => Ok(None),
        row => row,
    }
}

/// Rows behind one, each of which an entry must have made: revocations by their number, then operators by id.
pub(super) fn recorded(
    conn: &mut SqliteConnection,
    after: Option<Recorded>,
    limit: usize,
) -> Result<Vec<Recorded>, StoreError> {
    let (number, id) = match after {
        None => (i64::MIN, String::new()),
        Some(Recorded::Revocation(number)) => (number, String::new()),
        Some(Recorded::Operator(id)) => (i64::MAX, id),
    };
    let query = "SELECT * FROM (SELECT number, NULL AS id FROM revocation WHERE number > ? \
        UNION ALL SELECT NULL, id FROM operator WHERE id > ?) ORDER BY number IS NULL, number, id LIMIT ?";
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    let rows: Vec<(Option<i64>, Option<String>)> = sql(query, [number.into(), id.into(), limit.into()]).rows(conn)?;
    let row = |(number, id): (Option<i64>, Option<String>)| match number {
        Some(number) => Recorded::Revocation(number),
        None => Recorded::Operator(id.unwrap_or_default()),
    };
    Ok(rows.into_iter().map(row).collect())
}

type LinkTerms = (Option<i64>, Option<String>, Option<Vec<u8>>, Option<i64>, Option<String>, Option<i64>, Option<i64>);

/// Whether a link's row is there as it was issued; with its file, the row is gone too.
fn has_link(conn: &mut SqliteConnection, link: &Issued) -> Result<bool, StoreError> {
    let query = "SELECT l.number, p.id, l.recipient, l.uses, l.network, l.confirm, l.expires FROM file f \
        LEFT JOIN link l ON l.file = f.id AND l.id = ? LEFT JOIN party p ON p.number = l.reader \
        WHERE f.id = ? AND f.key IS NOT NULL";
    let values = [link.id.as_str().into(), link.file.as_bytes().as_slice().into()];
    let Some(row) = sql(query, values).row::<LinkTerms>(conn)? else { return Ok(true) };
    let (number, client, recipient, uses, network, confirm, expires) = row;
    Ok(link.row.is_none_or(|row| number == Some(i64::from(row)))
        && client.as_deref() == Some(link.client.as_str())
        && recipient.as_deref() == Some(link.recipient.as_slice())
        && uses == Some(i64::from(link.uses))
        && network == link.network
        && confirm == Some(i64::from(link.confirm))
        && expires.is_some_and(|expires| time(expires).seconds() == link.expires.seconds()))
}

/// Writes again, as far as it closes something, what the rows do not show; each with when it was done. What is not there any more (a
/// client, a document) needs nothing. Endings were told when it was done first.
pub(super) fn redo(tx: &mut Tx<'_>, done: Vec<(Expected, Timestamp)>, entry: SealedEntry) -> Result<(), StoreError> {
    for (expected, at) in done {
        if stands(tx.conn, &expected)? {
            continue;
        }
        match expected {
            Expected::Revocation(number, said) => {
                let scope = said.as_ref().and_then(|(_, scope)| Scope::from_text(scope));
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
            Expected::Operator(id, OperatorStands::Off) => {
                sql("UPDATE operator SET disabled = 1 WHERE id = ?", [id.as_str().into()]).run(tx.conn)?;
            }
            // What was registered is known by its digest alone; a document that is not there cannot be made.
            Expected::Client(_, false)
            | Expected::Operator(_, OperatorStands::On(..))
            | Expected::Registered(..)
            | Expected::Created(_) => {}
            Expected::Document(id, state) => close(tx, &id, state, at)?,
            Expected::Holds(ref id, _) => hold(tx, id, &expected, at)?,
            Expected::Link(link) => limit(tx.conn, &link)?,
            Expected::Use { file, client, recipient, used } => {
                spend(tx.conn, (file, &client, &recipient), used, at)?;
            }
        }
    }
    tx.append(entry).map(drop)
}

/// Gives a link its terms again. A row that is gone is written where the entry says its number, without a name for the file.
fn limit(conn: &mut SqliteConnection, link: &Issued) -> Result<(), StoreError> {
    let file = || link.file.as_bytes().as_slice().into();
    let query = "SELECT number, file_name FROM link WHERE file = ? AND id = ?";
    let kept: Option<(i64, Option<String>)> = sql(query, [file(), link.id.as_str().into()]).row(conn)?;
    let (kept, file_name) = kept.unzip();
    let Some(number) = link.row.map(i64::from).or(kept) else { return Ok(()) };
    sql("DELETE FROM link WHERE number = ? OR (file = ? AND id = ?)", [number.into(), file(), link.id.as_str().into()])
        .run(conn)?;
    let insert = "INSERT INTO link (number, id, file, reader, recipient, uses, network, confirm, file_name, expires) \
        SELECT ?, ?, ?, number, ?, ?, ?, ?, ?, ? FROM party WHERE id = ?";
    let values: [Value; 10] = [
        number.into(),
        link.id.as_str().into(),
        file(),
        link.recipient.as_slice().into(),
        link.uses.into(),
        link.network.clone().into(),
        link.confirm.into(),
        file_name.flatten().into(),
        link.expires.millis().into(),
        link.client.as_str().into(),
    ];
    sql(insert, values).run(conn).map(drop)
}

/// Counts uses as spent again.
fn spend(
    conn: &mut SqliteConnection,
    (file, client, recipient): (FileId, &ClientId, &[u8]),
    used: u64,
    at: Timestamp,
) -> Result<(), StoreError> {
    let insert = "INSERT INTO link_use (file, reader, recipient, used, last) SELECT ?, number, ?, ?, ? FROM party WHERE id = ? \
        ON CONFLICT (file, reader, recipient) DO UPDATE SET used = max(used, excluded.used), last = max(last, excluded.last)";
    let values =
        [file.as_bytes().as_slice().into(), recipient.into(), used.into(), at.millis().into(), client.as_str().into()];
    sql(insert, values).run(conn).map(drop)
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
