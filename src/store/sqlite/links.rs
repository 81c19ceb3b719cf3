//! Links with rows, and their uses. Claims are counted in the writer's one order of commits, so no two get the last use.

use async_trait::async_trait;
use diesel::prelude::*;

use super::SqliteStore;
use super::rows::{at, time};
use super::statement::{Value, sql};
use super::tx::Tx;
use crate::domain::claim::ClaimNumber;
use crate::domain::clock::Timestamp;
use crate::domain::id::{FileId, LinkId};
use crate::domain::link::LinkNumber;
use crate::store::{Claimed, Counted, LinkRow, LinkUses, SealedEntry, StoreError, Uses};

#[async_trait]
impl LinkUses for SqliteStore {
    async fn add_link(&self, link: LinkRow, entry: SealedEntry) -> Result<(), StoreError> {
        self.writer.run(move |tx| add(tx, link, entry)).await
    }

    async fn link(&self, number: LinkNumber) -> Result<Option<LinkRow>, StoreError> {
        self.read(|reading| link(reading.conn, number))
    }

    async fn link_uses(&self, counted: &Counted) -> Result<Uses, StoreError> {
        self.read(|reading| uses(reading.conn, counted))
    }

    async fn claim_use(
        &self,
        counted: &Counted,
        most: u32,
        over: Vec<ClaimNumber>,
        now: Timestamp,
    ) -> Result<Claimed, StoreError> {
        let counted = counted.clone();
        self.writer.run(move |tx| claim(tx, &counted, most, &over, now)).await
    }

    async fn mark_claim(&self, claim: ClaimNumber, closing: bool) -> Result<bool, StoreError> {
        self.writer.run(move |tx| mark(tx.conn, claim, closing)).await
    }

    async fn close_claim(&self, claim: ClaimNumber) -> Result<bool, StoreError> {
        self.writer.run(move |tx| close(tx.conn, claim)).await
    }

    async fn give_back(&self, claims: Vec<ClaimNumber>) -> Result<(), StoreError> {
        if claims.is_empty() {
            return Ok(());
        }
        self.writer.run(move |tx| give_back(tx.conn, &claims)).await
    }
}

/// Values of the key that uses count by.
fn key(counted: &Counted) -> [Value; 3] {
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

fn uses(conn: &mut SqliteConnection, counted: &Counted) -> Result<Uses, StoreError> {
    let query = "SELECT used, last FROM link_use WHERE file = ? AND reader = ? AND recipient = ?";
    let row = sql(query, key(counted)).row::<(i64, i64)>(conn)?;
    let (used, last) = row.map_or((0, None), |(used, last)| (used, Some(time(last))));
    let query = "SELECT count(*) FROM link_claim WHERE file = ? AND reader = ? AND recipient = ?";
    let open: i64 = sql(query, key(counted)).one(conn)?.unwrap_or(0);
    let place = at("link_use", &used);
    Ok(Uses { used: place.number("used", used)?, open: place.number("number", open)?, last })
}

fn claim(
    tx: &mut Tx<'_>,
    counted: &Counted,
    most: u32,
    over: &[ClaimNumber],
    now: Timestamp,
) -> Result<Claimed, StoreError> {
    give_back(tx.conn, over)?;
    let now_used = uses(tx.conn, counted)?;
    if now_used.used >= most {
        return Ok(Claimed::Used(now_used.last));
    }
    if now_used.used.saturating_add(now_used.open) >= most {
        return Ok(Claimed::Busy);
    }
    let insert = "INSERT INTO link_claim (file, reader, recipient, opened, closing) VALUES (?, ?, ?, ?, 0)";
    let [file, reader, recipient] = key(counted);
    let number = sql(insert, [file, reader, recipient, now.millis().into()]).insert(tx.conn)?;
    Ok(Claimed::Yes(ClaimNumber(number)))
}

fn mark(conn: &mut SqliteConnection, claim: ClaimNumber, closing: bool) -> Result<bool, StoreError> {
    let update = "UPDATE link_claim SET closing = ? WHERE number = ?";
    Ok(sql(update, [closing.into(), claim.0.into()]).run(conn)? > 0)
}

const USE: &str = "INSERT INTO link_use (file, reader, recipient, used, last) \
    SELECT file, reader, recipient, 1, opened FROM link_claim WHERE number = ? \
    ON CONFLICT (file, reader, recipient) DO UPDATE SET used = used + 1, last = max(last, excluded.last)";

fn close(conn: &mut SqliteConnection, claim: ClaimNumber) -> Result<bool, StoreError> {
    let counted = sql(USE, [claim.0.into()]).run(conn)? > 0;
    sql("DELETE FROM link_claim WHERE number = ?", [claim.0.into()]).run(conn)?;
    Ok(counted)
}

fn give_back(conn: &mut SqliteConnection, claims: &[ClaimNumber]) -> Result<(), StoreError> {
    for claim in claims {
        sql("DELETE FROM link_claim WHERE number = ?", [claim.0.into()]).run(conn)?;
    }
    Ok(())
}

/// At the start nobody holds a claim: what may have arrived whole counts as used, all else is given back.
pub(super) fn take_back_claims(conn: &mut SqliteConnection) -> Result<(), StoreError> {
    let closing: Vec<(i64,)> = sql("SELECT number FROM link_claim WHERE closing = 1", []).rows(conn)?;
    for (number,) in closing {
        close(conn, ClaimNumber(number))?;
    }
    sql("DELETE FROM link_claim", []).run(conn).map(drop)
}

/// Forgets links and counts of a file that is destroyed.
pub(super) fn destroy(conn: &mut SqliteConnection, file: FileId) -> Result<(), StoreError> {
    for delete in [
        "DELETE FROM link WHERE file = ?",
        "DELETE FROM link_use WHERE file = ?",
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
