//! Turns: claims on Subscriptions with something due, and what became of them. A claim is `leased_until` under a higher fence; when
//! to look at a Subscription again is one column, derived here from all the others.

use std::sync::Arc;
use std::time::Duration;

use diesel::prelude::*;

use super::outbox::{self, DELIVERED, EVENT, WITHHELD, forget_body};
use super::rows::{at, time};
use super::statement::{Sql, sql};
use super::subscriptions_rows::{load, new_version, set_status};
use super::tx::Tx;
use crate::domain::clock::Timestamp;
use crate::domain::refusal::Code;
use crate::domain::subscription::{ERROR_GRACE, SubscriptionStatus};
use crate::store::{SealedEntry, Sent, StoreError, StoredSubscription, Turn, Waiting, Work};

/// When to look at the Subscription in `subscription` again, as an expression: at the end of its claim; else at its end, its
/// handshake, when the first event that waits is due, or when its time in `error` is over (`?`: [`ERROR_GRACE`]).
const SCHEDULE: &str = "CASE WHEN status = 'off' THEN NULL WHEN leased_until > 0 THEN leased_until ELSE \
    nullif(min(coalesce(ends, 9223372036854775807), CASE status WHEN 'requested' THEN handshake_at \
    WHEN 'active' THEN coalesce((SELECT o.next_at FROM outbox o INDEXED BY outbox_waiting \
    WHERE o.subscription = subscription.rid AND o.state = 0 ORDER BY o.number LIMIT 1), 9223372036854775807) \
    WHEN 'error' THEN (SELECT r.updated + ? FROM res r WHERE r.rid = subscription.rid) \
    ELSE 9223372036854775807 END), 9223372036854775807) END";

/// [`SCHEDULE`] as a part of a statement.
pub(super) fn schedule() -> Sql {
    sql(SCHEDULE, [u64::try_from(ERROR_GRACE.as_millis()).unwrap_or(u64::MAX).into()])
}

/// Renews when a Subscription is due; after every change of what that depends on.
pub(super) fn reschedule(tx: &mut Tx<'_>, rid: i64) -> Result<(), StoreError> {
    let mut update = sql("UPDATE subscription SET due = ", []);
    update.append(schedule());
    update.push(" WHERE rid = ?", [rid.into()]);
    update.run(tx.conn).map(drop)
}

/// Drops what waits. The numbers stay used.
pub(super) fn drop_waiting(tx: &mut Tx<'_>, rid: i64) -> Result<(), StoreError> {
    sql("DELETE FROM outbox_body WHERE subscription = ?", [rid.into()]).run(tx.conn)?;
    let update = "UPDATE outbox SET state = 3 WHERE subscription = ? AND state = 0";
    sql(update, [rid.into()]).run(tx.conn).map(drop)
}

/// At the start nobody holds a claim: the folder is this process's alone.
pub(super) fn take_back(conn: &mut SqliteConnection) -> Result<(), StoreError> {
    let claimed: Vec<(i64,)> = sql("SELECT rid FROM subscription WHERE leased_until > 0", []).rows(conn)?;
    for (rid,) in claimed {
        let free = "UPDATE subscription SET leased_until = 0, fence = fence + 1 WHERE rid = ?";
        sql(free, [rid.into()]).run(conn)?;
        let mut update = sql("UPDATE subscription SET due = ", []);
        update.append(schedule());
        update.push(" WHERE rid = ?", [rid.into()]);
        update.run(conn)?;
    }
    Ok(())
}

/// Whether anything can be claimed; asked of a reader, so that looking for work costs no commit.
pub(super) fn any_due(conn: &mut SqliteConnection, now: Timestamp) -> Result<bool, StoreError> {
    let query = "SELECT rid FROM subscription WHERE due <= ? LIMIT 1";
    Ok(sql(query, [now.millis().into()]).one::<i64>(conn)?.is_some())
}

/// When something is due next.
pub(super) fn next_at(conn: &mut SqliteConnection) -> Result<Option<Timestamp>, StoreError> {
    let query = "SELECT due FROM subscription WHERE due IS NOT NULL ORDER BY due LIMIT 1";
    Ok(sql(query, []).one(conn)?.map(time))
}

/// How much a claim takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    pub now: Timestamp,
    pub lease: Duration,
    pub limit: usize,
    pub events: usize,
}

