//! Cutting access never waits for the log (contract, Audit): a revocation is in force at once, in memory; if it cannot be
//! made durable in the database now, it waits in a spool of its own, which is merged as soon as the database takes it, and
//! before anything is served at the next start.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::sync::Mutex;

use super::Delivery;
use super::failure::store_failure;
use crate::domain::audit::effect::{REVOCATION, revocation_text};
use crate::domain::audit::{Action, Entry, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::epoch::{Holder, Revocation, Scope};
use crate::domain::id::LinkId;
use crate::domain::principal::ClientNumber;
use crate::domain::refusal::{Code, Refusal};
use crate::domain::resource::{DocumentNumber, PatientNumber};
use crate::failpoint::{self, Point};
use crate::store::{Revocations, SealedEntry, StoreError};

/// Where revocations wait that the database did not take. Beside the database, so that a full or locked one does not matter
/// more than it must; what is appended is durable when the call returns.
pub trait Spool: Send + Sync + std::fmt::Debug {
    /// Appends a line.
    ///
    /// # Errors
    /// The medium's.
    fn append(&self, line: &str) -> std::io::Result<()>;

    /// Every line that waits.
    ///
    /// # Errors
    /// The medium's.
    fn lines(&self) -> std::io::Result<Vec<String>>;

    /// Forgets what waits.
    ///
    /// # Errors
    /// The medium's.
    fn clear(&self) -> std::io::Result<()>;
}

/// Revocations on their way from memory, where they are in force, to the database.
#[derive(Debug)]
pub(super) struct Revoking {
    store: Arc<dyn Revocations>,
    spool: Arc<dyn Spool>,
    /// The one lock under which the spool is appended to, read, merged and cleared.
    held: Mutex<Held>,
}

/// What waits. Each line of the spool is one of these, or is durable in the database.
#[derive(Debug, Default)]
struct Held {
    waiting: Vec<Spooled>,
    /// Whether the spool may hold a line.
    lines: bool,
}

/// A revocation with what is written of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Spooled {
    revocation: Revocation,
    reason: String,
    entry: SealedEntry,
    /// Whether the ledger of endings has it already.
    told: bool,
}

impl Delivery {
    /// Cuts access now, and makes it durable: in the database, or else in the spool. Answers the revocation's number. The holder
    /// is that of a single link, where it is known.
    pub(super) async fn cut(
        &self,
        (scope, holder): (Scope, Option<Holder>),
        reason: &str,
        entry: &Entry,
    ) -> Result<u32, Refusal> {
        let revocation = self.store.cut(scope, holder, self.clock.now());
        self.cut_ended();
        failpoint::here(Point::RevocationCut);
        let number = revocation.number;
        let entry = entry.clone().with(REVOCATION, revocation_text(&revocation));
        let spooled =
            Spooled { revocation, reason: reason.to_owned(), entry: self.recorder.seal(&entry)?, told: false };
        let revoking = Arc::clone(&self.revoking);
        // As a task: whoever asked may be gone before it is durable.
        let kept = tokio::spawn(async move { revoking.keep(spooled).await }).await;
        kept.map_err(|error| {
            tracing::error!(cause = %error, "a revocation is in force until this process ends");
            Refusal::of(Code::ServerFault)
        })?;
        Ok(number)
    }

    /// Takes up what an earlier process left in the spool. Before anything is served.
    ///
    /// # Errors
    /// `dependency-unavailable` when the spool or the database cannot be read: then nothing may be served, because something
    /// may be revoked.
    pub async fn recall_spool(&self) -> Result<(), Refusal> {
        self.revoking.recall().await.map_err(store_failure)
    }

    /// Merges what waits into the database and the log, each with the entry that was sealed when it was cut.
    ///
    /// # Errors
    /// Failures of the store; what is left waits on.
    pub async fn merge_spool(&self) -> Result<(), Refusal> {
        let merged = self.revoking.merge().await.map_err(store_failure)?;
        if merged > 0 {
            self.record(&Entry::new(Action::AuditSpool, Outcome::Ok).server().with("merged", merged)).await?;
        }
        self.revoking.clear().await;
        Ok(())
    }
}

impl Revoking {
    pub(super) fn new(store: Arc<dyn Revocations>, spool: Arc<dyn Spool>) -> Self {
        Self { store, spool, held: Mutex::default() }
    }

    /// Makes a revocation durable that is in force.
    async fn keep(&self, mut spooled: Spooled) {
        let Spooled { revocation, reason, entry, told } = spooled.clone();
        let Err(error) = self.store.revoke(revocation, &reason, entry, told).await else { return };
        tracing::error!(cause = %error, "a revocation is in force and waits in the spool");
        let mut held = self.held.lock().await;
        // Before the line, which says so: one that a crash left without its line was never answered, and stands in the ledger once.
        spooled.told = self.store.tell(&spooled.revocation).await;
        // Also where the line fails: a part of it may be there.
        held.lines = true;
        if let Err(error) = self.spool.append(&spooled.to_line()) {
            tracing::error!(cause = %error, "the spool cannot be written: the revocation holds until this process ends");
        }
        held.waiting.push(spooled);
    }

