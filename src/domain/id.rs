//! Identifiers as types. What a person or another system sees is opaque: random, of one alphabet, never counted up.

use std::fmt;

use super::clock::Entropy;

/// Crockford's base 32 in lower case: no `i`, `l`, `o`, `u`, so that an id can be read out over the phone.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Writes bits as base 32, `chars` characters, most significant bits first; missing bits are zero.
pub fn base32(bytes: &[u8], chars: usize) -> String {
    (0..chars)
        .map(|at| {
            let value = (0..5).fold(0u8, |value, bit| {
                let index = at * 5 + bit;
                let byte = bytes.get(index / 8).copied().unwrap_or_default();
                (value << 1) | ((byte >> (7 - index % 8)) & 1)
            });
            char::from(ALPHABET.get(usize::from(value)).copied().unwrap_or(b'0'))
        })
        .collect()
}

/// Reads what [`base32`] wrote for 16 bytes; any other spelling is `None` (one text per value).
fn base32_to_16(text: &str) -> Option<[u8; 16]> {
    if text.len() != 26 {
        return None;
    }
    let mut value: u128 = 0;
    for (at, byte) in text.bytes().enumerate() {
        let digit = ALPHABET.iter().position(|letter| *letter == byte)?;
        let digit = u128::try_from(digit).ok()?;
        // 26 characters hold 130 bits: the last two are zero.
        if at == 25 {
            if digit & 0b11 != 0 {
                return None;
            }
            value = (value << 3) | (digit >> 2);
        } else {
            value = (value << 5) | digit;
        }
    }
    Some(value.to_be_bytes())
}

macro_rules! random_id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 16]);

        impl $name {
            /// A new one, 128 random bits.
            pub fn random(entropy: &dyn Entropy) -> Self {
                let mut bytes = [0; 16];
                entropy.fill(&mut bytes);
                Self(bytes)
            }

            /// From its 16 bytes.
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// From its one spelling of 26 characters.
            pub fn parse(text: &str) -> Option<Self> {
                base32_to_16(text).map(Self)
            }

            /// Its 16 bytes.
            pub fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&base32(&self.0, 26))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    };
}

random_id! {
    /// A file: the bytes of one content entry of one document, under a key of its own. Its text is the id of its Binary
    /// and, on disk, its object key.
    FileId
}

random_id! {
    /// An id that this server makes for a resource (its text becomes a [`ResourceId`]).
    FreshId
}

macro_rules! text_id {
    ($(#[$meta:meta])* $name:ident, $rule:literal, $valid:expr) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            #[doc = concat!("Accepts ", $rule, ".")]
            pub fn parse(text: &str) -> Option<Self> {
                let valid: fn(&str) -> bool = $valid;
                valid(text).then(|| Self(text.to_owned()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

fn is_short_plain(text: &str, extra: &str) -> bool {
    (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
}

text_id! {
    /// A FHIR logical id.
    ResourceId, "1 to 64 of `[A-Za-z0-9.-]` (FHIR R4 datatypes, id), but not `.` or `..`",
    |text| is_short_plain(text, "-.") && text != "." && text != ".."
}

text_id! {
    /// The registered id of a client.
    ClientId, "1 to 64 of `[A-Za-z0-9._-]`", |text| is_short_plain(text, "._-")
}

text_id! {
    /// The registered id of an operator: a person who may act.
    OperatorId, "1 to 64 of `[A-Za-z0-9._-]`", |text| is_short_plain(text, "._-")
}

text_id! {
    /// The id of one request, taken over from `X-Request-Id` or made here.
    RequestId, "1 to 64 of `[A-Za-z0-9.-]`", |text| is_short_plain(text, ".-")
}

text_id! {
    /// The id of a link, safe to log and to read out: `lk_` and nine characters.
    LinkId, "`lk_` and 9 characters of the id alphabet",
    |text| text.len() == 12 && text.strip_prefix("lk_").is_some_and(|rest| rest.bytes().all(|b| ALPHABET.contains(&b)))
}

impl LinkId {
    /// The id of a link from a digest of its text (first 45 bits).
    pub fn of_digest(digest: &[u8]) -> Self {
        Self(format!("lk_{}", base32(digest, 9)))
    }
}

impl ResourceId {
    /// A new id of this server.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(FreshId::random(entropy).to_string())
    }
}

impl RequestId {
    /// A new id for a request that brought none.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(FreshId::random(entropy).to_string())
    }
}

impl From<FileId> for ResourceId {
    fn from(file: FileId) -> Self {
        Self(file.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_file_id_has_one_spelling(bytes in any::<[u8; 16]>()) {
            let id = FileId::from_bytes(bytes);
            prop_assert_eq!(FileId::parse(&id.to_string()), Some(id));
        }

        #[test]
        fn what_is_read_is_written_the_same(text in "[0-9a-z]{26}") {
            if let Some(id) = FileId::parse(&text) {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }

    #[test]
    fn ids_that_are_path_steps_are_none() {
        assert!(
            ResourceId::parse("..").is_none() && ResourceId::parse("a/b").is_none() && ResourceId::parse("").is_none()
        );
        assert!(ResourceId::parse(&"a".repeat(65)).is_none() && ResourceId::parse(&"a".repeat(64)).is_some());
    }
}
