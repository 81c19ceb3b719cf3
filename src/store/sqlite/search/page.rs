//! A page of a search: first which rows stand on it, within what one answer and its audit entry may hold, then their texts. What was
//! stored by others decides how much a row weighs, so that a page ends by weight and not by number alone.

use std::collections::HashMap;

use diesel::prelude::*;

use super::{Order, keep_few, matching, newest, total};
use crate::domain::clock::Timestamp;
use crate::domain::principal::AccessScope;
use crate::domain::query::{Position, Query};
use crate::domain::resource::{Kind, Stored};
use crate::store::sqlite::read::{Reading, StoredRow, select_current};
use crate::store::sqlite::rows::{Announced, announced, at};
use crate::store::sqlite::search_time::Began;
use crate::store::sqlite::statement::{Sql, numbers, sql};
use crate::store::sqlite::visibility;
use crate::store::{AnswerMemory, Page, StoreError};

/// Most rows of a page.
const MAX_PAGE: usize = 1_000;
/// Bytes of text that a page holds.
const TEXT_MOST: u64 = 8 << 20;
/// Files that a page holds: a link to each may be offered, and is named in the audit entry.
const FILES_MOST: u64 = 4_096;
/// Bytes of subjects that a page holds: the audit entry names each.
const SUBJECTS_MOST: usize = 96 * 1024;
/// Up to this a packed text is looked into at once; of a larger one the whole would be read for its first bytes.
const PEEKED: i64 = 64 * 1024;

/// A row and its place in the order.
struct Placed {
    rid: i64,
    key: i64,
}

/// Row, key of the order, length of the packed text, and of a short one its first bytes.
type PlacedRow = (i64, i64, Option<i64>, Option<Vec<u8>>);

/// A page before its texts are read.
pub(in crate::store::sqlite) struct Begun {
    places: Vec<Placed>,
    more: bool,
    total: u64,
    newest: Option<Timestamp>,
    /// Bytes of its texts.
    pub(in crate::store::sqlite) text: u64,
}

/// A page, or how far it came: one whose texts are long is finished by [`finish`] once there is room for them.
pub(in crate::store::sqlite) enum Step {
    Whole(Page),
    Begun(Begun),
}

/// Finds the rows of a page, and reads their texts where they are short.
///
/// # Errors
/// [`StoreError::TooCostly`] once its time is over.
pub(in crate::store::sqlite) fn begin(
    reading: &mut Reading<'_>,
    query: &Query,
    scope: &AccessScope,
    began: Began,
) -> Result<Step, StoreError> {
    in_snapshot(reading, |reading| {
        let begun = places(reading.conn, query, scope, began)?;
        if begun.text > AnswerMemory::FREE {
            return Ok(Step::Begun(begun));
        }
        read(reading, begun, (query.kind, scope)).map(Step::Whole)
    })
}

/// Reads the texts of a page. What its reader may not see any more by now, or what is gone, is left out.
///
/// # Errors
/// Failures of the database.
pub(in crate::store::sqlite) fn finish(
    reading: &mut Reading<'_>,
    begun: Begun,
    (kind, scope): (Kind, &AccessScope),
) -> Result<Page, StoreError> {
    in_snapshot(reading, |reading| read(reading, begun, (kind, scope)))
}

