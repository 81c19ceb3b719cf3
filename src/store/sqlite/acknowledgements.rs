//! Rows of acknowledgements.

use async_trait::async_trait;

use super::SqliteStore;
use super::rows::{at, time};
use super::statement::sql;
use super::tx::Tx;
use crate::domain::acknowledgement::Acknowledgement;
use crate::domain::clock::Timestamp;
use crate::domain::id::ClientId;
use crate::domain::principal::ClientNumber;
use crate::domain::resource::DocumentNumber;
use crate::store::{Acknowledged, Acknowledgements, SealedEntry, StoreError};

#[async_trait]
impl Acknowledgements for SqliteStore {
    async fn acknowledge(
        &self,
        document: DocumentNumber,
        reader: ClientNumber,
        word: (Acknowledgement, Timestamp),
        entry: SealedEntry,
    ) -> Result<Acknowledged, StoreError> {
        self.writer.run(move |tx| acknowledge(tx, document, reader, word, entry)).await
    }

    async fn recipients(&self, document: DocumentNumber) -> Result<Vec<ClientId>, StoreError> {
        self.read(|reading| {
            let query = "SELECT p.id FROM access a JOIN party p ON p.number = a.party \
                WHERE a.rid = ? AND a.role IN (2, 3) ORDER BY p.id";
            let rows: Vec<(String,)> = sql(query, [document.0.into()]).rows(reading.conn)?;
            let client = |(id,): (String,)| ClientId::parse(&id).ok_or_else(|| at("party", &document.0).corrupt("id"));
            rows.into_iter().map(client).collect()
        })
    }
}

fn acknowledge(
    tx: &mut Tx<'_>,
    document: DocumentNumber,
    reader: ClientNumber,
    (outcome, moment): (Acknowledgement, Timestamp),
    entry: SealedEntry,
) -> Result<Acknowledged, StoreError> {
    let rid = document.0;
    let upsert = "INSERT INTO acknowledgement (rid, reader, outcome, at) VALUES (?, ?, ?, ?) ON CONFLICT (rid, reader) \
        DO UPDATE SET outcome = excluded.outcome, at = excluded.at WHERE outcome <> excluded.outcome";
    let values = [rid.into(), reader.0.into(), outcome.as_str().into(), moment.millis().into()];
    sql(upsert, values).run(tx.conn)?;
    tx.append(entry)?;
    let query = "SELECT p.id, a.at FROM acknowledgement a JOIN party p ON p.number = a.reader \
        JOIN res r ON r.rid = a.rid WHERE a.rid = ? AND a.outcome = ? AND a.reader <> r.owner ORDER BY a.at, a.reader";
    let imported = Acknowledgement::Imported.as_str();
    let rows: Vec<(String, i64)> = sql(query, [rid.into(), imported.into()]).rows(tx.conn)?;
    let mut said = Acknowledged { imported: Vec::new(), first: rows.first().map(|(_, moment)| time(*moment)) };
    for (id, _) in rows {
        said.imported.push(ClientId::parse(&id).ok_or_else(|| at("party", &rid).corrupt("id"))?);
    }
    Ok(said)
}
