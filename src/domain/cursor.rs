//! Page links: where a search goes on, as a sealed text that its reader can neither open nor alter. The search's parameters
//! are inside, encrypted, so that a `next` link carries no patient data (FHIR R4 http.html, paging; contract, Links).
//! The text is bound to the reader: to anyone else, after its time, or with one bit changed it is the same refusal.
//!
//! Layout, base64url without padding: `version 1 | nonce 12 | AES-256-GCM of the payload | tag 16`; the reader's scope is
//! additional data and never inside.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::clock::{Entropy, Timestamp, write_span};
use super::query::Position;
use super::refusal::{Code, Issue, Refusal};

const VERSION: u8 = 1;
/// How long a page link can be followed: the longest life of an access token, and then some.
pub const LIFETIME: Duration = Duration::from_secs(3_600);
/// Longest text of a page link in characters; a search that does not fit is refused.
pub const MAX_TEXT: usize = 4_096;

/// What a page link says.
#[derive(Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The parameters of the search as they were understood, in order.
    pub pairs: Vec<(String, String)>,
    /// The last row of the page before.
    pub position: Position,
    /// When the first page was read: "now" for every page of this search.
    pub began: Timestamp,
    /// Last moment at which it can be followed.
    pub expires: Timestamp,
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cursor").field("began", &self.began).field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// Whom a page link is for: a digest over client and scope (reach, person), made by whoever made the scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScopeDigest(pub [u8; 32]);

/// The key that page links are sealed with.
pub struct CursorKey(LessSafeKey);

impl fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CursorKey(…)")
    }
}

impl CursorKey {
    /// From 32 secret bytes, used for nothing else.
    ///
    /// # Errors
    /// `server-fault`, if the cipher refuses the key.
    pub fn new(secret: &[u8; 32]) -> Result<Self, Refusal> {
        let key = UnboundKey::new(&AES_256_GCM, secret).map_err(|_| Refusal::of(Code::ServerFault))?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Seals a cursor for one reader.
    ///
    /// # Errors
    /// `search-too-costly` when the text would be longer than [`MAX_TEXT`].
    pub fn seal(&self, cursor: &Cursor, scope: &ScopeDigest, entropy: &dyn Entropy) -> Result<String, Refusal> {
        let mut nonce = [0; NONCE_LEN];
        entropy.fill(&mut nonce);
        let mut sealed = encode(cursor);
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), aad(scope), &mut sealed)
            .map_err(|_| Refusal::of(Code::ServerFault))?;
        let text = URL_SAFE_NO_PAD.encode([&[VERSION], nonce.as_slice(), &sealed].concat());
        if text.len() > MAX_TEXT {
            let issue = Issue::new(Code::SearchTooCostly).fill("max", crate::domain::query::MAX_COUNT);
            return Err(issue.cure_text("Give fewer or shorter values: a page link has no room for more.").into());
        }
        Ok(text)
    }

    /// Opens a text for its reader.
    ///
    /// # Errors
    /// `page-expired` (410), the same for what is over, altered, another reader's, or none of ours.
    pub fn open(&self, text: &str, scope: &ScopeDigest, now: Timestamp) -> Result<Cursor, Refusal> {
        self.try_open(text, scope).filter(|cursor| now <= cursor.expires).ok_or_else(expired)
    }

    fn try_open(&self, text: &str, scope: &ScopeDigest) -> Option<Cursor> {
        let bytes = (text.len() <= MAX_TEXT).then(|| URL_SAFE_NO_PAD.decode(text).ok()).flatten()?;
        let (version, rest) = bytes.split_first()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self.0.open_in_place(nonce, aad(scope), &mut sealed).ok()?;
        (*version == VERSION).then(|| decode(plain)).flatten()
    }
}

fn aad(scope: &ScopeDigest) -> Aad<[u8; 33]> {
    let mut bound = [VERSION; 33];
    bound.iter_mut().skip(1).zip(scope.0).for_each(|(to, from)| *to = from);
    Aad::from(bound)
}

fn expired() -> Refusal {
    Issue::new(Code::PageExpired).fill("lifetime", write_span(LIFETIME)).into()
}

