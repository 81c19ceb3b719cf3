//! New resources and new versions of context resources, as jobs of the writer. Texts arrive packed.

use std::time::Duration;

use super::intern;
use super::outbox::{self, Happening};
use super::rows::{at, time};
use super::statement::{Value, sql};
use super::tx::Tx;
use super::visibility;
use crate::domain::clock::Timestamp;
use crate::domain::id::{FileId, ResourceId};
use crate::domain::lifecycle::{Actor, State};
use crate::domain::principal::{AccessScope, ClientNumber};
use crate::domain::resource::{Index, Kind, NewFile};
use crate::store::{Idempotency, NewBinary, NewContext, NewDocument, SealedEntry, StoreError, Written};

/// Roles in `access`.
const SOURCE: i64 = 1;
const RECIPIENT: i64 = 2;

/// Roles in `ref`.
const SUBJECT: i64 = 1;
const CUSTODIAN: i64 = 2;
pub(super) const ENCOUNTER: i64 = 3;
const OTHER: i64 = 4;

/// A document without a date sorts last both ways.
pub(super) const NO_DATE_DOWN: i64 = i64::MIN;
const NO_DATE_UP: i64 = i64::MAX;

/// How long a job's first claim may be waited for: not at all.
const AT_ONCE: Duration = Duration::ZERO;

/// Columns of a new row of `res` beside its version, which is 1.
struct NewRow<'a> {
    kind: Kind,
    id: &'a ResourceId,
    owner: ClientNumber,
    at: Timestamp,
    packed: Vec<u8>,
    custodian: Option<i64>,
    state: Option<State>,
    due: Option<Timestamp>,
    decision: Option<i64>,
    target: Option<i64>,
}

fn insert_row(tx: &mut Tx<'_>, row: NewRow<'_>) -> Result<(i64, Written), StoreError> {
    let taken =
        sql("SELECT rid FROM res WHERE kind = ? AND id = ?", [row.kind.number().into(), row.id.as_str().into()]);
    if taken.one::<i64>(tx.conn)?.is_some() {
        return Err(StoreError::AlreadyExists);
    }
    let body = sql("INSERT INTO body (packed) VALUES (?)", [row.packed.into()]).insert(tx.conn)?;
    let updated = tx.stamp(row.at);
    let state = row.state.map(State::as_str);
    let insert = "INSERT INTO res (kind, id, version, updated, created, owner, custodian, state, since, due, decision, \
        target, body) VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let rid = sql(
        insert,
        [
            row.kind.number().into(),
            row.id.as_str().into(),
            updated.millis().into(),
            row.at.millis().into(),
            row.owner.0.into(),
            row.custodian.into(),
            state.into(),
            row.at.millis().into(),
            row.due.map(Timestamp::millis).into(),
            row.decision.into(),
            row.target.into(),
            body.into(),
        ],
    )
    .insert(tx.conn)?;
    add_version(tx, rid, 1, updated, row.state, Some(body))?;
    Ok((rid, Written { version: 1, updated, created: true }))
}

/// Adds a row of the history.
pub(super) fn add_version(
    tx: &mut Tx<'_>,
    rid: i64,
    version: u32,
    updated: Timestamp,
    state: Option<State>,
    body: Option<i64>,
) -> Result<(), StoreError> {
    let state = state.map(State::as_str);
    let values = [rid.into(), version.into(), updated.millis().into(), state.into(), body.into()];
    sql("INSERT INTO ver (rid, version, updated, state, body) VALUES (?, ?, ?, ?, ?)", values).run(tx.conn).map(drop)
}

