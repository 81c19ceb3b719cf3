//! What happens by itself when time is over: expiry and destruction. Keys are
//! destroyed first, so a half-done purge is already unreadable.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Delivery;
use super::failure::{blob_failure, store_failure};
use super::offers::about_subject;
use crate::domain::audit::{Action, Entry, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::clock_watch::Destroyable;
use crate::domain::id::{ClientId, FileId};
use crate::domain::lifecycle::{self, Actor, Stamp, State};
use crate::domain::policy::{DeliveredWhen, RetainFrom};
use crate::domain::refusal::Refusal;
use crate::domain::resource::{DocumentNumber, FileFacts};
use crate::failpoint::{self, Point};
use crate::store::{DueDocument, Receipt, Receipts, StoreError};

/// Documents that one round takes at most, so that a large batch never holds the writer for long.
const ROUND: usize = 100;

/// The longest time until everything that is due is looked through again, also what was held or had to wait when it was looked at last.
const ANEW_EVERY: Duration = Duration::from_secs(60);

/// Up to where everything that is due has taken its step or must wait, so that a round looks at no waiting document again.
#[derive(Debug, Default)]
pub(super) struct Looked(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    last: Option<Look>,
    /// Raised whenever something that waited may go on: what a round under way has looked at counts no more.
    number: u64,
}

#[derive(Debug, Clone, Copy)]
struct Look {
    /// The time up to which it looked.
    until: Timestamp,
    may: Destroyable,
    /// Monotonic time of the last look at everything.
    whole: Duration,
}

impl Looked {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something that waited may go on now.
    pub(super) fn look_anew(&self) {
        let mut known = self.lock();
        known.last = None;
        known.number = known.number.wrapping_add(1);
    }

    /// Begins a look: the time after which it must begin, when everything was looked at last, and its number. What a round does not come
    /// to is due again, so nothing is known until it has ended.
    fn begin(&self, may: Destroyable, now: Duration) -> (Timestamp, Duration, u64) {
        let mut known = self.lock();
        let everything = (Timestamp::from_millis(i64::MIN), now, known.number);
        let Some(last) = known.last.take() else { return everything };
        let (before, due) = (last.may, now.saturating_sub(last.whole) >= ANEW_EVERY);
        if due || may.after != before.after || may.cleared < before.cleared {
            return everything;
        }
        // What has been cleared since then waited; all else up to there was looked at.
        let cleared = if may.cleared > before.cleared { before.cleared } else { last.until };
        (last.until.min(cleared), last.whole, known.number)
    }

    fn end(&self, look: Look, number: u64) {
        let mut known = self.lock();
        if known.number == number {
            known.last = Some(look);
        }
    }
}

/// What one round did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Documents moved to `expired`.
    pub expired: u64,
    /// Documents moved to `quarantined` because no verdict came.
    pub held_back: u64,
    /// Documents and unclaimed Binaries destroyed.
    pub purged: u64,
}

impl Delivery {
    /// One round: what is due now takes its next step, until `stop` says that the rest is to wait.
    ///
    /// # Errors
    /// Failures of the parts; what was done stays done, the rest is due again.
    pub async fn retain_round(&self, stop: &(dyn Fn() -> bool + Send + Sync)) -> Result<Swept, Refusal> {
        failpoint::here(Point::RetentionBegun);
        let mut swept = Swept::default();
        // A clock that cannot be kept destroys nothing, and keeps no access open.
        let watched = self.watch_clock().await;
        let may = watched.as_ref().copied().unwrap_or(Destroyable::nothing());
        let (until, monotonic) = (self.clock.now(), self.clock.monotonic());
        let (after, whole, number) = self.looked.begin(may, monotonic);
        let due = self.store.due_documents((after, until), may, ROUND).await.map_err(store_failure)?;
        let last = due.documents.last().filter(|_| due.documents.len() >= ROUND);
        let until = last.map_or(until, |last| last.due.minus(Duration::from_millis(1)));
        self.watching.tell_unreadable(&due.unreadable);
        let mut failed = watched.err();
        for document in due.documents {
            if stop() {
                return Ok(swept);
            }
            // One that fails keeps no other back; it is due again.
            if let Err(refusal) = self.next_step(&document, may, &mut swept).await {
                tracing::error!(document = %document.id, code = refusal.code().name(), "a due step failed");
                failed = failed.or(Some(refusal));
            }
        }
        if failed.is_none() {
            self.looked.end(Look { until, may, whole }, number);
        }
        swept.purged += self.purge_unclaimed(may).await?;
        match failed {
            // While others go on, the round is worth the next one; what fails alone is told as a failure.
            Some(refusal) if swept == Swept::default() => Err(refusal),
            _ => Ok(swept),
        }
    }

