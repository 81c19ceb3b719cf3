//! What two operators acknowledged of the log. Each thing that a check finds has a mark: the place and a digest of what stands there, so
//! that the same place changed again is another finding. Marks that were acknowledged lie in a signed file of the data folder, and an
//! entry of the log names their digest; a check passes over exactly those. What was found is copied aside, and what entries did
//! and rows no longer show is done again (links withdrawn, uses spent, clients switched off, documents closed, holds), clients and operators of whom other
//! things are registered are switched off; nothing else is mended.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::endings::ENDINGS;
use super::failure::StartFailure;
use super::folder::write_durably;
use super::instance::sha256;
use super::keyring::{KeyRing, Purpose};
use super::log_check::{self, LogSource};
use super::log_effects::{ToRedo, to_redo};
use super::start_check::Place;
use crate::domain::audit::cell::Cells;
use crate::domain::audit::detail::Detail;
use crate::domain::audit::effect::{Expected, operator_digest};
use crate::domain::audit::verify::{Finding, Report, Source, Undone};
use crate::domain::audit::{Action, CellKey, FullCheck, Group, Hash, Leaf, SigningKey, signed_lines};
use crate::domain::clock::Timestamp;
use crate::domain::id::OperatorId;
use crate::domain::log_acknowledgement::{FindingDigest, Word};
use crate::store::{AuditRow, StoreError};

/// The file of acknowledged marks, and what its first line says.
const FILE: &str = "log-acknowledged";
const HEAD: &str = "daylily-log-acknowledged/2";
/// What the line before the marks of one acknowledgement begins with.
const NEAR_ENTRY: &str = "near-entry ";
/// What the line of a mark begins with of which nothing is to be passed over, since it was done again.
const REDONE: &str = "redone ";
/// Entries among which the one that acknowledges is looked for.
const NEAR: usize = 64;
/// Words of findings that are kept; the rest is counted.
const WORDS: usize = 1_000;
/// The file of the first person's word, and what its first line says.
const ASKED: &str = "log-acknowledgement-asked";
const ASKED_HEAD: &str = "daylily-log-acknowledgement-asked/1";
/// The folder of what was found.
const EVIDENCE: &str = "evidence";

/// Marks that two operators acknowledged, together as they were found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Acknowledged {
    findings: Vec<Marks>,
    marks: BTreeSet<String>,
}

/// Everything that one look at the log found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Marks {
    /// The entry that acknowledges them is this one of the log, or one of those that follow.
    near: u64,
    marks: BTreeSet<String>,
    /// Those of them that were done again, so that they count for nothing.
    redone: BTreeSet<String>,
}

impl Marks {
    fn digest(&self) -> FindingDigest {
        let marks: Vec<&str> = self.marks.iter().map(String::as_str).collect();
        sha256(marks.join("\n").as_bytes())
    }

    fn lines(&self) -> Vec<String> {
        let of = |mark: &String| if self.redone.contains(mark) { format!("{REDONE}{mark}") } else { mark.clone() };
        [format!("{NEAR_ENTRY}{}", self.near)].into_iter().chain(self.marks.iter().map(of)).collect()
    }

    /// Takes one of the lines that [`Marks::lines`] makes.
    fn take(&mut self, line: String) {
        match line.strip_prefix(REDONE) {
            Some(mark) => {
                self.redone.insert(mark.to_owned());
                self.marks.insert(mark.to_owned());
            }
            None => drop(self.marks.insert(line)),
        }
    }

    /// Whether the log holds the entry: a database of before it was acknowledged does not, and nobody acknowledged that one.
    async fn are_recorded(&self, source: &dyn LogSource, key: &CellKey) -> Result<bool, StoreError> {
        let digest = hex::encode(self.digest());
        let rows = source.rows(self.near, NEAR).await?;
        Ok(rows.iter().any(|row| acknowledged_by(row, key).is_some_and(|finding| finding == digest)))
    }
}

/// The digest of what an entry acknowledges.
fn acknowledged_by(row: &AuditRow, key: &CellKey) -> Option<String> {
    let (leaf, cells) = (Leaf::decode(&row.body).ok()?, Cells::decode(&row.cells)?);
    let is_one = leaf.action == Action::AuditAcknowledge && leaf.seq == row.seq;
    if !is_one || cells.commitment(key) != Ok(leaf.commitment) {
        return None;
    }
    match cells.open(Group::Subject, key)?.get("finding") {
        Some(Detail::Text(finding)) => Some(finding.clone()),
        _ => None,
    }
}