    /// Cuts again what the spool holds, but for what was merged: that is in force with its row, and cutting it anew would end
    /// links that were made since.
    async fn recall(&self) -> Result<(), StoreError> {
        let mut held = self.held.lock().await;
        let lines = self.spool.lines().map_err(|error| StoreError::Unavailable(error.into()))?;
        held.lines = !lines.is_empty();
        // What a crash cut off was never answered; a whole line that says nothing may be a revocation that was.
        let is_damaged = |line: &String| line.ends_with('}') && Spooled::from_line(line).is_none();
        if let Some(at) = lines.iter().position(is_damaged) {
            return Err(StoreError::Corrupt { table: "revocations.spool", column: "line", row: (at + 1).to_string() });
        }
        let (mut spooled, unnumbered): (Vec<Spooled>, Vec<Spooled>) =
            lines.iter().filter_map(|line| Spooled::from_line(line)).partition(|one| one.revocation.number > 0);
        let numbers = spooled.iter().map(|one| one.revocation.number).collect();
        let durable = self.store.durable_revocations(numbers).await?;
        spooled.retain(|one| !durable.contains(&one.revocation.number));
        spooled.iter().for_each(|one| self.store.cut_again(&one.revocation));
        held.waiting = spooled;
        // Of a version that gave numbers in the database only.
        for one in unnumbered {
            let Revocation { scope, at, holder, .. } = one.revocation;
            let revocation = self.store.cut(scope, holder, at);
            held.waiting.push(Spooled { revocation, ..one });
        }
        Ok(())
    }

    /// Writes what waits, and answers how much was not in the database yet. A revocation that was written before the process
    /// died, or whose commit had no answer, is known by its number.
    async fn merge(&self) -> Result<u64, StoreError> {
        let mut held = self.held.lock().await;
        let mut merged = 0;
        while let Some(Spooled { revocation, reason, entry, told }) = held.waiting.first().cloned() {
            merged += u64::from(self.store.revoke(revocation, &reason, entry, told).await?);
            held.waiting.remove(0);
        }
        Ok(merged)
    }

    /// Empties the spool when nothing waits.
    async fn clear(&self) {
        let mut held = self.held.lock().await;
        if !held.lines || !held.waiting.is_empty() {
            return;
        }
        match self.spool.clear() {
            Ok(()) => held.lines = false,
            Err(error) => tracing::warn!(cause = %error, "the spool was merged and cannot be emptied"),
        }
    }
}

/// The number of the revocation that a line of the spool holds.
pub fn spooled_number(line: &str) -> Option<u32> {
    Spooled::from_line(line).map(|spooled| spooled.revocation.number)
}

impl Spooled {
    fn to_line(&self) -> String {
        let Revocation { number, scope, at, holder } = &self.revocation;
        let (scope, key) = match scope {
            Scope::All => ("all", String::new()),
            Scope::Client(number) => ("client", number.0.to_string()),
            Scope::Document(number) => ("document", number.0.to_string()),
            Scope::Patient(number) => ("patient", number.0.to_string()),
            Scope::Link(id) => ("link", id.to_string()),
        };
        serde_json::json!({
            "number": number, "scope": scope, "key": key, "at": at.millis(), "reason": self.reason, "told": self.told,
            "reader": holder.map(|holder| holder.reader.0), "document": holder.map(|holder| holder.document.0),
            "action": self.entry.action, "outcome": self.entry.outcome,
            "commitment": hex::encode(self.entry.commitment), "cells": STANDARD.encode(&self.entry.cells),
        })
        .to_string()
    }

    /// `None` for a line that a crash cut off: its revocation was never answered.
    fn from_line(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let key = text("key")?;
        let scope = match text("scope")? {
            "all" => Scope::All,
            "client" => Scope::Client(ClientNumber(key.parse().ok()?)),
            "document" => Scope::Document(DocumentNumber(key.parse().ok()?)),
            "patient" => Scope::Patient(PatientNumber(key.parse().ok()?)),
            "link" => Scope::Link(LinkId::parse(key)?),
            _ => return None,
        };
        let holder = match (value.get("reader").and_then(Value::as_u64), value.get("document").and_then(Value::as_i64))
        {
            (Some(reader), Some(document)) => {
                Some(Holder { reader: ClientNumber(reader.try_into().ok()?), document: DocumentNumber(document) })
            }
            _ => None,
        };
        // Absent in a line of an earlier version.
        let number = value.get("number").map_or(Some(0), |number| number.as_u64()?.try_into().ok())?;
        let at = Timestamp::from_millis(value.get("at")?.as_i64()?);
        let revocation = Revocation { number, scope, at, holder };
        let told = value.get("told").and_then(Value::as_bool).unwrap_or(false);
        Some(Self { revocation, reason: text("reason")?.to_owned(), entry: entry_of(&value)?, told })
    }
}

fn entry_of(value: &Value) -> Option<SealedEntry> {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    Some(SealedEntry {
        action: Action::from_code(text("action")?)?.code(),
        outcome: Outcome::from_code(text("outcome")?)?.code(),
        commitment: hex::decode(text("commitment")?).ok()?.try_into().ok()?,
        cells: STANDARD.decode(text("cells")?).ok()?,
        given: Vec::new(),
    })
}

#[cfg(test)]
mod tests;