    async fn next_step(&self, document: &DueDocument, may: Destroyable, swept: &mut Swept) -> Result<(), Refusal> {
        match document.state {
            State::Ready | State::Delivered => {
                self.expire(document, may).await?;
                swept.expired += 1;
            }
            State::Created if document.has_files => {
                self.hold_back_unscanned(document, may).await?;
                swept.held_back += 1;
            }
            _ => {
                self.purge(document).await?;
                swept.purged += 1;
            }
        }
        Ok(())
    }

    async fn expire(&self, document: &DueDocument, may: Destroyable) -> Result<(), Refusal> {
        let at = self.clock.now();
        let due = may.end_of_keeping(document.due, at, document.decision.purge_after);
        let stamp = Stamp { at, actor: Actor::Server, due: Some(due) };
        let Ok(transition) = lifecycle::expire(document.state, &document.decision.rule, stamp) else {
            return Ok(());
        };
        self.step(document, transition).await
    }

    async fn hold_back_unscanned(&self, document: &DueDocument, may: Destroyable) -> Result<(), Refusal> {
        let at = self.clock.now();
        let due = may.end_of_keeping(document.due, at, document.decision.quarantine_keep);
        let stamp = Stamp { at, actor: Actor::Server, due: Some(due) };
        let Ok(transition) = lifecycle::quarantine_unscanned(document.state, stamp) else {
            return Ok(());
        };
        self.step(document, transition).await
    }

    async fn step(&self, document: &DueDocument, transition: lifecycle::Transition) -> Result<(), Refusal> {
        let entry = self.recorder.seal(&entry_of(document, Action::LifecycleTransition, &transition))?;
        let closes = transition.to().closed_because().is_some();
        let done = self.store.transition(document.number, vec![transition], vec![entry]).await;
        if closes {
            document.files.iter().for_each(|file| self.blobs.forget(Some(*file)));
        }
        match done {
            // Somebody revoked it meanwhile: what is due then is written there.
            Ok(_) | Err(StoreError::Changed) => Ok(()),
            Err(error) => Err(store_failure(error)),
        }
    }

    /// Key first, then bytes: after the store's commit nothing can be opened any more, whatever happens to the rest.
    async fn purge(&self, document: &DueDocument) -> Result<(), Refusal> {
        let stamp = Stamp { at: self.clock.now(), actor: Actor::Server, due: None };
        let Ok(transition) = lifecycle::purge(document.state, &document.decision.rule, stamp) else {
            return Ok(());
        };
        let entry = self.recorder.seal(&entry_of(document, Action::DocumentPurge, &transition))?;
        failpoint::here(Point::PurgeBegun);
        match self.store.purge(document.number, transition, entry).await {
            Ok(files) => {
                failpoint::here(Point::PurgeCommitted);
                self.delete_bytes(&files).await
            }
            Err(StoreError::Changed) => Ok(()),
            Err(error) => Err(store_failure(error)),
        }
    }

    async fn purge_unclaimed(&self, may: Destroyable) -> Result<u64, Refusal> {
        let entry = Entry::new(Action::DocumentPurge, Outcome::Ok).server().reason("unclaimed");
        let sealed = self.recorder.seal(&entry)?;
        let files = self.store.purge_unclaimed(self.clock.now(), may, ROUND, sealed).await.map_err(store_failure)?;
        self.delete_bytes(&files).await?;
        Ok(u64::try_from(files.len()).unwrap_or(u64::MAX))
    }

    pub(super) async fn delete_bytes(&self, files: &[FileId]) -> Result<(), Refusal> {
        for file in files {
            self.blobs.delete(*file).await.map_err(blob_failure)?;
        }
        Ok(())
    }

