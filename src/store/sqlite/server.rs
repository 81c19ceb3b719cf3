//! The server's own state: keys, policy, clients, spent assertions, and what is forgotten when it is over.

use std::time::Duration;

use diesel::prelude::*;

use super::intern;
use super::memory::Clients;
use super::outbox;
use super::rows::{at, attachment_url_code, time};
use super::statement::{Value, list, sql};
use super::subscriptions_rows;
use super::tx::Tx;
use crate::domain::clock::Timestamp;
use crate::domain::id::ClientId;
use crate::domain::operator::ASSENT_HOLDS;
use crate::domain::principal::{ClientNumber, Reach};
use crate::store::{
    ActivePolicy, Client, ClientKeys, Earlier, LINK_REVOCATIONS_KEPT, LINK_ROWS_KEPT, SealedEntry, SealedKey,
    StoreError,
};

/// How long the row of a spent use is kept: longer than any connection is watched that could give it back.
const SPENT_KEPT: Duration = Duration::from_secs(2 * 86_400);

type KeyRow = (String, i64, Vec<u8>, i64, Option<i64>);

/// Everything sealed.
pub(super) fn keys(conn: &mut SqliteConnection) -> Result<Vec<SealedKey>, StoreError> {
    let query = "SELECT purpose, number, sealed, created, retires FROM server_key ORDER BY purpose, number";
    let rows: Vec<KeyRow> = sql(query, []).rows(conn)?;
    let key = |(purpose, number, sealed, created, retires): KeyRow| {
        let number = at("server_key", &purpose).number("number", number)?;
        Ok(SealedKey { purpose, number, sealed, created: time(created), retires: retires.map(time) })
    };
    rows.into_iter().map(key).collect()
}

/// Adds a key; the current one of its purpose retires.
pub(super) fn add_key(
    tx: &mut Tx<'_>,
    key: SealedKey,
    retire_previous: Option<Timestamp>,
    entry: SealedEntry,
) -> Result<(), StoreError> {
    let there = sql(
        "SELECT number FROM server_key WHERE purpose = ? AND number = ?",
        [key.purpose.as_str().into(), key.number.into()],
    );
    if there.one::<i64>(tx.conn)?.is_some() {
        return Err(StoreError::AlreadyExists);
    }
    if let Some(moment) = retire_previous {
        let update = "UPDATE server_key SET retires = ? WHERE purpose = ? AND retires IS NULL";
        sql(update, [moment.millis().into(), key.purpose.as_str().into()]).run(tx.conn)?;
    }
    let insert = "INSERT INTO server_key (purpose, number, sealed, created, retires) VALUES (?, ?, ?, ?, ?)";
    let retires = key.retires.map(Timestamp::millis);
    let values =
        [key.purpose.into(), key.number.into(), key.sealed.into(), key.created.millis().into(), retires.into()];
    sql(insert, values).run(tx.conn)?;
    tx.append(entry).map(drop)
}

/// The active policy.
pub(super) fn policy(conn: &mut SqliteConnection) -> Result<Option<ActivePolicy>, StoreError> {
    let query = "SELECT number, text, digest, actor, reason, at FROM policy ORDER BY number DESC LIMIT 1";
    let row: Option<(i64, String, Vec<u8>, String, String, i64)> = sql(query, []).row(conn)?;
    let policy = |(number, text, digest, actor, reason, moment): (i64, String, Vec<u8>, String, String, i64)| {
        let digest = at("policy", &number).fixed("digest", &digest)?;
        Ok(ActivePolicy { text, digest, actor, reason, at: time(moment) })
    };
    row.map(policy).transpose()
}

/// Makes a policy the active one; the earlier ones stay on record.
pub(super) fn apply_policy(tx: &mut Tx<'_>, policy: ActivePolicy, entry: SealedEntry) -> Result<(), StoreError> {
    let insert = "INSERT INTO policy (text, digest, actor, reason, at) VALUES (?, ?, ?, ?, ?)";
    let digest = policy.digest.as_slice();
    let values =
        [policy.text.into(), digest.into(), policy.actor.into(), policy.reason.into(), policy.at.millis().into()];
    sql(insert, values).run(tx.conn)?;
    tx.append(entry).map(drop)
}

type ClientRow = (i64, String, Option<String>, String, i64, String, String, String, String, String, i64, i64, i64);

const CLIENTS: &str = "SELECT c.number, p.id, c.name, c.scope, c.reach_all, c.custodians, c.attachment_url, c.allow_ip, \
    c.key_source, c.keys, c.disabled, c.generation, c.created FROM client c JOIN party p ON p.number = c.number";

/// One client.
pub(super) fn client_by_id(conn: &mut SqliteConnection, id: &ClientId) -> Result<Option<Client>, StoreError> {
    let mut query = sql(CLIENTS, []);
    query.push(" WHERE p.id = ?", [id.as_str().into()]);
    query.row::<ClientRow>(conn)?.map(client).transpose()
}

/// All clients.
pub(super) fn clients(conn: &mut SqliteConnection) -> Result<Clients, StoreError> {
    let rows: Vec<ClientRow> = sql(CLIENTS, []).rows(conn)?;
    rows.into_iter().map(client).collect::<Result<Vec<_>, _>>().map(Clients::new)
}