fn in_snapshot<T>(
    reading: &mut Reading<'_>,
    work: impl FnOnce(&mut Reading<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    sql("BEGIN", []).run(reading.conn)?;
    let done = work(reading);
    // Ends a snapshot only: nothing was written.
    sql("ROLLBACK", []).run(reading.conn)?;
    done
}

fn places(conn: &mut SqliteConnection, query: &Query, scope: &AccessScope, began: Began) -> Result<Begun, StoreError> {
    let count = query.count.min(MAX_PAGE);
    let found: Vec<PlacedRow> =
        if count == 0 { Vec::new() } else { page_statement(query, scope, count, began).rows(conn)? };
    let (mut places, mut more) = (Vec::with_capacity(found.len()), count == 0 || found.len() > count);
    let mut page = Announced::default();
    for (rid, key, length, head) in found.into_iter().take(count) {
        let row = match (length, head) {
            (None, _) => Announced::default(),
            (_, Some(head)) => announced(&head).ok_or_else(|| at("res", &rid).corrupt("body"))?,
            (Some(_), None) => peeked(conn, rid)?,
        };
        let with = Announced { text: page.text + row.text, splices: page.splices + row.splices };
        if !places.is_empty() && (with.text > TEXT_MOST || with.splices > FILES_MOST) {
            more = true;
            break;
        }
        page = with;
        places.push(Placed { rid, key });
    }
    // A first page that is also the last has the total in hand.
    let total = match (query.after, more) {
        (None, false) => u64::try_from(places.len()).unwrap_or(u64::MAX),
        _ => total(conn, query, scope, began)?,
    };
    Ok(Begun { places, more, total, newest: newest(conn, query)?, text: page.text })
}

/// What the first bytes of a long packed text say of it.
fn peeked(conn: &mut SqliteConnection, rid: i64) -> Result<Announced, StoreError> {
    let query = "SELECT substr(b.packed, 1, 7) FROM res r CROSS JOIN body b ON b.number = r.body WHERE r.rid = ?";
    let head: Option<Vec<u8>> = sql(query, [rid.into()]).one(conn)?;
    head.map_or(Ok(Announced::default()), |head| announced(&head).ok_or_else(|| at("res", &rid).corrupt("body")))
}

/// Bytes of a resource's text.
///
/// # Errors
/// Failures of the database.
pub(in crate::store::sqlite) fn announced_text(conn: &mut SqliteConnection, rid: i64) -> Result<u64, StoreError> {
    peeked(conn, rid).map(|announced| announced.text)
}

fn read(reading: &mut Reading<'_>, begun: Begun, (kind, scope): (Kind, &AccessScope)) -> Result<Page, StoreError> {
    let Begun { places, mut more, total, newest, .. } = begun;
    let mut statement = select_current(sql(
        "json_each(?) j CROSS JOIN res r ON r.rid = j.value",
        [numbers(places.iter().map(|place| place.rid))],
    ));
    statement.push(" WHERE r.body IS NOT NULL AND ", []);
    statement.append(visibility::resource(kind, scope));
    let found: Vec<StoredRow> = if places.is_empty() { Vec::new() } else { statement.rows(reading.conn)? };
    let mut found: HashMap<i64, StoredRow> = found.into_iter().map(|row| (row.0, row)).collect();
    let (mut rows, mut subjects, mut last): (Vec<(i64, Stored)>, _, _) = (Vec::with_capacity(found.len()), 0, None);
    for place in places {
        if let Some(row) = found.remove(&place.rid) {
            let (rid, stored) = reading.stored(row)?;
            subjects += subject_length(&stored);
            if !rows.is_empty() && subjects > SUBJECTS_MOST {
                more = true;
                break;
            }
            rows.push((rid, stored));
        }
        last = Some(Position { key: place.key, arrival: place.rid });
    }
    reading.add_files(&mut rows)?;
    let rows = rows.into_iter().map(|(_, stored)| stored).collect();
    Ok(Page { rows, next: last.filter(|_| more), total, newest, memory: None })
}

fn subject_length(stored: &Stored) -> usize {
    stored.document.as_ref().and_then(|document| document.subject.as_ref()).map_or(0, |subject| subject.0.len())
}

/// The page's rows in order, and one more, by which it is seen whether others follow: row, key of the order, length of the packed text, and of a
/// short one its first bytes.
pub(super) fn page_statement(query: &Query, scope: &AccessScope, count: usize, began: Began) -> Sql {
    let order = Order::of(query);
    let mut page = sql("SELECT p.rid, p.sort_key, length(b.packed), CASE WHEN length(b.packed) <= ? ", [PEEKED.into()]);
    page.push("THEN substr(b.packed, 1, 7) END FROM (SELECT ", []);
    page.push(order.row, []);
    page.push(" AS rid, ", []);
    page.push(order.key, []);
    page.push(" AS sort_key ", []);
    page.append(matching(query, scope, began));
    if let Some(after) = query.after {
        page.append(order.after(after));
    }
    page.push(order.by, []);
    page.push(" LIMIT ?) p CROSS JOIN res r ON r.rid = p.rid ", [u64::try_from(count + 1).unwrap_or(u64::MAX).into()]);
    page.push("LEFT JOIN body b ON b.number = r.body", []);
    page.push(order.outer, []);
    keep_few(&mut page, query.filters.len());
    page
}
