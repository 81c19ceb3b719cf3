//! Revocations: their rows, and the blocks of numbers that are reserved for them.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use diesel::prelude::*;

use super::rows::{at, time};
use super::statement::{Value, numbers, sql};
use super::tx::Tx;
use super::{SqliteStore, endings};
use crate::domain::clock::Timestamp;
use crate::domain::epoch::{Epochs, Holder, Revocation, Scope};
use crate::domain::id::LinkId;
use crate::domain::resource::{DocumentNumber, PatientNumber};
use crate::store::{Revocations, SealedEntry, StoreError};

#[async_trait]
impl Revocations for SqliteStore {
    fn epochs(&self) -> Arc<Epochs> {
        self.memory.epochs.get()
    }

    fn cut(&self, scope: Scope, holder: Option<Holder>, at: Timestamp) -> Revocation {
        self.memory.epochs.update(|epochs| epochs.cut(scope, holder, at))
    }

    fn cut_again(&self, revocation: &Revocation) {
        self.memory.epochs.update(|epochs| epochs.cut_again(revocation));
    }

    async fn revoke(
        &self,
        revocation: Revocation,
        reason: &str,
        entry: SealedEntry,
        told: bool,
    ) -> Result<bool, StoreError> {
        let reason = reason.to_owned();
        self.writer.run(move |tx| revoke(tx, revocation, &reason, entry, told)).await
    }

    async fn tell(&self, revocation: &Revocation) -> bool {
        self.tell_of(revocation).await
    }

    async fn durable_revocations(&self, wanted: Vec<u32>) -> Result<BTreeSet<u32>, StoreError> {
        let wanted = numbers(wanted.into_iter().map(i64::from));
        let query = "SELECT number FROM revocation WHERE number IN (SELECT value FROM json_each(?))";
        let rows: Vec<(i64,)> = self.read(|reading| sql(query, [wanted]).rows(reading.conn))?;
        rows.into_iter().map(|(number,)| at("revocation", &number).number("number", number)).collect()
    }
}

fn revoke(
    tx: &mut Tx<'_>,
    revocation: Revocation,
    reason: &str,
    entry: SealedEntry,
    told: bool,
) -> Result<bool, StoreError> {
    if !insert(tx.conn, &revocation, reason)? {
        return Ok(false);
    }
    if let Some(block) = tx.memory.epochs.get().block_due() {
        reserve(tx.conn, block)?;
        tx.effects.reserved = Some(block);
    }
    if !told {
        endings::of_revocation(tx.conn, &revocation)?;
    }
    tx.append(entry)?;
    tx.effects.revocations.push(revocation);
    Ok(true)
}

/// Writes the row of a revocation; `false`: there is one of its number.
pub(super) fn insert(conn: &mut SqliteConnection, revocation: &Revocation, reason: &str) -> Result<bool, StoreError> {
    let (code, subject, link) = match &revocation.scope {
        Scope::All => ("all", None, None),
        Scope::Client(number) => ("client", Some(i64::from(number.0)), None),
        Scope::Document(number) => ("document", Some(number.0), None),
        Scope::Patient(number) => ("patient", Some(number.0), None),
        Scope::Link(link) => ("link", None, Some(link.as_str())),
    };
    let insert = "INSERT INTO revocation (number, scope, subject, link, at, reason, reader, document) \
        VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (number) DO NOTHING";
    let values: [Value; 8] = [
        revocation.number.into(),
        code.into(),
        subject.into(),
        link.into(),
        revocation.at.millis().into(),
        reason.into(),
        revocation.holder.map(|holder| i64::from(holder.reader.0)).into(),
        revocation.holder.map(|holder| holder.document.0).into(),
    ];
    Ok(sql(insert, values).run(conn)? > 0)
}

fn reserve(conn: &mut SqliteConnection, block: u32) -> Result<(), StoreError> {
    let raise = "INSERT INTO revocation_reserve (id, number) VALUES (1, ?) \
        ON CONFLICT (id) DO UPDATE SET number = max(number, excluded.number)";
    sql(raise, [block.into()]).run(conn).map(drop)
}

pub(super) type RevocationRow = (i64, String, Option<i64>, Option<String>, i64, Option<i64>, Option<i64>);

/// Every revocation that counts, and a block of numbers behind all that an earlier process may have given out.
pub(super) fn resume(conn: &mut SqliteConnection) -> Result<Epochs, StoreError> {
    let query = "SELECT number, scope, subject, link, at, reader, document FROM revocation ORDER BY number";
    let rows: Vec<RevocationRow> = sql(query, []).rows(conn)?;
    let mut epochs = Epochs::default();
    for row in rows {
        epochs.add(revocation(row)?);
    }
    // Rows of single links are forgotten; the sequence remembers their numbers.
    let given_out = "SELECT max(coalesce((SELECT number FROM revocation_reserve), 0), \
        coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'revocation'), 0))";
    let given_out: i64 = sql(given_out, []).one(conn)?.unwrap_or(0);
    let block = epochs.resume(at("revocation_reserve", &1).number("number", given_out)?);
    reserve(conn, block)?;
    Ok(epochs)
}

pub(super) fn revocation(row: RevocationRow) -> Result<Revocation, StoreError> {
    let (number, code, subject, link, moment, reader, document) = row;
    let place = at("revocation", &number);
    let subject = || subject.ok_or_else(|| place.corrupt("subject"));
    let scope = match code.as_str() {
        "all" => Scope::All,
        "client" => Scope::Client(place.client("subject", subject()?)?),
        "document" => Scope::Document(DocumentNumber(subject()?)),
        "patient" => Scope::Patient(PatientNumber(subject()?)),
        "link" => Scope::Link(link.as_deref().and_then(LinkId::parse).ok_or_else(|| place.corrupt("link"))?),
        _ => return Err(place.corrupt("scope")),
    };
    let holder = match (reader, document) {
        (Some(reader), Some(document)) => {
            Some(Holder { reader: place.client("reader", reader)?, document: DocumentNumber(document) })
        }
        _ => None,
    };
    Ok(Revocation { number: place.number("number", number)?, scope, at: time(moment), holder })
}
