//! The Merkle tree of RFC 6962 §2.1 and what appending to it needs to remember. Knows hashes only, not what was hashed.

use aws_lc_rs::digest::{Context, Digest, SHA256, digest};

/// A SHA-256 value.
pub type Hash = [u8; 32];

/// Bodies up to here are hashed without touching the heap; every `DAL1` body is shorter.
const SHORT_BODY: usize = 255;

pub(super) fn array_of(digest: &Digest) -> Hash {
    // SHA-256 always has 32 bytes; a zero hash would fit nothing.
    digest.as_ref().first_chunk().copied().unwrap_or_default()
}

/// SHA-256 of the parts one after the other.
pub(super) fn sha256(parts: &[&[u8]]) -> Hash {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    array_of(&context.finish())
}

/// Root of the empty tree: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    array_of(&digest(&SHA256, b""))
}

/// Hash of a leaf: SHA-256(0x00 | body).
pub fn leaf_hash(body: &[u8]) -> Hash {
    let mut short = [0u8; SHORT_BODY + 1];
    match short.get_mut(1..=body.len()) {
        Some(place) => {
            place.copy_from_slice(body);
            array_of(&digest(&SHA256, short.get(..=body.len()).unwrap_or_default()))
        }
        None => sha256(&[&[0], body]),
    }
}

/// Hash of a node: SHA-256(0x01 | left | right).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [1u8; 65];
    let (_, both) = bytes.split_at_mut(1);
    let (first, second) = both.split_at_mut(32);
    first.copy_from_slice(left);
    second.copy_from_slice(right);
    array_of(&digest(&SHA256, &bytes))
}

/// What is kept of a tree to append to it and to know its root: the roots of the perfect subtrees of which its size is the sum,
/// largest first, at most 64 hashes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Frontier {
    size: u64,
    roots: Vec<Hash>,
}

impl Frontier {
    /// Of the empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Of consecutive subtrees, by their roots, of so many leaves each, which must be a power of two.
    pub fn of_subtrees(roots: &[Hash], leaves: u64) -> Self {
        let tree: Self = roots.iter().copied().collect();
        Self { size: tree.size.saturating_mul(leaves), roots: tree.roots }
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Roots of the perfect subtrees, largest first.
    pub fn roots(&self) -> &[Hash] {
        &self.roots
    }

    /// Takes the next leaf.
    pub fn append(&mut self, leaf: Hash) {
        let mut right = leaf;
        for _ in 0..self.size.trailing_ones() {
            let Some(left) = self.roots.pop() else { break };
            right = node_hash(&left, &right);
        }
        self.roots.push(right);
        self.size = self.size.saturating_add(1);
    }

    /// Root of the tree.
    pub fn root(&self) -> Hash {
        let mut from_right = self.roots.iter().rev();
        let Some(last) = from_right.next() else { return empty_root() };
        from_right.fold(*last, |right, left| node_hash(left, &right))
    }

    /// Bytes to store: size as 8 bytes big-endian, then the roots.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + 32 * self.roots.len());
        bytes.extend_from_slice(&self.size.to_be_bytes());
        self.roots.iter().for_each(|root| bytes.extend_from_slice(root));
        bytes
    }

    /// Reads what [`Self::encode`] wrote; `None` when the length does not fit the size.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (size, rest) = bytes.split_first_chunk::<8>()?;
        let size = u64::from_be_bytes(*size);
        let (roots, tail) = rest.as_chunks::<32>();
        let expected = usize::try_from(size.count_ones()).ok()?;
        (tail.is_empty() && roots.len() == expected).then(|| Self { size, roots: roots.to_vec() })
    }
}

impl Extend<Hash> for Frontier {
    fn extend<I: IntoIterator<Item = Hash>>(&mut self, leaves: I) {
        leaves.into_iter().for_each(|leaf| self.append(leaf));
    }
}

impl FromIterator<Hash> for Frontier {
    fn from_iter<I: IntoIterator<Item = Hash>>(leaves: I) -> Self {
        let mut frontier = Self::new();
        frontier.extend(leaves);
        frontier
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 6962 §2.1 word for word.
    fn recursive_root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node_hash(&recursive_root(left), &recursive_root(right))
            }
        }
    }

    #[test]
    fn the_frontier_has_the_root_of_the_definition_at_every_size() {
        let leaves: Vec<Hash> = (0u32..200).map(|n| leaf_hash(&n.to_be_bytes())).collect();
        let mut frontier = Frontier::new();
        for (size, leaf) in leaves.iter().enumerate() {
            assert_eq!(frontier.root(), recursive_root(&leaves[..size]));
            assert_eq!(Frontier::decode(&frontier.encode()).as_ref(), Some(&frontier));
            frontier.append(*leaf);
        }
    }

    #[test]
    fn bodies_of_any_length_are_hashed_alike() {
        for length in [0, 1, 254, 255, 256, 257, 5000] {
            let body = vec![7u8; length];
            assert_eq!(leaf_hash(&body), sha256(&[&[0], &body]), "{length}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_no_frontier_or_written_the_same(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(frontier) = Frontier::decode(&bytes) {
                prop_assert_eq!(frontier.encode(), bytes);
            }
        }
    }
}
