//! The check of a whole log, entry by entry, in one pass and little memory: texts against hashes, hashes against signed roots,
//! cells against commitments, order, time, and what is kept elsewhere against what is here. Reads nothing by itself: whoever has
//! the rows feeds them in order.
//!
//! Held are two frontiers, the checkpoints not yet passed, and what was found; never the hashes of the log.

mod erasure;
mod finding;
mod tracks;

#[cfg(test)]
mod tests;

pub use finding::{Finding, Fitting, NoteFault, Report, Silence, Source, Undone, Wrong};

use std::collections::BTreeMap;
use std::time::Duration;

use super::action::Action;
use super::cell::{CellKey, Cells, Group};
use super::leaf::Leaf;
use super::note::{NoteError, SignedCheckpoint};
use super::tree::{Frontier, Hash, leaf_hash};
use super::vkey::{KeyKind, VerifyingKey};
use erasure::Erasures;
use tracks::{Fit, Tracks};

/// Most findings that a report lists; the rest is counted. What is not listed cannot be acknowledged, so that there is room for many.
pub const MAX_FINDINGS: usize = 100_000;

/// Most silences that a report lists.
pub const MAX_SILENCES: usize = 100;

/// Two missed heartbeats.
const SILENCE: Duration = Duration::from_secs(600);

/// Most checkpoint keys that entries may introduce.
const MAX_KEYS: usize = 1_000;

/// What is known of the log beforehand, from outside of it.
#[derive(Debug, Clone)]
pub struct Trust {
    /// Its name.
    pub origin: String,
    /// Its pinned key, and keys of witnesses if any. Further keys are learned from `audit.key` entries under a checkpoint that a
    /// key already believed has signed; only with the cell key, without which the entry's commitment cannot be checked.
    pub keys: Vec<VerifyingKey>,
    /// Opens the cells; `None`: cells are not looked into, and the report says so.
    pub cell_key: Option<CellKey>,
}

/// One entry as stored.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Number as stored beside the text.
    pub seq: i64,
    /// Text of the leaf.
    pub body: &'a [u8],
    /// Hash as stored, 32 bytes.
    pub leaf_hash: &'a [u8],
    /// Cells as stored.
    pub cells: &'a [u8],
}

/// One stored checkpoint: the note, and size and root as stored beside it.
#[derive(Debug, Clone, Copy)]
pub struct StoredCheckpoint<'a> {
    /// Size as stored.
    pub size: i64,
    /// Root as stored.
    pub root: &'a [u8],
    /// The signed note.
    pub note: &'a [u8],
}

/// The entries already passed the size of this checkpoint: checkpoints come before, or as long as, fewer are fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a checkpoint was given after the entries that it vouches for")]
pub struct TooLate;

#[derive(Debug)]
struct Pending {
    source: Source,
    signed: SignedCheckpoint,
    note: String,
}

/// The check while it runs.
#[derive(Debug)]
pub struct Verifier {
    trust: Trust,
    learned: Vec<VerifyingKey>,
    pending: BTreeMap<u64, Vec<Pending>>,
    outside_given: usize,
    tracks: Tracks,
    next: u64,
    missing: bool,
    intact: u64,
    flawed: bool,
    undecided: Vec<usize>,
    unbounded: Vec<usize>,
    erasures: Erasures,
    latest: Option<(u64, Action)>,
    report: Report,
}

impl Verifier {
    /// A check of an empty log so far.
    pub fn new(trust: Trust) -> Self {
        let report = Report {
            valid: false,
            size: 0,
            root: Hash::default(),
            findings: Vec::new(),
            more: 0,
            first: None,
            last: None,
            tree_fits: true,
            erased: 0,
            opened: trust.cell_key.is_some(),
            newest: None,
            outside: Vec::new(),
            unfit: Vec::new(),
            silences: Vec::new(),
        };
        Self {
            trust,
            learned: Vec::new(),
            pending: BTreeMap::new(),
            outside_given: 0,
            tracks: Tracks::default(),
            next: 0,
            missing: false,
            intact: 0,
            flawed: false,
            undecided: Vec::new(),
            unbounded: Vec::new(),
            erasures: Erasures::default(),
            latest: None,
            report,
        }
    }