/// Creates a document with all that belongs to it.
pub(super) fn document(
    tx: &mut Tx<'_>,
    new: NewDocument,
    packed: Vec<u8>,
    entry: SealedEntry,
) -> Result<Written, StoreError> {
    forbid_repetition(tx, new.owner, new.idempotency.as_ref(), new.at)?;
    let decision = intern::decision(tx.conn, &new.decision)?;
    let custodian = new.index.custodian.as_ref().map(|target| intern::target(tx.conn, &target.0)).transpose()?;
    let row = NewRow {
        kind: Kind::DocumentReference,
        id: &new.id,
        owner: new.owner,
        at: new.at,
        packed,
        custodian,
        state: Some(State::Created),
        due: new.due,
        decision: Some(decision),
        target: None,
    };
    let (rid, written) = insert_row(tx, row)?;
    let owner: Option<String> = sql("SELECT id FROM party WHERE number = ?", [new.owner.0.into()]).one(tx.conn)?;
    let owner = owner.ok_or(StoreError::Changed)?;
    add_access(tx, rid, i64::from(new.owner.0), SOURCE)?;
    for recipient in &new.recipients {
        let party = intern::party(tx.conn, recipient)?;
        add_access(tx, rid, party, RECIPIENT)?;
    }
    add_document_index(tx, rid, custodian, &new.index)?;
    for file in &new.files {
        add_file(tx, file, Some(rid), new.owner, new.at)?;
    }
    for (file, content, title) in &new.claims {
        claim(tx, *file, rid, new.owner, *content, title.clone())?;
    }
    if !(new.files.is_empty() && new.claims.is_empty()) {
        let due = new.at.plus(AT_ONCE).millis();
        let insert = "INSERT INTO scan_job (rid, due, fence, attempts) VALUES (?, ?, 0, 0)";
        sql(insert, [rid.into(), due.into()]).run(tx.conn)?;
    }
    let actor = format!("client/{owner}");
    let actor = Actor::parse(&actor).map_or(actor, |actor| actor.to_string());
    add_step(tx, rid, None, State::Created, new.at, actor, "created")?;
    remember(tx, new.owner, new.idempotency, Kind::DocumentReference, &new.id, written.version)?;
    // A plain Subscription is told of every version.
    let happening = Happening { rid, version: written.version, topic: None, at: new.at, expires: new.due };
    outbox::raise(tx, happening)?;
    tx.append(entry)?;
    tx.effects.changes += 1;
    Ok(written)
}

/// Adds a step of a document's life.
pub(super) fn add_step(
    tx: &mut Tx<'_>,
    rid: i64,
    from: Option<State>,
    to: State,
    moment: Timestamp,
    actor: String,
    reason: &str,
) -> Result<(), StoreError> {
    let insert = "INSERT INTO step (rid, number, from_state, to_state, at, actor, reason) \
        SELECT ?, coalesce(max(number), 0) + 1, ?, ?, ?, ?, ? FROM step WHERE rid = ?";
    let from = from.map(State::as_str);
    let to = to.as_str();
    let moment = moment.millis();
    let values = [rid.into(), from.into(), to.into(), moment.into(), actor.into(), reason.into(), rid.into()];
    sql(insert, values).run(tx.conn).map(drop)
}

fn add_access(tx: &mut Tx<'_>, rid: i64, party: i64, role: i64) -> Result<(), StoreError> {
    let insert = "INSERT INTO access (party, rid, role) VALUES (?, ?, ?) \
        ON CONFLICT (party, rid) DO UPDATE SET role = role | excluded.role";
    sql(insert, [party.into(), rid.into(), role.into()]).run(tx.conn).map(drop)
}

fn add_document_index(tx: &mut Tx<'_>, rid: i64, custodian: Option<i64>, index: &Index) -> Result<(), StoreError> {
    let patient = index.subject.as_ref().map(|target| intern::target(tx.conn, &target.0)).transpose()?;
    let kind_set = intern::term_set(tx.conn, &index.kind)?;
    let category_set = intern::term_set(tx.conn, &index.category)?;
    let (from, until, up) = match index.date {
        Some(span) => (span.from.millis(), span.until.millis(), span.from.millis()),
        None => (NO_DATE_DOWN, NO_DATE_DOWN, NO_DATE_UP),
    };
    let insert = "INSERT INTO doc (rid, patient, custodian, status, kind_set, category_set, date_from, date_until, \
        date_up) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let status = index.status.as_deref();
    let values: [Value; 9] = [
        rid.into(),
        patient.into(),
        custodian.into(),
        status.into(),
        kind_set.into(),
        category_set.into(),
        from.into(),
        until.into(),
        up.into(),
    ];
    sql(insert, values).run(tx.conn)?;
    add_identifiers(tx, rid, index)?;
    let named = [(patient, SUBJECT), (custodian, CUSTODIAN)];
    for (target, role) in named.into_iter().filter_map(|(target, role)| Some((target?, role))) {
        add_reference(tx, rid, target, role)?;
    }
    let encounters = index.encounters.iter().map(|target| (target, ENCOUNTER));
    for (target, role) in encounters.chain(index.references.iter().map(|target| (target, OTHER))) {
        let target = intern::target(tx.conn, local_or_literal(&target.0))?;
        add_reference(tx, rid, target, role)?;
    }
    Ok(())
}

