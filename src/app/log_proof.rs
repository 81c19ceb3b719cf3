//! Entries of a log as parts of the tree that was signed last. For exports, which do not read a long log whole.

use std::path::Path;

use super::failure::StartFailure;
use super::folder::not_usable;
use super::keyring::KeyRing;
use super::{log_check, start_check};
use crate::domain::audit::groups::{Groups, LEAVES};
use crate::domain::audit::note::{NoteError, SignedCheckpoint};
use crate::domain::audit::verify::{Finding, NoteFault, Source, Wrong};
use crate::domain::audit::{Frontier, Hash};
use crate::store::sqlite::LogReader;
use crate::store::{AuditRow, StoreError};

/// Hashes that are read at once; whole groups.
const PAGE: u64 = 64 * LEAVES;

/// Up to which entry a tree was signed, and its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed {
    /// Entries.
    pub size: u64,
    /// The root.
    pub root: Hash,
    /// What says so.
    pub source: Source,
}

/// The largest tree that was signed by the log's own keys, as the database, the checkpoint folder and the note of the last full check have
/// it, and what is wrong with one of them.
///
/// # Errors
/// The store or the folder cannot be read.
pub async fn signed_last(
    log: &LogReader,
    keys: &KeyRing,
    (data, checkpoints): (&Path, &Path),
) -> Result<(Option<Signed>, Option<Finding>), StartFailure> {
    let key = [keys.checkpoint()?.verifying_key().clone()];
    let stored = log.newest_checkpoint().await?.map(|(_, note)| (note.into_bytes(), Source::Stored));
    let outside = log_check::newest_in_folder(checkpoints).map_err(|(path, error)| not_usable(&path, &error))?;
    let outside = outside.map(|note| (note, Source::Outside(0)));
    let full = start_check::read_note(data, keys);
    let full = full.map(|full| Signed { size: full.tree.size(), root: full.tree.root(), source: Source::FullCheck });
    let (mut last, mut wrong) = (full, None);
    for (note, source) in stored.into_iter().chain(outside) {
        let parsed = SignedCheckpoint::parse(&note);
        let signed =
            parsed.as_ref().map_err(|error| *error).and_then(|signed| signed.signers(&key).map(|by| (signed, by)));
        let fault = match signed {
            Ok((signed, by)) if by.is_empty() => Some((Some(signed.unverified().size), NoteFault::UnknownSigner)),
            Ok((signed, _)) => {
                let (size, root) = (signed.unverified().size, signed.unverified().root);
                last = last.filter(|last| last.size >= size).or(Some(Signed { size, root, source }));
                None
            }
            Err(NoteError::BadSignature) => Some((None, NoteFault::BadSignature)),
            Err(NoteError::Malformed) => Some((None, NoteFault::Malformed)),
        };
        wrong = wrong.or(fault.map(|(size, fault)| Finding::Checkpoint { size, source, fault }));
    }
    Ok((last, wrong))
}

/// The tree that was signed, by its groups: what single entries are compared with.
#[derive(Debug)]
pub struct Proof<'a> {
    log: &'a LogReader,
    signed: Signed,
    groups: Vec<Hash>,
    /// The group that was compared last, and what came of it.
    compared: Option<(u64, Option<Finding>)>,
}

impl<'a> Proof<'a> {
    /// From the groups that entries of the log say; where they do not lead to the root that was signed, from all leaves. `Err` inside: what
    /// of the log is not what was signed, or is not there.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn new(log: &'a LogReader, signed: Signed, said: &[Groups]) -> Result<Result<Self, Finding>, StoreError> {
        let have = log.head().await?.size;
        if have < signed.size {
            return Ok(Err(Finding::Shortened { have, vouched: signed.size, source: Some(signed.source) }));
        }
        for said in [said, &[]] {
            let groups = match groups(log, signed.size / LEAVES, said).await? {
                Ok(groups) => groups,
                Err(finding) => return Ok(Err(finding)),
            };
            let mut tree = Frontier::of_subtrees(&groups, LEAVES);
            match leaves(log, tree.size(), signed.size).await? {
                Ok(rest) => tree.extend(rest),
                Err(finding) => return Ok(Err(finding)),
            }
            if tree.root() == signed.root {
                return Ok(Ok(Self { log, signed, groups, compared: None }));
            }
        }
        Ok(Err(Finding::Rewritten { intact: 0, size: signed.size, source: signed.source }))
    }

    /// Whether what was signed covers an entry.
    pub fn covers(&self, seq: u64) -> bool {
        seq < self.signed.size
    }

    /// What is wrong with the stored hashes around an entry. Those behind the last whole group were compared with the root already.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn compare(&mut self, seq: u64) -> Result<Option<Finding>, StoreError> {
        let group = seq / LEAVES;
        let at = usize::try_from(group).unwrap_or(usize::MAX);
        let Some(root) = self.groups.get(at).filter(|_| self.covers(seq)) else { return Ok(None) };
        if let Some((_, found)) = self.compared.as_ref().filter(|(compared, _)| *compared == group) {
            return Ok(found.clone());
        }
        let (first, after) = (Groups::begin(seq), Groups::begin(seq).saturating_add(LEAVES));
        let source = self.signed.source;
        let found = match leaves(self.log, first, after).await? {
            Ok(leaves) if leaves.iter().copied().collect::<Frontier>().root() == *root => None,
            Ok(_) => Some(Finding::Rewritten { intact: first, size: after, source }),
            Err(finding) => Some(finding),
        };
        self.compared = Some((group, found.clone()));
        Ok(found)
    }
}

