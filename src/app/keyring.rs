//! The server's own secrets: link keys, token signing keys, seed of the checkpoint key, master key of the audit cells, cursor key. Made at
//! the first start, sealed by the vault, kept in the store with an audit entry each. A secret that does not open is never made anew:
//! a new one beside old data would look like health and be loss.

use std::fmt;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretSlice};
use zeroize::Zeroizing;

use super::failure::StartFailure;
use crate::auth::token::TokenKeys;
use crate::domain::audit::{Action, CellKey, Entry, Outcome, Prepared, SigningKey};
use crate::domain::clock::{Entropy, Timestamp};
use crate::domain::content::KeyError;
use crate::domain::link::{LinkKey, LinkKeys};
use crate::domain::refusal::{Code, Refusal};
use crate::failpoint::{self, Point};
use crate::store::{SealedEntry, SealedKey, Store};
use crate::vault::{SecretKind, Vault};

/// What a secret is for; the text is what the store keeps it under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// MAC of links.
    Link,
    /// Signature of access tokens.
    Token,
    /// Signature of checkpoints.
    Checkpoint,
    /// Signature of the note of the last full check of the log.
    LogCheck,
    /// Cells of the audit log.
    Cells,
    /// Page cursors.
    Cursor,
}

impl Purpose {
    /// Every purpose; cells first, since entries about the others are sealed under it.
    pub const ALL: [Self; 6] = [Self::Cells, Self::Checkpoint, Self::LogCheck, Self::Link, Self::Token, Self::Cursor];

    /// The store's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Link => "link",
            Self::Token => "token",
            Self::Checkpoint => "audit-checkpoint",
            Self::LogCheck => "log-check",
            Self::Cells => "audit-cells",
            Self::Cursor => "cursor",
        }
    }

    fn kind(self) -> SecretKind {
        match self {
            Self::Link => SecretKind::LinkKey,
            Self::Token => SecretKind::TokenSigningKey,
            Self::Checkpoint => SecretKind::AuditSigningSeed,
            Self::LogCheck => SecretKind::LogCheckSeed,
            Self::Cells => SecretKind::AuditCellMasterKey,
            Self::Cursor => SecretKind::CursorKey,
        }
    }

    fn fresh(self, entropy: &dyn Entropy) -> Result<Zeroizing<Vec<u8>>, StartFailure> {
        if self == Self::Token {
            return TokenKeys::generate().map_err(|error| StartFailure::machine("no token key could be made", &error));
        }
        let mut bytes = Zeroizing::new(vec![0; 32]);
        entropy.fill(&mut bytes);
        Ok(bytes)
    }
}

/// One secret, open.
struct OpenKey {
    purpose: Purpose,
    number: u32,
    created: Timestamp,
    retires: Option<Timestamp>,
    secret: SecretSlice<u8>,
}

/// The secrets of one instance, open.
pub struct KeyRing {
    keys: Vec<OpenKey>,
    origin: String,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.keys.iter().map(|key| key_id(key.purpose, key.number)).collect();
        f.debug_struct("KeyRing").field("origin", &self.origin).field("keys", &names).finish()
    }
}

/// The name that a secret is sealed under.
fn key_id(purpose: Purpose, number: u32) -> String {
    format!("{}-{number}", purpose.name())
}

impl KeyRing {
    /// Opens what the store has. `files` is how many files would be lost with the encryption key, for the message.
    ///
    /// # Errors
    /// `key-missing`, `folder-unsafe`.
    pub fn open(sealed: &[SealedKey], vault: &Vault, origin: &str, files: u64) -> Result<Self, StartFailure> {
        let mut keys = Vec::with_capacity(sealed.len());
        for key in sealed {
            let Some(purpose) = Purpose::ALL.into_iter().find(|purpose| purpose.name() == key.purpose) else {
                continue;
            };
            let opened = vault.open_secret(purpose.kind(), &key_id(purpose, key.number), &key.sealed);
            let secret = opened.map_err(|error| StartFailure::key(&error, purpose.name(), files))?;
            keys.push(OpenKey { purpose, number: key.number, created: key.created, retires: key.retires, secret });
        }
        Ok(Self { keys, origin: origin.to_owned() })
    }