/// A reference to a version of a resource is one to the resource.
fn local_or_literal(text: &str) -> &str {
    text.split_once("/_history/").map_or(text, |(resource, _)| resource)
}

fn add_reference(tx: &mut Tx<'_>, rid: i64, target: i64, role: i64) -> Result<(), StoreError> {
    let insert = "INSERT OR IGNORE INTO ref (target, role, rid) VALUES (?, ?, ?)";
    sql(insert, [target.into(), role.into(), rid.into()]).run(tx.conn).map(drop)
}

fn add_identifiers(tx: &mut Tx<'_>, rid: i64, index: &Index) -> Result<(), StoreError> {
    for identifier in &index.identifiers {
        let system = identifier.system.as_deref().unwrap_or_default();
        let values = [identifier.value.as_str().into(), system.into(), rid.into()];
        sql("INSERT OR IGNORE INTO identifier (value, system, rid) VALUES (?, ?, ?)", values).run(tx.conn)?;
    }
    Ok(())
}

fn add_file(
    tx: &mut Tx<'_>,
    file: &NewFile,
    rid: Option<i64>,
    owner: ClientNumber,
    moment: Timestamp,
) -> Result<(), StoreError> {
    let inline = match &file.inline {
        Some(bytes) => Some(sql("INSERT INTO content (bytes) VALUES (?)", [bytes.as_slice().into()]).insert(tx.conn)?),
        None => None,
    };
    let insert = "INSERT INTO file (id, rid, content, media_type, size, sha256, sha1, key, inline, title, created, owner) \
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    sql(
        insert,
        [
            file.file.as_bytes().as_slice().into(),
            rid.into(),
            u32::from(file.content).into(),
            file.media_type.as_str().into(),
            file.size.into(),
            file.sha256.as_slice().into(),
            file.sha1.as_slice().into(),
            file.wrapped_key.as_slice().into(),
            inline.into(),
            file.title.as_deref().into(),
            moment.millis().into(),
            owner.0.into(),
        ],
    )
    .run(tx.conn)?;
    tx.effects.files.push(file.file);
    Ok(())
}

/// Gives an unclaimed Binary of the owner to a document.
fn claim(
    tx: &mut Tx<'_>,
    file: FileId,
    rid: i64,
    owner: ClientNumber,
    content: u16,
    title: Option<String>,
) -> Result<(), StoreError> {
    let update = "UPDATE file SET rid = ?, content = ?, title = ? WHERE id = ? AND rid IS NULL AND owner = ? AND key IS NOT NULL";
    let id = file.as_bytes().as_slice();
    let values = [rid.into(), u32::from(content).into(), title.into(), id.into(), owner.0.into()];
    if sql(update, values).run(tx.conn)? != 1 {
        return Err(StoreError::Changed);
    }
    let update = "UPDATE res SET document = ?, due = NULL WHERE kind = ? AND id = ?";
    sql(update, [rid.into(), Kind::Binary.number().into(), file.to_string().into()]).run(tx.conn)?;
    tx.effects.files.push(file);
    Ok(())
}

/// Creates a Binary that no document claims.
pub(super) fn binary(
    tx: &mut Tx<'_>,
    new: NewBinary,
    packed: Vec<u8>,
    entry: SealedEntry,
) -> Result<Written, StoreError> {
    forbid_repetition(tx, new.owner, new.idempotency.as_ref(), new.at)?;
    let id = ResourceId::from(new.file.file);
    let row = NewRow {
        kind: Kind::Binary,
        id: &id,
        owner: new.owner,
        at: new.at,
        packed,
        custodian: None,
        state: None,
        due: Some(new.due),
        decision: None,
        target: None,
    };
    let (_, written) = insert_row(tx, row)?;
    add_file(tx, &new.file, None, new.owner, new.at)?;
    remember(tx, new.owner, new.idempotency, Kind::Binary, &id, written.version)?;
    tx.append(entry)?;
    Ok(written)
}

/// The row that gives a Subscription its id for ever.
pub(super) fn subscription_row(
    tx: &mut Tx<'_>,
    id: &ResourceId,
    owner: ClientNumber,
    at: Timestamp,
    packed: Vec<u8>,
) -> Result<(i64, Written), StoreError> {
    let kind = Kind::Subscription;
    let (custodian, state, due, decision, target) = (None, None, None, None, None);
    insert_row(tx, NewRow { kind, id, owner, at, packed, custodian, state, due, decision, target })
}

