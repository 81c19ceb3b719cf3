//! `$lifecycle`: what happened to a document so far, and waiting for what happens next.

use std::time::Duration;

use super::failure::store_failure;
use super::offers::not_found;
use super::{Caller, Delivery};
use crate::domain::audit::{Action, Outcome};
use crate::domain::id::ResourceId;
use crate::domain::principal::Interaction;
use crate::domain::refusal::Refusal;
use crate::domain::resource::{Kind, Step};

/// The steps of a document.
#[derive(Debug)]
pub struct Lifecycle {
    /// Oldest first.
    pub steps: Vec<Step>,
}

impl Delivery {
    /// The steps so far. With `wait` the answer comes at the next transition, or when the wait is over; `wait` beyond the
    /// server's limit is cut to it.
    ///
    /// # Errors
    /// `scope-insufficient`, `resource-not-found`, `content-purged` (410), `audit-unavailable`.
    pub async fn lifecycle(
        &self,
        caller: &Caller,
        id: &ResourceId,
        wait: Option<Duration>,
    ) -> Result<Lifecycle, Refusal> {
        self.document_for(caller, Interaction::Read, Action::LifecycleRead, id).await?;
        let scope = caller.principal.may(Interaction::Read, Kind::DocumentReference)?;
        let mut seen = self.store.state_changes();
        let steps = self.store.steps(id, &scope).await.map_err(store_failure)?;
        let mut steps = steps.ok_or_else(not_found)?;
        let entry = caller.entry(Action::LifecycleRead, Outcome::Ok).resource("DocumentReference", id, 0);
        self.recorder.record(&entry).await?;
        let Some(wait) = wait else {
            return Ok(Lifecycle { steps });
        };
        let known = steps.len();
        let next = async {
            loop {
                seen = self.store.state_changed(seen).await;
                let now = self.store.steps(id, &scope).await.map_err(store_failure)?.unwrap_or_default();
                if now.len() != known {
                    return Ok::<_, Refusal>(now);
                }
            }
        };
        if let Ok(changed) = tokio::time::timeout(wait.min(self.terms.wait_most), next).await {
            steps = changed?;
        }
        Ok(Lifecycle { steps })
    }
}
