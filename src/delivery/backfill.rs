//! The first filling of the index of given links: what the log says of links that were given before there was an index, and
//! that may be alive. Once, at the first start after the upgrade.

use super::Delivery;
use super::failure::store_failure;
use crate::domain::audit::cell::Cells;
use crate::domain::audit::detail::{Detail, Object};
use crate::domain::audit::{Group, Leaf};
use crate::domain::clock::Timestamp;
use crate::domain::epoch::Subject;
use crate::domain::id::{ClientId, FileId, LinkId};
use crate::domain::link::MAX_AHEAD;
use crate::domain::refusal::Refusal;
use crate::store::{AuditRow, Gathered, GivenLink};

/// Entries read, and links written, at once.
const PAGE: u64 = 1_000;

/// A link as an entry names it.
type Named = (LinkId, FileId, Timestamp);

impl Delivery {
    /// Fills the index with links that were given before there was one, from the newest entry back to the last that may have
    /// given one that is alive. Before anything is served; where it broke off it goes on at the next start.
    ///
    /// # Errors
    /// Failures of the store.
    pub async fn gather_given_links(&self) -> Result<(), Refusal> {
        let mut end = self.store.given_backlog().await.map_err(store_failure)?;
        while end > 0 {
            let first = end.saturating_sub(PAGE);
            let count = usize::try_from(end - first).unwrap_or_default();
            let rows = self.store.audit_rows(first, count).await.map_err(store_failure)?;
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
            let Some((client, named)) = self.named_in(row, now) else { continue };
            for one in named {
                links.extend(self.held_by(&client, one).await?.map(|link| Gathered { link, at }));
            }
        }
        Ok((links, false))
    }

    fn named_in(&self, row: &AuditRow, now: Timestamp) -> Option<(ClientId, Vec<Named>)> {
        let cells = Cells::decode(&row.cells)?;
        let key = self.recorder.cell_key();
        let (actor, subject) = (cells.open(Group::Actor, key)?, cells.open(Group::Subject, key)?);
        let client = ClientId::parse(text(&actor, "client")?)?;
        let named = offered_by(&subject).into_iter().chain(issued_by(&subject));
        Some((client, named.filter(|(_, _, expires)| *expires >= now).collect()))
    }

    /// The link with its reader and document; `None` where they are no more.
    async fn held_by(&self, client: &ClientId, (id, file, expires): Named) -> Result<Option<GivenLink>, Refusal> {
        let facts = self.store.file(file).await.map_err(store_failure)?;
        let document = facts.as_ref().and_then(|facts| facts.document.as_ref());
        let (Some(document), Some(reader)) = (document, self.store.client(client)) else { return Ok(None) };
        let subject = Subject { reader: reader.number, document: document.number, patient: document.patient };
        Ok(Some(GivenLink { id, file, subject, epoch: 0, row: None, expires }))
    }
}

fn text<'a>(object: &'a Object, name: &str) -> Option<&'a str> {
    match object.get(name) {
        Some(Detail::Text(text)) => Some(text),
        _ => None,
    }
}

fn offered_by(subject: &Object) -> Vec<Named> {
    let Some(Detail::List(offered)) = subject.get("offered") else {
        return Vec::new();
    };
    let link = |detail: &Detail| match detail {
        Detail::List(parts) => match parts.as_slice() {
            [Detail::Text(id), Detail::Text(file), Detail::Whole(second)] => {
                let expires = Timestamp::from_millis(second.get().saturating_mul(1_000));
                Some((LinkId::parse(id)?, FileId::parse(file)?, expires))
            }
            _ => None,
        },
        _ => None,
    };
    offered.iter().filter_map(link).collect()
}

fn issued_by(subject: &Object) -> Option<Named> {
    let expires = text(subject, "expires").and_then(Timestamp::parse)?;
    Some((LinkId::parse(text(subject, "link")?)?, FileId::parse(text(subject, "file")?)?, expires))
}
