//! Subscriptions and their outbox.

use std::time::Duration;

use async_trait::async_trait;

use super::SqliteStore;
use crate::domain::clock::Timestamp;
use crate::domain::id::ResourceId;
use crate::domain::principal::ClientNumber;
use crate::store::{
    NewSubscription, ReferencedEvent, SealedEntry, Sent, SigningSecret, StoreError, StoredSubscription,
    SubscriptionChange, Subscriptions, Turn, Written,
};

#[async_trait]
impl Subscriptions for SqliteStore {
    async fn create_subscription(&self, _: NewSubscription, _: SealedEntry) -> Result<Written, StoreError> {
        Err(StoreError::Busy)
    }
    async fn subscription(&self, _: &ResourceId, _: ClientNumber) -> Result<Option<StoredSubscription>, StoreError> {
        Err(StoreError::Busy)
    }
    async fn subscription_deleted(&self, _: &ResourceId, _: ClientNumber) -> Result<bool, StoreError> {
        Err(StoreError::Busy)
    }
    async fn subscriptions_of(&self, _: ClientNumber) -> Result<Vec<StoredSubscription>, StoreError> {
        Err(StoreError::Busy)
    }
    async fn update_subscription(
        &self,
        _: &ResourceId,
        _: ClientNumber,
        _: SubscriptionChange,
        _: SealedEntry,
    ) -> Result<Written, StoreError> {
        Err(StoreError::Busy)
    }
    async fn delete_subscription(
        &self,
        _: &ResourceId,
        _: ClientNumber,
        _: Timestamp,
        _: SealedEntry,
    ) -> Result<bool, StoreError> {
        Err(StoreError::Busy)
    }
    async fn set_signing_secrets(
        &self,
        _: &ResourceId,
        _: ClientNumber,
        _: Vec<SigningSecret>,
        _: SealedEntry,
    ) -> Result<bool, StoreError> {
        Err(StoreError::Busy)
    }
    async fn subscriptions_off(&self, _: ClientNumber, _: Timestamp) -> Result<u64, StoreError> {
        Err(StoreError::Busy)
    }
    async fn claim_turns(&self, _: Timestamp, _: Duration, _: usize, _: usize) -> Result<Vec<Turn>, StoreError> {
        Err(StoreError::Busy)
    }
    async fn settle_turn(
        &self,
        _: &Turn,
        _: Vec<Sent>,
        _: bool,
        _: Timestamp,
        _: Vec<SealedEntry>,
    ) -> Result<bool, StoreError> {
        Err(StoreError::Busy)
    }
    async fn next_turn_at(&self) -> Result<Option<Timestamp>, StoreError> {
        Err(StoreError::Busy)
    }
    async fn outbox_changed(&self, _: u64) -> u64 {
        std::future::pending().await
    }
    fn outbox_changes(&self) -> u64 {
        0
    }
    async fn referenced_event(
        &self,
        _: &ResourceId,
        _: ClientNumber,
        _: u64,
    ) -> Result<Option<ReferencedEvent>, StoreError> {
        Err(StoreError::Busy)
    }
    async fn outbox_backlog(&self, _: Timestamp) -> Result<(u64, Duration), StoreError> {
        Err(StoreError::Busy)
    }
}