    /// A whole delivery: its receipt, and the change to `delivered` when the policy's rule is met now.
    pub(super) async fn received(&self, facts: &FileFacts, receipt: Receipt, entry: &Entry) -> Result<(), Refusal> {
        let sealed = self.recorder.seal(entry)?;
        let receipts = self.store.add_receipt(receipt, sealed).await.map_err(store_failure)?;
        // As it stands now: the transfer may have begun long ago.
        let facts = self.store.file(facts.file).await.map_err(store_failure)?;
        let Some(document) = facts.as_ref().and_then(|facts| facts.document.as_ref()) else {
            return Ok(());
        };
        let decision = &document.decision;
        let met = match decision.delivered_when {
            DeliveredWhen::First => true,
            DeliveredWhen::All => all_received(&decision.recipients, &receipts),
            DeliveredWhen::Acknowledged => false,
        };
        let at = self.clock.now();
        let due = match decision.retain_from {
            RetainFrom::Ready | RetainFrom::Created | RetainFrom::Acknowledged => document.due,
            RetainFrom::FirstDelivery => receipts.first.map(|first| first.plus(decision.retain)),
            RetainFrom::LastAccess => receipts.last.map(|last| last.plus(decision.retain)),
        };
        let stamp = Stamp { at, actor: Actor::Server, due };
        if let (true, Ok(transition)) = (met, lifecycle::deliver(document.state, stamp)) {
            let entry = Entry::new(Action::LifecycleTransition, Outcome::Ok).server();
            let entry = entry.document(&document.id, u64::from(document.version));
            let entry = about_subject(entry, document.subject.as_ref())
                .states(Some(transition.from().as_str()), transition.to().as_str());
            let sealed = self.recorder.seal(&entry)?;
            return match self.store.transition(document.number, vec![transition], vec![sealed]).await {
                Ok(_) => Ok(()),
                // Somebody else's delivery came first: the window still begins anew.
                Err(StoreError::Changed) => self.move_due(document.number, due).await,
                Err(error) => Err(store_failure(error)),
            };
        }
        if due != document.due {
            self.move_due(document.number, due).await?;
        }
        Ok(())
    }

    async fn move_due(&self, document: DocumentNumber, due: Option<Timestamp>) -> Result<(), Refusal> {
        self.store.set_due(document, due).await.map_err(store_failure)?;
        // It may have fallen due long ago.
        self.looked.look_anew();
        Ok(())
    }
}

/// Whether every named recipient has a receipt; with none named the first delivery is all there is to wait for.
fn all_received(recipients: &[String], receipts: &Receipts) -> bool {
    let readers: HashSet<&str> = receipts.readers.iter().map(ClientId::as_str).collect();
    recipients.iter().all(|recipient| readers.contains(recipient.as_str()))
}

fn entry_of(document: &DueDocument, action: Action, transition: &lifecycle::Transition) -> Entry {
    let entry = Entry::new(action, Outcome::Ok).server().resource("DocumentReference", &document.id, 0);
    let entry = about_subject(entry, document.subject.as_ref());
    entry.states(Some(transition.from().as_str()), transition.to().as_str()).reason(transition.reason())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOWHERE: Timestamp = Timestamp::from_millis(i64::MIN);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn after(looked: &Looked, may: Destroyable, second: u64) -> Timestamp {
        let (after, whole, number) = looked.begin(may, Duration::from_secs(second));
        let until = at(i64::try_from(second).unwrap());
        looked.end(Look { until, may, whole }, number);
        after
    }

    #[test]
    fn what_waits_is_looked_at_once_a_minute_and_when_it_may_go_on() {
        let looked = Looked::default();
        let settling = |now| Destroyable { cleared: at(1), after: at(10), until: at(now) };
        assert_eq!(after(&looked, settling(20), 20), NOWHERE);
        assert_eq!(after(&looked, settling(21), 21), at(20), "only what fell due since then");
        assert_eq!(after(&looked, settling(22), 22), at(21));
        let settled = |now| Destroyable { cleared: at(now), ..settling(now) };
        assert_eq!(after(&looked, settled(23), 23), at(1), "and what waited for the clock");
        assert_eq!(after(&looked, settled(24), 24), at(23));
        looked.look_anew();
        assert_eq!(after(&looked, settled(25), 25), NOWHERE, "a hold was taken off");
        assert_eq!(after(&looked, settled(84), 84), at(25));
        assert_eq!(after(&looked, settled(85), 85), NOWHERE, "a minute after everything was looked at");
        assert_eq!(after(&looked, Destroyable::nothing(), 86), NOWHERE, "a jump");
        assert_eq!(after(&looked, settled(87), 87), NOWHERE, "its confirmation");
    }

    #[test]
    fn what_may_go_on_while_a_round_runs_is_found_by_the_next() {
        let looked = Looked::default();
        let may = Destroyable::all(at(1));
        let (_, whole, number) = looked.begin(may, Duration::ZERO);
        looked.look_anew();
        looked.end(Look { until: at(1), may, whole }, number);
        assert_eq!(after(&looked, may, 2), NOWHERE);
        looked.begin(may, Duration::from_secs(3));
        assert_eq!(after(&looked, may, 4), NOWHERE, "a round that did not come to its end");
    }
}
