//! Rows of Subscriptions: read, made, changed, deleted. Their events are in `outbox`.

use std::time::Duration;

use diesel::prelude::*;

use super::outbox_turns::{drop_waiting, reschedule};
use super::rows::{at, time};
use super::statement::{Value, sql};
use super::tx::Tx;
use super::{create, intern, subscriptions_filters};
use crate::domain::clock::Timestamp;
use crate::domain::id::ResourceId;
use crate::domain::principal::ClientNumber;
use crate::domain::query::Filter;
use crate::domain::refusal::Code;
use crate::domain::resource::{Kind, Target};
use crate::domain::subscription::{Form, Level, SubscriptionNumber, SubscriptionStatus, Topic};
use crate::store::{
    NewSubscription, SealedEntry, SigningSecret, StoreError, StoredSubscription, SubscriptionChange, SubscriptionTerms,
    Written,
};

/// `topic` of a plain Subscription: every new version.
pub(super) const EVERY_VERSION: i64 = 0;
/// `patient` where no filter names exactly one subject.
pub(super) const ANY_PATIENT: i64 = 0;

/// Levels of a plain Subscription as they are stored; those of a topic are stored by their own code.
const PING: &str = "ping";
const RESOURCE: &str = "resource";

/// The row of a Subscription of this owner.
pub(super) fn own(
    conn: &mut SqliteConnection,
    id: &ResourceId,
    owner: ClientNumber,
) -> Result<Option<i64>, StoreError> {
    let query = "SELECT s.rid FROM res r CROSS JOIN subscription s ON s.rid = r.rid \
        WHERE r.kind = ? AND r.id = ? AND s.owner = ?";
    sql(query, [Kind::Subscription.number().into(), id.as_str().into(), owner.0.into()]).one(conn)
}

/// Whether the owner had it and deleted it.
pub(super) fn deleted(conn: &mut SqliteConnection, id: &ResourceId, owner: ClientNumber) -> Result<bool, StoreError> {
    let query = "SELECT rid FROM res r WHERE kind = ? AND id = ? AND owner = ? \
        AND NOT EXISTS (SELECT 1 FROM subscription s WHERE s.rid = r.rid)";
    let values = [Kind::Subscription.number().into(), id.as_str().into(), owner.0.into()];
    Ok(sql(query, values).one::<i64>(conn)?.is_some())
}

/// Rows of this owner's Subscriptions, by id.
pub(super) fn rows_of(conn: &mut SqliteConnection, owner: ClientNumber) -> Result<Vec<i64>, StoreError> {
    let query = "SELECT s.rid FROM subscription s CROSS JOIN res r ON r.rid = s.rid WHERE s.owner = ? ORDER BY r.id";
    let rows: Vec<(i64,)> = sql(query, [owner.0.into()]).rows(conn)?;
    Ok(rows.into_iter().map(|(rid,)| rid).collect())
}

type HeadRow = (String, i64, i64, Option<Vec<u8>>, i64, String, Option<String>, i64, i64);
type TermsRow = (i64, String, String, String, Option<String>, Vec<u8>, Option<i64>, i64);

/// A Subscription by its row.
pub(super) fn load(conn: &mut SqliteConnection, rid: i64) -> Result<StoredSubscription, StoreError> {
    let query = "SELECT r.id, r.version, r.updated, b.packed, s.owner, s.status, s.error, s.counter, s.activation \
        FROM subscription s CROSS JOIN res r ON r.rid = s.rid LEFT JOIN body b ON b.number = r.body WHERE s.rid = ?";
    let place = at("subscription", &rid);
    let row: HeadRow = sql(query, [rid.into()]).row(conn)?.ok_or_else(|| place.corrupt("rid"))?;
    let (id, version, updated, packed, owner, status, error, counter, activation) = row;
    let code = |name: String| Code::from_name(&name).ok_or_else(|| place.corrupt("error"));
    Ok(StoredSubscription {
        number: SubscriptionNumber(rid),
        id: at("res", &rid).resource_id("id", &id)?,
        version: at("res", &rid).number("version", version)?,
        updated: time(updated),
        owner: place.client("owner", owner)?,
        status: SubscriptionStatus::parse(&status).ok_or_else(|| place.corrupt("status"))?,
        error: error.map(code).transpose()?,
        counter: place.number("counter", counter)?,
        activation: place.number("activation", activation)?,
        terms: terms(conn, rid, &packed.ok_or_else(|| at("res", &rid).corrupt("body"))?)?,
        secrets: secrets(conn, rid)?,
    })
}