    /// Goes on where an earlier full check ended: after the entries of `tree`, the last of which has this time and action.
    pub fn resume(trust: Trust, tree: &Frontier, last: Option<(u64, Action)>) -> Self {
        let mut verifier = Self::new(trust);
        (verifier.next, verifier.intact) = (tree.size(), tree.size());
        (verifier.tracks, verifier.latest) = (Tracks::after(tree), last);
        verifier
    }

    /// Time and action of the last entry that is as it should be.
    pub fn last(&self) -> Option<(u64, Action)> {
        self.latest
    }

    /// Takes a checkpoint that is kept beside the log.
    ///
    /// # Errors
    /// [`TooLate`].
    pub fn stored_checkpoint(&mut self, row: StoredCheckpoint<'_>) -> Result<(), TooLate> {
        let Some(signed) = self.read_note(row.note, Source::Stored) else { return Ok(()) };
        let (size, root) = (signed.unverified().size, signed.unverified().root);
        if u64::try_from(row.size) != Ok(size) || row.root != root {
            self.fault(Some(size), Source::Stored, NoteFault::RowDiffers);
        }
        self.expect(Source::Stored, signed, row.note)
    }

    /// Takes a checkpoint that was kept elsewhere: the proof against whoever holds both log and key.
    ///
    /// # Errors
    /// [`TooLate`].
    pub fn outside_checkpoint(&mut self, note: &[u8]) -> Result<(), TooLate> {
        let source = Source::Outside(self.outside_given);
        self.outside_given += 1;
        match self.read_note(note, source) {
            Some(signed) => self.expect(source, signed, note),
            None => Ok(()),
        }
    }

    fn read_note(&mut self, note: &[u8], source: Source) -> Option<SignedCheckpoint> {
        let signed = SignedCheckpoint::parse(note);
        if signed.is_err() {
            self.fault(None, source, NoteFault::Malformed);
        }
        signed.ok()
    }

    fn expect(&mut self, source: Source, signed: SignedCheckpoint, note: &[u8]) -> Result<(), TooLate> {
        let size = signed.unverified().size;
        if size < self.next {
            return Err(TooLate);
        }
        let note = String::from_utf8_lossy(note).into_owned();
        self.pending.entry(size).or_default().push(Pending { source, signed, note });
        Ok(())
    }

    /// Takes the next entry. Rows come in the order of their stored numbers.
    pub fn row(&mut self, row: Row<'_>) {
        self.pass_checkpoints();
        let Some(seq) = u64::try_from(row.seq).ok().filter(|seq| *seq >= self.next) else {
            return self.find(Finding::Repeated { seq: row.seq });
        };
        if seq > self.next {
            self.find(Finding::Missing { first: self.next, last: seq - 1 });
            self.missing = true;
        }
        self.next = seq.saturating_add(1);
        let computed = leaf_hash(row.body);
        let stored: Hash = row.leaf_hash.try_into().unwrap_or_default();
        self.tracks.append(stored, computed);
        match self.look_at(seq, &row, computed == stored) {
            Ok(leaf) => self.good(&leaf),
            Err(wrong) => self.wrong(seq, wrong),
        }
    }