impl Acknowledged {
    /// Those of a folder that its log knows of; none where the file is not there or not signed.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn read(source: &dyn LogSource, data: &Path, keys: &KeyRing) -> Result<Self, StartFailure> {
        let key = if keys.lacks(Purpose::LogCheck) { None } else { keys.log_check().ok() };
        let lines =
            key.and_then(|key| signed_lines::open(HEAD, &std::fs::read(data.join(FILE)).ok()?, key.verifying_key()));
        let Some(lines) = lines else { return Ok(Self::default()) };
        let mut acknowledged = Self::default();
        for line in lines {
            match (line.strip_prefix(NEAR_ENTRY), acknowledged.findings.last_mut()) {
                (Some(near), _) => {
                    let near = near.parse().unwrap_or(u64::MAX);
                    acknowledged.findings.push(Marks { near, ..Marks::default() });
                }
                (None, Some(finding)) => finding.take(line),
                (None, None) => {}
            }
        }
        let cells = keys.cells()?;
        for finding in &acknowledged.findings {
            if finding.are_recorded(source, &cells).await? {
                acknowledged.marks.extend(finding.marks.difference(&finding.redone).cloned());
            }
        }
        Ok(acknowledged)
    }

    /// Whether a mark is among them.
    pub fn has(&self, mark: &str) -> bool {
        self.marks.contains(mark)
    }

    /// Whether nothing was acknowledged.
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Whether a checkpoint is among them, so that it is not asked any more.
    pub fn has_note(&self, note: &[u8]) -> bool {
        self.has(&note_mark(note))
    }
}

/// The mark of a checkpoint that does not fit.
fn note_mark(note: &[u8]) -> String {
    format!("checkpoint {}", hex::encode(sha256(note)))
}

/// The mark of what an entry did that a row does not show.
pub(super) fn undone_mark(seq: u64, what: Undone) -> String {
    format!("undone {seq} {what:?}")
}

/// The mark of the note of a full check.
pub fn full_check_mark(note: &FullCheck) -> String {
    format!("full-check {} {}", note.tree.size(), hex::encode(note.tree.root()))
}

/// The mark of what is wrong beside the entries: with the file of endings, the log's end, or rows that no entry made; `None` for any other finding.
pub fn mark_beside(finding: &Finding) -> Option<String> {
    match finding {
        Finding::EndingsChanged { line, rest } => Some(format!("endings changed {line} {}", hex::encode(rest))),
        Finding::EndingsUnread { count, first } => Some(format!("endings unread {count} {first}")),
        Finding::EndChanged { at } => Some(format!("end changed {at}")),
        Finding::RevocationsGone { count, first, last } => Some(format!("revocations gone {count} {first} {last}")),
        Finding::UnrecordedRevocation { number } => Some(format!("unrecorded revocation {number}")),
        Finding::UnrecordedOperator { digest } => Some(format!("unrecorded operator {}", hex::encode(digest))),
        Finding::UsesGone { count, digest } => Some(format!("uses gone {count} {}", hex::encode(digest))),
        Finding::EndingsShortened { have, kept } => Some(format!("endings shortened {have} {kept}")),
        _ => None,
    }
}

/// The checkpoints that a check was given, and the note, to name them by.
pub struct Given<'a> {
    /// The log.
    pub source: &'a dyn LogSource,
    /// Checkpoints of the folder, by their place.
    pub outside: &'a [Vec<u8>],
    /// Checkpoints of the database, by their size.
    pub stored: &'a [(u64, String)],
    /// The note of the last full check.
    pub note: Option<&'a FullCheck>,
}

impl fmt::Debug for Given<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Given({} checkpoints)", self.outside.len())
    }
}

