//! The index of given links. Rows of one document lie together; a page of links is written by one statement.

use async_trait::async_trait;
use diesel::prelude::*;

use super::SqliteStore;
use super::rows::{at, time};
use super::statement::{Value, sql};
use super::tx::Tx;
use crate::domain::clock::Timestamp;
use crate::domain::epoch::{Scope, Subject};
use crate::domain::id::{FileId, LinkId};
use crate::domain::link::LinkNumber;
use crate::domain::resource::{DocumentNumber, PatientNumber};
use crate::store::{Gathered, GivenLink, GivenLinks, KeptLink, LinkRecord, SealedEntry, StoreError};

#[async_trait]
impl GivenLinks for SqliteStore {
    async fn given_link(&self, id: &LinkId) -> Result<Option<KeptLink>, StoreError> {
        self.read(|reading| by_id(reading.conn, id))
    }

    async fn given_links(
        &self,
        scope: &Scope,
        now: Timestamp,
        after: Option<(DocumentNumber, LinkId)>,
        limit: usize,
    ) -> Result<Vec<GivenLink>, StoreError> {
        let scope = scope.clone();
        self.long_read(move |conn| page(conn, &scope, now, after, limit)).await
    }

    async fn kept_links(
        &self,
        after: Option<(DocumentNumber, LinkId)>,
        limit: usize,
    ) -> Result<Vec<KeptLink>, StoreError> {
        self.long_read(move |conn| every(conn, after, limit)).await
    }

    async fn renew_given(&self, entry: SealedEntry) -> Result<(), StoreError> {
        self.writer.run(move |tx| renew(tx, entry)).await
    }

    async fn given_backlog(&self) -> Result<u64, StoreError> {
        self.read(|reading| backlog(reading.conn))
    }

    async fn gather(&self, links: Vec<Gathered>, left: u64) -> Result<(), StoreError> {
        self.writer.run(move |tx| gather(tx, &links, left)).await
    }
}

/// Adds links. One that is offered again, within the step of time in which its text is the same, is there already.
pub(super) fn add(conn: &mut SqliteConnection, links: &[GivenLink], leaf: u64) -> Result<(), StoreError> {
    let insert = "INSERT OR IGNORE INTO given_link (document, id, file, reader, row, epoch, expires, leaf) \
        SELECT value ->> 0, value ->> 1, unhex(value ->> 2), value ->> 3, value ->> 4, value ->> 5, value ->> 6, ? \
        FROM json_each(?)";
    if links.is_empty() {
        return Ok(());
    }
    sql(insert, [leaf.into(), rows_of(links)]).run(conn).map(drop)
}

/// Entries below it may have given links that are not in the index yet.
pub(super) fn backlog(conn: &mut SqliteConnection) -> Result<u64, StoreError> {
    let size = sql("SELECT size FROM given_link_backlog", []).one::<i64>(conn)?;
    at("given_link_backlog", &1).number("size", size.unwrap_or(0))
}

/// Links as one bound array.
fn rows_of(links: &[GivenLink]) -> Value {
    let row = |link: &GivenLink| {
        serde_json::json!([
            link.subject.document.0,
            link.id.as_str(),
            hex::encode(link.file.as_bytes()),
            link.subject.reader.0,
            link.row.map(LinkNumber::get),
            link.epoch,
            link.expires.millis(),
        ])
    };
    Value::Text(serde_json::Value::Array(links.iter().map(row).collect()).to_string())
}

const SELECT: &str = "SELECT g.document, g.id, g.file, g.reader, d.patient, g.row, g.epoch, g.expires, g.leaf \
    FROM given_link g LEFT JOIN doc d ON d.rid = g.document ";

type GivenColumns = (i64, String, Vec<u8>, i64, Option<i64>, Option<i64>, i64, i64, Option<i64>);

fn kept(row: GivenColumns) -> Result<KeptLink, StoreError> {
    let (document, id, file, reader, patient, number, epoch, expires, leaf) = row;
    let place = at("given_link", &document);
    let reader = place.client("reader", reader)?;
    let link = GivenLink {
        id: LinkId::parse(&id).ok_or_else(|| place.corrupt("id"))?,
        file: place.file_id("file", &file)?,
        subject: Subject { reader, document: DocumentNumber(document), patient: patient.map(PatientNumber) },
        epoch: place.number("epoch", epoch)?,
        row: number.map(|number| place.number("row", number)).transpose()?.and_then(LinkNumber::new),
        expires: time(expires),
    };
    // A number that is none names no entry.
    Ok(KeptLink { link, leaf: leaf.and_then(|leaf| u64::try_from(leaf).ok()) })
}

fn by_id(conn: &mut SqliteConnection, id: &LinkId) -> Result<Option<KeptLink>, StoreError> {
    let mut query = sql(SELECT, []);
    query.push("WHERE g.id = ?", [id.as_str().into()]);
    query.row::<GivenColumns>(conn)?.map(kept).transpose()
}

