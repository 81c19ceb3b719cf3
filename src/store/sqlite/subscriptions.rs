//! The trait's calls for Subscriptions and their outbox, each handed to the room that knows its rows.

use std::time::Duration;

use async_trait::async_trait;

use super::log::check_entry;
use super::outbox_turns::{self, Share};
use super::rows::pack;
use super::{SqliteStore, outbox, subscriptions_rows as rows};
use crate::domain::clock::Timestamp;
use crate::domain::id::ResourceId;
use crate::domain::principal::ClientNumber;
use crate::store::{
    NewSubscription, ReferencedEvent, SealedEntry, Sent, SigningSecret, StoreError, StoredSubscription,
    SubscriptionChange, Subscriptions, Turn, Written,
};

#[async_trait]
impl Subscriptions for SqliteStore {
    async fn create_subscription(&self, new: NewSubscription, entry: SealedEntry) -> Result<Written, StoreError> {
        let packed = pack(&new.terms.body)?;
        self.writer.run(move |tx| rows::insert(tx, new, packed, entry)).await
    }

    async fn subscription(
        &self,
        id: &ResourceId,
        owner: ClientNumber,
    ) -> Result<Option<StoredSubscription>, StoreError> {
        self.read(|reading| match rows::own(reading.conn, id, owner)? {
            Some(rid) => rows::load(reading.conn, rid).map(Some),
            None => Ok(None),
        })
    }

    async fn subscription_deleted(&self, id: &ResourceId, owner: ClientNumber) -> Result<bool, StoreError> {
        self.read(|reading| rows::deleted(reading.conn, id, owner))
    }

    async fn subscriptions_of(&self, owner: ClientNumber) -> Result<Vec<StoredSubscription>, StoreError> {
        self.read(|reading| {
            let found = rows::rows_of(reading.conn, owner)?;
            found.into_iter().map(|rid| rows::load(reading.conn, rid)).collect()
        })
    }

    async fn update_subscription(
        &self,
        id: &ResourceId,
        owner: ClientNumber,
        change: SubscriptionChange,
        entry: SealedEntry,
    ) -> Result<Written, StoreError> {
        let packed = pack(&change.terms.body)?;
        let id = id.clone();
        self.writer.run(move |tx| rows::replace(tx, &id, owner, change, packed, entry)).await
    }

    async fn delete_subscription(
        &self,
        id: &ResourceId,
        owner: ClientNumber,
        at: Timestamp,
        entry: SealedEntry,
    ) -> Result<bool, StoreError> {
        let id = id.clone();
        self.writer.run(move |tx| rows::delete(tx, &id, owner, at, entry)).await
    }

    async fn set_signing_secrets(
        &self,
        id: &ResourceId,
        owner: ClientNumber,
        secrets: Vec<SigningSecret>,
        entry: SealedEntry,
    ) -> Result<bool, StoreError> {
        let id = id.clone();
        self.writer.run(move |tx| rows::replace_secrets(tx, &id, owner, &secrets, entry)).await
    }

    async fn claim_turns(
        &self,
        now: Timestamp,
        lease: Duration,
        limit: usize,
        events: usize,
    ) -> Result<Vec<Turn>, StoreError> {
        if limit == 0 || !self.read(|reading| outbox_turns::any_due(reading.conn, now))? {
            return Ok(Vec::new());
        }
        self.writer.run(move |tx| outbox_turns::claim(tx, Share { now, lease, limit, events })).await
    }

    async fn settle_turn(
        &self,
        turn: &Turn,
        results: Vec<Sent>,
        keep: bool,
        at: Timestamp,
        entries: Vec<SealedEntry>,
    ) -> Result<bool, StoreError> {
        entries.iter().try_for_each(check_entry)?;
        let turn = turn.clone();
        self.writer.run(move |tx| outbox_turns::settle(tx, &turn, results, keep, at, entries)).await
    }

    async fn next_turn_at(&self) -> Result<Option<Timestamp>, StoreError> {
        self.read(|reading| outbox_turns::next_at(reading.conn))
    }

    async fn outbox_changed(&self, seen: u64) -> u64 {
        let mut changes = self.memory.outbox.subscribe();
        let changed = changes.wait_for(|count| *count > seen).await.map(|count| *count);
        // The sender lives as long as the store, so this waits and does not fail.
        changed.unwrap_or(seen)
    }

    fn outbox_changes(&self) -> u64 {
        *self.memory.outbox.borrow()
    }

    async fn referenced_event(
        &self,
        id: &ResourceId,
        owner: ClientNumber,
        number: u64,
    ) -> Result<Option<ReferencedEvent>, StoreError> {
        self.read(|reading| outbox::referenced(reading.conn, id, owner, number))
    }

    async fn outbox_backlog(&self, now: Timestamp) -> Result<(u64, Duration), StoreError> {
        self.read(|reading| outbox::backlog(reading.conn, now))
    }
}
