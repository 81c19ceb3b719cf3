//! Proofs that an entry is in a log (RFC 9162 §2.1.3) and that a log only grew (§2.1.4): making them from leaf hashes, and
//! checking them with nothing but two roots.

use super::tree::{Frontier, Hash, node_hash};

/// More than any proof can have: one hash a level, and trees have at most 64 levels.
pub const MAX_PROOF: usize = 64;

/// Root of the leaves `from..to`; `None` when one of them is not there.
fn root_of(from: u64, to: u64, leaf: &mut impl FnMut(u64) -> Option<Hash>) -> Option<Hash> {
    let mut frontier = Frontier::new();
    for at in from..to {
        frontier.append(leaf(at)?);
    }
    Some(frontier.root())
}

/// Root of the first `size` leaves; `None` when one of them is not there.
pub fn root_at(size: u64, mut leaf: impl FnMut(u64) -> Option<Hash>) -> Option<Hash> {
    root_of(0, size, &mut leaf)
}

/// Largest power of two below `size`, which is at least 2.
fn split(size: u64) -> u64 {
    1 << (63 - (size - 1).leading_zeros())
}

/// The path from leaf `index` to the root of the first `size` leaves, lowest first. `None` when there is no such leaf, or
/// `leaf` does not know one below `size`.
pub fn inclusion(index: u64, size: u64, mut leaf: impl FnMut(u64) -> Option<Hash>) -> Option<Vec<Hash>> {
    if index >= size {
        return None;
    }
    let (mut from, mut to, mut path) = (0, size, Vec::new());
    while to - from > 1 {
        let middle = from + split(to - from);
        if index < middle {
            path.push(root_of(middle, to, &mut leaf)?);
            to = middle;
        } else {
            path.push(root_of(from, middle, &mut leaf)?);
            from = middle;
        }
    }
    path.reverse();
    Some(path)
}

/// The proof that the tree of the first `new` leaves begins with the tree of the first `old`. `None` when `old` is 0 or larger
/// than `new`, or `leaf` does not know one below `new`.
pub fn consistency(old: u64, new: u64, mut leaf: impl FnMut(u64) -> Option<Hash>) -> Option<Vec<Hash>> {
    if old == 0 || old > new {
        return None;
    }
    let (mut from, mut to, mut path) = (0, new, Vec::new());
    while old != to {
        let middle = from + split(to - from);
        if old <= middle {
            path.push(root_of(middle, to, &mut leaf)?);
            to = middle;
        } else {
            path.push(root_of(from, middle, &mut leaf)?);
            from = middle;
        }
    }
    if from > 0 {
        path.push(root_of(from, to, &mut leaf)?);
    }
    path.reverse();
    Some(path)
}

