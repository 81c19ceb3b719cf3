//! Checkpoint keys: Ed25519, named after the log, published as one line (C2SP signed-note, vkey).

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::tree::sha256;

/// What a key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// The text of a note (algorithm byte 1): the log's own key.
    Log,
    /// A note seen at a time (algorithm byte 4, C2SP tlog-cosignature): a witness's key.
    Witness,
}

impl KeyKind {
    const fn byte(self) -> u8 {
        match self {
            Self::Log => 1,
            Self::Witness => 4,
        }
    }
}

/// A public checkpoint key. Its text is `name+id+base64(algorithm | key)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    name: String,
    id: [u8; 4],
    kind: KeyKind,
    public: [u8; 32],
}

/// Whether a text may name a key: not empty, no space, no control character, no `+`.
pub fn is_key_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

impl VerifyingKey {
    fn new(name: &str, kind: KeyKind, public: [u8; 32]) -> Option<Self> {
        let digest = sha256(&[name.as_bytes(), b"\n", &[kind.byte()], &public]);
        let id = digest.first_chunk().copied()?;
        is_key_name(name).then(|| Self { name: name.to_owned(), id, kind, public })
    }

    /// Reads a key line; `None` when it has another shape, another algorithm, or an id that is not this key's.
    pub fn parse(line: &str) -> Option<Self> {
        let mut parts = line.splitn(3, '+');
        let (name, id, encoded) = (parts.next()?, parts.next()?, parts.next()?);
        let bytes = STANDARD.decode(encoded).ok()?;
        let (algorithm, public) = bytes.split_first()?;
        let kind = [KeyKind::Log, KeyKind::Witness].into_iter().find(|kind| kind.byte() == *algorithm)?;
        let key = Self::new(name, kind, public.try_into().ok()?)?;
        (hex::encode(key.id) == id).then_some(key)
    }

    /// Name; of a log's key, the log's origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// First four bytes of SHA-256(name | 0x0A | algorithm | key).
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// What it signs.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.public).verify(message, signature).is_ok()
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&[self.kind.byte()], self.public.as_slice()].concat();
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id), STANDARD.encode(bytes))
    }
}

/// The secret half of a log's checkpoint key.
pub struct SigningKey {
    public: VerifyingKey,
    pair: Ed25519KeyPair,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, hidden)", self.public)
    }
}

impl SigningKey {
    /// The key of the log `origin` from a 32-byte seed (RFC 8032 §5.1.5). `None` when `origin` cannot name a key.
    pub fn from_seed(origin: &str, seed: &[u8; 32]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        let public = VerifyingKey::new(origin, KeyKind::Log, pair.public_key().as_ref().try_into().ok()?)?;
        Some(Self { public, pair })
    }

    /// The half that is published.
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.public
    }

    pub(super) fn signature(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Example of C2SP signed-note.
    const PUBLISHED: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

    #[test]
    fn a_published_key_line_reads_and_writes() {
        let key = VerifyingKey::parse(PUBLISHED).unwrap();
        assert_eq!((key.name(), key.kind()), ("PeterNeumann", KeyKind::Log));
        assert_eq!(key.to_string(), PUBLISHED);
        for wrong in ["", "a+b", "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"] {
            assert_eq!(VerifyingKey::parse(wrong), None);
        }
        assert_eq!(VerifyingKey::parse(&PUBLISHED.replace("Peter", "Peter ")), None);
        assert_eq!(VerifyingKey::parse(&PUBLISHED.replace("c74f", "C74F")), None, "one spelling");
    }

    #[test]
    fn debug_hides_the_seed() {
        let key = SigningKey::from_seed("log.example/1", &[0xab; 32]).unwrap();
        assert!(format!("{key:?}").ends_with(", hidden)") && !format!("{key:?}").contains("abab"));
    }

    proptest! {
        #[test]
        fn arbitrary_lines_are_no_key_or_written_the_same(line in ".{0,40}", at in 0usize..80, to in any::<char>()) {
            let _ = VerifyingKey::parse(&line);
            let near: String = PUBLISHED.chars().enumerate().map(|(i, c)| if i == at { to } else { c }).collect();
            if let Some(key) = VerifyingKey::parse(&near) {
                prop_assert_eq!(key.to_string(), near);
            }
        }
    }
}
