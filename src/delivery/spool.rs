//! Cutting access never waits for the log (contract, Audit): a revocation is in force at once, in memory; if it cannot be
//! made durable in the database now, it waits in a spool of its own, which is merged as soon as the database takes it, and
//! before anything is served at the next start.

use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Delivery;
use super::failure::store_failure;
use crate::domain::audit::{Action, Entry, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::epoch::Scope;
use crate::domain::id::LinkId;
use crate::domain::principal::ClientNumber;
use crate::domain::refusal::Refusal;
use crate::domain::resource::{DocumentNumber, PatientNumber};
use crate::failpoint::{self, Point};
use crate::store::SealedEntry;

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

/// Revocations that are in force and not durable in the database yet.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<Vec<Spooled>>);

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Spooled {
    scope: Scope,
    at: Timestamp,
    reason: String,
    entry: SealedEntry,
}

impl Delivery {
    /// Cuts access now, and makes it durable: in the database, or else in the spool. Answers the revocation's number; 0 while
    /// it waits.
    pub(super) async fn cut(&self, scope: Scope, reason: &str, entry: &Entry) -> Result<u32, Refusal> {
        let at = self.clock.now();
        self.store.cut(&scope, at);
        self.cut_ended();
        failpoint::here(Point::RevocationCut);
        let sealed = self.recorder.seal(entry)?;
        match self.store.revoke(scope.clone(), at, reason, sealed.clone()).await {
            Ok(number) => Ok(number),
            Err(error) => {
                tracing::error!(cause = %error, "a revocation is in force and waits in the spool");
                self.spool(Spooled { scope, at, reason: reason.to_owned(), entry: sealed });
                Ok(0)
            }
        }
    }

    fn spool(&self, spooled: Spooled) {
        let line = spooled.to_line();
        // Before the line is written: a merge that ends meanwhile must not empty the file of it.
        self.waiting.0.lock().unwrap_or_else(PoisonError::into_inner).push(spooled);
        if let Err(error) = self.spool.append(&line) {
            tracing::error!(cause = %error, "the spool cannot be written: the revocation holds until this process ends");
        }
    }

    /// Takes up what an earlier process left in the spool. Before anything is served.
    ///
    /// # Errors
    /// `dependency-unavailable` when the spool cannot be read: then nothing may be served, because something may be revoked.
    pub fn recall_spool(&self) -> Result<(), Refusal> {
        let lines =
            self.spool.lines().map_err(|error| store_failure(crate::store::StoreError::Unavailable(error.into())))?;
        for spooled in lines.iter().filter_map(|line| Spooled::from_line(line)) {
            self.store.cut(&spooled.scope, spooled.at);
            self.waiting.0.lock().unwrap_or_else(PoisonError::into_inner).push(spooled);
        }
        Ok(())
    }

    /// Merges what waits into the database and the log, each with the entry that was sealed when it was cut.
    ///
    /// # Errors
    /// Failures of the store; what is left waits on.
    pub async fn merge_spool(&self) -> Result<(), Refusal> {
        let waiting = self.waiting.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if waiting.is_empty() {
            return Ok(());
        }
        for spooled in &waiting {
            let Spooled { scope, at, reason, entry } = spooled.clone();
            self.store.revoke(scope, at, &reason, entry).await.map_err(store_failure)?;
            self.waiting.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| other != spooled);
        }
        let entry = Entry::new(Action::AuditSpool, Outcome::Ok)
            .server()
            .with("merged", u64::try_from(waiting.len()).unwrap_or(u64::MAX));
        self.record(&entry).await?;
        let left = self.waiting.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        if left && let Err(error) = self.spool.clear() {
            tracing::warn!(cause = %error, "the spool was merged and cannot be emptied");
        }
        Ok(())
    }
}

impl Spooled {
    fn to_line(&self) -> String {
        let (scope, key) = match &self.scope {
            Scope::All => ("all", String::new()),
            Scope::Client(number) => ("client", number.0.to_string()),
            Scope::Document(number) => ("document", number.0.to_string()),
            Scope::Patient(number) => ("patient", number.0.to_string()),
            Scope::Link(id) => ("link", id.to_string()),
        };
        serde_json::json!({
            "scope": scope, "key": key, "at": self.at.millis(), "reason": self.reason,
            "action": self.entry.action, "outcome": self.entry.outcome,
            "commitment": hex::encode(self.entry.commitment), "cells": STANDARD.encode(&self.entry.cells),
            "patients": self.entry.patients,
        })
        .to_string()
    }

    /// `None` for a line that a crash cut off: its revocation was never answered.
    fn from_line(line: &str) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        let text = |name: &str| value.get(name).and_then(serde_json::Value::as_str);
        let key = text("key")?;
        let scope = match text("scope")? {
            "all" => Scope::All,
            "client" => Scope::Client(ClientNumber(key.parse().ok()?)),
            "document" => Scope::Document(DocumentNumber(key.parse().ok()?)),
            "patient" => Scope::Patient(PatientNumber(key.parse().ok()?)),
            "link" => Scope::Link(LinkId::parse(key)?),
            _ => return None,
        };
        let patients = value.get("patients")?.as_array()?;
        let entry = SealedEntry {
            action: Action::from_code(text("action")?)?.code(),
            outcome: Outcome::from_code(text("outcome")?)?.code(),
            commitment: hex::decode(text("commitment")?).ok()?.try_into().ok()?,
            cells: STANDARD.decode(text("cells")?).ok()?,
            patients: patients.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect(),
        };
        let at = Timestamp::from_millis(value.get("at")?.as_i64()?);
        Some(Self { scope, at, reason: text("reason")?.to_owned(), entry })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_reads_back_and_a_cut_line_is_none() {
        let entry = SealedEntry {
            action: Action::LinkRevoke.code(),
            outcome: Outcome::Ok.code(),
            commitment: [7; 32],
            cells: vec![1, 2, 3],
            patients: vec!["Patient/1".to_owned()],
        };
        for scope in [Scope::All, Scope::Client(ClientNumber(3)), Scope::Link(LinkId::of_digest(&[9; 8]))] {
            let at = Timestamp::from_millis(5);
            let spooled = Spooled { scope, at, reason: "lost \"laptop\"".to_owned(), entry: entry.clone() };
            let line = spooled.to_line();
            assert!(!line.contains('\n'));
            assert_eq!(Spooled::from_line(&line), Some(spooled));
            for length in 0..line.len() {
                assert_eq!(line.get(..length).and_then(Spooled::from_line), None);
            }
        }
    }
}
