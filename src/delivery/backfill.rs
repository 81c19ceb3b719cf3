//! The filling of the index of given links from the log: what it says of links that may be alive. Once after an upgrade, and whenever
//! the index is not what the entries say.

use super::Delivery;
use super::failure::store_failure;
use crate::domain::audit::Leaf;
use crate::domain::audit::given::{Given, Named};
use crate::domain::clock::Timestamp;
use crate::domain::epoch::Subject;
use crate::domain::id::ClientId;
use crate::domain::lifecycle::State;
use crate::domain::link::MAX_AHEAD;
use crate::domain::refusal::Refusal;
use crate::store::{AuditRow, Gathered, GivenLink};

/// Entries read, and links written, at once.
const PAGE: usize = 1_000;

impl Delivery {
    /// Fills the index with links that were given before there was one, from the newest entry back to the last that may have
    /// given one that is alive. Before anything is served; where it broke off it goes on at the next start.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn gather_given_links(&self) -> Result<(), Refusal> {
        let mut end = self.store.given_backlog().await.map_err(store_failure)?;
        while end > 0 {
            let rows = self.store.audit_rows_before(end, PAGE).await.map_err(store_failure)?;
            let first = rows.first().map_or(0, |row| row.seq);
            let (links, older) = self.given_by(&rows).await?;
            end = if older { 0 } else { first };
            self.store.gather(links, end).await.map_err(store_failure)?;
        }
        Ok(())
    }

    /// The links that entries gave and that are alive, newest first; whether the oldest is too old for any.
    async fn given_by(&self, rows: &[AuditRow]) -> Result<(Vec<Gathered>, bool), Refusal> {
        let now = self.clock.now();
        let mut links = Vec::new();
        for row in rows.iter().rev() {
            let Ok(leaf) = Leaf::decode(&row.body) else { continue };
            let at = Timestamp::from_millis(i64::try_from(leaf.time_micros / 1_000).unwrap_or(i64::MAX));
            if at < now.minus(MAX_AHEAD) {
                return Ok((links, true));
            }
            let Some(given) = Given::read(&row.body, &row.cells, self.recorder.cell_key()) else { continue };
            for one in given.links.into_iter().filter(|(_, _, expires)| *expires >= now) {
                let leaf = row.seq;
                links.extend(self.held_by(&given.client, one).await?.map(|link| Gathered { link, at, leaf }));
            }
        }
        Ok((links, false))
    }

    /// The link with its reader and document; `None` where they are no more.
    pub(super) async fn held_by(
        &self,
        client: &ClientId,
        (id, file, expires): Named,
    ) -> Result<Option<GivenLink>, Refusal> {
        let facts = self.store.file(file).await.map_err(store_failure)?;
        let document = facts.as_ref().and_then(|facts| facts.document.as_ref());
        let document = document.filter(|document| document.state != State::Purged);
        let (Some(document), Some(reader)) = (document, self.store.client(client)) else { return Ok(None) };
        let subject = Subject { reader: reader.number, document: document.number, patient: document.patient };
        Ok(Some(GivenLink { id, file, subject, epoch: 0, row: None, expires }))
    }
}