fn page(
    conn: &mut SqliteConnection,
    scope: &Scope,
    now: Timestamp,
    after: Option<(DocumentNumber, LinkId)>,
    limit: usize,
) -> Result<Vec<GivenLink>, StoreError> {
    let (document, id) = after.map_or((0, String::new()), |(document, id)| (document.0, id.to_string()));
    let mut query = sql(SELECT, []);
    let values = [document.into(), id.into(), now.millis().into()];
    query.push("WHERE (g.document, g.id) > (?, ?) AND g.expires >= ? ", values);
    match scope {
        Scope::All => {}
        Scope::Client(number) => query.push("AND g.reader = ? ", [number.0.into()]),
        Scope::Document(number) => query.push("AND g.document = ? ", [number.0.into()]),
        Scope::Patient(number) => {
            query.push("AND g.document IN (SELECT rid FROM doc WHERE patient = ?) ", [number.0.into()]);
        }
        Scope::Link(link) => query.push("AND g.id = ? ", [link.as_str().into()]),
    }
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    query.push("ORDER BY g.document, g.id LIMIT ?", [limit.into()]);
    query.rows::<GivenColumns>(conn)?.into_iter().map(|row| kept(row).map(|kept| kept.link)).collect()
}

fn every(
    conn: &mut SqliteConnection,
    after: Option<(DocumentNumber, LinkId)>,
    limit: usize,
) -> Result<Vec<KeptLink>, StoreError> {
    let (document, id) = after.map_or((i64::MIN, String::new()), |(document, id)| (document.0, id.to_string()));
    let mut query = sql(SELECT, []);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let values = [document.into(), id.into(), limit.into()];
    query.push("WHERE (g.document, g.id) > (?, ?) ORDER BY g.document, g.id LIMIT ?", values);
    query.rows::<GivenColumns>(conn)?.into_iter().map(kept).collect()
}

/// Rows as they stand, with what says whose and of which file they are.
pub(super) fn records(
    conn: &mut SqliteConnection,
    after: Option<(i64, String)>,
    limit: usize,
) -> Result<Vec<LinkRecord>, StoreError> {
    let query = "SELECT g.document, g.id, g.file, p.id, g.leaf, g.expires, f.rid FROM given_link g \
        LEFT JOIN party p ON p.number = g.reader LEFT JOIN file f ON f.id = g.file \
        WHERE (g.document, g.id) > (?, ?) ORDER BY g.document, g.id LIMIT ?";
    let (document, id) = after.unwrap_or((i64::MIN, String::new()));
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = sql(query, [document.into(), id.into(), limit.into()]).rows(conn)?;
    Ok(rows.into_iter().map(LinkRecord::new).collect())
}

/// Whether a link has no row, though its file is a document's and was not destroyed.
pub(super) fn lacks(conn: &mut SqliteConnection, id: &LinkId, file: FileId) -> Result<bool, StoreError> {
    let query = "SELECT 1 FROM file f WHERE f.id = ? AND f.rid IS NOT NULL AND f.key IS NOT NULL \
        AND NOT EXISTS (SELECT 1 FROM given_link g WHERE g.document = f.rid AND g.id = ?)";
    let values = [file.as_bytes().as_slice().into(), id.as_str().into()];
    Ok(sql(query, values).one::<i64>(conn)?.is_some())
}

fn renew(tx: &mut Tx<'_>, entry: SealedEntry) -> Result<(), StoreError> {
    let leaf = tx.append(entry)?;
    sql("DELETE FROM given_link", []).run(tx.conn)?;
    let all =
        "INSERT INTO given_link_backlog (id, size) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET size = excluded.size";
    sql(all, [leaf.into()]).run(tx.conn).map(drop)
}

/// The epoch of a link that an entry gave: no revocation that concerns it lies between the one that it carries and the entry,
/// or the entry would have given another link. One of the same moment counts as later.
const GATHER: &str = "INSERT INTO given_link (document, id, file, reader, row, epoch, expires, leaf) VALUES (?, ?, ?, ?, \
    (SELECT number FROM link WHERE file = ? AND id = ?), (SELECT coalesce(max(number), 0) FROM revocation WHERE at < ?), ?, ?) \
    ON CONFLICT (document, id) DO UPDATE SET leaf = coalesce(given_link.leaf, excluded.leaf)";

fn gather(tx: &mut Tx<'_>, links: &[Gathered], left: u64) -> Result<(), StoreError> {
    for Gathered { link, at, leaf } in links {
        let file = || Value::from(link.file.as_bytes().as_slice());
        let id = || Value::from(link.id.as_str());
        let (document, reader) = (link.subject.document.0, link.subject.reader.0);
        let values = [
            document.into(),
            id(),
            file(),
            reader.into(),
            file(),
            id(),
            at.millis().into(),
            link.expires.millis().into(),
            (*leaf).into(),
        ];
        sql(GATHER, values).run(tx.conn)?;
    }
    match left {
        0 => sql("DELETE FROM given_link_backlog", []).run(tx.conn),
        left => sql("UPDATE given_link_backlog SET size = ?", [left.into()]).run(tx.conn),
    }
    .map(drop)
}

/// Forgets links of a document that is destroyed.
pub(super) fn destroy(conn: &mut SqliteConnection, document: i64) -> Result<(), StoreError> {
    sql("DELETE FROM given_link WHERE document = ?", [document.into()]).run(conn).map(drop)
}

/// Forgets links that are over.
pub(super) fn forget(conn: &mut SqliteConnection, now: Timestamp) -> Result<(), StoreError> {
    sql("DELETE FROM given_link WHERE expires < ?", [now.millis().into()]).run(conn).map(drop)
}