fn terms(conn: &mut SqliteConnection, rid: i64, packed: &[u8]) -> Result<SubscriptionTerms, StoreError> {
    let query = "SELECT topic, level, filters, endpoint, payload, headers, ends, timeout FROM subscription \
        WHERE rid = ?";
    let place = at("subscription", &rid);
    let row: TermsRow = sql(query, [rid.into()]).row(conn)?.ok_or_else(|| place.corrupt("rid"))?;
    let (topic, level, filters, endpoint, payload, headers, ends, timeout) = row;
    Ok(SubscriptionTerms {
        form: form(topic, &level).ok_or_else(|| place.corrupt("topic"))?,
        filters: subscriptions_filters::decode(&filters).ok_or_else(|| place.corrupt("filters"))?,
        endpoint,
        payload,
        headers,
        end: ends.map(time),
        timeout: Duration::from_millis(place.number("timeout", timeout)?),
        body: at("res", &rid).body("body", packed)?,
    })
}

fn form(topic: i64, level: &str) -> Option<Form> {
    match (topic, level) {
        (EVERY_VERSION, PING) => Some(Form::Plain { payload: false }),
        (EVERY_VERSION, RESOURCE) => Some(Form::Plain { payload: true }),
        _ => Some(Form::Topic(Topic::from_number(i32::try_from(topic).ok()?)?, Level::from_name(level)?)),
    }
}

fn form_columns(form: Form) -> (i64, &'static str) {
    match form {
        Form::Topic(topic, level) => (i64::from(topic.number()), level.name()),
        Form::Plain { payload: false } => (EVERY_VERSION, PING),
        Form::Plain { payload: true } => (EVERY_VERSION, RESOURCE),
    }
}

fn secrets(conn: &mut SqliteConnection, rid: i64) -> Result<Vec<SigningSecret>, StoreError> {
    let query = "SELECT sealed, until FROM subscription_secret WHERE subscription = ? ORDER BY place";
    let rows: Vec<(Vec<u8>, Option<i64>)> = sql(query, [rid.into()]).rows(conn)?;
    Ok(rows.into_iter().map(|(sealed, until)| SigningSecret { sealed, until: until.map(time) }).collect())
}

/// Makes a Subscription. Its text arrives packed.
pub(super) fn insert(
    tx: &mut Tx<'_>,
    new: NewSubscription,
    packed: Vec<u8>,
    entry: SealedEntry,
) -> Result<Written, StoreError> {
    create::forbid_repetition(tx, new.owner, new.idempotency.as_ref(), new.at)?;
    let (rid, written) = create::subscription_row(tx, &new.id, new.owner, new.at, packed)?;
    let activation = i64::from(new.status == SubscriptionStatus::Requested);
    let insert = "INSERT INTO subscription (rid, owner, status, counter, activation, topic, patient, level, filters, \
        endpoint, headers, timeout, handshake_at, handshake_attempts, leased_until, lease, fence) \
        VALUES (?, ?, ?, 0, ?, 0, 0, '', '', '', zeroblob(0), 0, ?, 0, 0, 0, 0)";
    let values = [
        rid.into(),
        new.owner.0.into(),
        new.status.as_str().into(),
        activation.into(),
        new.handshake_at.millis().into(),
    ];
    sql(insert, values).run(tx.conn)?;
    write_terms(tx, rid, new.terms)?;
    write_secrets(tx, rid, &[new.secret])?;
    reschedule(tx, rid)?;
    create::remember(tx, new.owner, new.idempotency, Kind::Subscription, &new.id, written.version)?;
    tx.append(entry)?;
    tx.effects.outbox += 1;
    Ok(written)
}

fn write_terms(tx: &mut Tx<'_>, rid: i64, terms: SubscriptionTerms) -> Result<(), StoreError> {
    let unwritable = || StoreError::Unavailable("filters that cannot be kept".into());
    let named = patient_of(tx, rid)?;
    let filters = subscriptions_filters::encode(&terms.filters).ok_or_else(unwritable)?;
    let patient = match only_subject(&terms.filters) {
        Some(target) => intern::target(tx.conn, &target.0)?,
        None => ANY_PATIENT,
    };
    let (topic, level) = form_columns(terms.form);
    let update = "UPDATE subscription SET topic = ?, patient = ?, level = ?, filters = ?, endpoint = ?, payload = ?, \
        headers = ?, ends = ?, timeout = ? WHERE rid = ?";
    let values: [Value; 10] = [
        topic.into(),
        patient.into(),
        level.into(),
        filters.into(),
        terms.endpoint.into(),
        terms.payload.into(),
        terms.headers.into(),
        terms.end.map(Timestamp::millis).into(),
        u64::try_from(terms.timeout.as_millis()).unwrap_or(u64::MAX).into(),
        rid.into(),
    ];
    sql(update, values).run(tx.conn)?;
    intern::forget(tx.conn, &named)
}

