//! Which links were given and are alive, read back from the audit log: links leave no row of their own when they are made
//! (docs/decisions), so counting them is the rare act that pays for it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Delivery;
use super::failure::store_failure;
use crate::domain::audit::cell::Cells;
use crate::domain::audit::detail::{Detail, Object};
use crate::domain::audit::{Group, Leaf};
use crate::domain::clock::Timestamp;
use crate::domain::id::{FileId, LinkId};
use crate::domain::refusal::Refusal;
use crate::domain::resource::DocumentFacts;
use crate::store::AuditRow;

/// Entries that are looked at for one revocation at most, newest first.
const LOOKED_AT_MOST: usize = 200_000;

/// Entries read at once.
const PAGE: usize = 1_000;

/// The longest life that any policy gives a link; entries from before it offer nothing alive.
const LONGEST_LIFE: Duration = Duration::from_secs(31 * 86_400);

/// A link that was given to a client.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GivenLink {
    /// Its id.
    pub id: LinkId,
    /// Its file.
    pub file: FileId,
    /// The client that got it.
    pub client: String,
}

impl Delivery {
    /// Links of a document's files that were given and whose time is not over.
    pub(super) async fn links_alive(
        &self,
        document: &DocumentFacts,
        now: Timestamp,
    ) -> Result<Vec<GivenLink>, Refusal> {
        let mut found = BTreeMap::new();
        let Some(subject) = &document.subject else {
            self.look_back(now, &mut |link| keep(&mut found, link)).await?;
            return self.of_document(found, document).await;
        };
        let seqs = self.store.audit_of_patient(&subject.0).await.map_err(store_failure)?;
        for seq in seqs.into_iter().rev().take(LOOKED_AT_MOST) {
            let rows = self.store.audit_rows(seq, 1).await.map_err(store_failure)?;
            let older = rows.iter().any(|row| !self.links_of_row(row, now, &mut |link| keep(&mut found, link)));
            if older {
                break;
            }
        }
        self.of_document(found, document).await
    }

    /// Every link that was given and whose time is not over, newest entries first.
    pub(super) async fn look_back(
        &self,
        now: Timestamp,
        take: &mut (dyn FnMut(GivenLink) + Send),
    ) -> Result<(), Refusal> {
        let mut end = self.store.audit_head().await.map_err(store_failure)?.size;
        let mut looked = 0;
        while end > 0 && looked < LOOKED_AT_MOST {
            let first = end.saturating_sub(u64::try_from(PAGE).unwrap_or(u64::MAX));
            let count = usize::try_from(end - first).unwrap_or(PAGE);
            let rows = self.store.audit_rows(first, count).await.map_err(store_failure)?;
            looked += rows.len();
            for row in rows.iter().rev() {
                if !self.links_of_row(row, now, take) {
                    return Ok(());
                }
            }
            end = first;
        }
        Ok(())
    }

    async fn of_document(
        &self,
        found: BTreeMap<LinkId, GivenLink>,
        document: &DocumentFacts,
    ) -> Result<Vec<GivenLink>, Refusal> {
        let mut kept = Vec::new();
        for link in found.into_values() {
            let facts = self.store.file(link.file).await.map_err(store_failure)?;
            let number = facts.and_then(|facts| facts.document.as_ref().map(|document| document.number));
            if number == Some(document.number) {
                kept.push(link);
            }
        }
        Ok(kept)
    }

    /// Takes the links that an entry gave; `false` when the entry is too old for any to be alive.
    fn links_of_row(&self, row: &AuditRow, now: Timestamp, take: &mut (dyn FnMut(GivenLink) + Send)) -> bool {
        let Ok(leaf) = Leaf::decode(&row.body) else {
            return true;
        };
        let at = Timestamp::from_millis(i64::try_from(leaf.time_micros / 1000).unwrap_or(i64::MAX));
        if at < now.minus(LONGEST_LIFE) {
            return false;
        }
        let Some(cells) = Cells::decode(&row.cells) else {
            return true;
        };
        let key = self.recorder.cell_key();
        let (Some(actor), Some(subject)) = (cells.open(Group::Actor, key), cells.open(Group::Subject, key)) else {
            return true;
        };
        let client = text(&actor, "client").unwrap_or_default().to_owned();
        for (id, file) in offered_by(&subject, now).into_iter().chain(issued_by(&subject, now)) {
            take(GivenLink { id, file, client: client.clone() });
        }
        true
    }
}

fn keep(found: &mut BTreeMap<LinkId, GivenLink>, link: GivenLink) {
    found.insert(link.id.clone(), link);
}

fn text<'a>(object: &'a Object, name: &str) -> Option<&'a str> {
    match object.get(name) {
        Some(Detail::Text(text)) => Some(text),
        _ => None,
    }
}

fn offered_by(subject: &Object, now: Timestamp) -> Vec<(LinkId, FileId)> {
    let Some(Detail::List(offered)) = subject.get("offered") else {
        return Vec::new();
    };
    let link = |detail: &Detail| match detail {
        Detail::List(parts) => match parts.as_slice() {
            [Detail::Text(id), Detail::Text(file), Detail::Whole(second)] if second.get() >= now.seconds() => {
                Some((LinkId::parse(id)?, FileId::parse(file)?))
            }
            _ => None,
        },
        _ => None,
    };
    offered.iter().filter_map(link).collect()
}

fn issued_by(subject: &Object, now: Timestamp) -> Option<(LinkId, FileId)> {
    let expires = text(subject, "expires").and_then(Timestamp::parse)?;
    let (id, file) = (LinkId::parse(text(subject, "link")?)?, FileId::parse(text(subject, "file")?)?);
    (expires >= now).then_some((id, file))
}
