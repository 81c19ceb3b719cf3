//! Key-encryption keys and what is sealed under them: the keys of files, and the server's own secrets. Knows where keys come
//! from ([`KeySource`]) and how to seal; knows no file, no row and no request. Also the system's random numbers.
//!
//! Sealing is AES-256-GCM under a key derived anew for each seal: HKDF-SHA256 (RFC 5869) of the key-encryption key and 192 random
//! bits. So no pair of key and nonce comes twice, however often one key-encryption key seals.

mod entropy;
mod key;
mod seal;
mod source;
#[cfg(test)]
mod tests;

pub use entropy::SystemEntropy;
pub use source::KeySource;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use secrecy::SecretSlice;

use crate::domain::clock::Entropy;
use crate::domain::content::{DataKey, FileKeys, KeyError, KeyId, WrappedKey};
use crate::domain::id::FileId;
use crate::domain::refusal::{Code, Issue};
use key::Kek;

/// What a sealed secret of the server is for. A secret sealed for one purpose does not open for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SecretKind {
    /// Key of the MAC in links.
    LinkKey,
    /// Private key that signs access tokens.
    TokenSigningKey,
    /// Seed of the key that signs audit checkpoints.
    AuditSigningSeed,
    /// Seed of the key that signs the note of the log's last full check.
    LogCheckSeed,
    /// Master key of the personal cells of the audit log.
    AuditCellMasterKey,
    /// Key that page cursors are sealed with.
    CursorKey,
    /// Secret that a Subscription's messages are signed with.
    WebhookSecret,
    /// Header lines that go with a Subscription's messages.
    WebhookHeaders,
}

impl SecretKind {
    /// Part of what is authenticated: never changed once a version has shipped.
    const fn label(self) -> &'static str {
        match self {
            Self::LinkKey => "link-key",
            Self::TokenSigningKey => "token-signing-key",
            Self::AuditSigningSeed => "audit-signing-seed",
            Self::LogCheckSeed => "log-check-seed",
            Self::AuditCellMasterKey => "audit-cell-master-key",
            Self::CursorKey => "cursor-key",
            Self::WebhookSecret => "webhook-secret",
            Self::WebhookHeaders => "webhook-headers",
        }
    }
}

/// One or more key-encryption keys. The first seals; all open.
pub struct Vault {
    current: Kek,
    older: Vec<Kek>,
    beside_data: bool,
    entropy: Arc<dyn Entropy>,
}

impl Vault {
    /// Reads the keys of `source`. Only [`KeySource::Folder`] makes a key, and only when `existing_data` is false: a new key
    /// beside old data would look like health and be loss.
    ///
    /// # Errors
    /// `folder-unsafe` when the source is missing, open to others, unreadable or not of lines `daylily-key-v1 <base64>`.
    pub fn open(
        source: &KeySource,
        data_dir: &Path,
        existing_data: bool,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, Issue> {
        let found = source::read(source, data_dir, existing_data, entropy.as_ref())?;
        let mut keys = found.keys.into_iter();
        let current = keys.next().ok_or_else(|| source::unsafe_source(&found.name, "holds no key", source::RESTORE))?;
        Ok(Self { current, older: keys.collect(), beside_data: found.beside_data, entropy })
    }

    /// Whether the key lies in the data folder, so that who takes the disk has both (warning `key-beside-data`).
    pub fn beside_data(&self) -> bool {
        self.beside_data
    }

    /// The key that seals.
    pub fn current_key(&self) -> KeyId {
        self.current.id()
    }

    /// Every key that opens, the current one first.
    pub fn key_ids(&self) -> impl Iterator<Item = KeyId> {
        self.keys().map(Kek::id)
    }

    /// Checks at start that every key in use is at hand; `needed` names each with the number of files under it.
    ///
    /// # Errors
    /// `key-missing` for the first one that is not.
    pub fn require(&self, needed: impl IntoIterator<Item = (KeyId, u64)>) -> Result<(), Issue> {
        match needed.into_iter().find(|(id, _)| self.keys().all(|key| key.id() != *id)) {
            None => Ok(()),
            Some((id, files)) => Err(Issue::new(Code::KeyMissing).fill("key-id", id).fill("n", files)),
        }
    }

    /// The same file key under the current key-encryption key; `None` when it already is. For rotation.
    ///
    /// # Errors
    /// As [`FileKeys::unwrap`].
    pub fn rewrap(&self, file: FileId, wrapped: &WrappedKey) -> Result<Option<WrappedKey>, KeyError> {
        if wrapped.key_id() == self.current.id() {
            return Ok(None);
        }
        let key = self.unwrap(file, wrapped)?;
        self.wrap(file, &key).map(Some)
    }

    /// Seals a secret of the server. `id` names the one secret among those of its kind (its key id) and is authenticated
    /// with it. The result is to be stored as it is.
    ///
    /// # Errors
    /// [`KeyError::Cipher`].
    pub fn seal_secret(&self, kind: SecretKind, id: &str, secret: &[u8]) -> Result<Vec<u8>, KeyError> {
        seal::seal(&self.current, kind.label(), id.as_bytes(), secret, self.entropy.as_ref())
    }

    /// Opens what [`Vault::seal_secret`] sealed for the same kind and id.
    ///
    /// # Errors
    /// [`KeyError::Missing`], or [`KeyError::Damaged`] for anything that was changed or is for something else.
    pub fn open_secret(&self, kind: SecretKind, id: &str, sealed: &[u8]) -> Result<SecretSlice<u8>, KeyError> {
        let mut plain = seal::open(self.keys(), kind.label(), id.as_bytes(), sealed)?;
        Ok(SecretSlice::from(std::mem::take(&mut *plain)))
    }

    fn keys(&self) -> impl Iterator<Item = &Kek> {
        std::iter::once(&self.current).chain(&self.older)
    }
}

/// Label of the keys of files, see [`SecretKind::label`].
const FILE_KEY: &str = "file-key";

impl FileKeys for Vault {
    fn wrap(&self, file: FileId, key: &DataKey) -> Result<WrappedKey, KeyError> {
        let sealed = seal::seal(&self.current, FILE_KEY, file.as_bytes(), key.expose(), self.entropy.as_ref())?;
        WrappedKey::from_stored(sealed).ok_or(KeyError::Cipher)
    }

    fn unwrap(&self, file: FileId, wrapped: &WrappedKey) -> Result<DataKey, KeyError> {
        let plain = seal::open(self.keys(), FILE_KEY, file.as_bytes(), wrapped.as_bytes())?;
        DataKey::from_slice(&plain).ok_or(KeyError::Damaged)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.key_ids().collect();
        f.debug_struct("Vault").field("keys", &ids).field("beside_data", &self.beside_data).finish()
    }
}
