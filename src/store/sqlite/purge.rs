//! Destruction: keys first, then bytes, texts and index rows; what stays is a tombstone that says what, when and why.

use std::collections::BTreeSet;

use super::lifecycle::{set_state, touched};
use super::operators::is_held;
use super::outbox;
use super::rows::{at, time};
use super::statement::sql;
use super::tx::Tx;
use super::{due, endings};
use super::{given_links, intern};
use crate::domain::audit::endings::Ended;
use crate::domain::clock::Timestamp;
use crate::domain::clock_watch::Destroyable;
use crate::domain::id::FileId;
use crate::domain::lifecycle::{State, Transition};
use crate::domain::resource::DocumentNumber;
use crate::failpoint::{self, Point};
use crate::store::{SealedEntry, StoreError};

/// Destroys what a document holds and leaves its tombstone; the keys first. Answers files whose bytes are elsewhere.
pub(super) fn document(
    tx: &mut Tx<'_>,
    document: DocumentNumber,
    transition: &Transition,
    entry: SealedEntry,
) -> Result<Vec<FileId>, StoreError> {
    let rid = document.0;
    let query = "SELECT version, updated, state FROM res WHERE rid = ? AND kind = 1";
    let row: Option<(i64, i64, Option<String>)> = sql(query, [rid.into()]).row(tx.conn)?;
    let (version, updated, state) = row.ok_or(StoreError::Changed)?;
    let place = at("res", &rid);
    let state = place.state("state", &state.unwrap_or_default())?;
    if state != transition.from() || transition.to() != State::Purged {
        return Err(StoreError::Changed);
    }
    // A hold that came meanwhile wins.
    if is_held(tx, rid)? {
        return Err(StoreError::Changed);
    }
    touched(tx, rid)?;
    destroy_links(tx, rid)?;
    given_links::destroy(tx.conn, rid)?;
    let elsewhere = destroy_files(tx, rid)?;
    let binaries: Vec<(i64,)> = sql("SELECT rid FROM res WHERE document = ?", [rid.into()]).rows(tx.conn)?;
    for (row,) in std::iter::once((rid,)).chain(binaries) {
        destroy_texts(tx, row)?;
    }
    let named = intern::targets_of(tx.conn, rid)?;
    for table in [
        "DELETE FROM identifier WHERE rid = ?",
        "DELETE FROM ref WHERE rid = ?",
        "DELETE FROM doc WHERE rid = ?",
        "DELETE FROM scan_job WHERE rid = ?",
        "DELETE FROM evidence WHERE rid = ?",
    ] {
        sql(table, [rid.into()]).run(tx.conn)?;
    }
    intern::forget(tx.conn, &named)?;
    outbox::withhold(tx, rid, transition.at())?;
    set_state(tx, rid, place.number("version", version)?, time(updated), transition)?;
    tx.append(entry)?;
    tx.effects.destroyed = true;
    Ok(elsewhere)
}

/// What a file's row still says afterwards: that it was there, whose it was, and to which document it belongs.
const EMPTY_FILE: &str = "UPDATE file SET key = NULL, inline = NULL, title = NULL, media_type = '', size = 0, \
    sha256 = zeroblob(32), sha1 = zeroblob(20) WHERE rid = ?";

fn destroy_files(tx: &mut Tx<'_>, rid: i64) -> Result<Vec<FileId>, StoreError> {
    sql("UPDATE file SET key = NULL WHERE rid = ?", [rid.into()]).run(tx.conn)?;
    failpoint::here(Point::PurgeKeys);
    let query = "SELECT id FROM file WHERE rid = ? AND inline IS NULL ORDER BY content";
    let elsewhere: Vec<(Vec<u8>,)> = sql(query, [rid.into()]).rows(tx.conn)?;
    let inline = "DELETE FROM content WHERE number IN (SELECT inline FROM file WHERE rid = ?)";
    sql(inline, [rid.into()]).run(tx.conn)?;
    sql(EMPTY_FILE, [rid.into()]).run(tx.conn)?;
    elsewhere.iter().map(|(id,)| at("file", &rid).file_id("id", id)).collect()
}

/// Links of a document's files, and their counts.
fn destroy_links(tx: &mut Tx<'_>, rid: i64) -> Result<(), StoreError> {
    let ids: Vec<(Vec<u8>,)> = sql("SELECT id FROM file WHERE rid = ?", [rid.into()]).rows(tx.conn)?;
    for (id,) in ids {
        super::links::destroy(tx.conn, at("file", &rid).file_id("id", &id)?)?;
    }
    Ok(())
}

fn destroy_texts(tx: &mut Tx<'_>, rid: i64) -> Result<(), StoreError> {
    let query = "SELECT body FROM ver WHERE rid = ? AND body IS NOT NULL";
    let bodies: Vec<(i64,)> = sql(query, [rid.into()]).rows(tx.conn)?;
    for number in bodies.into_iter().map(|(number,)| number).collect::<BTreeSet<_>>() {
        sql("DELETE FROM body WHERE number = ?", [number.into()]).run(tx.conn)?;
    }
    sql("UPDATE ver SET body = NULL WHERE rid = ?", [rid.into()]).run(tx.conn)?;
    sql("UPDATE res SET body = NULL, due = NULL WHERE rid = ?", [rid.into()]).run(tx.conn).map(drop)
}

/// Destroys unclaimed Binaries that are due; nothing is written when none is.
pub(super) fn unclaimed(
    tx: &mut Tx<'_>,
    now: Timestamp,
    may: Destroyable,
    limit: usize,
    entry: SealedEntry,
) -> Result<Vec<FileId>, StoreError> {
    let rows = due::unclaimed(tx.conn, now, may, limit)?;
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let mut elsewhere = Vec::new();
    for (rid, file) in rows {
        let id = || file.as_bytes().as_slice().into();
        sql("UPDATE file SET key = NULL WHERE id = ?", [id()]).run(tx.conn)?;
        let query = "SELECT inline FROM file WHERE id = ?";
        match sql(query, [id()]).row::<(Option<i64>,)>(tx.conn)? {
            Some((Some(inline),)) => {
                sql("DELETE FROM content WHERE number = ?", [inline.into()]).run(tx.conn)?;
            }
            Some((None,)) => elsewhere.push(file),
            None => {}
        }
        sql("DELETE FROM file WHERE id = ?", [id()]).run(tx.conn)?;
        endings::add(tx.conn, &Ended::File(file), now)?;
        destroy_texts(tx, rid)?;
        tx.effects.files.push(file);
    }
    tx.append(entry)?;
    tx.effects.destroyed = true;
    // Downloads that run look again.
    tx.effects.changes += 1;
    Ok(elsewhere)
}
