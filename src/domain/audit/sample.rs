//! A log in memory, made by the real encoder, for tests.

use std::sync::atomic::{AtomicU64, Ordering};

use super::verify::{Report, Row, StoredCheckpoint, Trust, Verifier};
use super::*;
use crate::domain::clock::Entropy;
use crate::domain::id::{ClientId, ResourceId};

/// Random bytes that are the same every time.
#[derive(Debug, Default)]
pub(super) struct Counted(AtomicU64);

impl Entropy for Counted {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let hash = tree::leaf_hash(&self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes());
            chunk.copy_from_slice(&hash[..chunk.len()]);
        }
    }
}

pub(super) const ORIGIN: &str = "daylily.example/audit/1";

/// 2026-01-01T00:00:00Z.
pub(super) const START: u64 = 1_767_225_600_000_000;

#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) seq: i64,
    pub(super) body: Vec<u8>,
    pub(super) hash: Vec<u8>,
    pub(super) cells: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) size: i64,
    pub(super) root: Vec<u8>,
    pub(super) note: Vec<u8>,
}

/// Everything that is stored of a log.
#[derive(Debug, Clone, Default)]
pub(super) struct Log {
    pub(super) rows: Vec<Stored>,
    pub(super) checkpoints: Vec<Kept>,
    pub(super) frontier: Vec<u8>,
    pub(super) tree: Frontier,
}

pub(super) fn signing_key(seed: u8) -> SigningKey {
    SigningKey::from_seed(ORIGIN, &[seed; 32]).unwrap()
}

pub(super) fn cell_key() -> CellKey {
    CellKey::new(&[42; 32])
}

pub(super) fn trust() -> Trust {
    let keys = vec![signing_key(1).verifying_key().clone()];
    Trust { origin: ORIGIN.to_owned(), keys, cell_key: Some(cell_key()) }
}

pub(super) fn reading(seq: u64) -> Entry {
    Entry::new(Action::DocumentRead, Outcome::Ok)
        .client(&ClientId::parse("ward-viewer").unwrap())
        .document(&ResourceId::parse(&format!("d{seq}")).unwrap(), 1)
        .patient("Patient/42")
}

impl Log {
    /// `count` readings, one a second, with a checkpoint after every `every`.
    pub(super) fn of(count: u64, every: u64) -> Self {
        let (mut log, entropy) = (Self::default(), Counted::default());
        for seq in 0..count {
            log.append(&reading(seq), &entropy);
            if (seq + 1).is_multiple_of(every) {
                log.checkpoint(&[&signing_key(1)]);
            }
        }
        log
    }

    pub(super) fn append(&mut self, entry: &Entry, entropy: &dyn Entropy) {
        let seq = self.tree.size();
        let prepared = Prepared::new(entry, entropy).unwrap();
        let leaf = prepared.leaf(seq, START + seq * 1_000_000, "t1");
        let (body, cells) = (leaf.encode(), prepared.seal(&cell_key()).unwrap());
        self.rows.push(Stored { seq: i64::try_from(seq).unwrap(), body, hash: leaf.hash().to_vec(), cells });
        self.tree.append(leaf.hash());
        self.frontier = self.tree.encode();
    }

    pub(super) fn checkpoint(&mut self, keys: &[&SigningKey]) {
        let checkpoint = Checkpoint::of(ORIGIN, &self.tree);
        let note = checkpoint.sign(keys).into_bytes();
        let size = i64::try_from(checkpoint.size).unwrap();
        self.checkpoints.push(Kept { size, root: checkpoint.root.to_vec(), note });
    }

    /// Rows changed so that nothing but what is signed can tell: hash and tree made to fit.
    pub(super) fn rebuild(&mut self) {
        self.tree = Frontier::new();
        for row in &mut self.rows {
            row.hash = tree::leaf_hash(&row.body).to_vec();
            self.tree.append(tree::leaf_hash(&row.body));
        }
        self.frontier = self.tree.encode();
    }

    pub(super) fn verify_with(&self, trust: Trust, outside: &[&[u8]]) -> Report {
        let mut verifier = Verifier::new(trust);
        for kept in &self.checkpoints {
            verifier
                .stored_checkpoint(StoredCheckpoint { size: kept.size, root: &kept.root, note: &kept.note })
                .unwrap();
        }
        for note in outside {
            verifier.outside_checkpoint(note).unwrap();
        }
        for row in &self.rows {
            verifier.row(Row { seq: row.seq, body: &row.body, leaf_hash: &row.hash, cells: &row.cells });
        }
        verifier.finish(Some(&self.frontier))
    }

    pub(super) fn verify(&self) -> Report {
        self.verify_with(trust(), &[])
    }
}