/// Whether `path` leads from `leaf` at `index` to `root` of a tree of `size` leaves (RFC 9162 §2.1.3.2).
pub fn includes(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    if index >= size || path.len() > MAX_PROOF {
        return false;
    }
    let (mut node, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    last == 0 && hash == *root
}

/// Whether `proof` shows that the tree of `new` leaves with `new_root` begins with the tree of `old` leaves with `old_root`
/// (RFC 9162 §2.1.4.2). An empty old tree begins every tree.
pub fn is_consistent(old: u64, new: u64, old_root: &Hash, new_root: &Hash, proof: &[Hash]) -> bool {
    if old == new {
        return old_root == new_root && proof.is_empty();
    }
    if old > new || proof.len() > MAX_PROOF {
        return false;
    }
    if old == 0 {
        return proof.is_empty() && *old_root == super::tree::empty_root();
    }
    let (first, rest) = match (old.is_power_of_two(), proof.split_first()) {
        (true, _) => (old_root, proof),
        (false, Some((first, rest))) => (first, rest),
        (false, None) => return false,
    };
    if rest.is_empty() {
        return false;
    }
    let (mut node, mut last) = (old - 1, new - 1);
    while node & 1 == 1 {
        (node, last) = (node >> 1, last >> 1);
    }
    let (mut of_old, mut of_new) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            (of_old, of_new) = (node_hash(sibling, &of_old), node_hash(sibling, &of_new));
            while node & 1 == 0 && node != 0 {
                (node, last) = (node >> 1, last >> 1);
            }
        } else {
            of_new = node_hash(&of_new, sibling);
        }
        (node, last) = (node >> 1, last >> 1);
    }
    last == 0 && of_old == *old_root && of_new == *new_root
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::tree::leaf_hash;
    use proptest::prelude::*;

    fn leaf(at: u64) -> Option<Hash> {
        (at < 64).then(|| leaf_hash(format!("daylily-{at}").as_bytes()))
    }

    fn flipped(hashes: &[Hash]) -> impl Iterator<Item = Vec<Hash>> + '_ {
        (0..hashes.len() * 256).map(|bit| {
            let mut changed = hashes.to_vec();
            changed[bit / 256][bit % 256 / 8] ^= 1 << (bit % 8);
            changed
        })
    }

    #[test]
    fn every_inclusion_up_to_forty_holds_and_for_nothing_else() {
        for size in 1..=40 {
            let root = root_at(size, leaf).unwrap();
            for index in 0..size {
                let path = inclusion(index, size, leaf).unwrap();
                let hash = leaf(index).unwrap();
                assert!(includes(&hash, index, size, &path, &root), "{index} in {size}");
                assert!(!includes(&leaf(index + 1).unwrap(), index, size, &path, &root), "another leaf");
                assert!(index == 0 || !includes(&hash, index - 1, size, &path, &root), "another place");
                assert!(path.is_empty() || !includes(&hash, index, size, &path[1..], &root), "a hash short");
                let longer: Vec<Hash> = path.iter().copied().chain([hash]).collect();
                assert!(!includes(&hash, index, size, &longer, &root), "a hash too many");
            }
        }
    }

    #[test]
    fn every_consistency_up_to_forty_holds_and_for_nothing_else() {
        for new in 1..=40 {
            let new_root = root_at(new, leaf).unwrap();
            for old in 1..=new {
                let old_root = root_at(old, leaf).unwrap();
                let proof = consistency(old, new, leaf).unwrap();
                assert!(is_consistent(old, new, &old_root, &new_root, &proof), "{old} to {new}");
                assert!(!is_consistent(old, new, &leaf(63).unwrap(), &new_root, &proof), "another old root");
                assert!(!is_consistent(old, new, &old_root, &leaf(63).unwrap(), &proof), "another new root");
                assert!(!is_consistent(new + 1, new, &old_root, &new_root, &proof), "shrunk");
            }
        }
    }

    #[test]
    fn every_single_bit_flip_of_a_proof_fails() {
        let (root, hash) = (root_at(13, leaf).unwrap(), leaf(5).unwrap());
        let path = inclusion(5, 13, leaf).unwrap();
        assert!(flipped(&path).all(|path| !includes(&hash, 5, 13, &path, &root)));
        assert!(flipped(&[hash]).all(|leaf| !includes(&leaf[0], 5, 13, &path, &root)));
        let (old_root, proof) = (root_at(6, leaf).unwrap(), consistency(6, 13, leaf).unwrap());
        assert!(flipped(&proof).all(|proof| !is_consistent(6, 13, &old_root, &root, &proof)));
    }

    #[test]
    fn what_is_not_there_has_no_proof() {
        assert_eq!(inclusion(3, 3, leaf), None);
        assert_eq!(inclusion(0, 65, leaf), None, "leaf 64 is unknown");
        assert_eq!(consistency(0, 3, leaf), None);
        assert_eq!(consistency(4, 3, leaf), None);
    }

    proptest! {
        #[test]
        fn arbitrary_sizes_do_not_panic(
            (old, new) in any::<(u64, u64)>(),
            proof in proptest::collection::vec(any::<[u8; 32]>(), 0..70),
        ) {
            prop_assert!(!includes(&[1; 32], old, new, &proof, &[2; 32]));
            prop_assert!(!is_consistent(old, new, &[1; 32], &[2; 32], &proof));
        }
    }
}