    /// The first thing wrong with one entry by itself and against the one before.
    fn look_at<'a>(&mut self, seq: u64, row: &Row<'a>, hash_fits: bool) -> Result<Leaf<'a>, Wrong> {
        if !hash_fits {
            return Err(Wrong::BodyOrStoredHash);
        }
        let leaf = Leaf::decode(row.body).map_err(Wrong::Leaf)?;
        if leaf.seq != seq {
            return Err(Wrong::Misplaced { names: leaf.seq });
        }
        if self.latest.is_some_and(|(time, _)| leaf.time_micros < time) {
            return Err(Wrong::TimeBackwards);
        }
        let cells = Cells::decode(row.cells).ok_or(Wrong::CellsUnreadable)?;
        let erased = cells.has_erased();
        if let Some(key) = &self.trust.cell_key {
            let commitment = cells.commitment(key).map_err(Wrong::CellDamaged)?;
            if commitment != leaf.commitment {
                return Err(Wrong::CellsDiffer);
            }
            if leaf.action == Action::AuditErase
                && let Some(subject) = cells.open(Group::Subject, key)
            {
                self.erasures.said(seq, &subject);
            }
            self.learn_key(&leaf, &cells);
        }
        if erased {
            self.report.erased += 1;
            self.erasures.found(seq);
        }
        Ok(leaf)
    }

    /// A rotation's key counts only once a checkpoint of a key already believed vouches for the entry.
    fn learn_key(&mut self, leaf: &Leaf<'_>, cells: &Cells<'_>) {
        if leaf.action != Action::AuditKey || self.learned.len() >= MAX_KEYS {
            return;
        }
        let line = cells.public_key_line();
        let key = line.as_deref().and_then(VerifyingKey::parse);
        if let Some(key) = key.filter(|key| key.kind() == KeyKind::Log && key.name() == self.trust.origin) {
            self.learned.push(key);
        }
    }

    fn good(&mut self, leaf: &Leaf<'_>) {
        let time = leaf.time_micros;
        for at in self.unbounded.drain(..) {
            if let Some(Finding::Entry { before, .. }) = self.report.findings.get_mut(at) {
                *before = Some(time);
            }
        }
        if let Some((from, before)) = self.latest {
            let silent = u128::from(time.saturating_sub(from)) > SILENCE.as_micros() && before != Action::ServerStop;
            if silent && self.report.silences.len() < MAX_SILENCES {
                self.report.silences.push(Silence { seq: leaf.seq, from, to: time });
            }
        }
        self.latest = Some((time, leaf.action));
        self.report.first = self.report.first.or(Some(time));
        self.report.last = Some(time);
    }

    fn wrong(&mut self, seq: u64, wrong: Wrong) {
        let at = self.report.findings.len();
        if at < MAX_FINDINGS {
            self.unbounded.push(at);
            if wrong == Wrong::BodyOrStoredHash {
                self.undecided.push(at);
            }
        }
        let after = self.latest.map(|(time, _)| time);
        self.find(Finding::Entry { seq, wrong, after, before: None });
    }

    fn find(&mut self, finding: Finding) {
        // A checkpoint that is bad by itself explains nothing about entries.
        self.flawed |= !matches!(finding, Finding::Checkpoint { .. });
        if self.report.findings.len() < MAX_FINDINGS {
            self.report.findings.push(finding);
        } else {
            self.report.more += 1;
        }
    }

    fn fault(&mut self, size: Option<u64>, source: Source, fault: NoteFault) {
        self.find(Finding::Checkpoint { size, source, fault });
    }

    /// Compares the checkpoints whose size is reached.
    fn pass_checkpoints(&mut self) {
        while let Some(entry) = self.pending.first_entry() {
            if *entry.key() > self.next {
                return;
            }
            let group = entry.remove();
            let group = self.believed(group);
            let forked = group
                .iter()
                .zip(group.iter().skip(1))
                .any(|(one, other)| one.signed.unverified().root != other.signed.unverified().root);
            for pending in group {
                // Of two roots at most one can fit, which the fork has said already.
                self.flawed |= forked;
                if !self.missing {
                    self.compare(pending);
                }
            }
        }
    }

    /// Those of one size that a known key of this log signed; finds fault with the others, and two roots for one size.
    fn believed(&mut self, group: Vec<Pending>) -> Vec<Pending> {
        let mut believed: Vec<Pending> = Vec::with_capacity(group.len());
        for pending in group {
            let said = pending.signed.unverified();
            let fault = match pending.signed.signers(&self.trust.keys) {
                Err(NoteError::BadSignature) => Some(NoteFault::BadSignature),
                Err(NoteError::Malformed) => Some(NoteFault::Malformed),
                Ok(_) if said.origin != self.trust.origin => Some(NoteFault::OtherLog),
                Ok(keys) if !keys.iter().any(|key| key.kind() == KeyKind::Log && key.name() == said.origin) => {
                    Some(NoteFault::UnknownSigner)
                }
                Ok(_) => None,
            };
            if let Some(fault) = fault {
                self.fault(Some(said.size), pending.source, fault);
                continue;
            }
            let other = believed.iter().find(|other| other.signed.unverified().root != said.root);
            if let Some(other) = other {
                let roots = [other.signed.unverified().root, said.root];
                let fork = Finding::Fork { size: said.size, roots, sources: [other.source, pending.source] };
                self.find(fork);
            }
            believed.push(pending);
        }
        believed
    }

    fn compare(&mut self, pending: Pending) {
        let (size, root) = (pending.signed.unverified().size, pending.signed.unverified().root);
        let fit = self.tracks.fit_root(&root);
        self.decide(fit);
        self.report.tree_fits = fit != Fit::Neither;
        if fit == Fit::Neither {
            self.report.unfit.push((size, pending.source));
            // Where entries are known to be wrong since the last fit, the root cannot fit: that is said already.
            if !self.flawed {
                self.find(Finding::Rewritten { intact: self.intact, size, source: pending.source });
            }
            return;
        }
        (self.intact, self.flawed) = (size, false);
        // Checkpoints are compared the moment their size is reached, so this one vouches for every key learned so far.
        for key in self.learned.drain(..) {
            if !self.trust.keys.contains(&key) {
                self.trust.keys.push(key);
            }
        }
        let time = self.latest.map(|(time, _)| time);
        let fitting = Fitting { size, source: pending.source, note: pending.note, time };
        if pending.source != Source::Stored {
            self.report.outside.push(fitting.clone());
        }
        self.report.newest = Some(fitting);
    }

    /// Entries whose text and stored hash differ: the root that fits says which was changed.
    fn decide(&mut self, fit: Fit) {
        let decided = match fit {
            Fit::Stored => Wrong::Body,
            Fit::Computed => Wrong::StoredHash,
            Fit::Both | Fit::Neither => return,
        };
        self.tracks.settle(fit);
        for at in self.undecided.drain(..) {
            if let Some(Finding::Entry { wrong, .. }) = self.report.findings.get_mut(at) {
                *wrong = decided;
            }
        }
    }

    /// Ends the check. `frontier` is the stored tree ([`Frontier::encode`]); `None` where there is none, as in an export.
    pub fn finish(mut self, frontier: Option<&[u8]>) -> Report {
        self.pass_checkpoints();
        if let Some(bytes) = frontier {
            self.compare_frontier(bytes);
        }
        for group in std::mem::take(&mut self.pending).into_values() {
            for pending in self.believed(group) {
                let (vouched, source) = (pending.signed.unverified().size, Some(pending.source));
                self.find(Finding::Shortened { have: self.next, vouched, source });
            }
        }
        self.compare_erasures();
        self.report.valid = self.report.findings.is_empty();
        self.report.size = self.next;
        self.report.root = self.tracks.root();
        self.report
    }

    fn compare_frontier(&mut self, bytes: &[u8]) {
        let Some(frontier) = Frontier::decode(bytes) else { return self.find(Finding::Tree) };
        let shorter = frontier.size() > self.next;
        let fit = self.tracks.fit_frontier(&frontier);
        self.decide(fit);
        self.report.tree_fits = fit != Fit::Neither;
        match fit {
            _ if shorter => {
                self.find(Finding::Shortened { have: self.next, vouched: frontier.size(), source: None });
            }
            Fit::Neither if !self.flawed => self.find(Finding::Tree),
            _ => {}
        }
    }

    fn compare_erasures(&mut self) {
        if !self.report.opened {
            return;
        }
        let erasures = std::mem::take(&mut self.erasures);
        if erasures.too_many() {
            return self.find(Finding::ErasuresTooMany);
        }
        for (first, last) in erasures.unsaid() {
            self.find(Finding::ErasureUnrecorded { first, last });
        }
    }
}
