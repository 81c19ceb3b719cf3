//! What a job of the writer works with: the open transaction, the audit log's end, the stamp of versions, and what must be
//! renewed in memory once it is committed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use diesel::prelude::*;

use super::given_links;
use super::log::Log;
use super::memory::{Clients, Memory};
use super::statement::sql;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::epoch::Revocation;
use crate::domain::id::FileId;
use crate::store::{SealedEntry, StoreError};

/// What a committed job changes in memory.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// Files whose facts may have changed.
    pub files: Vec<FileId>,
    /// Changes of the state of documents.
    pub changes: u64,
    /// Things that may be sent now.
    pub outbox: u64,
    /// New revocations.
    pub revocations: Vec<Revocation>,
    /// Numbers of revocations are reserved up to this one.
    pub reserved: Option<u32>,
    /// Single links before this moment are forgotten.
    pub forget_links: Option<Timestamp>,
    /// All clients, when any was changed.
    pub clients: Option<Clients>,
    /// Something was destroyed: the log must be emptied too.
    pub destroyed: bool,
    /// A job found no room.
    pub full: bool,
}

impl Effects {
    fn merge(&mut self, later: Self) {
        self.files.extend(later.files);
        self.changes += later.changes;
        self.outbox += later.outbox;
        self.revocations.extend(later.revocations);
        self.reserved = self.reserved.max(later.reserved);
        self.forget_links = self.forget_links.max(later.forget_links);
        self.clients = later.clients.or(self.clients.take());
        self.destroyed |= later.destroyed;
        self.full |= later.full;
    }

    /// Renews what is kept for reading. Before any waiter is answered.
    pub(super) fn apply(self, memory: &Memory, truncate: &AtomicBool) {
        if !self.files.is_empty() {
            memory.files.forget(&self.files);
        }
        if !self.revocations.is_empty() || self.forget_links.is_some() {
            memory.epochs.update(|epochs| {
                if let Some(block) = self.reserved {
                    epochs.reserved(block);
                }
                self.revocations.into_iter().for_each(|revocation| epochs.add(revocation));
                if let Some(moment) = self.forget_links {
                    epochs.forget_links_before(moment);
                }
            });
        }
        if let Some(clients) = self.clients {
            memory.clients.set(clients);
        }
        if self.destroyed {
            truncate.store(true, Ordering::Release);
        }
        if self.changes > 0 {
            memory.changes.send_modify(|count| *count += self.changes);
        }
        if self.outbox > 0 {
            memory.outbox.send_modify(|count| *count += self.outbox);
        }
    }
}

/// The open transaction.
pub(super) struct Tx<'a> {
    pub conn: &'a mut SqliteConnection,
    pub log: Log,
    pub last_updated: Timestamp,
    pub clock: &'a dyn Clock,
    pub tenant: &'a str,
    pub memory: &'a Memory,
    pub effects: Effects,
}

impl Tx<'_> {
    /// Appends an entry to the audit log, and the links that it gives to their index.
    pub(super) fn append(&mut self, entry: SealedEntry) -> Result<u64, StoreError> {
        let leaf = self.log.size();
        given_links::add(self.conn, &entry.given, leaf)?;
        self.log.append(self.conn, self.tenant, self.clock.now_micros(), entry)
    }

    /// The stamp of a new version: no two are equal and none is before another that was committed earlier.
    pub(super) fn stamp(&mut self, at: Timestamp) -> Timestamp {
        self.last_updated = at.max(self.last_updated.plus(Duration::from_millis(1)));
        self.last_updated
    }

    /// Runs a job in a savepoint. Inner error: the job alone is undone, whatever it was and also where it panicked; outer: the
    /// transaction itself is lost, and all of the batch with it.
    pub(super) fn attempt<T>(
        &mut self,
        run: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<Result<T, StoreError>, StoreError> {
        let (log, last_updated) = (self.log.clone(), self.last_updated);
        let before = std::mem::take(&mut self.effects);
        sql("SAVEPOINT job", []).run(self.conn)?;
        let result = catch_unwind(AssertUnwindSafe(|| run(self)));
        let effects = std::mem::replace(&mut self.effects, before);
        let own = match result.unwrap_or_else(|_| Err(StoreError::Unavailable("a write panicked".into()))) {
            Ok(value) => {
                sql("RELEASE job", []).run(self.conn)?;
                self.effects.merge(effects);
                return Ok(Ok(value));
            }
            Err(own) => own,
        };
        (self.log, self.last_updated) = (log, last_updated);
        // Where SQLite gave up the transaction there is no savepoint any more.
        let undone = sql("ROLLBACK TO job", []).run(self.conn).and_then(|_| sql("RELEASE job", []).run(self.conn));
        if undone.is_err() {
            return Err(own);
        }
        self.effects.full |= matches!(own, StoreError::Full);
        Ok(Err(own))
    }
}
