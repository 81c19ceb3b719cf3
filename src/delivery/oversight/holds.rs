//! Legal holds: a flag beside the state. While one is on a document access to it may end as ever, but bytes and records stay:
//! the store leaves it out of what is due for destruction and refuses to destroy it (contract, Lifecycle).

use super::super::administration::by;
use super::super::failure::store_failure;
use super::super::offers::{about, gone};
use super::{Delivery, LISTED};
use crate::domain::audit::{Action, Entry};
use crate::domain::id::ResourceId;
use crate::domain::lifecycle::State;
use crate::domain::principal::Operator;
use crate::domain::refusal::{Code, Issue, Refusal};
use crate::domain::resource::DocumentFacts;
use crate::store::{Hold, NewHold, StoreError};

impl Delivery {
    /// Active holds, and whether there are more.
    ///
    /// # Errors
    /// Failures of the store; `audit-unavailable`.
    pub async fn holds(&self, operator: &Operator) -> Result<(Vec<Hold>, bool), Refusal> {
        self.recorder.record(&by(operator, Action::CommandRun).with("command", "hold list")).await?;
        let mut holds = self.store.holds(None, LISTED + 1).await.map_err(store_failure)?;
        let more = holds.len() > LISTED;
        holds.truncate(LISTED);
        Ok((holds, more))
    }

    /// Lays a hold on a document, in any state but `purged`. A document may have several, of several authorities; each keeps it.
    ///
    /// # Errors
    /// `resource-not-found`; `content-purged` when there is nothing left to keep.
    pub async fn add_hold(
        &self,
        operator: &Operator,
        id: &ResourceId,
        (reason, authority): (&str, Option<&str>),
    ) -> Result<Hold, Refusal> {
        let (_, facts) = self.overseen(operator, id).await?;
        if facts.state == State::Purged {
            return Err(gone(&facts));
        }
        let entry = entry(operator, Action::HoldAdd, &facts).reason(reason);
        let entry = match authority {
            Some(authority) => entry.with("authority", authority),
            None => entry,
        };
        let laid = NewHold {
            document: facts.number,
            authority: authority.map(str::to_owned),
            reason: reason.to_owned(),
            actor: operator.actor().to_string(),
            at: self.clock.now(),
        };
        match self.store.add_hold(laid.clone(), self.recorder.seal(&entry)?).await {
            Ok(number) => Ok(Hold { number, id: facts.id, laid }),
            // It was destroyed meanwhile: when, stands in it as it is now.
            Err(StoreError::Changed) => Err(gone(&self.overseen(operator, id).await?.1)),
            Err(error) => Err(store_failure(error)),
        }
    }

    /// Takes a hold off. What fell due meanwhile is due again. `number` may be left out where the document has one hold.
    ///
    /// # Errors
    /// `resource-not-found`; `state-refused` when the document has no such hold; `flag-malformed` when it has several and none
    /// is named.
    pub async fn release_hold(
        &self,
        operator: &Operator,
        id: &ResourceId,
        (reason, number): (&str, Option<u64>),
    ) -> Result<Hold, Refusal> {
        let (_, facts) = self.overseen(operator, id).await?;
        let active = self.store.holds(Some(facts.number), LISTED).await.map_err(store_failure)?;
        let hold = the_one(active, number)?;
        let entry = entry(operator, Action::HoldRelease, &facts).reason(reason).with("hold", hold.number);
        let sealed = self.recorder.seal(&entry)?;
        if self.store.release_hold(hold.number, self.clock.now(), sealed).await.map_err(store_failure)? {
            self.looked.look_anew();
            Ok(hold)
        } else {
            Err(none())
        }
    }
}

fn entry(operator: &Operator, action: Action, facts: &DocumentFacts) -> Entry {
    let entry = by(operator, action).resource("DocumentReference", &facts.id, u64::from(facts.version));
    about(entry, facts)
}

/// The hold that is meant.
fn the_one(active: Vec<Hold>, number: Option<u64>) -> Result<Hold, Refusal> {
    let several = active.len() > 1 && number.is_none();
    if several {
        let issue =
            Issue::new(Code::FlagMalformed).fill("flag", "--hold").fill("fault", "is missing: there are several");
        return Err(issue.fill("cure", "take the id from `daylily hold list`").into());
    }
    active.into_iter().find(|hold| number.is_none_or(|number| hold.number == number)).ok_or_else(none)
}

fn none() -> Refusal {
    let issue = Issue::new(Code::StateRefused).message_text("No such hold is on this document.");
    issue.cure_text("See `daylily hold list`.").into()
}
