//! The leaf `DAL1`: an entry's bytes in the tree. One spelling only, so that equal hashes mean equal entries; no word of a
//! person in it, so that it may stay for ever.

use super::action::{Action, Outcome};
use super::cell::{CellKey, Group, MAX_DATA, PlainCell, commit, commit_all, seal_all};
use super::entry::Entry;
use super::tree::{Hash, leaf_hash};
use crate::domain::clock::Entropy;

/// Longest tenant id in bytes.
const MAX_TENANT: usize = 64;

const TAG: &[u8; 4] = b"DAL1";

/// What stands in the tree: `DAL1` | sequence number | time | lp(tenant) | lp(action) | lp(outcome) | commitment, where
/// numbers are 8 bytes big-endian and lp(x) is the length as 4 bytes big-endian and then x.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf<'a> {
    /// Place in the log: 0, 1, 2, … without gaps.
    pub seq: u64,
    /// Microseconds since 1970-01-01T00:00:00Z, never before the entry before.
    pub time_micros: u64,
    /// Opaque short id of the tenant, 1 to 64 of `[A-Za-z0-9._-]`.
    pub tenant: &'a str,
    /// What was done.
    pub action: Action,
    /// How it ended.
    pub outcome: Outcome,
    /// Commitment to the cells.
    pub commitment: Hash,
}

/// Why bytes are no leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    /// Not `DAL1`.
    #[error("not of a format that is known here")]
    Tag,
    /// They end too early, or a length points beyond the end.
    #[error("cut short")]
    Short,
    /// The tenant is not an id.
    #[error("the tenant is not an id")]
    Tenant,
    /// The action is not of the closed list.
    #[error("the action is not known here")]
    Action,
    /// The outcome is not of the closed list.
    #[error("the outcome is not known here")]
    Outcome,
    /// Bytes follow the commitment.
    #[error("bytes follow the end")]
    Trailing,
}

/// Whether a text may stand as the tenant of a leaf.
pub fn is_tenant(text: &str) -> bool {
    (1..=MAX_TENANT).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

impl<'a> Leaf<'a> {
    /// The body.
    pub fn encode(&self) -> Vec<u8> {
        let texts = [self.tenant, self.action.code(), self.outcome.code()];
        let mut body = Vec::with_capacity(64 + texts.iter().map(|text| text.len()).sum::<usize>());
        body.extend_from_slice(TAG);
        body.extend_from_slice(&self.seq.to_be_bytes());
        body.extend_from_slice(&self.time_micros.to_be_bytes());
        for text in texts {
            body.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
            body.extend_from_slice(text.as_bytes());
        }
        body.extend_from_slice(&self.commitment);
        body
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`LeafError`] for anything that [`Self::encode`] would not write.
    pub fn decode(body: &'a [u8]) -> Result<Self, LeafError> {
        let rest = body.strip_prefix(TAG).ok_or(LeafError::Tag)?;
        let (seq, rest) = rest.split_first_chunk::<8>().ok_or(LeafError::Short)?;
        let (time, rest) = rest.split_first_chunk::<8>().ok_or(LeafError::Short)?;
        let (tenant, rest) = take_text(rest, LeafError::Tenant)?;
        let (action, rest) = take_text(rest, LeafError::Action)?;
        let (outcome, rest) = take_text(rest, LeafError::Outcome)?;
        let (commitment, rest) = rest.split_first_chunk::<32>().ok_or(LeafError::Short)?;
        if !rest.is_empty() {
            return Err(LeafError::Trailing);
        }
        Ok(Self {
            seq: u64::from_be_bytes(*seq),
            time_micros: u64::from_be_bytes(*time),
            tenant: Some(tenant).filter(|text| is_tenant(text)).ok_or(LeafError::Tenant)?,
            action: Action::from_code(action).ok_or(LeafError::Action)?,
            outcome: Outcome::from_code(outcome).ok_or(LeafError::Outcome)?,
            commitment: *commitment,
        })
    }

    /// Hash of the body in the tree.
    pub fn hash(&self) -> Hash {
        leaf_hash(&self.encode())
    }
}

fn take_text(bytes: &[u8], wrong: LeafError) -> Result<(&str, &[u8]), LeafError> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(LeafError::Short)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| LeafError::Short)?;
    let (text, rest) = rest.split_at_checked(length).ok_or(LeafError::Short)?;
    Ok((std::str::from_utf8(text).map_err(|_| wrong)?, rest))
}

/// A group of the entry has more than 1 MiB: nothing may happen that cannot be recorded, so the caller refuses
/// (`audit-unavailable`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the entry says more than a log entry holds")]
pub struct TooLarge;

