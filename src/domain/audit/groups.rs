//! Roots of the small subtrees of the log's tree, a group of consecutive leaves each. The entry of each block says those of its entries, so
//! that one entry of a long log is shown to be part of a signed tree without a look at every other.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::cell::{CellKey, Cells, Group};
use super::detail::Detail;
use super::entry::Entry;
use super::tree::{Frontier, Hash};

/// Leaves of a group. A power of two, so that groups are subtrees.
pub const LEAVES: u64 = 64;
const GROUP: usize = 64;

/// Consecutive whole groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Groups {
    /// Number of the first group: its first leaf by [`LEAVES`].
    pub first: u64,
    /// Their roots.
    pub roots: Vec<Hash>,
}

impl Groups {
    /// The first leaf of the group that this leaf belongs to.
    pub fn begin(leaf: u64) -> u64 {
        leaf - leaf % LEAVES
    }

    /// The whole groups of consecutive leaves, of which the first begins a group.
    pub fn of(first: u64, leaves: &[Hash]) -> Self {
        let (groups, _) = leaves.as_chunks::<GROUP>();
        let roots = groups.iter().map(|leaves| leaves.iter().copied().collect::<Frontier>().root()).collect();
        Self { first: first / LEAVES, roots }
    }

    /// The entry, saying them.
    pub fn said_by(&self, entry: Entry) -> Entry {
        entry.with("group", self.first).with("roots", STANDARD.encode(self.roots.as_flattened()))
    }

    /// What an entry says of them; `None` where it says nothing.
    pub fn read(cells: &[u8], key: &CellKey) -> Option<Self> {
        let subject = Cells::decode(cells)?.open(Group::Subject, key)?;
        let (Some(Detail::Whole(first)), Some(Detail::Text(roots))) = (subject.get("group"), subject.get("roots"))
        else {
            return None;
        };
        let roots = STANDARD.decode(roots).ok()?;
        let (roots, rest) = roots.as_chunks::<32>();
        rest.is_empty().then_some(())?;
        Some(Self { first: u64::try_from(first.get()).ok()?, roots: roots.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::super::proof::root_at;
    use super::super::tree::leaf_hash;
    use super::*;

    #[test]
    fn a_tree_of_groups_has_the_root_of_its_leaves() {
        let leaf = |at: u64| leaf_hash(&at.to_be_bytes());
        for size in [0, 1, 63, 64, 65, 128, 200, 1_000] {
            let leaves: Vec<Hash> = (0..size).map(leaf).collect();
            let groups = Groups::of(0, &leaves);
            let rest = leaves.iter().skip(groups.roots.len() * GROUP).copied();
            let mut tree = Frontier::of_subtrees(&groups.roots, LEAVES);
            tree.extend(rest);
            assert_eq!((tree.size(), Some(tree.root())), (size, root_at(size, |at| Some(leaf(at)))), "{size}");
        }
        assert_eq!((Groups::begin(0), Groups::begin(63), Groups::begin(130)), (0, 0, 128));
        let later: Vec<Hash> = (64..192).map(leaf).collect();
        let all: Vec<Hash> = (0..192).map(leaf).collect();
        assert_eq!(Groups::of(64, &later).roots, Groups::of(0, &all).roots[1..]);
    }
}
