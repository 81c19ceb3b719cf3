//! What happens by itself when time is over: expiry and destruction. Keys are
//! destroyed first, so a half-done purge is already unreadable.

use std::collections::HashSet;

use super::Delivery;
use super::failure::{blob_failure, store_failure};
use super::offers::about_subject;
use crate::domain::audit::{Action, Entry, Outcome};
use crate::domain::clock_watch::Destroyable;
use crate::domain::id::{ClientId, FileId};
use crate::domain::lifecycle::{self, Actor, Stamp, State};
use crate::domain::policy::{DeliveredWhen, RetainFrom};
use crate::domain::refusal::Refusal;
use crate::domain::resource::FileFacts;
use crate::failpoint::{self, Point};
use crate::store::{DueDocument, Receipt, Receipts, StoreError};

/// Documents that one round takes at most, so that a large batch never holds the writer for long.
const ROUND: usize = 100;

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
    /// One round: what is due now takes its next step.
    ///
    /// # Errors
    /// Failures of the parts; what was done stays done, the rest is due again.
    pub async fn retain_round(&self) -> Result<Swept, Refusal> {
        failpoint::here(Point::RetentionBegun);
        let mut swept = Swept::default();
        // A clock that cannot be kept destroys nothing, and keeps no access open.
        let watched = self.watch_clock().await;
        let may = watched.as_ref().copied().unwrap_or(Destroyable::nothing());
        let due = self.store.due_documents(self.clock.now(), may, ROUND).await.map_err(store_failure)?;
        self.watching.tell_unreadable(&due.unreadable);
        let mut failed = watched.err();
        for document in due.documents {
            // One that fails keeps no other back; it is due again.
            if let Err(refusal) = self.next_step(&document, &mut swept).await {
                tracing::error!(document = %document.id, code = refusal.code().name(), "a due step failed");
                failed = failed.or(Some(refusal));
            }
        }
        swept.purged += self.purge_unclaimed(may).await?;
        match failed {
            // While others go on, the round is worth the next one; what fails alone is told as a failure.
            Some(refusal) if swept == Swept::default() => Err(refusal),
            _ => Ok(swept),
        }
    }

    async fn next_step(&self, document: &DueDocument, swept: &mut Swept) -> Result<(), Refusal> {
        match document.state {
            State::Ready | State::Delivered => {
                self.expire(document).await?;
                swept.expired += 1;
            }
            State::Created if document.has_files => {
                self.hold_back_unscanned(document).await?;
                swept.held_back += 1;
            }
            _ => {
                self.purge(document).await?;
                swept.purged += 1;
            }
        }
        Ok(())
    }

    async fn expire(&self, document: &DueDocument) -> Result<(), Refusal> {
        let at = self.clock.now();
        let stamp = Stamp { at, actor: Actor::Server, due: Some(at.plus(document.decision.purge_after)) };
        let Ok(transition) = lifecycle::expire(document.state, &document.decision.rule, stamp) else {
            return Ok(());
        };
        self.step(document, transition).await
    }

    async fn hold_back_unscanned(&self, document: &DueDocument) -> Result<(), Refusal> {
        let at = self.clock.now();
        let stamp = Stamp { at, actor: Actor::Server, due: Some(at.plus(document.decision.quarantine_keep)) };
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
                Err(StoreError::Changed) => self.store.set_due(document.number, due).await.map_err(store_failure),
                Err(error) => Err(store_failure(error)),
            };
        }
        if due != document.due {
            self.store.set_due(document.number, due).await.map_err(store_failure)?;
        }
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