/// An entry that only lacks its place and time: salts drawn, groups written, commitment made. Preparing is done where the entry
/// arises, in parallel; appending then costs two hashes.
pub struct Prepared {
    action: Action,
    outcome: Outcome,
    commitment: Hash,
    cells: Vec<PlainCell>,
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Prepared({} {})", self.action, self.outcome)
    }
}

impl Prepared {
    /// Draws salts and commits.
    ///
    /// # Errors
    /// [`TooLarge`].
    pub fn new(entry: &Entry, entropy: &dyn Entropy) -> Result<Self, TooLarge> {
        let mut salts = [0u8; 32 * Group::ALL.len()];
        entropy.fill(&mut salts);
        let (salts, _) = salts.as_chunks::<32>();
        let mut cells = Vec::with_capacity(Group::ALL.len());
        for ((group, object), salt) in entry.groups().zip(salts) {
            let data = object.to_canonical();
            if data.len() > MAX_DATA {
                return Err(TooLarge);
            }
            cells.push(PlainCell { group, salt: *salt, data });
        }
        Ok(Self::of_cells(entry.action(), entry.outcome(), cells))
    }

    pub(super) fn of_cells(action: Action, outcome: Outcome, cells: Vec<PlainCell>) -> Self {
        let mut groups = [(Group::Actor, Hash::default()); Group::ALL.len()];
        for (place, cell) in groups.iter_mut().zip(&cells) {
            *place = (cell.group, commit(cell.group, &cell.salt, &cell.data));
        }
        let commitment = commit_all(groups.get(..cells.len()).unwrap_or_default());
        Self { action, outcome, commitment, cells }
    }

    /// The cells as they are stored beside the leaf; see [`super::cell::Cells`]. `None` only if the cryptographic library fails.
    pub fn seal(&self, key: &CellKey) -> Option<Vec<u8>> {
        seal_all(&self.cells, key)
    }

    /// The leaf at its place. `time_micros` is the later of now and the entry before.
    pub fn leaf<'a>(&self, seq: u64, time_micros: u64, tenant: &'a str) -> Leaf<'a> {
        let (action, outcome, commitment) = (self.action, self.outcome, self.commitment);
        Leaf { seq, time_micros, tenant, action, outcome, commitment }
    }

    /// The commitment to all groups.
    pub fn commitment(&self) -> &Hash {
        &self.commitment
    }

    /// What was done.
    pub fn action(&self) -> Action {
        self.action
    }

    /// How it ended.
    pub fn outcome(&self) -> Outcome {
        self.outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn leaf() -> Leaf<'static> {
        let (action, outcome) = (Action::DocumentRead, Outcome::Denied);
        Leaf { seq: 7, time_micros: 1_767_225_600_000_000, tenant: "t1", action, outcome, commitment: [5; 32] }
    }

    #[test]
    fn a_body_that_is_not_exactly_one_leaf_is_refused() {
        let body = leaf().encode();
        assert_eq!(Leaf::decode(&body), Ok(leaf()));
        let replaced = |from: &str, to: &str| {
            let at = body.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
            [&body[..at], to.as_bytes(), &body[at + from.len()..]].concat()
        };
        assert_eq!(Leaf::decode(&[body.clone(), vec![0]].concat()), Err(LeafError::Trailing));
        assert_eq!(Leaf::decode(&replaced("DAL1", "DAL2")), Err(LeafError::Tag));
        assert_eq!(Leaf::decode(&replaced("document.read", "document.Read")), Err(LeafError::Action));
        assert_eq!(Leaf::decode(&replaced("denied", "DENIED")), Err(LeafError::Outcome));
        assert_eq!(Leaf::decode(&replaced("t1", "t/")), Err(LeafError::Tenant));
        assert_eq!(Leaf::decode(&replaced("\0\0\0\u{2}t1", "\0\0\0\0")), Err(LeafError::Tenant));
        assert_eq!(Leaf::decode(&replaced("\0\0\0\u{2}t1", "\u{7f}\0\0\u{2}t1")), Err(LeafError::Short));
        assert!((0..body.len()).all(|end| Leaf::decode(&body[..end]).is_err()), "every cut");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_leaf_or_written_the_same(
            tail in proptest::collection::vec(any::<u8>(), 0..90), at in 0usize..100, value in any::<u8>(),
        ) {
            let _ = Leaf::decode(&tail);
            let mut near = leaf().encode();
            let at = at % near.len();
            near[at] = value;
            if let Ok(leaf) = Leaf::decode(&near) {
                prop_assert_eq!(leaf.encode(), near);
            }
        }
    }
}