fn client(row: ClientRow) -> Result<Client, StoreError> {
    let (number, id, name, scope, all, custodians, url, allow_ip, key_source, keys, disabled, generation, created) =
        row;
    let place = at("client", &number);
    let keys = match key_source.as_str() {
        "inline" => ClientKeys::Inline(keys),
        "uri" => ClientKeys::Uri(keys),
        _ => return Err(place.corrupt("key_source")),
    };
    Ok(Client {
        number: place.client("number", number)?,
        id: ClientId::parse(&id).ok_or_else(|| at("party", &number).corrupt("id"))?,
        name,
        scope,
        reach: Reach { all: place.flag("reach_all", all)?, custodians: place.texts("custodians", &custodians)? },
        attachment_url: place.attachment_url("attachment_url", &url)?,
        allow_ip: place.texts("allow_ip", &allow_ip)?,
        keys,
        disabled: place.flag("disabled", disabled)?,
        generation: place.number("generation", generation)?,
        created: time(created),
    })
}

fn write_client(tx: &mut Tx<'_>, number: i64, generation: u32, client: Client) -> Result<(), StoreError> {
    let (key_source, keys) = match client.keys {
        ClientKeys::Inline(set) => ("inline", set),
        ClientKeys::Uri(uri) => ("uri", uri),
    };
    let replace = "INSERT OR REPLACE INTO client (number, name, scope, reach_all, custodians, attachment_url, allow_ip, \
        key_source, keys, disabled, generation, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let values: [Value; 12] = [
        number.into(),
        client.name.into(),
        client.scope.into(),
        client.reach.all.into(),
        list(client.reach.custodians.iter().map(String::as_str)),
        attachment_url_code(client.attachment_url).into(),
        list(client.allow_ip.iter().map(String::as_str)),
        key_source.into(),
        keys.into(),
        client.disabled.into(),
        generation.into(),
        client.created.millis().into(),
    ];
    sql(replace, values).run(tx.conn)?;
    tx.effects.clients = Some(clients(tx.conn)?);
    Ok(())
}

fn registered(tx: &mut Tx<'_>, number: i64) -> Result<Option<(i64, i64)>, StoreError> {
    sql("SELECT generation, created FROM client WHERE number = ?", [number.into()]).row(tx.conn)
}

/// Registers a client.
pub(super) fn add_client(tx: &mut Tx<'_>, client: Client, entry: SealedEntry) -> Result<ClientNumber, StoreError> {
    let number = intern::party(tx.conn, &client.id)?;
    if registered(tx, number)?.is_some() {
        return Err(StoreError::AlreadyExists);
    }
    let generation = client.generation;
    write_client(tx, number, generation, client)?;
    tx.append(entry)?;
    at("client", &number).client("number", number)
}

/// Replaces what is registered; the day of registration stays.
pub(super) fn update_client(tx: &mut Tx<'_>, client: Client, entry: SealedEntry) -> Result<(), StoreError> {
    let number = intern::party(tx.conn, &client.id)?;
    let (generation, created) = registered(tx, number)?.ok_or(StoreError::Changed)?;
    let generation: u32 = at("client", &number).number("generation", generation)?;
    let disabled = client.disabled;
    write_client(tx, number, generation.saturating_add(1), Client { created: time(created), ..client })?;
    if disabled {
        let now = tx.clock.now();
        subscriptions_rows::all_off(tx, number, now)?;
    }
    tx.append(entry).map(drop)
}

/// Records that an assertion was used; `false` when it was before.
pub(super) fn spend_assertion(
    tx: &mut Tx<'_>,
    client: ClientNumber,
    jti: [u8; 32],
    until: Timestamp,
    entry: SealedEntry,
) -> Result<bool, StoreError> {
    let insert = "INSERT OR IGNORE INTO assertion (client, jti, until) VALUES (?, ?, ?)";
    let values = [client.0.into(), jti.as_slice().into(), until.millis().into()];
    if sql(insert, values).run(tx.conn)? == 0 {
        return Ok(false);
    }
    tx.append(entry)?;
    Ok(true)
}

/// What an earlier request with the key made.
pub(super) fn earlier(
    conn: &mut SqliteConnection,
    client: ClientNumber,
    key: &str,
    now: Timestamp,
) -> Result<Option<Earlier>, StoreError> {
    let query = "SELECT request, kind, id, version FROM idempotency WHERE client = ? AND key = ? AND until > ?";
    let values = [client.0.into(), key.into(), now.millis().into()];
    let Some((request, kind, id, version)) = sql(query, values).row::<(Vec<u8>, i64, String, i64)>(conn)? else {
        return Ok(None);
    };
    let place = at("idempotency", &client.0);
    Ok(Some(Earlier {
        request: place.fixed("request", &request)?,
        kind: place.kind("kind", kind)?,
        id: place.resource_id("id", &id)?,
        version: place.number("version", version)?,
    }))
}

/// Forgets what is over.
pub(super) fn forget_expired(tx: &mut Tx<'_>, now: Timestamp) -> Result<(), StoreError> {
    let links = now.minus(LINK_REVOCATIONS_KEPT);
    sql("DELETE FROM assertion WHERE until < ?", [now.millis().into()]).run(tx.conn)?;
    sql("DELETE FROM idempotency WHERE until <= ?", [now.millis().into()]).run(tx.conn)?;
    outbox::forget(tx, now)?;
    super::operators::forget_approvals(tx, now.minus(ASSENT_HOLDS))?;
    super::given_links::forget(tx.conn, now)?;
    super::links::forget_links(tx.conn, now.minus(LINK_ROWS_KEPT))?;
    super::claims::forget_spent(tx.conn, now.minus(SPENT_KEPT))?;
    if sql("DELETE FROM revocation WHERE scope = 'link' AND at < ?", [links.millis().into()]).run(tx.conn)? > 0 {
        tx.effects.forget_links = Some(links);
    }
    Ok(())
}
