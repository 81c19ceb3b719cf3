//! The audit log read back, newest entries first, for questions that are rare enough to pay for it. Bounded: what was asked
//! for and lies further back is said not to have been looked at.

use super::Delivery;
use super::failure::store_failure;
use crate::domain::audit::cell::Cells;
use crate::domain::audit::detail::{Detail, Object};
use crate::domain::audit::{Action, Group, Leaf, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::refusal::Refusal;
use crate::store::AuditRow;

/// Entries that are looked at for one question at most.
pub(super) const LOOKED_AT_MOST: u64 = 200_000;

/// Entries read at once.
const PAGE: u64 = 1_000;

/// An entry, opened.
pub(super) struct Recorded {
    /// When it was written.
    pub(super) at: Timestamp,
    /// What was done.
    pub(super) action: Action,
    /// How it ended.
    pub(super) outcome: Outcome,
    actor: Object,
    subject: Object,
    tech: Object,
}

impl Recorded {
    fn of(row: &AuditRow, delivery: &Delivery) -> Option<Self> {
        let leaf = Leaf::decode(&row.body).ok()?;
        let cells = Cells::decode(&row.cells)?;
        let open = |group| cells.open(group, delivery.recorder.cell_key()).unwrap_or_default();
        Some(Self {
            at: Timestamp::from_millis(i64::try_from(leaf.time_micros / 1000).unwrap_or(i64::MAX)),
            action: leaf.action,
            outcome: leaf.outcome,
            actor: open(Group::Actor),
            subject: open(Group::Subject),
            tech: open(Group::Tech),
        })
    }

    /// A text of the subject.
    pub(super) fn subject(&self, name: &str) -> Option<&str> {
        text(&self.subject, name)
    }

    /// A number of the subject.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        match self.subject.get(name) {
            Some(Detail::Whole(number)) => u64::try_from(number.get()).ok(),
            _ => None,
        }
    }

    /// The request that it was written in.
    pub(super) fn request(&self) -> Option<&str> {
        text(&self.tech, "request")
    }

    /// Who acted, as records name them (`client/ward`, `os:0`, `server`).
    pub(super) fn actor(&self) -> Option<String> {
        if let Some(client) = text(&self.actor, "client") {
            return Some(format!("client/{client}"));
        }
        let operator = text(&self.actor, "operator").map(str::to_owned);
        operator.or_else(|| self.actor.get("server").map(|_| "server".to_owned()))
    }

    /// Whether an answer of this entry offered the link of this id.
    pub(super) fn offered(&self, link: &str) -> bool {
        let Some(Detail::List(offered)) = self.subject.get("offered") else { return false };
        offered.iter().any(|one| match one {
            Detail::List(parts) => matches!(parts.first(), Some(Detail::Text(id)) if id == link),
            _ => false,
        })
    }
}

fn text<'a>(object: &'a Object, name: &str) -> Option<&'a str> {
    match object.get(name) {
        Some(Detail::Text(text)) => Some(text),
        _ => None,
    }
}

impl Delivery {
    /// Shows entries to `look`, newest first, until it answers `false`. Answers whether all there is was looked at, or `look` was
    /// content; `false`: the bound was met.
    pub(super) async fn newest_first(&self, look: &mut (dyn FnMut(&Recorded) -> bool + Send)) -> Result<bool, Refusal> {
        let size = self.store.audit_head().await.map_err(store_failure)?.size;
        let oldest = size.saturating_sub(LOOKED_AT_MOST);
        let mut end = size;
        while end > oldest {
            let first = end.saturating_sub(PAGE).max(oldest);
            let count = usize::try_from(end - first).unwrap_or(usize::MAX);
            let rows = self.store.audit_rows(first, count).await.map_err(store_failure)?;
            for row in rows.iter().rev() {
                if Recorded::of(row, self).is_some_and(|entry| !look(&entry)) {
                    return Ok(true);
                }
            }
            end = first;
        }
        Ok(oldest == 0)
    }
}
