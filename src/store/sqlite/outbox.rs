//! What an event leaves behind: a numbered line for every Subscription that it concerns, in the transaction that makes it happen.
//! Here also: what a purge and the passing of time take away again, and what is looked up.

use std::collections::HashMap;
use std::time::Duration;

use diesel::prelude::*;

use super::outbox_turns::{reschedule, schedule};
use super::rows::{at, time};
use super::statement::sql;
use super::subscriptions_rows::{new_version, own};
use super::tx::Tx;
use super::{search, subscriptions_filters};
use crate::domain::clock::Timestamp;
use crate::domain::id::ResourceId;
use crate::domain::principal::{AccessScope, ClientNumber};
use crate::domain::refusal::Code;
use crate::domain::resource::DocumentNumber;
use crate::domain::subscription::{Event, SubscriptionStatus, Topic};
use crate::store::{ReferencedEvent, StoreError};

/// Last states of a line; 0 waits, 3 was dropped.
pub(super) const DELIVERED: i64 = 1;
pub(super) const WITHHELD: i64 = 2;

/// Most events that are kept for a Subscription that is not active, and for how long; then the oldest is dropped.
const KEPT_EVENTS: u64 = 10_000;
const KEPT: Duration = Duration::from_secs(7 * 86_400);

/// How long the line of a purged document is kept, so that a gap in the numbers can be explained.
const KEPT_LINES: Duration = Duration::from_secs(30 * 86_400);

/// Something that happened to a document.
#[derive(Debug, Clone, Copy)]
pub(super) struct Happening {
    pub rid: i64,
    /// The version that it made.
    pub version: u32,
    /// `None`: no topic, for plain Subscriptions alone.
    pub topic: Option<Topic>,
    pub at: Timestamp,
    /// The document's due as it is now.
    pub expires: Option<Timestamp>,
}

/// Row, owner, filters, counter, status.
type Candidate = (i64, i64, String, i64, String);

/// Numbers an event for every Subscription that it concerns. One whose filters cannot be read, or ask for more than a statement may be, is
/// told nothing and goes to `error`; it does not hold up the document. A database that fails to read is no fault of a Subscription:
/// then nothing has happened, and whoever made it happen tries again.
pub(super) fn raise(tx: &mut Tx<'_>, happening: Happening) -> Result<(), StoreError> {
    // By topic and subject, so that Subscriptions to other patients cost nothing.
    let query = "SELECT s.rid, s.owner, s.filters, s.counter, s.status FROM doc d CROSS JOIN subscription s \
        WHERE d.rid = ? AND s.status <> 'off' AND s.topic IN (?, 0) AND s.patient IN (d.patient, 0)";
    let topic = happening.topic.map_or(0, Topic::number);
    let candidates: Vec<Candidate> = sql(query, [happening.rid.into(), topic.into()]).rows(tx.conn)?;
    // Many Subscriptions of one client with the same filters are one question.
    let mut answers = HashMap::new();
    for (subscription, owner, filters, counter, status) in candidates {
        let key = (owner, filters);
        let matches = match answers.get(&key) {
            Some(known) => *known,
            None => {
                let matches = match concerns(tx, happening.rid, &key) {
                    Err(error @ (StoreError::Corrupt { .. } | StoreError::TooCostly)) => {
                        tracing::error!(?error, subscription, "a Subscription cannot be matched");
                        None
                    }
                    matches => matches?,
                };
                answers.insert(key, matches);
                matches
            }
        };
        match matches {
            Some(true) => {
                add_line(tx, subscription, counter, happening)?;
                if status != SubscriptionStatus::Active.as_str() {
                    drop_oldest(tx, subscription, counter, happening.at)?;
                }
            }
            Some(false) => {}
            None => fail(tx, subscription, &status, happening.at)?,
        }
    }
    Ok(())
}

/// Whether an owner is told of a document. `Ok(None)`: the filters cannot be read.
fn concerns(tx: &mut Tx<'_>, rid: i64, (owner, filters): &(i64, String)) -> Result<Option<bool>, StoreError> {
    let number: ClientNumber = at("subscription", owner).client("owner", *owner)?;
    let Some(client) = tx.memory.clients.get().by_number.get(&number).cloned() else { return Ok(Some(false)) };
    if client.disabled {
        return Ok(Some(false));
    }
    let Some(filters) = subscriptions_filters::decode(filters) else { return Ok(None) };
    let scope = AccessScope::standing(number, client.reach.clone());
    search::one::matches(tx.conn, rid, &filters, &scope).map(Some)
}

fn add_line(tx: &mut Tx<'_>, subscription: i64, counter: i64, happening: Happening) -> Result<(), StoreError> {
    let number = counter.saturating_add(1);
    let Happening { rid, version, topic, at: moment, expires } = happening;
    let insert = "INSERT INTO outbox (subscription, number, topic, at, document, version, expires, state, attempts, \
        next_at) VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, ?)";
    let values = [
        subscription.into(),
        number.into(),
        topic.map(Topic::number).into(),
        moment.millis().into(),
        rid.into(),
        version.into(),
        expires.map(Timestamp::millis).into(),
        moment.millis().into(),
    ];
    sql(insert, values).run(tx.conn)?;
    let mut update = sql("UPDATE subscription SET counter = ?, due = ", [number.into()]);
    update.append(schedule());
    update.push(" WHERE rid = ?", [subscription.into()]);
    update.run(tx.conn)?;
    tx.effects.outbox += 1;
    Ok(())
}