/// Claims the Subscriptions that have been due longest.
pub(super) fn claim(tx: &mut Tx<'_>, share: Share) -> Result<Vec<Turn>, StoreError> {
    let limit = u64::try_from(share.limit).unwrap_or(u64::MAX);
    let query = "SELECT rid FROM subscription WHERE due <= ? ORDER BY due, rid LIMIT ?";
    let due: Vec<(i64,)> = sql(query, [share.now.millis().into(), limit.into()]).rows(tx.conn)?;
    let mut turns = Vec::with_capacity(due.len());
    for (rid,) in due {
        match claim_one(tx, rid, share) {
            Ok(turn) => turns.extend(turn),
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::error!(%error, "a Subscription cannot be read");
                stop_unreadable(tx, rid, share.now)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(turns)
}

/// Nothing is sent for what cannot be read, and it is not looked at again before its owner writes it anew.
fn stop_unreadable(tx: &mut Tx<'_>, rid: i64, now: Timestamp) -> Result<(), StoreError> {
    let update = "UPDATE subscription SET status = 'error', error = ?, leased_until = 0, ends = NULL, due = NULL, \
        fence = fence + 1 WHERE rid = ?";
    sql(update, [Code::FilterUnsupported.name().into(), rid.into()]).run(tx.conn)?;
    new_version(tx, rid, now).map(drop)
}

fn claim_one(tx: &mut Tx<'_>, rid: i64, share: Share) -> Result<Option<Turn>, StoreError> {
    let subscription = load(tx.conn, rid)?;
    let Some(work) = work(tx, &subscription, share)? else {
        // Its claim ran out, and since then nothing is due.
        sql("UPDATE subscription SET leased_until = 0 WHERE rid = ?", [rid.into()]).run(tx.conn)?;
        reschedule(tx, rid)?;
        return Ok(None);
    };
    let until = share.now.plus(share.lease);
    let lease = u64::try_from(share.lease.as_millis()).unwrap_or(u64::MAX);
    let update = "UPDATE subscription SET fence = fence + 1, leased_until = ?, lease = ?, due = ? WHERE rid = ? \
        RETURNING fence";
    let values = [until.millis().into(), lease.into(), until.millis().into(), rid.into()];
    let place = at("subscription", &rid);
    let fence: Option<i64> = sql(update, values).one(tx.conn)?;
    let fence = place.number("fence", fence.ok_or_else(|| place.corrupt("rid"))?)?;
    Ok(Some(Turn { subscription: Arc::new(subscription), fence, until, work }))
}

/// What is due; `None`: nothing.
fn work(tx: &mut Tx<'_>, subscription: &StoredSubscription, share: Share) -> Result<Option<Work>, StoreError> {
    let rid = subscription.number.0;
    let is_over = subscription.is_over(share.now);
    Ok(match subscription.status {
        SubscriptionStatus::Off => None,
        _ if is_over => Some(Work::Events(Vec::new())),
        SubscriptionStatus::Error => None,
        SubscriptionStatus::Active => {
            Some(waiting(tx, rid, share)?).filter(|events| !events.is_empty()).map(Work::Events)
        }
        SubscriptionStatus::Requested => handshake(tx, rid, share.now)?,
    })
}

fn handshake(tx: &mut Tx<'_>, rid: i64, now: Timestamp) -> Result<Option<Work>, StoreError> {
    let query = "SELECT handshake_attempts FROM subscription WHERE rid = ? AND handshake_at <= ?";
    let attempts: Option<i64> = sql(query, [rid.into(), now.millis().into()]).one(tx.conn)?;
    let Some(attempts) = attempts else { return Ok(None) };
    Ok(Some(Work::Handshake { attempts: at("subscription", &rid).number("handshake_attempts", attempts)? }))
}

type WaitingRow = (i64, Option<i64>, i64, i64, String, i64, Option<i64>, i64, i64, Option<Vec<u8>>);

/// The first events that wait, as far as they are due.
fn waiting(tx: &mut Tx<'_>, rid: i64, share: Share) -> Result<Vec<Waiting>, StoreError> {
    let mut query = sql("SELECT ", []);
    query.push(EVENT, []);
    query.push("o.attempts, o.next_at, b.body FROM outbox o CROSS JOIN res d ON d.rid = o.document ", []);
    query.push("LEFT JOIN outbox_body b ON b.subscription = o.subscription AND b.number = o.number ", []);
    let limit = u64::try_from(share.events.max(1)).unwrap_or(u64::MAX);
    query.push("WHERE o.subscription = ? AND o.state = 0 ORDER BY o.number LIMIT ?", [rid.into(), limit.into()]);
    let rows: Vec<WaitingRow> = query.rows(tx.conn)?;
    let due = rows.into_iter().take_while(|(_, _, _, _, _, _, _, _, next_at, _)| time(*next_at) <= share.now);
    let waiting = |(number, topic, moment, document, id, version, expires, attempts, _, body): WaitingRow| {
        let event = outbox::event((number, topic, moment, document, id, version, expires))?;
        Ok(Waiting { event, attempts: at("outbox", &number).number("attempts", attempts)?, body })
    };
    due.map(waiting).collect()
}

/// Writes what became of a turn. `false`: the claim was lost.
pub(super) fn settle(
    tx: &mut Tx<'_>,
    turn: &Turn,
    results: Vec<Sent>,
    keep: bool,
    moment: Timestamp,
    entries: Vec<SealedEntry>,
) -> Result<bool, StoreError> {
    let rid = turn.subscription.number.0;
    let held = "SELECT status FROM subscription WHERE rid = ? AND fence = ? AND activation = ? AND leased_until > 0";
    let values = [rid.into(), turn.fence.into(), turn.subscription.activation.into()];
    let status: Option<String> = sql(held, values).one(tx.conn)?;
    let Some(status) = status else { return Ok(false) };
    let status = SubscriptionStatus::parse(&status).ok_or_else(|| at("subscription", &rid).corrupt("status"))?;
    let mut settling = Settling { tx, rid, moment, status };
    for result in results {
        settling.apply(result)?;
    }
    let it_was_the_end = matches!(&turn.work, Work::Events(events) if events.is_empty());
    if it_was_the_end && settling.status != SubscriptionStatus::Off {
        settling.status_to(SubscriptionStatus::Off, turn.subscription.error)?;
    }
    let goes_on = keep && settling.status != SubscriptionStatus::Off;
    let release = "UPDATE subscription SET leased_until = CASE WHEN ? THEN max(leased_until, ? + lease) ELSE 0 END \
        WHERE rid = ?";
    sql(release, [goes_on.into(), moment.millis().into(), rid.into()]).run(tx.conn)?;
    reschedule(tx, rid)?;
    for entry in entries {
        tx.append(entry)?;
    }
    if !goes_on {
        // What came meanwhile, or did not fit into the turn, is due now.
        tx.effects.outbox += 1;
    }
    Ok(true)
}

/// Results as they are applied, one after the other.
struct Settling<'a, 'b> {
    tx: &'a mut Tx<'b>,
    rid: i64,
    moment: Timestamp,
    status: SubscriptionStatus,
}

impl Settling<'_, '_> {
    fn apply(&mut self, result: Sent) -> Result<(), StoreError> {
        let is_requested = self.status == SubscriptionStatus::Requested;
        match result {
            Sent::Activated if is_requested => self.activate(),
            Sent::HandshakeLater(when) if is_requested => self.handshake_later(when),
            Sent::HandshakeGivenUp if is_requested => {
                self.status_to(SubscriptionStatus::Error, Some(Code::HandshakeFailed))
            }
            Sent::Activated | Sent::HandshakeLater(_) | Sent::HandshakeGivenUp | Sent::LetGo => Ok(()),
            Sent::Delivered { number } => self.end(number, DELIVERED),
            Sent::Withheld { number } => self.end(number, WITHHELD),
            Sent::Later { number, at, body } => self.later(number, at, &body),
            Sent::GivenUp { number, code } => self.give_up(number, code),
            Sent::Off { .. } if self.status == SubscriptionStatus::Off => Ok(()),
            Sent::Off { code } => self.status_to(SubscriptionStatus::Off, code),
        }
    }

    fn status_to(&mut self, status: SubscriptionStatus, error: Option<Code>) -> Result<(), StoreError> {
        self.status = status;
        set_status(self.tx, self.rid, status, error, self.moment)
    }

    /// What was given up before begins anew, with the body that it had.
    fn activate(&mut self) -> Result<(), StoreError> {
        let update =
            "UPDATE outbox SET attempts = 0, next_at = ? WHERE subscription = ? AND state = 0 AND attempts > 0";
        sql(update, [self.moment.millis().into(), self.rid.into()]).run(self.tx.conn)?;
        self.status_to(SubscriptionStatus::Active, None)
    }

    fn handshake_later(&mut self, when: Timestamp) -> Result<(), StoreError> {
        let update =
            "UPDATE subscription SET handshake_at = ?, handshake_attempts = handshake_attempts + 1 WHERE rid = ?";
        sql(update, [when.millis().into(), self.rid.into()]).run(self.tx.conn).map(drop)
    }

    /// A line's last state; only one that waits has it before it.
    fn end(&mut self, number: u64, state: i64) -> Result<(), StoreError> {
        let update =
            "UPDATE outbox SET state = ? WHERE subscription = ? AND number = ? AND state = 0 RETURNING attempts";
        let attempts: Option<i64> = sql(update, [state.into(), self.rid.into(), number.into()]).one(self.tx.conn)?;
        match attempts {
            Some(_) => forget_body(self.tx, self.rid, i64::try_from(number).unwrap_or(i64::MAX)),
            None => Ok(()),
        }
    }

    fn later(&mut self, number: u64, when: Timestamp, body: &[u8]) -> Result<(), StoreError> {
        let update = "UPDATE outbox SET attempts = attempts + 1, next_at = ? \
            WHERE subscription = ? AND number = ? AND state = 0";
        let values = [when.millis().into(), self.rid.into(), number.into()];
        if sql(update, values).run(self.tx.conn)? == 1 {
            // The first one stays.
            let insert = "INSERT OR IGNORE INTO outbox_body (subscription, number, body) VALUES (?, ?, ?)";
            sql(insert, [self.rid.into(), number.into(), body.into()]).run(self.tx.conn)?;
        }
        Ok(())
    }

    fn give_up(&mut self, number: u64, code: Code) -> Result<(), StoreError> {
        let update = "UPDATE outbox SET attempts = attempts + 1 WHERE subscription = ? AND number = ? AND state = 0";
        let waited = sql(update, [self.rid.into(), number.into()]).run(self.tx.conn)? == 1;
        if waited && self.status == SubscriptionStatus::Active {
            self.status_to(SubscriptionStatus::Error, Some(code))?;
        }
        Ok(())
    }
}