fn encode(cursor: &Cursor) -> Vec<u8> {
    let numbers = [cursor.position.key, cursor.position.arrival, cursor.began.millis(), cursor.expires.millis()];
    let mut out: Vec<u8> = numbers.into_iter().flat_map(i64::to_be_bytes).collect();
    for text in cursor.pairs.iter().flat_map(|(name, value)| [name, value]) {
        // Longer texts than 4 GiB cannot come in; the length check of `seal` is far below.
        out.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend(text.as_bytes());
    }
    out
}

fn decode(bytes: &[u8]) -> Option<Cursor> {
    let (key, rest) = number(bytes)?;
    let (arrival, rest) = number(rest)?;
    let (began, rest) = number(rest)?;
    let (expires, mut rest) = number(rest)?;
    let mut pairs = Vec::new();
    while !rest.is_empty() {
        let (name, after) = text(rest)?;
        let (value, after) = text(after)?;
        pairs.push((name, value));
        rest = after;
    }
    let (began, expires) = (Timestamp::from_millis(began), Timestamp::from_millis(expires));
    Some(Cursor { pairs, position: Position { key, arrival }, began, expires })
}

fn number(bytes: &[u8]) -> Option<(i64, &[u8])> {
    bytes.split_first_chunk::<8>().map(|(number, rest)| (i64::from_be_bytes(*number), rest))
}

fn text(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (text, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    Some((String::from_utf8(text.to_vec()).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug)]
    struct Fixed(u8);

    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
    const READER: ScopeDigest = ScopeDigest([7; 32]);

    fn cursor(pairs: Vec<(String, String)>) -> Cursor {
        Cursor { pairs, position: Position { key: -5, arrival: 99 }, began: NOW, expires: NOW.plus(LIFETIME) }
    }

    fn sealed(pairs: Vec<(String, String)>) -> String {
        CursorKey::new(&[1; 32]).unwrap().seal(&cursor(pairs), &READER, &Fixed(3)).unwrap()
    }

    proptest! {
        #[test]
        fn what_was_sealed_is_what_is_opened(pairs in prop::collection::vec((".{0,20}", ".{0,40}"), 0..6), nonce in any::<u8>()) {
            let key = CursorKey::new(&[1; 32]).unwrap();
            let text = key.seal(&cursor(pairs.clone()), &READER, &Fixed(nonce)).unwrap();
            prop_assert_eq!(key.open(&text, &READER, NOW), Ok(cursor(pairs)));
        }

        #[test]
        fn whatever_is_not_ours_is_the_same_refusal(text in "[A-Za-z0-9_-]{0,200}") {
            let refused = CursorKey::new(&[1; 32]).unwrap().open(&text, &READER, NOW).unwrap_err();
            prop_assert_eq!(refused, expired());
        }
    }

    #[test]
    fn every_bit_counts_and_so_do_reader_key_and_time() {
        let key = CursorKey::new(&[1; 32]).unwrap();
        let text = sealed(vec![("patient".into(), "Patient/1".into())]);
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut altered = bytes.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.open(&URL_SAFE_NO_PAD.encode(altered), &READER, NOW), Err(expired()), "bit {bit}");
        }
        assert_eq!(key.open(&text, &ScopeDigest([8; 32]), NOW), Err(expired()));
        assert_eq!(CursorKey::new(&[2; 32]).unwrap().open(&text, &READER, NOW), Err(expired()));
        assert!(key.open(&text, &READER, NOW.plus(LIFETIME)).is_ok());
        let late = key.open(&text, &READER, NOW.plus(LIFETIME).plus(Duration::from_millis(1)));
        assert_eq!(late.unwrap_err().status(), 410);
    }

    #[test]
    fn nothing_of_the_search_can_be_read_from_the_text() {
        let text = sealed(vec![("patient".into(), "Patient/canary-4711".into())]);
        let bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"canary"));
    }

    #[test]
    fn a_search_too_large_for_a_link_is_refused() {
        let key = CursorKey::new(&[1; 32]).unwrap();
        let long = cursor(vec![("identifier".into(), "x".repeat(MAX_TEXT))]);
        assert_eq!(key.seal(&long, &READER, &Fixed(1)).unwrap_err().code(), Code::SearchTooCostly);
    }
}
