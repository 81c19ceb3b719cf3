//! Signed links: a capability for one file, one purpose and one span of time, as the text after `/d/`. Minting and verifying
//! are pure and cost one MAC; nothing is stored but for links that are counted, bound, confirmed or named, which have a row that
//! the link names by its number. Revocation compares the epoch that a link carries with the newest one of what
//! it names ([`super::epoch`]). A link carries no patient data: a file id, times and the store's numbers of its reader and row.
//!
//! Layout, big-endian, 63 bytes, base64url without padding (84 characters, one spelling):
//!
//! ```text
//! version 1 | key id 4 | purpose 1 | file 16 | expires 5 (seconds) | epoch 4 | reader 4 | row 4 | nonce 8 | tag 16
//! ```
//!
//! Version 1 has no row (its field is zero); version 2 has one. The nonce of a confirmed link is its commitment to the cookie of
//! the page that it came from.
//!
//! The tag is HMAC-SHA-256 over all before it, cut to 16 bytes (RFC 2104 §5: not below half the digest).

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::clock::Timestamp;
use super::id::{FileId, LinkId};
use super::principal::ClientNumber;

const VERSION: u8 = 1;
/// With the number of a row.
const VERSION_ROW: u8 = 2;
const BODY: usize = 47;
const TAG: usize = 16;
/// No policy may give more; a link that claims more is not ours (threat A106).
pub const MAX_AHEAD: Duration = Duration::from_secs(400 * 86_400);

/// What a link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// `GET /d/{token}`
    Download,
    /// The same, after a person pressed the button: what the page's POST answers with, bound to the page's cookie.
    Confirmed,
}

impl Purpose {
    fn byte(self) -> u8 {
        match self {
            Self::Download => 1,
            Self::Confirmed => 2,
        }
    }

    fn of_byte(byte: u8) -> Option<Self> {
        [Self::Download, Self::Confirmed].into_iter().find(|purpose| purpose.byte() == byte)
    }
}

/// The number of a link's row: random, never 0, told apart from those in use when it is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkNumber(NonZeroU32);

