//! Links with rows. What becomes of their uses stands in [`super::claims`].

use async_trait::async_trait;
use diesel::prelude::*;

use super::rows::{at, time};
use super::statement::{Value, sql};
use super::tx::Tx;
use super::{SqliteStore, claims};
use crate::domain::claim::{AttemptNumber, Settlement, SpentClaim, Standing};
use crate::domain::clock::Timestamp;
use crate::domain::id::{FileId, LinkId};
use crate::domain::link::LinkNumber;
use crate::store::{Begin, Begun, Counted, LinkRow, LinkUses, SealedEntry, StoreError};

#[async_trait]
impl LinkUses for SqliteStore {
    async fn add_link(&self, link: LinkRow, entry: SealedEntry) -> Result<(), StoreError> {
        self.writer.run(move |tx| add(tx, link, entry)).await
    }

    async fn link(&self, number: LinkNumber) -> Result<Option<LinkRow>, StoreError> {
        self.read(|reading| link(reading.conn, number))
    }

    async fn standing(
        &self,
        counted: &Counted,
        most: u32,
        size: u64,
    ) -> Result<(Standing, Option<Timestamp>), StoreError> {
        self.read(|reading| claims::standing(reading.conn, counted, most, size))
    }

    async fn begin_attempt(&self, begin: Begin) -> Result<Begun, StoreError> {
        self.writer.run(move |tx| claims::begin(tx, begin)).await
    }

    async fn mark_closing(&self, attempt: AttemptNumber) -> Result<bool, StoreError> {
        self.writer.run(move |tx| claims::mark_closing(tx.conn, attempt)).await
    }

    async fn settle(
        &self,
        counted: &Counted,
        size: u64,
        settlements: Vec<Settlement>,
        kept_until: Timestamp,
    ) -> Result<Vec<SpentClaim>, StoreError> {
        let counted = counted.clone();
        self.writer.run(move |tx| claims::settle(tx.conn, &counted, size, &settlements, kept_until)).await
    }
}

/// Values of the key that uses count by.
pub(super) fn key(counted: &Counted) -> [Value; 3] {
    let recipient: &[u8] = counted.recipient.as_ref().map_or(&[], |digest| digest.as_slice());
    [counted.file.as_bytes().as_slice().into(), counted.reader.0.into(), recipient.into()]
}

fn add(tx: &mut Tx<'_>, link: LinkRow, entry: SealedEntry) -> Result<(), StoreError> {
    let insert = "INSERT OR IGNORE INTO link (number, id, file, reader, recipient, uses, network, confirm, file_name, expires) \
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let [file, reader, recipient] = key(&link.counted);
    let values: [Value; 10] = [
        link.number.get().into(),
        link.id.as_str().into(),
        file,
        reader,
        recipient,
        link.uses.into(),
        link.network.map(|network| network.to_string()).into(),
        link.confirm.into(),
        link.file_name.into(),
        link.expires.millis().into(),
    ];
    if sql(insert, values).run(tx.conn)? == 0 {
        return Err(StoreError::AlreadyExists);
    }
    tx.append(entry).map(drop)
}

type LinkColumns = (String, Vec<u8>, i64, Vec<u8>, i64, Option<String>, i64, Option<String>, i64);

fn link(conn: &mut SqliteConnection, number: LinkNumber) -> Result<Option<LinkRow>, StoreError> {
    let query =
        "SELECT id, file, reader, recipient, uses, network, confirm, file_name, expires FROM link WHERE number = ?";
    let Some(row) = sql(query, [number.get().into()]).row::<LinkColumns>(conn)? else { return Ok(None) };
    let (id, file, reader, recipient, uses, network, confirm, file_name, expires) = row;
    let row = i64::from(number.get());
    let place = at("link", &row);
    let network = network.map(|text| text.parse().map_err(|_| place.corrupt("network"))).transpose()?;
    let recipient = match recipient.is_empty() {
        true => None,
        false => Some(place.fixed("recipient", &recipient)?),
    };
    let counted = Counted { file: place.file_id("file", &file)?, reader: place.client("reader", reader)?, recipient };
    Ok(Some(LinkRow {
        number,
        id: LinkId::parse(&id).ok_or_else(|| place.corrupt("id"))?,
        counted,
        uses: place.number("uses", uses)?,
        network,
        confirm: place.flag("confirm", confirm)?,
        file_name,
        expires: time(expires),
    }))
}

/// Forgets links and counts of a file that is destroyed.
pub(super) fn destroy(conn: &mut SqliteConnection, file: FileId) -> Result<(), StoreError> {
    for delete in [
        "DELETE FROM link WHERE file = ?",
        "DELETE FROM link_use WHERE file = ?",
        "DELETE FROM link_attempt WHERE claim IN (SELECT number FROM link_claim WHERE file = ?)",
        "DELETE FROM link_claim WHERE file = ?",
    ] {
        sql(delete, [file.as_bytes().as_slice().into()]).run(conn)?;
    }
    Ok(())
}

/// Forgets links that were over before a moment. Their counts stay: a later link of the file is given the same ones.
pub(super) fn forget_links(conn: &mut SqliteConnection, before: Timestamp) -> Result<(), StoreError> {
    sql("DELETE FROM link WHERE expires < ?", [before.millis().into()]).run(conn).map(drop)
}