/// Creates a context resource, or a version of it.
pub(super) fn context(
    tx: &mut Tx<'_>,
    new: NewContext,
    packed: Vec<u8>,
    scope: &AccessScope,
    entry: SealedEntry,
) -> Result<Written, StoreError> {
    forbid_repetition(tx, new.owner, new.idempotency.as_ref(), new.at)?;
    let query = "SELECT rid, version, owner FROM res WHERE kind = ? AND id = ?";
    let there: Option<(i64, i64, i64)> = sql(query, [new.kind.number().into(), new.id.as_str().into()]).row(tx.conn)?;
    let written = match there {
        None if new.if_match.is_some() => return Err(StoreError::Changed),
        None => create_context(tx, &new, packed)?,
        Some((rid, version, owner)) => {
            let own = owner == i64::from(new.owner.0);
            let visible = own || visibility::find(tx.conn, new.kind, &new.id, scope)?.is_some();
            if !new.replace || !visible {
                return Err(StoreError::AlreadyExists);
            }
            let version: u32 = at("res", &rid).number("version", version)?;
            if new.if_match.is_some_and(|asked| asked != version) {
                return Err(StoreError::Changed);
            }
            replace_context(tx, rid, version.saturating_add(1), &new, packed)?
        }
    };
    remember(tx, new.owner, new.idempotency, new.kind, &new.id, written.version)?;
    tx.append(entry)?;
    Ok(written)
}

fn create_context(tx: &mut Tx<'_>, new: &NewContext, packed: Vec<u8>) -> Result<Written, StoreError> {
    let own = format!("{}/{}", new.kind.as_str(), new.id);
    let target = intern::target(tx.conn, &own)?;
    let row = NewRow {
        kind: new.kind,
        id: &new.id,
        owner: new.owner,
        at: new.at,
        packed,
        custodian: None,
        state: None,
        due: None,
        decision: None,
        target: Some(target),
    };
    let (rid, written) = insert_row(tx, row)?;
    add_identifiers(tx, rid, &new.index)?;
    Ok(written)
}

fn replace_context(
    tx: &mut Tx<'_>,
    rid: i64,
    version: u32,
    new: &NewContext,
    packed: Vec<u8>,
) -> Result<Written, StoreError> {
    let body = sql("INSERT INTO body (packed) VALUES (?)", [packed.into()]).insert(tx.conn)?;
    let updated = tx.stamp(new.at);
    let update = "UPDATE res SET version = ?, updated = ?, body = ? WHERE rid = ?";
    sql(update, [version.into(), updated.millis().into(), body.into(), rid.into()]).run(tx.conn)?;
    add_version(tx, rid, version, updated, None, Some(body))?;
    sql("DELETE FROM identifier WHERE rid = ?", [rid.into()]).run(tx.conn)?;
    add_identifiers(tx, rid, &new.index)?;
    Ok(Written { version, updated, created: false })
}

/// Whether the key was used meanwhile: the caller looks the earlier answer up.
pub(super) fn forbid_repetition(
    tx: &mut Tx<'_>,
    client: ClientNumber,
    idempotency: Option<&Idempotency>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(Idempotency { key, .. }) = idempotency else { return Ok(()) };
    let query = "SELECT until FROM idempotency WHERE client = ? AND key = ?";
    let until: Option<i64> = sql(query, [client.0.into(), key.as_str().into()]).one(tx.conn)?;
    if until.is_some_and(|until| time(until) > now) { Err(StoreError::AlreadyExists) } else { Ok(()) }
}

pub(super) fn remember(
    tx: &mut Tx<'_>,
    client: ClientNumber,
    idempotency: Option<Idempotency>,
    kind: Kind,
    id: &ResourceId,
    version: u32,
) -> Result<(), StoreError> {
    let Some(Idempotency { key, request, until }) = idempotency else { return Ok(()) };
    let replace = "INSERT OR REPLACE INTO idempotency (client, key, request, until, kind, id, version) \
        VALUES (?, ?, ?, ?, ?, ?, ?)";
    let request = request.as_slice();
    let values = [
        client.0.into(),
        key.into(),
        request.into(),
        until.millis().into(),
        kind.number().into(),
        id.as_str().into(),
        version.into(),
    ];
    sql(replace, values).run(tx.conn).map(drop)
}
