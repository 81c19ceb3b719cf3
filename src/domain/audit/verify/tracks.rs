//! The tree recomputed twice: over the hashes as stored and over the hashes of the texts as stored. As long as both agree only
//! one is carried. Where they differ, whatever is signed says which of the two was touched.

use crate::domain::audit::tree::{Frontier, Hash};

/// Which of the two a root fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// Both: nothing differs.
    Both,
    /// The hashes as stored: texts were changed.
    Stored,
    /// The texts: stored hashes were changed.
    Computed,
    /// None.
    Neither,
}

#[derive(Debug, Default)]
pub(super) struct Tracks {
    stored: Frontier,
    computed: Option<Frontier>,
}

impl Tracks {
    /// Both agree up to the end of this tree.
    pub(super) fn after(tree: &Frontier) -> Self {
        Self { stored: tree.clone(), computed: None }
    }

    pub(super) fn append(&mut self, stored: Hash, computed: Hash) {
        if stored != computed && self.computed.is_none() {
            self.computed = Some(self.stored.clone());
        }
        if let Some(track) = &mut self.computed {
            track.append(computed);
        }
        self.stored.append(stored);
    }

    /// Something trustworthy fits one of the two: from here on that one is the truth for both.
    pub(super) fn settle(&mut self, fit: Fit) {
        match (fit, self.computed.take()) {
            (Fit::Computed, Some(computed)) => self.stored = computed,
            (Fit::Neither, kept) => self.computed = kept,
            _ => {}
        }
    }

    pub(super) fn root(&self) -> Hash {
        self.stored.root()
    }

    pub(super) fn fit_root(&self, root: &Hash) -> Fit {
        let computed = self.computed.as_ref().map(|track| track.root() == *root);
        Self::fit(self.stored.root() == *root, computed)
    }

    pub(super) fn fit_frontier(&self, frontier: &Frontier) -> Fit {
        Self::fit(self.stored == *frontier, self.computed.as_ref().map(|track| track == frontier))
    }

    fn fit(stored: bool, computed: Option<bool>) -> Fit {
        match (stored, computed) {
            (true, None) => Fit::Both,
            (true, Some(_)) => Fit::Stored,
            (false, Some(true)) => Fit::Computed,
            (false, _) => Fit::Neither,
        }
    }
}