/// Keeps what waits for a Subscription that is not active within bounds.
fn drop_oldest(tx: &mut Tx<'_>, subscription: i64, counter: i64, now: Timestamp) -> Result<(), StoreError> {
    let beyond = counter.saturating_add(1).saturating_sub(i64::try_from(KEPT_EVENTS).unwrap_or(i64::MAX));
    let update = "UPDATE outbox SET state = 3 WHERE subscription = ? AND state = 0 AND (number <= ? OR at < ?) \
        RETURNING number";
    let values = [subscription.into(), beyond.into(), now.minus(KEPT).millis().into()];
    let dropped: Vec<(i64,)> = sql(update, values).rows(tx.conn)?;
    for (number,) in dropped {
        forget_body(tx, subscription, number)?;
    }
    Ok(())
}

/// Deletes the body of a line, if there is one.
pub(super) fn forget_body(tx: &mut Tx<'_>, subscription: i64, number: i64) -> Result<(), StoreError> {
    let delete = "DELETE FROM outbox_body WHERE subscription = ? AND number = ?";
    sql(delete, [subscription.into(), number.into()]).run(tx.conn).map(drop)
}

fn fail(tx: &mut Tx<'_>, subscription: i64, status: &str, moment: Timestamp) -> Result<(), StoreError> {
    if status == SubscriptionStatus::Error.as_str() {
        return Ok(());
    }
    let update = "UPDATE subscription SET status = 'error', error = ? WHERE rid = ?";
    sql(update, [Code::FilterUnsupported.name().into(), subscription.into()]).run(tx.conn)?;
    new_version(tx, subscription, moment)?;
    reschedule(tx, subscription)
}

/// Withholds what still waits about a document that is purged; numbers stay used.
pub(super) fn withhold(tx: &mut Tx<'_>, rid: i64, now: Timestamp) -> Result<(), StoreError> {
    let query = "SELECT subscription, number FROM outbox WHERE document = ? AND state = 0";
    let waiting: Vec<(i64, i64)> = sql(query, [rid.into()]).rows(tx.conn)?;
    let update = "UPDATE outbox SET state = CASE state WHEN 0 THEN 2 ELSE state END, forget = ? WHERE document = ?";
    sql(update, [now.plus(KEPT_LINES).millis().into(), rid.into()]).run(tx.conn)?;
    for (subscription, number) in waiting {
        forget_body(tx, subscription, number)?;
        reschedule(tx, subscription)?;
    }
    Ok(())
}

/// Forgets lines of documents that were purged long ago.
pub(super) fn forget(tx: &mut Tx<'_>, now: Timestamp) -> Result<(), StoreError> {
    sql("DELETE FROM outbox WHERE forget <= ?", [now.millis().into()]).run(tx.conn).map(drop)
}

/// Columns of an [`EventRow`] from `outbox o` and `res d`.
pub(super) const EVENT: &str = "o.number, o.topic, o.at, o.document, d.id, o.version, o.expires, ";

/// Number, topic, time, document, its id, version, expiry.
pub(super) type EventRow = (i64, Option<i64>, i64, i64, String, i64, Option<i64>);

/// An event from its row.
pub(super) fn event(row: EventRow) -> Result<Event, StoreError> {
    let (number, topic, moment, document, id, version, expires) = row;
    let place = at("outbox", &number);
    let known = |topic: i64| i32::try_from(topic).ok().and_then(Topic::from_number);
    let topic = topic.map(|topic| known(topic).ok_or_else(|| place.corrupt("topic"))).transpose()?;
    Ok(Event {
        number: place.number("number", number)?,
        topic,
        at: time(moment),
        document: DocumentNumber(document),
        document_id: at("res", &document).resource_id("id", &id)?,
        version: place.number("version", version)?,
        expires: expires.map(time),
    })
}

type ReferencedRow = (i64, Option<i64>, i64, i64, String, i64, Option<i64>, String);

/// The event that an access reference names; none once its document is purged.
pub(super) fn referenced(
    conn: &mut SqliteConnection,
    id: &ResourceId,
    owner: ClientNumber,
    number: u64,
) -> Result<Option<ReferencedEvent>, StoreError> {
    let Some(rid) = own(conn, id, owner)? else { return Ok(None) };
    let mut query = sql("SELECT ", []);
    query.push(EVENT, []);
    query.push("s.status FROM outbox o CROSS JOIN res d ON d.rid = o.document ", []);
    query.push("CROSS JOIN subscription s ON s.rid = o.subscription ", []);
    query.push("WHERE o.subscription = ? AND o.number = ? AND d.state IS NOT 'purged'", [rid.into(), number.into()]);
    let Some(row) = query.row::<ReferencedRow>(conn)? else { return Ok(None) };
    let (number, topic, moment, document, document_id, version, expires, status) = row;
    let event = event((number, topic, moment, document, document_id, version, expires))?;
    let status = SubscriptionStatus::parse(&status).ok_or_else(|| at("subscription", &rid).corrupt("status"))?;
    Ok(Some(ReferencedEvent { event, status }))
}

/// How many events wait, and for how long the oldest has.
pub(super) fn backlog(conn: &mut SqliteConnection, now: Timestamp) -> Result<(u64, Duration), StoreError> {
    let query = "SELECT count(*), min(at) FROM outbox INDEXED BY outbox_waiting WHERE state = 0";
    let row: Option<(i64, Option<i64>)> = sql(query, []).row(conn)?;
    let (count, oldest) = row.unwrap_or_default();
    let age = oldest.map_or(Duration::ZERO, |oldest| now.since(time(oldest)));
    Ok((u64::try_from(count).unwrap_or_default(), age))
}