impl Given<'_> {
    /// The marks of one finding; several where it is about several checkpoints.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn marks(&self, finding: &Finding) -> Result<Vec<String>, StartFailure> {
        Ok(match finding {
            Finding::Entry { seq, .. } => vec![self.entry(*seq).await?],
            Finding::Missing { first, last } => vec![format!("missing {first} {last}")],
            Finding::Repeated { seq } => vec![format!("repeated {seq}")],
            Finding::ErasureUnrecorded { first, last } => vec![format!("erased {first} {last}")],
            Finding::Unpublished { known, found } => vec![format!("unpublished {known} {}", found.unwrap_or_default())],
            Finding::Shortened { source: Some(source), vouched, .. } => vec![self.note(*source, Some(*vouched))],
            Finding::Shortened { source: None, vouched, .. } => vec![format!("shortened {vouched}")],
            Finding::Rewritten { source, size, .. } => vec![self.note(*source, Some(*size))],
            Finding::Checkpoint { source, size, .. } => vec![self.note(*source, *size)],
            Finding::Fork { size, sources, .. } => sources.iter().map(|one| self.note(*one, Some(*size))).collect(),
            Finding::Tree => vec!["tree".to_owned()],
            Finding::ErasuresTooMany => vec!["erasures".to_owned()],
            Finding::Hidden { seq } => vec![format!("hidden {seq}")],
            Finding::Strange { seq } => vec![format!("strange {seq}")],
            Finding::Lookup { first, after } => vec![format!("lookup {first} {after}")],
            Finding::LinkHidden { seq } => vec![format!("link hidden {seq}")],
            Finding::LinkStrange { seq } => vec![format!("link strange {}", seq.unwrap_or_default())],
            Finding::Undone { seq, what } => vec![undone_mark(*seq, *what)],
            Finding::EndingsChanged { .. }
            | Finding::EndingsShortened { .. }
            | Finding::RevocationsGone { .. }
            | Finding::UsesGone { .. }
            | Finding::UnrecordedRevocation { .. }
            | Finding::UnrecordedOperator { .. }
            | Finding::EndingsUnread { .. }
            | Finding::EndChanged { .. } => mark_beside(finding).into_iter().collect(),
        })
    }

    /// The marks of the checkpoints that do not fit, though an earlier finding may explain them.
    pub fn unfit(&self, report: &Report) -> Vec<String> {
        report.unfit.iter().map(|(size, source)| self.note(*source, Some(*size))).collect()
    }

    async fn entry(&self, seq: u64) -> Result<String, StartFailure> {
        let row = self.source.rows(seq, 1).await?.into_iter().find(|row| row.seq == seq);
        let bytes = row.map(|row| [sha256(&row.body), sha256(&row.hash), sha256(&row.cells)].concat());
        Ok(format!("entry {seq} {}", hex::encode(sha256(&bytes.unwrap_or_default()))))
    }

    fn note(&self, source: Source, size: Option<u64>) -> String {
        let stored = || self.stored.iter().find(|(at, _)| Some(*at) == size).map(|(_, note)| note.as_bytes());
        match source {
            Source::FullCheck => self.note.map(full_check_mark).unwrap_or_default(),
            Source::Outside(at) => note_mark(self.outside.get(at).map(Vec::as_slice).unwrap_or_default()),
            Source::Stored => note_mark(stored().unwrap_or_default()),
        }
    }
}

/// Operators of findings, by what stands for their ids.
fn distrusted(findings: &[Finding], to_redo: &[ToRedo]) -> BTreeSet<Hash> {
    let strange = findings.iter().filter_map(|finding| match finding {
        Finding::UnrecordedOperator { digest } => Some(*digest),
        _ => None,
    });
    let altered = to_redo.iter().filter_map(|one| match &one.expected {
        Expected::Operator(id, _) => Some(operator_digest(id.as_str())),
        _ => None,
    });
    strange.chain(altered).collect()
}

/// What nobody acknowledged yet, with what an acknowledgement needs.
#[derive(Debug)]
pub struct Pending {
    data: PathBuf,
    key: SigningKey,
    marks: Marks,
    before: Acknowledged,
    words: Vec<String>,
    evidence: Vec<Vec<u8>>,
    /// What entries did, and the file of endings tells of, and rows do not show.
    to_redo: Vec<ToRedo>,
    /// Operators whose rows are not what entries say: their word does not count.
    distrusted: BTreeSet<Hash>,
    /// The file of endings, which is written anew where it was found to be wrong.
    endings: PathBuf,
}

