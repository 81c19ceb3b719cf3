//! What a stored file is to the rest of the server: where its sealed bytes lie, the key that opens them (wrapped), its length
//! and its digests. Values only: sealing is done in `blob`, wrapping in `vault`; `store` keeps these fields in its rows.

use std::fmt;

use zeroize::Zeroizing;

use super::clock::Entropy;
use super::id::FileId;

/// Names a key-encryption key: a short digest of the key, safe to show, the same for the same key everywhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; KeyId::LEN]);

impl KeyId {
    /// Bytes of an id.
    pub const LEN: usize = 8;

    /// From its bytes.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    /// 16 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The key of one attempt to store one file: 256 random bits, overwritten when dropped.
pub struct DataKey(Zeroizing<[u8; DataKey::LEN]>);

impl DataKey {
    /// Bytes of a key.
    pub const LEN: usize = 32;

    /// A new one.
    pub fn random(entropy: &dyn Entropy) -> Self {
        let mut bytes = Zeroizing::new([0; Self::LEN]);
        entropy.fill(bytes.as_mut_slice());
        Self(bytes)
    }

    /// From its bytes; `None` when there are more or fewer than 32.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        <[u8; Self::LEN]>::try_from(bytes).ok().map(|bytes| Self(Zeroizing::new(bytes)))
    }

    /// The bytes, for the cipher and for wrapping only.
    pub fn expose(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(***)")
    }
}

/// A [`DataKey`] sealed under a key-encryption key. Destroying it destroys the file (crypto-shredding). Layout: version (1
/// byte), [`KeyId`] (8), salt (24), sealed key (32), tag (16).
#[derive(Clone, PartialEq, Eq)]
pub struct WrappedKey(Vec<u8>);

impl WrappedKey {
    /// Bytes of a wrapped key.
    pub const LEN: usize = 1 + KeyId::LEN + 24 + DataKey::LEN + 16;

    /// From stored bytes; `None` when they cannot be a wrapped key by their length. Whether they open is `unwrap`'s to say.
    pub fn from_stored(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() == Self::LEN).then_some(Self(bytes))
    }

    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Which key-encryption key opens it.
    pub fn key_id(&self) -> KeyId {
        let id = self.0.get(1..=KeyId::LEN).and_then(|bytes| bytes.try_into().ok());
        KeyId(id.unwrap_or_default())
    }
}

impl fmt::Debug for WrappedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WrappedKey(under {})", self.key_id())
    }
}

/// Why a key could not be wrapped or unwrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It was wrapped under a key that is not in the given source.
    #[error("the encryption key {0} is not in the given source")]
    Missing(KeyId),
    /// It was changed, or belongs to another file or purpose.
    #[error("a wrapped key does not open: it was changed, or belongs to something else")]
    Damaged,
    /// The cipher refused to work.
    #[error("the cipher failed")]
    Cipher,
}

/// Wraps the keys of files. `vault` is what does it; `blob` asks for no more than this.
pub trait FileKeys: Send + Sync + fmt::Debug {
    /// Seals the key of `file` under the current key-encryption key, bound to the id of the file.
    ///
    /// # Errors
    /// [`KeyError::Cipher`].
    fn wrap(&self, file: FileId, key: &DataKey) -> Result<WrappedKey, KeyError>;

    /// Opens the key of `file`, whichever known key-encryption key sealed it.
    ///
    /// # Errors
    /// [`KeyError::Missing`], or [`KeyError::Damaged`] for a key that was changed or is another file's.
    fn unwrap(&self, file: FileId, wrapped: &WrappedKey) -> Result<DataKey, KeyError>;
}

/// Where the sealed bytes of a file lie.
#[derive(Clone, PartialEq, Eq)]
pub enum Placement {
    /// With its row: the store keeps these sealed bytes in a table of their own and hands them back.
    Inline(Vec<u8>),
    /// With the blob store, under the id of the file.
    File,
}

impl fmt::Debug for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(sealed) => write!(f, "Inline({} sealed bytes)", sealed.len()),
            Self::File => f.write_str("File"),
        }
    }
}

/// What storing a file yields. Size and digests are of the plaintext, counted from the bytes that were sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The file.
    pub file: FileId,
    /// Where its sealed bytes lie.
    pub placement: Placement,
    /// Its key.
    pub wrapped_key: WrappedKey,
    /// Bytes of plaintext.
    pub size: u64,
    /// SHA-256 of the plaintext.
    pub sha256: [u8; 32],
    /// SHA-1 of the plaintext, for `Attachment.hash` (FHIR R4) only: protects nothing.
    pub sha1: [u8; 20],
}

impl Stored {
    /// What opens it again.
    pub fn content(&self) -> ContentRef {
        ContentRef {
            file: self.file,
            placement: self.placement.clone(),
            wrapped_key: self.wrapped_key.clone(),
            size: self.size,
        }
    }
}

/// What is needed to open a stored file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentRef {
    /// The file.
    pub file: FileId,
    /// Where its sealed bytes lie.
    pub placement: Placement,
    /// Its key.
    pub wrapped_key: WrappedKey,
    /// Bytes of plaintext.
    pub size: u64,
}
