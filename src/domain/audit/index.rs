//! The look-up of entries by patient: blocks of pairs, a keyed tag of the patient's reference and the place of an entry. A block is made
//! from the entries that it covers, and an entry of its own says the block's digest, so that the tree vouches for it. Where a block is
//! missing or is not what its entry says, the entries themselves are read: a look-up can be slower, but it hides nothing.

use aws_lc_rs::hmac;

use super::cell::{CellKey, Cells, Group};
use super::detail::{Detail, Object};
use super::effect::revoked_at;
use super::groups::Groups;
use super::leaf::Leaf;
use super::tree::{Hash, sha256};
use super::{Action, Entry, Outcome};
use crate::domain::clock::Timestamp;

/// Entries that a block covers at most.
pub const BLOCK: u64 = 4_096;

/// Bytes of a pair: the tag, and the entry's distance from the block's first.
const PAIR: usize = 8;
const TAG: usize = 6;

/// What stands for a patient in a block. Six bytes: whoever looks one up checks what it finds against the entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag([u8; TAG]);

impl std::fmt::Debug for Tag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tag(hidden)")
    }
}

/// Makes tags: without it nobody can tell which patient one stands for, or whether a patient is in a block.
#[derive(Clone)]
pub struct IndexKey {
    cells: CellKey,
    tags: hmac::Key,
}

impl std::fmt::Debug for IndexKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IndexKey(hidden)")
    }
}

/// Whom an entry is about, as its own cells say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names {
    /// These patients, and whether it ends links of many patients without naming them.
    Said {
        /// References, each once, in order.
        patients: Vec<String>,
        /// A revocation of a client's links, or of all.
        wide: bool,
    },
    /// Erased, or not to be opened.
    Silent,
}

/// What a wide revocation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedLinks {
    /// Whose links: a client's, by its id, or all.
    pub client: Option<String>,
    /// When, by the clock that the links' ends go by; entries of early versions do not say.
    pub at: Option<Timestamp>,
}

impl IndexKey {
    /// The key of tags, from the log's cell key. `None` only if the cryptographic library fails.
    pub fn new(cells: &CellKey) -> Option<Self> {
        Some(Self { tags: cells.of_tags()?, cells: cells.clone() })
    }

    /// The tag of a patient's reference.
    pub fn patient(&self, reference: &str) -> Tag {
        self.tag(b"patient\0", reference)
    }

    /// The tag of revocations that name no patient and may end links of any.
    pub fn wide(&self) -> Tag {
        self.tag(b"wide\0", "")
    }

    fn tag(&self, kind: &[u8], text: &str) -> Tag {
        let mut context = hmac::Context::with_key(&self.tags);
        context.update(kind);
        context.update(text.as_bytes());
        Tag(context.sign().as_ref().first_chunk().copied().unwrap_or_default())
    }

    /// Whom an entry names. Cells that are not the entry's own say nothing; the check of the log tells of them.
    pub fn names(&self, body: &[u8], cells: &[u8]) -> Names {
        let (Ok(leaf), Some(cells)) = (Leaf::decode(body), Cells::decode(cells)) else { return Names::Silent };
        if cells.commitment(&self.cells) != Ok(leaf.commitment) {
            return Names::Silent;
        }
        match cells.open(Group::Subject, &self.cells) {
            Some(subject) => Names::Said { patients: patients(&subject), wide: is_wide(leaf.action, &subject) },
            None if cells.has_erased() => Names::Silent,
            None => Names::Said { patients: Vec::new(), wide: false },
        }
    }

    /// What links a wide revocation ended. `None`: it is no such entry, or does not say.
    pub fn ends_links_of(&self, cells: &[u8]) -> Option<EndedLinks> {
        let subject = Cells::decode(cells)?.open(Group::Subject, &self.cells)?;
        let client = match subject.get("registered") {
            Some(Detail::Text(client)) => Some(client.clone()),
            _ => subject.get("aim").map(|_| None)?,
        };
        Some(EndedLinks { client, at: revoked_at(&subject) })
    }

    /// The entry after the last that a block covers, as an entry says that vouches for a block; `None` for any other entry.
    pub fn made_until(&self, body: &[u8], cells: &[u8]) -> Option<u64> {
        if Leaf::decode(body).ok()?.action != Action::AuditIndex {
            return None;
        }
        match Cells::decode(cells)?.open(Group::Subject, &self.cells)?.get("after") {
            Some(Detail::Whole(after)) => u64::try_from(after.get()).ok(),
            _ => None,
        }
    }

    /// The tags under which an entry is found.
    pub fn tags(&self, names: &Names) -> Vec<Tag> {
        let Names::Said { patients, wide } = names else { return Vec::new() };
        patients.iter().map(|patient| self.patient(patient)).chain(wide.then(|| self.wide())).collect()
    }
}

fn patients(subject: &Object) -> Vec<String> {
    let all = match subject.get("patients") {
        Some(Detail::List(all)) => all.iter(),
        _ => [].iter(),
    };
    let text = |detail: &Detail| match detail {
        Detail::Text(text) => Some(text.clone()),
        _ => None,
    };
    let mut named: Vec<String> = subject.get("patient").into_iter().chain(all).filter_map(text).collect();
    named.sort_unstable();
    named.dedup();
    named
}