impl Pending {
    /// Of a look at the log of a folder; `told`: what the file of endings tells of and rows do not show.
    ///
    /// # Errors
    /// The log cannot be read; there is no key to sign with.
    pub async fn of(
        report: &Report,
        given: &Given<'_>,
        (place, keys, before): (Place<'_>, &KeyRing, &Acknowledged),
        told: Vec<ToRedo>,
    ) -> Result<Self, StartFailure> {
        let mut marks: BTreeSet<String> = given.unfit(report).into_iter().collect();
        for finding in &report.findings {
            marks.extend(given.marks(finding).await?);
        }
        let shown = report.findings.iter().take(WORDS);
        let mut words: Vec<String> = shown.map(|finding| log_check::issue_of(finding).message().to_owned()).collect();
        if report.findings.len() > WORDS {
            words.push(format!("and {} more", report.findings.len() - WORDS));
        }
        let marks = Marks { near: given.source.head().await?.size, marks, ..Marks::default() };
        let (data, before, evidence) = (place.data.to_owned(), before.clone(), given.outside.to_vec());
        let endings = place.checkpoints.join(ENDINGS);
        let mut to_redo = to_redo(given.source, &keys.cells()?, &report.findings).await?;
        to_redo.extend(told);
        let distrusted = distrusted(&report.findings, &to_redo);
        Ok(Self { distrusted, data, key: keys.log_check()?, marks, before, words, evidence, to_redo, endings })
    }

    /// What was found, in words.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// The digest of all that was found.
    pub fn digest(&self) -> FindingDigest {
        self.marks.digest()
    }

    /// Whether an operator's row is not what entries say.
    pub fn distrusts(&self, operator: &OperatorId) -> bool {
        self.distrusted.contains(&operator_digest(operator.as_str()))
    }

    /// What is to be done again.
    pub fn to_redo(&self) -> &[ToRedo] {
        &self.to_redo
    }

    /// The first person's word, where one waits.
    pub fn asked(&self) -> Option<Word> {
        let sealed = std::fs::read(self.data.join(ASKED)).ok()?;
        let lines = signed_lines::open(ASKED_HEAD, &sealed, self.key.verifying_key())?;
        let [by, finding, at, reason] = lines.as_slice() else { return None };
        let finding = hex::decode(finding).ok()?.try_into().ok()?;
        Some(Word::kept(OperatorId::parse(by)?, finding, Timestamp::from_millis(at.parse().ok()?), reason))
    }

    /// Keeps the first person's word, and copies what was found aside.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn ask(&self, word: &Word) -> std::io::Result<PathBuf> {
        let evidence = self.copy_aside()?;
        let lines = [
            word.by().to_string(),
            hex::encode(word.finding()),
            word.at().millis().to_string(),
            word.reason().to_owned(),
        ];
        write_durably(&self.data.join(ASKED), &signed_lines::seal(ASKED_HEAD, &lines, &self.key))?;
        Ok(evidence)
    }

    /// Marks everything that was found as acknowledged; what was done again is not passed over when it is found another time.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn confirm(&self, redone: BTreeSet<String>) -> std::io::Result<PathBuf> {
        let evidence = self.copy_aside()?;
        let mut marks = self.marks.clone();
        marks.redone = redone;
        let lines: Vec<String> = self.before.findings.iter().chain([&marks]).flat_map(Marks::lines).collect();
        write_durably(&self.data.join(FILE), &signed_lines::seal(HEAD, &lines, &self.key))?;
        match std::fs::remove_file(self.data.join(ASKED)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(evidence),
        }
    }

    /// The finding's report, and the checkpoints that were there, which the next ones take the place of.
    fn copy_aside(&self) -> std::io::Result<PathBuf> {
        let digest = hex::encode(self.digest());
        let folder = self.data.join(EVIDENCE).join(digest.get(..16).unwrap_or_default());
        std::fs::create_dir_all(&folder)?;
        let report = json!({ "finding": digest, "found": self.words, "marks": self.marks.marks });
        write_durably(&folder.join("finding.json"), &format!("{report:#}\n"))?;
        for (at, note) in self.evidence.iter().enumerate() {
            write_durably(&folder.join(format!("checkpoint-{at}")), &String::from_utf8_lossy(note))?;
        }
        match std::fs::copy(&self.endings, folder.join(ENDINGS)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(folder),
        }
    }
}