    /// Whether a purpose has no key: the first start, or one that did not come to its end.
    pub fn lacks(&self, purpose: Purpose) -> bool {
        self.of(purpose).next().is_none()
    }

    /// Makes what is lacking. The key of the cells comes first and seals the entry about itself.
    ///
    /// # Errors
    /// Failures of store and vault.
    pub async fn complete(
        &mut self,
        store: &dyn Store,
        vault: &Vault,
        entropy: &dyn Entropy,
        now: Timestamp,
    ) -> Result<(), StartFailure> {
        for purpose in Purpose::ALL {
            if self.lacks(purpose) {
                self.add(store, vault, entropy, (purpose, now, None)).await?;
            }
        }
        Ok(())
    }

    /// Whether the key that signs now is older than `age`.
    pub fn is_old(&self, purpose: Purpose, now: Timestamp, age: Duration) -> bool {
        self.of(purpose).filter(|key| key.retires.is_none()).all(|key| now.since(key.created) > age)
    }

    /// Takes a new key for links or tokens; the one before is accepted until `now + overlap`.
    ///
    /// # Errors
    /// Failures of store and vault.
    pub async fn rotate(
        &mut self,
        store: &dyn Store,
        vault: &Vault,
        entropy: &dyn Entropy,
        (purpose, now, overlap): (Purpose, Timestamp, Duration),
    ) -> Result<(), StartFailure> {
        self.add(store, vault, entropy, (purpose, now, Some(now.plus(overlap)))).await
    }

    async fn add(
        &mut self,
        store: &dyn Store,
        vault: &Vault,
        entropy: &dyn Entropy,
        (purpose, now, retire): (Purpose, Timestamp, Option<Timestamp>),
    ) -> Result<(), StartFailure> {
        let number = self.of(purpose).map(|key| key.number).max().map_or(1, |last| last.saturating_add(1));
        let secret = purpose.fresh(entropy)?;
        let sealed = vault.seal_secret(purpose.kind(), &key_id(purpose, number), &secret);
        let sealed = sealed.map_err(|error| StartFailure::key(&error, purpose.name(), 0))?;
        let secret = SecretSlice::from(secret.to_vec());
        let new = OpenKey { purpose, number, created: now, retires: None, secret };
        let replaces = number > 1;
        for old in self.keys.iter_mut().filter(|old| old.purpose == purpose && old.retires.is_none()) {
            old.retires = retire;
        }
        self.keys.push(new);
        let entry = self.entry_about(purpose, number, replaces)?;
        let entry = seal(&entry, &self.cells()?, entropy)?;
        let row = SealedKey { purpose: purpose.name().to_owned(), number, sealed, created: now, retires: None };
        failpoint::here(Point::KeyMade);
        match store.add_key(row, retire, entry).await {
            Ok(()) => {
                failpoint::here(Point::KeyCommitted);
                Ok(())
            }
            Err(error) => {
                self.keys.retain(|key| !(key.purpose == purpose && key.number == number));
                Err(error.into())
            }
        }
    }

    fn entry_about(&self, purpose: Purpose, number: u32, replaces: bool) -> Result<Entry, StartFailure> {
        if purpose == Purpose::Checkpoint {
            let entry = Entry::new(Action::AuditKey, Outcome::Ok).server();
            return Ok(entry.new_key(self.checkpoint()?.verifying_key()));
        }
        let reason = if replaces { "rotation" } else { "first key" };
        let entry = Entry::new(Action::KeyRotate, Outcome::Ok).server().reason(reason);
        Ok(entry.with("purpose", purpose.name()).with("number", number))
    }

    fn of(&self, purpose: Purpose) -> impl Iterator<Item = &OpenKey> {
        self.keys.iter().filter(move |key| key.purpose == purpose)
    }

    /// The newest first; those whose time is over at `now` are left out.
    fn accepted(&self, purpose: Purpose, now: Timestamp) -> Vec<&OpenKey> {
        let mut keys: Vec<&OpenKey> =
            self.of(purpose).filter(|key| key.retires.is_none_or(|moment| moment > now)).collect();
        keys.sort_by_key(|key| std::cmp::Reverse(key.number));
        keys
    }