/// The one patient that a Subscription names.
fn patient_of(tx: &mut Tx<'_>, rid: i64) -> Result<Vec<i64>, StoreError> {
    let query = "SELECT patient FROM subscription WHERE rid = ? AND patient <> ?";
    let rows: Vec<(i64,)> = sql(query, [rid.into(), ANY_PATIENT.into()]).rows(tx.conn)?;
    Ok(rows.into_iter().map(|(number,)| number).collect())
}

/// The subject without which no document can match, so that an event of another need not look at this Subscription.
fn only_subject(filters: &[Filter]) -> Option<&Target> {
    filters.iter().find_map(|filter| match filter {
        Filter::Patient(targets) | Filter::Subject(targets) => match targets.as_slice() {
            [target] => Some(target),
            _ => None,
        },
        _ => None,
    })
}

fn write_secrets(tx: &mut Tx<'_>, rid: i64, secrets: &[SigningSecret]) -> Result<(), StoreError> {
    sql("DELETE FROM subscription_secret WHERE subscription = ?", [rid.into()]).run(tx.conn)?;
    for (place, secret) in (0u32..).zip(secrets) {
        let insert = "INSERT INTO subscription_secret (subscription, place, sealed, until) VALUES (?, ?, ?, ?)";
        let until = secret.until.map(Timestamp::millis);
        sql(insert, [rid.into(), place.into(), secret.sealed.as_slice().into(), until.into()]).run(tx.conn)?;
    }
    Ok(())
}

/// Replaces the secrets of the owner's Subscription.
pub(super) fn replace_secrets(
    tx: &mut Tx<'_>,
    id: &ResourceId,
    owner: ClientNumber,
    secrets: &[SigningSecret],
    entry: SealedEntry,
) -> Result<bool, StoreError> {
    let Some(rid) = own(tx.conn, id, owner)? else { return Ok(false) };
    write_secrets(tx, rid, secrets)?;
    tx.append(entry)?;
    // The old ones are to be found nowhere, the log included.
    tx.effects.destroyed = true;
    Ok(true)
}

/// Makes a new version and answers it.
pub(super) fn new_version(tx: &mut Tx<'_>, rid: i64, moment: Timestamp) -> Result<Written, StoreError> {
    let updated = tx.stamp(moment);
    let update = "UPDATE res SET version = version + 1, updated = ? WHERE rid = ? RETURNING version";
    let version: Option<i64> = sql(update, [updated.millis().into(), rid.into()]).one(tx.conn)?;
    let place = at("res", &rid);
    let version = place.number("version", version.ok_or_else(|| place.corrupt("rid"))?)?;
    Ok(Written { version, updated, created: false })
}

/// Changes the status with a new version; on its way to `off` it drops what waits. The schedule is the caller's to renew.
pub(super) fn set_status(
    tx: &mut Tx<'_>,
    rid: i64,
    status: SubscriptionStatus,
    error: Option<Code>,
    moment: Timestamp,
) -> Result<(), StoreError> {
    let update = "UPDATE subscription SET status = ?, error = ? WHERE rid = ?";
    sql(update, [status.as_str().into(), error.map(Code::name).into(), rid.into()]).run(tx.conn)?;
    if status == SubscriptionStatus::Off {
        drop_waiting(tx, rid)?;
    }
    new_version(tx, rid, moment).map(drop)
}

/// What an update is compared with.
type Before = (i64, String, i64, String, String);

