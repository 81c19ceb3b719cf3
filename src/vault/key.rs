//! One key-encryption key, and the text form of several: lines `daylily-key-v1 <base64 of 32 bytes>`, the current key first.

use std::fmt;

use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::domain::content::{KeyError, KeyId};

/// First word of a key line.
pub(super) const PREFIX: &str = "daylily-key-v1";

/// Keys in one source at most: more rotations than that are never needed at a time.
const MOST_KEYS: usize = 64;

/// A key-encryption key. Never used as it is: all keys are derived from it.
pub(super) struct Kek {
    id: KeyId,
    root: Prk,
}

impl Kek {
    /// From its 32 bytes.
    pub(super) fn new(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let root = Salt::new(HKDF_SHA256, b"daylily/key-encryption-key/v1").extract(bytes);
        let digest = expand(&root, &[b"id"])?;
        let id = digest.first_chunk().copied().ok_or(KeyError::Cipher)?;
        Ok(Self { id: KeyId::from_bytes(id), root })
    }

    pub(super) fn id(&self) -> KeyId {
        self.id
    }

    /// The key for one seal, by its salt.
    pub(super) fn derive(&self, salt: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        expand(&self.root, &[b"seal", salt])
    }
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kek({}, ***)", self.id)
    }
}

fn expand(root: &Prk, info: &[&[u8]]) -> Result<Zeroizing<[u8; 32]>, KeyError> {
    let mut out = Zeroizing::new([0; 32]);
    root.expand(info, HKDF_SHA256)
        .and_then(|okm| okm.fill(out.as_mut_slice()))
        .map_err(|_unspecified| KeyError::Cipher)?;
    Ok(out)
}

/// What is wrong with a key text. Names the line, never what is on it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KeyTextFault {
    /// Not UTF-8.
    NotText,
    /// This line (1-based) is no key line.
    Line(usize),
    /// No key at all.
    Empty,
    /// More than [`MOST_KEYS`].
    TooMany,
}

impl fmt::Display for KeyTextFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotText => f.write_str("is not text"),
            Self::Line(line) => write!(f, "is not a key file: line {line} is not `{PREFIX}` and 32 bytes in base64"),
            Self::Empty => f.write_str("holds no key"),
            Self::TooMany => write!(f, "holds more than {MOST_KEYS} keys"),
        }
    }
}

/// Reads key lines; blank lines and lines that start with `#` are passed over, a key that comes again counts once.
pub(super) fn parse_keys(text: &[u8]) -> Result<Vec<Kek>, KeyTextFault> {
    let text = std::str::from_utf8(text).map_err(|_invalid| KeyTextFault::NotText)?;
    let mut keys: Vec<Kek> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key = parse_line(line).ok_or(KeyTextFault::Line(at + 1))?;
        if keys.iter().all(|known| known.id != key.id) {
            keys.push(key);
        }
        if keys.len() > MOST_KEYS {
            return Err(KeyTextFault::TooMany);
        }
    }
    if keys.is_empty() { Err(KeyTextFault::Empty) } else { Ok(keys) }
}

fn parse_line(line: &str) -> Option<Kek> {
    let (word, rest) = line.split_once(char::is_whitespace)?;
    let mut bytes = Zeroizing::new([0u8; 32]);
    let rest = rest.trim_start();
    let whole = word == PREFIX && rest.len() == 44 && STANDARD.decode_slice(rest, bytes.as_mut_slice()) == Ok(32);
    if whole { Kek::new(&bytes).ok() } else { None }
}

/// The line of a key, with its line end.
pub(super) fn key_line(bytes: &[u8; 32]) -> Zeroizing<String> {
    let mut line = Zeroizing::new(String::with_capacity(64));
    line.push_str(PREFIX);
    line.push(' ');
    STANDARD.encode_string(bytes, &mut line);
    line.push('\n');
    line
}