impl LinkNumber {
    /// From its number; `None` for 0.
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// As a number.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

/// What a confirmed link commits to: the secret of the cookie that the page set. 64 bits stand against a search within the
/// minute that such a link lives.
pub fn commitment(secret: &str) -> u64 {
    let digest = digest::digest(&digest::SHA256, &[b"daylily-confirm".as_slice(), secret.as_bytes()].concat());
    digest.as_ref().iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

/// Everything that a link says. Two links with equal claims and key have equal text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claims {
    /// The file, which is one version of one content entry.
    pub file: FileId,
    /// What it is for.
    pub purpose: Purpose,
    /// Last moment, in whole seconds.
    pub expires: Timestamp,
    /// The newest revocation that concerned the file, its document, patient or reader when the link was made.
    pub epoch: u32,
    /// The client that it was given to.
    pub reader: ClientNumber,
    /// Its row, for a link that is counted, bound, confirmed or has a file name of its own.
    pub row: Option<LinkNumber>,
    /// 0 for links offered in reads and searches; random for those of `$issue-link`, so that each is one of its own; the
    /// [`commitment`] of a confirmed one.
    pub nonce: u64,
}

/// The text of a link. Its `Debug` shows nothing: whoever holds it may open the file.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The text that goes behind `/d/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The link's id, safe to log.
    pub fn id(&self) -> LinkId {
        link_id(self.0.as_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The id of the link with this text: what is logged and said on the phone instead of it.
pub fn id_of(text: &str) -> LinkId {
    link_id(text.as_bytes())
}

fn link_id(text: &[u8]) -> LinkId {
    LinkId::of_digest(digest::digest(&digest::SHA256, text).as_ref())
}

/// A key that links are signed with.
#[derive(Clone)]
pub struct LinkKey {
    id: [u8; 4],
    key: hmac::Key,
}

impl LinkKey {
    /// From 32 secret bytes; the id is taken from their digest.
    pub fn new(secret: &[u8; 32]) -> Self {
        let named = digest::digest(&digest::SHA256, &[b"daylily-link-key-id".as_slice(), secret].concat());
        let mut id = [0; 4];
        id.iter_mut().zip(named.as_ref()).for_each(|(to, from)| *to = *from);
        Self { id, key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }
}

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkKey({})", hex::encode(self.id))
    }
}

/// The keys that links are accepted under: the first signs, the others are of before the last rotations and are kept until
/// the last link that they signed is over.
#[derive(Debug, Clone)]
pub struct LinkKeys {
    current: LinkKey,
    previous: Vec<LinkKey>,
}

impl LinkKeys {
    /// `current` signs.
    pub fn new(current: LinkKey, previous: Vec<LinkKey>) -> Self {
        Self { current, previous }
    }

    /// Signs.
    pub fn mint(&self, claims: &Claims) -> Token {
        let mut bytes = [0; BODY + TAG];
        let (body, tag) = bytes.split_at_mut(BODY);
        encode(claims, self.current.id, body);
        let signed = hmac::sign(&self.current.key, body);
        tag.iter_mut().zip(signed.as_ref()).for_each(|(to, from)| *to = *from);
        Token(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Verifies shape, key and tag, then time. `now` is never earlier than the highest time seen.
    ///
    /// # Errors
    /// [`LinkError::Invalid`] for whatever is not ours, all alike; [`LinkError::Expired`] for what is ours and over.
    pub fn verify(&self, text: &str, purpose: Purpose, now: Timestamp) -> Result<VerifiedLink, LinkError> {
        let found = self.verify_any(text, now);
        let (Ok(link) | Err(LinkError::Expired(link))) = &found else { return found };
        if link.claims.purpose == purpose { found } else { Err(LinkError::Invalid) }
    }

    /// As [`LinkKeys::verify`], for a link of any purpose.
    ///
    /// # Errors
    /// As there.
    pub fn verify_any(&self, text: &str, now: Timestamp) -> Result<VerifiedLink, LinkError> {
        let bytes = decode_text(text).ok_or(LinkError::Invalid)?;
        let (body, tag) = bytes.split_at_checked(BODY).ok_or(LinkError::Invalid)?;
        let (claims, key_id) = decode(body).ok_or(LinkError::Invalid)?;
        let key = std::iter::once(&self.current).chain(&self.previous).find(|key| key.id == key_id);
        // An unknown key costs the same MAC, so that time does not tell it from a wrong tag.
        let expected = hmac::sign(&key.unwrap_or(&self.current).key, body);
        let cut = expected.as_ref().get(..TAG).ok_or(LinkError::Invalid)?;
        let same = aws_lc_rs::constant_time::verify_slices_are_equal(cut, tag).is_ok();
        if key.is_none() || !same || claims.expires > now.plus(MAX_AHEAD) {
            return Err(LinkError::Invalid);
        }
        let link = VerifiedLink { claims, id: link_id(text.as_bytes()) };
        if now > claims.expires { Err(LinkError::Expired(link)) } else { Ok(link) }
    }
}

/// A link whose text is authentic and whose time is not over. Made by [`LinkKeys::verify`] only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedLink {
    claims: Claims,
    id: LinkId,
}

impl VerifiedLink {
    /// What it says.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Its id.
    pub fn id(&self) -> &LinkId {
        &self.id
    }
}

/// Why a link does not open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkError {
    /// Altered, cut, of an unknown key, of another purpose, never issued: nobody is told which.
    Invalid,
    /// Authentic, and over. Only its holder learns that.
    Expired(VerifiedLink),
}

/// The file that a text of this server's form names, without trusting it: for links that come back inside a resource, current
/// or long expired (contract, Links). Whoever uses it must check the writer's right to that file.
pub fn named_file(text: &str) -> Option<FileId> {
    let bytes = decode_text(text)?;
    decode(bytes.get(..BODY)?).map(|(claims, _)| claims.file)
}

/// The span of time of a link offered at `now`: within one step of a third of the lifetime (the steps of a file begin at an
/// offset of its own) the end is the same, and at least two thirds of the lifetime are left.
pub fn offered_until(file: FileId, lifetime: Duration, now: Timestamp) -> Timestamp {
    let lifetime = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX).clamp(3, 400 * 86_400);
    let step = lifetime / 3;
    let spread = file.as_bytes().iter().take(8).fold(0i64, |sum, byte| (sum << 7) ^ i64::from(*byte)) & i64::MAX;
    let offset = spread % step;
    let start = (now.seconds() - offset).div_euclid(step) * step + offset;
    Timestamp::from_millis((start + lifetime) * 1000)
}

fn encode(claims: &Claims, key_id: [u8; 4], body: &mut [u8]) {
    let expires = u64::try_from(claims.expires.seconds()).unwrap_or(0).to_be_bytes();
    let version = if claims.row.is_some() { VERSION_ROW } else { VERSION };
    let fields: [&[u8]; 8] = [
        &[version],
        &key_id,
        &[claims.purpose.byte()],
        claims.file.as_bytes(),
        expires.get(3..).unwrap_or_default(),
        &claims.epoch.to_be_bytes(),
        &claims.reader.0.to_be_bytes(),
        &claims.row.map_or(0, LinkNumber::get).to_be_bytes(),
    ];
    let nonce = claims.nonce.to_be_bytes();
    let bytes = fields.into_iter().flatten().chain(&nonce);
    body.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
}

fn decode_text(text: &str) -> Option<Vec<u8>> {
    // The engine refuses padding and set trailing bits, so each value has one text (threat A104).
    (text.len() == 84).then(|| URL_SAFE_NO_PAD.decode(text).ok()).flatten().filter(|bytes| bytes.len() == BODY + TAG)
}

fn decode(body: &[u8]) -> Option<(Claims, [u8; 4])> {
    let (version, rest) = body.split_first()?;
    let (key_id, rest) = rest.split_first_chunk::<4>()?;
    let (purpose, rest) = rest.split_first()?;
    let (file, rest) = rest.split_first_chunk::<16>()?;
    let (expires, rest) = rest.split_first_chunk::<5>()?;
    let (epoch, rest) = rest.split_first_chunk::<4>()?;
    let (reader, rest) = rest.split_first_chunk::<4>()?;
    let (row, rest) = rest.split_first_chunk::<4>()?;
    let (nonce, rest) = rest.split_first_chunk::<8>()?;
    let row = LinkNumber::new(u32::from_be_bytes(*row));
    let purpose = Purpose::of_byte(*purpose)?;
    // Each text has one reading: a row exactly where the version says so, and a confirmed link always has one.
    let known = match *version {
        VERSION => row.is_none() && purpose == Purpose::Download,
        VERSION_ROW => row.is_some(),
        _ => false,
    };
    if !known || !rest.is_empty() {
        return None;
    }
    let seconds = expires.iter().fold(0i64, |sum, byte| (sum << 8) | i64::from(*byte));
    let claims = Claims {
        file: FileId::from_bytes(*file),
        purpose,
        expires: Timestamp::from_millis(seconds.checked_mul(1000)?),
        epoch: u32::from_be_bytes(*epoch),
        reader: ClientNumber(u32::from_be_bytes(*reader)),
        row,
        nonce: u64::from_be_bytes(*nonce),
    };
    Some((claims, *key_id))
}

/// Whom uses count for, without keeping the name: salted with the file, and gone with it.
pub fn recipient_digest(file: FileId, named: &str) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, &[file.as_bytes().as_slice(), named.as_bytes()].concat());
    let mut bytes = [0; 32];
    bytes.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claims() -> Claims {
        Claims {
            file: FileId::from_bytes([9; 16]),
            purpose: Purpose::Download,
            expires: Timestamp::from_millis(1_800_000_000_000),
            epoch: 3,
            reader: ClientNumber(5),
            row: None,
            nonce: 0,
        }
    }

    #[test]
    fn a_link_with_a_row_names_its_file_and_serves_its_own_purpose_alone() {
        for purpose in [Purpose::Download, Purpose::Confirmed] {
            let said = Claims { purpose, row: LinkNumber::new(7), nonce: commitment("secret"), ..claims() };
            let token = keys(1).mint(&said);
            assert_eq!(token.as_str().len(), 84);
            assert_eq!(keys(1).verify_any(token.as_str(), NOW).unwrap().claims(), &said);
            let as_download = keys(1).verify(token.as_str(), Purpose::Download, NOW);
            assert_eq!(as_download.is_ok(), purpose == Purpose::Download);
            assert_eq!(named_file(token.as_str()), Some(said.file));
        }
        assert_ne!(commitment("secret"), commitment("secres"));
    }

    fn keys(secret: u8) -> LinkKeys {
        LinkKeys::new(LinkKey::new(&[secret; 32]), vec![])
    }

    const NOW: Timestamp = Timestamp::from_millis(1_799_999_000_000);

    #[test]
    fn a_link_says_what_was_signed_and_ends_with_its_last_second() {
        let token = keys(1).mint(&claims());
        let link = keys(1).verify(token.as_str(), Purpose::Download, NOW).unwrap();
        assert_eq!((link.claims(), link.id()), (&claims(), &token.id()));
        let last = claims().expires;
        assert!(keys(1).verify(token.as_str(), Purpose::Download, last).is_ok());
        let over = keys(1).verify(token.as_str(), Purpose::Download, last.plus(Duration::from_secs(1)));
        assert!(matches!(over, Err(LinkError::Expired(_))));
        assert_eq!(named_file(token.as_str()), Some(claims().file));
    }

    #[test]
    fn a109_links_of_the_previous_key_hold_until_it_is_retired() {
        let token = keys(1).mint(&claims());
        let rotated = LinkKeys::new(LinkKey::new(&[2; 32]), vec![LinkKey::new(&[1; 32])]);
        assert!(rotated.verify(token.as_str(), Purpose::Download, NOW).is_ok());
        assert_eq!(keys(2).verify(token.as_str(), Purpose::Download, NOW), Err(LinkError::Invalid));
    }

    #[test]
    fn a099_every_single_bit_flip_is_refused() {
        let token = keys(1).mint(&claims());
        let bytes = URL_SAFE_NO_PAD.decode(token.as_str()).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut altered = bytes.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            let text = URL_SAFE_NO_PAD.encode(&altered);
            assert_eq!(keys(1).verify(&text, Purpose::Download, NOW), Err(LinkError::Invalid), "bit {bit}");
        }
    }

    #[test]
    fn a099_parts_of_two_good_links_make_none() {
        let second =
            Claims { file: FileId::from_bytes([8; 16]), reader: ClientNumber(6), epoch: 4, nonce: 9, ..claims() };
        let [one, two] =
            [claims(), second].map(|claims| URL_SAFE_NO_PAD.decode(keys(1).mint(&claims).as_str()).unwrap());
        for from in 0..one.len() {
            for to in from + 1..=one.len() {
                let mut mixed = one.clone();
                mixed[from..to].copy_from_slice(&two[from..to]);
                if mixed == one || mixed == two {
                    continue;
                }
                let text = URL_SAFE_NO_PAD.encode(&mixed);
                assert_eq!(keys(1).verify(&text, Purpose::Download, NOW), Err(LinkError::Invalid), "{from}..{to}");
            }
        }
        // Of an unknown key and of a bad tag nobody learns which it was.
        assert_eq!(keys(3).verify(keys(1).mint(&claims()).as_str(), Purpose::Download, NOW), Err(LinkError::Invalid));
    }

    #[test]
    fn a100_tags_of_zeros_and_of_another_length_are_refused() {
        let token = URL_SAFE_NO_PAD.decode(keys(1).mint(&claims()).as_str()).unwrap();
        let body = token.get(..BODY).unwrap();
        for length in 0..=32 {
            for tag in [vec![0; length], vec![0xff; length]] {
                let text = URL_SAFE_NO_PAD.encode([body, &tag].concat());
                assert_eq!(keys(1).verify(&text, Purpose::Download, NOW), Err(LinkError::Invalid), "{length}");
            }
        }
    }

    #[test]
    fn a106_a_link_beyond_what_any_policy_gives_is_none_though_its_tag_is_right() {
        for (days, valid) in [(400, true), (401, false), (9_131, false)] {
            let expires = NOW.plus(Duration::from_secs(days * 86_400));
            let token = keys(1).mint(&Claims { expires, ..claims() });
            assert_eq!(keys(1).verify(token.as_str(), Purpose::Download, NOW).is_ok(), valid, "{days} days");
        }
    }

    #[test]
    fn a100_a_cut_tag_is_refused() {
        let token = keys(1).mint(&claims());
        for length in 0..token.as_str().len() {
            let cut = token.as_str().get(..length).unwrap();
            assert_eq!(keys(1).verify(cut, Purpose::Download, NOW), Err(LinkError::Invalid), "{length}");
        }
        assert_eq!(keys(1).verify(&format!("{}A", token.as_str()), Purpose::Download, NOW), Err(LinkError::Invalid));
    }

    proptest! {
        #[test]
        fn a105_no_two_claims_have_one_text(
            one in (any::<[u8; 16]>(), 1_799_999_000i64..1_800_000_000, any::<u32>(), any::<u32>(), any::<u64>()),
            two in (any::<[u8; 16]>(), 1_799_999_000i64..1_800_000_000, any::<u32>(), any::<u32>(), any::<u64>()),
        ) {
            let [one, two] = [one, two].map(|(file, seconds, epoch, reader, nonce)| Claims {
                file: FileId::from_bytes(file),
                expires: Timestamp::from_millis(seconds * 1_000),
                epoch,
                reader: ClientNumber(reader),
                nonce,
                ..claims()
            });
            let [first, second] = [&one, &two].map(|claims| keys(1).mint(claims));
            prop_assert_eq!(one == two, first.as_str() == second.as_str());
            let read = keys(1).verify(first.as_str(), Purpose::Download, NOW).unwrap();
            prop_assert_eq!(read.claims(), &one);
        }

        #[test]
        fn a104_a_text_that_is_accepted_is_the_one_spelling(text in "[A-Za-z0-9_-]{84}") {
            prop_assert_eq!(keys(1).verify(&text, Purpose::Download, NOW), Err(LinkError::Invalid));
            if let Some(bytes) = decode_text(&text) {
                prop_assert_eq!(URL_SAFE_NO_PAD.encode(bytes), text);
            }
        }

        #[test]
        fn two_thirds_are_left_and_the_end_moves_once_a_step(id in any::<[u8; 16]>(), lifetime in 30u64..86_400, at in 0i64..4_000_000_000) {
            let (file, span) = (FileId::from_bytes(id), Duration::from_secs(lifetime));
            let now = Timestamp::from_millis(at * 1000);
            let until = offered_until(file, span, now);
            let left = until.since(now).as_secs();
            prop_assert!(left <= lifetime && left * 3 >= lifetime * 2, "{left} of {lifetime}");
            let next = offered_until(file, span, now.plus(Duration::from_secs(1)));
            let step = lifetime / 3;
            prop_assert!(next == until || next == until.plus(Duration::from_secs(step)));
        }
    }

    #[test]
    fn a_recipient_is_told_apart_for_one_file_only() {
        let (one, two) = (FileId::from_bytes([1; 16]), FileId::from_bytes([2; 16]));
        assert_ne!(recipient_digest(one, "Practitioner/1"), recipient_digest(one, "Practitioner/2"));
        assert_ne!(recipient_digest(one, "Practitioner/1"), recipient_digest(two, "Practitioner/1"));
    }
}