/// Replaces what the owner wrote.
pub(super) fn replace(
    tx: &mut Tx<'_>,
    id: &ResourceId,
    owner: ClientNumber,
    change: SubscriptionChange,
    packed: Vec<u8>,
    entry: SealedEntry,
) -> Result<Written, StoreError> {
    let rid = own(tx.conn, id, owner)?.ok_or(StoreError::Changed)?;
    let query = "SELECT r.version, s.status, s.topic, s.level, s.endpoint FROM subscription s \
        CROSS JOIN res r ON r.rid = s.rid WHERE s.rid = ?";
    let before: Before = sql(query, [rid.into()]).row(tx.conn)?.ok_or(StoreError::Changed)?;
    let (version, status, topic, level, endpoint) = before;
    if change.if_match.is_some_and(|asked| i64::from(asked) != version) {
        return Err(StoreError::Changed);
    }
    if (topic, level.as_str()) != form_columns(change.terms.form) {
        // What was rendered in the old form may say more than the new one allows.
        sql("DELETE FROM outbox_body WHERE subscription = ?", [rid.into()]).run(tx.conn)?;
    }
    let goes_on = status == SubscriptionStatus::Active.as_str() && endpoint == change.terms.endpoint;
    write_terms(tx, rid, change.terms)?;
    replace_body(tx, rid, packed)?;
    match change.status {
        SubscriptionStatus::Off => turn_off(tx, rid, None)?,
        _ if goes_on => {}
        _ => request(tx, rid, change.handshake_at)?,
    }
    reschedule(tx, rid)?;
    let written = new_version(tx, rid, change.at)?;
    tx.append(entry)?;
    tx.effects.outbox += 1;
    Ok(written)
}

fn replace_body(tx: &mut Tx<'_>, rid: i64, packed: Vec<u8>) -> Result<(), StoreError> {
    let old: Option<(Option<i64>,)> = sql("SELECT body FROM res WHERE rid = ?", [rid.into()]).row(tx.conn)?;
    let body = sql("INSERT INTO body (packed) VALUES (?)", [packed.into()]).insert(tx.conn)?;
    sql("UPDATE res SET body = ? WHERE rid = ?", [body.into(), rid.into()]).run(tx.conn)?;
    if let Some((Some(old),)) = old {
        sql("DELETE FROM body WHERE number = ?", [old.into()]).run(tx.conn)?;
    }
    Ok(())
}

/// A new handshake. A turn that is under way is lost: it has the old terms.
fn request(tx: &mut Tx<'_>, rid: i64, handshake_at: Timestamp) -> Result<(), StoreError> {
    let update = "UPDATE subscription SET status = 'requested', error = NULL, activation = activation + 1, \
        handshake_at = ?, handshake_attempts = 0, leased_until = 0, fence = fence + 1 WHERE rid = ?";
    sql(update, [handshake_at.millis().into(), rid.into()]).run(tx.conn).map(drop)
}

/// Off without a version of its own; a turn that is under way is lost.
fn turn_off(tx: &mut Tx<'_>, rid: i64, error: Option<Code>) -> Result<(), StoreError> {
    let update = "UPDATE subscription SET status = 'off', error = ?, leased_until = 0, fence = fence + 1 WHERE rid = ?";
    sql(update, [error.map(Code::name).into(), rid.into()]).run(tx.conn)?;
    drop_waiting(tx, rid)
}

/// Turns every Subscription of a client off.
pub(super) fn all_off(tx: &mut Tx<'_>, owner: i64, moment: Timestamp) -> Result<(), StoreError> {
    let query = "SELECT rid FROM subscription WHERE owner = ? AND status <> 'off'";
    let rows: Vec<(i64,)> = sql(query, [owner.into()]).rows(tx.conn)?;
    for (rid,) in &rows {
        turn_off(tx, *rid, None)?;
        reschedule(tx, *rid)?;
        new_version(tx, *rid, moment)?;
    }
    Ok(())
}

/// Deletes the owner's Subscription; its row of `res` stays, without text, and keeps the id.
pub(super) fn delete(
    tx: &mut Tx<'_>,
    id: &ResourceId,
    owner: ClientNumber,
    moment: Timestamp,
    entry: SealedEntry,
) -> Result<bool, StoreError> {
    let Some(rid) = own(tx.conn, id, owner)? else { return Ok(false) };
    let named = patient_of(tx, rid)?;
    for table in [
        "DELETE FROM subscription_secret WHERE subscription = ?",
        "DELETE FROM outbox_body WHERE subscription = ?",
        "DELETE FROM outbox WHERE subscription = ?",
        "DELETE FROM subscription WHERE rid = ?",
        "DELETE FROM body WHERE number = (SELECT body FROM res WHERE rid = ?)",
        "UPDATE res SET body = NULL WHERE rid = ?",
    ] {
        sql(table, [rid.into()]).run(tx.conn)?;
    }
    intern::forget(tx.conn, &named)?;
    new_version(tx, rid, moment)?;
    tx.append(entry)?;
    tx.effects.destroyed = true;
    Ok(true)
}
