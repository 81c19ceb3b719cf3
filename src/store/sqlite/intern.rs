//! Texts and sets that occur many times and are stored once: reference targets, client ids, code sets, decisions. Only the
//! writer interns, in the transaction that needs the number.

use diesel::prelude::*;

use super::statement::sql;
use crate::domain::id::ClientId;
use crate::domain::policy::{Coding, Decision};
use crate::store::StoreError;

/// The number of a reference's text.
pub(super) fn target(conn: &mut SqliteConnection, text: &str) -> Result<i64, StoreError> {
    match sql("SELECT number FROM target WHERE text = ?", [text.into()]).one(conn)? {
        Some(number) => Ok(number),
        None => sql("INSERT INTO target (text) VALUES (?)", [text.into()]).insert(conn),
    }
}

/// The references that a document is found by.
pub(super) fn targets_of(conn: &mut SqliteConnection, rid: i64) -> Result<Vec<i64>, StoreError> {
    let query =
        "SELECT target FROM ref WHERE rid = ? UNION SELECT patient FROM doc WHERE rid = ? AND patient IS NOT NULL";
    let rows: Vec<(i64,)> = sql(query, [rid.into(), rid.into()]).rows(conn)?;
    Ok(rows.into_iter().map(|(number,)| number).collect())
}

/// Forgets the texts of references that nothing uses any more. Revocations go by numbers, and these do not come again.
pub(super) fn forget(conn: &mut SqliteConnection, targets: &[i64]) -> Result<(), StoreError> {
    const FORGET: &str = "DELETE FROM target WHERE number = ? \
        AND NOT EXISTS (SELECT 1 FROM ref WHERE ref.target = target.number) \
        AND NOT EXISTS (SELECT 1 FROM doc WHERE patient = target.number) \
        AND NOT EXISTS (SELECT 1 FROM doc WHERE custodian = target.number) \
        AND NOT EXISTS (SELECT 1 FROM res WHERE res.target = target.number) \
        AND NOT EXISTS (SELECT 1 FROM res WHERE custodian = target.number) \
        AND NOT EXISTS (SELECT 1 FROM subscription WHERE patient = target.number)";
    targets.iter().try_for_each(|number| sql(FORGET, [(*number).into()]).run(conn).map(drop))
}

/// The number of a client's id, registered or not.
pub(super) fn party(conn: &mut SqliteConnection, id: &ClientId) -> Result<i64, StoreError> {
    match sql("SELECT number FROM party WHERE id = ?", [id.as_str().into()]).one(conn)? {
        Some(number) => Ok(number),
        None => sql("INSERT INTO party (id) VALUES (?)", [id.as_str().into()]).insert(conn),
    }
}

fn term(conn: &mut SqliteConnection, coding: &Coding) -> Result<i64, StoreError> {
    let code = coding.code.as_deref().unwrap_or_default();
    let system = coding.system.as_deref().unwrap_or_default();
    let values = || [code.into(), system.into()];
    match sql("SELECT number FROM term WHERE code = ? AND system = ?", values()).one(conn)? {
        Some(number) => Ok(number),
        None => sql("INSERT INTO term (code, system) VALUES (?, ?)", values()).insert(conn),
    }
}

/// The number of a set of codes; 0 is the empty one.
pub(super) fn term_set(conn: &mut SqliteConnection, codings: &[Coding]) -> Result<i64, StoreError> {
    if codings.is_empty() {
        return Ok(0);
    }
    let mut terms = codings.iter().map(|coding| term(conn, coding)).collect::<Result<Vec<_>, _>>()?;
    terms.sort_unstable();
    terms.dedup();
    let text = terms.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    if let Some(number) = sql("SELECT number FROM term_set WHERE terms = ?", [text.as_str().into()]).one(conn)? {
        return Ok(number);
    }
    let number = sql("INSERT INTO term_set (terms) VALUES (?)", [text.into()]).insert(conn)?;
    for term in terms {
        sql("INSERT INTO term_set_member (term, term_set) VALUES (?, ?)", [term.into(), number.into()]).run(conn)?;
    }
    Ok(number)
}

/// The number of a decision.
pub(super) fn decision(conn: &mut SqliteConnection, decision: &Decision) -> Result<i64, StoreError> {
    let text = decision.encode();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    match sql("SELECT number FROM decision WHERE digest = ?", [digest.as_ref().into()]).one(conn)? {
        Some(number) => Ok(number),
        None => {
            let values = [digest.as_ref().into(), text.into()];
            sql("INSERT INTO decision (digest, text) VALUES (?, ?)", values).insert(conn)
        }
    }
}