fn is_wide(action: Action, subject: &Object) -> bool {
    action == Action::LinkRevoke && (subject.get("aim").is_some() || subject.get("registered").is_some())
}

/// The pairs of consecutive entries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The first entry that it covers.
    pub first: u64,
    /// The one after the last.
    pub after: u64,
    /// The pairs, in the order of entries.
    pub pairs: Vec<u8>,
}

impl Block {
    /// A block that covers nothing yet and begins with this entry.
    pub fn begin(first: u64) -> Self {
        Self { first, after: first, pairs: Vec::new() }
    }

    /// Adds the next entry; `false` where it is not the next, or the block is full.
    pub fn add(&mut self, seq: u64, tags: &[Tag]) -> bool {
        let place = seq.checked_sub(self.first).and_then(|place| u16::try_from(place).ok());
        let Some(place) = place.filter(|_| seq == self.after && seq - self.first < BLOCK) else { return false };
        for Tag(tag) in tags {
            self.pairs.extend_from_slice(tag);
            self.pairs.extend_from_slice(&place.to_be_bytes());
        }
        self.after = seq.saturating_add(1);
        true
    }

    /// Entries under a tag, in order.
    pub fn found(&self, tag: Tag) -> impl Iterator<Item = u64> + '_ {
        self.entries().filter(move |(_, stands)| *stands == tag).map(|(seq, _)| seq)
    }

    /// The pairs, an entry and a tag each.
    pub fn entries(&self) -> impl Iterator<Item = (u64, Tag)> + '_ {
        let (pairs, _) = self.pairs.as_chunks::<PAIR>();
        pairs.iter().map(|pair| {
            let [a, b, c, d, e, f, high, low] = *pair;
            (self.first.saturating_add(u64::from(u16::from_be_bytes([high, low]))), Tag([a, b, c, d, e, f]))
        })
    }

    /// Whether nothing but whole pairs is in it.
    pub fn is_whole(&self) -> bool {
        self.pairs.len().is_multiple_of(PAIR)
    }

    /// What its entry says: SHA-256("daylily-audit/index/v1" 0x00 | first | after | pairs), numbers as 8 bytes big-endian.
    pub fn digest(&self) -> Hash {
        sha256(&[b"daylily-audit/index/v1\0", &self.first.to_be_bytes(), &self.after.to_be_bytes(), &self.pairs])
    }

    /// The entry that vouches for it, and says the roots of the groups that end in it.
    pub fn entry(&self, groups: &Groups) -> Entry {
        let entry = Entry::new(Action::AuditIndex, Outcome::Ok).server();
        let entry = entry.with("first", self.first).with("after", self.after);
        groups.said_by(entry.with("digest", hex::encode(self.digest())))
    }

    /// Whether an entry of the log vouches for it.
    pub fn is_vouched(&self, body: &[u8], cells: &[u8], key: &CellKey) -> bool {
        let (Ok(leaf), Some(cells)) = (Leaf::decode(body), Cells::decode(cells)) else { return false };
        let own = leaf.action == Action::AuditIndex && cells.commitment(key) == Ok(leaf.commitment);
        let Some(subject) = cells.open(Group::Subject, key).filter(|_| own) else { return false };
        let digest = Detail::Text(hex::encode(self.digest()));
        let said = |name: &str, value: Detail| subject.get(name) == Some(&value);
        said("first", self.first.into()) && said("after", self.after.into()) && said("digest", digest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(byte: u8) -> IndexKey {
        IndexKey::new(&CellKey::new(&[byte; 32])).unwrap()
    }

    #[test]
    fn tags_are_of_their_key_their_patient_and_their_kind() {
        let (one, other) = (key(1), key(2));
        assert_eq!(one.patient("Patient/1"), key(1).patient("Patient/1"));
        assert_ne!(one.patient("Patient/1"), one.patient("Patient/2"));
        assert_ne!(one.patient("Patient/1"), other.patient("Patient/1"));
        assert_ne!(one.patient(""), one.wide());
        assert_eq!(format!("{:?}", one.wide()), "Tag(hidden)");
    }

    proptest! {
        #[test]
        fn every_entry_is_found_under_its_tags_and_no_other(
            first in 0_u64..1 << 40, named in proptest::collection::vec(proptest::collection::vec(0_u8..5, 0..3), 0..60),
        ) {
            let key = key(1);
            let tag = |patient: u8| key.patient(&format!("Patient/{patient}"));
            let mut block = Block::begin(first);
            for (place, patients) in (first..).zip(&named) {
                let tags: Vec<Tag> = patients.iter().map(|patient| tag(*patient)).collect();
                prop_assert!(block.add(place, &tags));
            }
            prop_assert!(!block.add(block.after + 1, &[]) && !block.add(first.wrapping_sub(1), &[]));
            for patient in 0..6 {
                let expected: Vec<u64> =
                    (first..).zip(&named).filter(|(_, named)| named.contains(&patient)).map(|(seq, _)| seq).collect();
                let mut found: Vec<u64> = block.found(tag(patient)).collect();
                found.dedup();
                prop_assert_eq!(found, expected);
            }
            let mut other = block.clone();
            other.after += 1;
            prop_assert_ne!(other.digest(), block.digest());
        }
    }
}