/// The first `count` groups: as entries say them, and from their leaves where none says so.
async fn groups(log: &LogReader, count: u64, said: &[Groups]) -> Result<Result<Vec<Hash>, Finding>, StoreError> {
    let mut known = vec![None; usize::try_from(count).unwrap_or(usize::MAX)];
    for Groups { first, roots } in said {
        let begin = usize::try_from(*first).unwrap_or(usize::MAX);
        let places = known.get_mut(begin..).into_iter().flatten();
        places.zip(roots).for_each(|(place, root)| *place = Some(*root));
    }
    let mut groups = Vec::with_capacity(known.len());
    while let Some(next) = known.get(groups.len()) {
        if let Some(root) = next {
            groups.push(*root);
            continue;
        }
        let unknown = known.iter().skip(groups.len()).take_while(|root| root.is_none()).count();
        let first = u64::try_from(groups.len()).unwrap_or(u64::MAX).saturating_mul(LEAVES);
        let after = first.saturating_add(u64::try_from(unknown).unwrap_or(u64::MAX).saturating_mul(LEAVES));
        match leaves(log, first, after.min(first.saturating_add(PAGE))).await? {
            Ok(leaves) => groups.extend(Groups::of(first, &leaves).roots),
            Err(finding) => return Ok(Err(finding)),
        }
    }
    Ok(Ok(groups))
}

/// Stored hashes of consecutive entries; what is wrong where one is not there, or is none.
async fn leaves(log: &LogReader, first: u64, after: u64) -> Result<Result<Vec<Hash>, Finding>, StoreError> {
    let (mut hashes, mut next) = (Vec::new(), first);
    while next < after {
        let page = log.hashes(next, usize::try_from((after - next).min(PAGE)).unwrap_or_default()).await?;
        if page.is_empty() {
            return Ok(Err(Finding::Missing { first: next, last: after.saturating_sub(1) }));
        }
        for (seq, hash) in page {
            if seq != next {
                return Ok(Err(Finding::Missing { first: next, last: seq.min(after).saturating_sub(1) }));
            }
            let Ok(hash) = hash.as_slice().try_into() else {
                return Ok(Err(Finding::Entry { seq, wrong: Wrong::StoredHash, after: None, before: None }));
            };
            hashes.push(hash);
            next = next.saturating_add(1);
        }
    }
    Ok(Ok(hashes))
}

/// All entries of a log as they are read in order, against the root that was signed.
#[derive(Debug)]
pub struct Whole {
    tree: Frontier,
    signed: Option<Signed>,
    next: u64,
}

impl Whole {
    /// Before the first entry.
    pub fn new(signed: Option<Signed>) -> Self {
        Self { tree: Frontier::new(), signed, next: 0 }
    }

    /// Takes the next entry that is there. Answers a gap before it, or that what was signed is something else.
    pub fn take(&mut self, row: &AuditRow) -> Option<Finding> {
        let gap = self.gap(row.seq);
        if gap.is_some() {
            // With entries missing nothing leads to the root.
            self.signed = None;
        }
        self.next = row.seq.saturating_add(1);
        self.tree.append(row.hash.as_slice().try_into().unwrap_or_default());
        let signed = self.signed.filter(|signed| signed.size == self.tree.size());
        let other = signed.filter(|signed| signed.root != self.tree.root());
        gap.or(other.map(|signed| Finding::Rewritten { intact: 0, size: signed.size, source: signed.source }))
    }

    /// What is missing before `end`, or of what was signed.
    pub fn finish(&self, end: u64) -> Option<Finding> {
        let short = self.signed.filter(|signed| signed.size > self.next);
        let short = short.map(|signed| Finding::Shortened {
            have: self.next,
            vouched: signed.size,
            source: Some(signed.source),
        });
        self.gap(end).or(short)
    }

    fn gap(&self, seq: u64) -> Option<Finding> {
        (seq > self.next).then(|| Finding::Missing { first: self.next, last: seq.saturating_sub(1) })
    }
}