    fn secret_of(&self, purpose: Purpose) -> Result<[u8; 32], StartFailure> {
        let key = self.of(purpose).max_by_key(|key| key.number);
        let bytes = key.and_then(|key| <[u8; 32]>::try_from(key.secret.expose_secret()).ok());
        bytes.ok_or_else(|| StartFailure::key(&KeyError::Damaged, purpose.name(), 0))
    }

    /// The key of the audit cells.
    ///
    /// # Errors
    /// `folder-unsafe` when it is not there.
    pub fn cells(&self) -> Result<CellKey, StartFailure> {
        Ok(CellKey::new(&Zeroizing::new(self.secret_of(Purpose::Cells)?)))
    }

    /// The key that signs checkpoints.
    ///
    /// # Errors
    /// `folder-unsafe` when it is not there, or the instance's id cannot name a log.
    pub fn checkpoint(&self) -> Result<SigningKey, StartFailure> {
        let seed = Zeroizing::new(self.secret_of(Purpose::Checkpoint)?);
        SigningKey::from_seed(&self.origin, &seed)
            .ok_or_else(|| StartFailure::key(&KeyError::Damaged, "audit-checkpoint", 0))
    }

    /// The key that signs the note of the last full check.
    ///
    /// # Errors
    /// `folder-unsafe` when it is not there, or the instance's id cannot name a log.
    pub fn log_check(&self) -> Result<SigningKey, StartFailure> {
        let seed = Zeroizing::new(self.secret_of(Purpose::LogCheck)?);
        SigningKey::from_seed(&self.origin, &seed)
            .ok_or_else(|| StartFailure::key(&KeyError::Damaged, Purpose::LogCheck.name(), 0))
    }

    /// Secret bytes for page cursors.
    ///
    /// # Errors
    /// `folder-unsafe` when they are not there.
    pub fn cursor(&self) -> Result<Zeroizing<[u8; 32]>, StartFailure> {
        self.secret_of(Purpose::Cursor).map(Zeroizing::new)
    }

    /// The keys that links are signed and accepted with at `now`.
    ///
    /// # Errors
    /// `folder-unsafe` when there is none.
    pub fn links(&self, now: Timestamp) -> Result<LinkKeys, StartFailure> {
        let damaged = || StartFailure::key(&KeyError::Damaged, "link", 0);
        let mut keys = Vec::new();
        for key in self.accepted(Purpose::Link, now) {
            let bytes = Zeroizing::new(<[u8; 32]>::try_from(key.secret.expose_secret()).map_err(|_| damaged())?);
            keys.push(LinkKey::new(&bytes));
        }
        let mut keys = keys.into_iter();
        let current = keys.next().ok_or_else(damaged)?;
        Ok(LinkKeys::new(current, keys.collect()))
    }

    /// The keys of access tokens at `now`.
    ///
    /// # Errors
    /// `folder-unsafe` when there is none or one is no key.
    pub fn tokens(&self, now: Timestamp) -> Result<TokenKeys, StartFailure> {
        let damaged = || StartFailure::key(&KeyError::Damaged, "token", 0);
        let keys: Vec<&[u8]> =
            self.accepted(Purpose::Token, now).into_iter().map(|key| key.secret.expose_secret()).collect();
        let (current, previous) = keys.split_first().ok_or_else(damaged)?;
        TokenKeys::from_pkcs8(current, previous).map_err(|_| damaged())
    }
}

/// Seals an entry before there is a server to do it.
fn seal(entry: &Entry, cells: &CellKey, entropy: &dyn Entropy) -> Result<SealedEntry, StartFailure> {
    let unavailable = || StartFailure::from(Refusal::of(Code::AuditUnavailable).retry_after(2));
    let prepared = Prepared::new(entry, entropy).map_err(|_| unavailable())?;
    Ok(SealedEntry {
        action: prepared.action().code(),
        outcome: prepared.outcome().code(),
        commitment: prepared.leaf(0, 0, "").commitment,
        cells: prepared.seal(cells).ok_or_else(unavailable)?,
        given: Vec::new(),
    })
}
